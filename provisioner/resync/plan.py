"""Waves: who is told to fetch again, and when. Pure: the same phones and the same pace give the same turns.

Two bounds hold for the whole plan. Never are two phones told in less than 1/rate s, so a campaign takes no more than
its share of the node's capacity. And in no span of one wave's length are more phones of one place told than its cap,
so a site's phones do not all ring dead at once. Within these, whoever has most phones left goes first.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from provisioner.errors import Invalid
from provisioner.model import Mac


class Phone(NamedTuple):
    """A device that is to fetch again, and where it stands."""

    mac: Mac
    place: str
    """Its site, or its account where it has none."""


class Turn(NamedTuple):
    """When a phone is told."""

    mac: Mac
    place: str
    due: float
    wave: int
    """0 is the first."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What a campaign may do."""

    rate: float
    """Phones a second, on the whole: ``storm.campaign`` of the capacity."""
    wave: float
    """s; as long as a phone is away when it restarts, and longer."""
    share: float
    """Of a place's phones in one wave; one phone at least."""

    def __post_init__(self) -> None:
        for field, value in (("rate", self.rate), ("wave", self.wave), ("share", self.share)):
            if not (math.isfinite(value) and value > 0):
                raise Invalid(field, "must be more than 0")

    def cap(self, phones: int) -> int:
        """Of so many at a place, how many may be away at once."""
        return max(1, math.floor(phones * min(self.share, 1.0)))


def waves(phones: Iterable[Phone], pace: Pace, start: float, sizes: Mapping[str, int] | None = None) -> list[Turn]:
    """Every phone's turn, the first at ``start``; ``sizes``: how many phones a place has, those not told included."""
    places = _places(phones)
    most = {place: max(len(waiting), (sizes or {}).get(place, 0)) for place, waiting in places.items()}
    caps = {place: pace.cap(count) for place, count in most.items()}
    return list(_turns(places, caps, pace, start))


def _places(phones: Iterable[Phone]) -> dict[str, deque[Mac]]:
    """By place, in the order of their Macs, each once."""
    found: defaultdict[str, set[Mac]] = defaultdict(set)
    seen: set[Mac] = set()
    for one in phones:
        if one.mac not in seen:
            seen.add(one.mac)
            found[one.place].add(one.mac)
    return {place: deque(sorted(macs)) for place, macs in sorted(found.items())}


def _turns(places: Mapping[str, deque[Mac]], caps: Mapping[str, int], pace: Pace, start: float) -> Iterator[Turn]:
    """A clock of slots 1/rate s apart; a place that is at its cap sleeps until its oldest turn is a wave ago."""
    recent: defaultdict[str, deque[float]] = defaultdict(deque)
    ready = [(-len(waiting), place) for place, waiting in places.items()]
    heapq.heapify(ready)
    asleep: list[tuple[float, str]] = []
    slot = 0
    while ready or asleep:
        now = start + slot / pace.rate
        while asleep and asleep[0][0] <= now:
            place = heapq.heappop(asleep)[1]
            heapq.heappush(ready, (-len(places[place]), place))
        if not ready:
            slot = max(slot + 1, math.ceil((asleep[0][0] - start) * pace.rate))
            continue
        _, place = heapq.heappop(ready)
        yield Turn(places[place].popleft(), place, now, int((now - start) / pace.wave))
        slot += 1
        recent[place].append(now)
        if places[place]:
            _wait(place, recent[place], caps[place], pace.wave, places, ready, asleep)


def _wait(
    place: str,
    recent: deque[float],
    cap: int,
    wave: float,
    places: Mapping[str, deque[Mac]],
    ready: list[tuple[int, str]],
    asleep: list[tuple[float, str]],
) -> None:
    if len(recent) < cap:
        heapq.heappush(ready, (-len(places[place]), place))
    else:
        heapq.heappush(asleep, (recent.popleft() + wave, place))


def lasting(turns: Iterable[Turn]) -> tuple[float, int, Mapping[str, int]]:
    """Seconds from the first to the last turn, how many waves, and how many phones of each place."""
    known = list(turns)
    if not known:
        return 0.0, 0, {}
    dues = [one.due for one in known]
    return max(dues) - min(dues), max(one.wave for one in known) + 1, Counter(one.place for one in known)
