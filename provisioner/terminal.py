"""Values become tables for people and JSON for scripts; a field that does not print (repr=False) appears in neither."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from provisioner.model import Mac, Sourced

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

SOME: Final = 6
"""Of many names, those that a line for people has."""
_MAC: Final = re.compile(r"[0-9a-f]{12}").fullmatch
_READABLE: Final = 20
"""Columns in which a sentence can be read."""
_WHOLE: Final = frozenset({"id", "mac", "record", "address"})
PIPE_WIDTH: Final = 400
"""Columns where no terminal says: nothing may be cut off in a file or a pipe."""

TIMES: Final = frozenset(
    {"at", "begun", "came", "created", "ended", "expires", "fetched", "first", "last", "last_seen", "occurred",
     "opened", "received", "since", "until", "used"}
)  # fmt: skip
"""Fields that hold Unix time in seconds; so does every one that ends in one of the words below."""
_ENDINGS: Final = ("_at", "_since", " at", " since", "_until")


@dataclass(frozen=True, slots=True)
class Shown:
    """What a command answers: ``data`` for scripts, and for people one ``text`` or a table of the same."""

    data: object
    text: str = ""
    rows: Sequence[Mapping[str, object]] | Mapping[str, object] | None = None
    """The table, where it is not simply ``data``; of one thing alone a line for each of its fields."""
    columns: tuple[str, ...] = ()
    """Fields of each row in the order of the table's columns; empty means all of them."""
    names: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What people call an id that stands in a table."""
    exit_code: int = 0
    style: Callable[[str, str], str] | None = field(default=None, repr=False)


def console(*, stderr: bool = False) -> Console:
    """Where people read: as wide as their terminal, or wide enough to cut nothing."""
    from rich.console import Console  # a script that reads JSON does not wait for it

    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else PIPE_WIDTH, highlight=False, soft_wrap=False)


def show(value: object, as_json: bool) -> int:
    """Print what a command returned; its exit code."""
    shown = value if isinstance(value, Shown) else Shown(value)
    if shown.data is None:
        return shown.exit_code  # the command has said it all itself
    if as_json:
        click.echo(json.dumps(plain(shown.data), indent=2, ensure_ascii=False))
    elif shown.text:
        click.echo(shown.text)
    else:
        _print(shown)
    return shown.exit_code


def plain(value: object) -> object:
    """JSON's own types; fields that must not print are left out."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    if isinstance(value, Sourced):
        value = {"value": value.value, "scope": value.scope.value, "key": value.key}
    if is_dataclass(value) and not isinstance(value, type):
        value = as_row(value)
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(str(entry) for entry in value)
    if isinstance(value, Iterable):
        return [plain(entry) for entry in value]
    return str(value)


def as_row(value: DataclassInstance) -> dict[str, object]:
    """A dataclass as a row, without what must not print."""
    return {one.name: getattr(value, one.name) for one in fields(value) if one.repr}


def _print(shown: Shown) -> None:
    data = shown.data if shown.rows is None else shown.rows
    if isinstance(data, str):
        click.echo(data)
    elif isinstance(data, Sequence):
        _print_rows([_row_of(one) for one in data], shown)
    else:
        _print_one(_row_of(data), shown)


def _row_of(value: object) -> Mapping[str, object]:
    if isinstance(value, Mapping):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return as_row(value)
    return {"name": value}


def _print_rows(rows: Sequence[Mapping[str, object]], shown: Shown) -> None:
    if not rows:
        console(stderr=True).print("none")
        return
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    columns = shown.columns or tuple(rows[0])
    cells = [[_styled(shown, column, row.get(column)) for column in columns] for row in rows]
    if _is_narrow(columns, cells):
        for place, row in enumerate(rows):
            click.echo("\n" if place else "", nl=False)
            _print_one(row, shown)
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold", no_wrap=_is_whole(column))
    for told in cells:
        table.add_row(*told)
    _put(table)


def _is_whole(column: str) -> bool:
    """Whether it is copied, or read at one glance: never broken over two lines."""
    return column in _WHOLE or is_time(column)


def _is_narrow(columns: Sequence[str], cells: Sequence[Sequence[Text]]) -> bool:
    """Whether whoever reads it would find words in slices: then each row is told by itself, a line for each field."""
    wanted = 0
    for place, column in enumerate(columns):
        longest = max(len(column), *(len(row[place]) for row in cells))
        wanted += 2 + (longest if _is_whole(column) else min(longest, _READABLE))
    return wanted > console().width + 2


def _print_one(row: Mapping[str, object], shown: Shown) -> None:
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name in shown.columns or tuple(row):
        table.add_row(name.replace("_", " "), _styled(shown, name, _apart(row.get(name))))
    _put(table)


def _apart(value: object) -> object:
    """Long things of a list stand below each other."""
    if isinstance(value, (list, tuple)) and any(isinstance(one, str) and len(one) > _READABLE for one in value):
        return "\n".join(cell("", one) for one in value)
    return value


def _put(table: Table) -> None:
    """Print it; in a file or a pipe no line ends in blanks, and the rule is no longer than the heading above it."""
    out = console()
    if sys.stdout.isatty():
        out.print(table)
        return
    with out.capture() as told:
        out.print(table)
    lines = [line.rstrip() for line in told.get().splitlines()]
    if table.show_header:
        lines[1] = lines[1][: len(lines[0])]
    click.echo("\n".join(lines))


def _styled(shown: Shown, column: str, value: object) -> Text:
    """Plain text never taken for markup: names and paths come from outside."""
    from rich.text import Text

    named = isinstance(value, str) and not isinstance(value, Mac) and column != "id"
    text = shown.names.get(str(value), value) if named else value
    told = cell(column, text)
    return Text(told, style=shown.style(column, told) if shown.style else "")


def cell(column: str, value: object) -> str:
    """One value as people write it."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)) and is_time(column):
        return moment(value) if value else "-"
    if isinstance(value, Mac) or (column == "mac" and isinstance(value, str)):
        return Mac(value).colons
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={entry}" for key, entry in value.items()) or "-"
    if isinstance(value, (list, tuple)):
        return ", ".join(cell("", entry) for entry in value) or "-"
    return str(value)


def some_of(who: Collection[str]) -> str:
    """The first of them, Macs as people write them, and how many there are beside."""
    first = [Mac(one).colons if _MAC(one) else one for one in islice(who, SOME)]
    more = len(who) - len(first)
    return ", ".join(first) + (f" and {more} more (--json names them all)" if more else "")


def is_time(column: str) -> bool:
    """Whether a number of that name is a moment."""
    return column in TIMES or column.endswith(_ENDINGS)


def moment(at: float) -> str:
    """Unix time as UTC to the second."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
