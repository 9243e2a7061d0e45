"""What devices cause: batched, bounded, lossy without harm, and never an exception to the worker's loop."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import select, text, update
from sqlalchemy.event import listen, remove
from sqlalchemy.exc import OperationalError

from provisioner.fleet.fleet import Fleet
from provisioner.model import Event, FetchRecord, ListenerKind, Mac, Proof, Scope
from provisioner.store import records, schema
from provisioner.store.database import Store
from provisioner.store.engine import is_sqlite
from provisioner.store.records import Recorder
from provisioner.store.views import Views

pytestmark = pytest.mark.asyncio

Make = Callable[..., Recorder]
Counted = Counter[tuple[str, str]]
MAC = Mac("0004f2aabb01")
OTHER = Mac("0004f2aabb02")


def fetched(mac: Mac = MAC, file: str = "phone.cfg", at: float = 1.0, body: bytes = b"hello") -> FetchRecord:
    return FetchRecord(
        mac=mac,
        file=file,
        at=at,
        status=200,
        size=len(body),
        digest=body.hex(),
        proof=Proof.CERTIFICATE,
        listener=ListenerKind.DEVICE,
        tls_version="TLSv1.3",
        firmware="6.4.0.1",
        body=body,
    )


@pytest_asyncio.fixture
async def acme(fleet: Fleet) -> Fleet:
    await fleet.add_account("Acme")
    for mac in (MAC, OTHER):
        await fleet.add_device(mac, vendor="poly", model="VVX 411", account="Acme")
    return fleet


async def test_the_last_fetch_of_each_file_is_kept_with_what_was_sent(acme: Fleet, make_recorder: Make) -> None:
    recorder = make_recorder()
    for at, body in ((1.0, b"first"), (2.0, b"second"), (3.0, b"")):
        recorder.fetch(fetched(at=at, body=body))
    recorder.fetch(fetched(file="000000000000.cfg", at=0.5))
    assert recorder.waiting() == 2
    await recorder.flush()
    assert recorder.waiting() == 0
    assert [(one.file, one.at, one.size) for one in await acme.fetches(MAC)] == [
        ("000000000000.cfg", 0.5, 5),
        ("phone.cfg", 3.0, 0),
    ]
    assert await acme.last_body(MAC, "phone.cfg") == b"second"
    assert (await acme.device(MAC)).firmware == "6.4.0.1"


async def test_a_body_is_written_only_when_its_digest_changed(acme: Fleet, store: Store, make_recorder: Make) -> None:
    recorder = make_recorder()
    stored = []
    for body in (b"one", b"one", b"two"):
        recorder.fetch(fetched(body=body))
        await recorder.flush()
        async with store.reading() as connection:
            stored.append((await connection.execute(select(schema.last_body.c.body))).scalar_one())
    assert stored[0] == stored[1] != stored[2]
    assert await acme.last_body(MAC, "phone.cfg") == b"two"


async def test_a_pin_is_set_once_and_another_key_is_an_alarm(acme: Fleet, make_recorder: Make) -> None:
    one, two = make_recorder(), make_recorder()
    one.pin(MAC, "aa" * 32, "2040-01-01T00:00:00Z")
    one.pin(MAC, "aa" * 32, "2040-01-01T00:00:00Z")
    one.pin(MAC, "cc" * 32, "2040-01-01T00:00:00Z")
    two.pin(MAC, "bb" * 32, "2041-01-01T00:00:00Z")
    two.pin(Mac("0004f2ffffff"), "bb" * 32, "2041-01-01T00:00:00Z")
    await one.flush()
    await two.flush()
    assert (await acme.device(MAC)).pinned == "aa" * 32
    told = [(one.kind, one.severity, one.details.get("came", "")[:2]) for one in await acme.events(mac=MAC)][1:]
    assert told == [("pin_mismatch", "alarm", "cc"), ("pin_set", "info", ""), ("pin_mismatch", "alarm", "bb")]
    assert [pin.mac for pin in await acme.pins()] == [MAC]
    await acme.forget_pin(MAC)
    two.pin(MAC, "bb" * 32, "2041-01-01T00:00:00Z")
    await two.flush()
    assert (await acme.device(MAC)).pinned == "bb" * 32


async def test_workers_that_pin_at_the_same_time_agree(acme: Fleet, make_recorder: Make) -> None:
    workers = [make_recorder() for _ in range(4)]
    for number, worker in enumerate(workers):
        for mac in (MAC, OTHER):
            worker.pin(mac, f"{number:064x}", "2040-01-01T00:00:00Z")
            worker.fetch(fetched(mac, at=float(number)))
    await asyncio.gather(*(worker.flush() for worker in workers))
    kinds = Counter(one.kind for one in await acme.events() if one.kind.startswith("pin"))
    assert kinds == {"pin_set": 2, "pin_mismatch": 6}


async def test_a_modern_device_is_remembered(acme: Fleet, make_recorder: Make) -> None:
    recorder = make_recorder()
    recorder.modern(MAC)
    await recorder.flush()
    assert [(one.mac, one.seen_modern) for one in await acme.devices()] == [(MAC, True), (OTHER, False)]


async def test_unknown_devices_are_bounded_and_the_oldest_go(acme: Fleet, make_recorder: Make) -> None:
    recorder = make_recorder(store_seen=10)
    for turn in range(5):
        for number in range(8):
            recorder.seen(Mac(f"00085d0{turn}00{number:02x}"), "poly", "", "192.0.2.7", 10.0 * turn + number)
        await recorder.flush()
    seen = await acme.seen()
    assert len(seen) == 10
    assert seen[0].last == 47.0 and seen[-1].last == 36.0


async def test_who_does_not_name_its_model_is_still_what_it_was(acme: Fleet, make_recorder: Make) -> None:
    recorder = make_recorder()
    for model in ("VVX 411", ""):
        recorder.seen(MAC, "poly", model, "192.0.2.7", 1.0)
    await recorder.flush()
    recorder.seen(MAC, "poly", "", "192.0.2.8", 2.0)
    await recorder.flush()
    assert [(one.model, one.address) for one in await acme.seen()] == [("VVX 411", "192.0.2.8")]


async def test_a_flood_of_unknown_devices_between_two_flushes_is_bounded(make_recorder: Make, counted: Counted) -> None:
    recorder = make_recorder(store_seen=10)
    for number in range(1000):
        recorder.seen(Mac(f"00085d{number:06x}"), "poly", "", "192.0.2.7", 1.0)
    assert recorder.waiting() == 10
    assert counted["store_dropped", "seen"] == 990


async def test_events_are_bounded_and_what_administrators_did_stays(acme: Fleet, make_recorder: Make) -> None:
    recorder = make_recorder(store_events=100)
    before = [one.kind for one in await acme.events()]
    for number in range(250):
        recorder.event(Event("bad_path", float(number), actor="device", details={"path": "x"}))
    await recorder.flush()
    events = await acme.events(limit=1000)
    assert [one.kind for one in events if one.actor == "ann"] == before
    left = [one.at for one in events if one.kind == "bad_path"]
    assert left == [float(number) for number in range(150, 250)]


async def test_records_beyond_the_queue_are_dropped_and_counted_but_no_pin_and_no_alarm(
    acme: Fleet, make_recorder: Make, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "_EVENTS", 50)
    recorder = make_recorder(store_queue=100)
    for number in range(500):
        recorder.fetch(fetched(file=f"{number}.cfg"))
        recorder.event(Event("x", 1.0))
        recorder.event(Event("pin_mismatch", 1.0, severity="alarm"))
        recorder.seen(Mac(f"00085e{number:06x}"), "poly", "", "192.0.2.1", 1.0)
    recorder.pin(MAC, "aa" * 32, "")
    recorder.modern(MAC)
    assert recorder.waiting() == 100 + 50 + 500 + 2
    assert (counted["store_dropped", "event"], counted["store_dropped", "fetch"]) == (450, 450)
    await recorder.flush()
    assert len(await acme.fetches(MAC)) == 50
    assert (await acme.device(MAC)).pinned == "aa" * 32


async def test_a_flood_of_events_removes_no_alarm(acme: Fleet, make_recorder: Make) -> None:
    recorder = make_recorder(store_events=100)
    recorder.event(Event("pin_mismatch", 1.0, severity="alarm"))
    for _ in range(4):
        for number in range(90):
            recorder.event(Event("bad_path", float(number)))
        await recorder.flush()
    kinds = [one.kind for one in await acme.events(limit=1000)]
    assert kinds.count("pin_mismatch") == 1
    assert kinds.count("bad_path") <= 100


async def test_the_number_of_changes_never_goes_up_by_a_commit_that_may_be_lost(
    acme: Fleet, store: Store, make_recorder: Make, counted: Counted
) -> None:
    """A crash would give the number out again, and workers of other machines miss the change that gets it."""
    said: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        said.append(statement)
        if "last_fetch" in statement and not counted["store_flush_failed", "later"]:
            raise OperationalError(statement, None, Exception("database is locked"))

    recorder = make_recorder()
    recorder.fetch(fetched())
    recorder.pin(MAC, "aa" * 32, "")
    recorder.pin(MAC, "bb" * 32, "")
    listen(store.lossy.sync_engine, "before_cursor_execute", note)
    await recorder.flush()
    assert (await acme.device(MAC)).pinned == "aa" * 32, "it is kept though the rest has to be tried again"
    assert await acme.fetches(MAC) == []
    await recorder.flush()
    remove(store.lossy.sync_engine, "before_cursor_execute", note)
    assert [one.mac for one in await acme.fetches(MAC)] == [MAC]
    assert not [one for one in said if "UPDATE revision" in one or "INTO pin" in one]
    kinds = Counter(one.kind for one in await acme.events() if one.kind.startswith("pin"))
    assert kinds == {"pin_set": 1, "pin_mismatch": 1}, "told once"


async def test_a_change_takes_devices_in_the_order_of_a_batch(acme: Fleet, store: Store) -> None:
    """PostgreSQL locks rows as they lie, which here is the other way round."""
    first = Mac("0004f2000001")
    await acme.add_device(first, vendor="poly", model="VVX 411", account="Acme")

    async def change() -> None:
        async with store.changing("ann", 1.0) as one:
            one.touch(Scope.DEVICE, OTHER)
            one.touch(Scope.DEVICE, first)

    device = schema.device
    async with store.lossy.begin() as batch:
        await batch.execute(update(device).where(device.c.mac == first).values(firmware="1"))
        changing = asyncio.create_task(change())
        await asyncio.sleep(0.2)
        await batch.execute(update(device).where(device.c.mac == OTHER).values(firmware="1"))
    await changing
    assert (await acme.device(OTHER)).firmware == "1"


async def test_a_pin_is_news_for_connections_that_are_open(acme: Fleet, make_recorder: Make, views: Views) -> None:
    recorder = make_recorder()
    before = views.generation
    recorder.pin(MAC, "aa" * 32, "")
    assert recorder.pinned(MAC) == "aa" * 32
    await recorder.flush()
    assert recorder.pinned(MAC) == ""
    assert await views.refresh()
    assert views.generation > before


async def test_bodies_are_bounded_in_bytes(
    acme: Fleet, make_recorder: Make, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "_BODIES", 1000)
    recorder = make_recorder()
    for number in range(5):
        recorder.fetch(fetched(file=f"{number}.cfg", body=b"x" * 300))
        recorder.fetch(fetched(file=f"{number}.cfg", body=b"y" * 300))
    assert counted["store_dropped", "body"] == 4
    await recorder.flush()
    assert len(await acme.fetches(MAC)) == 5


@contextmanager
def locked(store: Store) -> Iterator[None]:
    """Another program holds the database."""
    writer = sqlite3.connect(store.url.database or "", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        writer.execute("ROLLBACK")
        writer.close()


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_a_locked_database_loses_nothing_and_disturbs_nobody(
    acme: Fleet, store: Store, views: Views, make_recorder: Make, counted: Counted
) -> None:
    recorder = make_recorder()
    for engine in (store.lossy, store.engine):
        async with engine.connect() as connection:
            await connection.exec_driver_sql("PRAGMA busy_timeout = 50")
    recorder.fetch(fetched(at=1.0))
    recorder.pin(MAC, "aa" * 32, "")
    recorder.modern(MAC)
    recorder.event(Event("x", 1.0))
    recorder.seen(Mac("00085d000001"), "poly", "", "192.0.2.7", 1.0)
    with locked(store):
        flushing = asyncio.create_task(recorder.flush())
        while not flushing.done():
            assert await views.boot_view(MAC) is not None
            recorder.fetch(fetched(at=2.0, body=b"newer"))
            await asyncio.sleep(0.01)
        await flushing
        assert counted["store_flush_failed", "later"] == 1
        assert recorder.waiting() == 5
    await recorder.flush()
    assert [one.at for one in await acme.fetches(MAC)] == [2.0]
    assert await acme.last_body(MAC, "phone.cfg") == b"newer"
    device = await acme.device(MAC)
    assert (device.pinned, device.seen_modern) == ("aa" * 32, True)
    assert [one.mac for one in await acme.seen()] == ["00085d000001"]


async def test_a_batch_that_can_never_be_written_is_dropped_and_counted(
    acme: Fleet, store: Store, make_recorder: Make, counted: Counted
) -> None:
    recorder = make_recorder()
    async with store.writing() as connection:
        await connection.execute(text("ALTER TABLE last_fetch RENAME TO elsewhere"))
    recorder.fetch(fetched())
    await recorder.flush()
    if counted["store_flush_failed", "later"]:  # SQLite cannot tell a missing table from a passing trouble
        assert recorder.waiting() == 1
    else:
        assert (recorder.waiting(), counted["store_flush_failed", "dropped"]) == (0, 1)


async def test_text_that_no_database_takes_is_dropped_and_counted(make_recorder: Make, counted: Counted) -> None:
    recorder = make_recorder()
    recorder.seen(Mac("00085d000001"), "poly", "\ud800", "192.0.2.7", 1.0)
    await recorder.flush()
    assert (recorder.waiting(), counted["store_flush_failed", "dropped"]) == (0, 1)


async def test_an_empty_flush_asks_the_database_nothing(store: Store, make_recorder: Make) -> None:
    await make_recorder().flush()
    assert store.lossy.pool.checkedin() == 0  # type: ignore[attr-defined]


async def test_no_secret_is_found_in_any_byte_of_the_database(acme: Fleet, store: Store, make_recorder: Make) -> None:
    await acme.add_user("Ann", account="Acme")
    await acme.add_extension("100", account="Acme", user="Ann", secret="canary-extension")
    await acme.set_layer(Scope.DEFAULTS, "", {"password.admin": "canary-setting"}, {"poly:some.password": "canary-raw"})
    await acme.set_layer(Scope.DEVICE, MAC, {"net.dot1x.password": "canary-device"}, {"x.y": "canary-own"})
    digest = await acme.set_digest(MAC)
    await acme.allow(MAC, token=True)
    token, _ = await acme.open_token(MAC)
    recorder = make_recorder()
    recorder.fetch(fetched(body=b'reg.1.auth.password="canary-body"'))
    await recorder.flush()
    assert await acme.reveal_secret("100") == "canary-extension"
    everything = await every_byte(store)
    assert b"Acme" in everything
    assert [word for word in ("canary", digest, token) if word.encode() in everything] == []


async def every_byte(store: Store) -> bytes:
    """The files of SQLite with WAL, or every row of PostgreSQL as its dump would write it."""
    if store.url.get_backend_name() == "sqlite":
        found = [store.url.database or "", f"{store.url.database}-wal", f"{store.url.database}-shm"]
        return b"".join([await asyncio.to_thread(read_file, name) for name in found])
    rows = []
    async with store.reading() as connection:
        for table in schema.metadata.sorted_tables:
            for column in table.c:
                values = await connection.execute(select(column))
                rows += [one if isinstance(one, bytes) else str(one).encode() for one in values.scalars()]
    return b"\n".join(rows)


def read_file(name: str) -> bytes:
    return Path(name).read_bytes()


async def test_refusals_in_a_devices_name_are_found_by_an_index_alone(
    acme: Fleet, store: Store, make_recorder: Make
) -> None:
    recorder = make_recorder()
    colons = "00:04:F2:AA:BB:01"
    for path, subject in (
        (f"/{MAC}-phone.cfg", ""),
        (f"/spa{MAC.upper()}.xml", ""),
        ("/x.cfg", f"CN={colons},O=Someone"),
        (f"/{OTHER}.cfg", f"CN={MAC}"),
        (f"/{OTHER}.cfg", ""),
        (f"/{MAC}0a.cfg", "CN=nobody"),
    ):
        recorder.event(Event("not_identified", 1.0, details={"path": path, "subject": subject}))
    recorder.event(Event("not_yours", 2.0, MAC, details={"path": f"/{OTHER}.cfg"}))
    await recorder.flush()
    found = await acme.events(mac=MAC, named=True)
    assert [one.details.get("path") for one in found if not one.actor] == [
        f"/{MAC}-phone.cfg", f"/spa{MAC.upper()}.xml", "/x.cfg", f"/{OTHER}.cfg", f"/{OTHER}.cfg",
    ]  # fmt: skip
    assert [one.kind for one in await acme.events(mac=OTHER, named=True)].count("not_identified") == 2
    assert [one.id for one in await acme.events(mac=MAC, named=True, limit=2)] == [one.id for one in found[-2:]]
    assert [one.kind for one in await acme.events(mac=MAC)] == ["device_added", "not_yours"]
    asked: list[tuple[str, object]] = []

    def hear(_c: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        asked.append((statement, parameters))

    listen(store.engine.sync_engine, "before_cursor_execute", hear)
    await acme.events(mac=MAC, named=True)
    remove(store.engine.sync_engine, "before_cursor_execute", hear)
    queries = [one for one in asked if "FROM event" in one[0]]
    assert len(queries) == 3
    if is_sqlite(store.url):
        async with store.reading() as connection:
            for statement, parameters in queries:
                plan = (await connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, parameters)).all()
                assert [bool(re.search(r"SEARCH event USING INDEX ix_event_\w+_id", row[-1])) for row in plan] == [True]
