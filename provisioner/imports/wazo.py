"""Wazo: the device lists of its two interfaces as JSON, and the configurations that hold their SIP lines. Pure.

wazo-confd answers ``{"items": [...]}``, wazo-provd ``{"devices": [...]}`` and ``{"configs": [...]}``. A device names
its configuration in ``config``; without one it is taken over alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from provisioner.imports.rows import LONGEST, MOST_ROWS, Cells, Fault, Format, Row, Sheet, broken, parse_row

_Object = Mapping[str, object]
_Lines = Sequence[Mapping[str, str]]
_LISTS: Final = ("items", "devices", "configs")
_LINE: Final = {
    "number": "extension", "display_name": "display_name", "auth_username": "auth_user", "password": "secret",
}  # fmt: skip
_VENDORS: Final = {"polycom": "poly", "obihai": "poly"}


def is_json(text: str) -> bool:
    """Whether it begins as such a document does."""
    return text.lstrip()[:1] in {"{", "["}


def read_wazo(texts: Sequence[str]) -> Sheet:
    """The rows of such documents: one for each SIP line of a device, and one for a device without lines."""
    found = [(file, number, one) for file, text in enumerate(texts, 1) for number, one in _objects(text, file)]
    lines = {_said(one, "id"): list(_lines(one)) for _, _, one in found if "raw_config" in one}
    rows: list[Row] = []
    faults: list[Fault] = []
    for file, number, one in found:
        if "raw_config" in one:
            continue
        for row in _rows(number, file, one, lines):
            rows.append(row) if isinstance(row, Row) else faults.append(row)
            if len(rows) + len(faults) > MOST_ROWS:  # each of many devices may name one configuration of many lines
                raise broken(1, 1, f"there are more than {MOST_ROWS:,} lines: split the document")
    return Sheet(Format.WAZO, tuple(rows), tuple(faults), files=len(texts))


def _objects(text: str, file: int) -> Iterator[tuple[int, _Object]]:
    document = _parsed(text, file)
    lists = [document] if isinstance(document, list) else []
    if isinstance(document, dict):
        lists = [document[name] for name in _LISTS if isinstance(document.get(name), list)]
    if not lists:
        raise broken(1, 1, f"holds no list of devices: a list, or an object with {', '.join(_LISTS)}", file)
    for found in lists:
        if len(found) > MOST_ROWS:
            raise broken(1, 1, f"there are more than {MOST_ROWS:,} items: split the document", file)
        for number, one in enumerate(found, 1):
            if not isinstance(one, dict):
                raise broken(number, 1, "is no object", file)
            yield number, one


def _parsed(text: str, file: int) -> object:
    try:
        found: object = json.loads(text)
    except json.JSONDecodeError as error:
        raise broken(error.lineno, error.colno, f"is no JSON: {error.msg}", file) from error
    except (RecursionError, ValueError) as error:  # brackets without end; a number of thousands of digits
        raise broken(
            1, 1, "is no JSON that can be read: it is nested too deeply, or holds a huge number", file
        ) from error
    return found


def _said(one: _Object, name: str) -> str:
    """A text or whole number of an object; empty for anything else."""
    value = one.get(name)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return ""
    return str(value) if isinstance(value, str) or abs(value) < 10**15 else ""


def _rows(number: int, file: int, device: _Object, known: Mapping[str, _Lines]) -> Iterator[Row | Fault]:
    vendor = _said(device, "vendor").strip().lower()
    given = {"mac": _said(device, "mac"), "vendor": _VENDORS.get(vendor, vendor), "model": _said(device, "model")}
    if not given["mac"]:
        yield Fault(number, file, "mac", "is missing: the device was never seen with one")
        return
    named = _said(device, "config")
    lines = () if named.startswith("autoprov") else known.get(named or _said(device, "id"), ())
    for line in lines or [{}]:
        yield _row(number, file, {**given, **line})


def _lines(config: _Object) -> Iterator[Mapping[str, str]]:
    raw = config.get("raw_config")
    found = raw.get("sip_lines") if isinstance(raw, dict) else None
    for key, line in found.items() if isinstance(found, dict) else ():
        if not isinstance(line, dict):
            continue
        values = {field: _said(line, name) for name, field in _LINE.items()}
        values["extension"] = values["extension"] or _said(line, "username")
        values["auth_user"] = values["auth_user"] or _said(line, "username")
        yield {**values, "key": str(key), "user": values["display_name"].strip() or values["extension"]}


def _row(number: int, file: int, values: Mapping[str, str]) -> Row | Fault:
    titles = {field: f"sip_lines.{name}" for name, field in _LINE.items()}
    titles |= {"key": "sip_lines", "user": "sip_lines.display_name"}
    if long := next((name for name, value in values.items() if len(value) > LONGEST), ""):
        return Fault(number, file, titles.get(long, long), f"has more than {LONGEST:,} characters")
    return parse_row(Cells(number, values, titles, file))
