"""Whole storms against the gate alone, on a clock of their own: who is back when, and what a neighbour can take."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from heapq import heappop, heappush

import pytest

from provisioner.gate import Drop, Gate, GateLimits

_STEP = 0.02


@dataclass
class World:
    """Phones that come, are begun or turned away, and come again; ``capacity`` handshakes a second."""

    capacity: float
    known: dict[str, int]
    retry: float = 10.0
    deadline: float = 4.0
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    calls: list[tuple[float, int, str, bool, bool]] = field(default_factory=list)
    back: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    longest_delay: float = 0.0

    def __post_init__(self) -> None:
        self.gate: Gate[tuple[str, bool]] = Gate(GateLimits(deadline=self.deadline))
        self.gate.weights = self.known
        self.gate.capacity = self.capacity

    def call(self, at: float, site: str, *, again: bool = True, resumes: bool = False) -> None:
        heappush(self.calls, (at, len(self.calls) + self.chance.getrandbits(40), site, again, resumes))

    def switch_on(self, site: str, phones: int, spread: float) -> None:
        for _ in range(phones):
            self.call(self.chance.uniform(0, spread), site)

    def _turn_away(self, dropped: list[tuple[tuple[str, bool], Drop]], now: float) -> None:
        for (site, again), _ in dropped:
            if again:
                self.call(now + self.retry * self.chance.uniform(0.9, 1.1), site)

    def run(self, seconds: float) -> None:
        now, due = 0.0, 0.0
        while now < seconds and (self.calls or len(self.gate)):
            now += _STEP
            while self.calls and self.calls[0][0] <= now:
                at, _, site, again, resumes = heappop(self.calls)
                self._turn_away(self.gate.offer((site, again), site, at, now, resumes=resumes), now)
            due = min(due + self.capacity * _STEP, self.capacity * _STEP + 1)
            while due >= 1:
                waiting, late = self.gate.next(now, lambda _item: True)
                self._turn_away(late, now)
                if waiting is None:
                    break
                due -= 1
                site, again = waiting.item
                if again:
                    self.back[site].append(now)
            self._turn_away(self.gate.expire(now), now)
            self.longest_delay = max(self.longest_delay, self.gate.delay(now))

    def quantile(self, share: float, *sites: str) -> float:
        times = sorted(time for site in sites for time in self.back[site])
        return times[max(int(len(times) * share) - 1, 0)]


@pytest.mark.parametrize(
    ("capacity", "large", "homes", "offices"), [(100, 2000, 2000, 0), (50, 500, 500, 0), (200, 3000, 1000, 100)]
)
def test_phones_behind_one_address_and_phones_at_home_come_back_alike(
    capacity: float, large: int, homes: int, offices: int
) -> None:
    small = {f"198.51.{n >> 8}.{n & 255}": 1 for n in range(homes)}
    groups = {f"192.0.2.{n}": 10 for n in range(offices)}
    world = World(capacity, {"203.0.113.1": large, **small, **groups})
    for site, phones in world.known.items():
        world.switch_on(site, phones, 10.0)
    world.run(20 * sum(world.known.values()) / capacity)
    assert sum(map(len, world.back.values())) == sum(world.known.values()), "everybody is back"
    ideal = sum(world.known.values()) / capacity
    nat, others = world.quantile(0.99, "203.0.113.1"), world.quantile(0.99, *small, *groups)
    assert nat <= 1.2 * others
    assert others <= 1.35 * max(ideal, 10.0)
    assert world.quantile(0.5, *small) <= 1.7 * world.quantile(0.5, "203.0.113.1")


def test_a_greedy_site_of_500_takes_nothing_from_the_others_share() -> None:
    """Its places are more than the whole queue holds."""
    offices = {f"192.0.2.{n}": 50 for n in range(20)}
    world = World(100, {"203.0.113.1": 500, **offices})
    for n in range(1000 * 30):
        world.call(n / 1000, "203.0.113.1", again=False)
    wanted = 0
    for n in range(60 * 30):
        world.call(n / 60, f"192.0.2.{n % 20}")
        wanted += 1
    world.retry = 1000.0
    world.run(34.0)
    assert sum(len(world.back[site]) for site in offices) >= 0.9 * wanted


def test_a_greedy_small_site_takes_nothing_from_the_others_share() -> None:
    offices = {f"192.0.2.{n}": 50 for n in range(20)}
    world = World(100, offices | {"203.0.113.1": 50})
    for n in range(1000 * 30):
        world.call(n / 1000, "203.0.113.1", again=False)
    for n in range(60 * 30):
        world.call(n / 60, f"192.0.2.{n % 20}")
    world.retry = 1000.0
    world.run(34.0)
    assert sum(len(world.back[site]) for site in offices) >= 0.9 * 60 * 30


def test_who_lies_about_resuming_gets_half_of_his_own_sites_turns_and_nothing_of_others() -> None:
    world = World(100, {"203.0.113.1": 50, "192.0.2.1": 50})
    for n in range(300 * 30):
        world.call(n / 300, "203.0.113.1", again=False, resumes=True)
    for n in range(40 * 30):
        world.call(n / 40, "203.0.113.1")
        world.call(n / 40, "192.0.2.1")
    world.retry = 1000.0
    world.run(34.0)
    assert len(world.back["192.0.2.1"]) >= 0.95 * 40 * 30
    assert len(world.back["203.0.113.1"]) >= 0.6 * 40 * 30


def test_one_unknown_address_that_floods_is_no_storm_for_the_house() -> None:
    world = World(100, {"192.0.2.1": 50})
    for n in range(300 * 20):
        world.call(n / 300, "203.0.113.9", again=False)
    for n in range(80 * 20):
        world.call(n / 80, "192.0.2.1")
    world.run(20.0)
    assert len(world.back["192.0.2.1"]) >= 80 * 20 - 5
    assert len(world.gate) > 100, "the flood waits"
    assert world.longest_delay < 0.5


def test_under_pressure_the_oldest_gives_his_place_back_and_in_calm_the_newest() -> None:
    for age, gone in ((0.1, "new"), (2.0, "old")):
        gate: Gate[str] = Gate(GateLimits(queue=16, target=0.5))
        for n in range(16):
            gate.offer("old" if n == 0 else f"{n}", "192.0.2.1", 100.0 - age, 100.0)
        assert gate.offer("new", "192.0.2.1", 100.0, 100.0) == [(gone, Drop.FULL)]
