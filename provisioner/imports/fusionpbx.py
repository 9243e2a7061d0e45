"""FusionPBX: its export of devices, with their lines beside them or in a table of their own. Pure.

The export writes the columns of a second line as ``line_number|2`` and so on, and leaves the row of a phone with fewer
lines short. Where devices and lines are exported by themselves, ``device_uuid`` joins them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from provisioner.imports.rows import Cells, Fault, Format, Row, Sheet, broken, parse_row
from provisioner.imports.table import Table, plain_title

_MAC: Final = ("device_address", "device_mac_address")
"""Its name since release 5.3, and before [K]."""
_DEVICE: Final = ("device_uuid", *_MAC, "device_vendor", "device_template", "device_model", "device_enabled")
_LINE: Final = {
    "line_number": "key", "display_name": "display_name", "user_id": "extension", "auth_id": "auth_user",
    "password": "secret", "label": "label",
}  # fmt: skip
_ENABLED: Final = "enabled"
_NUMBERED: Final = re.compile(r"(.+?)\|([0-9]{1,3})")
_OFF: Final = frozenset({"false", "f", "0", "no"})
_VENDORS: Final = {"polycom": "poly", "obihai": "poly"}
"""FusionPBX's word -> ours."""

_Place = tuple[str, int]
"""A column's name, and of which line of the device it is; the first is 1."""


def is_fusionpbx(table: Table) -> bool:
    """Whether its columns are an export's."""
    names = {name for name, _ in _places(table)}
    return not names.isdisjoint({"device_uuid", *_MAC}) or {"line_number", "user_id"} <= names


def _places(table: Table) -> list[_Place]:
    found: list[_Place] = []
    for title in table.titles:
        numbered = _NUMBERED.fullmatch(plain_title(title))
        name = numbered[1] if numbered else plain_title(title)
        turn = int(numbered[2]) if numbered else sum(1 for one, _ in found if one == name) + 1
        found.append((name, turn))
    return found


def read_fusionpbx(tables: Sequence[Table]) -> Sheet:
    """The rows of such tables: one for each line of a device, and one for a device without lines."""
    devices: dict[str, Mapping[str, str]] = {}
    for table in tables:
        devices.update(_devices(table))
    lined = {ident for table in tables for ident in _lined(table)}
    rows: list[Row] = []
    faults: list[Fault] = []
    for table in tables:
        for one in _rows(table, devices, lined):
            rows.append(one) if isinstance(one, Row) else faults.append(one)
    used = {*_DEVICE, *_LINE, _ENABLED}
    unused = {name for table in tables for name, _ in _places(table) if name} - used
    return Sheet(Format.FUSIONPBX, tuple(rows), tuple(faults), tuple(sorted(unused)), len(tables))


def _devices(table: Table) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Devices by their id."""
    places = _places(table)
    if not any(name in _MAC for name, _ in places):
        return
    for _, cells in table.rows:
        values = _first(places, cells)
        if ident := values.get("device_uuid", "").strip():
            yield ident, values


def _lined(table: Table) -> Iterator[str]:
    """Ids of devices of which lines stand in a table of their own."""
    places = _places(table)
    if not any(name in _MAC for name, _ in places):
        for _, cells in table.rows:
            yield _first(places, cells).get("device_uuid", "").strip()


def _first(places: Sequence[_Place], cells: Sequence[str]) -> dict[str, str]:
    return {name: cell for (name, turn), cell in zip(places, cells, strict=False) if turn == 1}


def _rows(table: Table, devices: Mapping[str, Mapping[str, str]], lined: set[str]) -> Iterator[Row | Fault]:
    places = _places(table)
    alone = not any(name in _MAC for name, _ in places)
    if alone and "device_uuid" not in {name for name, _ in places}:
        raise broken(1, "device_uuid", "is missing: it says which device a line belongs to", table.file)
    for line, cells in table.rows:
        first = _first(places, cells)
        ident = first.get("device_uuid", "").strip()
        device = devices.get(ident, {}) if alone else first
        if alone and not device:
            why = f"{ident[:40]!r} is no device of the files: export the devices, too"
            yield Fault(line, table.file, "device_uuid", why)
            continue
        found = list(_lines(places, cells))
        if not found and (alone or ident not in lined):
            found = [{}]
        for values in found:
            yield _row(line, table.file, device, values)


def _lines(places: Sequence[_Place], cells: Sequence[str]) -> Iterator[Mapping[str, str]]:
    """The lines that stand in a row."""
    for turn in sorted({turn for _, turn in places}):
        values = {name: cell for (name, own), cell in zip(places, cells, strict=False) if own == turn}
        if values.get("line_number", "").strip() or values.get("user_id", "").strip():
            yield values


def _row(line: int, file: int, device: Mapping[str, str], values: Mapping[str, str]) -> Row | Fault:
    vendor, model = _vendor_and_model(device)
    given = {field: values.get(name, "") for name, field in _LINE.items()}
    given["user"] = given["display_name"].strip() or given["extension"] if given["extension"].strip() else ""
    mac = next((device[name] for name in _MAC if name in device), "")
    given |= {"mac": mac, "vendor": vendor, "model": model}
    titles = {field: name for name, field in _LINE.items()}
    titles |= {"mac": next((name for name in _MAC if name in device), _MAC[0])}
    titles |= {"vendor": "device_vendor", "model": "device_template", "user": "display_name"}
    return parse_row(Cells(line, given, titles, file), _switched_off(device, values))


def _switched_off(device: Mapping[str, str], values: Mapping[str, str]) -> str:
    if device.get("device_enabled", "").strip().lower() in _OFF:
        return "the device is not enabled in FusionPBX"
    if values.get(_ENABLED, "").strip().lower() in _OFF:
        return "the line is not enabled in FusionPBX"
    return ""


def _vendor_and_model(device: Mapping[str, str]) -> tuple[str, str]:
    """The template is ``vendor/model``; the vendor has a column of its own, too."""
    maker, slash, template = device.get("device_template", "").strip().rpartition("/")
    vendor = (device.get("device_vendor", "").strip() or (maker if slash else "")).lower()
    return _VENDORS.get(vendor, vendor), device.get("device_model", "").strip() or template
