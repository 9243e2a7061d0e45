"""`provisioner resync`: what a newcomer types, what a script reads, and that nothing happens unasked."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from fake_ami import SECRET, FakeAmi
from sqlalchemy import select

from provisioner import settings
from provisioner.model import FetchRecord, ListenerKind, Mac, Proof
from provisioner.preview import Masked, Preview
from provisioner.store import schema
from provisioner.store.database import Store
from provisioner.store.records import Recorder
from provisioner.vendors import drivers

Run = Callable[..., Result]
Asked = Callable[..., Any]
MAC = "0004f2aabbcc"
COLONS = "00:04:f2:aa:bb:cc"
URL = "https://prov.example.net:8443/"
FAST = ("--capacity", "100")


async def _fetch(data: Path, at: float) -> None:
    configured = settings.load(data)
    known = {one.manifest.name: one for one in drivers()}
    async with Store.of(configured) as store:
        async with store.reading() as connection:
            revision = (await connection.execute(select(schema.revision.c.value))).scalar_one()
        found = await Preview.load(store, known, Mac(MAC), URL, configured)
        recorder = Recorder(store, configured, lambda *_: None)
        for file in found.render_all(Masked(reveal=True)):
            body = file.text.encode()
            digest, upto = hashlib.sha256(body).hexdigest(), revision if file.kind == "device" else -1
            recorder.fetch(
                FetchRecord(
                    Mac(MAC), file.name, at, 200, len(body), digest, Proof.CERTIFICATE, ListenerKind.DEVICE,
                    "TLSv1.3", "", upto, body,
                )
            )  # fmt: skip
        await recorder.flush()


@pytest.fixture
def fetch(data: Path, office: None) -> Callable[[float], None]:
    """The phone gets its files as they are now, at this moment."""
    return lambda at: asyncio.run(_fetch(data, at))


@contextmanager
def pbx(data: Path, monkeypatch: pytest.MonkeyPatch, **states: str) -> Iterator[FakeAmi]:
    """A manager interface in a thread of its own, named in the settings."""
    fake, loop, ready = FakeAmi(states), asyncio.new_event_loop(), threading.Event()
    over = asyncio.Event()

    async def serve() -> None:
        async with fake.running():
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(10)
    (data / "ami.secret").write_text(SECRET)
    (data / "ami.secret").chmod(0o600)
    monkeypatch.setenv("PROVISIONER_RESYNC_AMI_HOST", "127.0.0.1")
    monkeypatch.setenv("PROVISIONER_RESYNC_AMI_PORT", str(fake.port))
    try:
        yield fake
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        loop.close()


def test_nothing_has_changed_and_nobody_is_told(run: Run, asked: Asked, fetch: Callable[[float], None]) -> None:
    fetch(time.time())
    assert run("resync", "--changed", *FAST).stdout == "0 phones need to fetch again\n"
    told = asked("resync", "--changed", "--dry-run", *FAST)
    assert (told["devices"], told["waves"], told["left_out"], told["turns"]) == (0, 0, {}, [])
    assert run("resync", "--status").stdout == "nobody was told, and nobody waits for it\n"


def test_a_dry_run_says_who_and_when_and_changes_nothing(
    run: Run, asked: Asked, fetch: Callable[[float], None]
) -> None:
    told = asked("resync", MAC, "--dry-run", "--capacity", "10")
    assert [one["mac"] for one in told["turns"]] == [MAC] and told["rate_per_s"] == 3.0
    text = run("resync", MAC, "--dry-run").stdout
    assert "1 phone would be told, in one wave" in text and f"{COLONS}  wave 1" in text
    assert asked("resync", "--status") == [] and "resync_begun" not in run("events").stdout


def test_without_a_server_it_says_so_and_the_row_waits(run: Run, asked: Asked, fetch: Callable[[float], None]) -> None:
    assert "no server runs here to tell them" in run("resync", MAC).stdout
    [one] = asked("resync", "--status", MAC)
    assert (one["mac"], one["state"], one["wave"]) == (MAC, "bound", 1)
    assert "1 phone that waited will not be told" in run("resync", "--stop").stdout
    assert asked("resync", "--status")[0]["state"] == "stopped"
    assert asked("resync", "--stop") == {"stopped": 0}


def test_waiting_tells_by_the_pbx_and_sees_it_fetch(
    run: Run, asked: Asked, data: Path, fetch: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(time.time() - 60)
    run("layer", "set", "device", MAC, "--raw", "voice.volume.test=3")
    with pbx(data, monkeypatch, **{"1001": "NOT_INUSE"}) as fake:
        one = asked("resync", "--changed", *FAST, "--wait", "3", code=1)[0]
        assert (one["state"], one["way"]) == ("notified", "ami")
        assert fake.notified == [("1001", "Event=check-sync")]
        fetch(time.time() + 1)
        assert asked("resync", "--status")[0]["state"] == "fetched"
        assert asked("resync", "--changed", *FAST)["devices"] == 0
    told = [one["kind"] for one in asked("events") if one["kind"].startswith("resync")]
    assert told == ["resync_begun", "resync_told"]


def test_a_missing_secret_is_named_before_anybody_is_asked(
    run: Run, asked: Asked, office: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVISIONER_RESYNC_AMI_HOST", "127.0.0.1")
    assert "resync.ami_secret" in run("resync", MAC, "--wait", "1", code=2).stderr
    assert asked("resync", "--status") == []


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--reboot"],
        [MAC, "--account", "Example Ltd"],
        ["--status", "--stop"],
        ["--status", "--changed"],
        ["--stop", "--reboot"],
        [MAC, "--dry-run", "--wait", "3"],
        ["--changed", "--capacity", "0"],
        ["nonsense"],
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_wrong_usage(run: Run, office: None, words: list[str]) -> None:
    run("resync", *words, code=2)
    assert '"kind": "usage"' in run("resync", *words, "--json", code=2).stderr


def test_who_is_not_there_is_refused(run: Run, office: None) -> None:
    assert "nobody has added it" in run("resync", "0004f2000000", code=1).stderr
    assert "'Nowhere'" in run("resync", "--account", "Nowhere", *FAST, code=1).stderr
