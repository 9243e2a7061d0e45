"""The storm view: one page of plain HTML with its graphs as SVG, readable without JavaScript and without colours.

Nothing is loaded from anywhere; style and script are allowed by their hashes, so whatever else might get into the page
stays dead. The script only replaces what is shown with the next second's; without it the page loads itself again.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final, NamedTuple

from provisioner.capacity import ENOUGH, Capacity, moment
from provisioner.errors import Invalid
from provisioner.http.storm_watch import KEPT, Sample, StormView

MINUTES: Final = (5, 30)
"""What is offered to look back on, the first unless another is asked for."""
MOST: Final = KEPT // 60
"""Minutes that can be looked back on."""
_POINTS: Final = 300
"""Of a line: more could not be told apart."""
_WIDTH, _HEIGHT = 720, 110
_LEFT, _TOP, _BOTTOM = 64, 8, 18

STYLE: Final = """
:root{color-scheme:light dark;--ink:#1b1f24;--dim:#57606a;--paper:#fff;--rule:#d0d7de;
--a:#0550ae;--b:#a40e26;--s:#fff1c2}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--dim:#9aa5b1;--paper:#0d1117;--rule:#30363d;
--a:#79b8ff;--b:#ff9492;--s:#3a2d00}}
body{margin:0 auto;padding:1rem;max-width:48rem;background:var(--paper);color:var(--ink);
font:16px/1.45 system-ui,sans-serif}
h1{font-size:1.3rem;margin:0 0 .5rem}
h2{font-size:1rem;margin:1.1rem 0 .1rem}
p{margin:.3rem 0}
.on,.off{border-left:.4rem solid var(--rule);padding:.5rem .8rem}
.on{background:var(--s);border-color:var(--b)}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(10rem,1fr));gap:.6rem;margin:1rem 0}
dt{color:var(--dim);font-size:.85rem}
dd{margin:0;font-size:1.25rem;font-variant-numeric:tabular-nums}
svg{width:100%;height:auto;display:block}
text{fill:var(--dim);font:11px system-ui,sans-serif}
.grid{stroke:var(--rule)}
.storm{fill:var(--s)}
.line{fill:none;stroke-width:1.6}
.a{stroke:var(--a)}
.b{stroke:var(--b);stroke-dasharray:5 3}
.limit{stroke:var(--dim);stroke-dasharray:2 4}
a{color:var(--a)}
.key{font-size:.85rem;color:var(--dim)}
"""
_SCRIPT: Final = """
setInterval(async()=>{try{
const answer=await fetch(location.href,{cache:'no-store'});
const next=new DOMParser().parseFromString(await answer.text(),'text/html').querySelector('main');
if(next)document.querySelector('main').replaceWith(next);
}catch(error){document.querySelector('#state').textContent='The server does not answer.'}},1000);
"""


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


HEADERS: Final = (
    "Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
    "Referrer-Policy: no-referrer\r\n"
    f"Content-Security-Policy: default-src 'none'; style-src {_hash(STYLE)}; script-src {_hash(_SCRIPT)}; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
)


class Line(NamedTuple):
    """One line of a graph; ``pick`` takes its value out of a sample."""

    label: str
    style: str
    pick: Callable[[Sample], float]


class Graph(NamedTuple):
    """One graph; ``limit`` is drawn across where it is above 0."""

    title: str
    unit: str
    lines: tuple[Line, ...]
    limit: float = 0.0
    limit_label: str = ""


def document(view: StormView, samples: Iterable[Sample], minutes: int = MOST) -> bytes:
    """The same for programs; what is not known is null."""
    now = {name: _finite(getattr(view, name)) for name in StormView.__slots__}
    now |= {name: now[name] or None for name in ("since", "pace", "connections")}
    now["capacity"] = None if view.capacity is None else _capacity(view.capacity)
    shown = list(samples)[-minutes * 60 :]
    return json.dumps({"now": now, "samples": [one._asdict() for one in shown]}).encode() + b"\n"


def _capacity(found: Capacity) -> Mapping[str, object]:
    return {
        "boots_per_s": round(found.boots, 1),
        "how": found.how,
        "why": found.why,
        "at": found.at or None,
        "boots": found.counted,
    }


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def page(view: StormView, samples: Iterable[Sample], minutes: int) -> bytes:
    """The whole page."""
    shown = list(samples)[-minutes * 60 :]
    body = "".join(
        (
            *_head_line(view),
            *_figures(view),
            *(part for graph in _graphs(view) for part in _section(graph, shown, minutes)),
        )
    )
    other = " · ".join(_link(one, minutes) for one in MINUTES)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Storm view</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<noscript><meta http-equiv="refresh" content="2"></noscript>'
        f"<style>{STYLE}</style></head><body><h1>Storm view</h1><main>{body}</main>"
        f'<p class="key">{other} · <a href="/storm.json">JSON</a> · <a href="/metrics">metrics</a></p>'
        f"<script>{_SCRIPT}</script></body></html>\n"
    ).encode()


def minutes_of(given: Sequence[str], otherwise: int) -> int:
    """How far back somebody wants to look, from the query; Invalid says what could be asked for."""
    if not given:
        return otherwise
    if len(given) == 1 and re.fullmatch("[0-9]{1,4}", given[0]) and 1 <= int(given[0]) <= MOST:
        return int(given[0])
    raise Invalid("minutes", f"must be one whole number from 1 to {MOST}, which is how far back is kept")


def _link(one: int, minutes: int) -> str:
    text = f"last {one} minutes"
    return f"<strong>{text}</strong>" if one == minutes else f'<a href="/storm?minutes={one}">{text}</a>'


def _head_line(view: StormView) -> Iterator[str]:
    since = datetime.fromtimestamp(view.since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if view.since else ""
    if view.storm:
        yield f'<p id="state" class="on" role="status"><strong>Storm mode is on</strong> since {since}, '
        yield f"{duration(view.lasted)}. Everybody is back in <strong>{_left(view.left)}</strong>"
        yield ", were all devices out.</p>"
    else:
        yield '<p id="state" class="off" role="status"><strong>Calm.</strong> Storm mode is off'
        yield f" since {since}.</p>" if since else ".</p>"
    if view.unfinished:
        yield f'<p id="unfinished" class="on">{escape(_of_unfinished(view))}</p>'


def _of_unfinished(view: StormView) -> str:
    """Storm mode looks at those who wait for their handshake, not at what becomes of it."""
    lost = f"{view.timed_out:,.1f} timed out and {view.left_early:,.1f} callers left a second"
    why = "the phones or the way to them are slow, not this server" if not view.storm else "their phones gave up"
    return f"Many handshakes are begun and never finished ({lost}): {why}."


def _left(seconds: float) -> str:
    return f"about {duration(seconds)}" if math.isfinite(seconds) else "a time that is not known yet"


def duration(seconds: float) -> str:
    """Seconds as people say them, rounded up."""
    whole = math.ceil(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def _figures(view: StormView) -> Iterator[str]:
    figures = {
        "Capacity": f"{view.capacity.boots:,.0f} boots/s" if view.capacity else "not measured yet",
        "Pace while callers waited": f"{view.pace:,.0f} boots/s" if view.pace else "nobody has waited yet",
        "Gate capacity": f"{view.connections:,.0f} handshakes/s" if view.connections else "nobody has waited yet",
        "Waiting": f"{view.waiting:,}",
        "Longest wait": f"{view.delay:.2f} s",
        "Handshakes timed out": f"{view.timed_out:,.1f} /s",
        "Left before they had shaken hands": f"{view.left_early:,.1f} /s",
        "Devices": f"{view.fleet:,}" if view.fleet is not None else "not counted yet",
        "Devices back since it began, about": f"{view.back:,}" if view.storm else "–",
    }
    yield "<dl>"
    yield from (f"<div><dt>{name}</dt><dd>{escape(text)}</dd></div>" for name, text in figures.items())
    yield f'</dl><p class="key">{escape(_of_capacity(view.capacity))}'
    yield " Pace is what was served, whatever else ran here at that time; the end of a storm is reckoned from it.</p>"


def _of_capacity(found: Capacity | None) -> str:
    if found is None:
        return f"Capacity is measured over {ENOUGH} boots at speed, and none were yet."
    last = moment(found.at)
    return f"Capacity is measured by the running workers: {found.counted:,} boots, the last {last}, as in storm plan."


def _graphs(view: StormView) -> tuple[Graph, ...]:
    return (
        Graph(
            "Callers",
            "/s",
            (
                Line("handshakes begun", "a", lambda one: one.begun),
                Line("dropped before cryptography", "b", lambda one: one.dropped),
            ),
        ),
        Graph(
            "Handshakes not finished",
            "/s",
            (Line("timed out", "a", lambda one: one.timed_out), Line("caller left", "b", lambda one: one.left_early)),
        ),
        Graph("Queue delay", "s", (Line("longest wait", "a", lambda one: one.delay),)),
        Graph(
            "Goodput",
            "/s",
            (Line("boots", "a", lambda one: one.boots),),
            view.capacity.boots if view.capacity else 0.0,
            "capacity",
        ),
        Graph(
            "Devices back",
            "",
            (Line("since the storm began", "a", lambda one: one.back),),
            float(view.fleet or 0) if view.storm else 0.0,
            "all devices",
        ),
    )


def sections(view: StormView, samples: Iterable[Sample], minutes: int, titles: Collection[str]) -> str:
    """Some of the graphs, for a page with a style of its own."""
    shown = list(samples)[-minutes * 60 :]
    wanted = [graph for graph in _graphs(view) if graph.title in titles]
    return "".join(f"<div>{''.join(_section(graph, shown, minutes))}</div>" for graph in wanted)


# --- graphs ---------------------------------------------------------------------------------------


def _section(graph: Graph, samples: Sequence[Sample], minutes: int) -> Iterator[str]:
    newest = [line.pick(samples[-1]) if samples else 0.0 for line in graph.lines]
    told = ", ".join(
        f"{line.label} {_number(value)} {graph.unit}".strip() for line, value in zip(graph.lines, newest, strict=True)
    )
    keys = [f"{'– – ' if line.style == 'b' else '— '}{line.label}" for line in graph.lines]
    if graph.limit:
        keys.append(f"··· {graph.limit_label} {_number(graph.limit)}")
    yield f'<h2>{graph.title}</h2><p class="key">{escape(" · ".join(keys))}. Now: {escape(told)}</p>'
    yield f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(f"{graph.title}: {told}")}">'
    yield from _drawn(graph, samples, minutes)
    yield "</svg>"


def _drawn(graph: Graph, samples: Sequence[Sample], minutes: int) -> Iterator[str]:
    columns = _columns(samples, minutes)
    lines = [[max(line.pick(one) for one in column) for _, column in columns] for line in graph.lines]
    top = _nice(max((value for line in lines for value in line), default=0.0))
    if graph.limit and graph.limit <= 4 * top:
        top = max(top, _nice(graph.limit))  # a limit far above the line would press it flat
    yield from _stormy(columns)
    yield from _axes(top, minutes)
    for line, found in zip(graph.lines, lines, strict=True):
        points = " ".join(f"{x:.1f},{_y(value, top):.1f}" for (x, _), value in zip(columns, found, strict=True))
        yield f'<polyline class="line {line.style}" points="{points}"/>'
    if 0 < graph.limit <= top:
        y = _y(graph.limit, top)
        yield f'<line class="limit" x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _columns(samples: Sequence[Sample], minutes: int) -> list[tuple[float, list[Sample]]]:
    """Samples by their place in the graph, the newest at its right edge; a column shows its highest value."""
    if not samples:
        return []
    span, newest = minutes * 60.0, len(samples) - 1
    width = max(1, math.ceil(span / _POINTS))
    found: dict[int, list[Sample]] = {}
    for index, one in enumerate(samples):
        found.setdefault((newest - index) // width, []).append(one)
    scale = (_WIDTH - _LEFT) / span
    return [(_WIDTH - column * width * scale, found[column]) for column in sorted(found, reverse=True)]


def _stormy(columns: Iterable[tuple[float, list[Sample]]]) -> Iterator[str]:
    """Where storm mode was on, the ground is coloured: one box for each storm."""
    begin = end = -1.0
    boxes = []
    for x, column in columns:
        if any(one.storm for one in column):
            begin, end = (x if begin < 0 else begin), x
        elif begin >= 0:
            boxes.append((begin, end))
            begin = -1.0
    if begin >= 0:
        boxes.append((begin, end))
    for left, right in boxes:
        width = max(1.0, right - left)
        yield f'<rect class="storm" x="{left:.1f}" y="{_TOP}" width="{width:.1f}" height="{_HEIGHT - _TOP - _BOTTOM}"/>'


def _axes(top: float, minutes: int) -> Iterator[str]:
    for value in (0.0, top / 2, top):
        y = _y(value, top)
        yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_number(value)}</text>'
    yield f'<text x="{_LEFT}" y="{_HEIGHT - 4}">{minutes} min ago</text>'
    yield f'<text x="{_WIDTH}" y="{_HEIGHT - 4}" text-anchor="end">now</text>'


def _y(value: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / top


def _nice(value: float) -> float:
    """The next 1, 2 or 5 times a power of ten, 1 at least: a calm line lies at the bottom."""
    if value <= 1:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= value)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2f}".rstrip("0").rstrip(".")
