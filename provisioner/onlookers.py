"""Who looks on while a device boots: a page of memory says at which devices, and of those workers tell at once.

The page, and a pair of datagram sockets, are made before the first fork and shared by all processes of a server. While
nobody looks on a worker reads one byte of it. Otherwise it sends what it has just put down for the database, waits for
nobody, and drops what the other end does not take: what counts is what the batch writes, this is only sooner.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Self

from provisioner.model import Event, FetchRecord, ListenerKind, Mac, Proof

_PAGE: Final = 4096
"""bytes; the first says how many slots are to be looked through."""
_SLOT: Final = 13
"""bytes: a Mac and a line's end, so that no Mac is found across two of them."""
_SLOTS: Final = min(255, (_PAGE - 1) // _SLOT)
_EMPTY: Final = b"-" * 12 + b"\n"
_LARGEST: Final = 16 * 1024
"""bytes of a message; an event has some twenty values of 300 characters."""
_KEPT: Final = 64
"""Messages of a device that are kept for whoever looks at its page: more than one boot."""
_AT_ONCE: Final = 256
"""Messages taken in one turn of the loop."""


class Sight:
    """What the control process makes for all others; ``teller`` for a worker, ``Onlookers`` for the admin process."""

    def __init__(self) -> None:
        self.page = mmap.mmap(-1, _PAGE)
        self.near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for end in (self.near, self.far):
            end.setblocking(False)

    def teller(self) -> Teller:
        """In a worker: it tells, and hears nothing."""
        self.near.close()
        return Teller(self)

    def close(self) -> None:
        """Let go of it."""
        for one in (self.near, self.far, self.page):
            one.close()


class Teller:
    """One a worker."""

    def __init__(self, sight: Sight) -> None:
        self._page = sight.page
        self._far = sight.far

    def fetched(self, record: FetchRecord) -> None:
        """A device asked for a file."""
        if self._page[0] and self._is_looked_at(record.mac):
            self._send({"fetch": _written(record)})

    def happened(self, event: Event) -> None:
        """Something happened to a device."""
        if self._page[0] and event.mac and self._is_looked_at(event.mac):
            told = {"kind": event.kind, "at": event.at, "mac": event.mac, "severity": event.severity}
            self._send({"event": {**told, "actor": event.actor, "details": dict(event.details)}})

    def _is_looked_at(self, mac: str) -> bool:
        return self._page.find(mac.encode(), 1, 1 + _SLOT * self._page[0]) >= 0

    def _send(self, message: Mapping[str, Any]) -> None:
        text = json.dumps(message, separators=(",", ":")).encode()
        if len(text) <= _LARGEST:
            with suppress(OSError):  # nobody takes it, or too much waits: the batch has it
                self._far.send(text, socket.MSG_DONTWAIT)


_FIELDS: Final = ("mac", "file", "at", "status", "size", "digest", "proof", "listener", "tls_version", "firmware")


def _written(record: FetchRecord) -> Mapping[str, object]:
    """Without the body, which holds secrets."""
    return {name: getattr(record, name) for name in _FIELDS}


def _read(told: Mapping[str, Any]) -> FetchRecord:
    plain = {name: told[name] for name in _FIELDS}
    how = {"mac": Mac(told["mac"]), "proof": Proof(told["proof"]), "listener": ListenerKind(told["listener"])}
    return FetchRecord(**{**plain, **how})


@dataclass(eq=False)
class Look:
    """Somebody who looks at one device."""

    mac: Mac
    fetches: list[FetchRecord] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, seconds: float) -> None:
        """Until something has come, or so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    def taken(self) -> tuple[Sequence[FetchRecord], Sequence[Event]]:
        """What has come since the last call."""
        found = (tuple(self.fetches), tuple(self.events))
        self.fetches.clear()
        self.events.clear()
        self._news.clear()
        return found

    def tell(self, what: FetchRecord | Event) -> None:
        """It has just come."""
        if isinstance(what, FetchRecord):
            self.fetches.append(what)
        else:
            self.events.append(what)
        del self.fetches[:-_KEPT], self.events[:-_KEPT]
        self._news.set()


class Onlookers:
    """In the admin process: who looks at which device, and what workers have told of it lately."""

    def __init__(self, sight: Sight | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Without a sight nobody tells anything, and everything is read from the database."""
        self._sight = sight
        self._clock = clock
        self._looks: list[Look] = []
        self._slots: dict[str, int] = {}
        self._kept: dict[str, deque[FetchRecord | Event]] = {}
        if sight is not None:
            _wipe(sight)

    def listen(self, loop: asyncio.AbstractEventLoop) -> Self:
        """Take in what workers tell from now on."""
        if self._sight is not None:
            loop.add_reader(self._sight.near.fileno(), self._hear)
        return self

    def close(self) -> None:
        """Have workers tell nothing any more."""
        if self._sight is not None:
            asyncio.get_running_loop().remove_reader(self._sight.near.fileno())
            _wipe(self._sight)

    @contextmanager
    def looking(self, mac: Mac) -> Iterator[Look]:
        """Within the block workers tell of this device at once, where there is a slot left for it."""
        look = Look(mac)
        self._looks.append(look)
        self._note(mac)
        try:
            yield look
        finally:
            self._looks.remove(look)
            self._note(mac)

    def fetches(self, mac: Mac) -> list[FetchRecord]:
        """What has been told of a device while somebody looked at it, the oldest first."""
        return [one for one in self._kept.get(mac, ()) if isinstance(one, FetchRecord)]

    def events(self, mac: Mac) -> list[Event]:
        """The same of events."""
        return [one for one in self._kept.get(mac, ()) if isinstance(one, Event)]

    @property
    def looked_at(self) -> Mapping[str, int]:
        """How many look at each device."""
        return Counter(str(look.mac) for look in self._looks)

    def _note(self, mac: Mac) -> None:
        """Give the device a slot, or free it."""
        wanted = any(look.mac == mac for look in self._looks)
        if self._sight is None or wanted == (mac in self._slots):
            return
        page = self._sight.page
        if wanted:
            taken = set(self._slots.values())
            slot = next((one for one in range(_SLOTS) if one not in taken), None)
            if slot is None:
                return  # told by the database, a second later
            self._slots[mac] = slot
            self._kept[mac] = deque(maxlen=_KEPT)
            _put(page, slot, mac.encode() + b"\n")
        else:
            _put(page, self._slots.pop(mac), _EMPTY)
            del self._kept[mac]
        page[0] = max(self._slots.values(), default=-1) + 1

    def _hear(self) -> None:
        assert self._sight is not None
        for _ in range(_AT_ONCE):
            try:
                message = self._sight.near.recv(_LARGEST)
            except BlockingIOError:
                return
            self._told(json.loads(message))

    def _told(self, message: Mapping[str, Any]) -> None:
        what = _read(message["fetch"]) if "fetch" in message else Event(**message["event"])
        if what.mac in self._kept:
            self._kept[what.mac].append(what)
        for look in self._looks:
            if look.mac == what.mac:
                look.tell(what)


def _put(page: mmap.mmap, slot: int, text: bytes) -> None:
    begin = 1 + slot * _SLOT
    page[begin : begin + _SLOT] = text


def _wipe(sight: Sight) -> None:
    """What an admin process before this one has left there: its devices, and what nobody has taken."""
    sight.page[0] = 0
    for slot in range(_SLOTS):
        _put(sight.page, slot, _EMPTY)
    with suppress(BlockingIOError):
        while True:
            sight.near.recv(_LARGEST)
