"""The catalogue of failures: data in catalogue.toml, read strictly, so that a typo never becomes an advice. Pure.

A row is one known failure; it stands on one rung of the ladder. Rungs are in the order in which a phone climbs them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

from provisioner.deeds import Deed
from provisioner.errors import Unusable

_PATH: Final = Path(__file__).with_name("catalogue.toml")


class Rung(StrEnum):
    """The steps of the ladder, the lowest first."""

    POWER = "power"
    LINK = "link"
    VOICE_VLAN = "voice_vlan"
    DOT1X = "dot1x"
    DHCP = "dhcp"
    ADDRESS = "address"
    BOOT_OPTION = "boot_option"
    DNS = "dns"
    TIME = "time"
    TCP = "tcp"
    PHONE_TRUSTS = "phone_trusts"
    SERVER_TRUSTS = "server_trusts"
    CERTIFICATE_MAC = "certificate_mac"
    HTTP = "http"
    FILE = "file"
    LOOP = "loop"
    LINE = "line"

    @property
    def height(self) -> int:
        """0 for the lowest."""
        return _HEIGHTS[self]


_HEIGHTS: Final[Mapping[Rung, int]] = MappingProxyType({rung: height for height, rung in enumerate(Rung)})


class Party(StrEnum):
    """Who has refused."""

    PHONE = "phone"
    SERVER = "server"
    NETWORK = "network"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Place:
    """What is said of a rung: its name, its question, its class of exit codes, and who could tell of it."""

    id: Rung
    title: str
    asks: str
    exit_class: str
    exit: int
    witness: str
    deed: Deed
    """How they are asked."""


@dataclass(frozen=True, slots=True)
class Row:
    """One known failure, in plain words."""

    id: int
    rung: Rung
    title: str
    phone: str
    """What one sees at the phone."""
    evidence: str
    cause: str
    cure: str
    refused: Party
    cures: Mapping[str, str] = field(default_factory=dict)
    """By vendor, beside the general one."""
    inferred: Mapping[str, str] = field(default_factory=dict)
    """The same where nobody has confirmed it."""
    unseen: str = ""
    """Why no fact can show it; empty for all others."""
    deed: Deed | None = None
    """By what the general cure is done, where that is one of ours."""


@dataclass(frozen=True, slots=True)
class Lookalike:
    """Failures that leave the same trace, and who can tell them apart."""

    rows: tuple[int, ...]
    separates: str
    deed: Deed


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All of it."""

    places: Mapping[Rung, Place]
    rows: Mapping[int, Row]
    lookalikes: tuple[Lookalike, ...]

    def looks_like(self, row: int) -> Iterator[Lookalike]:
        """What a failure may be taken for."""
        return (one for one in self.lookalikes if row in one.rows)


_PLACE: Final = frozenset({"id", "title", "asks", "class", "exit", "witness", "deed"})
_ROW: Final = frozenset({"id", "rung", "title", "phone", "evidence", "cause", "cure", "refused"})
_MAYBE: Final = frozenset({"cures", "inferred", "unseen", "deed"})
_LOOKALIKE: Final = frozenset({"rows", "separates", "deed"})


@lru_cache(1)
def catalogue() -> Catalogue:
    """The one that ships with the program."""
    return read_catalogue(_PATH.read_text(encoding="utf-8"))


def read_catalogue(text: str) -> Catalogue:
    """Unusable on an unknown field, a doubled number, a missing text or a rung that does not exist."""
    document = tomllib.loads(text)
    if unknown := set(document) - {"rung", "row", "lookalike"}:
        raise Unusable(f"catalogue: unknown tables {', '.join(sorted(unknown))}")
    places = [_place(one) for one in document.get("rung", [])]
    if [one.id for one in places] != list(Rung):
        raise Unusable(f"catalogue: the rungs must be {', '.join(Rung)}, in this order")
    rows: dict[int, Row] = {}
    for one in document.get("row", []):
        row = _row(one)
        if row.id in rows:
            raise Unusable(f"catalogue: row {row.id} stands twice")
        rows[row.id] = row
    lookalikes = tuple(_lookalike(one, rows) for one in document.get("lookalike", []))
    return Catalogue(MappingProxyType({one.id: one for one in places}), MappingProxyType(rows), lookalikes)


def _place(said: Mapping[str, object]) -> Place:
    where = f"rung {said.get('id')!r}"
    _require(where, said, _PLACE)
    words = {name: _text(where, said, name) for name in _PLACE - {"exit", "deed"}}
    code = said["exit"]
    if not isinstance(code, int) or isinstance(code, bool) or not 10 <= code <= 19:
        raise Unusable(f"catalogue: {where}: exit must be a number from 10 to 19")
    rung = _rung(where, words.pop("id"))
    return Place(rung, exit_class=words.pop("class"), exit=code, deed=_deed(where, said["deed"]), **words)


def _row(said: Mapping[str, object]) -> Row:
    where = f"row {said.get('id')!r}"
    _require(where, said, _ROW, _MAYBE)
    ident = said["id"]
    if not isinstance(ident, int) or isinstance(ident, bool) or ident < 1:
        raise Unusable(f"catalogue: {where}: id must be a number from 1 on")
    words = {name: _text(where, said, name) for name in _ROW - {"id", "rung", "refused"}}
    try:
        refused = Party(_text(where, said, "refused"))
    except ValueError as error:
        raise Unusable(f"catalogue: {where}: refused must be one of {', '.join(Party)}") from error
    return Row(
        ident,
        _rung(where, said["rung"]),
        refused=refused,
        cures=_by_vendor(where, said, "cures"),
        inferred=_by_vendor(where, said, "inferred"),
        unseen=_text(where, said, "unseen") if "unseen" in said else "",
        deed=_deed(where, said["deed"]) if "deed" in said else None,
        **words,
    )


def _lookalike(said: Mapping[str, object], rows: Collection[int]) -> Lookalike:
    where = f"lookalike {said.get('rows')!r}"
    _require(where, said, _LOOKALIKE)
    idents = said["rows"]
    if not isinstance(idents, list) or len(idents) < 2 or not set(idents) <= set(rows):
        raise Unusable(f"catalogue: {where}: rows must be two or more that there are")
    return Lookalike(tuple(idents), _text(where, said, "separates"), _deed(where, said["deed"]))


def _require(
    where: str, said: Mapping[str, object], names: frozenset[str], maybe: frozenset[str] = frozenset()
) -> None:
    if unknown := set(said) - names - maybe:
        raise Unusable(f"catalogue: {where} has unknown fields {', '.join(sorted(unknown))}")
    if missing := names - set(said):
        raise Unusable(f"catalogue: {where} lacks {', '.join(sorted(missing))}")


def _text(where: str, said: Mapping[str, object], name: str) -> str:
    value = said[name]
    if not isinstance(value, str) or not value.strip():
        raise Unusable(f"catalogue: {where}: {name} must be text")
    return value


def _rung(where: str, name: object) -> Rung:
    try:
        return Rung(str(name))
    except ValueError as error:
        raise Unusable(f"catalogue: {where}: there is no rung {name!r}") from error


def _deed(where: str, name: object) -> Deed:
    try:
        return Deed(str(name))
    except ValueError as error:
        raise Unusable(f"catalogue: {where}: there is no deed {name!r}") from error


def _by_vendor(where: str, said: Mapping[str, object], name: str) -> Mapping[str, str]:
    given = said.get(name, {})
    if not isinstance(given, dict):
        raise Unusable(f"catalogue: {where}: {name} must be a table by vendor")
    return MappingProxyType({str(vendor): _text(where, given, vendor) for vendor in given})
