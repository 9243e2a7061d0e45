"""What an import says of its rows: lines for people, objects for scripts, and a table that a spreadsheet can open."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from io import StringIO
from typing import Final

from provisioner.imports.imports import Imported
from provisioner.imports.kept import as_object
from provisioner.imports.rows import Format
from provisioner.imports.steps import Outcome, Planned

SHOWN: Final = 100
"""Rows that are listed; of more than that only those that somebody has to look at."""
COLUMNS: Final = ("file", "line", "outcome", "mac", "does", "column", "why", "warnings")
_CALCULATED: Final = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so is a formula to a spreadsheet."""
_PAST: Final = {Outcome.ADD: "added", Outcome.CHANGE: "changed"}
_WIDTH: Final = 10
_WIDER: Final = 17


def as_objects(found: Imported) -> Mapping[str, object]:
    """For scripts."""
    return {
        "format": found.format.value,
        "dry_run": found.dry_run,
        "stopped": found.stopped,
        "total": len(found.rows),
        "counts": {outcome.value: count for outcome, count in found.counts.items()},
        "unused_columns": list(found.unused),
        "rows": [as_object(one) for one in found.rows],
    }


def as_table(found: Imported) -> str:
    """All rows as CSV; nothing in it is calculated by whoever opens it."""
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for one in found.rows:
        told = {**as_object(one), "does": ", ".join(one.does), "warnings": "; ".join(one.warnings)}
        writer.writerow([_harmless(str(told[name])) for name in COLUMNS])
    return text.getvalue()


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_CALCULATED) else cell


def as_text(found: Imported) -> str:
    """For people."""
    few = len(found.rows) <= SHOWN
    rows = found.rows if few else _asking_for_eyes(found)
    lines = [line for one in rows[:SHOWN] for line in _lines(one, found)]
    if not few:
        lines.append(_left_out(len(rows)))
    return "\n".join([*lines, "", *_summary(found)]).lstrip("\n")


def _asking_for_eyes(found: Imported) -> tuple[Planned, ...]:
    """What is refused before what is only warned of: that may be every row."""
    refused = tuple(one for one in found.rows if one.outcome is Outcome.REFUSED)
    return refused + tuple(one for one in found.rows if one.warnings and one.outcome is not Outcome.REFUSED)


def _left_out(asking: int) -> str:
    more = f"{asking - SHOWN:,} more rows like these" if asking > SHOWN else "The other rows"
    return f"{more} are not listed: --results FILE.csv or --json has all of them."


def _lines(one: Planned, found: Imported) -> Iterator[str]:
    width = _WIDTH if found.files == 1 else _WIDER
    word = "item" if found.format is Format.WAZO else "line"
    place = f"{word} {one.line}" if found.files == 1 else f"file {one.file} {word} {one.line}"
    why = f"{one.column}: {one.why}" if one.column else one.why
    yield f"{place:<{width}} {_word(one.outcome, found):<{_WIDTH}} {', '.join(one.does) or why}".rstrip()
    for warning in one.warnings:
        yield f"{'':<{width}} {'warning':<{_WIDTH}} {warning}"


def _word(outcome: Outcome, found: Imported) -> str:
    return outcome.value if found.dry_run else _PAST.get(outcome, outcome.value)


def _summary(found: Imported) -> Iterator[str]:
    counts = ", ".join(f"{count:,} {_word(outcome, found)}" for outcome, count in found.counts.items())
    yield f"{len(found.rows):,} {'row' if len(found.rows) == 1 else 'rows'}: {counts}."
    if warned := sum(bool(one.warnings) for one in found.rows):
        yield f"Of {warned:,} there is a warning."
    if found.unused:
        yield f"Columns of which nothing is taken over: {', '.join(found.unused)}."
    if found.stopped:
        yield f"It ended early: {found.stopped}. What is listed as done is done as a whole; run it again to finish."
    elif found.dry_run:
        yield "Nothing was written; without --dry-run it will be."
