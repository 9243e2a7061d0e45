"""A line that changes has its phones fetch again: in the same transaction, once, in turn; nobody who never came."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest
import pytest_asyncio
from fake_ami import SECRET, FakeAmi
from resync_fleet import PHONES, Floor

from provisioner.ami import Ami
from provisioner.errors import Conflict, ExtensionHasPhone
from provisioner.fleet.rebind import Rebinding
from provisioner.line_errands import LINES, SETTLE
from provisioner.model import Event, Mac
from provisioner.resync.errands import UNTOLD, Errands
from provisioner.resync.pbx import Pbx
from provisioner.resync_states import State, Way
from provisioner.store.database import Store
from provisioner.store.journal import write_events
from provisioner.store.resync import lines

pytestmark = pytest.mark.asyncio
ONE, TWO, THREE = PHONES[:3]
NEW = Mac("0004f2aabbee")
DESK = Mac("001565aabb01")


class Flows:
    """Of all phones; who was told what, and when."""

    def __init__(self, floor: Floor, *, pace: float = 1000.0) -> None:
        self.heard: list[tuple[Mac, str]] = []
        self.moments: list[float] = []
        self._floor = floor
        self.errands = Errands(floor.store, floor.drivers, floor.settings, clock=floor.clock, pace=lambda: pace)

    async def _notify(self, mac: Mac, event: str) -> int:
        await asyncio.sleep(0)
        self.heard.append((mac, event))
        self.moments.append(self._floor.clock.now)
        return 200

    async def pass_by(self, seconds: float, *held: Mac) -> None:
        """Time goes by, a turn a second."""
        until = self._floor.clock.now + seconds
        while self._floor.clock.now < until:
            self._floor.clock.now += 1
            await self.errands.send(held, self._notify)
            await self.errands.close()


@pytest_asyncio.fixture
async def floor(store: Store, tmp_path: Path) -> Floor:
    floor = await Floor.opened(store, tmp_path)
    for number in range(1, 6):
        await floor.fleet.add_extension(f"200{number}", account="Acme", user="Ann", auth_user=f"v{number}")
    floor.clock.now += 60
    return floor


async def waiting(floor: Floor, mac: Mac = NEW, vendor: str = "poly", model: str = "VVX 411") -> None:
    """It has no line, and has fetched what it waits with."""
    await floor.fleet.add_device(mac, vendor=vendor, model=model, account="Acme")
    await floor.fetch(mac)
    floor.clock.now += 60


async def test_a_phone_that_waits_is_told_when_it_is_bound_and_has_come_when_it_fetches(floor: Floor) -> None:
    await waiting(floor, DESK, "yealink", "SIP-T46S")
    flows = Flows(floor)
    await floor.fleet.bind(DESK, 1, extension="2001")
    assert await floor.states() == {DESK: State.BOUND}, "asked for when the binding is there"
    await flows.pass_by(10, DESK)
    assert flows.heard == [(DESK, "check-sync;reboot=true")], "a phone that nobody uses restarts"
    await floor.fetch(DESK)
    await flows.pass_by(2)
    one = await floor.standing(DESK)
    assert (one.state, one.campaign, one.wave) == (State.FETCHED, LINES, -1)


async def test_whoever_has_never_been_here_is_not_asked_for(floor: Floor) -> None:
    await floor.fleet.add_device(NEW, vendor="poly", model="VVX 411", account="Acme")
    await floor.fleet.bind(NEW, 1, extension="2001")
    await floor.fleet.unbind(NEW, 1)
    assert await floor.states() == {}


async def test_a_stranger_that_was_offered_activation_has_been_here(floor: Floor) -> None:
    """It had no row to be noted in; after it was added it waits where it was."""
    offered = Event("activation_offered", floor.clock.now - 3600, NEW, actor="server")
    async with floor.store.writing() as connection:
        await write_events(connection, [offered])
    await floor.fleet.add_device(NEW, vendor="poly", model="VVX 411", account="Acme")
    await floor.fleet.bind(NEW, 1, extension="2001")
    assert await floor.states() == {NEW: State.BOUND}
    await floor.resync.stop()
    floor.clock.now += 2 * 86_400
    await floor.fleet.bind(NEW, 2, extension="2002")
    assert await floor.states() == {NEW: State.STOPPED}, "it is long gone, and fetches when it is plugged in"


async def test_all_lines_bound_in_a_row_are_one_errand(floor: Floor) -> None:
    await waiting(floor, DESK, "yealink", "SIP-T46S")
    flows = Flows(floor)
    for line in range(1, 6):
        await floor.fleet.bind(DESK, line, extension=f"200{line}")
        await flows.pass_by(1, DESK)
    await floor.fleet.unbind(DESK, 5)
    await flows.pass_by(60, DESK)
    assert flows.heard == [(DESK, "check-sync;reboot=true")]
    assert flows.moments[0] <= floor.clock.now - 60 + SETTLE + 1


async def test_a_phone_with_a_line_is_not_restarted_for_another_and_told_when_one_is_taken(floor: Floor) -> None:
    await waiting(floor, DESK, "yealink", "SIP-T46S")
    await floor.fleet.bind(DESK, 1, extension="2001")
    floor.clock.now += 1
    await floor.fetch(DESK)
    flows = Flows(floor)
    await flows.pass_by(12, DESK)
    assert flows.heard == [], "who has fetched by itself is left alone"
    await floor.fleet.bind(DESK, 2, extension="2002")
    await flows.pass_by(5, DESK)
    await floor.fetch(DESK)
    await flows.pass_by(12, DESK)
    await floor.fleet.unbind(DESK, 1)
    await flows.pass_by(5, DESK)
    assert flows.heard == [(DESK, "check-sync;reboot=false")] * 2


async def test_who_loses_the_extension_is_told_too(floor: Floor) -> None:
    flows = Flows(floor)
    await floor.fleet.bind(TWO, 2, extension="1001", replace=True)
    await flows.pass_by(5, *PHONES)
    assert sorted(flows.heard) == [(ONE, "check-sync"), (TWO, "check-sync")]


async def test_a_bind_that_is_refused_asks_for_nobody(floor: Floor) -> None:
    with pytest.raises(ExtensionHasPhone):
        await floor.fleet.bind(TWO, 2, extension="1001")
    with pytest.raises(Conflict):
        await floor.fleet.bind(TWO, 1, extension="2001")
    assert await floor.states() == {}


async def test_a_revoked_phone_is_not_asked_for_nor_one_that_is_not_to_be_told(floor: Floor) -> None:
    await floor.fleet.bind(TWO, 2, extension="2001", resync=False)
    await floor.fleet.unbind(TWO, 2, resync=False)
    await floor.fleet.revoke_device(ONE)
    await floor.fleet.bind(ONE, 2, extension="2002")
    assert await floor.states() == {}


async def test_what_was_killed_after_the_bind_is_told_by_the_next(floor: Floor) -> None:
    await floor.fleet.bind(ONE, 2, extension="2001")
    floor.clock.now += 3600
    flows = Flows(floor)
    await flows.pass_by(5, ONE)
    assert flows.heard == [(ONE, "check-sync")]


async def test_many_binds_keep_to_the_budget_and_campaigns_make_room(store: Store, tmp_path: Path) -> None:
    floor = await Floor.opened(store, tmp_path, resync_share=1.0, resync_wave=10.0)
    floor.clock.now += 60
    begun, before = floor.clock.now, {one.mac: one.due for one in (await floor.begin(rate=0.25, account="Acme")).turns}
    for number, mac in enumerate(PHONES[:3]):  # they are the campaign's no more
        await floor.fleet.add_extension(f"300{number}", account="Acme", user="Ann")
        await floor.fleet.bind(mac, 2, extension=f"300{number}")
    flows = Flows(floor, pace=0.25)
    await flows.pass_by(60, *PHONES)
    assert sorted(mac for mac, _ in flows.heard) == sorted(PHONES)
    apart = [at for (mac, _), at in zip(flows.heard, flows.moments, strict=True) if mac in PHONES[:3]]
    assert all(later - sooner >= 4 for sooner, later in itertools.pairwise(apart)), "one in four seconds"
    late = [mac for mac in PHONES[3:] if before[mac] > begun + SETTLE + 1]
    assert late and {(await floor.standing(mac)).due - before[mac] for mac in late} == {12.0}, "three turns of 4 s"


async def test_a_phone_does_not_wait_for_the_end_of_a_campaign(floor: Floor) -> None:
    await floor.begin(rate=0.001, account="Acme")
    flows = Flows(floor)
    await floor.fleet.bind(PHONES[5], 2, extension="2001")
    await flows.pass_by(SETTLE + 1, *PHONES)
    assert PHONES[5] in [mac for mac, _ in flows.heard]


async def test_nobody_takes_a_row_before_it_has_its_turn(floor: Floor) -> None:
    await floor.fleet.bind(ONE, 2, extension="2001")
    floor.clock.now += SETTLE + UNTOLD + 10
    assert await floor.errands.take({ONE}) == []
    await floor.errands.turn()
    assert (await floor.standing(ONE)).way is Way.NONE, "it was offered to nobody yet"
    assert [one.mac for one in await floor.errands.take({ONE})] == [ONE]


async def test_whom_nobody_can_tell_polls_and_is_told_how_long(floor: Floor) -> None:
    await floor.fleet.bind(ONE, 2, extension="2001")
    flows = Flows(floor)
    await flows.pass_by(SETTLE + UNTOLD + 5)
    one = await floor.standing(ONE)
    assert (one.state, one.way) == (State.BOUND, Way.POLL) and "asks by itself within" in one.told(floor.clock.now)


async def test_the_pbx_tells_a_phone_that_its_only_line_is_gone(floor: Floor) -> None:
    """It is registered there with what it had."""
    await floor.fleet.unbind(ONE, 1)
    async with FakeAmi({"u1": "NOT_INUSE"}).running() as fake:
        ami = Ami("127.0.0.1", fake.port, "provisioner", SECRET, timeout=1.0)
        pbx = Pbx(floor.store, floor.errands, floor.settings, ami, clock=floor.clock)
        for _ in range(6):
            floor.clock.now += 1
            await pbx.send()
        await ami.close()
    assert fake.notified == [("u1", "Event=check-sync")]
    await floor.fetch(ONE)
    async with floor.store.reading() as connection:
        assert await lines(connection, ONE) == [], "what it runs now has none"


async def test_an_assignment_is_one_campaign_of_its_own_and_only_if_it_is_wanted(floor: Floor) -> None:
    desk = Rebinding(floor.store, floor.drivers, actor="ann", clock=floor.clock)
    quiet = await desk.rebind(ONE, 1, extension="2001", resync=False)
    assert (quiet.campaign, await floor.states()) == ("", {})
    told = await desk.rebind(TWO, 1, extension="2001", replace=True)
    assert told.campaign not in {"", LINES}
    assert {one.mac for one in await floor.resync.standings(campaign=told.campaign)} == {ONE, TWO}
    released = await desk.release(TWO, 1)
    assert [one.mac for one in await floor.resync.standings(campaign=released.campaign)] == [TWO]
    await floor.fleet.add_device(NEW, vendor="poly", model="VVX 411", account="Acme")
    assert (await desk.rebind(NEW, 1, extension="2001")).campaign == "", "it has never been here"
