"""What a storm was like, reckoned from the records of all attempts (pure); docs/how-to/simulate-a-storm.md explains."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from provisioner.simulator.storm_boot import BACK, WRONG_BODY
from provisioner.simulator.storm_crowd import Record
from provisioner.simulator.storm_plan import Mode, StormPlan


@dataclass(frozen=True, slots=True)
class Latency:
    """s from the begin of an attempt to the end of its boot, of attempts that succeeded."""

    p50: float = 0.0
    p99: float = 0.0
    most: float = 0.0


@dataclass(frozen=True, slots=True)
class SiteReport:
    """One site."""

    phones: int
    back: int
    t99: float | None
    """None: it did not come so far."""


@dataclass(frozen=True, slots=True)
class ServerReport:
    """What the server said of itself meanwhile."""

    storm_mode: float | None
    """When it entered storm mode, 0 when it was in it already; None: it stayed calm."""
    known: float | None
    """Share of the handshakes that it began for addresses at which it knew phones; None when it began none."""


@dataclass(frozen=True, slots=True)
class StormReport:
    """The whole run; the fields are the keys of the JSON. Times are s since the power's return."""

    mode: str
    phones: int
    """Phones, or boots that were begun in the modes without a power cut."""
    back: int
    t50: float | None
    t99: float | None
    t100: float | None
    ideal: float | None
    """max(spread, phones / capacity); None when no capacity is known."""
    seconds: float
    """How long it lasted."""
    goodput: float
    """Successful boots a second: until T99 in a storm, over the plan's time otherwise."""
    attempts: int
    attempts_per_phone: float
    most_attempts: int
    outcomes: Mapping[str, int]
    """Attempts by what became of them; ``back`` is the good end."""
    statuses: Mapping[str, int]
    """HTTP answers by status."""
    wrong_bodies: int
    latency: Latency
    jain: float | None
    """Fairness over sites at T50: 1 is even, 1/n is one site alone. None with one site or before T50."""
    nat: str
    nat_t99: float | None
    others_t99: float | None
    nat_ratio: float | None
    sites: Mapping[str, SiteReport]
    goodput_series: Sequence[int]
    """Successful boots in each second."""
    back_series: Sequence[int]
    """Phones back at the end of each second."""
    late_p99: float
    """s by which this machine began attempts too late: above 0.1 it was the bottleneck, from 2 on says it nothing."""
    cpu: float
    """s of processor time of all simulating processes."""
    latencies: Sequence[float] = field(default=(), repr=False)
    """Every hundredth part of the successful boots' latency, p0 to p100."""
    stopped_after: float | None = None
    """When somebody stopped it before its end, and with it everything above; None: it went on to its end."""
    server: ServerReport | None = None
    """None when nobody asked."""

    @property
    def good(self) -> bool:
        """Every phone came back, or without a power cut no attempt failed; and each got nothing but its own."""
        all_well = self.back == self.phones if self.mode == Mode.STORM else set(self.outcomes) <= {BACK}
        return not self.wrong_bodies and all_well


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed; 0 when there are none."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def jain(shares: Sequence[float]) -> float:
    """Jain's index (Jain, Chiu, Hawe 1984): 1 when all are the same; 1 also where nobody has anything."""
    squares = sum(one * one for one in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0


def reached(ordered: Sequence[float], of: int, share: float) -> float | None:
    """When that share of all was back, given when each came back."""
    needed = max(1, math.ceil(share * of))
    return ordered[needed - 1] if len(ordered) >= needed else None


def reckon(
    plan: StormPlan, records: Iterable[Record], cpu: float = 0.0, stopped_after: float | None = None
) -> StormReport:
    """The report of a run, of its part until then when it was stopped: what ended later was still under way."""
    records = [one for one in records if stopped_after is None or one.ended <= stopped_after]
    good = [one for one in records if one.outcome == BACK]
    came = _came_back(plan, good)
    over = plan.seconds if stopped_after is None else min(plan.seconds, stopped_after)
    ended = max((one.ended for one in records), default=0.0) if stopped_after is None else stopped_after
    count = len(plan.phones) if plan.mode is Mode.STORM else sum(one.tries == 1 for one in records)
    times = sorted(came.values()) if plan.mode is Mode.STORM else sorted(one.ended for one in good)
    t50, t99 = reached(times, count, 0.5), reached(times, count, 0.99)
    taken = sorted(one.ended - one.began for one in good)
    sites = _sites(plan, came) if plan.mode is Mode.STORM else {}
    nat, others = _nat(plan, came)
    return StormReport(
        mode=plan.mode.value,
        phones=count,
        back=len(times),
        t50=t50,
        t99=t99,
        t100=reached(times, count, 1.0),
        ideal=max(plan.spread, count / plan.capacity) if plan.capacity and plan.mode is Mode.STORM else None,
        seconds=ended,
        goodput=_goodput(times, (t99 or ended) if plan.mode is Mode.STORM else over),
        attempts=len(records),
        attempts_per_phone=len(records) / count if count else 0.0,
        most_attempts=max((one.tries for one in records), default=0),
        outcomes=dict(Counter(one.outcome for one in records).most_common()),
        statuses={str(code): number for code, number in sorted(Counter(_statuses(records)).items())},
        wrong_bodies=sum(one.outcome == WRONG_BODY for one in records),
        latency=Latency(percentile(taken, 0.5), percentile(taken, 0.99), taken[-1] if taken else 0.0),
        jain=_fairness(plan, came, t50) if len(sites) > 1 else None,
        nat=plan.nat,
        nat_t99=nat,
        others_t99=others,
        nat_ratio=nat / others if nat and others else None,
        sites=sites,
        goodput_series=per_second([one.ended for one in good], ended),
        back_series=_running_sum(per_second(times, ended)),
        late_p99=percentile(sorted(one.late for one in records), 0.99),
        cpu=cpu,
        latencies=[percentile(taken, share / 100) for share in range(101)] if taken else (),
        stopped_after=stopped_after,
    )


def _statuses(records: Iterable[Record]) -> Iterable[int]:
    for one in records:
        yield from one.statuses


def _came_back(plan: StormPlan, good: Iterable[Record]) -> dict[int, float]:
    """Each phone's first success."""
    came: dict[int, float] = {}
    for one in good:
        came[one.phone] = min(one.ended, came.get(one.phone, math.inf))
    return came if plan.mode is Mode.STORM else {}


def _goodput(times: Sequence[float], over: float) -> float:
    return sum(one <= over for one in times) / over if over else 0.0


def _by_site(plan: StormPlan, came: Mapping[int, float]) -> Mapping[str, tuple[int, list[float]]]:
    counted = Counter(one.site for one in plan.phones)
    times: dict[str, list[float]] = defaultdict(list)
    for place, at in came.items():
        times[plan.phones[place].site].append(at)
    return {site: (number, sorted(times[site])) for site, number in sorted(counted.items())}


def _sites(plan: StormPlan, came: Mapping[int, float]) -> Mapping[str, SiteReport]:
    return {
        site or "-": SiteReport(number, len(times), reached(times, number, 0.99))
        for site, (number, times) in _by_site(plan, came).items()
    }


def _fairness(plan: StormPlan, came: Mapping[int, float], t50: float | None) -> float | None:
    if t50 is None:
        return None
    return jain([sum(at <= t50 for at in times) / number for number, times in _by_site(plan, came).values()])


def _nat(plan: StormPlan, came: Mapping[int, float]) -> tuple[float | None, float | None]:
    """T99 of the large site, and of all phones elsewhere."""
    if not plan.nat:
        return None, None
    inside = sorted(at for place, at in came.items() if plan.phones[place].site == plan.nat)
    outside = sorted(at for place, at in came.items() if plan.phones[place].site != plan.nat)
    count = sum(one.site == plan.nat for one in plan.phones)
    others = len(plan.phones) - count
    return reached(inside, count, 0.99) if count else None, reached(outside, others, 0.99) if others else None


def per_second(times: Iterable[float], until: float) -> list[int]:
    """How many fall into each second from 0 to ``until``."""
    counted = [0] * (int(until) + 1)
    for at in times:
        counted[max(0, int(at))] += 1
    return counted


def _running_sum(numbers: Sequence[int]) -> list[int]:
    total, sums = 0, []
    for one in numbers:
        total += one
        sums.append(total)
    return sums
