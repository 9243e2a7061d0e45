"""Who sends to webhooks: each endpoint has senders of its own, so one that hangs holds nobody else up.

An endpoint that is away rests, longer each time, with all that waits for it; what was not delivered stays in its order.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from provisioner.background import contained
from provisioner.hooks.orphans import look_at_sources, look_for_orphans
from provisioner.hooks.post import HookPost
from provisioner.model import Count
from provisioner.outbox import Channel, Outbox
from provisioner.settings import Settings
from provisioner.store import audit, hook_queue, hooks
from provisioner.store.database import Store
from provisioner.store.hook_queue import KEEP, kind_of

_TOGETHER: Final = 32
"""Endpoints that are sent to at once."""
_REST_MOST: Final = 300.0
"""s that an endpoint which is away is left alone at most."""
_ASLEEP: Final = 10.0
"""s between questions to a database in which nobody is to be told anything and nothing was changed from here."""
_KEPT: Final = 2 * 86_400.0
"""s that delivered messages stay in the outbox's list; their log stays longer."""


class HookSenders:
    """One for a process; ``turn`` every second."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        post: HookPost,
        count: Count,
        *,
        calm: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._settings = replace(
            settings,
            outbox_tries=settings.webhook_tries,
            outbox_retry_first=settings.webhook_retry_first,
            outbox_retry_most=settings.webhook_retry_most,
        )
        self._post = post
        self._count = count
        self._calm = calm
        self._clock = clock
        self._lanes: dict[str, list[Outbox]] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._stopped = False
        self._idle: int | None = None
        """The last change's mark when there was no endpoint; None where there is one."""
        self._asked = 0.0

    async def turn(self) -> int:
        """Set off for every endpoint that something is due for; how many are being sent to."""
        self._running = {ident: task for ident, task in self._running.items() if not task.done()}
        if self._stopped or not self._calm() or await self._nobody():
            return len(self._running)
        async with self._store.reading() as connection:
            due = [one.id for one in await hooks.waiting(connection, self._clock())]
        for ident in due:
            if ident not in self._running and len(self._running) < _TOGETHER:
                self._running[ident] = asyncio.create_task(
                    contained("webhook", partial(self.drain, ident), self._count)
                )
        return len(self._running)

    async def drain(self, ident: str) -> None:
        """Send to one endpoint until nothing is due, or it wants rest."""
        lanes = self._lanes.setdefault(ident, [self._lane(ident) for _ in range(self._settings.webhook_lanes)])
        while sum(await asyncio.gather(*(one.send() for one in lanes))) and not self._stopped:
            pass

    async def tail(self) -> int:
        """Tell of what devices have caused since; how many messages that made."""
        if await self._nobody():
            return 0
        async with self._store.reading() as connection:
            if not await hook_queue.untold(connection):
                return 0
        async with self._store.writing() as connection:
            return await hook_queue.tell_on(connection)

    async def look_for_orphans(self) -> int:
        """See whether somebody still answers for each source and endpoint; for how many that is another than before."""
        turned = await look_at_sources(self._store, self._clock())
        if await self._nobody():
            return turned
        disables = not self._settings.webhook_orphans
        return turned + await look_for_orphans(self._store, self._clock(), disables=disables)

    async def _nobody(self) -> bool:
        """Whether there is no endpoint: then the database is asked again after a change from here, or after a while.

        Changes leave a mark beside it, which costs a look at a file; another machine's are found by the while.
        """
        now, mark = self._clock(), audit.mark_of(self._store.uploads)
        if self._idle is not None and self._idle == mark and 0 <= now - self._asked < _ASLEEP:
            return True
        async with self._store.reading() as connection:
            anybody = await hooks.is_anybody(connection)
        self._idle, self._asked = (None if anybody else mark), now
        return not anybody

    async def tidy(self) -> None:
        """Forget what nobody waits for any more."""
        async with self._store.writing() as connection:
            await hooks.forget_told(connection, self._clock() - KEEP, self._clock() - _KEPT)
            known = {one.id for one in await hooks.list_hooks(connection)}
        self._lanes = {ident: lanes for ident, lanes in self._lanes.items() if ident in known}

    async def stop(self) -> None:
        """Begin nothing further; deliveries in hand are brought to their end."""
        self._stopped = True
        for lanes in self._lanes.values():
            for one in lanes:
                one.stop()
        await asyncio.gather(*self._running.values())

    def _lane(self, ident: str) -> Outbox:
        channel = Channel(self._post.deliver, self._settings.webhook_timeout, told=False)
        return Outbox(
            self._store, {kind_of(ident): channel}, self._settings, self._count, calm=self._calm, clock=self._clock,
            rest=(self._settings.webhook_retry_first, max(_REST_MOST, self._settings.webhook_retry_first)),
        )  # fmt: skip
