"""The text of docs/storm-results.md: figures come from the run, and so does every word about who won."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING

from storm_runs import Run

if TYPE_CHECKING:
    from storm import Found
    from storm_page import Row

OURS = "ours"
_CAPTIONS = {
    "headline.svg": "Phones back over time, in the phones' own time. The dashed line is what capacity and power-on"
    " allow.",
    "servers.svg": "The same storm at each server, at the same capacity. A flat line is a server that is busy, and"
    " whose answers come too late for whoever asked.",
    "parts.svg": "Ours with one part of the gate switched off at a time.",
    "attacks.svg": "The same storm with an attack in it.",
    "goodput.svg": "Successful boots at a steady overload, as a share of the capacity measured before and after each.",
    "fairness.svg": "Each server's sites, sorted by when 99 % of their phones were back. Sites that never came so far"
    " are missing.",
}


def page(found: Found, told: Sequence[Row], plots: Iterable[str], made_with: Sequence[str]) -> str:
    """The whole page."""
    parts = [
        "# Results of the storm benchmark",
        "Written by `make bench-storm`; do not edit. What the words mean and what the measures are is in"
        " [Overload and attacks](overload.md); how it is measured, in [bench](../bench/README.md#storm).",
        "\n".join(f"- {one}" for one in made_with),
        *_setting(found),
        "## Goals",
        _table(("figure", "goal", "result", "met"), ((*_cells(one),) for one in told)),
        *_side_by_side(found),
        *_attacked(found),
        *_lost(found, told),
        "## Plots",
        *(f"{_CAPTIONS[name]}\n\n![{name.removesuffix('.svg')}](storm/{name})" for name in plots),
    ]
    return "\n\n".join(parts) + "\n"


def _cells(row: Row) -> tuple[str, str, str, str]:
    return row.figure, row.goal, row.result, "yes" if row.met else "**no**"


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(one) + " |" for one in lines)


def _setting(found: Found) -> Iterator[str]:
    dial, scale = found.dial, found.dial.scaled.scale
    yield (
        f"{dial.phones} phones of two vendors (eight and four files a boot over one connection), {dial.nat} of them"
        f" behind one address and the others spread over {dial.sites - 1}. One worker on one core with a part of its"
        f" time ({found.share_by}), all phones on the other core. A server's capacity C and its CPU a boot are measured"
        " in a closed loop, each phone's first boot at that server. Phones do not upload their log here, because static"
        " files take none."
    )
    yield (
        f"Unscaled: power-on spread over {dial.whole.spread:g} s, phones wait {dial.whole.patience:g} s and try again"
        f" after {dial.whole.retry:g} s ± 10 %. Elsewhere these times, and the settings of the gate that are times, are"
        f" divided: by {scale:g} in storms, by {dial.halved.scale:g} at steady rates. That changes no ratio but one:"
        " the kernel repeats a SYN after 1, 3 and 7 s whatever the scale."
    )
    yield _table(
        ("server", "share of a core", "C, boots/s", "CPU a boot, ms"),
        ((one.name, f"{one.share:.1%}", f"{one.capacity:.1f}", f"{one.cpu * 1000:.2f}") for one in found.calibrations),
    )


def _side_by_side(found: Found) -> Iterator[str]:
    if found.storms:
        yield "## Side by side"
        yield (
            "The ideal of each server is max(J, N/C) with its own C; each was given the share of a core that makes C"
            f" about {found.dial.capacity:g}, and nginx once more as much CPU as ours. Comparators and ours with parts"
            f" off were stopped after {found.dial.others:g} times their ideal. `limit_conn` is set per address, as an"
            " operator would; nginx counts a connection only once a request has been read, so it spares no handshake."
            " Wasted CPU is by difference: 1 - (boots x CPU a boot in the calibration + idle CPU) / CPU of the storm."
            " Below zero it says that a boot cost less in the storm than in the calibration before it, whose caches"
            " were cold and whose machine may have been busier. So it is as uncertain as such a shift, a tenth or two"
            " either way; the share that is counted, in the goals above, is not."
        )
        yield _table(_HEAD, (_storm_cells(name, one) for name, one in _all_storms(found)))
    if len(found.goodput) > 1:
        loads = sorted({one.load for runs in found.goodput.values() for one in runs})
        yield (
            "Boots a second at a steady offered load, as a share of the server's own capacity. Ours: median of"
            f" {found.dial.rounds}, each judged by the calibrations just before and after it."
        )
        yield _table(
            ("server", *(f"{load:g} x" for load in loads)),
            ((name, *_shares(runs, loads)) for name, runs in found.goodput.items()),
        )


_NOTABLE = 0.01
"""Of Jain's index: what chance alone does is less."""
_HEAD = ("server", "C", "ideal", "T50", "T99", "T99 / ideal", "attempts", "wasted CPU", "Jain", "large site", "outcome")


def _all_storms(found: Found) -> Iterator[tuple[str, Run]]:
    if found.headline:
        yield "ours, unscaled", found.headline
    yield from found.storms.items()
    for number, run in enumerate(found.again, 2):
        yield f"ours, storm {number}", run
    if found.fresh:
        yield "ours, nobody known yet", found.fresh


def _storm_cells(name: str, run: Run) -> Sequence[str]:
    report = run.report
    outcome = "all back" if report.back == report.phones else f"{report.back / report.phones:.1%} back"
    return (
        name,
        f"{run.calibration.capacity:.1f}",
        f"{run.ideal:.1f} s",
        f"{report.t50:.1f} s" if report.t50 else "-",
        f"{report.t99:.1f} s" if report.t99 else "never",
        f"{run.stretch:.2f}" if run.stretch else "-",
        f"{report.attempts_per_phone:.2f}",
        f"{run.wasted:.0%}",
        f"{report.jain:.3f}" if report.jain else "-",
        f"{report.nat_ratio:.2f} x" if report.nat_ratio else "-",
        f"{outcome} after {report.seconds:.0f} s",
    )


def _shares(runs: Sequence[Run], loads: Sequence[float]) -> Iterator[str]:
    for load in loads:
        some = [one.share_of_capacity for one in runs if one.load == load]
        yield f"{median(some):.0%}" if some else "-"


def _attacked(found: Found) -> Iterator[str]:
    if not found.attacks:
        return
    yield "## Attacks"
    yield (
        "Each in the same storm as above, in rounds that begin with a storm without an attack; how far T99 moves is the"
        " median of the ratios, and the table shows the last round. *Greedy site*: the phones of one site come back ten"
        " times as often as the others. *Garbage*: half of it noise, half of it in the envelope of a ClientHello, from"
        " 16 addresses at which no phone lives. *Silent*: opened at once in the 2 s before the power returns, and what"
        " the server closes is opened anew at the pace given."
    )
    yield _table(
        ("attack", "pace", "opened", "T99", "attempts", "wasted CPU", "outcome"),
        (
            (
                name,
                f"{float(str(one.extra['attack_per_s'])):.0f}/s" if "attack" in one.extra else "-",
                str(one.extra.get("attack_opened", "-")),
                f"{one.report.t99:.1f} s" if one.report.t99 else "never",
                f"{one.report.attempts_per_phone:.2f}",
                f"{one.wasted:.0%}",
                f"{one.report.back} of {one.report.phones} back",
            )
            for name, one in found.attacks.items()
        ),
    )


def _lost(found: Found, told: Sequence[Row]) -> Iterator[str]:
    """Every goal that was missed, and every server that did something better."""
    lines = [f"- Not measured, because it failed: {one}." for one in found.failed]
    lines += [f"- Missed: {one.figure}: {one.result}, goal {one.goal}." for one in told if one.met is False]
    lines += _cheaper(found)
    lines += _sooner(found)
    yield "## Where we lose"
    yield "\n".join(lines) or "Nowhere in this run."


def _cheaper(found: Found) -> Iterator[str]:
    ours: Mapping[float, float] = {one.share: one.cpu for one in found.calibrations if one.name == OURS}
    for one in found.calibrations:
        if one.name != OURS and one.share in ours and one.cpu < ours[one.share]:
            yield (
                f"- {one.name} takes {one.cpu * 1000:.2f} ms of CPU a boot, ours {ours[one.share] * 1000:.2f} ms"
                f" (at {one.share:.1%} of a core): it has fixed files, ours renders them for each phone."
            )


def _sooner(found: Found) -> Iterator[str]:
    ours = found.storms.get(OURS)
    for name, one in found.storms.items():
        if ours and name != OURS and one.report.t99 and one.report.t99 < (ours.report.t99 or 0):
            yield f"- {name} had 99 % back after {one.report.t99:.1f} s, ours after {ours.report.t99:.1f} s."
        if ours and name != OURS and (one.report.jain or 0) > (ours.report.jain or 0) + _NOTABLE:
            yield f"- {name} was fairer at T50: Jain {one.report.jain:.3f}, ours {ours.report.jain:.3f}."
