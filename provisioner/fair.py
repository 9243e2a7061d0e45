"""Turns among sites by weight: whoever has received least for its weight is next. Pure data, no clock.

This is deficit round robin with the rounds taken apart: a site's turn stands on a clock that counts handshakes
received by weight, so a site of 500 phones gets every second turn of two instead of 500 in a row, and no site is ever
ahead of another by more than one handshake of its own. A site that comes back has saved nothing up (start-time fair
queueing, Goyal, Vin and Cheng 1996).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_STALE: Final = 1024
"""Turns of sites without callers, before they are cleared away."""


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
    level: int = 0
    place: int = 0
    """Which of its entries in the lane's heap counts."""
    fresh: deque[Waiting[T]] = field(default_factory=deque, repr=False)
    resuming: deque[Waiting[T]] = field(default_factory=deque, repr=False)

    def pick(self, *, newest: bool, resuming_first: bool = True) -> Waiting[T]:
        """Take out the newest or the oldest who is still here; callers who resume a session before or after others."""
        first, second = (self.resuming, self.fresh) if resuming_first else (self.fresh, self.resuming)
        for places in (first, second):
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
    """The sites of one class, and whose turn is next."""

    __slots__ = ("_clock", "_count", "_flows", "_heap", "_levels", "_top", "size")

    def __init__(self) -> None:
        self.size = 0
        """Callers that wait."""
        self._flows: dict[str, Flow[T]] = {}
        self._heap: list[tuple[float, int, Flow[T]]] = []
        self._clock = 0.0
        self._levels: dict[int, dict[Flow[T], None]] = {}
        """Sites by callers per weight, rounded down: where a place is taken back when all are taken."""
        self._top = 0
        self._count = 0

    def __len__(self) -> int:
        """Sites with callers."""
        return len(self._flows)

    def flow(self, site: str, weight: int) -> Flow[T]:
        """The site's callers; its weight is at least 1 and may change at any time."""
        flow = self._flows.get(site)
        if flow is None:
            flow = Flow(site, weight, self)
        flow.weight = weight
        return flow

    def put(self, waiting: Waiting[T]) -> None:
        """Somebody waits. A site that had no callers takes its turn behind those who have waited for theirs.

        So endless new sites cannot hold up an old one, and nothing need be remembered of a site without callers.
        """
        flow = waiting.flow
        (flow.resuming if waiting.resumes else flow.fresh).append(waiting)
        if not flow.size:
            self._flows[flow.site] = flow
            flow.turn = self._clock + 1.0 / flow.weight
            self._push(flow)
        self._resized(flow, 1)

    def leaves(self, waiting: Waiting[T]) -> None:
        """Somebody waits no longer; the place in its deque goes when that is looked at."""
        waiting.here = False
        self._resized(waiting.flow, -1)

    def turn(self) -> Flow[T]:
        """The site whose turn it is; it stays its turn until ``served``. Only while somebody waits."""
        while not self._stands(self._heap[0]):
            heappop(self._heap)
        return self._heap[0][2]

    def served(self, flow: Flow[T]) -> None:
        """The site whose turn it was has received a handshake."""
        turn, _, first = heappop(self._heap)
        assert first is flow, "only the site whose turn it is receives anything"
        self._clock = turn
        flow.turn = turn + 1.0 / flow.weight
        if flow.size:
            self._push(flow)

    def fullest(self) -> Flow[T]:
        """A site with the most callers by weight. Only while somebody waits."""
        while self._top not in self._levels:
            self._top -= 1
        return next(iter(self._levels[self._top]))

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

    def _resized(self, flow: Flow[T], by: int) -> None:
        self.size += by
        if flow.size:
            at = self._levels[flow.level]
            del at[flow]
            if not at:
                del self._levels[flow.level]
        flow.size += by
        if not flow.size:
            del self._flows[flow.site]
            return
        flow.level = flow.size // flow.weight
        self._levels.setdefault(flow.level, {})[flow] = None
        self._top = max(self._top, flow.level)
