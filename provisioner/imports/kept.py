"""Rows of an import as they are kept until their turn comes, and what became of one as it is told. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields

from provisioner.imports.rows import Row
from provisioner.imports.steps import Planned
from provisioner.model import Mac, Secret

_EMPTY = Row(0)


def packed(row: Row) -> bytes:
    """What the row says, without what it does not say; it may hold a SIP password."""
    said = {one.name: getattr(row, one.name) for one in fields(Row)}
    return json.dumps({name: value for name, value in said.items() if value != getattr(_EMPTY, name)}).encode()


def unpacked(kept: bytes) -> Row:
    """The same, read."""
    said = json.loads(kept)
    if "mac" in said:
        said["mac"] = Mac(said["mac"])
    if "secret" in said:
        said["secret"] = Secret(said["secret"])
    return Row(**{"line": 0, **said})


def as_object(one: Planned) -> Mapping[str, object]:
    """What became of a row, for scripts."""
    return {
        "file": one.file,
        "line": one.line,
        "outcome": one.outcome.value,
        "mac": one.mac or "",
        "does": list(one.does),
        "column": one.column,
        "why": one.why,
        "warnings": list(one.warnings),
    }
