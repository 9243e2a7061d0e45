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

from provisioner.errors import NotNow, NotWanted, ProvisionerError, RenderFailed, StoreFailed, Undeliverable
from provisioner.events import printable
from provisioner.model import Count, Event
from provisioner.outbox_states import MessageEvent, backoff
from provisioner.settings import Settings
from provisioner.store import outbox as rows
from provisioner.store.database import Store
from provisioner.store.journal import write_events
from provisioner.store.outbox import Message
from provisioner.store.resync import hold

_LOG: Final = logging.getLogger("provisioner.server")
_BATCH: Final = 20
"""Messages of one turn; more wait for the next, a second later."""
_SLACK: Final = 30.0
"""s of a lease beyond the longest attempt: the database may be slow to take what came of it."""
_REST: Final = (5.0, 300.0)
"""s for which all messages wait when nobody is there to take them: at first, and at most."""
_SERVER: Final = "server"
_DAY: Final = 86_400.0
_HOUR: Final = 3600.0

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
    told: bool = True
    """Whether what came of a message is an event; what has a log of its own needs none."""


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
        rest: tuple[float, float] = _REST,
    ) -> None:
        self._store = store
        self._channels = channels
        self._settings = settings
        self._count = count
        self._calm = calm
        self._clock = clock
        self._chance = chance
        self._rest = rest
        self._stopped = asyncio.Event()
        self._failures = 0
        self._rest_until = 0.0
        self._told: dict[str, float] = {}

    def stop(self) -> None:
        """Take no further message; the one in hand is brought to its end."""
        self._stopped.set()

    async def send(self) -> int:
        """One turn: what is due, up to a batch; how many messages were taken. Call it every second."""
        now = self._clock()
        if self._rest_until - self._rest[1] <= now < self._rest_until:  # a clock that was set back holds nobody up
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
            await self._failed(message, error.cause, error.after if isinstance(error, NotNow) else 0.0)
            return not self._tired(error), channel.pace
        except RenderFailed as error:  # somebody will mend the template, or the name
            await self._unmade(message, error.cause)
            await self._failed(message, error.cause, 0.0)
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
        said = rows.opened(self._store.box, message.id, payload) if channel.told else {}
        return await channel.deliver(message, said)

    def _tired(self, error: NotNow | StoreFailed) -> bool:
        """Whether all messages have to wait because of this one."""
        if not isinstance(error, NotNow) or not error.everybody:
            return False
        least, most = self._rest
        self._failures += 1
        self._rest_until = self._clock() + backoff(self._failures, least, most, self._chance())
        rest = self._rest_until - self._clock()
        _LOG.warning("nothing leaves the outbox for %s for %.0f s: %s", error.whom or "anybody", rest, error.cause)
        return True

    async def _unmade(self, message: Message, why: str) -> None:
        """Tell it at once, for the first message that it befalls and once an hour: the mails go on waiting."""
        now = self._clock()
        if now - self._told.get(why, -_HOUR) < _HOUR:
            return
        self._told = {cause: at for cause, at in self._told.items() if now - at < _HOUR} | {why: now}
        details = {"message": str(message.id), "what": message.kind, "title": message.title, "reason": printable(why)}
        _LOG.warning("message %d cannot be made and waits: %s", message.id, printable(why))
        async with self._store.writing() as connection:
            await hold(connection)
            told = Event("message_unmade", now, severity="warning", actor=_SERVER, details=details)
            await write_events(connection, [told], audit=True)

    async def _failed(self, message: Message, why: str, after: float) -> None:
        """``after``: s for which the other side asks to be left alone."""
        if message.attempts >= self._settings.outbox_tries:
            await self._settle(message, MessageEvent.BURY, why)
            return
        first, most = self._settings.outbox_retry_first, self._settings.outbox_retry_most
        wait = max(backoff(message.attempts, first, most, self._chance()), min(after, most))
        await self._settle(message, MessageEvent.RETRY, why, at=self._clock() + wait)

    async def _settle(
        self, message: Message, event: MessageEvent, why: str = "", *, at: float | None = None, told: Told | None = None
    ) -> None:
        """Write what came of it, with the event that tells of it; nothing where another attempt has it by now."""
        now = self._clock()
        told_of = self._channels[message.kind].told
        one = _event(message, event, now, why, told or {}) if told_of else None
        async with self._store.writing() as connection:
            await hold(connection)  # before the message: whoever changes takes them in this order, too
            mine = await rows.settle(connection, message, event, now if at is None else at, printable(why))
            if one and (mine or event is MessageEvent.SEND):  # what has left has left, whoever has it by now
                await write_events(connection, [one], audit=True)
        kind = message.kind if told_of else message.kind.partition(".")[0]  # an id is no label of a metric
        self._count("outbox", f"{kind}_{event}")


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
