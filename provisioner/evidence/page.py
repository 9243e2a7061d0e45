"""A diagnosis as one HTML file that can be mailed: no script, nothing from another host, every word escaped. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from provisioner.diagnosis.facts import Fact, Source, Witness
from provisioner.diagnosis.ladder import Cure, Diagnosis, State
from provisioner.diagnosis.words import Say, cure_words, day, headline, when
from provisioner.evidence.program import Exhibit
from provisioner.evidence.sequence import svg

_SIGNS: Final = {State.GOOD: "good", State.BROKEN: "broken", State.UNKNOWN: "unknown"}
_ROW: Final = 16
_MOST: Final = 12
"""Frames of a report: what decides, and not the whole capture again."""
_STYLE: Final = """
body{font:15px/1.45 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem;border-bottom:1px solid #d0d7de}
table{border-collapse:collapse;width:100%}td,th{padding:.25rem .6rem;text-align:left;vertical-align:top}
tr+tr td{border-top:1px solid #e4e8ec}.good{color:#116329}.broken{color:#a40e26;font-weight:600}.unknown{color:#57606a}
pre{background:#f6f8fa;padding:.75rem;overflow-x:auto;font-size:13px}.at{color:#57606a}
.picture{overflow-x:auto}svg{font:12px system-ui,sans-serif}.life{stroke:#d0d7de}.lane{font-weight:600}
.arrow line{stroke:#1b1f24}.arrow path{fill:#1b1f24}.bad line{stroke:#a40e26}.bad path,.bad text{fill:#a40e26}
.time{fill:#57606a}
"""


def deciding(found: Diagnosis) -> list[str]:
    """The frames that the report shows: of the cause first, then of the rungs."""
    cause = found.cause.witnesses if found.cause else ()
    cited: list[Witness] = [*cause, *(one for step in found.steps for one in step.witnesses)]
    refs = [one.ref for one in cited if one.source is Source.CAPTURE and " frame " in one.ref]
    return list(dict.fromkeys(refs))[:_MOST]


def html(found: Diagnosis, facts: Sequence[Fact], shown: Sequence[Exhibit], now: float, say: Say) -> str:
    """The whole file."""
    return "\n".join(_lines(found, facts, shown, now, say)) + "\n"


def _lines(found: Diagnosis, facts: Sequence[Fact], shown: Sequence[Exhibit], now: float, say: Say) -> Iterator[str]:
    title = escape(f"{found.subject.called}: {found.title}")
    yield '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width">'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    yield f"<title>{title}</title><style>{_STYLE}</style></head><body>"
    yield f"<h1>{escape(found.subject.called)}</h1>"
    yield f'<p class="at">{day(now)} UTC</p>' if day(now) else ""
    yield from _cause(found, now)
    yield "<h2>The ladder</h2><table><thead><tr><th>rung</th><th>state</th><th>what was seen</th></tr></thead><tbody>"
    yield from _ladder(found, now)
    yield "</tbody></table>"
    yield from _list("What helps", [_cure(one, say) for one in found.cures])
    yield from _list("Who could tell more", [f"{one.witness} ({one.why}): {say(one.by)}" for one in found.missing])
    yield from _list("Also", [f"{one.row.title}: {one.says}" for one in found.also])
    yield from _list("Notes", found.notes)
    if picture := svg(facts):
        yield '<h2>The boot</h2>\n<div class="picture" tabindex="0" role="region" aria-label="The boot">'
        yield f"{picture}</div>"
    if shown:
        yield "<h2>The frames that decide</h2>"
        yield from (line for one in shown for line in _exhibit(one, now))
    yield "</body></html>"


def _cause(found: Diagnosis, now: float) -> Iterator[str]:
    kind = "broken" if found.cause else "good" if found.exit == 0 else "unknown"
    yield f'<p class="{kind}">{escape(headline(found))}</p>'
    if found.cause:
        cited = "; ".join(map(str, found.cause.witnesses))
        yield f"<p>{escape(found.cause.row.cause)}</p>"
        seen = f"{found.cause.says}, " if found.cause.says else ""
        yield f'<p class="at">{escape(f"{seen}{when(found.cause.last, now)} ({cited})")}</p>'


def _cure(one: Cure, say: Say) -> str:
    return f"{cure_words(one)} {say(one.by)}" if one.by else cure_words(one)


def _ladder(found: Diagnosis, now: float) -> Iterator[str]:
    for one in found.steps:
        at = f", {when(one.at, now)}" if one.at is not None else ""
        cited = "; ".join(map(str, one.witnesses))
        says = escape(f"{one.says}{at}{f' ({cited})' if cited else ''}" if one.says else "")
        state = _SIGNS[one.state]
        yield f'<tr><td>{escape(one.title)}</td><td class="{state}">{state}</td><td>{says}</td></tr>'


def _list(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield f"<h2>{title}</h2><ul>"
        yield from (f"<li>{escape(one)}</li>" for one in lines)
        yield "</ul>"


def _exhibit(one: Exhibit, now: float) -> Iterator[str]:
    yield f"<h3>{escape(one.ref)}</h3>"
    yield f'<p class="at">{escape(when(one.at, now))}, {one.length} bytes; secrets are blanked</p>'
    yield f"<pre>{escape(hexdump(one.data))}</pre>"
    if one.fields:
        yield "<details><summary>Fields</summary><table><tbody>"
        for layer, name, value in one.fields:
            yield f"<tr><td>{escape(layer)}</td><td>{escape(name)}</td><td>{escape(value)}</td></tr>"
        yield "</tbody></table></details>"


def hexdump(data: bytes) -> str:
    """Offset, bytes and what of them can be printed."""
    rows = []
    for at in range(0, len(data), _ROW):
        part = data[at : at + _ROW]
        printed = "".join(chr(one) if 0x20 <= one < 0x7F else "." for one in part)
        rows.append(f"{at:04x}  {part.hex(' '):<{_ROW * 3 - 1}}  {printed}")
    return "\n".join(rows)
