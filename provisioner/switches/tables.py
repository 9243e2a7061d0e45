"""Rows of LLDP, LLDP-MED and CDP become neighbours and voice VLANs; what is odd or missing is left out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from provisioner.model import Mac
from provisioner.switches import oids
from provisioner.switches.oids import Oid, Value, mac_in, number_in, text_in
from provisioner.switches.values import Neighbour, VoiceVlan

_CAPABILITIES: Final = ("other", "repeater", "bridge", "access point", "router", "telephone", "cable modem", "station")
"""LldpSystemCapabilitiesMap, IEEE 802.1AB-2005 section 12.2: the leftmost bit first."""
_CDP_CAPABILITIES: Final = {
    0x01: "router", 0x02: "bridge", 0x04: "bridge", 0x08: "bridge", 0x10: "station", 0x40: "repeater",
    0x80: "telephone",
}  # fmt: skip
"""cdpCacheCapabilities, CISCO-CDP-MIB: a VoIP phone has 0x80."""
_BY_MAC: Final = 4
"""LldpChassisIdSubtype macAddress."""
_PORT_BY_MAC: Final = 3
"""LldpPortIdSubtype macAddress."""
_REMOTE: Final = (
    oids.REM_CHASSIS_SUBTYPE, oids.REM_CHASSIS, oids.REM_PORT_SUBTYPE, oids.REM_PORT, oids.REM_NAME, oids.REM_DESC,
    oids.REM_CAPABILITIES,
)  # fmt: skip
INVENTORY: Final = ("hardware", "firmware", "software", "serial", "maker", "model")
VLANS: Final = range(1, 4095)
"""IEEE 802.1Q: 0 is priority alone, 4095 is reserved."""


def capabilities_in(value: object) -> frozenset[str]:
    """What a neighbour says it is, by LLDP."""
    return frozenset(_CAPABILITIES[bit - 1] for bit in oids.ports_in(value) if bit <= len(_CAPABILITIES))


def cdp_capabilities(value: object) -> frozenset[str]:
    """The same by CDP."""
    bits = int.from_bytes(value[:8], "big") if isinstance(value, bytes) else 0
    return frozenset(word for bit, word in _CDP_CAPABILITIES.items() if bits & bit)


def remote_objects(index: Oid) -> list[Oid]:
    """What is asked of one neighbour."""
    return [(*oids.REM, number, *index) for number in _REMOTE]


def remote(index: Oid, told: Mapping[Oid, Value]) -> Neighbour:
    """A neighbour by LLDP."""
    cells = {number: told.get((*oids.REM, number, *index)) for number in _REMOTE}
    return Neighbour(
        text_in(cells[oids.REM_NAME]),
        text_in(cells[oids.REM_DESC]),
        _remote_mac(cells),
        capabilities_in(cells[oids.REM_CAPABILITIES]),
        oid=(*oids.REM, oids.REM_PORT, *index),
    )


def _remote_mac(cells: Mapping[int, Value | None]) -> Mac | None:
    """Phones have an address as chassis and their Mac as port (ANSI/TIA-1057 section 10.2.3); others the reverse."""
    if cells[oids.REM_PORT_SUBTYPE] == _PORT_BY_MAC and (found := mac_in(cells[oids.REM_PORT])):
        return found
    return mac_in(cells[oids.REM_CHASSIS]) if cells[oids.REM_CHASSIS_SUBTYPE] == _BY_MAC else None


def remote_macs(ports: Mapping[Oid, Value], chassis: Mapping[Oid, Value]) -> Iterator[tuple[Oid, Mac]]:
    """Every neighbour whose Mac can be read, by its index."""
    for index in sorted({*ports, *chassis}):
        for value in (ports.get(index), chassis.get(index)):
            mac = mac_in(value)
            if mac is not None and len(index) == 3:
                yield index, mac


def local_ports(names: Iterable[str], ids: Mapping[Oid, Value], descriptions: Mapping[Oid, Value]) -> list[int]:
    """LLDP's own numbers of a port with one of these names: they are not always ifIndex."""
    wanted = {one.lower() for one in names if one}
    found = {index[0] for index, value in ids.items() if index and text_in(value).lower() in wanted}
    if not found:
        found = {index[0] for index, value in descriptions.items() if index and text_in(value).lower() in wanted}
    return sorted(found)


def med_objects(table: Oid, index: Oid) -> list[Oid]:
    """A media policy for voice."""
    numbers = (oids.MED_VLAN, oids.MED_PRIORITY, oids.MED_DSCP, oids.MED_TAGGED)
    return [(*table, number, *index, oids.MED_VOICE) for number in numbers]


def med_policy(table: Oid, index: Oid, told: Mapping[Oid, Value]) -> VoiceVlan | None:
    """What it says; VLAN 0 is none (ANSI/TIA-1057 section 10.2.3.2)."""
    vlan, priority, dscp, tagged = (told.get(one) for one in med_objects(table, index))
    if number_in(vlan) not in VLANS:
        return None
    where = med_objects(table, index)[0]
    is_tagged = None if tagged is None else tagged == 1  # TruthValue
    return VoiceVlan(number_in(vlan), is_tagged, number_in(priority), number_in(dscp), "lldp", where)


def inventory_objects(index: Oid) -> list[Oid]:
    """What a phone says it is."""
    return [(*oids.MED_INVENTORY, number, *index) for number in range(1, len(INVENTORY) + 1)]


def inventory(index: Oid, told: Mapping[Oid, Value]) -> dict[str, str]:
    """By its words; what is not said is left out."""
    values = (text_in(told.get(one)) for one in inventory_objects(index))
    return {word: value for word, value in zip(INVENTORY, values, strict=True) if value}


def cdp_neighbour(index: Oid, told: Mapping[Oid, Value]) -> Neighbour:
    """A neighbour by CDP; phones say SEP and their Mac."""
    name = text_in(told.get((*oids.CDP, oids.CDP_DEVICE, *index)))
    platform = text_in(told.get((*oids.CDP, oids.CDP_PLATFORM, *index)))
    capabilities = cdp_capabilities(told.get((*oids.CDP, oids.CDP_CAPABILITIES, *index)))
    mac = mac_in(name[-12:].encode()) if len(name) >= 12 else None
    return Neighbour(name, platform, mac, capabilities, "cdp", (*oids.CDP, oids.CDP_DEVICE, *index))


def cisco_voice(if_index: int, told: Mapping[Oid, Value]) -> VoiceVlan | None:
    """What a Cisco switch tells phones by CDP; 4096 is none."""
    where = (*oids.CISCO_VOICE_VLAN, if_index)
    vlan = number_in(told.get(where))
    return VoiceVlan(vlan, True, by="cdp", oid=where) if vlan in VLANS else None
