"""What a row of an imported file says: each field is parsed at the edge, and what cannot be parsed is named. Pure.

A file that is broken as a whole is Invalid, naming line and column; a field that is wrong costs its own row only.
All of it is text: a cell that a spreadsheet would calculate is nothing but its characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from provisioner.errors import Invalid
from provisioner.extension_forms import AUTH_USER, NUMBER, SECRET
from provisioner.mail_address import parse_address
from provisioner.model import Mac, Secret
from provisioner.neutral import check_name

MOST_BYTES: Final = 32 * 1024 * 1024
"""Of a file: 50,000 long rows have 20 MB."""
MOST_ROWS: Final = 50_000
"""Of an import: what a plan of it holds in memory stays below 200 MB."""
MOST_COLUMNS: Final = 500
"""Of a table: a FusionPBX export repeats fifteen columns for each line of the phone that has most."""
LONGEST: Final = 2000
"""Characters of a field."""
_NAME: Final = 80
_ADDRESS: Final = 254
_LABEL: Final = 40
_HIGHEST: Final = 999

_DIGITS: Final = re.compile(r"[0-9]{1,4}")


class Format(StrEnum):
    """Who wrote the file."""

    AUTO = "auto"
    """Found out by its first bytes and its columns."""
    OWN = "own"
    FUSIONPBX = "fusionpbx"
    WAZO = "wazo"


@dataclass(frozen=True, slots=True)
class Row:
    """One row; an empty field says nothing."""

    line: int
    """Where it begins in its file; of a JSON document which item it is."""
    file: int = 1
    """Which of the files."""
    account: str = ""
    site: str = ""
    user: str = ""
    email: str = ""
    extension: str = ""
    display_name: str = ""
    auth_user: str = ""
    secret: str = field(default="", repr=False)
    mac: Mac | None = None
    vendor: str = ""
    model: str = ""
    key: int = 0
    """Line key or port; 0: not said."""
    label: str = ""
    left_out: str = ""
    """Why nothing shall be made of it: its source has switched it off."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A row that cannot be read."""

    line: int
    file: int
    column: str
    why: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """All that stands in the files."""

    format: Format
    rows: tuple[Row, ...]
    faults: tuple[Fault, ...] = ()
    unused: tuple[str, ...] = ()
    """Columns of a foreign format of which nothing is taken over."""
    files: int = 1

    @property
    def total(self) -> int:
        """Rows, readable or not."""
        return len(self.rows) + len(self.faults)


@dataclass(frozen=True, slots=True)
class Cells:
    """The texts of a row by field, and the column that each stands in."""

    line: int
    values: Mapping[str, str] = field(repr=False)
    columns: Mapping[str, str] = field(default_factory=dict)
    """Field -> title, where it is another."""
    file: int = 1


def _text(longest: int) -> Callable[[str], str]:
    """The rule of the use-cases that write such texts."""
    return lambda value: check_name(value, longest)


def _form(pattern: re.Pattern[str], what: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(f"must be {what}")
        return value

    return parse


def _mac(value: str) -> Mac:
    try:
        found = Mac.parse(value)
    except Invalid as error:
        raise ValueError(error.why) from error
    if found == "f" * 12:
        raise ValueError(f"{found.colons} is Ethernet's address for everybody, not a device")
    return found


def _email(value: str) -> str:
    text = _text(_ADDRESS)(value)
    parse_address(text)
    return text


def _key(value: str) -> int:
    if not _DIGITS.fullmatch(value) or not 1 <= int(value) <= _HIGHEST:
        raise ValueError(f"must be the number of a line, 1 to {_HIGHEST}")
    return int(value)


_SECRET: Final = _form(*SECRET)

_PARSERS: Final[Mapping[str, Callable[[str], object]]] = {
    "account": _text(_NAME),
    "site": _text(_NAME),
    "user": _text(_NAME),
    "email": _email,
    "extension": _form(*NUMBER),
    "display_name": _text(_NAME),
    "auth_user": _form(*AUTH_USER),
    "secret": lambda value: Secret(_SECRET(value)),
    "mac": _mac,
    "vendor": _text(_NAME),
    "model": _text(_NAME),
    "key": _key,
    "label": _text(_LABEL),
}

_NEEDS: Final = (
    ("extension", ("display_name", "auth_user", "secret")),
    ("mac", ("vendor", "model")),
)
"""A field that must not be empty when one of the others is there."""


def parse_row(cells: Cells, left_out: str = "") -> Row | Fault:
    """What the texts of a row say; a Fault names the first column that is wrong."""
    found: dict[str, Any] = {}
    for name, parse in _PARSERS.items():
        text = cells.values.get(name, "").strip(" \t")
        if not text:
            continue
        try:
            found[name] = parse(text)
        except ValueError as error:
            return _fault(cells, name, str(error))
    for needed, others in _NEEDS:
        if needed not in found and (given := next((one for one in others if one in found), "")):
            return _fault(cells, needed, f"is empty, and {_title(cells, given)} is not")
    if not found.keys() - {"account"} and not left_out:
        return _fault(cells, "user", "is empty, like all others: nothing can be made of this row")
    return Row(cells.line, cells.file, **found, left_out=left_out)


def _fault(cells: Cells, name: str, why: str) -> Fault:
    return Fault(cells.line, cells.file, _title(cells, name), why)


def _title(cells: Cells, name: str) -> str:
    return cells.columns.get(name, name.replace("_", " "))


def broken(line: int, column: str | int, why: str, file: int = 1) -> Invalid:
    """A file of which nothing can be read; ``column`` is its title or its number."""
    where = f"file {file}, line" if file > 1 else "line"
    return Invalid("file", f"{where} {line}, column {column}: {why}")
