"""What a storm is, decided before it begins: which phones, when each is switched on, where it stands, how it retries.

Pure: random numbers come from the plan's seed, so the same plan is the same storm.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from provisioner.errors import Invalid
from provisioner.model import Mac

_CALM: Final = 60.0
"""Boots a second that are no storm for anybody, phones and server on two cores together."""
_CALM_LONGEST: Final = 600.0
"""s that such boots may take beyond the time over which they are spread."""
_LONGEST_RETRY: Final = 86_400.0
_BLOCK: Final = 250
"""Source addresses taken from each 127.x.y.0/24."""
MOST_SITES: Final = 200 * _BLOCK


class Mode(StrEnum):
    """What makes a phone begin."""

    STORM = "storm"
    """Each phone is switched on once within the spread, and tries until it is back."""
    RATE = "rate"
    """So many fresh boots a second, whatever became of the earlier ones."""
    CLOSED = "closed"
    """A fixed number of boots at a time, one after the other: what the server can do."""


@dataclass(frozen=True, slots=True)
class StormPhone:
    """One phone of the crowd."""

    mac: Mac
    vendor: str
    model: str
    certificate: Path
    """PEM: the leaf first, then what it sends of its chain."""
    key: Path = field(repr=False)
    site: str = ""
    """Address that it comes from; empty: whichever the system takes."""
    auth_user: str = ""
    """Whom its one line must register as; another one in its files, on whatever line, is a wrong body."""
    secret: str = field(default="", repr=False)
    """The password of that line; another one is a wrong body. Empty: it is not compared."""


@dataclass(frozen=True, slots=True)
class StormPlan:
    """A whole run. Times are seconds."""

    phones: tuple[StormPhone, ...] = ()
    """Nobody yet, in a plan that is still without its cast."""
    url: str = ""
    """The provisioning URL they all have."""
    address: str = ""
    """Where that is, when it is not to be looked up: host or IP address."""
    trust: Path | None = None
    """PEM of the CA that the phones trust; None checks nothing."""
    mode: Mode = Mode.STORM
    spread: float = 60.0
    """STORM: phones are switched on evenly over this time."""
    rate: float = 0.0
    """RATE: boots that begin each second."""
    together: int = 0
    """CLOSED: boots at a time."""
    seconds: float = 900.0
    """RATE and CLOSED: how long. STORM: the longest it may last."""
    patience: float = 10.0
    """From connect to the first byte of an answer."""
    retry: float | None = 60.0
    """Until the next attempt; None is the persona's own delay, which may be seconds."""
    jitter: float = 0.1
    """The retry delay is multiplied by 1 ± this."""
    retries: bool = True
    """False: one attempt a boot."""
    greedy: frozenset[str] = frozenset()
    """Sites whose phones come back ten times as often."""
    greed: float = 10.0
    heeding: frozenset[str] = frozenset()
    """Vendors whose phones wait for Retry-After after a 503. No vendor's document promises it."""
    nat: str = ""
    """The large site, which the report compares with the others."""
    uploads: bool = True
    """Whether phones send their log where their configuration says so."""
    connection_per_file: bool = False
    processes: int = 2
    capacity: float = 0.0
    """Boots a second the server can do, for the ideal; 0 when it is not known."""
    seed: int = 1

    def __post_init__(self) -> None:
        """Invalid names the first field that makes no sense."""
        for name, good, why in self._rules():
            if not good:
                raise Invalid(name, why)

    def _rules(self) -> Iterator[tuple[str, bool, str]]:
        yield "spread", 0 <= self.spread <= 86_400, "must be 0 s to a day"
        yield "rate", self.rate >= 0, "must not be negative"
        yield "rate", self.mode is not Mode.RATE or self.rate > 0, "says how many boots begin each second"
        yield "together", self.mode is not Mode.CLOSED or self.together > 0, "at least one boot at a time"
        yield "seconds", 0 < self.seconds <= 86_400, "must be more than 0 s and at most a day"
        yield "patience", 0 < self.patience <= 3600, "must be more than 0 s and at most an hour"
        yield "retry", self.retry is None or 0 < self.retry <= _LONGEST_RETRY, "must be more than 0 s and at most a day"
        yield "jitter", 0 <= self.jitter < 1, "must be 0 to less than 1: 0.1 is ten percent either way"
        yield "greed", self.greed > 0, "must be more than 0"
        yield "processes", 1 <= self.processes <= 256, "must be 1 to 256"
        yield "capacity", self.capacity >= 0, "must not be negative"


def switch_on(plan: StormPlan) -> list[float]:
    """Seconds after the power's return at which each phone is switched on: uniform over the spread, site by site.

    Each phone of a site has a slot of its own in random order: by chance alone some sites would be earlier than
    others, and that would look like the server's unfairness.
    """
    chance = random.Random(plan.seed)  # noqa: S311  # a simulation, no secret
    of_site: dict[str, list[int]] = defaultdict(list)
    for place, phone in enumerate(plan.phones):
        of_site[phone.site].append(place)
    times = [0.0] * len(plan.phones)
    for members in of_site.values():
        chance.shuffle(members)
        for slot, place in enumerate(members):
            times[place] = plan.spread * (slot + chance.random()) / len(members)
    return times


def calm(plan: StormPlan) -> StormPlan:
    """The same phones on a quiet day: each boots once, and whoever is not served tries again soon."""
    spread = len(plan.phones) / _CALM
    return replace(
        plan,
        mode=Mode.STORM,
        spread=spread,
        seconds=spread + _CALM_LONGEST,
        patience=30.0,
        retry=5.0,
        retries=True,
        greedy=frozenset(),
        heeding=frozenset(),
    )


def due(plan: StormPlan, seconds: float) -> int:
    """RATE: how many boots have begun by then."""
    return int(min(seconds, plan.seconds) * plan.rate)


def back_off(plan: StormPlan, phone: StormPhone, usual: float, wanted: float, chance: float) -> float:
    """Until the next attempt. ``wanted`` is a Retry-After in s or 0, ``chance`` is from 0 to 1."""
    delay = usual if plan.retry is None else plan.retry
    if phone.site in plan.greedy:
        return delay / plan.greed * (1 + plan.jitter * (2 * chance - 1))
    if wanted > 0 and phone.vendor in plan.heeding:
        return wanted
    return delay * (1 + plan.jitter * (2 * chance - 1))


def site_addresses(count: int) -> list[str]:
    """That many addresses of 127.0.0.0/8, none of them one that is used for anything else as a rule."""
    if not 1 <= count <= MOST_SITES:
        raise Invalid("sites", f"must be 1 to {MOST_SITES}")
    return [f"127.{20 + place // _BLOCK // 200}.{place // _BLOCK % 200}.{place % _BLOCK + 1}" for place in range(count)]


def places(phones: int, sites: int, nat: int) -> list[str]:
    """Where each phone stands: the first ``nat`` behind the first address, the others in turn over the rest."""
    if phones < 1:
        raise Invalid("phones", "a storm takes at least one phone")
    if not 0 <= nat <= phones:
        raise Invalid("nat", f"must be 0 to {phones}, the number of phones")
    addresses = site_addresses(sites)
    others = addresses[1:] if nat and sites > 1 else addresses
    if nat and sites == 1 and nat < phones:
        raise Invalid("sites", "one site for the large one and none for the other phones; give 2 or more")
    return [addresses[0]] * nat + [others[place % len(others)] for place in range(phones - nat)]


def shares(plan: StormPlan) -> list[list[int]]:
    """Which phones each process plays: every n-th, so that each has its part of every site."""
    count = min(plan.processes, len(plan.phones))
    return [list(range(first, len(plan.phones), count)) for first in range(count)]
