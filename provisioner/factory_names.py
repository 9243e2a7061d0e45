"""How a maker writes a Mac into its leaf: the rules of vendors without a driver. One rule a vendor, no guesses.

A name that fits the rule only nearly is no Mac: the certificate then counts as shared by many devices (generic).
Which vendor's rule applies was decided by the trust anchor before; see identity.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from provisioner.certificates import COMMON_NAME, LOCALITY, ORGANIZATION, SERIAL_NUMBER, STATE, CertFacts
from provisioner.errors import Invalid
from provisioner.model import FactoryName, Mac

Rule = Callable[[CertFacts], FactoryName]

_HEX: Final = re.compile(r"[0-9A-Fa-f]{12}")
_CISCO_MAC: Final = re.compile(r"MAC:\s*([0-9A-Fa-f]{12})(?![0-9A-Fa-f])|(?:^|-)SEP([0-9A-Fa-f]{12})$")
_CISCO_SERIAL: Final = re.compile(r"(?:Serial:|SN:)\s*([0-9A-Za-z]{4,20})")


def _mac(text: str) -> Mac | None:
    try:
        return Mac.parse(text)
    except Invalid:
        return None


def plain_name(leaf: CertFacts) -> FactoryName:
    """The one common name is the Mac in any usual spelling (Yealink and vendors not known yet)."""
    names = leaf.all(COMMON_NAME)
    mac = _mac(names[0]) if len(names) == 1 else None
    return FactoryName(mac, note="" if mac else "its common name is no MAC")


def _bare_hex(leaf: CertFacts) -> FactoryName:
    """The one common name is 12 hex digits without separators."""
    names = leaf.all(COMMON_NAME)
    if len(names) != 1 or not _HEX.fullmatch(names[0]):
        return FactoryName(None, note="its common name is not 12 hex digits")
    return plain_name(leaf)


def _grandstream(leaf: CertFacts) -> FactoryName:
    if not any("grandstream" in text.lower() for text in leaf.all(ORGANIZATION)):
        return FactoryName(None, note="its organization is not Grandstream")
    return _bare_hex(leaf)


def _cisco(leaf: CertFacts) -> FactoryName:
    """The Mac stands in ST, in CN as ``MAC: ..``, or (enterprise phones, inferred) at the end of CN as ``SEP..``.

    SPA and MPP provisioning guides: units made before firmware 2.0 carry ``ciscogeneric``.
    """
    common = " ".join(leaf.all(COMMON_NAME))
    places = (*leaf.all(STATE), *leaf.all(LOCALITY))
    if any(text.lower() == "ciscogeneric" for text in (*places, *leaf.all(COMMON_NAME))):
        return FactoryName(None, note="ciscogeneric")
    said = [text for text in leaf.all(STATE) if _HEX.fullmatch(text)]
    said += [one or other for one, other in _CISCO_MAC.findall(common)]
    macs = {_mac(text) for text in said}
    serial = _CISCO_SERIAL.search(" ".join((common, *leaf.all(SERIAL_NUMBER))))
    number = serial[1] if serial else next(iter(leaf.all(LOCALITY)), "")
    if len(macs) != 1:
        note = "its names give different MACs" if macs else "none of its names holds a MAC"
        return FactoryName(None, serial=number, note=note)
    return FactoryName(macs.pop(), serial=number)


RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {"grandstream": _grandstream, "snom": _bare_hex, "cisco": _cisco, "yealink": plain_name, "poly": _bare_hex}
)
