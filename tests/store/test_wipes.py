"""A line that is freed is emptied by name until it is somebody's again, and it is known when the phone got that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_asyncio
from resync_fleet import PHONES, Floor
from sqlalchemy import select

from provisioner.errors import Conflict, NotFound
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.rebind import Rebinding
from provisioner.line_errands import LINES
from provisioner.model import FetchRecord, ListenerKind, Mac, Proof, Scope
from provisioner.store import schema
from provisioner.store.database import Store
from provisioner.store.devices import write_device
from provisioner.store.records import Recorder
from provisioner.store.resync import lines, standings
from provisioner.store.views import Views

pytestmark = pytest.mark.asyncio
HALL, DESK = Mac("0004f2aabb01"), Mac("0004f2aabb02")


@pytest_asyncio.fixture
async def acme(fleet: Fleet) -> Fleet:
    await fleet.add_account("Acme")
    await fleet.add_user("Ann", account="Acme")
    for number in ("1001", "1002", "1003"):
        await fleet.add_extension(number, account="Acme", user="Ann")
    for mac in (HALL, DESK):
        await fleet.add_device(mac, vendor="poly", model="VVX 411", account="Acme")
    return fleet


def fetched(mac: Mac, revision: int, *, at: float = 2000.0, status: int = 200) -> FetchRecord:
    digest = "0" * 64 if status == 200 else ""
    return FetchRecord(
        mac, f"{mac}-user.cfg", at, status, 3, digest, Proof.CERTIFICATE, ListenerKind.DEVICE, "TLSv1.3", "", revision
    )


async def been_here(store: Store, *macs: Mac) -> None:
    async with store.writing() as connection:
        for mac in macs:
            await write_device(connection, mac, {"served": 0, "served_at": 1.0})


async def test_it_waits_from_the_unbind_until_the_phone_has_fetched(
    acme: Fleet, store: Store, views: Views, make_recorder: Callable[..., Recorder]
) -> None:
    await acme.bind(HALL, 1, extension="1001")
    await been_here(store, HALL)
    before = await views.boot_view(HALL)
    await acme.unbind(HALL, 1)
    found = await acme.wipe(HALL)
    assert (found.lines, found.pending, found.fetched, found.everything) == ((1,), True, None, False)
    view = await views.boot_view(HALL)
    assert view is not None and before is not None
    assert (view.emptied, view.wiped, view.lines) == ((1,), False, ())
    recorder = make_recorder()
    recorder.fetch(fetched(HALL, before.revision))
    await recorder.flush()
    assert (await acme.wipe(HALL)).pending, "a file from before the unbind empties nothing"
    recorder.fetch(fetched(HALL, view.revision, at=found.since + 30.0 if found.since else 0.0))
    await recorder.flush()
    done = await acme.wipe(HALL)
    assert (done.lines, done.pending) == ((1,), False)
    assert done.since is not None and done.fetched == done.since + 30.0
    (told,) = await acme.events(kind="wipe_fetched")
    assert (told.mac, told.details) == (HALL, {"lines": "1"})
    again = await views.boot_view(HALL)
    assert again is not None and again.emptied == (1,), "it is emptied for as long as nobody is on it"
    recorder.fetch(fetched(HALL, again.revision + 1))
    await recorder.flush()
    assert len(await acme.events(kind="wipe_fetched")) == 1, "told once"


async def test_a_304_that_says_the_same_counts(
    acme: Fleet, store: Store, make_recorder: Callable[..., Recorder]
) -> None:
    await acme.bind(HALL, 1, extension="1001")
    await been_here(store, HALL)
    await acme.unbind(HALL, 1)
    recorder = make_recorder()
    recorder.fetch(fetched(HALL, 1000, status=304))
    await recorder.flush()
    assert not (await acme.wipe(HALL)).pending


async def test_a_phone_is_waited_for_though_no_fetch_is_on_record(acme: Fleet, views: Views) -> None:
    await acme.bind(HALL, 1, extension="1001")
    await acme.unbind(HALL, 1)
    found = await acme.wipe(HALL)
    assert (found.lines, found.pending) == ((1,), True), "it may have come a moment ago"
    view = await views.boot_view(HALL)
    assert view is not None and view.emptied == (1,)
    assert (await acme.wipe_device(DESK)).pending


async def test_a_line_changes_hands_more_than_once_in_a_moment(store: Store, acme: Fleet) -> None:
    """In one transaction all have one time, and a binding's key is when it began."""
    still = Fleet(store, acme._drivers, actor="ann", clock=lambda: 1000.0)
    for number in ("1001", "1002", "1001"):
        await still.bind(HALL, 1, extension=number)
        await still.unbind(HALL, 1)
    assert [one.number for one in await still.bindings(HALL)] == ["1001", "1002", "1001"]


async def test_that_a_wipe_is_over_is_told_whoever_ends_it(acme: Fleet) -> None:
    await acme.wipe_device(HALL)
    await acme.bind(HALL, 1, extension="1001")
    (told,) = await acme.events(kind="wipe_ended")
    assert (told.mac, told.details) == (HALL, {"replaced_by": "", "fetched": "no"})


async def test_a_line_that_is_somebodys_again_is_not_emptied(acme: Fleet, store: Store, views: Views) -> None:
    for line, number in ((1, "1001"), (2, "1002")):
        await acme.bind(HALL, line, extension=number)
    await been_here(store, HALL)
    for line in (1, 2):
        await acme.unbind(HALL, line)
    assert (await acme.wipe(HALL)).lines == (1, 2)
    await acme.bind(HALL, 1, extension="1003")
    found = await acme.wipe(HALL)
    assert (found.lines, found.pending) == ((2,), True)
    await acme.bind(HALL, 2, extension="1002")
    found = await acme.wipe(HALL)
    assert (found.lines, found.since, found.pending) == ((), None, False)


async def test_what_takes_a_line_away_empties_it(acme: Fleet, store: Store) -> None:
    """Replacement, another extension on the line, release, and the end of extension and user."""
    await been_here(store, HALL, DESK)
    await acme.bind(HALL, 1, extension="1001")
    await acme.bind(DESK, 1, extension="1001", replace=True)
    assert (await acme.wipe(HALL)).lines == (1,)
    lines_desk = Rebinding(store, acme._drivers, actor="ann")
    await lines_desk.rebind(DESK, 1, extension="1002")
    assert (await acme.wipe(DESK)).lines == (), "the next one is on it"
    await acme.bind(DESK, 2, extension="1003")
    freed = await acme.remove_extension("1003", account="Acme")
    assert [(one.mac, one.line) for one in freed] == [(DESK, 2)]
    assert (await acme.wipe(DESK)).lines == (2,)
    with pytest.raises(Conflict, match="1001, 1002: remove it first, or with its user"):
        await acme.remove_user("Ann")
    freed = await acme.remove_user("Ann", extensions=True)
    assert [(one.mac, one.line) for one in freed] == [(DESK, 1)]
    assert (await acme.wipe(DESK)).lines == (1, 2)
    assert await acme.extensions("Acme") == []


async def test_the_pbx_can_tell_a_phone_whose_extension_is_gone(store: Store, tmp_path: Path) -> None:
    floor = await Floor.opened(store, tmp_path)
    one = PHONES[0]
    await floor.fleet.add_extension("2001", account="Acme", user="Ann", auth_user="v1")
    await floor.fleet.bind(one, 2, extension="2001")
    await floor.fetch(one)
    floor.clock.now += 60
    await floor.fleet.remove_extension("2001")
    async with store.reading() as connection:
        assert ("v1", "2001") in await lines(connection, one), "the PBX knows it by that name for a while"
        assert [standing.mac for standing in await standings(connection, campaign=LINES)] == [one]


# --- everything --------------------------------------------------------------------------------------------


async def test_a_wiped_device_stays_wiped_until_it_has_a_line(acme: Fleet, store: Store, views: Views) -> None:
    await been_here(store, HALL)
    await acme.bind(HALL, 2, extension="1002")
    with pytest.raises(Conflict, match="1002 on line 2: unbind it first, or wipe it with its lines"):
        await acme.wipe_device(HALL)
    found = await acme.wipe_device(HALL, unbind=True)
    assert (found.everything, found.pending, await acme.bindings(HALL, active=True)) == (True, True, [])
    view = await views.boot_view(HALL)
    assert view is not None and view.wiped
    await acme.bind(HALL, 1, extension="1001")
    view = await views.boot_view(HALL)
    assert view is not None and (view.wiped, view.emptied) == (False, (2,)), "line 2 is still to be forgotten"
    kinds = [one.kind for one in await acme.events(mac=HALL)]
    assert kinds.count("wipe_asked") == 1


async def test_a_wipe_can_be_ended_and_not_twice(acme: Fleet, store: Store) -> None:
    await been_here(store, HALL)
    await acme.set_layer(Scope.DEVICE, HALL, {"language": "de-DE"})
    await acme.wipe_device(HALL)
    found = await acme.end_wipe(HALL)
    assert (found.everything, found.since) == (False, None)
    assert (await acme.layer(Scope.DEVICE, HALL)).values == {"language": "de-DE"}, "its settings are its own"
    with pytest.raises(NotFound):
        await acme.end_wipe(HALL)


async def test_a_revoked_device_cannot_be_wiped(acme: Fleet) -> None:
    await acme.revoke_device(HALL)
    with pytest.raises(Conflict, match="restore it first"):
        await acme.wipe_device(HALL)


async def test_a_later_wipe_is_waited_for_anew(
    acme: Fleet, store: Store, make_recorder: Callable[..., Recorder]
) -> None:
    await been_here(store, HALL)
    for line, number in ((1, "1001"), (2, "1002")):
        await acme.bind(HALL, line, extension=number)
    await acme.unbind(HALL, 1)
    async with store.reading() as connection:
        revision = (await connection.execute(select(schema.revision.c.value))).scalar_one()
    await acme.unbind(HALL, 2)
    recorder = make_recorder()
    recorder.fetch(fetched(HALL, revision))
    await recorder.flush()
    assert (await acme.wipe(HALL)).pending, "it has forgotten line 1, and not line 2"
