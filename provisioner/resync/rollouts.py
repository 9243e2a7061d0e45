"""Takes rollouts on: has the phones of a step fetch, looks who comes back, and goes a step further or halts.

All that it knows stands in the database, so it goes on where it was after any restart. The phones of a step are those
that would get other files now; a step of which nobody would is over at once. What was read a while ago counts only
where nobody has moved it since: an administrator's halt is the last word.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.capacity import Capacity
from provisioner.errors import Conflict, ProvisionerError
from provisioner.model import Mac
from provisioner.rehearsal import LayerChange
from provisioner.resync.errands import SLOWEST, Errands
from provisioner.resync.resync import BaseUrls, Draft, Resync, Whom
from provisioner.rollout_moves import again, finish, halt, promote, told
from provisioner.rollout_states import PARTS, Judgement, RolloutState, Rules, judge, next_share, part_of
from provisioner.settings import Settings
from provisioner.shaping import campaign_pace
from provisioner.store import line_history, resync, rollouts
from provisioner.store.database import Store
from provisioner.store.layer_rows import read_layer
from provisioner.store.rollouts import AGAIN, Rollout
from provisioner.trial import mended_by
from provisioner.vendor import VendorDriver

_LEASE: Final = 600.0
"""s for one step of one rollout: a whole fleet's files are made in it. Who was killed is followed after that."""
_DAY: Final = 86_400.0
_SERVER: Final = "server"
_LOG: Final = logging.getLogger(__name__)


class RolloutRunner:
    """One a process that does so; more than one do no harm."""

    def __init__(
        self,
        store: Store,
        drivers: Mapping[str, VendorDriver],
        settings: Settings,
        base_urls: Callable[[], BaseUrls],
        capacity: Callable[[], Capacity | None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._drivers = drivers
        self._window = float(settings.activation_window)
        self._settings = settings
        self._base_urls = base_urls
        self._capacity = capacity
        self._clock = clock
        self._resync = Resync(store, drivers, settings, actor=_SERVER, clock=clock)
        self._errands = Errands(store, drivers, settings, clock=clock)
        self._prompts = max(settings.ivr_port, settings.ivr_tls_port) >= 0
        """Whether a process of this installation tells phones, and leaves whom nobody can tell to their polling."""
        s = settings
        self._rules = Rules(s.rollout_missing, s.rollout_least, s.rollout_back, s.rollout_patience, s.rollout_wait)

    async def turn(self) -> int:
        """Look at every rollout that is under way; how many went a step. Call it every few seconds."""
        async with self._store.reading() as connection:
            found = await rollouts.list_rollouts(connection, under_way=True)
        moving = [one for one in found if one.state is not RolloutState.HALTED]
        if moving:  # who has fetched is not on its way any more, and can be told of something else
            await self._errands.settle(untold=not self._prompts)
        moved, failed = 0, []
        for one in sorted(moving, key=lambda one: one.state is RolloutState.TELLING):  # asking takes its time
            try:
                moved += await self._taken_on(one)
            except ProvisionerError as error:
                _LOG.warning("rollout %s: %s", one.id, error.cause)
                failed.append(error)
        if failed:
            raise failed[0]
        return moved

    async def tidy(self) -> None:
        """Forget what is too old to be taken back."""
        before = self._clock() - self._settings.revision_keep * _DAY
        async with self._store.writing() as connection:
            await line_history.forget_before(connection, before)
            await rollouts.forget_before(connection, before)

    async def _taken_on(self, one: Rollout) -> bool:
        """Whether it went a step; another process may be at it, and an administrator may be quicker."""
        if one.state is RolloutState.WATCHING and not await self._is_due(one):
            return False
        async with self._store.writing() as connection:
            if not await rollouts.take(connection, one, self._clock(), _LEASE):
                return False
        try:
            await (self._ask(one) if one.state is RolloutState.TELLING else self._judge(one))
        except Conflict as error:
            _LOG.info("rollout %s: %s", one.id, error.cause)
            return False
        except ProvisionerError:
            async with self._store.writing() as connection:
                await rollouts.give_back(connection, one.id)
            raise
        return True

    async def _ask(self, one: Rollout) -> None:
        """Have the phones fetch that would get something new.

        Asking and that they were asked is one transaction: a halt or a revert is before it, and nobody is told, or
        after it, and stops the telling.
        """
        measured = self._capacity()
        rate = campaign_pace(measured.boots if measured else SLOWEST, self._settings.storm_campaign)

        def has_turn(mac: Mac) -> bool:
            return part_of(mac, one.revision) < one.share

        whom = Whom(changed=one.differ != AGAIN, layer=(one.scope, one.key), among=has_turn)
        draft = await self._resync.plan(whom, rate, self._base_urls())
        others = await self._asked_by_others(one, whom, rate)
        broken = await self._broken(one, {**draft.broken, **others.broken})
        await self._resync.note_same(draft)
        async with self._store.changing(_SERVER, self._clock()) as change:
            if broken:
                await halt(change, one, f"phones get no configuration any more: {broken}", alarm=True)
                return
            await told(change, one, _campaign(one, one.step), len(draft.requests) + len(others.requests))
            await self._resync.begin_in(change, draft, _campaign(one, one.step))

    async def _asked_by_others(self, one: Rollout, whom: Whom, rate: float) -> Draft:
        """Phones of the step that would get other files and that somebody else has asked; they are not watched."""
        mine = [_campaign(one, step) for step in range(1, one.step + 1)]
        async with self._store.reading() as connection:
            place = rollouts.meant(one.scope, one.key)
            found = await resync.on_their_way(connection, self._clock(), self._window, place, mine)
        has_turn = whom.among
        meant = {mac for mac in found if has_turn is None or has_turn(mac)}
        if not meant:
            return Draft((), (), {}, {}, {})
        return await self._resync.plan(replace(whom, among=meant.__contains__, on_way=True), rate, self._base_urls())

    async def _broken(self, one: Rollout, broken: Mapping[Mac, str]) -> str:
        """Why the first of the phones gets nothing by this change; one that got nothing before either is left out."""
        if not broken:
            return ""
        async with self._store.reading() as connection:
            now = await read_layer(connection, self._store.box, one.scope, one.key)
            was = await rollouts.former_layer(connection, self._store.box, one)
        gone = frozenset({*now.values, *now.raw} - {*was.values, *was.raw}) if now else frozenset[str]()
        back = LayerChange(one.scope, one.key, was.values, was.raw, gone)
        return await mended_by(self._store, self._drivers, broken, back)

    async def _is_due(self, one: Rollout) -> bool:
        async with self._store.reading() as connection:
            return (await self._judged(connection, one))[0] is not Judgement.WAIT

    async def _judged(self, connection: AsyncConnection, one: Rollout) -> tuple[Judgement, str]:
        now = self._clock()
        tally = await rollouts.tally(connection, one, now, self._settings.rollout_wait)
        last = await rollouts.last_turn(connection, one.campaign)
        return judge(tally, self._rules, now - max(one.since, last))

    async def _judge(self, one: Rollout) -> None:
        """As things stand in the transaction that acts on it."""
        async with self._store.changing(_SERVER, self._clock()) as change:
            if await rollouts.find_rollout(change.connection, one.id) != one:
                return  # somebody has moved it, which has given it back
            judgement, why = await self._judged(change.connection, one)
            if judgement is Judgement.HALT:
                await halt(change, one, why, alarm=True)
            elif judgement is Judgement.GO_ON and one.share < PARTS:
                await promote(change, one, next_share(one.share, self._settings.rollout_growth))
            elif judgement is Judgement.GO_ON:
                await finish(change, one)
            elif judgement is Judgement.AGAIN:
                await again(change, one)
            else:
                await rollouts.give_back(change.connection, one.id)


def _campaign(one: Rollout, step: int) -> str:
    """The name of the resync of a step."""
    return sha256(f"{one.id}/{step}".encode()).hexdigest()[:8]
