"""Names of objects as tuples of numbers, and the arithmetic of their indexes: no MIB file is read. Pure.

RFC 4188 (BRIDGE), RFC 4363 (Q-BRIDGE), RFC 2863 (IF), RFC 3621 (POWER-ETHERNET), RFC 6933 (ENTITY),
IEEE 802.1AB-2005 (LLDP), ANSI/TIA-1057 (LLDP-MED), and Cisco's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeVar

from provisioner.errors import Invalid
from provisioner.model import Mac

T = TypeVar("T")
Oid = tuple[int, ...]
Value = int | bytes | Oid
"""What an agent tells: a number, octets, or the name of an object."""
Row = tuple[Oid, Value]

_MIB2: Final = (1, 3, 6, 1, 2, 1)
_CISCO: Final = (1, 3, 6, 1, 4, 1, 9)
_LLDP: Final = (1, 0, 8802, 1, 1, 2, 1)
_MED: Final = (*_LLDP, 5, 4795, 1)

SYS_DESCR: Final = (*_MIB2, 1, 1, 0)
SYS_OBJECT_ID: Final = (*_MIB2, 1, 2, 0)
SYS_CONTACT: Final = (*_MIB2, 1, 4, 0)
SYS_NAME: Final = (*_MIB2, 1, 5, 0)

IF_DESCR: Final = (*_MIB2, 2, 2, 1, 2)
IF_TYPE: Final = (*_MIB2, 2, 2, 1, 3)
IF_OPER: Final = (*_MIB2, 2, 2, 1, 8)
IF_INDEX: Final = (*_MIB2, 2, 2, 1, 1)
IF_NAME: Final = (*_MIB2, 31, 1, 1, 1, 1)
IF_ALIAS: Final = (*_MIB2, 31, 1, 1, 1, 18)

BASE_PORT_IF: Final = (*_MIB2, 17, 1, 4, 1, 2)
FDB_PORT: Final = (*_MIB2, 17, 4, 3, 1, 2)
QFDB_PORT: Final = (*_MIB2, 17, 7, 1, 2, 2, 1, 2)
VLAN_FDB: Final = (*_MIB2, 17, 7, 1, 4, 2, 1, 3)
VLAN_EGRESS: Final = (*_MIB2, 17, 7, 1, 4, 2, 1, 4)
VLAN_UNTAGGED: Final = (*_MIB2, 17, 7, 1, 4, 2, 1, 5)
PVID: Final = (*_MIB2, 17, 7, 1, 4, 5, 1, 1)

LOC_PORT_ID: Final = (*_LLDP, 3, 7, 1, 3)
LOC_PORT_DESC: Final = (*_LLDP, 3, 7, 1, 4)
REM: Final = (*_LLDP, 4, 1, 1)
"""lldpRemTable; its columns are the numbers below, its index timeMark.localPortNum.remIndex."""
REM_CHASSIS_SUBTYPE, REM_CHASSIS, REM_PORT_SUBTYPE, REM_PORT = 4, 5, 6, 7
REM_NAME, REM_DESC, REM_CAPABILITIES = 9, 10, 12
MED_OFFERED: Final = (*_MED, 2, 1, 1)
"""lldpXMedLocMediaPolicyTable: localPortNum.appType."""
MED_USED: Final = (*_MED, 3, 2, 1)
"""lldpXMedRemMediaPolicyTable: timeMark.localPortNum.remIndex.appType."""
MED_VLAN, MED_PRIORITY, MED_DSCP, MED_TAGGED = 2, 3, 4, 6
MED_VOICE: Final = 1
MED_INVENTORY: Final = (*_MED, 3, 3, 1)
"""lldpXMedRemInventoryTable: hardware, firmware, software, serial number, maker, model."""

CDP: Final = (*_CISCO, 9, 23, 1, 2, 1, 1)
"""cdpCacheTable: ifIndex.device."""
CDP_DEVICE, CDP_PLATFORM, CDP_CAPABILITIES, CDP_VLAN = 6, 8, 9, 14
CISCO_VOICE_VLAN: Final = (*_CISCO, 9, 68, 1, 5, 1, 1, 1)
CISCO_ACCESS_VLAN: Final = (*_CISCO, 9, 68, 1, 2, 2, 1, 2)
CISCO_VLAN_STATE: Final = (*_CISCO, 9, 46, 1, 3, 1, 1, 2)
CISCO_NO_VOICE: Final = 4096

POE_ADMIN: Final = (*_MIB2, 105, 1, 1, 1, 3)
POE_DETECTION: Final = (*_MIB2, 105, 1, 1, 1, 6)
CISCO_POE_ENABLE: Final = (*_CISCO, 9, 402, 1, 2, 1, 1)
CISCO_POE_ENTITY: Final = (*_CISCO, 9, 402, 1, 2, 1, 11)
ENTITY_ALIAS: Final = (*_MIB2, 47, 1, 3, 2, 1, 2)
"""entAliasMappingIdentifier: entPhysicalIndex.entAliasLogicalIndexOrZero, its value names an object of an interface."""


def dotted(oid: Sequence[int]) -> str:
    """``1.3.6.1.2.1``."""
    return ".".join(map(str, oid))


def parsed(text: str) -> Oid:
    """The same back; Invalid for what is no such name."""
    parts = text.strip().lstrip(".").split(".")
    if not all(part.isascii() and part.isdecimal() and len(part) <= 10 and int(part) < 2**32 for part in parts):
        raise Invalid("oid", f"{text!r} is no name of an object: numbers below 2^32 with dots between them")
    return tuple(int(part) for part in parts)


def below(root: Oid, oid: Oid) -> Oid | None:
    """The index of an object within its column; None where it is of another one."""
    return oid[len(root) :] if len(oid) > len(root) and oid[: len(root)] == root else None


def mac_index(mac: Mac) -> Oid:
    """Six decimal octets."""
    return tuple(bytes.fromhex(mac))


def mac_of(index: Sequence[int]) -> Mac | None:
    """The last six numbers of an index as a Mac; None where they are no octets."""
    octets = tuple(index)[-6:]
    if len(octets) < 6 or not all(0 <= octet <= 255 for octet in octets):
        return None
    return Mac(bytes(octets).hex())


def mac_in(octets: object) -> Mac | None:
    """A Mac as octets, or as the text that some agents make of it."""
    if not isinstance(octets, bytes):
        return None
    if len(octets) == 6:
        return Mac(octets.hex())
    try:
        return Mac.parse(octets.decode("ascii"))
    except (UnicodeDecodeError, Invalid):
        return None


def text_in(value: object, longest: int = 120) -> str:
    """Octets as text that a terminal can show."""
    if not isinstance(value, bytes):
        return ""
    shown = "".join(sign if sign.isprintable() else " " for sign in value.decode("utf-8", "replace"))
    return " ".join(shown.split())[:longest]


def number_in(value: object) -> int:
    """A number; 0 where there is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def ports_in(bits: object) -> frozenset[int]:
    """A PortList (RFC 4363): the leftmost bit is port 1."""
    if not isinstance(bits, bytes):
        return frozenset()
    return frozenset(
        number * 8 + bit + 1 for number, octet in enumerate(bits) for bit in range(8) if octet & (0x80 >> bit)
    )


def has_port(bits: object, port: int) -> bool:
    """Whether one port is in a PortList, however long a switch makes it."""
    octet, bit = divmod(port - 1, 8)
    return port > 0 and isinstance(bits, bytes) and octet < len(bits) and bool(bits[octet] & (0x80 >> bit))


def parts(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """As many as one question takes, again and again."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def column(rows: Iterable[Row], root: Oid) -> dict[Oid, Value]:
    """Values of a column by their index."""
    found = ((below(root, oid), value) for oid, value in rows)
    return {index: value for index, value in found if index is not None}
