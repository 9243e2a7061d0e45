"""Who is told to fetch again now, by whom, and how far each has come: one turn a second, whatever process makes it.

The state is in the database alone. A device is taken by one statement before it is told, so two processes never tell
the same one; what a killed process has taken is told by another when its lease is over. Whoever has a phone's own flow
goes first, then the PBX, and whom nobody can tell is left to its polling.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.errors import Conflict, StoreFailed
from provisioner.events import printable
from provisioner.model import Event, Mac
from provisioner.resync_states import Standing, State, Step, Way, sources
from provisioner.settings import Settings
from provisioner.store import line_turns
from provisioner.store import resync as rows
from provisioner.store.database import Store
from provisioner.store.journal import write_events
from provisioner.store.power_cycles import AT_ONCE, MINUTE, wish_for
from provisioner.store.resync import Candidate, Errand, Outcome, Request
from provisioner.vendor import VendorDriver

Notify = Callable[[Mac, str], Awaitable[int]]
"""Send a NOTIFY with this Event header on the flow of this device; the SIP status, 0 where it has no flow."""

SLOWEST: Final = 1.0
"""Phones a second that any node stands, where nobody says how many this one does."""
LEASE: Final = 60.0
"""s for which an errand is its taker's; a NOTIFY is given up after 32 s (RFC 3261 section 17.1.2.2, Timer F)."""
HEAD_START: Final = 2.0
"""s that whoever has a phone's own flow goes before the PBX."""
UNTOLD: Final = 6.0
"""s after its turn at which nobody has taken a device, so it is left to its polling."""
_ABSENT: Final = 10.0
"""s without a turn after which nobody can say that devices have been offered to anybody."""
_AFTER_CALL: Final = 2.0
"""s between a code's success and the first attempt: its caller hears the end and hangs up."""
_NEVER: Final = frozenset({405, 481, 489})
"""Not allowed (RFC 3261 section 21.4.6), no such subscription, bad event (RFC 6665 sections 4.1.3, 8.3.2): a phone
that does not take a NOTIFY without a subscription, or not this one, will not the next time either."""
_AT_ONCE: Final = 50
"""Errands that one process has under way."""
_LOOKED_AT: Final = 1000
"""Devices whose turn has come, of which a process takes those that it can tell."""
_EACH: Final = 20
"""Alarms told one by one; more at once are one alarm that says how many."""
_ROOM: Final = 5.0
"""s that lines' changes may take of the budget before campaigns are put off by so much."""
_RARELY: Final = 10.0
"""s between two looks at all devices that wait; 100,000 of them take a tenth of a second."""
_KEEP: Final = 30 * 86_400.0
"""s that what is over stays in the list."""
_LOG: Final = logging.getLogger(__name__)
SERVER: Final = "server"
ACTIVATION: Final = "activation"
"""The campaign of all devices that a code has just bound."""


class Errands:
    """One a process that tells devices, or that waits for them."""

    def __init__(
        self,
        store: Store,
        drivers: Mapping[str, VendorDriver],
        settings: Settings,
        *,
        clock: Callable[[], float] = time.time,
        pace: Callable[[], float] = lambda: SLOWEST,
    ) -> None:
        """``pace``: phones a second that may be told on the whole."""
        self._store = store
        self._drivers = drivers
        self._window = float(settings.activation_window)
        self._again = settings.resync_again
        self._clock = clock
        self._pace = pace
        self._free = self._owed = 0.0
        self._turned: float | None = None
        self._settled: float | None = None
        self._running: set[asyncio.Task[None]] = set()

    # --- for who has the phones' flows ------------------------------------------------------------------

    async def send(self, held: Container[Mac], notify: Notify) -> int:
        """Begin to tell those whose turn it is, of the devices with a flow here that are in no call; how many.

        Call it every second. It waits for no answer: those under way are at most 50, and ``close`` waits for them.
        """
        await self.turn()
        errands = await self.take(held, most=_AT_ONCE - len(self._running))
        for one in errands:
            task = asyncio.create_task(self._sent(one, notify), name="resync")
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return len(errands)

    async def _sent(self, errand: Errand, notify: Notify) -> None:
        status = await notify(errand.mac, errand.event)
        try:
            await self.told(errand, self.outcome(status))
        except (StoreFailed, Conflict) as error:
            _LOG.warning("%s may be told to fetch again once more: %s", errand.mac, error.cause)

    async def close(self, seconds: float = 2.0) -> None:
        """Let those under way come to their end; who has not answered by then is told again when its lease is over."""
        if self._running:
            await asyncio.wait(set(self._running), timeout=seconds)
        for task in set(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def take(
        self, held: Container[Mac], way: Way = Way.IVR, *, late: float = 0.0, most: int = _AT_ONCE
    ) -> list[Errand]:
        """Devices that the caller is to tell now and nobody else does, each of them in ``held``.

        ``held`` is asked by ``in`` only, for those whose turn has come.
        ``late``: only those whose turn came so many seconds ago.
        """
        now = self._clock()
        async with self._store.reading() as connection:
            due = await rows.due(connection, now - late, _LOOKED_AT, polling=way is Way.IVR)
        mine = [mac for mac in due if mac in held][:most]
        if not mine:
            return []
        async with self._store.writing() as connection:
            await rows.hold(connection)
            return await rows.take(connection, mine, way, now, LEASE)

    async def due(self, late: float) -> list[Mac]:
        """Devices whose turn came so many seconds ago and whom nobody has taken."""
        async with self._store.reading() as connection:
            return await rows.due(connection, self._clock() - late, _AT_ONCE, polling=False)

    def outcome(self, status: int) -> Outcome:
        """What a SIP status says of an errand: told, to be tried again, or never by a NOTIFY."""
        if 200 <= status < 300:
            return Outcome(f"SIP {status}", Step.NOTIFY)
        if status in _NEVER:
            return Outcome(f"SIP {status}, takes no NOTIFY", due=self._clock(), way=Way.POLL, last=True)
        return Outcome(f"SIP {status}" if status else "no flow", due=self._clock() + self._again)

    async def told(self, errand: Errand, outcome: Outcome) -> bool:
        """Write down what came of an errand; whether the device was told."""
        now = self._clock()
        async with self._store.writing() as connection:
            counted = await rows.tell(connection, errand, outcome, now)
            if counted and outcome.counts:
                await write_events(connection, [_told(errand, outcome, now)])
        return counted and outcome.step is Step.NOTIFY

    # --- for everybody ----------------------------------------------------------------------------------

    async def turn(self) -> None:
        """Look who was activated, who has fetched, who is stuck; after an absence of all, put turns off by its length.

        Put off, not made up for: what was due meanwhile would be told all at once.
        """
        now = self._clock()
        absent = self._turned is None or now - self._turned > _ABSENT
        self._turned = now
        rarely = self._settled is None or now - self._settled >= _RARELY
        found = await self._fetched(rarely)
        requests = await self._bound(now)
        async with self._store.writing() as connection:
            await rows.hold(connection)
            if absent:
                await rows.postpone(connection, now)
            await rows.note_fetched(connection, found, now)
            await self._plan(connection, now)
            await rows.leave_to_polling(connection, now - UNTOLD, now)
            if requests:
                await rows.ask(connection, ACTIVATION, requests, now)
            if rarely:
                await self._end(connection, now)

    async def _plan(self, connection: AsyncConnection, now: float) -> None:
        """Phones whose lines have changed wait for no campaign; campaigns make room for them, so the budget holds."""
        waiting = await line_turns.unplanned(connection, now, _LOOKED_AT)
        if not waiting:
            return
        gap, start = 1.0 / self._pace(), max(now, self._free)
        await line_turns.plan(connection, {mac: start + number * gap for number, mac in enumerate(waiting)})
        self._free = start + gap * len(waiting)
        self._owed += gap * len(waiting)
        if self._owed >= _ROOM:
            await line_turns.make_room(connection, now, self._owed)
            self._owed = 0.0

    async def settle(self, *, untold: bool = False) -> None:
        """Only look who has fetched and who is stuck: for who shows it and tells nobody.

        ``untold``: no process of this installation tells anybody, so whose turn has come is left to its polling.
        """
        found = await self._fetched(True)
        async with self._store.writing() as connection:
            await rows.hold(connection)
            await rows.note_fetched(connection, found, self._clock())
            if untold:
                await rows.leave_to_polling(connection, self._clock() - UNTOLD, self._clock())
            await self._end(connection, self._clock())

    async def _fetched(self, rarely: bool) -> list[Mac]:
        """Looked for without keeping anybody from writing; who waits for its turn, only now and then."""
        states = sources(Step.FETCH) if rarely else (State.NOTIFIED,)
        async with self._store.reading() as connection:
            return await rows.find_fetched(connection, states, _LOOKED_AT)

    async def _end(self, connection: AsyncConnection, now: float) -> None:
        self._settled = now
        found = await rows.note_stuck(connection, now, self._window)
        await write_events(connection, _stuck(found, now))
        await wish_for(connection, [one.mac for one in found], MINUTE, SERVER, now)  # at sites where that is allowed
        await rows.forget(connection, now - _KEEP)

    async def _bound(self, now: float) -> list[Request]:
        """A phone that its code has just bound is told, whoever bound it and whatever was killed in between."""
        async with self._store.reading() as connection:
            found = await rows.activated(connection, now - self._window)
        return [one for one in (self._first(one, now) for one in found) if one is not None]

    def _first(self, one: Candidate, now: float) -> Request | None:
        driver = self._drivers.get(one.vendor)
        model = driver.manifest.models.get(one.model) if driver else None
        if driver is None or model is None:
            return None
        return Request(one.mac, driver.resync_event(model, True), one.changed, now + _AFTER_CALL)


def _told(errand: Errand, outcome: Outcome, now: float) -> Event:
    told = {
        "event": errand.event,
        "way": errand.way.value,
        "result": printable(outcome.result),
        "campaign": errand.campaign,
    }
    severity = "info" if outcome.step is Step.NOTIFY else "warning"
    return Event("resync_told", now, errand.mac, severity, SERVER, told)


def _stuck(found: Sequence[Standing], now: float) -> list[Event]:
    if len(found) > _EACH:
        told = {"devices": str(len(found)), "campaigns": ", ".join(sorted({one.campaign for one in found})[:5])}
        if len(found) > AT_ONCE:
            told["power"] = "left on: so many at once are the server's or the network's trouble"
        return [Event("resync_stuck", now, "", "alarm", SERVER, told)]
    return [stuck(one, now) for one in found]


def stuck(one: Standing, now: float) -> Event:
    """The alarm for one device."""
    told = {"campaign": one.campaign, "way": one.way.value or "none", "tries": str(one.tries)}
    if one.result:
        told["result"] = printable(one.result)
    return Event("resync_stuck", now, one.mac, "alarm", SERVER, told)
