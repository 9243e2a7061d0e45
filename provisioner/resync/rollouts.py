"""Takes rollouts on: has the phones of a step fetch, looks who comes back, and goes a step further or halts.

All that it knows stands in the database, so it goes on where it was after any restart. The phones of a step are those
that would get other files now; a step of which nobody would is over at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Final

from provisioner.capacity import Capacity
from provisioner.errors import Conflict, ProvisionerError
from provisioner.model import Mac
from provisioner.resync.errands import SLOWEST, Errands
from provisioner.resync.resync import BaseUrls, Resync, Whom
from provisioner.rollout_moves import finish, halt, promote, told
from provisioner.rollout_states import PARTS, Judgement, RolloutState, Rules, judge, next_share, part_of
from provisioner.settings import Settings
from provisioner.shaping import campaign_pace
from provisioner.store import line_history, rollouts
from provisioner.store.database import Store
from provisioner.store.rollouts import Rollout
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
        self._settings = settings
        self._base_urls = base_urls
        self._capacity = capacity
        self._clock = clock
        self._resync = Resync(store, drivers, settings, actor=_SERVER, clock=clock)
        self._errands = Errands(store, drivers, settings, clock=clock)
        s = settings
        self._rules = Rules(s.rollout_missing, s.rollout_least, s.rollout_back, s.rollout_patience)

    async def turn(self) -> int:
        """Look at every rollout that is under way; how many went a step. Call it every few seconds."""
        async with self._store.reading() as connection:
            found = await rollouts.list_rollouts(connection, under_way=True)
        moving = [one for one in found if one.state is not RolloutState.HALTED]
        if moving:  # who has fetched is not on its way any more, and can be told of something else
            await self._errands.settle()
        return sum([await self._taken_on(one) for one in moving])

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
            if not await rollouts.take(connection, one.id, self._clock(), _LEASE):
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
        """Have the phones fetch that would get something new; the campaign's name says whose step it is.

        So a process that is killed in between leaves turns that the next one finds again.
        """
        measured = self._capacity()
        rate = campaign_pace(measured.boots if measured else SLOWEST, self._settings.storm_campaign)

        def has_turn(mac: Mac) -> bool:
            return part_of(mac, one.revision) < one.share

        whom = Whom(changed=True, layer=(one.scope, one.key), among=has_turn)
        draft = await self._resync.plan(whom, rate, self._base_urls())
        name = sha256(f"{one.id}/{one.step}".encode()).hexdigest()[:8]
        await self._resync.begin(draft, name)
        async with self._store.changing(_SERVER, self._clock()) as change:
            await told(change, one, name)

    async def _is_due(self, one: Rollout) -> bool:
        return (await self._judged(one))[0] is not Judgement.WAIT

    async def _judged(self, one: Rollout) -> tuple[Judgement, str]:
        now = self._clock()
        async with self._store.reading() as connection:
            tally = await rollouts.tally(connection, one.campaign, now, self._settings.rollout_wait)
        return judge(tally, self._rules, now - one.since)

    async def _judge(self, one: Rollout) -> None:
        """As things stand in the transaction that acts on it."""
        judgement, why = await self._judged(one)
        async with self._store.changing(_SERVER, self._clock()) as change:
            if judgement is Judgement.HALT:
                await halt(change, one, why, alarm=True)
            elif judgement is Judgement.GO_ON and one.share < PARTS:
                await promote(change, one, next_share(one.share, self._settings.rollout_growth))
            elif judgement is Judgement.GO_ON:
                await finish(change, one)
            else:
                await rollouts.give_back(change.connection, one.id)
