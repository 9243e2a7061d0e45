"""What `simulate storm` was asked for becomes a plan and a cast; what makes no sense, or changes nothing, is refused.

Pure. An option that is given is never silently ignored: a report that was thought to be of one thing and is of another
is worse than none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from provisioner.errors import Invalid
from provisioner.simulator.storm_plan import Mode, StormPlan, due
from provisioner.storm_cast import MOST, Call, vendors_of

_LONGEST: Final = 900.0
"""s that a storm may last; phones that are not back by then are told as such."""
_LOAD: Final = 30.0
"""s of a load without a power cut."""
_PHONES: Final = 2000
_SITES: Final = 30
_LARGE: Final = 500
"""Phones behind one address, where there are four times as many."""
_PROCESSES: Final = 2
_NO_CUT: Final = "there is no power cut"
_ONE_TRY: Final = "nobody tries again"
_IN_VAIN: Final[Mapping[str, Mapping[str, str]]] = {
    "rate": {
        "together": "these are two different loads; choose one",
        **dict.fromkeys(("spread", "capacity"), _NO_CUT),
    },
    "together": {
        **dict.fromkeys(("spread", "capacity"), _NO_CUT),
        **dict.fromkeys(("no_retry", "retry", "jitter", "greedy", "heed"), f"{_ONE_TRY}, the next phone boots instead"),
    },
    "no_retry": dict.fromkeys(("retry", "jitter", "greedy", "heed"), _ONE_TRY),
}
"""Beside an option, those that would change nothing, and why."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The options; None where nobody said anything and the default depends on the others."""

    phones: int | None
    spread: float
    sites: int | None
    nat: int | None
    patience: float
    retry: float | None
    """None is each model's own delay."""
    jitter: float
    no_retry: bool
    greedy: bool
    connection_per_file: bool
    heed: tuple[str, ...]
    rate: float | None
    together: int | None
    seconds: float | None
    capacity: float | None
    processes: int | None

    def plan(self, given: Collection[str], cores: int) -> tuple[StormPlan, Call]:
        """Everything but the cast, and who that will be; Invalid names the option. ``given`` was really said."""
        for beside, in_vain in _IN_VAIN.items():
            for name, why in in_vain.items():
                if beside in given and name in given:
                    raise Invalid(name, f"has no effect with --{beside.replace('_', '-')}: {why}")
        plan = self._plan(cores)
        call = self._call(plan)
        for field, good, why in self._rules(plan, call):
            if not good:
                raise Invalid(field, why)
        return plan, call

    def _plan(self, cores: int) -> StormPlan:
        mode = Mode.RATE if self.rate is not None else Mode.CLOSED if self.together is not None else Mode.STORM
        longest = _LONGEST if mode is Mode.STORM else _LOAD
        return StormPlan(
            mode=mode,
            spread=self.spread,
            rate=self.rate or 0.0,
            together=self.together or 0,
            seconds=longest if self.seconds is None else self.seconds,
            patience=self.patience,
            retry=self.retry,
            jitter=self.jitter,
            retries=not self.no_retry,
            connection_per_file=self.connection_per_file,
            heeding=frozenset(one.lower() for one in self.heed),
            processes=min(_PROCESSES, cores) if self.processes is None else self.processes,
            capacity=self.capacity or 0.0,
        )

    def _call(self, plan: StormPlan) -> Call:
        """What is not said is such that no site is without a phone and no phone without its boot."""
        phones = min(_PHONES, max(1, _boots(plan))) if self.phones is None else self.phones
        large = (min(_LARGE, phones // 4) if self.sites != 1 else 0) if self.nat is None else self.nat
        sites = min(_SITES, _stands(phones, large)) if self.sites is None else self.sites
        return Call(phones, sites, large)

    def _rules(self, plan: StormPlan, call: Call) -> Iterator[tuple[str, bool, str]]:
        boots, stands, within = _boots(plan), _stands(call.phones, call.nat), f"within {plan.seconds:g} s"
        yield "rate", boots > 0, f"no boot would begin {within}"
        yield "phones", call.phones <= boots, f"only {boots} boots begin {within} at this rate: some would never boot"
        yield "sites", call.sites <= stands, f"no more than {stands}: nobody is left to stand at the others"
        yield "together", plan.together <= call.phones, f"no more than {call.phones}, the number of phones"
        most = plan.together or call.phones
        yield "processes", (self.processes or 1) <= most, f"no more than {most}: the others would have nothing to do"
        late = plan.mode is Mode.STORM and plan.spread > plan.seconds
        yield "seconds", not late, f"not less than the spread, {plan.spread:g} s: some would never be switched on"
        vendors = vendors_of(call.phones)
        strangers = ", ".join(sorted(plan.heeding - vendors))
        yield "heed", not strangers, f"nobody has a phone of {strangers}; they are of {', '.join(sorted(vendors))}"
        alone = self.greedy and call.sites - bool(call.nat) < 2
        yield "greedy", not alone, "it takes a site beside the large one, and another to compare with"


def _boots(plan: StormPlan) -> int:
    """How many can begin at most."""
    return due(plan, plan.seconds) if plan.mode is Mode.RATE else MOST


def _stands(phones: int, large: int) -> int:
    """At how many sites there can be a phone."""
    return max(1, phones - large + bool(large))
