"""The product's own table: one row a line of a phone, or a device, a user or a site alone. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

from provisioner.errors import Invalid
from provisioner.imports.rows import Cells, Fault, Format, Row, Sheet, broken, parse_row
from provisioner.imports.table import Table, plain_title

COLUMNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "account": "Name or id of the account; may be said for all rows instead",
        "site": "Where the device stands; added where the account has no such site",
        "user": "Who holds the extension; added where the account has no such user",
        "email": "The user's mail address; tells people of the same name apart",
        "extension": "The number; needs a user when it is new",
        "display_name": "What others see when the extension calls",
        "auth_user": "SIP user name, where it is not the number",
        "secret": "SIP secret; made up where a new extension has none",
        "mac": "The device's MAC address, in any usual spelling",
        "vendor": "poly or yealink; may be empty where only one vendor has the model",
        "model": "As the list of models has it",
        "line": "Line key or FXS port; 1 where it is empty",
        "label": "What stands beside the key, where it is not the number",
    }
)
"""Title -> what stands in it."""
_ALSO: Final = {
    "e_mail": "email", "mail": "email", "number": "extension", "name": "user", "sip_secret": "secret",
    "password": "secret", "sip_user": "auth_user", "mac_address": "mac", "port": "line",
}  # fmt: skip
"""Other titles that people give them."""
_FIELDS: Final = {"line": "key"}


def _meant(title: str) -> str:
    plain = plain_title(title)
    name = plain if plain in COLUMNS else _ALSO.get(plain, "")
    return _FIELDS.get(name, name)


def read_own(tables: Sequence[Table]) -> Sheet:
    """The rows of such tables."""
    rows: list[Row] = []
    faults: list[Fault] = []
    for table in tables:
        fields = _fields(table)
        titles = {name: title.strip() for name, title in zip(fields, table.titles, strict=True) if name}
        for line, cells in table.rows:
            values = dict(zip(fields, cells, strict=False))  # short rows end early
            one = parse_row(Cells(line, values, titles, table.file))
            rows.append(one) if isinstance(one, Row) else faults.append(one)
    return Sheet(Format.OWN, tuple(rows), tuple(faults), files=len(tables))


def _fields(table: Table) -> list[str]:
    """What each column means; Invalid for one that means nothing: a slip of the pen must not lose a column."""
    found: list[str] = []
    for place, title in enumerate(table.titles, 1):
        name = _meant(title)
        if not name and (
            title.strip() or any(len(cells) >= place and cells[place - 1].strip() for _, cells in table.rows)
        ):
            raise _unknown(place, title, table.file)
        if name and name in found:
            raise broken(1, place, f"{title.strip()!r} stands twice", table.file)
        found.append(name)
    return found


def _unknown(place: int, title: str, file: int) -> Invalid:
    near = get_close_matches(plain_title(title), [*COLUMNS, *_ALSO], 1)
    hint = f"; did you mean {near[0].replace('_', ' ')!r}?" if near else ""
    known = ", ".join(name.replace("_", " ") for name in COLUMNS)
    return broken(1, place, f"{title.strip()[:40]!r} is no column{hint} Columns are: {known}", file)
