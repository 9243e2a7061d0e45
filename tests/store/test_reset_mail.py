"""A link to set a password arrives in a mail, works, and is not sent any more when it is of no use."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from mail_server import MailServer, serving
from sqlalchemy import select

from provisioner.administrators import Administrators
from provisioner.errors import LoginRefused
from provisioner.mail.relay import Relay
from provisioner.mail.reset import ResetPost
from provisioner.outbox import Outbox
from provisioner.roles import Role
from provisioner.roster import Roster
from provisioner.settings import Settings
from provisioner.store import schema
from provisioner.store.database import Store

ANN = "ann@example.net"
NEW = "another good password"


class Desk:
    """An administration that can write mails."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.people = Administrators(store, settings)
        self.roster = Roster(store, {}, settings)
        self.counted: Counter[tuple[str, str]] = Counter()
        self.relay = Relay(settings)
        self.outbox = Outbox(store, ResetPost(store, settings, self.relay).channels(), settings, self._count)

    def _count(self, name: str, label: str) -> None:
        self.counted[name, label] += 1


@pytest_asyncio.fixture
async def mailbox() -> AsyncIterator[MailServer]:
    async with serving() as found:
        yield found


@pytest_asyncio.fixture
async def desk(store: Store, tmp_path: Path, mailbox: MailServer) -> AsyncIterator[Desk]:
    cheap = {"login_hash_memory": 8, "login_hash_passes": 1, "login_hash_lanes": 1}
    settings = Settings(
        data=tmp_path, mail_host="127.0.0.1", mail_port=mailbox.port, mail_tls="none", mail_rate=6000.0,
        mail_from="Phones <p@example.com>", login_url="https://console.example.net", **cheap,
    )  # fmt: skip
    found = Desk(store, settings)
    await found.roster.add_administrator(ANN, role=Role.OWNER, name="Ann")
    yield found
    await found.relay.rest()


@pytest.mark.asyncio
async def test_the_link_in_the_mail_sets_a_password_once(desk: Desk, mailbox: MailServer) -> None:
    await desk.people.request_reset("Ann@example.net")
    assert await desk.outbox.send() == 1
    [mail] = mailbox.mails
    body = mail.get_body(("plain",))
    assert mail["To"] == "Ann <ann@example.net>" and body is not None
    [token] = re.findall(r"https://console\.example\.net/login/link\?token=([\w-]{43})\s", body.get_content())
    page = mail.get_body(("html",))
    assert page is not None and token in page.get_content()
    assert (await desk.people.set_password(token, NEW)).email == ANN
    assert (await desk.people.login(ANN, NEW)).administrator.name == "Ann"
    async with desk.store.reading() as connection:
        stored = repr((await connection.execute(select(schema.outbox))).all())
        told = repr((await connection.execute(select(schema.event))).all())
    assert token not in stored + told


@pytest.mark.asyncio
async def test_a_link_that_was_replaced_is_not_sent(desk: Desk, mailbox: MailServer) -> None:
    await desk.people.request_reset(ANN)
    await desk.roster.invite(ANN)
    await desk.outbox.send()
    assert mailbox.mails == [] and desk.counted["outbox", "mail.reset_drop"] == 1


@pytest.mark.asyncio
async def test_nothing_is_sent_to_who_is_nobody(desk: Desk, mailbox: MailServer) -> None:
    await desk.people.request_reset("nobody@example.net")
    assert await desk.outbox.send() == 0
    with pytest.raises(LoginRefused):
        await desk.people.login("nobody@example.net", NEW)
