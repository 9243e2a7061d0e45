"""From what was jotted down of a connection to the record of it: judged, masked, bounded, printable.

Rule: no secret passes. Targets are masked, of Authorization the scheme stays, of what was sent or uploaded nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple

from provisioner.admission import rank_of
from provisioner.certificates import CertFacts, Unreadable, read
from provisioner.errors import BadPath
from provisioner.events import masked, printable
from provisioner.flight_notes import REQUESTS, Asked, FlightNotes, TlsSeen
from provisioner.gate import address_key
from provisioner.http.hello import hello_random, read_offer
from provisioner.http.paths import clean
from provisioner.model import DeviceFile, FileKind, Identity, Verdict

_NAMED: Final = frozenset(
    {FileKind.MASTER, FileKind.BOOT, FileKind.COMMON, FileKind.DEVICE, FileKind.OVERRIDES, FileKind.DIRECTORY}
)
"""Kinds with names that a vendor's pattern makes: nothing of a stranger's own can stand in them."""
_MAC: Final = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{12}(?![0-9A-Fa-f])")
_ETAG: Final = re.compile(r'ETag: (?:W/)?"([^"]{1,16})')
_QUIET_ENDS: Final = frozenset({"", "idle_timeout", "truncated", "left", "reset", "crowded_out"})
"""Ends of a connection that has served its purpose: phones just leave."""
GOOD_VERDICTS: Final = frozenset({Verdict.UNIQUE, Verdict.GENERIC, Verdict.NONE})
"""With these a certificate, if any came, is not what was wrong."""
_NOBODY: Final = "000000000000"
_TARGET: Final = 300
_WHY: Final = 300
_SHORT: Final = 60
_AGENT: Final = 120
"""Characters of a User-Agent: the longest known has 70."""
_NAME: Final = 160
"""Characters of a subject or issuer."""

Row = list[Any]


class Claim(NamedTuple):
    """What a request says of who asks."""

    mac: str = ""
    vendor: str = ""
    model: str = ""


Claims = Callable[[str, str], Claim]
"""Path and User-Agent -> what they claim."""


@dataclass(slots=True)
class Refused:
    """A certificate that opened nothing, to be grouped with its like."""

    verdict: str
    issuer: str
    why: str
    at: float
    mac: str
    model: str
    address: str
    chain: tuple[bytes, ...] = field(repr=False, default=())


@dataclass(slots=True)
class Draft:
    """A record that is to be written."""

    owner: str
    mac: str
    at: float
    address: str
    trouble: bool
    label: str
    model: str
    told: dict[str, Any]
    last: float = 0.0
    """When something was added to it, s of the clock that never goes back."""
    refused: Refused | None = None

    def add(self, notes: FlightNotes, ended: float) -> None:
        """Another good connection of the same boot."""
        rows = self.told["r"]
        left = REQUESTS - len(rows)
        rows += [_row(one, notes, self.at) for one in notes.asked[:left]]
        more = self.told.get("m", 0) + len(notes.asked[left:]) + notes.more
        if more:
            self.told["m"] = more
        self.told["co"] = self.told.get("co", 1) + 1
        self.told["e"] = round(ended - self.at, 3)


def owner_of(notes: FlightNotes) -> str:
    """The known device that has proven itself; empty where none has."""
    return notes.view.device.mac if notes.view is not None and notes.view.device.account else ""


def label_of(notes: FlightNotes) -> str:
    """What a connection came to in one word: ``ok``, or the first thing that went wrong."""
    for place, one in enumerate(notes.asked):
        if one.reason and not _ordinary(place, notes):
            return _refusal(one, notes)
    if not notes.asked:
        return "no_request" if not notes.end or (notes.open and notes.end in _QUIET_ENDS) else notes.end
    return "ok" if notes.end in _QUIET_ENDS else notes.end


def _ordinary(place: int, notes: FlightNotes) -> bool:
    """404 is part of a boot, and 401 of its first step where what follows is served."""
    reason = notes.asked[place].reason
    if reason == "no_such_file":
        return notes.view is not None and not _is_required(notes.asked[place].file)
    if reason == "paused":
        return notes.view is not None
    return reason == "needs_credentials" and any(one.status < 400 for one in notes.asked[place + 1 :])


def _is_required(file: DeviceFile | None) -> bool:
    """A phone that does not get it has no configuration: its own, or the master that is everybody's.

    A master of its own it asks for first and does without; so it does without boot, common, directory and further files
    that a model may have or not.
    """
    if file is None:
        return False
    return file.kind is (FileKind.MASTER if file.mac is None else FileKind.DEVICE)


def _refusal(one: Asked, notes: FlightNotes) -> str:
    if one.reason == "not_identified" and notes.peer is not None:
        return f"verdict_{notes.peer.identity.verdict.value}"
    return one.reason


def draft(notes: FlightNotes, seen: TlsSeen, ended: float, label: str, claims: Claims) -> Draft:
    """The record of it."""
    owner, trouble = owner_of(notes), label != "ok"
    address, port = _place(notes.peername)
    claim = Claim(owner) if owner else _claimed(notes, claims)
    told: dict[str, Any] = {"a": address, "p": port, "l": notes.listener.value, "e": round(ended - notes.at, 3)}
    for some in (_opening(notes, seen), _certificates(seen), _identity(notes)):
        told.update(some)
    told |= {"x": notes.end} if notes.end else {}
    told |= {"al": notes.alert} if notes.alert else {}
    told |= {"k": list(notes.tcp)} if notes.tcp is not None else {}
    told |= {"q": notes.unsent} if notes.unsent else {}
    told.update(_asked(notes))
    if (place := address_key(address) if address else "") != address:
        told["ak"] = place
    made = Draft(owner, claim.mac, notes.at, place, trouble, label, claim.model, told)
    made.refused = _refused(notes, seen, claim, made)
    return made


def _place(peername: object) -> tuple[str, int]:
    if isinstance(peername, tuple) and len(peername) >= 2:
        return str(peername[0]).removeprefix("::ffff:"), int(peername[1])
    return "", 0


def _opening(notes: FlightNotes, seen: TlsSeen) -> Mapping[str, Any]:
    told: dict[str, Any] = {}
    if notes.waited >= 0.001 or notes.gate:
        told |= {"w": round(notes.waited, 3), "g": notes.gate}
    if notes.hello:
        offer = read_offer(notes.hello)
        suites, signatures = ("".join(f"{one:04x}" for one in some) for some in (offer.suites, offer.signatures))
        told["h"] = [list(offer.versions), suites, signatures, printable(offer.name), hello_random(notes.hello)]
    if seen.cipher:
        agreed = [seen.version, seen.cipher, int(seen.resumed)]
        told |= {"t": agreed} if seen.done else {"broke": agreed}
    return told


def _certificates(seen: TlsSeen) -> Mapping[str, Any]:
    if not seen.chain:
        return {}
    return {"c": [_certificate(der) for der in seen.chain], "n": len(seen.chain)}


def _certificate(der: bytes) -> Row:
    facts = _facts(der)
    if facts is None:
        return ["unreadable", "", 0, 0, "", 0, ""]
    subject, issuer = printable(facts.subject)[:_NAME], printable(facts.issuer)[:_NAME]
    return [subject, issuer, int(facts.not_before), int(facts.not_after), facts.key, facts.bits, facts.hash]


@lru_cache(256)
def _facts(der: bytes) -> CertFacts | None:
    """CAs are shared by all phones of a maker."""
    try:
        return read(der)
    except Unreadable:
        return None


def _identity(notes: FlightNotes) -> Mapping[str, Any]:
    if notes.peer is None:
        return {}
    one = notes.peer.identity
    return {"i": [one.verdict.value, one.vendor, printable(one.why)[:_WHY], one.mac or ""]}


def _asked(notes: FlightNotes) -> Mapping[str, Any]:
    heads = {"u": printable(notes.agent)[:_AGENT], "ho": printable(notes.host)[:_SHORT]}
    heads["au"] = printable(notes.authorization)
    told: dict[str, Any] = {name: value for name, value in heads.items() if value}
    if notes.asked:
        told["r"] = [_row(one, notes, notes.at) for one in notes.asked]
        why = next((one.why for at, one in enumerate(notes.asked) if one.reason and not _ordinary(at, notes)), "")
        told |= {"why": printable(masked(why))[:_WHY]} if why else {}
    if notes.more:
        told["m"] = notes.more
    return told


def _row(one: Asked, notes: FlightNotes, begun: float) -> Row:
    file = one.file
    is_file = file is not None and file.kind in _NAMED
    name = file.name if file is not None and is_file else masked(one.target.partition("?")[0].lstrip("/"))
    rank = rank_of(notes.view, file.kind).value if file is not None and notes.view is not None else ""
    etag = _ETAG.search(one.headers)
    return [
        round(one.at - begun, 3), printable(one.method)[:10], printable(name)[:_NAME], int(is_file), one.status,
        one.size, printable(etag[1]) if etag else "", one.reason, rank, round(one.held, 2), one.retry_after,
    ]  # fmt: skip


def _claimed(notes: FlightNotes, claims: Claims) -> Claim:
    """A certificate goes before the path that is asked for, whatever it is worth."""
    asked = notes.asked[0].target if notes.asked else ""
    found = claims(asked, notes.agent)
    identity = notes.peer.identity if notes.peer is not None else None
    shown = (identity.mac or _mac_in(identity.subject)) if identity is not None else ""
    mac = shown or found.mac or _mac_in(asked)
    return found._replace(mac=mac, model=printable(found.model)[:_SHORT])


def _mac_in(text: str) -> str:
    return next((one.lower() for one in _MAC.findall(text.replace(":", "")) if one != _NOBODY), "")


def _refused(notes: FlightNotes, seen: TlsSeen, claim: Claim, made: Draft) -> Refused | None:
    """Only where a certificate is what was wrong."""
    identity: Identity | None = notes.peer.identity if notes.peer is not None else None
    if identity is None or identity.verdict in GOOD_VERDICTS or not made.trouble or not seen.chain:
        return None
    issuer = printable(identity.issuer)[:_WHY]
    return Refused(
        identity.verdict.value, issuer, printable(identity.why)[:_WHY], notes.at, made.owner or claim.mac, made.model,
        made.address, seen.chain,
    )  # fmt: skip


def claims_by(matchers: Sequence[Callable[[str, str], Any]]) -> Claims:
    """What the vendors' drivers read in a path and a User-Agent; each gives a DeviceFile or nothing."""

    def claims(target: str, agent: str) -> Claim:
        try:
            path = clean(target[:_TARGET])
        except BadPath:
            return Claim()
        found = [file for file in (match(path, agent) for match in matchers) if file is not None]
        best = max(found, key=lambda file: (bool(file.agent.model), file.mac is not None), default=None)
        if best is None:
            return Claim()
        sure = best.agent.model or len({file.vendor for file in found}) == 1  # MAC.cfg is a name of several makers
        return Claim(best.mac or best.agent.mac or "", best.vendor if sure else "", best.agent.model)

    return claims
