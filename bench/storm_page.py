"""What was measured, as a table with goals, as plots, and as the page that shows both: docs/storm-results.md."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import storm_words
from storm_runs import Run

from provisioner.simulator.storm_plots import Curve, plot

if TYPE_CHECKING:
    from storm import Found

OURS = "ours"
PLOTS = "storm"
_TOUCHED = 0.3
"""MiB that a worker may still come to own after two storms: pages it shared with its parent until it touched them."""
_ROOM = 1.4
"""x the width of the curves."""


@dataclass(frozen=True)
class Row:
    """One figure. ``met`` is None when it was not measured, or there is no goal."""

    figure: str
    goal: str
    result: str
    met: bool | None


def rows(found: Found) -> list[Row]:
    """Every figure that has a goal, in the order of the goals."""
    return [*_goodput(found), *_storm(found), *_fairness(found), *_attacks(found), *_cost(found), *_never(found)]


def _most(goal: float, value: float | None) -> bool | None:
    return None if value is None else round(value, 3) <= goal


def _goodput(found: Found) -> Iterator[Row]:
    for load, share in _by_load(found.goodput.get(OURS, [])):
        if load > 1:
            told = f"{share:.1%}"
            yield Row(f"goodput at {load:g} x offered load, share of peak", ">= 95 %", told, round(share, 3) >= 0.95)


def _by_load(runs: Sequence[Run]) -> list[tuple[float, float]]:
    """Offered load, and the median of what was done of the capacity that was measured just before and after."""
    loads = sorted({one.load for one in runs})
    return [(load, median(one.share_of_capacity for one in runs if one.load == load)) for load in loads]


def _storm(found: Found) -> Iterator[Row]:
    for name, run in (("unscaled", found.headline), ("time / 4", found.storms.get(OURS))):
        if run is None:
            continue
        stretch = run.stretch if run is found.headline else base_stretch(found)
        told = f"{stretch:.3f} x" if stretch else f"{run.report.back} back"
        phones = run.report.phones
        yield Row(f"T99 of {phones} phones against max(J, N/C), {name}", "<= 1.15 x", told, (stretch or 9) <= 1.15)
        tries = run.report.attempts_per_phone
        yield Row(f"attempts a phone, {name}", "<= 4", f"{tries:.2f}", _most(4, tries))
        lost = run.wasted if run.failed_share is None else run.failed_share
        told = f"{lost:.1%} counted, {run.wasted:+.1%} by difference"
        yield Row(f"CPU spent on sessions that did not succeed, {name}", "<= 5 %", told, lost <= 0.05)


def _fairness(found: Found) -> Iterator[Row]:
    for name, run in (("unscaled", found.headline), ("time / 4", found.storms.get(OURS))):
        if run is None:
            continue
        index, ratio = run.report.jain, run.report.nat_ratio
        yield Row(f"Jain's index over sites at T50, {name}", ">= 0.98", f"{index or 0:.3f}", (index or 0) >= 0.98)
        told = f"{ratio:.3f} x" if ratio else "not all back"
        yield Row(
            f"large site behind one address against the others, T99, {name}", "<= 1.1 x", told, (ratio or 9) <= 1.1
        )


def _attacks(found: Found) -> Iterator[Row]:
    for name, moves in found.moves.items():
        moved = median(moves) - 1 if all(moves) else None
        told = f"{moved:+.1%} (median of {len(moves)})" if moved is not None else "not all back"
        yield Row(f"{name} in a storm: others' T99 moves", "<= 10 %", told, moved is not None and moved <= 0.10)


def base_stretch(found: Found) -> float | None:
    """T99 in relation to the ideal, median of the storms at one server: the machine's pace changes from run to run."""
    some = [one.stretch for one in (found.storms.get(OURS), *found.again) if one is not None and one.stretch]
    return median(some) if some else None


def _cost(found: Found) -> Iterator[Row]:
    if found.cost:
        ratio = median(on / off for on, off in found.cost) - 1
        yield Row("cost of protection at 0.8 x load", "<= 3 % CPU", f"{ratio:+.1%}", ratio <= 0.03)


def _never(found: Found) -> Iterator[Row]:
    if found.runs:
        wrong = sum(one.report.wrong_bodies for one in found.runs)
        yield Row("wrong bodies, all storms", "0", str(wrong), wrong == 0)
    if found.fresh is not None:
        refused = sum(number for code, number in found.fresh.report.statuses.items() if int(code) in (429, 503))
        yield Row("phones without a configuration refused by status (P0)", "0", str(refused), refused == 0)
    if found.again:
        before = found.storms[OURS].memory["before"]
        calm = [one.memory["calm"] for one in (found.storms[OURS], *found.again)]
        each = ", ".join(f"{one:.1f}" for one in calm)
        told = f"{calm[-1] - calm[-2]:+.1f} MiB by the last of {len(calm)} ({before:.1f} before; {each} after each)"
        yield Row("memory growth after the storm", "0", told, calm[-1] - calm[-2] <= _TOUCHED)


def table_text(told: Sequence[Row]) -> str:
    """For a terminal."""
    wide = max((len(one.figure) for one in told), default=0)
    return "\n".join(
        f"  {one.figure:<{wide}}  {one.goal:>10}  {one.result:<12}  {'met' if one.met else 'MISSED'}" for one in told
    )


# --- plots --------------------------------------------------------------------------------------------------


def plots(found: Found) -> Mapping[str, str]:
    """File name -> SVG document; only what was measured."""
    made: dict[str, str] = {}
    if found.storms:
        ours = found.storms[OURS]
        apart = {name: one for name, one in found.storms.items() if name.startswith("ours,")}
        others = {name: one for name, one in found.storms.items() if name not in apart}
        title = f"{ours.report.phones} phones come back, time / {found.dial.scaled.scale:g}"
        made["servers.svg"] = _back(f"{title}: servers", others)
        if apart:
            made["parts.svg"] = _back(f"{title}: parts of the gate off", {OURS: ours, **apart})
        made["fairness.svg"] = _sites(found.storms)
    if found.attacks:
        some = {name: one for name, one in found.storms.items() if name == OURS}
        made["attacks.svg"] = _back("Phones come back under attack", {**some, **found.attacks})
    if found.headline:
        made["headline.svg"] = _back("Phones come back, unscaled", {OURS: found.headline})
    if found.goodput:
        curves = [Curve(name, _loads(runs)) for name, runs in found.goodput.items()]
        made["goodput.svg"] = _roomy(
            "Goodput under overload", "offered load, x capacity", "% of its own capacity", curves
        )
    return made


def _back(title: str, runs: Mapping[str, Run]) -> str:
    curves = [Curve(name, [(0.0, 0.0), *_counted(one.report.back_series)]) for name, one in runs.items()]
    ours = runs[OURS]
    curves.append(Curve("ideal of ours", [(0.0, 0.0), (ours.ideal, float(ours.report.phones))], dashed=True))
    return _roomy(title, "s since the power's return", "phones back", curves)


def _roomy(title: str, across: str, up: str, curves: Sequence[Curve]) -> str:
    """With room for the legend on the right."""
    most = max((x for curve in curves for x, _ in curve.points), default=1.0)
    return plot(title, across, up, [*curves, Curve("", [(_ROOM * most, 0.0)])])


def _counted(series: Iterable[int]) -> Iterator[tuple[float, float]]:
    return ((float(second), float(number)) for second, number in enumerate(series, 1))


def _loads(runs: Sequence[Run]) -> list[tuple[float, float]]:
    return [(load, 100 * share) for load, share in _by_load(runs)]


def _sites(runs: Mapping[str, Run]) -> str:
    """Sites in the order of their T99, those that were never 99 % back at the end and outside."""
    curves = []
    for name, run in runs.items():
        times = sorted(one.t99 for one in run.report.sites.values() if one.t99 is not None)
        if times:
            curves.append(Curve(name, [(float(place), at) for place, at in enumerate(times, 1)]))
    return _roomy("When each site was 99 % back", "sites, the fastest first", "s", curves)


# --- the page -----------------------------------------------------------------------------------------------


def write(
    directory: Path,
    found: Found,
    told: Sequence[Row],
    command: str,
    versions: Mapping[str, object],
    machine: Mapping[str, object],
) -> None:
    """The page and its plots."""
    drawn = plots(found)
    (directory / PLOTS).mkdir(parents=True, exist_ok=True)
    for name, text in drawn.items():
        (directory / PLOTS / name).write_text(text, encoding="utf-8")
    day = time.strftime("%Y-%m-%d", time.gmtime())
    words = storm_words.page(found, told, drawn, [f"`{command}`, {day}", *_made_with(versions, machine)])
    (directory / "storm-results.md").write_text(words, encoding="utf-8")
    print(f"written: {directory / 'storm-results.md'} and {len(drawn)} plots")


def _made_with(versions: Mapping[str, object], machine: Mapping[str, object]) -> list[str]:
    load = machine["load_at_start"]
    first = f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, load at start {load}"
    optimised = "with" if versions["python_optimized"] else "without"
    second = f"Python {versions['python']} ({optimised} profile-guided optimisation), {versions['openssl']}"
    return [first, f"{second}, aiohttp {versions['aiohttp']}", f"{versions['nginx']}, {versions['nginx_openssl']}"]
