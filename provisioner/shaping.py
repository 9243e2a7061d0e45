"""Storm shaping: what a fleet does to a node after a power cut, and the timers that make its phones spread themselves.

Rule: all is arithmetic over four figures (phones, boots a second, spread, patience). Values for phones go in coarse
steps, up and down, and one that is in force is kept while it is about right: a byte that changes makes every Yealink
apply its file anew. What phones would do without a plan bounds it: a window is never made narrower than that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from provisioner import neutral
from provisioner.vendor import Manifest

MARGIN: Final = 1.2
"""The shaping window is so much longer than the fleet's work: arrivals at random never come quite evenly."""
DEAD_COST: Final = 0.35
"""What serving a phone that has left costs, in boots (assumed: the signature happens, the rest does not)."""
REJECTION: Final = 50e-6
"""s of CPU to turn one caller away before TLS (assumed)."""
_TOLERANCE: Final = 0.1
"""An applied value is kept while what is wanted is no more than this beyond its step."""
_DAY: Final = 86400
_WAITS: Final = (0, 20, 40, 60, 80, 120, 160, 240, 320, 480, 600)
"""s; Cisco counts in units of 20 s."""
_RETRIES: Final = (60, 90, 120, 180, 240, 300, 450, 600)
_ATTEMPTS: Final = tuple(range(neutral.RETRY_ATTEMPTS.default, 11))
_HOURS: Final = (4, 6, 8, 12, 16, 22)
_DAYS: Final = (1, 2, 3, 5, 7)


def campaign_pace(capacity: float, share: float) -> float:
    """Devices a second that this server may itself tell to fetch again (``storm.campaign``)."""
    return capacity * share


def time_left(fleet: int, back: int, pace: float) -> float:
    """Seconds until the phones that are not back yet are served at this pace, at most; infinite while none is known."""
    waiting = max(0, fleet - back)
    return waiting / pace if pace > 0 else (math.inf if waiting else 0.0)


@dataclass(frozen=True, slots=True)
class Outage:
    """``fleet`` phones lose power, and come back within ``spread`` s to a node of ``capacity`` boots a second."""

    fleet: int
    capacity: float
    spread: float
    """s between the first and the last phone that has started."""
    patience: float
    """s a phone waits for its first byte."""

    @property
    def safe_fleet(self) -> float:
        """Phones whose wait never passes their patience, C·(J+Tc): without any protection nobody has to try twice."""
        return self.capacity * (self.spread + self.patience)

    @property
    def is_safe(self) -> bool:
        """Whether this fleet is no larger than that."""
        return self.fleet <= self.safe_fleet

    @property
    def collapse_after(self) -> float | None:
        """Seconds until a first-come queue serves only phones that have left, C·Tc/(N/J−C); None if it never does."""
        if self.is_safe:
            return None
        return self.capacity * self.patience * self.spread / (self.fleet - self.capacity * self.spread)

    @property
    def recovery(self) -> float:
        """Seconds in which the whole fleet can be back at best: max(J, N/C)."""
        return max(self.spread, self.fleet / self.capacity)

    @property
    def window(self) -> float:
        """Seconds over which phones that hold a configuration should spread their requests: W = 1.2·N/C."""
        return MARGIN * self.fleet / self.capacity

    @property
    def calming_retry(self) -> float:
        """Seconds between two attempts from which on an overload cannot feed itself, N·d/C−Tc."""
        return max(0.0, self.fleet * DEAD_COST / self.capacity - self.patience)


class Budget(NamedTuple):
    """What the node may spend on callers that it turns away, and on fetching that it starts itself."""

    cores: float
    rejections: float
    """Share of the time (``gate.rejections``)."""
    campaign: float
    """Share of the capacity (``storm.campaign``)."""


class Wish(NamedTuple):
    """What would be right for a setting, before steps and bounds, and why; below the lowest step, the lowest is."""

    setting: str
    wanted: float
    why: str


def delay_wish(outage: Outage, *, calm: bool) -> Wish:
    """The longest random wait after power-on of a phone that holds a configuration; it costs its user nothing."""
    if calm:
        return Wish(neutral.BOOT_DELAY.name, 0.0, "the fleet is safe without it")
    return Wish(neutral.BOOT_DELAY.name, outage.window, f"W = {MARGIN}·N/C = {math.ceil(outage.window)} s")


def attempts_wish(outage: Outage, retry: float) -> Wish:
    """As many attempts, ``retry`` s apart, as reach beyond the time in which the node can serve everybody."""
    wanted = outage.recovery / (retry + outage.patience) + 1
    if wanted <= neutral.RETRY_ATTEMPTS.default:
        return Wish(neutral.RETRY_ATTEMPTS.name, wanted, "the default is enough")
    return Wish(
        neutral.RETRY_ATTEMPTS.name, wanted, f"one more than fit into the {outage.recovery:.0f} s that all need"
    )


def retry_wish(outage: Outage, budget: Budget, *, calm: bool) -> Wish:
    """The longer of two: what keeps an overload from feeding itself, and what turning away may cost."""
    affordable = outage.fleet * REJECTION / (budget.rejections * budget.cores)
    reasons = {
        f"overload cannot feed itself: N·d/C − Tc = {outage.calming_retry:.0f} s": outage.calming_retry,
        f"turning {outage.fleet:,} phones away stays within gate.rejections: {affordable:.0f} s": affordable,
    }
    why, longest = max(reasons.items(), key=lambda one: one[1])
    if calm:
        return Wish(neutral.RETRY_DELAY.name, 0.0, "the default is long enough: the fleet is safe without more")
    if longest <= neutral.RETRY_DELAY.default:
        return Wish(neutral.RETRY_DELAY.name, longest, f"the default is long enough: {longest:.0f} s would do")
    return Wish(neutral.RETRY_DELAY.name, longest, why)


def polling(outage: Outage, budget: Budget) -> tuple[Wish, Wish]:
    """Hours of the nightly window and days between two polls, so that polling stays below what a campaign may take."""
    pace = campaign_pace(outage.capacity, budget.campaign)
    hours = outage.fleet / pace / 3600
    days = hours / _HOURS[-1]
    why = f"{outage.fleet:,} phones at {pace:,.1f}/s, {budget.campaign:g}·C, take {hours:.1f} h"
    return Wish("hours", hours, why), Wish(neutral.POLL_PERIOD.name, days, why)


def step(wanted: float, steps: Sequence[int], current: int | None = None) -> int:
    """The lowest step that is enough, or the highest; the current one while ``wanted`` is about in its range."""
    index = next((number for number, one in enumerate(steps) if one >= wanted), len(steps) - 1)
    if current is not None and current in steps:
        own = steps.index(current)
        above = steps[own - 1] * (1 - _TOLERANCE) if own else -math.inf
        below = current * (1 + _TOLERANCE) if own < len(steps) - 1 else math.inf
        if above < wanted <= below:
            return current
    return steps[index]


# --- per vendor -----------------------------------------------------------------------------------


class Advice(NamedTuple):
    """One setting of one vendor's phones."""

    vendor: str
    setting: str
    value: object
    """None where none of its models has such a parameter."""
    current: object
    without: object
    """What they would be told if no plan had been applied."""
    taken_by: int
    """Models that have it."""
    models: int
    why: str

    @property
    def is_new(self) -> bool:
        """Whether applying it would change anything for any phone."""
        return self.value is not None and self.value != self.current

    @property
    def takes_back(self) -> bool:
        """Whether it is applied by taking back what an earlier plan had set."""
        return self.is_new and self.value == self.without


class Standing(NamedTuple):
    """What a vendor's phones are told by its layer and those below it."""

    current: Mapping[str, object]
    without: Mapping[str, object]
    """The same if no plan had been applied."""

    def differs(self, *names: str) -> bool:
        """Whether a plan has changed any of these."""
        return any(self.current.get(name) != self.without.get(name) for name in names)


def advise(manifest: Manifest, outage: Outage, budget: Budget, standing: Standing) -> tuple[Advice, ...]:
    """What this vendor's phones should be told."""

    def advice(wish: Wish, steps: Sequence[int]) -> Advice:
        return _advice(manifest, wish.setting, *_stepped(manifest, wish, steps, standing), standing)

    current = standing.current
    shaped = any(current.get(one.name) != one.default for one in (neutral.BOOT_DELAY, neutral.RETRY_DELAY))
    calm = outage.fleet <= outage.safe_fleet * (1 - _TOLERANCE if shaped else 1)
    retry = retry_wish(outage, budget, calm=calm)
    gap, why = _stepped(manifest, retry, _RETRIES, standing)
    return (
        advice(delay_wish(outage, calm=calm), _WAITS),
        _advice(manifest, retry.setting, gap, why, standing),
        advice(attempts_wish(outage, gap), _ATTEMPTS),
        *_polling_advice(manifest, outage, budget, standing),
    )


def _stepped(manifest: Manifest, wish: Wish, steps: Sequence[int], standing: Standing) -> tuple[int, str]:
    """The step, and why it is this one."""
    ceiling = manifest.ceilings.get(wish.setting, steps[-1])
    allowed = [one for one in steps if one <= ceiling] or [ceiling]
    now, right = standing.current.get(wish.setting), step(wish.wanted, allowed)
    value = step(wish.wanted, allowed, now if isinstance(now, int) else None)
    if value != right:
        return value, f"{wish.why}; that is within a tenth of the step {value}, which is kept"
    if value < wish.wanted:
        return value, f"{wish.why}; {value} is the most they take"
    return value, wish.why


def _advice(manifest: Manifest, setting: str, value: object, why: str, standing: Standing) -> Advice:
    refusing = [model.refuses[setting] for model in manifest.models.values() if setting in model.refuses]
    taken, models = len(manifest.models) - len(refusing), len(manifest.models)
    if not taken:
        value, why = None, f"none of its models can: {max(set(refusing), key=refusing.count)}"
    current, without = standing.current.get(setting), standing.without.get(setting)
    return Advice(manifest.name, setting, value, current, without, taken, models, why)


def _polling_advice(manifest: Manifest, outage: Outage, budget: Budget, standing: Standing) -> tuple[Advice, ...]:
    """A window that is too narrow without a plan is made wider, and no wider than that."""
    to, every = neutral.POLL_TO.name, neutral.POLL_PERIOD.name
    hours, days = polling(outage, budget)
    begin = str(standing.current[neutral.POLL_FROM.name])
    end, period, why = str(standing.without[to]), _seconds(standing.without[every]), hours.why
    own, daily = _width(begin, end), max(1, period // _DAY)
    widened = standing.differs(to, every)
    if own * daily < hours.wanted * (1 if widened else 1 - _TOLERANCE):
        now = round(_width(begin, str(standing.current[to]))) if widened else None
        end = _later(begin, max(step(hours.wanted, _HOURS, now), math.floor(own)))
        daily = max(daily, step(days.wanted, _DAYS, _seconds(standing.current[every]) // _DAY if widened else None))
    else:
        why = f"{why}, and there are {own * daily:g} h without a plan"
    return (
        _advice(manifest, to, end, why, standing),
        _advice(manifest, every, max(daily * _DAY, period), why, standing),
    )


def _seconds(period: object) -> int:
    return period if isinstance(period, int) else neutral.POLL_PERIOD.default


def _minutes(clock: str) -> int:
    hour, minute = clock.split(":")
    return int(hour) * 60 + int(minute)


def _width(begin: str, end: str) -> float:
    """Hours of a window that may pass midnight."""
    return ((_minutes(end) - _minutes(begin)) % 1440 or 1440) / 60


def _later(clock: str, hours: int) -> str:
    minutes = (_minutes(clock) + hours * 60) % 1440
    return f"{minutes // 60:02}:{minutes % 60:02}"
