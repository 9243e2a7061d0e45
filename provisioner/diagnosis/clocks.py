"""A capture's clock and this server's: what both saw of one connection tells how far they are apart. Pure.

Rule: which came first is known only of what was seen by one clock, or by two that have been compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median_low
from typing import Final

from provisioner.diagnosis.facts import Fact, Kind, Source, Witness

_PORT: Final = re.compile(r":([0-9]{1,5})>")
"""How a capture names connections: from address and port to address and port."""
_NEAR: Final = 1.0
"""s: so much lies between a SYN and who takes it in; the times stay as they were seen."""
_SANE: Final = 1e12


@dataclass(frozen=True, slots=True)
class Clocks:
    """Facts by one clock, as far as that can be had."""

    facts: tuple[Fact, ...]
    note: str = ""
    aligned: bool = False

    def comparable(self, one: Iterable[Witness], other: Witness) -> bool:
        """Whether it is known which of the two came first."""
        return self.aligned or all(_is_capture(each) == _is_capture(other) for each in one)


@dataclass(frozen=True, slots=True)
class _Met:
    port: str
    at: float
    hello: tuple[str, int] | None
    """The server name and how many suites, both without GREASE; None where no hello was seen."""


def _is_capture(one: Witness) -> bool:
    return one.source is Source.CAPTURE


def compared(facts: Iterable[Fact]) -> Clocks:
    """By the source port, and by what the ClientHello says where both have it: the name, and how many suites."""
    told = tuple(facts)
    there = _met([one for one in told if _is_capture(one.witness)])
    here = _met([one for one in told if one.witness.source is Source.SERVER])
    apart = sorted(mine.at - its.at for its in there for mine in here if _same(its, mine))
    if not apart:
        return Clocks(told, _NOT_COMPARED if there and here else "")
    shift = median_low(apart)
    if abs(shift) <= _NEAR:
        return Clocks(told, aligned=True)
    moved = tuple(replace(one, at=one.at + shift) if _is_capture(one.witness) else one for one in told)
    late = "behind" if shift > 0 else "ahead of"
    return Clocks(moved, f"the capture's clock is {abs(shift):.0f} s {late} the server's: times are the server's", True)


_NOT_COMPARED: Final = (
    "no connection of the capture is on this server's record: their clocks cannot be compared, so nothing that one saw "
    "is taken for over because of the other"
)


def _same(one: _Met, other: _Met) -> bool:
    return one.port == other.port and (one.hello is None or other.hello is None or one.hello == other.hello)


def _met(facts: Sequence[Fact]) -> list[_Met]:
    """Each connection once, when it began."""
    begun: dict[str, tuple[float, str]] = {}
    hellos: dict[str, tuple[str, int]] = {}
    for one in facts:
        key = one["connection"]
        if not -_SANE < one.at < _SANE or not key:
            continue
        if port := _port(one):
            begun[key] = min(begun.get(key, (one.at, port)), (one.at, port))
        if one.kind is Kind.HELLO and "sni" in one.values:
            offered = one["sni"].lower(), one["suites"].count(",")
            hellos[key] = max(hellos.get(key, offered), offered)  # whatever the order that they come in
    return [_Met(port, at, hellos.get(key)) for key, (at, port) in sorted(begun.items())]


def _port(one: Fact) -> str:
    if one.kind is Kind.ACCEPTED and not _is_capture(one.witness):
        return one["port"]
    found = _PORT.search(one["connection"]) if one.kind in {Kind.SYN, Kind.HELLO} and _is_capture(one.witness) else None
    return found[1] if found else ""
