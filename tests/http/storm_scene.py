"""A storm watch over workers that a test makes up, on clocks that it moves by hand; what is told is kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from provisioner.capacity import Cores
from provisioner.errors import StoreFailed
from provisioner.http.fleet_state import FleetState
from provisioner.http.storm_events import Journal, StormEvents
from provisioner.http.storm_watch import StormWatch
from provisioner.model import DeviceState, Event
from provisioner.store.census import Group


class Times:
    """A clock that is moved by hand, and a wall clock that jumps."""

    def __init__(self) -> None:
        self.now = 5000.0
        self.jump = 0.0

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return 1_800_000_000.0 + self.now + self.jump


class Workers:
    """What the workers' files say."""

    def __init__(self) -> None:
        self.totals: dict[tuple[str, str], float] = {}
        self.told("storm_mode", "", 0)

    def told(self, name: str, label: str, value: float) -> None:
        self.totals[name, label] = value

    def more(self, name: str, label: str, value: float) -> None:
        self.totals[name, label] = self.totals.get((name, label), 0.0) + value

    def read(self) -> dict[tuple[str, str], float]:
        return dict(self.totals)


async def thousand(_since: float) -> list[Group]:
    return [
        Group("poly", DeviceState.ASSIGNED, 600, 5),
        Group("poly", DeviceState.REVOKED, 50, 0),
        Group("yealink", DeviceState.UNASSIGNED, 400, 0),
    ]


class Told:
    """A journal in memory, and one that fails when it is told to."""

    def __init__(self) -> None:
        self.node = "node-1"
        self.events: list[Event] = []
        self.open = 0.0
        self.broken = False

    async def write(self, event: Event) -> None:
        if self.broken:
            raise StoreFailed("the database is locked")
        self.events.append(event)

    async def begun(self) -> float:
        return self.open


class Scene:
    """A watch over workers on clocks of the test's own."""

    def __init__(
        self, census: Callable[[float], Awaitable[Sequence[Group]]] = thousand, journal: Journal | None = None
    ) -> None:
        self.times, self.workers = Times(), Workers()
        self.fleet = FleetState(census, self.times)
        self.journal = Told()
        self.events = StormEvents(journal or self.journal)
        cores = Cores(2, 0.8)
        self.watch = StormWatch(self.workers.read, self.fleet, cores, self.events, self.times, self.times.wall)

    async def begin(self) -> None:
        await self.watch.count_fleet()
        await self.watch.look()

    async def second(self, boots: int = 0, begun: int = 0, dropped: int = 0, **gauges: float) -> None:
        """A second goes by in which so much happened."""
        self.times.now += 1.0
        self.workers.more("boots_total", "poly", boots)
        self.workers.more("gate_begun_total", "known", begun)
        self.workers.more("gate_dropped_total", "late", dropped)
        for name, value in gauges.items():
            self.workers.told(name, "" if name.startswith("storm") else "device", value)
        await self.watch.look()
