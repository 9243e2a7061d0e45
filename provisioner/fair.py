"""Turns among sites by weight: whoever has received least for its weight is next. Pure data, no clock.

This is deficit round robin with the rounds taken apart: a site's turn stands on a clock that counts handshakes received
by weight, so a site of 500 phones gets every second turn of two instead of 500 in a row (after start-time fair
queueing, Goyal, Vin and Cheng 1996).

A round, in which each known phone could be served once, may last longer than a phone waits. So sites of few phones do
not stand at its end but are spread over that part of it which can be served before the deadline, and a site that was
turned away keeps its place: when its phone comes again, it is overdue and goes first. What is owed is never more than
one handshake.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar
from zlib import crc32

T = TypeVar("T")

_STALE: Final = 1024
"""Turns of sites without callers, before they are cleared away."""
_PLACES: Final = 20_000
"""Sites without callers whose place is kept; those that have been away longest lose it first."""
_LOOKED_AT: Final = 16
"""Sites looked at when a place has to be taken back."""
_CRC: Final = float(1 << 32)


@dataclass(slots=True, eq=False)
class Waiting(Generic[T]):
    """A caller in the queue. ``since``: when its ClientHello came, the kernel's queue included."""

    item: T
    since: float
    resumes: bool
    flow: Flow[T] = field(repr=False)
    here: bool = True
    """Neither begun nor dropped yet."""


@dataclass(slots=True, eq=False)
class Flow(Generic[T]):
    """A site's callers. ``turn``: handshakes received by weight, on the clock of its lane."""

    site: str
    weight: int
    lane: Lane[T] = field(repr=False)
    turn: float = 0.0
    size: int = 0
    place: int = 0
    """Which of its entries in the lane's heap counts."""
    resumed: bool = False
    """Its last turn went to somebody who resumes a session."""
    fresh: deque[Waiting[T]] = field(default_factory=deque, repr=False)
    resuming: deque[Waiting[T]] = field(default_factory=deque, repr=False)

    def pick(self, *, newest: bool) -> Waiting[T]:
        """Take out the newest or oldest who is still here; every second turn is for those who resume a session.

        They are in the midst of a boot. But anybody can say so: those who lie get half of their own site's turns.
        """
        self.resumed = bool(self.resuming) and not self.resumed
        return self._first(newest, (self.resuming, self.fresh) if self.resumed else (self.fresh, self.resuming))

    def give_back(self, *, newest: bool) -> Waiting[T]:
        """Take out whoever would be served last, of the more numerous kind."""
        more = self.fresh if len(self.fresh) >= len(self.resuming) else self.resuming
        return self._first(newest, (more, self.resuming if more is self.fresh else self.fresh))

    def _first(self, newest: bool, kinds: tuple[deque[Waiting[T]], deque[Waiting[T]]]) -> Waiting[T]:
        for places in kinds:
            while places:
                waiting = places.pop() if newest else places.popleft()
                if waiting.here:
                    self.lane.leaves(waiting)
                    return waiting
        raise LookupError("nobody waits at this site")

    def trim(self) -> None:
        """Forget the oldest who are not here any more."""
        for places in (self.fresh, self.resuming):
            while places and not places[0].here:
                places.popleft()


class Lane(Generic[T]):
    """The sites of one class, and whose turn is next.

    ``remembers``: a site keeps its place while it has no callers. Only for sites that nobody can invent: endless new
    ones join at the end of the round instead, so that they cannot hold up an old one.
    """

    __slots__ = ("_at", "_clock", "_count", "_flows", "_heap", "_places", "_weight", "remembers", "size")

    def __init__(self, *, remembers: bool) -> None:
        self.remembers = remembers
        self.size = 0
        """Callers that wait."""
        self._flows: dict[str, Flow[T]] = {}
        self._heap: list[tuple[float, int, Flow[T]]] = []
        self._places: dict[str, float] = {}
        self._clock = 0.0
        self._weight = 0
        """Of all sites with callers."""
        self._count = 0
        self._at = 0

    def __len__(self) -> int:
        """Sites with callers."""
        return len(self._flows)

    def flow(self, site: str, weight: int) -> Flow[T]:
        """The site's callers; its weight is at least 1 and may change at any time."""
        flow = self._flows.get(site)
        if flow is None:
            return Flow(site, weight, self)
        self._weight += weight - flow.weight
        flow.weight = weight
        return flow

    def put(self, waiting: Waiting[T], soon: int) -> None:
        """Somebody waits; ``soon`` handshakes can be begun before the deadline."""
        flow = waiting.flow
        (flow.resuming if waiting.resumes else flow.fresh).append(waiting)
        if not flow.size:
            self._flows[flow.site] = flow
            self._weight += flow.weight
            flow.turn = self._place_of(flow, soon)
            self._push(flow)
        flow.size += 1
        self.size += 1

    def leaves(self, waiting: Waiting[T]) -> None:
        """Somebody waits no longer; the place in its deque goes when that is looked at."""
        waiting.here = False
        flow = waiting.flow
        flow.size -= 1
        self.size -= 1
        if not flow.size:
            del self._flows[flow.site]
            self._weight -= flow.weight
            self._remember(flow)

    def turn(self) -> Flow[T]:
        """The site whose turn it is; it stays its turn until ``served``. Only while somebody waits."""
        while not self._stands(self._heap[0]):
            heappop(self._heap)
        return self._heap[0][2]

    def served(self, flow: Flow[T]) -> None:
        """The site whose turn it was has received a handshake."""
        self._clock = max(self._clock, flow.turn)
        flow.turn += 1.0 / flow.weight
        if flow.size:
            self._push(flow)
        else:
            self._remember(flow)

    def excess(self, flow: Flow[T]) -> float:
        """Places that a site holds beyond its share. Only while somebody waits."""
        return flow.size - flow.weight * (self.size / self._weight)

    def fullest(self, newcomer: Flow[T] | None) -> Flow[T]:
        """The site that holds most places beyond its share: of the newcomer's and the next few. Only while one waits.

        Looking at all of them would cost more than the handshake that is saved; a greedy one is soon come upon, and
        most newcomers are its own.
        """
        best = self.turn() if newcomer is None else newcomer
        most = self.excess(best)
        for _ in range(min(_LOOKED_AT, len(self._heap))):
            self._at = (self._at + 1) % len(self._heap)
            entry = self._heap[self._at]
            if self._stands(entry) and (more := self.excess(entry[2])) > most:
                best, most = entry[2], more
        return best

    def _place_of(self, flow: Flow[T], soon: int) -> float:
        """Where it stands in the round: at the place it kept, overdue by one handshake at most; or a new one."""
        step = 1.0 / flow.weight
        if not self.remembers:
            return self._clock + step
        kept = self._places.pop(flow.site, None)
        if kept is None:
            return self._clock + step * min(1.0, soon / self._weight) * crc32(flow.site.encode()) / _CRC
        return max(kept, self._clock - step)

    def _remember(self, flow: Flow[T]) -> None:
        """Where a site stands that has no callers; nobody is owed anything once nobody waits."""
        if not self.size:
            self._places.clear()
        elif self.remembers:
            self._places.pop(flow.site, None)
            if len(self._places) >= _PLACES:
                del self._places[next(iter(self._places))]
            self._places[flow.site] = flow.turn

    def _push(self, flow: Flow[T]) -> None:
        self._count += 1  # of two with the same turn, who has stood there longer
        flow.place = self._count
        heappush(self._heap, (flow.turn, self._count, flow))
        if len(self._heap) > _STALE + 2 * len(self._flows):
            self._heap = [entry for entry in self._heap if self._stands(entry)]
            heapify(self._heap)

    def _stands(self, entry: tuple[float, int, Flow[T]]) -> bool:
        """Whether this is still the site's place in the heap."""
        _, place, flow = entry
        return flow.size > 0 and flow.place == place
