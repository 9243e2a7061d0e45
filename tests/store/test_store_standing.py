"""What a device's class and its address's weight are made of: how far its configuration is, and where it was met."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_asyncio
from alembic import command
from sqlalchemy import create_engine, func, insert, select, text
from sqlalchemy.pool import NullPool

from provisioner.fleet.fleet import Fleet
from provisioner.model import BootView, FetchRecord, ListenerKind, Mac, Proof, Scope
from provisioner.settings import Settings
from provisioner.store import crowds, migrations, records, schema, standing
from provisioner.store.database import CHANGES_KEPT, Store
from provisioner.store.records import Recorder
from provisioner.store.views import Views

Make = Callable[..., Recorder]
MAC, OTHER = Mac("0004f2aabb01"), Mac("0004f2aabb02")
HERE, THERE = "192.0.2.7", "2001:db8:1:2::/64"
DAY = 86_400.0


@pytest_asyncio.fixture
async def acme(fleet: Fleet) -> Fleet:
    for name in ("Acme", "Other"):
        await fleet.add_account(name)
    for name, account in (("Berlin", "Acme"), ("Paris", "Other")):
        await fleet.add_site(name, account=account)
    await fleet.add_device(MAC, vendor="poly", model="VVX 411", account="Acme", site="Berlin")
    await fleet.add_device(OTHER, vendor="yealink", model="T46S", account="Other", site="Paris")
    return fleet


def fetched(mac: Mac, revision: int, status: int = 200) -> FetchRecord:
    return FetchRecord(
        mac, "user.cfg", 1.0, status, 5, "d", Proof.CERTIFICATE, ListenerKind.DEVICE, "TLSv1.3", "", revision
    )


async def seen(views: Views, mac: Mac = MAC) -> BootView:
    await views.refresh()
    found = await views.boot_view(mac)
    assert found is not None
    return found


async def pending(views: Views, mac: Mac = MAC) -> bool:
    one = await seen(views, mac)
    return one.served < one.changed


async def take(views: Views, recorder: Recorder, *macs: Mac) -> None:
    """The devices fetch their configuration."""
    for mac in macs:
        recorder.fetch(fetched(mac, (await seen(views, mac)).revision))
    await recorder.flush()


# --- how far its configuration is -------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_device_has_none_until_it_has_fetched_it(acme: Fleet, views: Views, make_recorder: Make) -> None:
    recorder = make_recorder()
    assert (await seen(views)).served == -1
    recorder.fetch(fetched(MAC, -1))
    await recorder.flush()
    assert (await seen(views)).served == -1, "a file that is no configuration acknowledges nothing"
    await take(views, recorder, MAC)
    one = await seen(views)
    assert one.served == one.revision >= one.changed > 0
    assert (await seen(views, OTHER)).served == -1


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("scope", "key"),
    [
        (Scope.DEFAULTS, ""),
        (Scope.VENDOR, "poly"),
        (Scope.MODEL, "poly/VVX 411"),
        (Scope.ACCOUNT, "Acme"),
        (Scope.SITE, "Berlin"),
        (Scope.DEVICE, MAC),
    ],
)
async def test_a_change_of_any_layer_below_it_waits_for_it(
    acme: Fleet, store: Store, views: Views, make_recorder: Make, scope: Scope, key: str
) -> None:
    recorder = make_recorder()
    await take(views, recorder, MAC, OTHER)
    assert not await pending(views)
    await acme.set_layer(scope, key, {"time.ntp": "ntp.example"})
    assert await pending(views)
    assert await pending(views, OTHER) is (scope is Scope.DEFAULTS), "a change of others is none for it"
    later = Views(store)
    await later.open()
    assert await pending(later), "a worker that starts now knows it too"
    await later.close()
    await take(views, recorder, MAC)
    assert not await pending(views)
    await acme.unset_layer(scope, key, ["time.ntp"])
    assert await pending(views), "what was taken away is a change"


@pytest.mark.asyncio
async def test_changes_that_are_forgotten_still_wait(
    acme: Fleet, store: Store, views: Views, make_recorder: Make
) -> None:
    await take(views, make_recorder(), MAC)
    await acme.set_layer(Scope.SITE, "Berlin", {"time.ntp": "ntp.example"})
    async with store.changing("ann", 1.0) as change:
        await change.connection.execute(text("UPDATE revision SET value = value + :n"), {"n": CHANGES_KEPT})
        change.revision += CHANGES_KEPT
    later = Views(store)
    await later.open()
    assert await pending(later)
    assert await pending(views)
    await later.close()


@pytest.mark.asyncio
async def test_a_batch_that_comes_late_takes_nothing_back(acme: Fleet, views: Views, make_recorder: Make) -> None:
    early, late = make_recorder(), make_recorder()
    early.fetch(fetched(MAC, 2))
    late.fetch(fetched(MAC, 7))
    await late.flush()
    await early.flush()
    assert (await seen(views)).served == 7


@pytest.mark.asyncio
async def test_a_batch_that_could_not_be_written_is_not_lost(
    acme: Fleet, views: Views, make_recorder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = make_recorder()
    recorder.fetch(fetched(MAC, 4))
    recorder.sighted(HERE, MAC)
    with monkeypatch.context() as patched:
        patched.setattr(records, "may_pass", lambda _error: True)
        patched.setattr(recorder, "_write", _failing)
        await recorder.flush()
    recorder.sighted(HERE, OTHER)
    await recorder.flush()
    assert (await seen(views)).served == 4
    await views.learn()
    assert views.weights() == {HERE: 2}


async def _failing(_batch: object) -> None:
    raise records.StoreFailed("the disk is full")


def test_who_has_fetched_before_the_upgrade_is_up_to_date_after_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        config = migrations._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(text("INSERT INTO account (id, name, created) VALUES ('a', 'Acme', 0)"))
        for mac in (MAC, OTHER):
            row = {"mac": mac}
            query = "INSERT INTO device (mac, vendor, model, account, created) VALUES (:mac, 'poly', 'VVX 411', 'a', 0)"
            connection.execute(text(query), row)
        connection.execute(insert(schema.last_fetch).values(_row(MAC)))
    migrations.upgrade(url)
    with engine.connect() as connection:
        found = dict(connection.execute(select(schema.device.c.mac, schema.device.c.served)).all())
    assert found == {MAC: 0, OTHER: None}


def _row(mac: Mac) -> dict[str, object]:
    names = schema.last_fetch.c.keys()
    return {name: getattr(fetched(mac, -1), name) for name in names}


# --- where it was met -------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_an_address_weighs_what_known_devices_it_has_shown(
    acme: Fleet, store: Store, views: Views, make_recorder: Make
) -> None:
    for recorder in (make_recorder(), make_recorder()):
        for _ in range(3):
            recorder.sighted(HERE, MAC)
            recorder.sighted(HERE, OTHER)
            recorder.sighted(THERE, MAC)
        assert recorder.waiting() == 3
        await recorder.flush()
        recorder.sighted(HERE, MAC)
        assert recorder.waiting() == 0, "one row a device, address and day"
    assert views.weights() == {}
    await views.learn()
    assert views.weights() == {HERE: 2, THERE: 1}
    await acme.remove_device(MAC)
    assert await weights(store) == {HERE: 1}


async def weights(store: Store) -> dict[str, int]:
    fresh = Views(store)
    await fresh.learn()
    return dict(fresh.weights())


async def sightings(store: Store) -> int:
    async with store.writing() as connection:
        return (await connection.execute(select(func.count()).select_from(schema.sighting))).scalar_one()


@pytest.mark.asyncio
async def test_one_phone_makes_no_more_than_three_known_sites(
    acme: Fleet, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "_PART", 2)  # more parts than one
    now = [100 * DAY]

    def worker() -> Recorder:
        return Recorder(store, Settings(data=tmp_path), lambda *_: None, lambda: now[0])

    for day in range(5):
        now[0] += DAY
        for recorder in (worker(), worker()):
            for number in range(200):
                recorder.sighted(f"2001:db8:{day}:{number}::/64", MAC)
            assert recorder.waiting() == 3, "a new address is written thrice a day"
            recorder.sighted(HERE, OTHER)
            await recorder.flush()
    assert await sightings(store) == 4
    assert await weights(store) == {HERE: 1, **{f"2001:db8:4:{number}::/64": 1 for number in range(3)}}
    async with store.writing() as connection:  # what workers that write at the same moment can leave
        rows = [{"mac": mac, "address": f"10.0.0.{n}", "day": 104 - n} for mac in (MAC, OTHER) for n in range(9)]
        await connection.execute(insert(schema.sighting), rows)
    await worker().prune()
    assert await sightings(store) == 6
    assert await weights(store) == {
        **{f"2001:db8:4:{number}::/64": 1 for number in range(3)},
        **{HERE: 1, "10.0.0.0": 1, "10.0.0.1": 1},
    }


@pytest.mark.asyncio
async def test_the_newest_addresses_of_a_phone_that_moves_are_kept(acme: Fleet, store: Store, tmp_path: Path) -> None:
    now = [100 * DAY]
    recorder = Recorder(store, Settings(data=tmp_path), lambda *_: None, lambda: now[0])
    for address in ("d", "c", "b", "d", "a"):
        now[0] += DAY
        recorder.sighted(address, MAC)
        await recorder.flush()
    assert await weights(store) == {"a": 1, "b": 1, "d": 1}


@pytest.mark.asyncio
async def test_devices_that_are_revoked_or_nobodys_do_not_count(acme: Fleet, store: Store, make_recorder: Make) -> None:
    recorder = make_recorder()
    for mac in (MAC, OTHER, Mac("0004f2aabb99")):
        recorder.sighted(HERE, mac)
    await recorder.flush()
    assert await weights(store) == {HERE: 2}
    await acme.revoke_device(MAC)
    assert await weights(store) == {HERE: 1}


@pytest.mark.asyncio
async def test_a_trim_that_fails_loses_no_batch(
    acme: Fleet, store: Store, make_recorder: Make, counted: Counter[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = make_recorder()
    recorder.sighted(HERE, MAC)
    monkeypatch.setattr(records, "trim_sightings", lambda *_: _failing(None))
    await recorder.flush()
    assert (recorder.waiting(), counted["background", "trim"]) == (0, 1)
    assert await weights(store) == {HERE: 1}


@pytest.mark.asyncio
async def test_weights_are_counted_once_a_minute_and_populations_after_a_change(
    acme: Fleet, store: Store, make_recorder: Make
) -> None:
    now, recorder = [1000.0], make_recorder()
    crowd = crowds.Crowds(store, lambda: now[0])
    await crowd.learn(1)
    first = crowd.weights
    assert sorted(crowd.accounts.values()) == sorted(crowd.sites.values()) == [1, 1]
    recorder.sighted(HERE, MAC)
    await recorder.flush()
    await acme.add_device(Mac("0004f2aabb03"), vendor="poly", model="VVX 411", account="Acme", site="Berlin")
    now[0] += crowds.POPULATIONS_AGE + 1
    before = crowd.accounts
    await crowd.learn(1)
    assert crowd.accounts is before
    await crowd.learn(2)
    assert sorted(crowd.accounts.values()) == [1, 2]
    assert crowd.weights is first
    now[0] += crowds.WEIGHTS_AGE
    await crowd.learn(2)
    assert crowd.weights == {HERE: 1}


async def add_devices(store: Store, number: int) -> None:
    account = {"id": "a", "name": "a", "created": 0.0}
    rows = [
        {"mac": f"0004f2{one:06x}", "vendor": "poly", "model": "VVX 411", "account": "a", "created": 0.0}
        for one in range(number)
    ]
    async with store.writing() as connection:
        await connection.execute(insert(schema.account), [account])
        for start in range(0, number, 1000):
            await connection.execute(insert(schema.device), rows[start : start + 1000])


@pytest.mark.asyncio
async def test_sightings_are_forgotten_after_their_days(
    store: Store, views: Views, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "_PART", 7)
    now, counted = [100 * DAY], Counter[str]()

    def count(_name: str, label: str) -> None:
        counted[label] += 1

    recorder = Recorder(store, Settings(data=tmp_path, gate_memory=30.0), count, lambda: now[0])
    await add_devices(store, 40)
    for number in range(40):
        recorder.sighted(HERE, Mac(f"0004f2{number:06x}"))
    await recorder.flush()
    now[0] += 20 * DAY
    recorder.sighted(HERE, Mac("0004f2000000"))  # it comes again, so its 30 days begin again
    recorder.sighted(THERE, Mac("0004f2000001"))
    await recorder.flush()
    await recorder.prune()
    await views.learn()
    assert views.weights() == {HERE: 40, THERE: 1}
    now[0] += 11 * DAY
    await recorder.prune()
    fresh = Views(store)
    await fresh.learn()
    assert fresh.weights() == {HERE: 1, THERE: 1}
    assert not counted


@pytest.mark.asyncio
async def test_sightings_that_wait_are_bounded_and_counted(
    make_recorder: Make, counted: Counter[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "_MOST", 500)
    recorder = make_recorder(store_queue=100)
    for number in range(150):
        recorder.sighted(HERE, Mac(f"0004f2{number:06x}"))
    assert recorder.waiting() == 100
    assert counted["store_dropped", "sighting"] == 50
    await recorder.flush()
    for number in range(2000):
        recorder.sighted(HERE, Mac(f"0004f2{number:06x}"))
        if recorder.waiting() == 100:
            await recorder.flush()
    assert len(recorder._sighted) <= 501


@pytest.mark.asyncio
async def test_counting_many_sightings_does_not_hold_up_the_loop(store: Store, views: Views) -> None:
    rows = [
        {"mac": f"0004f2{number:06x}", "address": f"10.{number % 100}.{number // 100 % 100}.7", "day": 1}
        for number in range(30_000)
    ]
    await add_devices(store, 30_000)
    async with store.writing() as connection:
        for start in range(0, len(rows), 1000):
            await connection.execute(insert(schema.sighting), rows[start : start + 1000])
    longest = 0.0
    counting = asyncio.create_task(views.learn())
    while not counting.done():
        before = time.perf_counter()
        await asyncio.sleep(0.001)
        longest = max(longest, time.perf_counter() - before)
    await counting
    assert sum(views.weights().values()) == 30_000
    assert len(views.weights()) == 10_000
    assert longest < 0.25
