"""What an alarm says by SNMP: the objects of PROVISIONER-MIB, below the enterprise number that is set. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from provisioner.errors import Unusable
from provisioner.switches.oids import Oid, Value

UPTIME: Final = (1, 3, 6, 1, 2, 1, 1, 3, 0)
TRAP_OID: Final = (1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0)
_ENTERPRISE: Final = (1, 3, 6, 1, 4, 1)
_PRODUCT: Final = 1
"""provisionerMIB, below the enterprise."""
_ALARM: Final = (0, 1)
"""provisionerAlarm: notifications are 0, as SMIv2 wants it (RFC 2578 section 8.5)."""
_OBJECTS: Final = (1,)
_WORDS: Final = ("kind", "mac", "account", "text", "at", "event", "severity")
"""Objects in their order: 1, 2, ..."""
_LONGEST: Final = 255
_HOST: Final = re.compile(r"[A-Za-z0-9_.:-]{1,253}")
_USUAL_PORT: Final = 162
_LEFT_OUT: Final = frozenset({"account", "partner"})


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who is told."""

    host: str
    port: int
    confirmed: bool
    """An SNMPv3 inform, which is answered; otherwise a v2c trap, which nobody knows to have arrived."""

    @property
    def name(self) -> str:
        """As it stands in the settings, and in the outbox."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _USUAL_PORT else f":{self.port}"
        return f"{'inform' if self.confirmed else 'trap'}://{host}{port}"


def receiver(text: str) -> Receiver:
    """One of trap.receivers; Unusable for what is none."""
    wrong = Unusable(f"trap.receivers: {text!r} must be trap://HOST[:PORT] (v2c) or inform://HOST[:PORT] (v3)")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port or _USUAL_PORT
    except ValueError:
        raise wrong from None
    extra = parts.path or parts.query or parts.fragment or parts.username
    if parts.scheme not in ("trap", "inform") or extra or not _HOST.fullmatch(host):
        raise wrong
    return Receiver(host, port, parts.scheme == "inform")


def objects(enterprise: int, uptime: float, said: Mapping[str, str]) -> list[tuple[Oid, Value]]:
    """The var-binds of one alarm, in the order of RFC 3416 section 4.2.6: when, what, and what of it."""
    root = (*_ENTERPRISE, enterprise, _PRODUCT)
    ticks = int(uptime * 100) % 2**32
    found: list[tuple[Oid, Value]] = [(UPTIME, ticks), (TRAP_OID, (*root, *_ALARM))]
    for number, word in enumerate(_WORDS, 1):
        value = said.get(word, "")
        found.append(((*root, *_OBJECTS, number, 0), value.encode()[:_LONGEST]))
    return found


def sentence(kind: str, words: str, details: Mapping[str, str]) -> str:
    """What happened, for the person who reads it on a screen of the network's watch."""
    told = ", ".join(f"{name} {value}" for name, value in sorted(details.items()) if value and name not in _LEFT_OUT)
    head = words or kind
    return f"{head}: {told}" if told else head
