"""A new phone for an old one: all of it or nothing, what is lost shown before, and the old one wiped."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_asyncio

from provisioner.errors import Conflict, Invalid, NotFound
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.swap import Swap
from provisioner.line_errands import LINES
from provisioner.model import FetchRecord, ListenerKind, Mac, Proof, Scope
from provisioner.store.database import Store, key_path
from provisioner.store.devices import write_device
from provisioner.store.records import Recorder
from provisioner.store.resync import standings
from provisioner.store.secretbox import SecretBox
from provisioner.store.views import Views
from provisioner.vendors import drivers

OLD, NEW, SMALL, THIRD = Mac("0004f2aabb01"), Mac("0004f2aabb02"), Mac("0004f2aabb03"), Mac("0004f2aabb04")


@dataclasses.dataclass
class Office:
    fleet: Fleet
    store: Store
    swap: Swap

    async def lines(self, mac: Mac) -> dict[int, str]:
        return {one.line: one.number for one in await self.fleet.bindings(mac, active=True)}


async def furnish(fleet: Fleet, store: Store) -> None:
    """A VVX 411 with lines 1 and 4, settings of its own and a site, that has been here; new ones beside it."""
    await fleet.add_account("Acme")
    await fleet.add_site("Berlin", account="Acme")
    await fleet.add_site("Stock", account="Acme")
    await fleet.add_user("Ann", account="Acme")
    for number in ("1001", "1002", "1003"):
        await fleet.add_extension(number, account="Acme", user="Ann")
    await fleet.add_device(OLD, vendor="poly", model="VVX 411", account="Acme", site="Berlin")
    await fleet.add_device(NEW, vendor="poly", model="VVX 411", account="Acme", site="Stock")
    await fleet.add_device(SMALL, vendor="poly", model="VVX 150", account="Acme")
    await fleet.bind(OLD, 1, extension="1001", label="Desk")
    await fleet.bind(OLD, 4, extension="1002")
    await fleet.set_layer(Scope.DEVICE, OLD, {"language": "de-DE"})
    async with store.writing() as connection:
        for mac in (OLD, NEW):
            await write_device(connection, mac, {"served": 0, "served_at": 1.0})


@pytest_asyncio.fixture
async def office(fleet: Fleet, store: Store) -> Office:
    await furnish(fleet, store)
    return Office(fleet, store, Swap(store, fleet._drivers, actor="ann"))


@pytest.mark.asyncio
async def test_lines_settings_and_place_go_over_and_the_old_phone_is_wiped(office: Office, views: Views) -> None:
    before = [await office.fleet.reveal_secret(number) for number in ("1001", "1002")]
    done = await office.swap.swap(OLD, NEW)
    assert (await office.lines(NEW), await office.lines(OLD)) == ({1: "1001", 4: "1002"}, {})
    bound = await office.fleet.bindings(NEW, active=True)
    assert [(one.label, one.cause, one.actor) for one in bound] == [("Desk", "swap", "ann"), ("", "swap", "ann")]
    assert (await office.fleet.layer(Scope.DEVICE, NEW)).values == {"language": "de-DE"}
    sites = {one.id: one.name for one in await office.fleet.sites("Acme")}
    assert sites[(await office.fleet.device(NEW)).site] == "Berlin"
    wipe = await office.fleet.wipe(OLD)
    assert (wipe.everything, wipe.pending, wipe.replaced_by) == (True, True, NEW)
    old, new = await views.boot_view(OLD), await views.boot_view(NEW)
    assert old is not None and old.wiped and new is not None and not new.wiped
    after = [await office.fleet.reveal_secret(number) for number in ("1001", "1002")]
    assert not set(before) & set(after) and [one.secret for one in new.lines] == after
    assert list(done.exchanged) == ["1001", "1002"]
    async with office.store.reading() as connection:
        assert {one.mac for one in await standings(connection, campaign=LINES)} == {OLD, NEW}
    (told,) = await office.fleet.events(kind="device_swapped")
    assert (told.mac, told.details["new"]) == (OLD, NEW)


@pytest.mark.asyncio
async def test_a_dry_run_changes_nothing(office: Office) -> None:
    events = len(await office.fleet.events())
    plan = await office.swap.plan_swap(OLD, SMALL)
    assert (len(await office.fleet.events()), await office.lines(SMALL)) == (events, {})
    assert [(one.line, one.to) for one in plan.moves] == [(1, 1), (4, 2)]
    assert plan.exchanged == ("1001", "1002")


@pytest.mark.asyncio
async def test_whoever_loses_something_has_seen_it(office: Office) -> None:
    await office.fleet.bind(OLD, 5, extension="1003")
    with pytest.raises(Conflict, match="line 1003, line 5: VVX 150 has 2 lines") as refused:
        await office.swap.swap(OLD, SMALL)
    assert (await office.swap.plan_swap(OLD, SMALL)).token in refused.value.cause
    token = (await office.swap.plan_swap(OLD, SMALL)).token
    await office.fleet.unbind(OLD, 4)
    with pytest.raises(Conflict, match="has changed since it was looked at"):
        await office.swap.swap(OLD, SMALL, plan=token)
    assert await office.lines(OLD) == {1: "1001", 5: "1003"}, "nothing has happened"
    await office.fleet.bind(OLD, 4, extension="1002")
    done = await office.swap.swap(OLD, SMALL, plan=(await office.swap.plan_swap(OLD, SMALL)).token)
    assert (await office.lines(SMALL), await office.lines(OLD)) == ({1: "1001", 2: "1002"}, {})
    assert [one.number for one in done.plan.lost] == ["1003"]


@pytest.mark.asyncio
async def test_phones_that_cannot_take_its_place_are_refused_with_a_cure(office: Office) -> None:
    await office.fleet.bind(NEW, 1, extension="1003")
    with pytest.raises(Conflict, match="has 1003 on line 1: unbind it first"):
        await office.swap.swap(OLD, NEW)
    with pytest.raises(Invalid, match="is the phone that is to be replaced"):
        await office.swap.plan_swap(OLD, OLD)
    with pytest.raises(NotFound, match="add it first, or say its vendor and model"):
        await office.swap.swap(OLD, THIRD)
    await office.fleet.revoke_device(SMALL)
    with pytest.raises(Conflict, match="is revoked"):
        await office.swap.plan_swap(OLD, SMALL)
    await office.fleet.add_account("Beta")
    await office.fleet.add_device(THIRD, vendor="poly", model="VVX 411", account="Beta")
    with pytest.raises(Conflict, match="belongs to another account"):
        await office.swap.swap(OLD, THIRD)
    assert await office.lines(OLD) == {1: "1001", 4: "1002"}


@pytest.mark.asyncio
async def test_a_phone_that_nobody_has_added_is_added_with_it(office: Office) -> None:
    await office.swap.swap(OLD, THIRD, vendor="poly", model="VVX 411")
    found = await office.fleet.device(THIRD)
    assert (found.model, await office.lines(THIRD)) == ("VVX 411", {1: "1001", 4: "1002"})
    assert found.site == (await office.fleet.device(OLD)).site


@pytest.mark.asyncio
async def test_there_and_back_again_leaves_each_setting_once(office: Office) -> None:
    """The old phone keeps its settings while it is wiped, and they are the new one's alone afterwards."""
    await office.swap.swap(OLD, NEW)
    assert (await office.fleet.layer(Scope.DEVICE, OLD)).values == {"language": "de-DE"}
    await office.fleet.set_layer(Scope.DEVICE, NEW, {"language": "fr-FR"})
    await office.swap.swap(NEW, OLD)
    assert await office.lines(OLD) == {1: "1001", 4: "1002"}
    assert (await office.fleet.layer(Scope.DEVICE, OLD)).values == {"language": "fr-FR"}
    assert not (await office.fleet.wipe(OLD)).everything
    assert (await office.fleet.wipe(NEW)).replaced_by == OLD
    await office.fleet.end_wipe(NEW)
    assert (await office.fleet.layer(Scope.DEVICE, NEW)).values == {}
    with pytest.raises(Conflict, match="is wiped"):
        await office.fleet.wipe_device(NEW)
        await office.swap.plan_swap(NEW, SMALL)


@pytest.mark.asyncio
async def test_a_replaced_phone_is_nobodys_before_it_has_fetched_what_empties_it(
    office: Office, make_recorder: Callable[..., Recorder]
) -> None:
    """Its own settings go with the end of its wipe: nothing would name them any more."""
    await office.swap.swap(OLD, NEW)
    cure = f"was replaced by {NEW.colons} and has not fetched yet .* end its wipe"
    with pytest.raises(Conflict, match=cure):
        await office.fleet.bind(OLD, 1, extension="1003")
    with pytest.raises(Conflict, match=cure):
        await office.swap.rebind(OLD, 1, extension="1003")
    await office.fleet.bind(SMALL, 1, extension="1003")
    with pytest.raises(Conflict, match=cure):
        await office.swap.plan_swap(SMALL, OLD)
    assert (await office.fleet.wipe(OLD)).pending and await office.lines(OLD) == {}
    recorder = make_recorder()
    about = (Proof.CERTIFICATE, ListenerKind.DEVICE, "TLSv1.3", "", 10_000)
    recorder.fetch(FetchRecord(OLD, f"{OLD}.cfg", 2000.0, 200, 3, "0" * 64, *about))
    await recorder.flush()
    await office.fleet.bind(OLD, 1, extension="1003", replace=True)
    (told,) = await office.fleet.events(kind="wipe_ended")
    assert (told.mac, told.details) == (OLD, {"replaced_by": NEW, "fetched": "yes"})


@pytest.mark.asyncio
async def test_who_ends_the_wait_by_hand_may_bind(office: Office) -> None:
    await office.swap.swap(OLD, NEW)
    await office.fleet.end_wipe(OLD)
    await office.fleet.bind(OLD, 1, extension="1003")
    assert (await office.lines(OLD), (await office.fleet.layer(Scope.DEVICE, OLD)).values) == ({1: "1003"}, {})


@pytest.mark.asyncio
async def test_what_the_old_phone_may_know_is_exchanged_though_no_fetch_is_on_record(office: Office) -> None:
    async with office.store.writing() as connection:
        await write_device(connection, OLD, {"served": None, "served_at": None})
    plan = await office.swap.plan_swap(OLD, NEW)
    assert plan.exchanged == ("1001", "1002") == tuple((await office.swap.swap(OLD, NEW)).exchanged)
    assert [one.severity for one in await office.fleet.events(kind="secret_rotated")] == ["warning"] * 2


# --- killed in the middle ----------------------------------------------------------------------------------

SWAPPER = """
import asyncio, sys
from pathlib import Path
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.swap import Swap
from provisioner.model import Mac
from provisioner.store.database import Store
from provisioner.store.secretbox import SecretBox
from provisioner.vendors import drivers

async def main(url, key, *macs):
    known = {one.manifest.name: one for one in drivers()}
    async with Store(url, SecretBox.load(Path(key)), Path("/nowhere")) as store:
        desk = Swap(store, known)
        print("ready", flush=True)
        old, new = (Mac(one) for one in macs)
        while True:
            token = (await desk.plan_swap(old, new)).token
            await desk.swap(old, new, plan=token)
            print(f"{old} {new}", flush=True)
            old, new = new, old

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.slow
def test_killed_at_any_moment_one_phone_has_it_all(url: str, box: SecretBox, tmp_path: Path) -> None:
    """One of the two has both lines and the settings, the other is wiped and says who took its place."""
    known = {one.manifest.name: one for one in drivers()}

    async def begin() -> None:
        async with Store(url, box, tmp_path / "uploads") as store:
            await furnish(Fleet(store, known), store)

    async def looked() -> dict[Mac, tuple[dict[int, str], bool, str, object]]:
        async with Store(url, box, tmp_path / "uploads") as store:
            fleet, told = Fleet(store, known), {}
            for mac in (OLD, NEW):
                wipe, layer = await fleet.wipe(mac), await fleet.layer(Scope.DEVICE, mac)
                lines = {one.line: one.number for one in await fleet.bindings(mac, active=True)}
                told[mac] = lines, wipe.everything, wipe.replaced_by, dict(layer.values)
            return told

    asyncio.run(begin())
    luck, holder, other, swaps = random.Random(42), OLD, NEW, 0
    for _ in range(4):
        words = [sys.executable, "-c", SWAPPER, url, str(key_path(tmp_path)), holder, other]
        child = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert child.stdout is not None
        told = b"".join(child.stdout.readline() for _ in range(luck.randint(2, 5)))
        time.sleep(luck.uniform(0, 0.05))
        child.send_signal(signal.SIGKILL)
        told += child.communicate()[0]
        swaps += told.count(b"\n") - 1
        found = asyncio.run(looked())
        (holder,) = [mac for mac, (lines, *_) in found.items() if lines]
        (other,) = [mac for mac in found if mac != holder]
        assert found[holder] == ({1: "1001", 4: "1002"}, False, "", {"language": "de-DE"})
        assert found[other][:3] == ({}, True, holder)
    assert swaps >= 4, "it was killed between swaps, not before the first one"
