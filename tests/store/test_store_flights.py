"""Rings of records on both databases: bounded by construction, written over in turn, found by device and by address."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import func, select

from provisioner.diagnosis.grouped import grouped
from provisioner.errors import StoreFailed
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.flights import Flights
from provisioner.flight_draft import Claim
from provisioner.flight_log import FlightLog
from provisioner.flight_notes import Asked, FlightNotes, TlsSeen
from provisioner.model import BootView, Device, DeviceState, Identity, ListenerKind, Mac, Peer, TlsFacts, Verdict
from provisioner.rights import Holding, Principal, parts_of
from provisioner.roles import Role
from provisioner.settings import Settings
from provisioner.store import flights, schema
from provisioner.store.database import Store
from provisioner.store.flights import STRANGERS, FlightRow, write_flights

pytestmark = pytest.mark.asyncio

NOW = [5.0]
"""s of the clock that never goes back."""
MAC, OTHER = Mac("0004f2aabb01"), Mac("0004f2aabb02")


def row(at: float, owner: str = MAC, *, trouble: bool = False, **about: Any) -> FlightRow:
    given: dict[str, Any] = {
        "claimed": "", "address": "192.0.2.7", "label": "x" if trouble else "ok", "model": "",
        "told": {"a": "192.0.2.7"},
    }  # fmt: skip
    return FlightRow(owner=owner, at=at, trouble=trouble, **(given | about))


@pytest_asyncio.fixture
async def acme(fleet: Fleet) -> Fleet:
    account = await fleet.add_account("Acme")
    for mac in (MAC, OTHER):
        await fleet.add_device(mac, vendor="poly", model="VVX 411", account=account.id)
    return fleet


@pytest.fixture
def desk(store: Store, fleet: Fleet, drivers: Any) -> Flights:
    return Flights(store, drivers)


async def rows_of(store: Store, mac: str) -> list[Any]:
    async with store.reading() as connection:
        query = select(schema.flight).where(schema.flight.c.mac == mac).order_by(schema.flight.c.slot)
        return list((await connection.execute(query)).all())


async def test_a_ring_is_full_and_stays_so(acme: Fleet, store: Store, desk: Flights) -> None:
    for at in range(30):
        await write_flights(store, [row(at), row(at + 0.5, trouble=True), row(at, OTHER)], ring=6, strangers=5)
    kept = await rows_of(store, MAC)
    assert [one.slot for one in kept] == [0, 1, 2, 3, 4, 5]
    assert sorted(one.at for one in kept if not one.trouble) == [27, 28, 29]
    assert sorted(one.at for one in kept if one.trouble) == [27.5, 28.5, 29.5]
    assert [one.at for one in await rows_of(store, OTHER)] == [27, 28, 29], "the other half waits for trouble"
    found = await desk.flights(MAC)
    assert [one.at for one in found] == [29.5, 29, 28.5, 28, 27.5, 27]
    assert [one.id for one in found][:2] == [f"{MAC}-60", f"{MAC}-59"]


async def test_a_batch_larger_than_its_ring_leaves_the_newest(acme: Fleet, store: Store) -> None:
    await write_flights(store, [row(at, trouble=True) for at in range(11)], ring=4, strangers=5)
    assert sorted(one.at for one in await rows_of(store, MAC)) == [9, 10]


async def test_a_ring_that_is_made_smaller_loses_what_is_beyond_it(acme: Fleet, store: Store) -> None:
    for ring in (20, 6):
        await write_flights(store, [row(at, trouble=at % 2 == 1) for at in range(20)], ring=ring, strangers=9)
        await write_flights(store, [row(at, STRANGERS) for at in range(ring)], ring=ring, strangers=ring)
    assert max(one.slot for one in await rows_of(store, MAC)) == 5
    assert [one.slot for one in await rows_of(store, STRANGERS)] == [0, 1, 2, 3, 4, 5]


async def test_strangers_share_one_ring_and_are_found_by_address_and_by_what_they_claim(
    acme: Fleet, store: Store, desk: Flights
) -> None:
    told = [
        row(1, STRANGERS, address="192.0.2.1", trouble=True, label="alert_unknown_ca"),
        row(2, STRANGERS, address="2001:db8:1:2::/64", claimed=MAC, trouble=True, told={"a": "2001:db8:1:2::9"}),
        row(3, STRANGERS, address="192.0.2.3", claimed=OTHER, trouble=True),
    ]
    await write_flights(store, [row(9), *told], ring=4, strangers=3)
    assert [one.at for one in await desk.strangers()] == [3, 2, 1]
    assert [one.label for one in await desk.strangers(addresses=["192.0.2.1"])] == ["alert_unknown_ca"]
    assert [one.at for one in await desk.strangers(addresses=["2001:db8:1:2::77", "nonsense"])] == [2]
    own, claimed = await desk.flights(MAC)
    assert (own.proven, own.owner, claimed.proven, claimed.mac) == (True, MAC, False, MAC)
    assert (claimed.id, claimed.address) == ("x-2", "2001:db8:1:2::9")
    await write_flights(store, [row(4, STRANGERS)], ring=4, strangers=3)
    assert [one.at for one in await desk.strangers()] == [4, 3, 2]


async def test_where_a_device_was_met(acme: Fleet, store: Store) -> None:
    six = {"a": "2001:db8::1", "ak": "2001:db8::/64"}
    await write_flights(store, [row(1), row(2, told=six), row(3)], ring=8, strangers=3)
    async with store.reading() as connection:
        assert await flights.addresses_of(connection, MAC) == ["192.0.2.7", "2001:db8::/64"]
        assert await flights.addresses_of(connection, OTHER) == []


async def test_troubles_are_grouped_by_what_they_are_and_by_model(acme: Fleet, store: Store, desk: Flights) -> None:
    bad = [row(at, mac, trouble=True, label="verdict_expired") for at, mac in ((5, MAC), (6, OTHER), (7, MAC))]
    strange = [row(8, STRANGERS, address=one, trouble=True, label="old_version", model="") for one in "ab"]
    await write_flights(store, [*bad, *strange, row(4), row(1, trouble=True)], ring=8, strangers=9)
    found = await desk.troubles(since=4)
    told = [(one.label, one.model, one.phones, one.known, one.first, one.last) for one in found]
    assert told == [("old_version", "", 2, False, 8, 8), ("verdict_expired", "VVX 411", 2, True, 5, 7)]


async def test_who_has_been_well_since_is_not_in_trouble_and_nobody_is_counted_twice(
    acme: Fleet, store: Store, desk: Flights
) -> None:
    words = ("verdict_untrusted", "verdict_self_signed")
    bad = [row(5 + at, mac, trouble=True, label=word) for at, word in enumerate(words) for mac in (MAC, OTHER)]
    await write_flights(store, bad, ring=8, strangers=9)
    (group,) = grouped(await desk.troubles(since=4))
    assert (group.phones, group.models, group.first, group.last) == (2, (("VVX 411", 2),), 5, 6)
    assert set(group.who) == {MAC, OTHER}
    await write_flights(store, [row(5.5)], ring=8, strangers=9)
    (group,) = grouped(await desk.troubles(since=4))
    assert group.phones == 2, "it went wrong again"
    await write_flights(store, [row(9), row(9, STRANGERS)], ring=8, strangers=9)
    (group,) = grouped(await desk.troubles(since=4))
    assert (group.phones, group.who) == (1, (OTHER,))


async def test_whoever_takes_a_devices_name_does_not_push_out_its_own_records(
    acme: Fleet, store: Store, desk: Flights
) -> None:
    own = [row(at, trouble=at % 2 == 0) for at in range(1, 41)]
    await write_flights(store, own, ring=40, strangers=100)
    await write_flights(
        store, [row(100 + at, STRANGERS, claimed=MAC, trouble=True) for at in range(60)], ring=40, strangers=100
    )
    found = await desk.flights(MAC)
    assert (len(found), sum(one.proven for one in found)) == (40, 30)
    assert next(one.at for one in found if one.proven) == 40


async def test_a_device_that_goes_takes_its_records_along(acme: Fleet, store: Store, desk: Flights) -> None:
    await write_flights(store, [row(1), row(1, OTHER)], ring=4, strangers=3)
    await acme.remove_device(MAC)
    assert await rows_of(store, MAC) == []
    async with store.reading() as connection:
        heads = (await connection.execute(select(schema.flight_head.c.mac))).scalars().all()
    assert heads == [OTHER]


async def test_who_reaches_one_account_sees_its_devices_alone(acme: Fleet, store: Store, drivers: Any) -> None:
    account = await acme.add_account("Beta")
    beta = Mac("0004f2aabb09")
    await acme.add_device(beta, vendor="poly", model="VVX 411", account=account.id)
    claim = row(2, STRANGERS, claimed=beta, trouble=True)
    await write_flights(store, [row(1), row(1, beta), row(3, beta, trouble=True), claim], ring=4, strangers=3)
    who = Principal("bob", parts_of(Holding(Role.TECHNICIAN, account.id), "bob"))
    limited = Flights(store, drivers, principal=who)
    assert [one.at for one in await limited.flights(beta)] == [3, 1], "what strangers do is nobody's"
    assert [one.phones for one in await limited.troubles(since=0)] == [1]
    with pytest.raises(Exception, match="no device"):
        await limited.flights(MAC)


async def test_two_workers_at_once_write_over_nothing_new(acme: Fleet, store: Store) -> None:
    async def work(number: int) -> None:
        for at in range(5):
            await write_flights(store, [row(10 * number + at), row(at, OTHER)], ring=40, strangers=3)

    await asyncio.gather(*(work(number) for number in range(3)))
    assert len(await rows_of(store, MAC)) == 15
    assert sorted(one.number for one in await rows_of(store, MAC)) == list(range(1, 16))


# --- by way of the worker's log -----------------------------------------------------------------------


def notes(mac: str = "", label: str = "", at: float = 100.0, agent: str = "") -> FlightNotes:
    made = FlightNotes(at, ("192.0.2.7", 1000), ListenerKind.DEVICE)
    made.agent = agent
    identity = Identity(Verdict.UNIQUE, "poly", Mac(mac)) if mac else Identity(Verdict.NONE)
    made.peer = Peer(identity, TlsFacts("TLSv1.3"), ListenerKind.DEVICE, "192.0.2.7")
    if mac:
        made.view = BootView(Device(Mac(mac), "poly", "VVX 411", DeviceState.ASSIGNED, "a"))
    made.ask(Asked(at, "GET", "/x.cfg", None, 404 if label else 200, 10, 'ETag: "abc"\r\n', label, "why", 0.0, 0))
    return made


@pytest.fixture
def make(store: Store, settings: Settings, counted: Counter[tuple[str, str]]) -> Callable[[], FlightLog]:
    def count(name: str, label: str) -> None:
        counted[name, label] += 1

    return lambda: FlightLog(store, settings, count, lambda _t, _a: Claim(), lambda: 101.0, lambda: NOW[0])


async def test_what_is_over_is_written_with_the_next_batch(
    acme: Fleet, store: Store, desk: Flights, make: Any, counted: Any
) -> None:
    log = make()
    log.over(notes(MAC, "pin_mismatch"), TlsSeen)
    log.over(notes(MAC), TlsSeen)
    await log.flush()
    (bad,) = await desk.flights(MAC)
    assert (bad.label, bad.trouble) == ("pin_mismatch", True)
    await log.close()
    assert [one.label for one in await desk.flights(MAC)] == ["ok", "pin_mismatch"]
    assert counted["flights", "good"] == counted["flights", "trouble"] == 1
    assert len(log) == 0


async def test_good_boots_wait_for_each_other_and_go_along_with_trouble(
    acme: Fleet, desk: Flights, make: Callable[[], FlightLog]
) -> None:
    async def well_and_settled(mac: str) -> None:
        log.over(notes(mac), TlsSeen)
        NOW[0] += 5
        await log.flush()
        assert (len(log), await desk.flights(mac)) == (1, [])

    log = make()
    await well_and_settled(MAC)
    NOW[0] += 4.9
    await log.flush()
    assert len(log) == 1
    NOW[0] += 0.2
    await log.flush()
    assert [one.label for one in await desk.flights(MAC)] == ["ok"]
    await well_and_settled(OTHER)
    log.over(notes(MAC, "revoked"), TlsSeen)
    await log.flush()
    assert [len(await desk.flights(mac)) for mac in (MAC, OTHER)] == [2, 1]


async def test_a_record_that_cannot_be_packed_costs_itself(
    acme: Fleet, store: Store, desk: Flights, make: Any, counted: Any
) -> None:
    log = make()
    for label in ("pin_mismatch", "revoked", "paused_by_hand"):
        log.over(notes(MAC, label), TlsSeen)
    log._batch.flights[1].told["why"] = object()
    await log.flush()
    assert [one.label for one in await desk.flights(MAC)] == ["paused_by_hand", "pin_mismatch"]
    assert (counted["flights", "fault"], len(log)) == (1, 0)


@contextmanager
def locked(path: str) -> Iterator[None]:
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_a_database_that_is_locked_costs_nobody_anything(
    acme: Fleet, store: Store, desk: Flights, make: Any, counted: Any
) -> None:
    async with store.lossy.connect() as connection:
        await connection.exec_driver_sql("PRAGMA busy_timeout = 50")
    log = make()
    log.over(notes(MAC, "revoked"), TlsSeen)
    with locked(str(store.url.database)):
        await log.flush()
        assert counted["store_flush_failed", "flights"] == 1
        log.over(notes(MAC, "not_yours", at=102.0), TlsSeen)
    await log.flush()
    assert await desk.flights(MAC) == [], "it rests: who else wants to write goes first"
    NOW[0] += 11
    await log.flush()
    assert [one.label for one in await desk.flights(MAC)] == ["not_yours", "revoked"], "it was kept, and tried again"


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_it_never_stands_in_another_writers_way(acme: Fleet, store: Store, desk: Flights, make: Any) -> None:
    log = make()
    log.over(notes(MAC, "revoked"), TlsSeen)
    async with store.writing():
        await log.flush()
        assert len(log) == 1
    await log.flush()
    assert len(await desk.flights(MAC)) == 1


async def test_a_disk_that_is_full_costs_records_alone(
    make: Any, counted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object, **__: object) -> None:
        raise StoreFailed("the database failed: database or disk is full")

    monkeypatch.setattr("provisioner.flight_log.write_flights", full)
    log = make()
    log.over(notes(MAC, "revoked"), TlsSeen)
    await log.flush()
    await log.flush()
    assert counted["store_flush_failed", "flights"] == 1
    assert len(log) == 0


async def test_a_record_is_small(acme: Fleet, store: Store, make: Any) -> None:
    log = make()
    made = notes(MAC, agent="FileTransport PolycomVVX-VVX_411-UA/5.9.4.3247 Type/Application")
    for name in ("000000000000.cfg", f"{MAC}-phone.cfg", f"{MAC}-web.cfg", f"{MAC}-license.cfg", f"{MAC}.cfg"):
        made.ask(Asked(100.1, "GET", f"/{name}", None, 200, 5120, 'ETag: "0123456789abcdef"\r\n', "", "", 0.0, 0))
    log.over(made, lambda: TlsSeen("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256", False, True, ()))
    await log.close()
    async with store.reading() as connection:
        (size,) = (await connection.execute(select(func.length(schema.flight.c.body)))).scalars()
    assert size < 400
