"""Recorded TLS secrets: of one device, for a while, sealed, for few; they delete themselves, and go with the device."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from OpenSSL import SSL
from sqlalchemy import select, text, update

from provisioner.errors import Conflict, Forbidden, Invalid, NotFound, StoreFailed
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.key_recording import KeyRecording
from provisioner.http import keylog
from provisioner.key_log import KeyLog
from provisioner.model import Identity, Mac, Verdict
from provisioner.rights import HOUSE, Holding, Principal, Right, Role, parts_of
from provisioner.settings import Settings
from provisioner.store import schema
from provisioner.store.database import Store
from provisioner.store.key_recordings import Secret, Wanted, read_wanted, sealed, tidy, write_secrets
from provisioner.store.rotation import Rotation

NOW = 1_800_000_000.0
HOUR = 3600.0
MAC, OTHER = Mac("0004f2aabbcc"), Mac("0004f2aabbcd")
LINES = [f"CLIENT_RANDOM {'ab' * 32} {'cafe' * 24}"]


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def desk(store: Store, fleet: Fleet, clock: Clock, who: Principal | None = None, **chosen: Any) -> KeyRecording:
    drivers: Mapping[str, Any] = fleet._drivers
    given = {"principal": who} if who else {"actor": "ann"}
    return KeyRecording(store, drivers, Settings(**chosen), clock=clock, **given)  # type: ignore[arg-type]  # either


async def devices(fleet: Fleet) -> None:
    account = await fleet.add_account("Acme")
    for mac in (MAC, OTHER):
        await fleet.add_device(mac, vendor="poly", model="VVX 411", account=account.id)


def secret(store: Store, mac: str = MAC, *, at: float = NOW, random: str = "ab" * 32) -> Secret:
    return Secret(random, at, sealed(store.box, mac, random, LINES))


async def told(store: Store) -> list[str]:
    async with store.reading() as connection:
        query = select(schema.event.c.kind, schema.event.c.actor).where(
            schema.event.c.kind.like("key_rec%") | schema.event.c.kind.like("tls_sec%")
        )
        return [f"{kind} by {actor}" for kind, actor in await connection.execute(query.order_by(schema.event.c.id))]


async def rows(store: Store) -> int:
    async with store.reading() as connection:
        return len((await connection.execute(select(schema.tls_secret.c.random))).all())


async def recorded(store: Store, fleet: Fleet, sealed_for: Mac = MAC) -> KeyRecording:
    """A recording of the device that is open, with the secrets of one connection."""
    await devices(fleet)
    one = desk(store, fleet, Clock())
    await one.open_key_recording(MAC)
    await write_secrets(store, MAC, [secret(store, sealed_for)], most=9)
    return one


@pytest.mark.asyncio
async def test_it_is_opened_used_closed_and_gone_by_itself(store: Store, fleet: Fleet) -> None:
    await devices(fleet)
    clock = Clock()
    one = desk(store, fleet, clock)
    assert await read_wanted(store, NOW) == Wanted()
    made = await one.open_key_recording(MAC)
    assert (made.until, made.gone_at, made.actor) == (NOW + 900, NOW + 900 + 24 * HOUR, "ann")
    assert await read_wanted(store, NOW) == Wanted(MAC, NOW + 900, "")
    assert await write_secrets(store, MAC, [secret(store), secret(store, at=NOW - 1, random="00" * 32)], most=9) == 1
    assert await one.take_tls_secrets(MAC) == LINES
    clock.now += 60
    assert (await one.open_key_recording(MAC, 5)).opened_at == NOW, "it goes on"
    assert await one.close_key_recording(MAC)
    assert not await one.close_key_recording(MAC)
    assert await read_wanted(store, clock.now) == Wanted()
    assert await tidy(store, clock.now + 24 * HOUR - 1) == 0
    assert await rows(store) == 1
    assert await tidy(store, clock.now + 24 * HOUR) == 1
    assert await rows(store) == 0
    assert await told(store) == [
        "key_recording_opened by ann", "tls_secrets_taken by ann", "key_recording_opened by ann",
        "key_recording_closed by ann", "key_recording_deleted by server",
    ]  # fmt: skip


@pytest.mark.asyncio
async def test_what_is_to_be_gone_is_given_out_no_more_though_nobody_deleted_it(store: Store, fleet: Fleet) -> None:
    await devices(fleet)
    clock = Clock()
    one = desk(store, fleet, clock, recorder_key_hours=1)
    await one.open_key_recording(MAC, 1)
    await write_secrets(store, MAC, [secret(store)], most=9)
    clock.now += 60 + HOUR
    with pytest.raises(NotFound):
        await one.take_tls_secrets(MAC)
    assert await one.key_recordings() == []
    assert await rows(store) == 1
    assert await tidy(store, clock.now) == 1, "as when a server starts again"
    assert await rows(store) == 0
    assert (await told(store))[1:] == ["key_recording_ended by server", "key_recording_deleted by server"]
    assert await tidy(store, clock.now) == 0


@pytest.mark.asyncio
async def test_of_one_device_at_a_time(store: Store, fleet: Fleet) -> None:
    await devices(fleet)
    one = desk(store, fleet, Clock())
    await one.open_key_recording(MAC)
    with pytest.raises(Conflict, match="one device at a time"):
        await one.open_key_recording(OTHER)
    await one.close_key_recording(MAC)
    assert (await one.open_key_recording(OTHER)).mac == OTHER
    assert await write_secrets(store, MAC, [secret(store, at=NOW + 1)], most=9) == 0, "it is over"


@pytest.mark.asyncio
async def test_what_cannot_be_opened(store: Store, fleet: Fleet) -> None:
    await devices(fleet)
    one = desk(store, fleet, Clock())
    for minutes in (0, -1, 24 * 60 + 1, float("nan")):
        with pytest.raises(Invalid, match="minutes"):
            await one.open_key_recording(MAC, minutes)
    with pytest.raises(NotFound):
        await one.open_key_recording(Mac("0004f2aabbff"))
    with pytest.raises(NotFound):
        await one.take_tls_secrets(MAC)
    with pytest.raises(NotFound):
        await one.delete_key_recording(MAC)


@pytest.mark.asyncio
async def test_deleted_it_is_gone_and_nothing_more_is_written(store: Store, fleet: Fleet) -> None:
    one = await recorded(store, fleet)
    assert await one.delete_key_recording(MAC) == 1
    assert await write_secrets(store, MAC, [secret(store)], most=9) == 0
    assert await rows(store) == 0


@pytest.mark.asyncio
async def test_there_is_a_most(store: Store, fleet: Fleet) -> None:
    await devices(fleet)
    await desk(store, fleet, Clock()).open_key_recording(MAC)
    some = [secret(store, random=f"{number:064x}") for number in range(5)]
    assert await write_secrets(store, MAC, some[:2], most=3) == 2
    assert await write_secrets(store, MAC, some[2:], most=3) == 1
    assert await rows(store) == 3


@pytest.mark.asyncio
async def test_they_go_with_the_device(store: Store, fleet: Fleet) -> None:
    await devices(fleet)
    one, other = desk(store, fleet, Clock()), await fleet.add_account("Other")
    await one.open_key_recording(MAC)
    await write_secrets(store, MAC, [secret(store)], most=9)
    await fleet.move_device(MAC, account=other.id)
    assert await rows(store) == 0
    assert await one.key_recordings(MAC) == []
    await one.open_key_recording(MAC)
    await write_secrets(store, MAC, [secret(store)], most=9)
    await fleet.remove_device(MAC)
    assert await rows(store) == 0
    assert await read_wanted(store, NOW) == Wanted()


@pytest.mark.asyncio
async def test_a_row_of_another_device_does_not_open(store: Store, fleet: Fleet) -> None:
    one = await recorded(store, fleet, OTHER)
    with pytest.raises(StoreFailed, match="moved here"):
        await one.take_tls_secrets(MAC)


@pytest.mark.asyncio
async def test_nothing_of_them_is_in_the_database(store: Store, fleet: Fleet) -> None:
    one = await recorded(store, fleet)
    await one.take_tls_secrets(MAC)
    async with store.reading() as connection:
        for table in schema.metadata.sorted_tables:
            found = repr((await connection.execute(select(table))).all())
            assert "cafecafe" not in found, table.name
        assert (await connection.execute(text("SELECT count(*) FROM tls_secret"))).scalar_one() == 1


@pytest.mark.asyncio
async def test_a_new_master_key_seals_them_anew(store: Store, fleet: Fleet) -> None:
    one = await recorded(store, fleet)
    done = await Rotation(store, "ann", settle=0).run()
    assert done.finished
    assert not done.unreadable
    assert await one.take_tls_secrets(MAC) == LINES


@pytest.mark.asyncio
async def test_it_is_for_who_reaches_every_account(store: Store, fleet: Fleet) -> None:
    account = await fleet.add_account("Acme")

    def as_(role: Role, where: str = "") -> Principal:
        return Principal("bob", parts_of(Holding(role, where), "bob"))

    assert Right.TLS_SECRETS in HOUSE
    assert [role for role in Role if as_(role).may(Right.TLS_SECRETS)] == [Role.OWNER]
    assert not as_(Role.OWNER, account.id).may(Right.TLS_SECRETS)
    small = desk(store, fleet, Clock(), as_(Role.OWNER, account.id))
    calls = (
        small.key_recordings(), small.open_key_recording(MAC), small.close_key_recording(MAC),
        small.delete_key_recording(MAC), small.take_tls_secrets(MAC),
    )  # fmt: skip
    for call in calls:
        with pytest.raises(Forbidden):
            await call


# --- a worker ------------------------------------------------------------------------------------------


@pytest.fixture
def context() -> Iterator[SSL.Context]:
    made = SSL.Context(SSL.TLS_SERVER_METHOD)
    yield made
    keylog.listen([made], on=False)


def held(context: SSL.Context, secret: str = "cafe" * 24) -> SSL.Connection:
    """A connection that says its secrets as OpenSSL would."""
    one = SSL.Connection(context, None)
    for label in ("CLIENT_RANDOM", "EXPORTER_SECRET"):
        line = keylog.ffi.new("char[]", f"{label} {'ab' * 32} {secret}".encode())
        keylog._note(one._ssl, line)
    return one


GOOD = Identity(Verdict.UNIQUE, "poly", MAC, spki="11")


@pytest.mark.asyncio
async def test_a_worker_follows_and_keeps_only_what_is_the_devices(
    store: Store, fleet: Fleet, context: SSL.Context, counted: Counter[tuple[str, str]]
) -> None:
    await devices(fleet)
    clock = Clock()
    one = desk(store, fleet, clock)
    worker = KeyLog(store, [context], lambda *words: counted.update([words]), clock)
    await worker.follow(1)
    assert worker.mac == ""
    await one.open_key_recording(MAC)
    await worker.follow(1)
    assert worker.mac == "", "nothing is asked while nobody has changed anything"
    await worker.follow(2)
    assert worker.mac == MAC
    others = [
        Identity(Verdict.UNIQUE, "poly", OTHER, spki="11"), Identity(Verdict.GENERIC, "poly"),
        Identity(Verdict.WEAK, "poly", MAC), Identity(Verdict.UNTRUSTED), Identity(Verdict.EXPIRED, "poly", MAC, "11"),
    ]  # fmt: skip
    for identity in others:
        worker.judged(held(context), identity)
        assert keylog.held() == 0, "what is not the device's goes at once"
    worker.judged(held(context), GOOD)
    await worker.flush()
    assert await one.take_tls_secrets(MAC) == LINES, "and no more of it than is needed"
    assert counted["tls_secrets", "written"] == 1
    assert "cafe" not in repr(worker)
    clock.now += 900
    worker.judged(held(context), GOOD)
    await worker.flush()
    assert counted["tls_secrets", "written"] == 1, "its time is over, though nobody has said so"
    await worker.follow(2)
    assert worker.mac == ""


@pytest.mark.asyncio
async def test_another_key_than_the_pinned_one_is_another_device(
    store: Store, fleet: Fleet, context: SSL.Context
) -> None:
    await devices(fleet)
    clock = Clock()
    await desk(store, fleet, clock).open_key_recording(MAC)
    async with store.writing() as connection:
        await connection.execute(schema.pin.insert().values(mac=MAC, spki="22", not_after="2040", at=NOW))
    worker = KeyLog(store, [context], lambda *_: None, clock)
    await worker.follow(1)
    worker.judged(held(context), GOOD)
    await worker.flush()
    assert await rows(store) == 0
    worker.judged(held(context), Identity(Verdict.EXPIRED, "poly", MAC, spki="22"))
    await worker.flush()
    assert await rows(store) == 1
    await worker.close()


@pytest.mark.asyncio
async def test_what_is_not_judged_goes_with_its_connection(store: Store, fleet: Fleet, context: SSL.Context) -> None:
    await devices(fleet)
    await desk(store, fleet, Clock()).open_key_recording(MAC)
    worker = KeyLog(store, [context], lambda *_: None, Clock())
    await worker.follow(1)
    one = held(context)
    assert keylog.held() == 1
    del one
    assert keylog.held() == 0
    left = held(context)
    await worker.close()
    assert keylog.held() == 0, f"nor does it stay when nobody wants any more: {left}"


@pytest.mark.asyncio
async def test_a_database_that_is_away_costs_secrets_and_nothing_else(
    store: Store, fleet: Fleet, context: SSL.Context, counted: Counter[tuple[str, str]]
) -> None:
    await devices(fleet)
    await desk(store, fleet, Clock()).open_key_recording(MAC)
    worker = KeyLog(store, [context], lambda *words: counted.update([words]), Clock())
    await worker.follow(1)
    worker.judged(held(context), GOOD)
    async with store.writing() as connection:
        await connection.execute(text("ALTER TABLE tls_secret RENAME TO moved"))
    await worker.flush()
    assert counted["tls_secrets", "dropped"] == 1
    async with store.writing() as connection:
        await connection.execute(text("ALTER TABLE key_recording RENAME TO moved_too"))
    await worker.follow(2)
    assert worker.mac == MAC, "what is known stays until it is known better"
    started = time.monotonic()
    for number in range(300):
        worker.judged(held(context, f"{number:04x}"), GOOD)
    assert len(worker._waiting) == 200
    assert time.monotonic() - started < 5


@pytest.mark.asyncio
async def test_a_revoked_row_says_nothing(store: Store, fleet: Fleet) -> None:
    """Hand-edited rows are no way to have another device recorded for ever: its end is its end."""
    await devices(fleet)
    await desk(store, fleet, Clock()).open_key_recording(MAC)
    async with store.writing() as connection:
        await connection.execute(update(schema.key_recording).values(until=NOW - 1))
    assert await read_wanted(store, NOW) == Wanted()
