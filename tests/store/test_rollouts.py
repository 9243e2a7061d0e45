"""A change that many phones get: confirmed, first a few, watched, promoted or halted by itself; on both databases."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from resync_fleet import PHONES, URLS, Floor

from provisioner.capacity import given
from provisioner.errors import Conflict, Invalid, NotFound, WideChange
from provisioner.fleet.revisions import Revisions
from provisioner.model import Mac, Scope
from provisioner.resync.resync import Resync
from provisioner.resync.rollouts import RolloutRunner
from provisioner.resync_states import State
from provisioner.rights import Holding, Principal, Role, parts_of
from provisioner.rollout_states import PARTS, RolloutState, part_of
from provisioner.store.database import Store
from provisioner.store.rollouts import Rollout
from provisioner.store.views import Views

pytestmark = pytest.mark.asyncio
ON_ONE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
"""What no statement of a database decides."""
WIDE = {"rollout_confirm": 3, "rollout_growth": 3.0, "resync_wave": 1.0, "resync_share": 1.0}


class Fleet(Floor):
    """Six phones of which more than three are many, and whoever takes rollouts on."""

    @property
    def layers(self) -> Revisions:
        return Revisions(self.store, self.drivers, self.settings, actor="ann", clock=self.clock)

    def runner(self) -> RolloutRunner:
        """As it is after each restart."""
        return RolloutRunner(self.store, self.drivers, self.settings, lambda: URLS, lambda: given(1000.0), self.clock)

    async def wide(self, **more: Any) -> Rollout:
        found = await self.layers.change_layer(Scope.ACCOUNT, "Acme", {"sip.expiry": 900}, confirm=6, **more)
        assert found.rollout is not None
        return found.rollout

    async def expiry(self, *macs: Mac) -> dict[Mac, object]:
        """What each phone's layers say, as a worker sees it that has just been started."""
        views = Views(self.store)
        await views.open()
        found: dict[Mac, object] = {}
        for mac in macs or PHONES:
            view = await views.boot_view(mac)
            assert view is not None
            one = views.shared(view.device)[0].get("sip.expiry")
            found[mac] = one.value if one else None
        await views.close()
        return found

    async def has(self) -> set[Mac]:
        return {mac for mac, value in (await self.expiry()).items() if value == 900}

    async def tell(self, answer: int = 200) -> set[Mac]:
        """Every phone whose turn has come answers its NOTIFY so."""
        heard: set[Mac] = set()

        async def notify(mac: Mac, event: str) -> int:
            del event
            heard.add(mac)
            return answer

        for _ in range(3):  # the first after a while only puts turns off
            self.clock.now += 5
            await self.errands.send(PHONES, notify)
            await self.errands.close()
        return heard

    async def now(self, one: Rollout) -> Rollout:
        return (await self.layers.rollout(one.id)).rollout

    async def step(self, *, back: Collection[Mac] | None = None) -> set[Mac]:
        """Ask the phones of a step; those of ``back`` come, or all."""
        await self.runner().turn()
        told = await self.tell()
        self.clock.now += 10
        await self.fetch(*(mac for mac in told if back is None or mac in back))
        return told


@pytest_asyncio.fixture
async def fleet(store: Store, tmp_path: Path) -> Fleet:
    found = await Fleet.opened(store, tmp_path, **WIDE)
    assert isinstance(found, Fleet)
    return found


@ON_ONE
async def test_many_phones_are_asked_about_and_few_are_not(fleet: Fleet) -> None:
    with pytest.raises(WideChange, match="concerns 6 phones") as caught:
        await fleet.layers.change_layer(Scope.ACCOUNT, "Acme", {"sip.expiry": 900})
    assert caught.value.phones == 6
    with pytest.raises(WideChange, match="not 5"):
        await fleet.layers.change_layer(Scope.ACCOUNT, "Acme", {"sip.expiry": 900}, confirm=5)
    assert (await fleet.layers.layer(Scope.ACCOUNT, "Acme")).values == {}
    alone = await fleet.layers.change_layer(Scope.DEVICE, PHONES[0], {"sip.expiry": 600})
    assert (alone.phones, alone.rollout) == (1, None)
    with pytest.raises(Invalid, match="canary"):
        await fleet.layers.change_layer(Scope.ACCOUNT, "Acme", {"sip.expiry": 900}, confirm=6, canary=0.0)


async def test_a_few_get_it_first_and_that_survives_everything(fleet: Fleet) -> None:
    one = await fleet.wide()
    first = await fleet.has()
    assert 1 <= len(first) < 6
    assert first == {mac for mac in PHONES if part_of(mac, one.revision) < one.share}
    later = Mac("0004f2aabbff")
    await fleet.fleet.add_device(later, vendor="poly", model="VVX 411", account="Acme")
    wanted = 900 if part_of(later, one.revision) < one.share else None
    assert await fleet.expiry(later) == {later: wanted}
    with pytest.raises(Conflict, match="is being rolled out"):
        await fleet.layers.change_layer(Scope.ACCOUNT, "Acme", {"language": "de-DE"}, confirm=7)
    with pytest.raises(Conflict, match="is being rolled out"):
        await fleet.fleet.set_layer(Scope.ACCOUNT, "Acme", {"language": "de-DE"})


@ON_ONE
async def test_a_worker_that_runs_takes_each_step_up(fleet: Fleet) -> None:
    views = Views(fleet.store)
    await views.open()
    one = await fleet.wide()
    for _ in range(4):
        await views.refresh()
        seen = {}
        for mac in PHONES:
            view = await views.boot_view(mac)
            assert view is not None
            seen[mac] = "sip.expiry" in views.shared(view.device)[0]
        one = await fleet.now(one)
        assert {mac for mac, new in seen.items() if new} == {m for m in PHONES if part_of(m, one.revision) < one.share}
        if one.share < PARTS:
            await fleet.layers.promote_rollout(one.id)
    await views.close()


async def test_phones_that_come_back_take_it_to_everybody(fleet: Fleet) -> None:
    one = await fleet.wide()
    told: set[Mac] = set()
    shares = []
    for _ in range(8):
        shares.append((await fleet.now(one)).share)
        fresh = await fleet.step()
        assert not fresh & told, "nobody is told twice"
        told |= fresh
        assert told <= await fleet.has()
        await fleet.runner().turn()
        if (await fleet.now(one)).ended:
            break
    assert (await fleet.now(one)).state is RolloutState.DONE
    assert shares == sorted(set(shares))
    assert told == set(PHONES) == await fleet.has()
    assert [event.kind for event in await fleet.events("rollout_finished")] == ["rollout_finished"]
    assert not await fleet.events("rollout_halted")
    again = await fleet.layers.change_layer(Scope.ACCOUNT, "Acme", {"language": "de-DE"}, confirm=6, canary=100.0)
    assert again.rollout is not None
    assert again.rollout.share == PARTS


@ON_ONE
async def test_it_halts_by_itself_when_phones_do_not_come_back(fleet: Fleet) -> None:
    one = await fleet.wide(canary=50.0)
    first = await fleet.has()
    told = await fleet.step(back=())
    assert told == first
    fleet.clock.now += fleet.settings.rollout_wait / 2
    await fleet.runner().turn()
    assert (await fleet.now(one)).state is RolloutState.WATCHING, "there is still time"
    fleet.clock.now += fleet.settings.rollout_wait
    await fleet.runner().turn()
    halted = await fleet.now(one)
    assert halted.state is RolloutState.HALTED
    assert halted.why == f"{len(first)} of {len(first)} phones that got it have not come back"
    (alarm,) = await fleet.events("rollout_halted")
    assert (alarm.severity, alarm.actor, alarm.details["reason"]) == ("alarm", "server", halted.why)
    await fleet.runner().turn()
    assert await fleet.has() == first, "nobody else gets it"
    assert await fleet.tell() == set()


@ON_ONE
async def test_what_was_halted_is_taken_back_from_those_who_have_it(fleet: Fleet) -> None:
    one = await fleet.wide(canary=50.0)
    first = await fleet.has()
    await fleet.step()
    await fleet.layers.halt_rollout(one.id)
    with pytest.raises(Conflict, match="halted already"):
        await fleet.layers.halt_rollout(one.id)
    found = await fleet.layers.revert_layer(Scope.ACCOUNT, "Acme", one.revision)
    assert (await fleet.now(one)).state is RolloutState.REVERTED
    assert await fleet.has() == set()
    assert found.rollout is not None
    assert await fleet.step() == first, "they are told, and nobody else is"
    await fleet.runner().turn()
    assert (await fleet.now(found.rollout)).state is RolloutState.DONE


@ON_ONE
async def test_a_halted_one_goes_on_when_somebody_says_so(fleet: Fleet) -> None:
    one = await fleet.wide(canary=30.0)
    await fleet.layers.halt_rollout(one.id)
    assert await fleet.runner().turn() == 0
    whole = await fleet.layers.promote_rollout(one.id, everybody=True)
    assert (whole.state, whole.share, whole.why) == (RolloutState.TELLING, PARTS, "")
    assert await fleet.has() == set(PHONES)
    assert await fleet.step() == set(PHONES)
    done = await fleet.layers.promote_rollout(one.id)
    assert done.state is RolloutState.DONE
    for act in (fleet.layers.promote_rollout, fleet.layers.halt_rollout):
        with pytest.raises(Conflict, match="is over"):
            await act(one.id)
    with pytest.raises(NotFound):
        await fleet.layers.promote_rollout("nothing")


@ON_ONE
async def test_whoever_is_killed_after_asking_leaves_no_step_unwatched(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody was asked then: it is one transaction. The next process asks them, and waits for them."""
    one = await fleet.wide(canary=50.0)
    first = await fleet.has()
    begin = Resync.begin_in

    async def killed(self: Resync, *given: Any) -> None:
        await begin(self, *given)
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Resync, "begin_in", killed)
        with pytest.raises(RuntimeError):
            await fleet.runner().turn()
    assert await fleet.runner().turn() == 0, "the dead one's lease"
    assert await fleet.states() == {}
    fleet.clock.now += 601
    await fleet.runner().turn()
    now = await fleet.now(one)
    assert now.state is RolloutState.WATCHING
    counts = await fleet.resync.counts(now.campaign)
    assert sum(counts.values()) == len(first)
    assert await fleet.runner().turn() == 0
    assert (await fleet.now(one)).share == one.share


async def test_who_cannot_be_told_is_waited_for_until_patience_ends(fleet: Fleet) -> None:
    one = await fleet.wide(canary=50.0)
    first = await fleet.has()
    await fleet.runner().turn()
    for _ in range(4):  # nobody has their flow, so they are left to their polling
        fleet.clock.now += 7
        await fleet.errands.turn()
    await fleet.runner().turn()
    assert (await fleet.layers.rollout(one.id)).tally.silent == len(first)
    assert (await fleet.now(one)).state is RolloutState.WATCHING
    fleet.clock.now += fleet.settings.rollout_patience
    await fleet.runner().turn()
    halted = await fleet.now(one)
    assert (halted.state, halted.why) == (
        RolloutState.HALTED, f"only 0 of {len(first)} phones have fetched it in 48 h",
    )  # fmt: skip


@ON_ONE
async def test_a_step_in_which_nobody_gets_anything_else_is_over_at_once(fleet: Fleet) -> None:
    """Each phone's own layer says otherwise."""
    for mac in PHONES:
        await fleet.fleet.set_layer(Scope.DEVICE, mac, {"sip.expiry": 600})
    await fleet.fetch(*PHONES)
    one = await fleet.wide()
    for _ in range(12):
        await fleet.runner().turn()
    assert (await fleet.now(one)).state is RolloutState.DONE
    assert await fleet.tell() == set()


@ON_ONE
async def test_where_no_phone_has_been_there_is_nothing_to_watch(fleet: Fleet) -> None:
    account = await fleet.fleet.add_account("New")
    for number in range(5):
        mac = Mac(f"0004f2cc000{number}")
        await fleet.fleet.add_device(mac, vendor="poly", model="VVX 411", account=account.id)
    found = await fleet.layers.change_layer(Scope.ACCOUNT, "New", {"sip.expiry": 900}, confirm=5)
    assert (found.phones, found.rollout) == (5, None)


async def test_nobody_sees_or_moves_rollouts_beyond_their_accounts(fleet: Fleet) -> None:
    other = await fleet.fleet.add_account("Other")
    one = await fleet.wide()
    who = Principal("eve", parts_of(Holding(Role.DEVICE_ADMIN, other.id), "eve"))
    eve = Revisions(fleet.store, fleet.drivers, fleet.settings, clock=fleet.clock, principal=who)
    assert await eve.rollouts() == []
    for act in (eve.rollout, eve.promote_rollout, eve.halt_rollout):
        with pytest.raises(NotFound):
            await act(one.id)
    with pytest.raises(NotFound):
        await eve.revert_layer(Scope.ACCOUNT, one.key, one.revision)
    mine = (await fleet.fleet.accounts())[0].id
    hers = Principal("ada", parts_of(Holding(Role.DEVICE_ADMIN, mine), "ada"))
    ada = Revisions(fleet.store, fleet.drivers, fleet.settings, clock=fleet.clock, principal=hers)
    assert [found.id for found in await ada.rollouts()] == [one.id]
    assert (await ada.promote_rollout(one.id)).step == 2


@ON_ONE
async def test_what_was_told_is_left_when_it_is_halted(fleet: Fleet) -> None:
    """Who waits for their turn is told no more."""
    one = await fleet.wide(canary=100.0)
    await fleet.runner().turn()
    await fleet.layers.halt_rollout(one.id)
    assert set((await fleet.states()).values()) == {State.STOPPED}
    assert await fleet.tell() == set()
