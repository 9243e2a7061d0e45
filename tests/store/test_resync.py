"""Campaigns: who needs to fetch again, whose turn it is, who tells it, and how far it has come; on both databases."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Container
from pathlib import Path

import pytest
import pytest_asyncio
from resync_fleet import PHONES, URLS, Floor

from provisioner.errors import NotFound
from provisioner.model import Mac, Scope
from provisioner.resync.compare import Verdict
from provisioner.resync.errands import LEASE, UNTOLD, Errands
from provisioner.resync.resync import Whom
from provisioner.resync_states import State, Step, Way
from provisioner.store.database import Store
from provisioner.store.resync import Errand, Outcome

pytestmark = pytest.mark.asyncio
ONE, TWO, THREE = PHONES[:3]


@pytest_asyncio.fixture
async def floor(store: Store, tmp_path: Path) -> Floor:
    return await Floor.opened(store, tmp_path)


class Phones:
    """Flows; each NOTIFY is answered with a status, and counted."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.heard: list[tuple[Mac, str]] = []

    async def notify(self, mac: Mac, event: str) -> int:
        await asyncio.sleep(0)
        self.heard.append((mac, event))
        return self.status

    @property
    def macs(self) -> list[Mac]:
        return [mac for mac, _ in self.heard]


async def send(errands: Errands, held: Container[Mac], phones: Phones) -> int:
    """One turn, and its answers."""
    before = len(phones.heard)
    await errands.send(held, phones.notify)
    await errands.close()
    return len(phones.heard) - before


# --- who ------------------------------------------------------------------------------------------


async def test_nobody_needs_what_everybody_has(floor: Floor) -> None:
    draft = await floor.begin(changed=True)
    assert not draft.turns and not draft.left_out and await floor.resync.counts() == {}


async def test_a_changed_phone_is_told_and_no_other(floor: Floor) -> None:
    await floor.change(TWO)
    draft = await floor.begin(changed=True)
    assert [one.mac for one in draft.turns] == [TWO]
    assert await floor.states() == {TWO: State.BOUND}
    [begun] = await floor.events("resync_begun")
    assert (begun.mac, begun.actor, begun.details["devices"]) == (TWO, "ann", "1")


async def test_a_newer_revision_that_makes_the_same_files_restarts_nobody(floor: Floor) -> None:
    [account] = await floor.fleet.accounts()
    await floor.fleet.set_layer(Scope.ACCOUNT, account.id, {}, {"yealink:phone_setting.backlight_time": "1"})
    draft = await floor.resync.plan(Whom(changed=True), 10.0, URLS)
    assert not draft.turns and draft.left_out == {Verdict.SAME: len(PHONES)}
    await floor.resync.begin(draft)
    again = await floor.resync.plan(Whom(changed=True), 10.0, URLS)
    assert not again.left_out, "what was found to be the same is not rendered again"


async def test_a_layer_that_phones_share_concerns_them_all(floor: Floor) -> None:
    site = (await floor.fleet.sites())[0]
    await floor.fleet.set_layer(Scope.SITE, site.id, {}, {"poly:voice.volume.test": "7"})
    assert [one.mac for one in (await floor.begin(changed=True)).turns] == list(PHONES[:4])


async def test_a_phone_that_never_came_or_is_revoked_is_not_told(floor: Floor) -> None:
    stranger = Mac("0004f2aabbff")
    await floor.fleet.add_device(stranger, vendor="poly", model="VVX 411", account="Acme")
    await floor.change(ONE, TWO)
    await floor.fleet.revoke_device(ONE)
    assert [one.mac for one in (await floor.resync.plan(Whom(changed=True), 10.0, URLS)).turns] == [TWO]
    with pytest.raises(NotFound, match="revoked"):
        await floor.resync.plan(Whom(mac=ONE), 10.0, URLS)
    with pytest.raises(NotFound, match="nobody has added"):
        await floor.resync.plan(Whom(mac=Mac("0004f2000000")), 10.0, URLS)
    with pytest.raises(NotFound, match="Nowhere"):
        await floor.resync.plan(Whom(account="Nowhere"), 10.0, URLS)


async def test_by_name_a_phone_is_told_although_nothing_has_changed(floor: Floor) -> None:
    await floor.begin(mac=ONE, reboot=True)
    phones = Phones()
    assert await send(floor.errands, {ONE}, phones) == 1
    assert phones.heard == [(ONE, "check-sync")]
    await floor.errands.turn()
    assert (await floor.standing(ONE)).state is State.NOTIFIED, "what it had before it was told is not what it fetched"
    floor.clock.now += 30
    await floor.fetch(ONE)
    await floor.errands.turn()
    assert (await floor.standing(ONE)).state is State.FETCHED


async def test_who_is_on_its_way_is_not_told_again(floor: Floor) -> None:
    await floor.change(ONE, TWO)
    await floor.begin(changed=True)
    await send(floor.errands, {ONE}, Phones())
    assert not (await floor.resync.plan(Whom(changed=True), 10.0, URLS)).turns
    floor.clock.now += floor.settings.activation_window + 1
    assert [one.mac for one in (await floor.resync.plan(Whom(changed=True), 10.0, URLS)).turns] == [ONE]


async def test_an_account_is_told_in_waves_no_two_of_a_small_site_at_once(floor: Floor) -> None:
    draft = await floor.begin(rate=100.0, account="Acme")
    berlin = sorted(one.due for one in draft.turns if one.mac in PHONES[:4])
    assert len(draft.turns) == len(PHONES) and draft.waves == 4
    assert all(after - before >= 180 for before, after in itertools.pairwise(berlin))


async def test_a_second_campaign_begins_behind_the_first(floor: Floor) -> None:
    first = await floor.begin(account="Acme")
    await floor.fleet.add_account("Beta")
    mac = Mac("0004f2aabbf1")
    await floor.fleet.add_device(mac, vendor="poly", model="VVX 411", account="Beta")
    await floor.fetch(mac)
    second = await floor.begin(account="Beta")
    assert second.turns[0].due >= first.until
    assert (await floor.resync.plan(Whom(mac=ONE), 10.0, URLS)).turns[0].due == floor.clock.now


# --- who tells it ---------------------------------------------------------------------------------


async def test_two_processes_never_tell_the_same_phone(store: Store, tmp_path: Path) -> None:
    floor = await Floor.opened(store, tmp_path, resync_share=1.0)
    await floor.begin(account="Acme", rate=1.5)
    phones = Phones()
    one, other = floor.another(), floor.another()
    for _ in range(6):
        await asyncio.gather(send(one, PHONES, phones), send(other, PHONES, phones))
        floor.clock.now += 1
    assert sorted(phones.macs) == sorted(PHONES)


async def test_fifty_takers_one_wins(floor: Floor) -> None:
    await floor.begin(mac=ONE)
    found = await asyncio.gather(*(floor.errands.take({ONE}) for _ in range(50)), return_exceptions=True)
    taken = [one for one in found if isinstance(one, list) and one]
    assert len(taken) == 1, found


async def test_what_a_killed_process_has_taken_is_told_by_the_next(floor: Floor) -> None:
    await floor.begin(mac=ONE)
    assert await floor.errands.take({ONE})
    phones, next_one = Phones(), floor.another()
    assert await send(next_one, {ONE}, phones) == 0
    floor.clock.now += LEASE + 1
    assert await send(next_one, {ONE}, phones) == 1 and phones.macs == [ONE]


async def test_a_phone_that_is_silent_keeps_no_process_from_ending(floor: Floor) -> None:
    async def never(_mac: Mac, _event: str) -> int:
        return await asyncio.get_running_loop().create_future()

    await floor.begin(mac=ONE)
    assert await floor.errands.send({ONE}, never) == 1
    async with asyncio.timeout(5):
        await floor.errands.close(0.05)
    floor.clock.now += LEASE + 1
    assert await send(floor.another(), {ONE}, Phones()) == 1


async def test_who_fetches_before_its_turn_is_not_restarted(floor: Floor) -> None:
    await floor.change(ONE)
    await floor.begin(changed=True)
    await floor.fetch(ONE)
    assert await floor.errands.take({ONE}) == []
    floor.clock.now += 10
    await floor.errands.turn()
    assert (await floor.standing(ONE)).state is State.FETCHED


async def test_a_late_answer_to_an_old_request_does_not_count_for_a_new_one(floor: Floor) -> None:
    await floor.begin(mac=ONE)
    [errand] = await floor.errands.take({ONE})
    floor.clock.now += 1
    await floor.begin(mac=ONE, reboot=True)
    assert not await floor.errands.told(errand, Outcome("SIP 200", Step.NOTIFY))
    assert (await floor.standing(ONE)).state is State.BOUND


async def test_a_phone_that_does_not_answer_is_left_to_its_polling_and_says_how_long(floor: Floor) -> None:
    await floor.change(ONE)
    await floor.begin(changed=True)
    phones = Phones(408)
    for _ in range(10):
        await send(floor.errands, {ONE}, phones)
        floor.clock.now += floor.settings.resync_again + 1
    one = await floor.standing(ONE)
    assert (len(phones.heard), one.state, one.way, one.tries) == (3, State.BOUND, Way.POLL, 3)
    assert one.result == "SIP 408" and "asks by itself within 28 h" in one.told(one.due)
    assert [event.severity for event in await floor.events("resync_told")] == ["warning"] * 3


@pytest.mark.parametrize("status", [405, 481, 489])
async def test_a_phone_that_takes_no_notify_is_waited_for_and_told_no_more(floor: Floor, status: int) -> None:
    await floor.change(ONE)
    await floor.begin(changed=True)
    phones = Phones(status)
    for _ in range(10):
        await send(floor.errands, {ONE}, phones)
        floor.clock.now += floor.settings.resync_again + 1
    one = await floor.standing(ONE)
    assert (len(phones.heard), one.state, one.way) == (1, State.BOUND, Way.POLL)
    assert one.result == f"SIP {status}, takes no NOTIFY" and "asks by itself within 28 h" in one.told(one.due)
    assert [event.details["result"] for event in await floor.events("resync_told")] == [one.result]
    await floor.fetch(ONE)
    await floor.errands.turn()
    assert (await floor.standing(ONE)).state is State.FETCHED


async def test_whom_nobody_has_polls_and_is_told_when_it_turns_up(floor: Floor) -> None:
    await floor.begin(mac=ONE)
    for _ in range(int(UNTOLD) + 2):
        await send(floor.errands, set(), Phones())
        floor.clock.now += 1
    assert (await floor.standing(ONE)).way is Way.POLL
    phones = Phones()
    assert await send(floor.errands, {ONE}, phones) == 1


# --- what becomes of it ---------------------------------------------------------------------------


async def test_who_was_told_and_does_not_come_is_an_alarm_and_may_still_come(floor: Floor) -> None:
    await floor.change(ONE)
    await floor.begin(changed=True)
    await send(floor.errands, {ONE}, Phones())
    floor.clock.now += floor.settings.activation_window + 1
    await floor.errands.turn()
    await floor.errands.turn()
    [alarm] = await floor.events("resync_stuck")
    assert (alarm.mac, alarm.severity, alarm.details["way"]) == (ONE, "alarm", "ivr")
    assert (await floor.standing(ONE)).state is State.STUCK
    floor.clock.now += 60
    await floor.fetch(ONE)
    await floor.errands.settle()
    assert (await floor.standing(ONE)).state is State.FETCHED


async def test_who_polls_is_stuck_only_after_it_should_have_polled(floor: Floor) -> None:
    await floor.change(ONE)
    await floor.begin(changed=True)
    for seconds in (0, 1, 2, 3, 4, 5, 6, 26 * 3600):
        floor.clock.now += 1 if seconds < 7 else seconds
        await floor.errands.turn()
    assert (await floor.standing(ONE)).state is State.BOUND
    floor.clock.now += 4 * 3600
    await floor.errands.turn()
    assert (await floor.standing(ONE)).state is State.STUCK


async def test_many_alarms_at_once_are_one(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisioner.resync.errands._EACH", 3)
    monkeypatch.setattr("provisioner.resync.errands.AT_ONCE", 5)
    await floor.begin(account="Acme", rate=1000.0)
    for _ in range(10):
        await send(floor.errands, PHONES, Phones())
        floor.clock.now += 180
    floor.clock.now += 2 * floor.settings.activation_window
    await floor.errands.turn()
    [told] = await floor.events("resync_stuck")
    assert (told.mac, told.details["devices"]) == ("", "6")
    assert told.details["power"].startswith("left on"), "of so many nobody is unplugged"


async def test_a_campaign_goes_on_after_a_restart_and_does_not_make_up_for_the_time(floor: Floor) -> None:
    await floor.begin(account="Acme", rate=1000.0)
    floor.clock.now += 7200
    later, phones, moments = floor.another(), Phones(), list[float]()
    await asyncio.gather(floor.another().turn(), floor.another().turn(), later.turn())
    until = floor.clock.now + 800
    while len(phones.heard) < len(PHONES) and floor.clock.now < until:
        before = len(phones.heard)
        await send(later, PHONES, phones)
        moments += [floor.clock.now] * (len(phones.heard) - before)
        floor.clock.now += 5
    assert sorted(phones.macs) == sorted(PHONES), "put off once, by however many processes"
    berlin = [at for at, mac in zip(moments, phones.macs, strict=True) if mac in PHONES[:4]]
    assert all(after - before >= 175 for before, after in itertools.pairwise(berlin))


async def test_a_stopped_campaign_tells_nobody_any_more(floor: Floor) -> None:
    await floor.begin(account="Acme", rate=1000.0)
    phones = Phones()
    await send(floor.errands, PHONES, phones)
    told = set(phones.macs)
    assert told and await floor.resync.stop(account="Acme") == len(PHONES) - len(told)
    for _ in range(10):
        floor.clock.now += 180
        await send(floor.errands, PHONES, phones)
    assert set(phones.macs) == told
    assert await floor.resync.counts() == {State.NOTIFIED: len(told), State.STOPPED: len(PHONES) - len(told)}
    [stopped] = await floor.events("resync_stopped")
    assert stopped.actor == "ann" and await floor.resync.stop() == 0


async def test_a_removed_phone_takes_its_row_along_and_old_rows_go(floor: Floor) -> None:
    await floor.begin(mac=ONE)
    await floor.begin(mac=TWO)
    await floor.fleet.remove_device(ONE)
    assert list(await floor.states()) == [TWO]
    await floor.resync.stop()
    floor.clock.now += 31 * 86_400
    await floor.errands.turn()
    assert await floor.states() == {}


async def test_an_errand_and_an_outcome_say_no_more_than_they_should(floor: Floor) -> None:
    await floor.begin(mac=ONE)
    [errand] = await floor.errands.take({ONE})
    assert isinstance(errand, Errand) and "Secret" not in repr(errand)
    assert floor.errands.outcome(0).result == "no flow" and floor.errands.outcome(481).step is None
