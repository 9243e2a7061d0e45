"""What is known of one phone, in order and by connection: the one thing that the rungs of the ladder look at. Pure.

Rule: the order in which facts were handed in does not count, only when they were seen; equal times are ordered by what
the facts say themselves. A fact that lacks what it is about says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from provisioner.diagnosis.catalogue import Party, Rung
from provisioner.diagnosis.facts import Fact, Kind, Source, Witness
from provisioner.model import Mac

_MAKERS: Final = (
    ("poly", re.compile(r"poly(com)?|obi(hai|\d)|\bvvx", re.I)),
    ("yealink", re.compile(r"yealink|\bw5[26]p", re.I)),
    ("cisco", re.compile(r"cisco|linksys|sipura|\bspa\d", re.I)),
    ("grandstream", re.compile(r"grandstream|\bg[xr]p\d", re.I)),
    ("snom", re.compile(r"snom", re.I)),
    ("mitel", re.compile(r"mitel|aastra", re.I)),
    ("audiocodes", re.compile(r"audc|audiocodes", re.I)),
    ("panasonic", re.compile(r"panasonic", re.I)),
)
"""How makers' phones speak of themselves in User-Agent and vendor class, and what their factories are called."""
_SPEAKS: Final = ((Kind.REQUEST, "user_agent"), (Kind.DHCP, "vendor_class"), (Kind.VERDICT, "vendor"))
_GOOD: Final = frozenset({"200", "201", "204", "206", "304"})
_FRACTION: Final = 1e15
"""Beyond it no number is a time; whoever sends one gets none."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What an administrator may set."""

    loop_fetches: int = 6
    """The same bytes fetched so often is a loop: three boots, in each of which some phones ask twice."""
    loop_window: float = 900.0
    """s in which they are counted: phones in a loop need one to five minutes a turn."""
    silent_after: float = 172_800.0
    """s without a word of it, then what was good before is no answer any more: phones poll once a day."""


DEFAULT: Final = Rules()
DOT1X: Final = "802.1X"
"""The connection of handshakes with the switch: EAP says what came of those."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom it is about, and what is known of the server that it should come to; all of it may be missing."""

    mac: Mac | None = None
    vendor: str = ""
    model: str = ""
    names: frozenset[str] = frozenset()
    """Under which phones may reach the server."""
    addresses: frozenset[str] = frozenset()
    issuers: frozenset[str] = frozenset()
    """Who has issued the server's own certificates: common names, lower case."""
    begins: float | None = None
    ends: float | None = None
    """Of that certificate, Unix time."""
    where: str = ""
    """The phone's address, where its MAC is not known."""
    rules: Rules = DEFAULT

    @property
    def called(self) -> str:
        """For people."""
        return self.mac.colons if self.mac else self.where or "this phone"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong: a row of the catalogue, when and by whom it was seen."""

    row: int
    at: float
    witnesses: tuple[Witness, ...] = ()
    says: str = ""
    """What of it is special here; the row says the rest."""
    sure: bool = True
    side: bool = False
    """Worth a word, and no cause."""
    refused: Party | None = None
    """Who has refused whom, where it is not as the row says."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A rung was good at a time, and so were those that it stands on. ``heals``: what was wrong before is over."""

    rungs: frozenset[Rung]
    at: float
    witness: Witness
    says: str
    heals: bool = True


@dataclass(frozen=True, slots=True)
class Gap:
    """A rung that a witness could have told of and did not."""

    rung: Rung
    says: str


Judged = Iterator[Finding | Mark | Gap]


def below(rung: Rung) -> frozenset[Rung]:
    """The rung and all that it stands on."""
    return frozenset(one for one in Rung if one.height <= rung.height)


@dataclass(frozen=True)
class Connection:
    """The facts of one connection."""

    key: str
    facts: tuple[Fact, ...]

    def of(self, *kinds: Kind, by: str = "") -> list[Fact]:
        """Its facts of these kinds, the earliest first."""
        return [one for one in self.facts if one.kind in kinds and (not by or one["by"] == by)]

    def first(self, *kinds: Kind, by: str = "") -> Fact | None:
        """The earliest of them."""
        return next(iter(self.of(*kinds, by=by)), None)

    def has(self, *kinds: Kind) -> bool:
        """Whether there is any."""
        return any(one.kind in kinds for one in self.facts)

    def said(self, kind: Kind, name: str, by: str = "") -> str:
        """A value of the last fact of this kind that has it."""
        return next((one[name] for one in reversed(self.of(kind, by=by)) if one[name]), "")

    @cached_property
    def server_saw(self) -> bool:
        """It is on this server's own record."""
        return any(one.witness.source is Source.SERVER for one in self.facts)

    @cached_property
    def to(self) -> str:
        """The address that the phone asked for."""
        return self.said(Kind.SYN, "to")

    @cached_property
    def last(self) -> Fact:
        """What was seen last."""
        return self.facts[-1]

    @cached_property
    def left_at(self) -> float | None:
        """When the phone itself closed it: what comes behind that is no cause."""
        closed = self.first(Kind.CLOSED, by="phone")
        return closed.at if closed else None


@dataclass(frozen=True)
class Case:
    """Everything about one phone."""

    subject: Subject
    facts: tuple[Fact, ...]
    now: float
    connections: tuple[Connection, ...] = field(repr=False)

    @classmethod
    def of(cls, facts: Iterable[Fact], subject: Subject, now: float) -> Case:
        """In order, each fact once."""
        known = {_order(one): one for one in facts if -_FRACTION < one.at < _FRACTION and _says(one)}
        told = tuple(known[key] for key in sorted(known))
        return cls(subject, told, now, tuple(_connections(told)))

    def of_kind(self, kind: Kind, **wanted: str) -> list[Fact]:
        """Facts of a kind with these values, the earliest first."""
        same = self._kinds.get(kind, ())
        return [one for one in same if all(one[name] == text for name, text in wanted.items())] if wanted else [*same]

    @cached_property
    def _kinds(self) -> dict[Kind, list[Fact]]:
        found: dict[Kind, list[Fact]] = {}
        for one in self.facts:
            found.setdefault(one.kind, []).append(one)
        return found

    @cached_property
    def blind(self) -> bool:
        """A capture has lost frames: nothing may be concluded from silence."""
        return any(number(one["frames"]) > 0 for one in self.of_kind(Kind.DROPPED))

    @cached_property
    def doubtful(self) -> frozenset[Witness]:
        """Witnesses of what another phone at the same address may have done."""
        return frozenset(one.witness for one in self.facts if one["whose"] == "maybe")

    @cached_property
    def vendor(self) -> str:
        """Whose phone it is: as it was added, otherwise as it speaks of itself; empty where nobody knows."""
        if self.subject.vendor:
            return self.subject.vendor
        told = [one["vendor"] for one in self.of_kind(Kind.DEVICE) if one["vendor"]]
        told += [one[name] for kind, name in _SPEAKS for one in self.of_kind(kind) if one[name]]
        return next((maker for text in told for maker, pattern in _MAKERS if pattern.search(text)), "")

    @cached_property
    def model(self) -> str:
        """What is known of its model."""
        return self.subject.model or next((one["model"] for one in self.of_kind(Kind.DEVICE) if one["model"]), "")

    @cached_property
    def places(self) -> frozenset[str]:
        """Addresses of our server: as they are set, otherwise as its names were resolved."""
        if self.subject.addresses:
            return self.subject.addresses
        answers = [one for one in self.of_kind(Kind.DNS) if one["name"].rstrip(".").lower() in self.subject.names]
        return frozenset(text.strip() for one in answers for text in one["addresses"].split(",")) - {""}

    @cached_property
    def resolved(self) -> frozenset[frozenset[str]]:
        """The addresses of each name."""
        told = {one["addresses"] for one in self.of_kind(Kind.DNS)} - {""}
        return frozenset(frozenset(text.strip() for text in one.split(",")) for one in told)

    @cached_property
    def answering(self) -> dict[str, list[float]]:
        """Addresses that took its connections, and when."""
        found: dict[str, list[float]] = {}
        for one in self.connections:
            if one.has(Kind.SYN_ACK):
                found.setdefault(one.to, []).append(one.facts[0].at)
        return found

    @cached_property
    def greeted(self) -> list[float]:
        """When this server has seen its ClientHellos, in order."""
        return [one.at for one in self.of_kind(Kind.HELLO) if one.witness.source is Source.SERVER]

    @cached_property
    def served(self) -> float:
        """When this server has last answered it well; long ago where it never has."""
        told = [one for one in self.of_kind(Kind.ANSWER) if one.witness.source is Source.SERVER]
        good = [one for one in told if one["status"] in _GOOD and one.witness not in self.doubtful]
        return max((one.at for one in good), default=float("-inf"))

    def foreign(self, one: Connection) -> bool:
        """Whether it leads to another server than ours, as far as anybody knows."""
        return bool(self.subject.addresses and one.to and not one.server_saw and one.to not in self.subject.addresses)

    def ours(self) -> Iterator[Connection]:
        """Connections that may be with our server."""
        return (one for one in self.connections if one.key != DOT1X and not self.foreign(one))


_NEEDS: Final = {
    Kind.ALERT: "by", Kind.TLS_REFUSED: "by", Kind.VERDICT: "verdict", Kind.REFUSED_EARLY: "by", Kind.EAP: "code",
    Kind.DHCP: "type", Kind.DNS: "name", Kind.NTP: "type", Kind.TFTP: "type", Kind.REGISTER: "type", Kind.PNP: "type",
}  # fmt: skip
_BY_THEMSELVES: Final = frozenset(
    {
        Kind.FRAME, Kind.ADDRESS_CONFLICT, Kind.ACCEPTED, Kind.SYN, Kind.SYN_ACK, Kind.HELLO, Kind.SERVER_HELLO,
        Kind.CHAIN, Kind.TLS_DONE, Kind.BROKEN, Kind.UPLOAD,
    }
)  # fmt: skip
"""That these were seen is something, whatever else is known."""


def _says(one: Fact) -> bool:
    """Whether it has what it is about."""
    needed = _NEEDS.get(one.kind)
    return bool(one[needed]) if needed else bool(one.values) or one.kind in _BY_THEMSELVES


def _order(one: Fact) -> tuple[float, str, str, str, tuple[tuple[str, str], ...]]:
    return one.at, one.kind, one.witness.source, one.witness.ref, tuple(sorted(one.values.items()))


_OF_CONNECTIONS: Final = frozenset(
    {
        Kind.SYN, Kind.SYN_ACK, Kind.RESET, Kind.UNREACHABLE, Kind.STALLED, Kind.HELLO, Kind.SERVER_HELLO, Kind.CHAIN,
        Kind.ALERT, Kind.TLS_DONE, Kind.TLS_REFUSED, Kind.CLOSED, Kind.VERDICT, Kind.REQUEST, Kind.ANSWER,
        Kind.REFUSED_EARLY,
    }
)  # fmt: skip


def _connections(facts: Sequence[Fact]) -> Iterator[Connection]:
    """By name; facts without one belong together when the same witness has told them."""
    grouped: dict[str, list[Fact]] = {}
    for one in facts:
        if one.kind in _OF_CONNECTIONS or one["connection"]:
            grouped.setdefault(one["connection"] or str(one.witness), []).append(one)
    for key in sorted(grouped):
        yield Connection(key, tuple(grouped[key]))


def number(text: str) -> int:
    """A whole number out of a fact; 0 for what is none."""
    plain = text.strip()
    return int(plain) if plain.isascii() and plain.isdigit() and len(plain) <= 15 else 0


def moment(text: str) -> float | None:
    """A time out of a fact; None for what is none."""
    try:
        at = float(text)
    except ValueError:
        return None
    return at if -_FRACTION < at < _FRACTION else None
