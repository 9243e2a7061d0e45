"""Where a phone was told to go, and what shows that it knows the way to our server. Pure.

Rule: who asks for the server's name, or sends to its address, has learned where to go, whoever answers; by which option
or setting he has learned it is no trouble any more. That there is an answer at all proves the own address.
"""

from __future__ import annotations

import re
from typing import Final

from provisioner.diagnosis.case import Case, Connection, Judged, Mark
from provisioner.diagnosis.catalogue import Rung
from provisioner.diagnosis.facts import Fact, Kind, Source

OPTIONS: Final = ("160", "161", "159", "66", "150", "67", "43")
"""Options that may hold where a phone's files are; 132 and its like hold VLANs."""
_TOLD: Final = frozenset({Rung.BOOT_OPTION})
_NAMED: Final = frozenset({Rung.BOOT_OPTION, Rung.DNS})
_HAS_ADDRESS: Final = frozenset({Rung.DHCP, Rung.ADDRESS})
_HOST: Final = re.compile(r"(?:[a-z][a-z0-9+.-]*://)?(?:[^/@\s]*@)?(\[[0-9a-f:]+\]|[\w.-]+)", re.I | re.A)
_REDIRECTORS: Final = re.compile(
    r"(?:^|\.)(?:rps\.yealink\.com|rpscloud\.yealink\.com|dm\.yealink\.com|ztp\.polycom\.com|ztpconsole\.polycom\.com"
    r"|lens\.poly\.com|fm\.grandstream\.com|gds\.grandstream\.com|provisioning\.snom\.com|secure-provisioning\.snom\.com"
    r"|webapps\.cisco\.com|activate\.cisco\.com|redirect\.audiocodes\.com|prov\.gigaset\.net)$",
    re.I,
)
"""Makers' redirection services, as far as they are known; every new phone asks there, so asking is no fault."""


def judge(case: Case) -> Judged:
    """No rung of its own: what it proves of those below."""
    for one in case.of_kind(Kind.DNS):
        if one["type"] == "answer":
            yield Mark(_HAS_ADDRESS, one.at, one.witness, "a name server answers it")
        if is_ours(case, one["name"]):
            yield Mark(_TOLD, one.at, one.witness, f"it asks for {one['name']}")
    for each in case.connections:
        if fact := _aims(case, each):
            yield Mark(_NAMED, fact.at, fact.witness, f"it knows this server: {each.to or fact['sni']}")


def is_ours(case: Case, name: str) -> bool:
    """Whether it is a name of the server."""
    return name.rstrip(".").lower() in case.subject.names


def is_redirector(name: str) -> bool:
    """Whether a maker's service is called so."""
    return bool(_REDIRECTORS.search(name.rstrip(".")))


def host_of(text: str) -> str:
    """Of a URL, or of what an option has instead of one."""
    found = _HOST.match(text.strip())
    return found[1].strip("[]").rstrip(".").lower() if found else ""


def told_hosts(case: Case) -> frozenset[str]:
    """What leases and PnP have named."""
    texts = [one[f"option_{number}"] for one in case.of_kind(Kind.DHCP) for number in OPTIONS]
    texts += [one["url"] for one in case.of_kind(Kind.PNP)]
    return frozenset(map(host_of, texts)) - {""}


def knows_where(case: Case) -> bool:
    """Whether it was seen on its way to the server or, where nobody knows that, to any but its maker's."""
    if case.subject.names or case.places:
        asked = any(is_ours(case, one["name"]) for one in case.of_kind(Kind.DNS))
        return asked or any(_aims(case, one) for one in case.connections)
    makers = {
        text.strip()
        for one in case.of_kind(Kind.DNS) if is_redirector(one["name"])
        for text in one["addresses"].split(",")
    }  # fmt: skip
    return any(one.to and one.to not in makers and not is_redirector(_sni(one)) for one in case.connections)


def _aims(case: Case, one: Connection) -> Fact | None:
    """What on the wire shows that it wants our server; what reaches it, its own record shows."""
    sent = [fact for fact in one.of(Kind.SYN, Kind.HELLO) if fact.witness.source is Source.CAPTURE]
    if not sent or case.foreign(one):
        return None
    return sent[-1] if one.to in case.places or is_ours(case, _sni(one)) else None


def _sni(one: Connection) -> str:
    return one.said(Kind.HELLO, "sni")
