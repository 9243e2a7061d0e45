"""A storm in four pictures: plain SVG, written by hand, because a line, two axes and a legend take no library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from provisioner.errors import Unusable
from provisioner.simulator.storm_plan import Mode
from provisioner.simulator.storm_report import StormReport

_WIDTH, _HEIGHT = 760, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 60, 50
_COLOURS: Final = ("#1b6ca8", "#c8553d", "#4a8c4a", "#8a5fa8", "#b08a2e", "#5a5a5a")
_STEPS: Final = (1, 2, 2.5, 5, 10)
_TICKS: Final = 6


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a plot."""

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


def plot(title: str, across: str, up: str, curves: Sequence[Curve], *, bars: bool = False) -> str:
    """An SVG document; both axes begin at 0. ``bars`` draws each point as a bar from the axis."""
    most_x = _ceiling(max((x for curve in curves for x, _ in curve.points), default=1.0))
    most_y = _ceiling(max((y for curve in curves for _, y in curve.points), default=1.0))

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            round(_LEFT + x / most_x * (_WIDTH - _LEFT - _RIGHT), 1),
            round(_HEIGHT - _BOTTOM - y / most_y * (_HEIGHT - _TOP - _BOTTOM), 1),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'font-family="sans-serif" font-size="12" role="img" aria-label="{escape(title)}">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_LEFT, 22, title, size=15),
        _text(_WIDTH / 2, _HEIGHT - 10, across, anchor="middle"),
        f'<g transform="translate(16 {_HEIGHT / 2}) rotate(-90)">{_text(0, 0, up, anchor="middle")}</g>',
    ]
    for tick in _marks(most_y):
        x, y = at(0, tick)
        parts.append(f'<line x1="{x}" y1="{y}" x2="{_WIDTH - _RIGHT}" y2="{y}" stroke="#ddd"/>')
        parts.append(_text(x - 6, y + 4, f"{tick:g}", anchor="end"))
    for tick in _marks(most_x):
        x, y = at(tick, 0)
        parts.append(_text(x, y + 18, f"{tick:g}", anchor="middle"))
    for place, curve in enumerate(curves):
        colour = _COLOURS[place % len(_COLOURS)]
        spots = [at(x, y) for x, y in curve.points]
        parts.append(_bars(spots, colour) if bars else _line(spots, colour, curve.dashed))
    return "\n".join([*parts, *_legend(curves), "</svg>", ""])


def _legend(curves: Sequence[Curve]) -> Iterator[str]:
    """One row under the title."""
    x = _LEFT
    for place, curve in enumerate(curves):
        if curve.name:
            yield f'<rect x="{x}" y="34" width="10" height="10" fill="{_COLOURS[place % len(_COLOURS)]}"/>'
            yield _text(x + 15, 43, curve.name)
            x += 35 + 7 * len(curve.name)


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="{size}" fill="#222">{escape(text)}</text>'


def _line(spots: Sequence[tuple[float, float]], colour: str, dashed: bool) -> str:
    points = " ".join(f"{x},{y}" for x, y in spots)
    dashes = ' stroke-dasharray="6 4"' if dashed else ""
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'


def _bars(spots: Sequence[tuple[float, float]], colour: str) -> str:
    foot = _HEIGHT - _BOTTOM
    return "".join(
        f'<line x1="{x}" y1="{foot}" x2="{x}" y2="{y}" stroke="{colour}" stroke-width="6"/>' for x, y in spots
    )


def _ceiling(most: float) -> float:
    """A round number that is not below it."""
    if most <= 0:
        return 1.0
    unit = 10.0 ** (len(f"{most:.0f}") - 1) if most >= 1 else 10.0 ** -(len(f"{1 / most:.0f}"))
    return next((step * unit for step in _STEPS if step * unit >= most), 10 * unit)


def _marks(most: float) -> list[float]:
    return [most * place / (_TICKS - 1) for place in range(_TICKS)]


def plots_of(report: StormReport) -> dict[str, str]:
    """File name -> SVG document."""
    seconds = range(1, len(report.goodput_series) + 1)
    back = [(0.0, 0.0), *zip(map(float, seconds), map(float, report.back_series), strict=True)]
    curves = [Curve("phones back" if report.mode == Mode.STORM else "boots that succeeded", back)]
    if report.ideal is not None:
        curves.append(Curve("ideal", [(0.0, 0.0), (report.ideal, float(report.phones))], dashed=True))
    goodput = [(second - 0.5, float(number)) for second, number in zip(seconds, report.goodput_series, strict=True)]
    latency = [(float(share), taken) for share, taken in enumerate(report.latencies)]
    made = {
        "goodput.svg": plot("Goodput", "s", "successful boots in each second", [Curve("", goodput)]),
        "back.svg": plot("Back over time", "s", "count", curves),
        "latency.svg": plot("Latency of successful boots", "percentile", "s", [Curve("", latency)]),
    }
    sites = sorted(one.t99 for one in report.sites.values() if one.t99 is not None)
    if sites:
        points = [(place + 0.5, at) for place, at in enumerate(sites)]
        made["fairness.svg"] = plot(
            f"99 % back, by site; Jain's index at half time {report.jain or 1:.3f}",
            "sites, the fastest first",
            "s",
            [Curve("", points)],
            bars=True,
        )
    return made


def write_plots(report: StormReport, directory: Path) -> None:
    """Write them; Unusable when that cannot be done."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in plots_of(report).items():
            (directory / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Unusable(f"the plots cannot be written to {directory}: {error.strerror}") from error
