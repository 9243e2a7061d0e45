"""Sends what the outbox holds: at least once, one message after the other, with waits that grow, until it is given up.

A message is taken, handed over and settled in three steps, each durable before the next. Who dies between two of them
leaves a lease that ends, and then it is sent again: the other side tells by its id that it has it already. When nobody
is there to take messages, all wait, not only the one that found out.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from provisioner.errors import NotNow, NotWanted, ProvisionerError, StoreFailed, Undeliverable
from provisioner.events import printable
from provisioner.model import Count, Event
from provisioner.outbox_states import MessageEvent, backoff
from provisioner.settings import Settings
from provisioner.store import outbox as rows
from provisioner.store.database import Store
from provisioner.store.journal import write_events
from provisioner.store.outbox import Message

_LOG: Final = logging.getLogger("provisioner.server")
_BATCH: Final = 20
"""Messages of one turn; more wait for the next, a second later."""
_SLACK: Final = 30.0
"""s of a lease beyond the longest attempt: the database may be slow to take what came of it."""
_REST: Final = (5.0, 300.0)
"""s for which all messages wait when nobody is there to take them: at first, and at most."""
_SERVER: Final = "server"
_DAY: Final = 86_400.0

Told = Mapping[str, str]
"""What an event says of a delivery; no secret."""
Deliver = Callable[[Message, Mapping[str, str]], Awaitable[Told]]
"""Hand it over; NotNow, NotWanted or any other error of ours says why it was not taken."""


@dataclass(frozen=True, slots=True)
class Channel:
    """How messages of one kind leave: who hands them over, how long that takes, and how fast they may follow."""

    deliver: Deliver = field(repr=False)
    longest: float
    """s"""
    pace: float = 0.0
    """s from one message to the next."""


class Outbox:
    """One sender; a second one would do no harm, as each takes what the other has not."""

    def __init__(
        self,
        store: Store,
        channels: Mapping[str, Channel],
        settings: Settings,
        count: Count,
        *,
        calm: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._channels = channels
        self._settings = settings
        self._count = count
        self._calm = calm
        self._clock = clock
        self._chance = chance
        self._stopped = asyncio.Event()
        self._failures = 0
        self._rest_until = 0.0

    def stop(self) -> None:
        """Take no further message; the one in hand is brought to its end."""
        self._stopped.set()

    async def send(self) -> int:
        """One turn: what is due, up to a batch; how many messages were taken. Call it every second."""
        now = self._clock()
        if self._rest_until - _REST[1] <= now < self._rest_until:  # a clock that was set back holds nobody up
            return 0
        async with self._store.reading() as connection:
            due = await rows.due(connection, list(self._channels), now, _BATCH)
        taken = 0
        for ident in due if due and self._calm() else ():
            if self._stopped.is_set():
                break
            went, pace = await self._one(ident)
            taken += 1
            if not went:
                break
            await self._wait(pace)
        return taken

    async def clear(self) -> int:
        """Drop what is of no use any more, and forget what was over for long; how many messages were dropped."""
        async with self._store.writing() as connection:
            return await rows.clear(connection, self._clock(), self._settings.outbox_keep * _DAY)

    # --- parts ------------------------------------------------------------------------------------------

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()

    async def _one(self, ident: int) -> tuple[bool, float]:
        """Take and deliver one; whether the next may follow, and after how many seconds."""
        longest = max(one.longest for one in self._channels.values())
        async with self._store.writing() as connection:
            claimed = await rows.claim(connection, ident, self._clock(), longest + _SLACK)
        if claimed is None:
            return True, 0.0
        message, payload = claimed
        channel = self._channels[message.kind]
        try:
            told = await self._delivered(channel, message, payload)
        except (NotNow, StoreFailed) as error:
            await self._failed(message, error.cause)
            return not self._tired(error), channel.pace
        except NotWanted as error:
            await self._settle(message, MessageEvent.DROP, error.cause)
        except ProvisionerError as error:  # it will not be taken tomorrow either
            await self._settle(message, MessageEvent.BURY, error.cause)
        else:
            self._failures = 0
            await self._settle(message, MessageEvent.SEND, told=told)
        return True, channel.pace

    async def _delivered(self, channel: Channel, message: Message, payload: bytes) -> Told:
        if message.attempts > self._settings.outbox_tries:  # whoever had it died of it, each time
            raise Undeliverable(message.last_error or "no attempt came to its end")
        return await channel.deliver(message, rows.opened(self._store.box, message.id, payload))

    def _tired(self, error: NotNow | StoreFailed) -> bool:
        """Whether all messages have to wait because of this one."""
        if not isinstance(error, NotNow) or not error.everybody:
            return False
        least, most = _REST
        self._failures += 1
        self._rest_until = self._clock() + backoff(self._failures, least, most, self._chance())
        _LOG.warning("nothing leaves the outbox for now: %s", error.cause)
        return True

    async def _failed(self, message: Message, why: str) -> None:
        if message.attempts >= self._settings.outbox_tries:
            await self._settle(message, MessageEvent.BURY, why)
            return
        first, most = self._settings.outbox_retry_first, self._settings.outbox_retry_most
        wait = backoff(message.attempts, first, most, self._chance())
        await self._settle(message, MessageEvent.RETRY, why, at=self._clock() + wait)

    async def _settle(
        self, message: Message, event: MessageEvent, why: str = "", *, at: float | None = None, told: Told | None = None
    ) -> None:
        """Write what came of it, with the event that tells of it; nothing where another attempt has it by now."""
        now = self._clock()
        one = _event(message, event, now, why, told or {})
        async with self._store.writing() as connection:
            mine = await rows.settle(connection, message, event, now if at is None else at, printable(why))
            if one and (mine or event is MessageEvent.SEND):  # what has left has left, whoever has it by now
                await write_events(connection, [one], audit=True)
        self._count("outbox", f"{message.kind}_{event}")


def _event(message: Message, event: MessageEvent, at: float, why: str, told: Told) -> Event | None:
    """A retry is no event: the list shows it, and the one that ends it all is told."""
    details = {"message": str(message.id), "what": message.kind, "title": message.title, "about": message.about}
    details |= {"attempts": str(message.attempts), "reason": printable(why), **told}
    mac = details.pop("mac", "")
    named = {name: value for name, value in details.items() if value}
    if event is MessageEvent.SEND:
        return Event("message_sent", at, mac, actor=_SERVER, details=named)
    if event is MessageEvent.DROP:
        return Event("message_dropped", at, mac, actor=_SERVER, details=named)
    if event is MessageEvent.BURY:
        return Event("message_failed", at, mac, "warning", _SERVER, named)
    return None
