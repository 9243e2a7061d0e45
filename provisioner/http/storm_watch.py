"""What the admin process sees of a storm: the workers' metrics looked at each second, the last half hour kept.

It tells the log and the journal when storm mode begins and ends, once for the node. All differences are taken on a
clock that does not jump. Capacity is what the cores give, as the plan has it; pace is what was served while callers
waited.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Final, NamedTuple

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from provisioner.capacity import Capacity, Cores, Totals, measured
from provisioner.http.fleet_state import FleetState
from provisioner.http.storm_events import StormEvents
from provisioner.shaping import time_left

log: Final = logging.getLogger("provisioner.server")

KEPT: Final = 1800
"""Samples, one a second."""
_ENOUGH: Final = 20
"""Boots from which on connections a boot can be told."""

_LATELY: Final = 10
"""Samples over which is told what becomes of handshakes: one takes up to 8 s to time out."""
_MANY: Final = 0.2
"""Of the handshakes begun: where so many are never finished, it is said why."""
_JUST: Final = 3
"""Samples before a storm was seen in which its cause may lie; it is seen after gate.interval."""
_REMIND: Final = 60.0
"""s between two lines in the log."""

STORM: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "capacity_boots": (
        "Capacity: boots a second that the cores give, measured by the running workers; absent before 200 boots",
        (),
    ),
}
"""Gauges that the admin process adds to those of the workers."""


class Sample(NamedTuple):
    """One second."""

    at: float
    """Unix time, for people."""
    begun: float
    """Handshakes begun a second."""
    dropped: float
    """Callers closed before any cryptography, a second."""
    delay: float
    """s that the caller has waited who has waited longest."""
    boots: float
    """Configurations that arrived, a second: the goodput."""
    waiting: int
    storm: bool
    back: int
    """Devices back since the storm began, about: see StormView; 0 while calm."""
    timed_out: float = 0.0
    """Handshakes that were begun and not finished within tls.handshake_timeout, a second."""
    left_early: float = 0.0
    """Callers who left before their handshake was finished, a second; also those who left before it was begun."""


@dataclass(frozen=True, slots=True)
class StormView:
    """What is shown now."""

    storm: bool
    since: float
    """Unix time of the begin of this storm, or of the calm; 0 while not known."""
    lasted: float
    """s."""
    capacity: Capacity | None
    """What the cores give, as the running workers have measured it; the plan's own figure. None while not known."""
    pace: float
    """Boots a second that were served while callers waited; 0 while not known."""
    connections: float
    """Handshakes a second that the gate could begin meanwhile; 0 while not known."""
    waiting: int
    delay: float
    fleet: int | None
    """Devices that may come back; None before they were counted."""
    back: int
    """Of which a boot was served, about: each worker counts for itself, so one that booted in two counts twice."""
    left: float
    """s until everybody is back, about; 0 while calm, infinite while no pace is known."""
    timed_out: float = 0.0
    """As in Sample, over the last seconds."""
    left_early: float = 0.0
    """The same of who left."""
    unfinished: bool = False
    """Whether many handshakes are begun and never finished."""


class StormWatch(Collector):
    """Looks when told to; ``fleet`` says how many there are to come back, ``cores`` what they may use."""

    def __init__(
        self,
        read: Callable[[], Totals],
        fleet: FleetState,
        cores: Cores,
        events: StormEvents,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._read = read
        self._fleet = fleet
        self._cores = cores
        self._events = events
        self._clock = clock
        self._wall = wall
        self._before: tuple[float, Totals] | None = None
        self._now: Totals = {}
        self._storm = False
        self._back = 0
        self._worst = 0.0
        self._turned = 0.0
        self._turned_at = 0.0
        self._at_turn: Totals = {}
        self._told = -math.inf
        self._share = 1.0
        """Boots a connection, from when there were last enough of them."""
        self.samples: deque[Sample] = deque(maxlen=KEPT)

    async def look(self) -> None:
        """One sample more; once a second."""
        self.sample()

    async def count_fleet(self) -> None:
        """Count the devices when it is due; apart from ``look``, because a slow database must not make it blind."""
        await self._fleet.refresh(storm=self._storm)

    def sample(self) -> None:
        """Read what the workers have written, and notice when storm mode turns."""
        now, totals = self._clock(), self._read()
        self._now = totals
        self._learn_share()
        storm = totals.get(("storm_mode", ""), 0) > 0
        if storm:  # workers that are calm again tell no longer whom they have met
            self._back = max(self._back if self._storm else 0, int(_sum(totals, "storm_back")))
            before = self._worst if self._storm else self._just_before()
            self._worst = max(before, _most(totals, "gate_delay_now_seconds"))
        if storm != self._storm:
            self._turn(storm, now, totals)
        elif storm:
            self._remind(now)
        if self._before is not None and now > self._before[0]:
            self.samples.append(self._difference(now, totals))
        self._before = (now, totals)

    def _remind(self, now: float) -> None:
        """Once the end can be reckoned, and each minute from then on."""
        view = self.view()
        if math.isfinite(view.left) and now - self._told >= _REMIND:
            self._told = now
            log.warning("storm mode, %.0f s: %s", view.lasted, told(view))

    def _difference(self, now: float, totals: Totals) -> Sample:
        assert self._before is not None
        then, before = self._before
        seconds = now - then

        def rate(name: str, label: str | None = None) -> float:
            return round((_sum(totals, name, label) - _sum(before, name, label)) / seconds, 2)

        return Sample(
            self._wall(),
            rate("gate_begun_total"),
            rate("gate_dropped_total"),
            round(_most(totals, "gate_delay_now_seconds"), 3),
            rate("boots_total"),
            int(_sum(totals, "gate_waiting")),
            self._storm,
            self._back if self._storm else 0,
            rate("tls_refused_total", "handshake_timeout"),
            rate("tls_refused_total", "left"),
        )

    def _turn(self, storm: bool, now: float, totals: Totals) -> None:
        """Storm mode began or ended; a storm met under way began as long ago as the workers say."""
        lasted = now - self._turned
        known = totals.get(("storm_seconds", ""), 0.0) if storm else 0.0
        self._storm, self._turned, self._turned_at = storm, now - known, self._wall() - known
        self._at_turn = totals if self._before is None else self._before[1]
        if storm:
            view = self.view()
            self._told = now if math.isfinite(view.left) else -math.inf
            log.warning("storm mode: %s", told(view))
            self._events.began(now, self._turned_at, dict(self._beginning(view)), met=self._before is None)
        else:
            log.warning("storm mode ended after %.0f s; about %d devices came back meanwhile", lasted, self._back)
            self._events.ended(self._turned_at, dict(self._ending(lasted)))

    def _just_before(self) -> float:
        """The longest wait of the last calm seconds: it began this storm, and may be over by the time that is seen."""
        calm = takewhile(lambda one: not one.storm, reversed(self.samples))
        return max((one.delay for one in islice(calm, _JUST)), default=0.0)

    def _beginning(self, view: StormView) -> Iterable[tuple[str, str]]:
        yield "delay_s", f"{self._worst:.2f}"
        if view.fleet is not None:
            yield "devices", str(view.fleet)
        if view.pace:
            yield "pace", f"{view.pace:.0f}"

    def _ending(self, lasted: float) -> Iterable[tuple[str, str]]:
        yield from (("lasted_s", f"{lasted:.0f}"), ("worst_delay_s", f"{self._worst:.2f}"), ("back", str(self._back)))
        if (fleet := self._fleet.size) is not None:
            yield from (("devices", str(fleet)), ("outstanding", str(max(0, fleet - self._back))))

    def _pace(self) -> tuple[float, float]:
        """Boots and connections a second: a phone with a connection for each file takes several."""
        connections = _sum(self._now, "gate_capacity")
        return connections * self._share, connections

    def _learn_share(self) -> None:
        """Of the weather that is: phones in a storm resume less and fail more."""
        boots = _sum(self._now, "boots_total") - _sum(self._at_turn, "boots_total")
        begun = _sum(self._now, "gate_begun_total") - _sum(self._at_turn, "gate_begun_total")
        if boots >= _ENOUGH and begun > 0:
            self._share = min(1.0, boots / begun)

    def view(self) -> StormView:
        """The state of things at the last sample."""
        pace, connections = self._pace()
        back, fleet = self._back if self._storm else 0, self._fleet.size
        left = math.inf if fleet is None else time_left(fleet, back, pace)
        begun, timed_out, left_early = self._lately()
        return StormView(
            storm=self._storm,
            since=self._turned_at,
            lasted=self._clock() - self._turned if self._turned_at else 0.0,
            capacity=measured(self._cores, self._now),
            pace=pace,
            connections=connections,
            waiting=int(_sum(self._now, "gate_waiting")),
            delay=_most(self._now, "gate_delay_now_seconds"),
            fleet=fleet,
            back=back,
            left=left if self._storm else 0.0,
            timed_out=timed_out,
            left_early=left_early,
            unfinished=begun >= 1 and timed_out + left_early >= max(1.0, _MANY * begun),
        )

    def _lately(self) -> tuple[float, float, float]:
        """Handshakes begun, timed out and left a second, over the last few seconds."""
        some = list(islice(reversed(self.samples), _LATELY))
        number = max(1, len(some))
        return (
            sum(one.begun for one in some) / number,
            round(sum(one.timed_out for one in some) / number, 2),
            round(sum(one.left_early for one in some) / number, 2),
        )

    def collect(self) -> Iterable[Metric]:
        """For the exposition."""
        if (found := measured(self._cores, self._now)) is not None:
            (name, (text, _)), *_ = STORM.items()
            yield GaugeMetricFamily(f"provisioner_{name}", text, value=found.boots)


def told(view: StormView) -> str:
    """A storm in one line."""
    left = f"about {view.left:.0f} s" if math.isfinite(view.left) else "not known before a pace is measured"
    fleet = "uncounted" if view.fleet is None else view.fleet
    return (
        f"{view.waiting} waiting, the longest for {view.delay:.1f} s; {view.connections:.0f} connections/s can be "
        f"begun; {fleet} devices, about {view.back} back; time until all are back: {left}, were all of them out"
    )


def _sum(totals: Totals, name: str, label: str | None = None) -> float:
    """Over all labels, or of one."""
    return sum(value for (metric, kind), value in totals.items() if metric == name and label in (None, kind))


def _most(totals: Totals, name: str) -> float:
    return max((value for (metric, _), value in totals.items() if metric == name), default=0.0)
