"""What a rollout must not go past: an administrator's halt, phones without files, phones of which nothing is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from resync_fleet import PHONES, URLS
from test_rollouts import ON_ONE, WIDE, Fleet

from provisioner.activation.binding import is_offered
from provisioner.errors import Conflict, StoreFailed
from provisioner.model import Mac, Scope
from provisioner.resync.resync import Resync, Whom
from provisioner.rollout_states import PARTS, Judgement, RolloutState, Rules, Tally, judge, part_of
from provisioner.store import devices
from provisioner.store.database import Store
from provisioner.store.rollouts import Rollout, list_rollouts

pytestmark = pytest.mark.asyncio
YEALINKS = tuple(Mac(f"805ec0aabb{number:02x}") for number in range(1, 6))
TOO_MANY = [{"match": f"x{number}xxxxxxxxxx", "prefix": "00000"} for number in range(10)]
"""Each is a rule, and all together are more than a phone of this vendor takes."""


@pytest_asyncio.fixture
async def fleet(store: Store, tmp_path: Path) -> Fleet:
    found = await Fleet.opened(store, tmp_path, **WIDE)
    assert isinstance(found, Fleet)
    return found


async def stale(fleet: Fleet) -> Rollout:
    """As a runner has read it a while ago."""
    async with fleet.store.reading() as connection:
        [one] = await list_rollouts(connection, under_way=True)
    return one


@pytest_asyncio.fixture
async def yea(fleet: Fleet) -> Fleet:
    """With an account of phones of another vendor."""
    await fleet.fleet.add_account("Yea")
    for mac in YEALINKS:
        await fleet.fleet.add_device(mac, vendor="yealink", model="T46U", account="Yea")
    await fleet.fetch(*YEALINKS)
    return fleet


@ON_ONE
async def test_a_wide_change_that_cannot_be_rendered_is_refused(yea: Fleet) -> None:
    with pytest.raises(Conflict, match=r"get no configuration any more: 80:5e:c0:aa:bb:01: .*dial"):
        await yea.layers.change_layer(Scope.ACCOUNT, "Yea", {"dialplan.rules": TOO_MANY}, confirm=5)
    assert (await yea.layers.layer(Scope.ACCOUNT, "Yea")).values == {}
    found = await yea.layers.change_layer(Scope.ACCOUNT, "Yea", {"dialplan.rules": TOO_MANY[:2]}, confirm=5)
    assert found.rollout is not None


@ON_ONE
async def test_taking_back_what_cannot_be_rendered_any_more_is_refused(yea: Fleet) -> None:
    """The rules of before stand in the way of what the phones have since."""
    await yea.fleet.set_layer(Scope.ACCOUNT, "Yea", {"dialplan.rules": TOO_MANY})
    change = await yea.layers.change_layer(Scope.ACCOUNT, "Yea", unset=["dialplan.rules"], confirm=5, canary=100.0)
    with pytest.raises(Conflict, match="get no configuration any more"):
        await yea.layers.revert_layer(Scope.ACCOUNT, "Yea", change.revision, confirm=5)


@ON_ONE
async def test_phones_that_get_nothing_any_more_halt_it(yea: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no sample stood for them."""
    monkeypatch.setattr("provisioner.fleet.rollouts._SAMPLE", 0)
    found = await yea.layers.change_layer(Scope.ACCOUNT, "Yea", {"dialplan.rules": TOO_MANY}, confirm=5)
    assert found.rollout is not None
    for _ in range(3):
        await yea.runner().turn()
    halted = await yea.now(found.rollout)
    assert (halted.state, halted.share) == (RolloutState.HALTED, found.rollout.share)
    assert halted.why.startswith("phones get no configuration any more: 80:5e:c0:aa:bb:")
    assert [event.severity for event in await yea.events("rollout_halted")] == ["alarm"]


async def test_a_runner_that_looked_before_undoes_no_halt(fleet: Fleet) -> None:
    one = await fleet.wide(canary=20.0)
    await fleet.step()
    await fleet.errands.settle()
    runner, before = fleet.runner(), await stale(fleet)
    assert before.state is RolloutState.WATCHING
    await fleet.layers.halt_rollout(one.id)
    assert not await runner._taken_on(before)
    assert (await fleet.now(one)).state is RolloutState.HALTED
    await runner._judge(before)
    now = await fleet.now(one)
    assert (now.state, now.share) == (RolloutState.HALTED, before.share)


async def test_a_halt_while_a_step_is_planned_is_the_last_word(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await fleet.wide(canary=60.0)
    plan = Resync.plan

    async def meanwhile(self: Resync, *given: Any) -> Any:
        found = await plan(self, *given)
        await fleet.layers.halt_rollout(one.id)
        return found

    monkeypatch.setattr(Resync, "plan", meanwhile)
    assert await fleet.runner().turn() == 0
    assert (await fleet.now(one)).state is RolloutState.HALTED
    assert await fleet.states() == {}
    assert await fleet.tell() == set()


async def test_phones_that_somebody_else_has_asked_are_asked_again(fleet: Fleet) -> None:
    """They say nothing: without a word of one it neither goes on nor halts, and in the end it asks them itself."""
    await fleet.begin(rate=0.001)
    one = await fleet.wide(canary=50.0)
    first = await fleet.has()
    for _ in range(8):
        await fleet.runner().turn()
        fleet.clock.now += 2
    now = await fleet.now(one)
    assert (now.state, now.share, now.differ) == (RolloutState.WATCHING, one.share, len(first))
    assert (await fleet.layers.rollout(one.id)).tally == Tally(elsewhere=len(first))
    await fleet.fetch(*PHONES)  # they came to the others' word, so they have the new value, and nobody watched
    fleet.clock.now += fleet.settings.rollout_patience
    await fleet.runner().turn()
    again = await fleet.now(one)
    assert (again.state, again.share, again.step) == (RolloutState.TELLING, one.share, 2)
    assert await fleet.step(back=()) == first, "asked once more, though they have it"
    assert (await fleet.layers.rollout(one.id)).tally.waiting == len(first)
    fleet.clock.now += fleet.settings.rollout_wait + 1
    await fleet.runner().turn()
    assert (await fleet.now(one)).state is RolloutState.HALTED, "they have not come back, and now that is known"


@ON_ONE
async def test_a_campaign_of_others_halts_no_rollout(fleet: Fleet) -> None:
    """Some of a step's phones wait in another's wave for ever; the others have come back, and it goes on."""
    one = await fleet.wide(canary=60.0)
    first = sorted(await fleet.has())
    assert len(first) > 1
    await fleet.runner().turn()
    others = await fleet.resync.plan(Whom(mac=first[0]), 1.0, URLS)
    await fleet.resync.begin(others)
    told = await fleet.tell()
    fleet.clock.now += 10
    await fleet.fetch(*(told - {first[0]}))
    await fleet.runner().turn()
    assert (await fleet.now(one)).share > one.share


@ON_ONE
async def test_phones_whose_telling_was_stopped_are_silent(fleet: Fleet) -> None:
    one = await fleet.wide(canary=50.0)
    first = await fleet.has()
    await fleet.runner().turn()
    assert await fleet.resync.stop() == len(first)
    for _ in range(3):
        await fleet.runner().turn()
    assert (await fleet.layers.rollout(one.id)).tally == Tally(silent=len(first))
    now = await fleet.now(one)
    assert (now.state, now.share) == (RolloutState.WATCHING, one.share)


@ON_ONE
async def test_without_prompts_whom_nobody_tells_is_left_to_polling(fleet: Fleet) -> None:
    """No other process looks after turns then: one phone that is off keeps no layer from being changed for ever."""
    one = await fleet.wide(canary=60.0)
    await fleet.runner().turn()
    asked = list(await fleet.states())
    assert len(asked) > 2
    await fleet.fetch(*asked[1:])
    fleet.clock.now += 60
    await fleet.runner().turn()
    await fleet.runner().turn()
    now = await fleet.now(one)
    assert (now.state, now.step) == (RolloutState.WATCHING, 2), "half of them is enough"


@ON_ONE
async def test_one_rollout_that_fails_keeps_no_other_from_its_judgement(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are watched come first: asking takes its time."""
    watched = await fleet.wide(canary=100.0)
    await fleet.step()
    other = await fleet.layers.change_layer(Scope.VENDOR, "poly", {"language": "de-DE"}, confirm=6, canary=50.0)
    assert other.rollout is not None

    seen = []

    async def never(*_: Any) -> Any:
        seen.append((await fleet.now(watched)).state)
        raise StoreFailed("the database is full")

    monkeypatch.setattr(Resync, "plan", never)
    with pytest.raises(StoreFailed):  # told, and counted, by who runs it
        await fleet.runner().turn()
    assert seen == [RolloutState.DONE]
    assert (await fleet.now(other.rollout)).state is RolloutState.TELLING


async def test_activation_is_offered_by_the_value_that_is_the_phones_own(fleet: Fleet) -> None:
    await fleet.fleet.set_layer(Scope.ACCOUNT, "Acme", {"activation": True})
    found = await fleet.layers.change_layer(Scope.ACCOUNT, "Acme", {"activation": False}, confirm=6, canary=1.0)
    one = found.rollout
    assert one is not None
    assert one.share < PARTS
    offered = set()
    async with fleet.store.reading() as connection:
        for mac in PHONES:
            device = await devices.find_device(connection, mac)
            if await is_offered(connection, fleet.store.box, mac, device, lambda _: False):
                offered.add(mac)
    assert offered == {mac for mac in PHONES if part_of(mac, one.revision) >= one.share}
    assert 0 < len(offered) < len(PHONES)


async def test_patience_ends_though_phones_are_waited_for() -> None:
    rules = Rules(missing=0.1, least=3, back=0.5, patience=3600.0)
    assert judge(Tally(back=1, waiting=9), rules, 3599)[0] is Judgement.WAIT
    assert judge(Tally(back=1, waiting=9), rules, 3600)[0] is Judgement.HALT
    assert judge(Tally(back=9, waiting=1), rules, 3600)[0] is Judgement.GO_ON
    generous = Rules(missing=0.1, least=3, back=0.0, patience=3600.0)
    assert judge(Tally(silent=3), generous, 0)[0] is Judgement.WAIT, "nothing is known yet"
    assert judge(Tally(back=1, silent=3), generous, 0)[0] is Judgement.GO_ON


async def test_phones_on_their_way_that_get_nothing_else_are_not_counted(fleet: Fleet) -> None:
    """What was told and has not fetched yet when it is taken back lacks nothing then: no alarm two days later."""
    one = await fleet.wide(canary=100.0)
    await fleet.runner().turn()
    assert await fleet.tell() == set(PHONES)
    found = await fleet.layers.revert_layer(Scope.ACCOUNT, "Acme", one.revision, confirm=6)
    assert found.rollout is not None
    await fleet.runner().turn()
    assert (await fleet.now(found.rollout)).differ == 0
    await fleet.runner().turn()
    assert (await fleet.now(found.rollout)).state is RolloutState.DONE
