"""From a connection that the profile listener has seen to a card: read, masked, bounded, printable.

Rule: no secret passes. Names that were asked for are masked and lose what stands behind a question mark.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

from provisioner.capability import Card, Told
from provisioner.certificates import Unreadable, read
from provisioner.events import masked, printable
from provisioner.flight_draft import Claims
from provisioner.gate import address_key
from provisioner.http.hello import hello_time, read_offer
from provisioner.http.profile import Sighting
from provisioner.model import Identity, ListenerKind, PeerCert, Verdict

_AGENT: Final = 160
_NAME: Final = 160
_FILE: Final = 80
_SHORT: Final = 60
_OF_DEVICES: Final = frozenset({Verdict.UNIQUE, Verdict.EXPIRED})
"""Verdicts with which a Mac is proven, whatever else is wrong."""
_OLD: Final = 0x0303
"""TLS 1.2: the last version whose random bytes begin with a clock."""

Judge = Callable[[PeerCert | None, ListenerKind, float], Identity]


@dataclass(frozen=True, slots=True)
class Drafter:
    """What a sighting is read with."""

    judge: Judge
    claims: Claims

    def card(self, seen: Sighting) -> Card:
        """Of one connection."""
        identity = self.judge(seen.peer, ListenerKind.PROFILE, seen.at)
        target = next((one.partition(" ")[2] for one in seen.targets), "/")
        claim = self.claims(target, seen.agent)
        proven = bool(identity.mac) and identity.verdict in _OF_DEVICES
        mac = str(identity.mac or "") or claim.mac
        told = _told(seen, identity)
        return Card(
            _ident(mac, proven, seen, told), mac, proven, printable(identity.vendor or claim.vendor)[:_SHORT],
            printable(claim.model)[:_SHORT], seen.address, seen.at, seen.at, 1, told,
        )  # fmt: skip


def _ident(mac: str, proven: bool, seen: Sighting, told: Told) -> str:
    """A proven Mac is one phone wherever it is; what is only said, or not even that, is one for each address."""
    if proven:
        parts = [mac]
    else:
        # Whoever refuses our certificate and whoever takes it are two, though one program may be both's.
        manner = (told.get("versions"), told.get("suites"), told.get("sslv2"), told.get("refused"))
        hello = repr(manner) if not mac else ""
        parts = [mac, address_key(seen.address) if seen.address else "", hello]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]


def _told(seen: Sighting, identity: Identity) -> Told:
    told: dict[str, Any] = {"plain": seen.plain, "sslv2": seen.sslv2}
    told |= _hello(seen)
    if seen.done:
        told["agreed"] = [seen.version, seen.cipher]
        told["verdict"] = [identity.verdict.value, printable(identity.why)[:_NAME]]
    elif seen.fault.startswith("alert_"):
        told["refused"] = seen.fault.removeprefix("alert_")
    elif seen.hello or seen.fault:
        told["ended"] = seen.fault or "left"
    told["chain"] = [_certificate(der) for der in seen.chain]
    told |= {"agent": printable(seen.agent)[:_AGENT], "scheme": printable(seen.scheme), "asked": seen.asked}
    if (said := _said(seen.date)) is not None:
        told["date"] = [round(seen.at, 3), said]
    told["files"] = [_file(one) for one in seen.targets]
    return {name: value for name, value in told.items() if value}


def _hello(seen: Sighting) -> Told:
    if not seen.hello:
        return {}
    offer = read_offer(seen.hello)
    told: dict[str, Any] = {
        "sni": printable(offer.name)[:_NAME],
        "versions": list(offer.versions),
        "suites": list(offer.suites),
        "signatures": list(offer.signatures),
    }
    said = hello_time(seen.hello)
    if said and max(offer.versions, default=_OLD) <= _OLD:
        told["clock"] = [[round(seen.at, 3), said]]
    return told


def _said(date: str) -> float | None:
    """A Date header (RFC 9110 section 5.6.7) as Unix time."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):  # what email.utils raises on what is no date
        return None


def _certificate(der: bytes) -> list[Any]:
    try:
        one = read(der)
    except Unreadable:
        return ["cannot be read", "", 0, 0, "", 0, ""]
    subject, issuer = printable(one.subject)[:_NAME], printable(one.issuer)[:_NAME]
    return [subject, issuer, int(one.not_before), int(one.not_after), one.key, one.bits, one.hash]


def _file(target: str) -> str:
    method, _, path = target.partition(" ")
    name = printable(masked(path.partition("?")[0].partition("#")[0]))[:_FILE]
    return name if method == "GET" else f"{method} {name}"
