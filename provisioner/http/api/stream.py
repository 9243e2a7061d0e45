"""The live feed: server-sent events, one look at the journal for all who listen, and each told what they may see.

Every listener has its own place in the journal and reads on from there, so one that is slow waits for nobody and nobody
for it; nothing is kept for those who do not take it. A database may show an event after one with a higher number: all
behind the last number before which none can come any more is read again, however long that takes, and what was told
already is not told twice. Who follows one device is told of its files by the workers of this node themselves, before
they are written down.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from provisioner.errors import Crowded, Malformed, NotSignedIn
from provisioner.http.api.routes import AnyCall
from provisioner.model import FetchRecord, Mac
from provisioner.onlookers import Look, Onlookers
from provisioner.rights import Principal
from provisioner.store.event_pages import EventFilter, last_event
from provisioner.store.rows import Fetch, StoredEvent
from provisioner.store.settled import settled

LOOK: Final = 0.2
"""s between two looks."""
_QUIET: Final = 15.0
"""s after which a word is said so that nobody between takes the connection for dead."""
_AGAIN: Final = 60.0
"""s between two looks at whether the caller may still listen."""
_BACK: Final = 100
"""Numbers that are read again each time."""
_AT_ONCE: Final = 200
_WAITED: Final = 20_000
"""Events told while one before them may still come; of more than that the first are taken for settled."""
_RETRY: Final = 2000
"""ms after which a browser connects again."""
_SOON: Final = b": more in a moment\n\n"
"""Something has happened that has no number yet."""

Known = Callable[[web.Request], Awaitable[Principal]]


@dataclass
class Feed:
    """All listeners of this process; ``most`` of them at once, ``each`` of one caller."""

    most: int
    each: int
    known: Known
    clock: Callable[[], float] = time.monotonic
    onlookers: Onlookers = field(default_factory=Onlookers)

    def __post_init__(self) -> None:
        """Nobody listens yet."""
        self._listening: Counter[str] = Counter()
        self._newest = (float("-inf"), (0, 0))
        self._looking = asyncio.Lock()

    async def serve(self, call: AnyCall, wanted: EventFilter) -> web.StreamResponse:
        """Tell one caller until they leave, or may listen no longer; Crowded when there is no room."""
        who = call.principal
        name = who.ident or who.throttle or who.credential or who.actor
        if self._listening.total() >= self.most or self._listening[name] >= self.each:
            raise Crowded("so many listen to the live feed already that there is no room for one more")
        self._listening[name] += 1
        try:
            after = await self._start(call)
            looking: AbstractContextManager[Look | None] = nullcontext()
            if wanted.mac:
                await call.desks.fleet.device(Mac(wanted.mac))  # not found, where it is out of reach
                looking = self.onlookers.looking(Mac(wanted.mac))
            with looking as look:
                return await self._told(call, wanted, after, look)
        finally:
            self._listening[name] -= 1
            self._listening += Counter()  # drops who is at 0

    async def _start(self, call: AnyCall) -> int:
        text = call.request.headers.get("Last-Event-ID", "")
        if not text:
            return (await self._last(call))[0]
        if not (text.isascii() and text.isdecimal() and len(text) <= 15):
            raise Malformed("Last-Event-ID must be the number of an event")
        return int(text)

    async def _last(self, call: AnyCall) -> tuple[int, int]:
        """The newest event's number, and up to which all are there; looked up once for everybody."""
        async with self._looking:
            at, numbers = self._newest
            if self.clock() - at >= LOOK:
                async with call.means.store.reading() as connection:
                    numbers = await last_event(connection), await settled(connection, 0)
                self._newest = (self.clock(), numbers)
            return numbers

    async def _told(self, call: AnyCall, wanted: EventFilter, after: int, look: Look | None) -> web.StreamResponse:
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(call.request)
        await response.write(f"retry: {_RETRY}\n\n".encode())
        listener = _Listener(call, wanted, after, call.means.clock() - LOOK)
        said = checked = self.clock()
        while call.request.transport is not None:  # None once the caller has left
            words = await listener.news(*await self._last(call))
            now = self.clock()
            if words or now - said >= _QUIET:
                await response.write(words or b": still here\n\n")
                said = now
            if now - checked >= _AGAIN:
                if await self._is_another(call):
                    break  # who still may listen connects again, and reaches as far as they do now
                checked = now
            await _pause(response, listener, look)
        return response

    async def _is_another(self, call: AnyCall) -> bool:
        """Whether the caller has other rights, or reaches elsewhere, than when they began; or may not listen at all."""
        try:
            now = await self.known(call.request)
        except NotSignedIn:
            return True
        return frozenset(now.parts) != frozenset(call.principal.parts)


async def _pause(response: web.StreamResponse, listener: _Listener, look: Look | None) -> None:
    """Until the next look at the database; what workers tell meanwhile is passed on at once."""
    if look is None:
        await asyncio.sleep(LOOK)
        return
    until = time.monotonic() + LOOK
    while (left := until - time.monotonic()) > 0:
        await look.wait(left)
        fetches, events = look.taken()
        if words := listener.fetched(fetches) or (_SOON if events else b""):
            await response.write(words)


class _Listener:
    """Where one caller is in the journal."""

    def __init__(self, call: AnyCall, wanted: EventFilter, after: int, fetched: float) -> None:
        self._search = call.desks.search
        self._fleet = call.desks.fleet
        self._wanted = wanted
        self._after = self._settled = self._seen_up_to = after
        self._told: set[int] = set()
        """Of what is read again."""
        self._fetched: dict[str, float] = {}
        self._since = fetched

    async def news(self, newest: int, settled: int) -> bytes:
        """What has happened since the last call, as it is sent."""
        words = []
        while newest > self._seen_up_to or settled > self._settled:
            words += [told_event(one) for one in await self._events(newest, settled)]
        if self._wanted.mac and not self._wanted.kind:
            words += [told_fetch(one) for one in await self._fetches(Mac(self._wanted.mac))]
        return "".join(words).encode()

    async def _events(self, newest: int, settled: int) -> list[StoredEvent]:
        again = settled > self._settled
        back = self._seen_up_to - _BACK
        back = max(self._after, min(self._settled, back) if again else back)
        found = await self._search.events_after(self._wanted, after=back, limit=_AT_ONCE)
        fresh = [one for one in found if one.id not in self._told]
        reached = found[-1].id if len(found) == _AT_ONCE else max(newest, settled)
        self._seen_up_to = max(self._seen_up_to, reached)
        self._settled = min(settled, reached) if again else self._settled
        self._told |= {one.id for one in fresh}
        if len(self._told) > _WAITED:
            self._settled = max(self._settled, sorted(self._told)[-_WAITED])
        over = min(self._settled, self._seen_up_to - _BACK)
        self._told = {number for number in self._told if number > over}
        return fresh

    async def _fetches(self, mac: Mac) -> list[Fetch]:
        return self._fresh(await self._fleet.fetches(mac))

    def fetched(self, records: Iterable[FetchRecord]) -> bytes:
        """What workers have told, as it is sent; nothing where this caller does not ask for fetches."""
        if self._wanted.kind:
            return b""
        return "".join(map(told_fetch, self._fresh(map(as_fetch, records)))).encode()

    def _fresh(self, fetches: Iterable[Fetch]) -> list[Fetch]:
        found = [one for one in fetches if one.at > self._fetched.get(one.file, self._since)]
        self._fetched.update((one.file, one.at) for one in found)
        return found


def as_fetch(one: FetchRecord) -> Fetch:
    """What a worker has put down as it stands in the database a second later."""
    return Fetch(
        one.mac, one.file, one.at, one.status, one.size, one.digest, one.proof, one.listener, one.tls_version,
        one.firmware,
    )  # fmt: skip


def told_event(one: StoredEvent) -> str:
    """One event; its number is what a caller comes back with."""
    told = {
        "id": one.id, "at": one.at, "kind": one.kind, "mac": one.mac, "severity": one.severity, "actor": one.actor,
        "details": dict(one.details),
    }  # fmt: skip
    return f"id: {one.id}\n{_said(one.kind, told)}"


def told_fetch(one: Fetch) -> str:
    """One file that was fetched; it has no number, who comes back asks for the device's fetches."""
    told = {"mac": one.mac, "file": one.file, "at": one.at, "status": one.status, "size": one.size}
    return _said("fetch", told | {"digest": one.digest, "proof": one.proof.value, "firmware": one.firmware})


def _said(kind: str, told: Mapping[str, object]) -> str:
    """JSON has no line ends of its own, so no text from outside can end the event."""
    return f"event: {kind}\ndata: {json.dumps(told, separators=(',', ':'))}\n\n"
