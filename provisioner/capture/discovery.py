# SPDX-License-Identifier: GPL-2.0-only
"""What switch and phone say of each other by LLDP, LLDP-MED and CDP; scapy cuts the TLVs, MED is read here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from provisioner.capture.files import Frame
from provisioner.capture.lines import ABSENT, Fact, fact, text, words_without_secrets
from provisioner.capture.links import Link
from provisioner.capture.scapy_layers import layer, layers_of

SWITCH: Final = "switch"
PHONE: Final = "phone"
OTHER: Final = "other"
Reader = Callable[[bytes, Link, Frame, str], Iterator[Fact]]
_MED: Final = 0x12BB
"""TIA's OUI: ANSI/TIA-1057."""
_POLICY, _POWER, _VOICE = 2, 4, 1
_INVENTORY: Final = {6: "firmware", 7: "software", 8: "serial", 9: "manufacturer", 10: "model"}


def lldp(data: bytes, link: Link, frame: Frame, sender: str) -> Iterator[Fact]:
    """A neighbour's announcement: offered VLANs when the switch speaks, the used one when the phone does."""
    contrib = layer("contrib.lldp")
    layer("config").conf.contribs["LLDP"].strict_mode_disable()
    told: dict[str, object] = {}
    policies: list[int] = []
    for unit in layers_of(contrib.LLDPDU(data[link.start :]))[:100]:
        kind = type(unit).__name__
        if kind == "LLDPDUGenericOrganisationSpecific" and unit.org_code == _MED:
            _med(int(unit.subtype), bytes(unit.data), told, policies)
        elif kind == "LLDPDUSystemCapabilities" and sender == SWITCH and not _switches(unit):
            sender = OTHER
        elif kind in _NAMES:
            name, part = _NAMES[kind]
            told[name] = _told(name, getattr(unit, part))
    yield from _vlans(policies, frame, sender)
    yield fact("discovery", frame.at, frame.ref, by="lldp", sender=sender, mac=link.src.hex(), **told)


_NAMES: Final = {
    "LLDPDUChassisID": ("chassis", "id"),
    "LLDPDUPortID": ("port", "id"),
    "LLDPDUSystemName": ("name", "system_name"),
    "LLDPDUSystemDescription": ("description", "description"),
    "LLDPDUPortDescription": ("port_description", "description"),
}


def _switches(unit: Any) -> bool:
    """A computer behind the phone speaks LLDP as well; it bridges nothing, and another phone is no switch either."""
    passes_on = (
        unit.mac_bridge_enabled or unit.router_enabled or unit.repeater_enabled or unit.wlan_access_point_enabled
    )
    return bool(passes_on) and not unit.telephone_enabled


def _med(subtype: int, data: bytes, told: dict[str, object], policies: list[int]) -> None:
    if subtype == _POLICY and len(data) >= 4 and data[0] == _VOICE:
        policies.append(int.from_bytes(data[1:4], "big"))
    elif subtype in _INVENTORY:
        told[_INVENTORY[subtype]] = data
    elif subtype == _POWER and len(data) >= 3:
        told["power"] = f"{int.from_bytes(data[1:3], 'big') / 10:g} W"


def _vlans(policies: list[int], frame: Frame, sender: str) -> Iterator[Fact]:
    """24 bits a policy: unknown, tagged, reserved, VLAN (12), priority (3), DSCP (6)."""
    known = [one for one in policies if not one >> 23 & 1]
    if sender == SWITCH and not known:
        yield fact("vlan_offered", frame.at, frame.ref, vlan=ABSENT, by="lldp")
    for bits in known:
        vlan = bits >> 9 & 0xFFF
        if sender == SWITCH:
            tagged = bool(bits >> 22 & 1)
            yield fact("vlan_offered", frame.at, frame.ref, vlan=vlan, tagged=tagged, by="lldp", dscp=bits & 0x3F)
        elif sender == PHONE:
            yield fact("vlan_used", frame.at, frame.ref, vlan=vlan, by="lldp")


def cdp(data: bytes, link: Link, frame: Frame, sender: str) -> Iterator[Fact]:
    """Cisco's announcement."""
    contrib = layer("contrib.cdp")
    told: dict[str, object] = {}
    for message in contrib.CDPv2_HDR(data[link.start :]).msg[:100]:
        yield from _cdp_message(message, frame, sender, told)
    yield fact("discovery", frame.at, frame.ref, by="cdp", sender=sender, mac=link.src.hex(), **told)


def _cdp_message(message: Any, frame: Frame, sender: str, told: dict[str, object]) -> Iterator[Fact]:
    kind = type(message).__name__
    if kind == "CDPMsgVoIPVLANReply" and sender == SWITCH:
        yield fact("vlan_offered", frame.at, frame.ref, vlan=message.vlan, tagged=True, by="cdp")
    elif kind in _CDP:
        name, part = _CDP[kind]
        told[name] = _told(name, getattr(message, part))


_CDP: Final = {
    "CDPMsgDeviceID": ("name", "val"),
    "CDPMsgPortID": ("port", "iface"),
    "CDPMsgPlatform": ("model", "val"),
    "CDPMsgSoftwareVersion": ("description", "val"),
    "CDPMsgNativeVLAN": ("native_vlan", "vlan"),
}


def _told(name: str, value: object) -> object:
    """A description is what somebody has typed in."""
    if name.endswith("description"):
        return words_without_secrets(text(_plain(value)))
    return _plain(value)


def _plain(value: object) -> object:
    return value if isinstance(value, (str, int)) else bytes(value) if isinstance(value, bytes) else str(value)
