"""Phones told by the PBX: only those it holds, not in a call, and seen when they are back; on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from fake_ami import SECRET, FakeAmi
from resync_fleet import PHONES, Floor

from provisioner.ami import Ami
from provisioner.errors import Unusable
from provisioner.resync.errands import HEAD_START, LEASE
from provisioner.resync.pbx import Pbx, ami_of, require_endpoint
from provisioner.resync_states import State, Way
from provisioner.settings import Settings
from provisioner.store.database import Store

pytestmark = pytest.mark.asyncio
ONE, TWO = PHONES[:2]


@pytest_asyncio.fixture
async def floor(store: Store, tmp_path: Path) -> Floor:
    return await Floor.opened(store, tmp_path)


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[FakeAmi]:
    async with FakeAmi({f"u{number}": "NOT_INUSE" for number in range(1, 7)}).running() as running:
        yield running


@pytest_asyncio.fixture
async def pbx(floor: Floor, fake: FakeAmi) -> AsyncIterator[Pbx]:
    ami = Ami("127.0.0.1", fake.port, "provisioner", SECRET, timeout=1.0)
    yield Pbx(floor.store, floor.errands, floor.settings, ami, clock=floor.clock)
    await ami.close()


async def turns(floor: Floor, pbx: Pbx, seconds: float, step: float = 1.0) -> int:
    told, until = 0, floor.clock.now + seconds
    while floor.clock.now < until:
        told += await pbx.send()
        floor.clock.now += step
    return told


async def test_the_pbx_tells_a_phone_after_its_flow_had_its_chance(floor: Floor, pbx: Pbx, fake: FakeAmi) -> None:
    await floor.begin(mac=ONE, reboot=True)
    assert await pbx.send() == 0 and not fake.notified
    floor.clock.now += HEAD_START
    assert await pbx.send() == 1
    assert fake.notified == [("u1", "Event=check-sync")]
    one = await floor.standing(ONE)
    assert (one.state, one.way, one.result) == (State.NOTIFIED, Way.AMI, "sent by the PBX to u1")


async def test_a_phone_in_a_call_is_not_told_until_it_is_over(floor: Floor, pbx: Pbx, fake: FakeAmi) -> None:
    for busy in ("INUSE", "RINGING", "ONHOLD", "BUSY", "RINGINUSE"):
        fake.states["u1"] = busy
        await floor.begin(mac=ONE)
        assert await turns(floor, pbx, 200, step=5) == 0
        assert await pbx.busy(ONE) is True
    one = await floor.standing(ONE)
    assert (one.state, one.result, one.tries) == (State.BOUND, "in a call", 0)
    fake.states["u1"] = "NOT_INUSE"
    assert await pbx.busy(ONE) is False
    assert await turns(floor, pbx, 70) == 1 and len(fake.notified) == 1


async def test_a_call_on_any_line_counts(floor: Floor, pbx: Pbx, fake: FakeAmi) -> None:
    await floor.fleet.add_extension("1009", account="Acme", user="Ann", auth_user="u9")
    await floor.fleet.bind(ONE, 2, extension="1009")
    fake.states["u9"] = "ONHOLD"
    await floor.begin(mac=ONE)
    assert await turns(floor, pbx, 10) == 0


@pytest.mark.parametrize("state", ["UNAVAILABLE", "INVALID", "UNKNOWN"])
async def test_whom_the_pbx_does_not_hold_polls(floor: Floor, pbx: Pbx, fake: FakeAmi, state: str) -> None:
    fake.states["u1"] = state
    await floor.begin(mac=ONE)
    assert await turns(floor, pbx, 5) == 0
    one = await floor.standing(ONE)
    assert (one.way, one.result) == (Way.POLL, "not registered at the PBX") and await pbx.busy(ONE) is None


async def test_a_pbx_that_is_away_costs_one_time_out_a_turn_and_is_tried_again(
    floor: Floor, pbx: Pbx, fake: FakeAmi
) -> None:
    for mac in PHONES:
        await floor.begin(mac=mac)
    floor.clock.now += HEAD_START
    fake.secret = "changed"
    assert await pbx.send() == 0
    assert fake.connections == 1
    assert all(one.tries == 1 for one in await floor.resync.standings())
    fake.secret = SECRET
    floor.clock.now += floor.settings.resync_again + HEAD_START
    assert await pbx.send() == len(PHONES)


async def test_a_phone_is_registered_when_the_pbx_sees_it_again(floor: Floor, pbx: Pbx, fake: FakeAmi) -> None:
    await floor.change(ONE, TWO)
    await floor.begin(changed=True, rate=1000.0)
    await turns(floor, pbx, 400, step=5)
    assert len(fake.notified) == 2
    await floor.fetch(ONE, TWO)
    fake.states["u2"] = "UNAVAILABLE"
    await pbx.send()
    assert await floor.states() == {ONE: State.FETCHED, TWO: State.FETCHED}
    await turns(floor, pbx, 120, step=10)
    assert await floor.states() == {ONE: State.REGISTERED, TWO: State.FETCHED}
    await turns(floor, pbx, floor.settings.activation_window + 300, step=300)
    [alarm] = await floor.events("resync_stuck")
    assert (alarm.mac, alarm.details["result"]) == (TWO, "not registered")
    fake.states["u2"] = "INUSE"
    assert (await floor.states())[TWO] is State.STUCK


async def test_a_killed_process_leaves_its_errand_to_the_next(floor: Floor, pbx: Pbx, fake: FakeAmi) -> None:
    await floor.begin(mac=ONE)
    floor.clock.now += HEAD_START
    assert await floor.errands.take({ONE}, Way.AMI, late=HEAD_START)
    assert await turns(floor, pbx, LEASE - 10, step=5) == 0
    assert await turns(floor, pbx, 30, step=5) == 1


async def test_the_manager_interface_is_there_when_settings_say_so(tmp_path: Path) -> None:
    def of(**chosen: Any) -> Ami | None:
        return ami_of(Settings(data=tmp_path, **chosen))

    assert of() is None
    with pytest.raises(Unusable, match=r"resync\.ami_secret"):
        of(resync_ami_host="127.0.0.1")
    (tmp_path / "ami.secret").write_text(f"{SECRET}\n")
    (tmp_path / "ami.secret").chmod(0o640)
    with pytest.raises(Unusable, match=r"\(resync\.ami_secret\) can be read by others \(0640\)"):
        of(resync_ami_host="127.0.0.1")
    (tmp_path / "ami.secret").chmod(0o600)
    found = of(resync_ami_host="127.0.0.1")
    assert found is not None and SECRET not in repr(found)
    with pytest.raises(Unusable, match=r"resync\.ami_endpoint"):
        of(resync_ami_host="127.0.0.1", resync_ami_endpoint="{secret}")


@pytest.mark.parametrize("template", ["", "fixed", "{", "{0}", "{auth_user.__class__}", "{}", "{number[0]}"])
async def test_a_name_of_an_endpoint_is_made_of_what_is_known(template: str) -> None:
    with pytest.raises(Unusable):
        require_endpoint(template)
    require_endpoint("{auth_user}-{mac}")
