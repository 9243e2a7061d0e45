"""A power cut ends: ours, nginx and aiohttp on a small share of one core, the phones on the other; goals and results.

Parts: calibration, goodput, storms (side by side and with parts of ours switched off), attacks, cost, headline.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import record
import storm_page
import storm_share
import storm_stage
from idle import raise_files
from storm_runs import Calibration, Run, Times, calibrate, mean_of, rate, say, storms
from storm_stage import ALL_OFF, BASES, COMPARED, NGINX_RICH, OURS, PARTS_OFF, Kind, Stage

from provisioner.errors import ProvisionerError
from provisioner.storm_cast import Call

PARTS = ("goodput", "storms", "attacks", "cost", "headline")
_FIRST_SHARE = 0.3
GREEDY = "greedy site"
_TRIES = 6
_PROTECTED, _BARE = 0, 1


@dataclass(frozen=True)
class Dial:
    """How large and how long everything is."""

    phones: int = 2000
    sites: int = 30
    nat: int = 500
    scaled: Times = field(default_factory=lambda: Times(4.0))
    halved: Times = field(default_factory=lambda: Times(2.0))
    """For steady rates: 20 times the capacity must be within what the client can do."""
    whole: Times = field(default_factory=Times)
    capacity: float = 46.0
    """Boots a second that each server shall be able to do in scaled storms.

    Phones that were turned away come back in waves, a retry apart. This lets the third wave be within the capacity;
    with a little less, a few phones wait for a fourth one, whatever the server does, and T99 is up to 1.3 x the ideal.
    """
    steady: float = 20.0
    """The same at a steady rate, and for the cost."""
    slow: float = 11.7
    """The same in the headline run, for the same reason."""
    slow_within: float = 0.03
    """How near that has to be: the share is changed and the capacity measured again until it is."""
    calibration: float = 10.0
    rate: float = 14.0
    paired: float = 10.0
    """s of each run for the cost."""
    longest: float = 5.0
    """x the ideal: then ours is stopped."""
    others: float = 1.5
    """The same for the servers that are compared, and for ours with parts off."""
    pairs: int = 4
    rounds: int = 3
    """Of each load at ours, between two calibrations each: capacity wanders by some percent from start to start."""
    attacks: int = 3
    """Storms with each attack, each beside one without: medians of the ratios."""
    power_cuts: int = 3
    """One after the other at one server: does its memory grow with each?"""
    loads: tuple[float, ...] = (0.8, 2.0, 5.0, 10.0, 20.0)
    """x the capacity."""
    others_loads: tuple[float, ...] = (2.0, 10.0)
    compared: tuple[Kind, ...] = COMPARED
    parts_off: tuple[Kind, ...] = (*PARTS_OFF, ALL_OFF)
    silent: int = 10_000
    garbage: float = 500.0
    """A second on a whole core; less by the server's share."""


QUICK = Dial(
    phones=120, sites=8, nat=30, scaled=Times(4.0, 8, 12, 10), halved=Times(4.0), whole=Times(4.0, 8, 12, 10),
    capacity=30.0, steady=20.0, slow=20.0, calibration=2.0, rate=5.0, paired=2.0, longest=3.0, others=1.5, pairs=1,
    rounds=1, attacks=1, silent=1000, loads=(5.0,), others_loads=(5.0,), compared=COMPARED[::2], parts_off=(ALL_OFF,),
)  # fmt: skip


@dataclass
class Found:
    """Everything that was measured."""

    dial: Dial
    share_by: str
    calibrations: list[Calibration] = field(default_factory=list)
    goodput: dict[str, list[Run]] = field(default_factory=dict)
    storms: dict[str, Run] = field(default_factory=dict)
    again: list[Run] = field(default_factory=list)
    """Further storms at the same server."""
    fresh: Run | None = None
    attacks: dict[str, Run] = field(default_factory=dict)
    """The last storm with each attack."""
    moves: dict[str, list[float]] = field(default_factory=dict)
    """T99 / ideal of those who were not attacked, by that of the storm without an attack before; 0: not all back."""
    cost: list[tuple[float, float]] = field(default_factory=list)
    """s of CPU a boot with the gate and without."""
    headline: Run | None = None
    seconds: float = 0.0
    failed: list[str] = field(default_factory=list)
    """Parts that came to nothing, and why."""

    @property
    def runs(self) -> list[Run]:
        """All against ours, with everything on."""
        some = [self.storms.get(OURS.name), *self.again, self.fresh, self.headline, *self.attacks.values()]
        return [one for one in some if one is not None] + self.goodput.get(OURS.name, [])

    def kept(self) -> dict[str, object]:
        """For the JSON."""
        return {
            "share_by": self.share_by,
            "seconds": round(self.seconds),
            "failed": self.failed,
            "calibrations": [vars(one) for one in self.calibrations],
            "goodput": {name: [one.kept() for one in runs] for name, runs in self.goodput.items()},
            "storms": {name: one.kept() for name, one in self.storms.items()},
            "again": [one.kept() for one in self.again],
            "fresh": self.fresh.kept() if self.fresh else None,
            "attacks": {name: one.kept() for name, one in self.attacks.items()},
            "moves": self.moves,
            "cost": self.cost,
            "headline": self.headline.kept() if self.headline else None,
        }


class Bench:
    """The parts, in turn."""

    def __init__(self, stage: Stage, dial: Dial, only: Iterable[str]) -> None:
        self._stage, self._dial, self._only = stage, dial, set(only)
        self.found = Found(dial, stage.share.how)
        self._shares: dict[tuple[str, float], float] = {}
        self._last: dict[float, Calibration] = {}
        """The newest of ours for each share of a core."""

    def run(self) -> Found:
        """All that was asked for."""
        begun = time.monotonic()
        parts: dict[str, Callable[[], None]] = {
            "goodput": self._goodput,
            "storms": self._storms,
            "attacks": self._attacks,
            "cost": self._cost,
            "headline": self._headline,
        }
        for name, part in parts.items():
            if name in self._only:
                say(f"--- {name} ---")
                self._play(name, part)
        self.found.seconds = time.monotonic() - begun
        return self.found

    def _play(self, name: str, part: Callable[[], None]) -> None:
        """A part that fails is told at the end: the others took their time."""
        try:
            part()
        except (SystemExit, ProvisionerError, OSError) as error:
            if isinstance(error, SystemExit) and isinstance(error.code, int):
                raise  # told to stop
            self.found.failed.append(f"{name}: {error}")
            say(f"{name} failed: {error}")

    def _share(self, kind: Kind, capacity: float) -> float:
        """Of a core, for it to reach that; tried twice, because a boot costs more with less of a core."""
        key = kind.program, capacity
        if key not in self._shares:
            share, seconds = _FIRST_SHARE, max(self._dial.calibration / 3, 2.0)
            for _ in range(2):
                share = min(0.9, share * capacity / calibrate(self._stage, kind, share, seconds).capacity)
            self._shares[key] = round(share, 3)
        return self._shares[key]

    def _known(self, kind: Kind, capacity: float, share: float = 0.0) -> Calibration:
        """Each server by its own; ours with parts off has ours, and nginx with a limit has that without."""
        kind = self._dial.scaled.of(OURS) if kind.program == OURS.program else BASES[kind.program]
        share = share or self._share(kind, capacity)
        for one in self.found.calibrations:
            if one.name == kind.name and one.share == share:
                return one
        made = calibrate(self._stage, kind, share, self._dial.calibration)
        self.found.calibrations.append(made)
        return made

    def _goodput(self) -> None:
        dial = self._dial
        share = self._known(OURS, dial.steady).share
        self.found.goodput[OURS.name] = [one for load in dial.loads for one in self._rounds(load, share)]
        for kind in dial.compared:
            known = self._known(kind, dial.steady)
            self.found.goodput[kind.name] = [
                rate(self._stage, kind, known, load, dial.halved, dial.rate) for load in dial.others_loads
            ]

    def _rounds(self, load: float, share: float) -> list[Run]:
        """The same load again and again; each judged by the mean of the calibrations before and after it."""
        dial, kind, runs = self._dial, self._dial.halved.of(OURS), []
        before = calibrate(self._stage, kind, share, dial.calibration)
        for _ in range(dial.rounds if load > 1 else 1):
            run = rate(self._stage, OURS, before, load, dial.halved, dial.rate)
            after = calibrate(self._stage, kind, share, dial.calibration)
            runs.append(replace(run, calibration=mean_of(before, after)))
            before = after
        return runs

    def _storms(self) -> None:
        dial, found = self._dial, self.found
        known, calm = self._known(OURS, dial.capacity), 60 / dial.scaled.scale
        cuts = dial.power_cuts
        runs = self._ours(OURS, known, number=cuts, calm=calm)
        found.storms[OURS.name], found.again = runs[0], runs[1:]
        (found.fresh,) = self._ours(OURS, known, data=self._stage.fresh)
        rich = self._known(NGINX_RICH, dial.capacity, known.share)
        (found.storms[NGINX_RICH.name],) = storms(self._stage, NGINX_RICH, rich, dial.scaled, dial.others)
        for kind in dial.compared:
            known = self._known(kind, dial.capacity)
            (found.storms[kind.name],) = storms(self._stage, kind, known, dial.scaled, dial.others)
        known = self._known(OURS, dial.capacity)
        for kind in dial.parts_off:
            (found.storms[kind.name],) = self._ours(kind, known, dial.others)

    def _ours(self, kind: Kind, known: Calibration, longest: float = 0.0, **given: object) -> list[Run]:
        """Storms, judged by the mean of the last calibration and one just after: the machine's pace changes."""
        dial = self._dial
        before = self._last.get(known.share, known)
        runs = storms(self._stage, kind, before, dial.scaled, longest or dial.longest, **given)  # type: ignore[arg-type]  # fields of a plan, or of the run
        after = self._last[known.share] = calibrate(self._stage, dial.scaled.of(OURS), known.share, dial.calibration)
        return [replace(one, calibration=mean_of(before, after)) for one in runs]

    def _attacks(self) -> None:
        dial, found, stage = self._dial, self.found, self._stage
        known = self._known(OURS, dial.capacity)
        greedy = next(one.site for one in reversed(stage.phones) if one.site != stage.nat)
        attacks: dict[str, dict[str, object]] = {
            GREEDY: {"greedy": frozenset({greedy}), "nat": greedy},
            "garbage hellos": {"attack": ("garbage", dial.garbage * known.share, 4000)},
            "silent connections": {"attack": ("silent", dial.silent / (dial.phones / known.capacity), dial.silent)},
        }
        for _ in range(dial.attacks):
            (calm,) = self._ours(OURS, known)
            found.storms.setdefault(OURS.name, calm)
            for name, given in attacks.items():
                (run,) = self._ours(OURS, known, **given)  # type: ignore[arg-type]  # fields of a plan, or the attack
                found.attacks[name] = run
                after = run.report.others_t99 if name == GREEDY else run.report.t99
                moved = after / run.ideal / calm.stretch if after and calm.stretch else 0.0
                found.moves.setdefault(name, []).append(moved)
                say(f"{name}: others' T99 is {moved:.3f} x that without")

    def _cost(self) -> None:
        dial = self._dial
        known = self._known(OURS, dial.steady)
        for number in range(dial.pairs):
            pair = [0.0, 0.0]
            for index in (_PROTECTED, _BARE) if number % 2 else (_BARE, _PROTECTED):
                kind = OURS if index == _PROTECTED else ALL_OFF
                run = rate(self._stage, kind, known, 0.8, dial.scaled, dial.paired)
                pair[index] = run.cpu / max(run.report.outcomes.get("back", 0), 1)
            self.found.cost.append((pair[_PROTECTED], pair[_BARE]))
            ratios = [on / off for on, off in self.found.cost]
            say(f"the gate costs {statistics.median(ratios) - 1:+.1%} so far")

    def _headline(self) -> None:
        dial = self._dial
        share, known = self._share(OURS, dial.slow), None
        for _ in range(_TRIES):
            known = calibrate(self._stage, OURS, share, dial.calibration)
            if abs(known.capacity / dial.slow - 1) <= dial.slow_within:
                break
            share = round(share * dial.slow / known.capacity, 4)
        assert known is not None
        self.found.calibrations.append(known)
        (run,) = storms(self._stage, OURS, known, dial.whole, dial.longest)
        after = calibrate(self._stage, OURS, share, dial.calibration)
        self.found.headline = replace(run, calibration=mean_of(known, after))


def main() -> None:
    """Run, print the table, keep the result, draw the plots."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", choices=PARTS, metavar="PART", help=f"one of {', '.join(PARTS)}")
    names = [kind.name for kind in (*Dial().compared, *Dial().parts_off)]
    parser.add_argument(
        "--against", action="append", choices=names, metavar="SERVER", help="one of: " + "; ".join(names)
    )
    parser.add_argument("--quick", action="store_true", help="a tiny storm of each kind: to see that it runs")
    parser.add_argument("--rival", action="store_true", help="a busy rival instead of a CPU quota")
    parser.add_argument("--output", type=Path, default=None, help="directory of the result; bench/results")
    parser.add_argument("--page", type=Path, default=None, help="directory of the page and plots; docs")
    args = parser.parse_args()
    dial, versions = QUICK if args.quick else Dial(), record.versions(nginx=True)
    if args.against:
        compared, parts_off = (
            [one for one in some if one.name in args.against] for some in (dial.compared, dial.parts_off)
        )
        dial = replace(dial, compared=tuple(compared), parts_off=tuple(parts_off))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # nothing that was started is left behind
    raise_files(dial.silent + 2000)
    with (
        storm_share.limiting(rival=args.rival) as share,
        tempfile.TemporaryDirectory(prefix="bench-storm-") as scratch,
        storm_stage.build(Path(scratch), Call(dial.phones, dial.sites, dial.nat), share, say) as stage,
    ):
        found = Bench(stage, dial, args.only or PARTS).run()
    command = "bench/storm.py" + " --quick" * args.quick + " --rival" * args.rival
    command += "".join(f" --only {one}" for one in args.only or ())
    command += "".join(f" --against {one!r}" for one in args.against or ())
    told = storm_page.rows(found)
    print(storm_page.table_text(told))
    name = "storm-quick" if args.quick else "storm-part" if args.only or args.against else "storm"
    kept = {"table": [vars(one) for one in told], **found.kept()}
    record.keep(name, command, kept, args.output, versions=versions)
    page = args.page or (Path(__file__).parent.parent / "docs" if name == "storm" else None)
    if page is not None:
        storm_page.write(page, found, told, command, versions, record.machine())
    if found.failed:
        raise SystemExit("\n".join(found.failed))


if __name__ == "__main__":
    main()
