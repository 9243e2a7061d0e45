"""Which waiting caller gets the next handshake: fair over sites, never one that is too late. Pure: ``now`` is given.

A site is an address (IPv4, or IPv6 /64); its weight is the number of known good phones behind it. Addresses without
known phones (IPv6: a /48, which is what one site gets) share one class, which gets at most its share while known
ones wait and everything when none does. Nothing here ever refuses an address as such.

Within a site the oldest goes first while it is calm. Under pressure the newest does: who has waited long will leave
soon, and a handshake for someone who leaves is lost twice. A caller who resumes a session is in the midst of a boot
and goes first.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, NamedTuple, TypeVar

from provisioner.fair import Lane, Waiting
from provisioner.gcra import Gcra
from provisioner.newcomers import Newcomers

T = TypeVar("T")

_LEAST_QUEUE: Final = 16
"""Callers that may wait however small the measured capacity is."""
_NEWEST: Final = 0.2
"""Weight of the newest second in the measured capacity."""
_ADDRESSES: Final = 20_000
"""Unknown addresses whose callers and failures are remembered."""
_MANY: Final = 16
"""Unknown addresses that wait at once before their waiting can be a storm: no single house has so many."""
_PROVEN_IN_A_ROW: Final = 3
"""Turns of unknown sites where a phone has booted, before one of the others."""
_ORDER: Final = 4096
"""Places of callers who wait no longer, before they are cleared away."""


class SiteClass(StrEnum):
    """Classes of sites; a caller's class is settled when it comes."""

    KNOWN = "known"
    PROVEN = "proven"
    """Not known yet, but a phone has booted there: before the other unknown ones, of their common share."""
    UNKNOWN = "unknown"
    SLOW = "slow"
    """Too many callers, or too many failed handshakes, of one address: served when nobody else waits."""


class Drop(StrEnum):
    """Why a caller is let go without a handshake."""

    GONE = "gone"
    LATE = "late"
    FULL = "full"


def address_key(address: str) -> str:
    """The site of an address: IPv4 as it is, IPv6 by its /64 (RFC 6177: no site gets less)."""
    if ":" not in address:
        return address
    ip = ipaddress.IPv6Address(address.partition("%")[0])
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return f"{ipaddress.IPv6Address(int(ip) >> 64 << 64)}/64"


def network_of(site: str) -> str:
    """The site as it counts while nobody is known there: an IPv6 /48 (RFC 6177), or anybody would be 65,536 sites."""
    if ":" not in site:
        return site
    ip = ipaddress.IPv6Address(site.partition("/")[0])
    return f"{ipaddress.IPv6Address(int(ip) >> 80 << 80)}/48"


@dataclass(frozen=True, slots=True)
class GateLimits:
    """What a Gate goes by; seconds, and shares of one. docs/reference/settings.md has the reasons."""

    deadline: float = 4.0
    target: float = 0.5
    queue: int = 4096
    unknown: float = 0.3
    unknown_rate: float = 2.0
    unknown_burst: int = 60
    failures: float = 10.0 / 60
    failures_burst: int = 30
    order: str = "adaptive"
    fair: bool = True
    dead_check: bool = True


class Storm:
    """Whether this worker is in a storm: above the target for ``interval``, until below it for ``calm``."""

    __slots__ = ("_calm", "_interval", "_since_other", "_target", "capacity", "on", "since")

    def __init__(self, target: float, interval: float, calm: float) -> None:
        self._target, self._interval, self._calm = target, interval, calm
        self._since_other: float | None = None
        self.on = False
        self.since = 0.0
        """Since when it has been on; 0 while it is calm."""
        self.capacity = 0.0
        """Handshakes a second that this worker can begin, as measured; 0 until known."""

    def note(self, delay: float, now: float) -> bool:
        """Take in the queue's delay; whether storm mode has changed."""
        if (delay > self._target) is self.on:
            self._since_other = None
            return False
        if self._since_other is None:
            self._since_other = now
        if now - self._since_other < (self._calm if self.on else self._interval):
            return False
        self.on = not self.on
        self.since = now if self.on else 0.0
        self._since_other = None
        return True


class Share:
    """Keeps what is spent within a share of what passes; of wall time or CPU, as it is fed.

    ``most`` is what may be saved up and ``owed`` what is ever paid back: debt has an end soon after its cause.
    """

    __slots__ = ("_balance", "_most", "_owed", "_rate", "_then")

    def __init__(self, rate: float, most: float, owed: float) -> None:
        self._rate, self._most, self._owed = rate, most, owed
        self._balance = most
        self._then: float | None = None

    def left(self, clock: float) -> float:
        """What may be spent now; negative when too much was. ``clock`` and what is spent have one unit."""
        if self._then is not None:
            self._balance = min(self._most, self._balance + (clock - self._then) * self._rate)
        self._then = clock
        return self._balance

    def spend(self, amount: float) -> None:
        """Note what was spent."""
        self._balance = max(self._balance - amount, -self._owed)

    def debt(self) -> float:
        """How much must pass until something may be spent again."""
        return max(-self._balance / self._rate, 0.0)


class GateState(NamedTuple):
    """A gate in numbers."""

    waiting: int
    delay: float
    """How long the caller has waited who has waited longest, in the kernel's queue too; seconds. Not who is slow."""
    capacity: float
    """Handshakes a second that can be begun, as measured; 0 until known."""
    backlog: int
    """Connections that the kernel holds at most before it lets phones repeat their SYN."""


class Gate(Generic[T]):
    """The callers of one listener of one worker. Who is dropped is handed back to be closed; nobody is lost."""

    def __init__(self, limits: GateLimits) -> None:
        self.limits = limits
        self.weights: Mapping[str, int] = {}
        """Known good phones of each site; whoever is not in it is unknown. Replaced as a whole."""
        self.capacity = 0.0
        """Handshakes begun a second while somebody waited; 0 until measured."""
        self._lanes: dict[SiteClass, Lane[T]] = {kind: Lane(remembers=kind is SiteClass.KNOWN) for kind in SiteClass}
        self._orders: dict[SiteClass, deque[Waiting[T]]] = {kind: deque() for kind in SiteClass}
        """Each class in the order of coming."""
        self._credit = 0.0
        self._proven_in_a_row = 0
        self._callers = Gcra(limits.unknown_rate, limits.unknown_burst, _ADDRESSES)
        self._failed = Gcra(limits.failures, limits.failures_burst, _ADDRESSES)
        self._newcomers = Newcomers(_ADDRESSES)
        self._begun = 0
        self._busy_since: float | None = None

    def __len__(self) -> int:
        """Callers that wait."""
        known, proven, unknown, slow = (
            self._lanes.values()
        )  # asked several times a turn: a loop takes three times as long
        return known.size + proven.size + unknown.size + slow.size

    @property
    def bound(self) -> int:
        """Callers that may wait: as many as can be begun before the deadline."""
        if not self.capacity:
            return self.limits.queue
        return min(self.limits.queue, max(_LEAST_QUEUE, int(self.capacity * self.limits.deadline)))

    def delay(self, now: float) -> float:
        """How long the caller has waited who has waited longest of those whose waiting is a storm, seconds."""
        known = self._longest(SiteClass.KNOWN, now)
        return max(known, self._strangers_wait(now)) if self.heeds_strangers(now) else known

    def longest(self, now: float) -> float:
        """How long the caller has waited who has waited longest, seconds; whoever is slow waits by design."""
        return max(self._longest(SiteClass.KNOWN, now), self._strangers_wait(now))

    def heeds_strangers(self, now: float) -> bool:
        """Whether unknown callers can begin a storm: nobody is known, or phones come home from many new addresses.

        Otherwise strangers, who wait by design, can neither begin a storm nor turn the order of known callers.
        """
        if not self.limits.fair or not self.weights:
            return True
        waiting = len(self._lanes[SiteClass.PROVEN]) + len(self._lanes[SiteClass.UNKNOWN])
        return waiting >= _MANY and self._newcomers.boot(now)

    def _strangers_wait(self, now: float) -> float:
        return max(self._longest(SiteClass.PROVEN, now), self._longest(SiteClass.UNKNOWN, now))

    def pressed(self, kind: SiteClass, now: float) -> bool:
        """Whether the newest of a class goes first."""
        if self.limits.order != "adaptive":
            return self.limits.order == "lifo"
        return self._longest(kind, now) > self.limits.target

    def _longest(self, kind: SiteClass, now: float) -> float:
        order = self._orders[kind]
        while order and not order[0].here:
            order.popleft()
        return max(now - order[0].since, 0.0) if order else 0.0

    def offer(self, item: T, site: str, since: float, now: float, *, resumes: bool = False) -> list[tuple[T, Drop]]:
        """Let a caller wait; who has to go for it: somebody of the site that holds the most places by its weight."""
        kind, site, weight = self._standing(site, now)
        lane = self._lanes[kind]
        waiting = Waiting(item, since, resumes, lane.flow(site, weight))
        if self._busy_since is None:
            self._busy_since, self._begun = now, 0
        lane.put(waiting, self.bound)
        order = self._orders[kind]
        order.append(waiting)
        if len(order) > _ORDER + 2 * len(self):
            here = [one for one in order if one.here]
            order.clear()
            order.extend(here)
        return [(self._evict(waiting, now), Drop.FULL) for _ in range(len(self) - self.bound)]

    def failed(self, site: str, now: float) -> None:
        """A handshake of this site came to nothing."""
        if site not in self.weights:
            self._failed.charge(network_of(site), now)

    def booted(self, site: str, now: float) -> None:
        """A known device has got its configuration at this site."""
        if site not in self.weights:
            self._newcomers.booted(network_of(site), now)

    def next(self, now: float, alive: Callable[[T], bool]) -> tuple[Waiting[T] | None, list[tuple[T, Drop]]]:
        """The caller whose handshake begins now, if any, and those who were found too late or gone on the way."""
        late: list[tuple[T, Drop]] = []
        found: Waiting[T] | None = None
        while found is None and (kind := self._next_class()) is not None:
            lane = self._lanes[kind]
            flow = lane.turn()
            waiting = flow.pick(newest=self.pressed(kind, now))
            if self._too_late(waiting, now):
                late.append((waiting.item, Drop.LATE))
            elif self.limits.dead_check and not alive(waiting.item):
                late.append((waiting.item, Drop.GONE))
            else:
                lane.served(flow)
                self._spend(kind, now)
                self._begun += 1
                found = waiting
        self._measure(now)
        return found, late

    def expire(self, now: float) -> list[tuple[T, Drop]]:
        """Let go all who are over the deadline."""
        late: list[tuple[T, Drop]] = []
        for order in self._orders.values():
            while order and (not order[0].here or self._too_late(order[0], now)):
                waiting = order.popleft()
                if waiting.here:
                    self._leave(waiting)
                    late.append((waiting.item, Drop.LATE))
        self._measure(now)
        return late

    def everybody(self) -> list[T]:
        """All who wait."""
        return [waiting.item for order in self._orders.values() for waiting in order if waiting.here]

    def class_of(self, waiting: Waiting[T]) -> SiteClass:
        """The class in which a caller waited."""
        return next(kind for kind, lane in self._lanes.items() if lane is waiting.flow.lane)

    def _too_late(self, waiting: Waiting[T], now: float) -> bool:
        return self.limits.dead_check and now - waiting.since > self.limits.deadline

    # --- classes ----------------------------------------------------------------------------------

    def _standing(self, site: str, now: float) -> tuple[SiteClass, str, int]:
        """Class, key and weight of a site."""
        if not self.limits.fair:
            return SiteClass.KNOWN, "", 1
        weight = self.weights.get(site, 0)
        if weight > 0:
            return SiteClass.KNOWN, site, weight
        network = network_of(site)
        if self._failed.wait(network, now) or self._callers.take(network, now):
            return SiteClass.SLOW, network, 1
        return SiteClass.PROVEN if network in self._newcomers else SiteClass.UNKNOWN, network, 1

    def _next_class(self) -> SiteClass | None:
        """The class whose turn it is; while both wait, unknown sites collect their share of every handshake."""
        strangers = self._next_of_strangers()
        if self._lanes[SiteClass.KNOWN].size and (strangers is None or self._credit < 1.0):
            return SiteClass.KNOWN
        if strangers is None and self._lanes[SiteClass.SLOW].size:
            return SiteClass.SLOW
        return strangers

    def _next_of_strangers(self) -> SiteClass | None:
        """Who has booted goes first, but for every fourth turn: no stolen phone can keep a new office out."""
        proven, unknown = self._lanes[SiteClass.PROVEN].size, self._lanes[SiteClass.UNKNOWN].size
        if proven and not (unknown and self._proven_in_a_row >= _PROVEN_IN_A_ROW):
            return SiteClass.PROVEN
        return SiteClass.UNKNOWN if unknown else None

    def _spend(self, kind: SiteClass, now: float) -> None:
        """A handshake has gone to this class. What unknown sites have saved up is worth no more than two."""
        if kind in (SiteClass.PROVEN, SiteClass.UNKNOWN):
            self._credit = max(self._credit - 1.0, 0.0)
            self._proven_in_a_row = self._proven_in_a_row + 1 if kind is SiteClass.PROVEN else 0
        if kind is SiteClass.UNKNOWN:
            self._newcomers.begun(now)
        if self._strangers():
            self._credit = min(self._credit + self.limits.unknown, 2.0)

    def _strangers(self) -> int:
        return self._lanes[SiteClass.PROVEN].size + self._lanes[SiteClass.UNKNOWN].size

    def _evict(self, newcomer: Waiting[T], now: float) -> T:
        """Take a place back: from a class that holds more than its share, there from the site with most by its weight.

        Who goes is who would be served last: the oldest under pressure, otherwise the newest. Where no site holds more
        than the others, that is the oldest of the class.
        """
        kind = self._overfull()
        lane, flow = self._lanes[kind], newcomer.flow
        flow = lane.fullest(flow if flow.lane is lane and newcomer.here else None)
        pressed = self.pressed(kind, now)
        if pressed and lane.excess((oldest := self._oldest(kind)).flow) >= lane.excess(flow):
            self._leave(oldest)
            return oldest.item
        return flow.give_back(newest=not pressed).item

    def _overfull(self) -> SiteClass:
        lanes = self._lanes
        if lanes[SiteClass.SLOW].size:
            return SiteClass.SLOW
        if self._strangers() > self.limits.unknown * self.bound or not lanes[SiteClass.KNOWN].size:
            return SiteClass.UNKNOWN if lanes[SiteClass.UNKNOWN].size else SiteClass.PROVEN
        return SiteClass.KNOWN

    def _oldest(self, kind: SiteClass) -> Waiting[T]:
        """Who has waited longest of a class in which somebody waits."""
        order = self._orders[kind]
        while not order[0].here:
            order.popleft()
        return order[0]

    def _leave(self, waiting: Waiting[T]) -> None:
        waiting.flow.lane.leaves(waiting)
        waiting.flow.trim()

    # --- capacity ---------------------------------------------------------------------------------

    def _measure(self, now: float) -> None:
        """Handshakes begun a second, over each second throughout which somebody waited."""
        if self._busy_since is None:
            return
        busy = now - self._busy_since
        if busy >= 1.0:
            rate = self._begun / busy
            self.capacity += (rate - self.capacity) * (_NEWEST if self.capacity else 1.0)
            self._busy_since, self._begun = now, 0
        if not len(self):
            self._busy_since = None
