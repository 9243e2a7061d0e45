"""A capture's clock and this server's: what both saw of one connection tells how far they are apart. Pure.

Rule: which came first is known only of what was seen by one clock, or by two that have been compared. Two witnesses saw
one connection where both have its ClientHello's random. Ports come again after each boot: without the random they count
only where several of them say the same, and nothing else could be meant.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median_low
from typing import Final

from provisioner.diagnosis.facts import Fact, Kind, Source, Witness

_PORT: Final = re.compile(r":([0-9]{1,5})>")
"""How a capture names connections: from address and port to address and port."""
_NEAR: Final = 1.0
"""s: so much lies between a SYN and who takes it in; the times stay as they were seen."""
_AGREE: Final = 3.0
"""s by which what two connections tell of one clock may differ: a SYN may have been sent again."""
_SPREAD: Final = 60.0
"""s: further apart they cannot have been one connection, whatever their random is."""
_SANE: Final = 1e12
_CUT: Final = "\N{HORIZONTAL ELLIPSIS}"
_OF_SERVER: Final = frozenset({Kind.SYN_ACK, Kind.SERVER_HELLO, Kind.CHAIN, Kind.TLS_DONE, Kind.ANSWER})
"""What is on a server's record has been answered."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """Facts by one clock, as far as that can be had."""

    facts: tuple[Fact, ...]
    note: str = ""
    aligned: bool = False

    def comparable(self, one: Iterable[Witness], other: Witness) -> bool:
        """Whether it is known which of the two came first."""
        return self.aligned or all(_is_capture(each) == _is_capture(other) for each in one)


@dataclass(slots=True)
class _Met:
    """One connection as one witness has it."""

    at: float
    port: str = ""
    random: str = ""
    offered: tuple[str, int, bool] | None = None
    """The server name, how many suites, both without GREASE, and whether they are all; None where no hello was seen."""
    answered: bool = False

    def may_be(self, other: _Met) -> bool:
        """By all but the time."""
        if self.random and other.random:
            return False
        return self.offered is None or other.offered is None or _are_alike(self.offered, other.offered)


def _are_alike(one: tuple[str, int, bool], other: tuple[str, int, bool]) -> bool:
    """A capture's text is cut where it is long: then it has no more than the other."""
    most = [sides[0][1] <= sides[1][1] for sides in ((one, other), (other, one)) if not sides[0][2]]
    return one[0] == other[0] and (all(most) if most else one[1] == other[1])


def _is_capture(one: Witness) -> bool:
    return one.source is Source.CAPTURE


def compared(facts: Iterable[Fact]) -> Clocks:
    """All by the server's clock, where a connection that both saw tells how far the capture's is from it."""
    told = tuple(facts)
    there = _met([one for one in told if _is_capture(one.witness)])
    here = _met([one for one in told if one.witness.source is Source.SERVER])
    shift = _by_random(there, here)
    if shift is None:
        shift = _by_ports(there, here)
    if shift is None:
        return Clocks(told, _NOT_COMPARED if there and here else "")
    if abs(shift) <= _NEAR:
        return Clocks(told, aligned=True)
    moved = tuple(replace(one, at=one.at + shift) if _is_capture(one.witness) else one for one in told)
    late = "behind" if shift > 0 else "ahead of"
    return Clocks(moved, f"the capture's clock is {abs(shift):.0f} s {late} the server's: times are the server's", True)


_NOT_COMPARED: Final = (
    "no connection of the capture is surely on this server's record: their clocks cannot be compared, so nothing that "
    "one saw is taken for over because of the other"
)


def _by_random(there: Sequence[_Met], here: Sequence[_Met]) -> float | None:
    known: dict[str, list[float]] = {}
    for one in here:
        known.setdefault(one.random, []).append(one.at)
    apart = [at - one.at for one in there if one.random for at in known.get(one.random, ())]
    return median_low(apart) if apart and max(apart) - min(apart) <= _SPREAD else None


def _by_ports(there: Sequence[_Met], here: Sequence[_Met]) -> float | None:
    """Not at all where more than one time would do: then one of them is another boot's."""
    apart = sorted(
        (mine.at - its.at, its.port)
        for its in there
        for mine in here
        if its.port and its.port == mine.port and its.answered and its.may_be(mine)
    )
    near = [shift for shift, _ in apart if abs(shift) <= _NEAR]
    if near:
        return median_low(near)
    shifts = [shift for shift, _ in apart]
    around = ((bisect_left(shifts, one - _AGREE), bisect_right(shifts, one + _AGREE)) for one in shifts)
    several = [len({port for _, port in apart[first:behind]}) > 1 for first, behind in around]
    agreed = [shift for shift, said in zip(shifts, several, strict=True) if said]
    return median_low(agreed) if agreed and agreed[-1] - agreed[0] <= _AGREE else None


def _met(facts: Sequence[Fact]) -> list[_Met]:
    """Each connection once, when it began."""
    found: dict[str, _Met] = {}
    for one in facts:
        if not -_SANE < one.at < _SANE or not one["connection"]:
            continue
        met = found.setdefault(one["connection"], _Met(float("inf")))
        met.answered = met.answered or one.kind in _OF_SERVER
        if port := _port(one):
            met.at, met.port = min((met.at, met.port), (one.at, port))
        if one.kind is Kind.HELLO:
            _read_hello(met, one)
    return sorted((one for one in found.values() if one.port), key=lambda one: (one.port, one.at))


def _read_hello(met: _Met, hello: Fact) -> None:
    """Whatever the order that they come in."""
    met.random = max(met.random, hello["random"])
    if "sni" in hello.values:
        suites = hello["suites"]
        offered = hello["sni"].lower(), suites.count(","), not suites.endswith(_CUT)
        met.offered = max(met.offered or offered, offered)


def _port(one: Fact) -> str:
    if one.kind is Kind.ACCEPTED and not _is_capture(one.witness):
        return one["port"]
    found = _PORT.search(one["connection"]) if one.kind in {Kind.SYN, Kind.HELLO} and _is_capture(one.witness) else None
    return found[1] if found else ""
