"""The process that sends: a real server, a real mail server, a code on the way from one to the other; and its end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import House, administer, events, soon
from mail_server import MailServer, in_a_thread
from prometheus_client import values

from provisioner.activation.letters import CodeLetters
from provisioner.app import prepare
from provisioner.counters import Counters
from provisioner.errors import Unusable
from provisioner.fleet.fleet import Fleet
from provisioner.outbox_app import is_calm
from provisioner.settings import load
from provisioner.store.database import Store
from provisioner.vendors import drivers


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Its keys take their time; each test has a copy."""
    return House.build(tmp_path_factory.mktemp("built"))


@pytest.fixture
def mailbox() -> Iterator[MailServer]:
    with in_a_thread() as server:
        yield server


def mail_code(house: House, number: str) -> str:
    """Issue a code for a new person and queue its mail, as the command line does; its digits."""

    async def issue(fleet: Fleet) -> str:
        accounts = await fleet.accounts()
        account = accounts[0].id if accounts else (await fleet.add_account("Acme")).id
        user = await fleet.add_user(f"Person {number}", account=account, email=f"p{number}@example.net")
        await fleet.add_extension(number, account=account, user=user.id)
        settings = load(house.data, house.environment)
        known = {one.manifest.name: one for one in drivers(house.data / "templates")}
        async with Store.of(settings) as store:
            return (await CodeLetters(store, known, settings).issue(number, mail=True)).code

    code: str = administer(house, issue)
    return code


def test_a_code_travels_through_a_running_server(built: House, tmp_path: Path, mailbox: MailServer) -> None:
    house = built.copy(
        tmp_path, mail_host="127.0.0.1", mail_port=mailbox.port, mail_tls="none", mail_from="Acme <tel@acme.example>"
    )
    first = mail_code(house, "1001")
    house.start()
    try:
        assert soon(lambda: mailbox.mails, 15), house.log()
        assert first[:4] in mailbox.mails[0].as_string() and mailbox.mails[0]["To"] == "Person 1001 <p1001@example.net>"
        assert [one.details["number"] for one in events(house, "message_sent")] == ["1001"]
        assert first not in house.log()
        metrics = house.get("/metrics", None, kind="admin")[2].decode()
        assert 'provisioner_outbox_total{kind="mail.code",outcome="send"}' in metrics
    finally:
        house.stop()
    assert house.log().rstrip().endswith("stopped")


@pytest.mark.slow
def test_a_sender_that_dies_is_replaced(built: House, tmp_path: Path, mailbox: MailServer) -> None:
    chosen = {"mail_host": "127.0.0.1", "mail_port": mailbox.port, "mail_tls": "none", "mail_from": "t@acme.example"}
    house = built.copy(tmp_path, **chosen)
    house.start()
    try:
        assert soon(lambda: "outbox 1 (pid" in house.log(), 10)
        sender = process_of(house, "outbox 1")
        os.kill(sender, signal.SIGKILL)
        mail_code(house, "1002")
        assert soon(lambda: mailbox.mails, 20), house.log()
        assert process_of(house, "outbox 1") != sender
    finally:
        house.stop()


def process_of(house: House, name: str) -> int:
    """The newest of that name that the log tells of."""
    lines = [line for line in house.log().splitlines() if f"{name} (pid " in line and line.endswith("started")]
    return int(lines[-1].partition("(pid ")[2].partition(")")[0])


def test_a_server_whose_mails_nobody_writes_does_not_start(built: House) -> None:
    with pytest.raises(Unusable, match=r"mail\.from = 'nobody'"):
        prepare(load(built.data, {}, mail_host="127.0.0.1", mail_from="nobody"))
    assert prepare(load(built.data, {}, mail_host="127.0.0.1", mail_from="tel@acme.example", mail_tls="none"))


def test_it_is_calm_unless_a_worker_says_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)  # each worker is a process of its own
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    assert is_calm(tmp_path)
    counters = Counters(tmp_path, 1)
    counters.gauge("storm_mode", 1)
    assert not is_calm(tmp_path)
    counters.gauge("storm_mode", 0)
    assert is_calm(tmp_path)
