"""What is known of a port: the frozen values that a look at a switch comes to, and their words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from provisioner.model import Mac
from provisioner.switches.oids import Oid

MANY: int = 3
"""Macs on a port with a phone: itself, a PC behind it, and one of them in a second VLAN. More is no desk."""

DETECTION: Mapping[int, str] = {1: "off", 2: "searching", 3: "delivering", 4: "fault", 5: "test", 6: "other fault"}
"""pethPsePortDetectionStatus, RFC 3621 section 4."""
DELIVERING = 3
_CISCO_ON = 3
"""cpeExtPsePortEnable: auto, static and limit are on."""


@dataclass(frozen=True, slots=True)
class VoiceVlan:
    """A voice VLAN that somebody speaks of."""

    vlan: int
    tagged: bool | None = None
    priority: int = 0
    dscp: int = 0
    by: str = "lldp"
    """lldp, cdp or switch."""
    oid: Oid = ()


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Who says that it is at the other end of a port."""

    name: str = ""
    description: str = ""
    mac: Mac | None = None
    capabilities: frozenset[str] = frozenset()
    by: str = "lldp"
    oid: Oid = ()

    @property
    def forwards(self) -> bool:
        """Switches, access points and routers do, and a phone with a PC behind it says so too."""
        return bool(self.capabilities & {"bridge", "access point", "router", "repeater"}) and not self.is_phone

    @property
    def is_phone(self) -> bool:
        """As far as it says itself."""
        return "telephone" in self.capabilities

    @property
    def words(self) -> str:
        """For people."""
        named = self.name or self.description or (self.mac.colons if self.mac else "nameless")
        return f"{named} ({', '.join(sorted(self.capabilities))})" if self.capabilities else named


@dataclass(frozen=True, slots=True)
class Poe:
    """The power of a port."""

    index: Oid
    """group.port"""
    admin: int
    """1: may deliver; Cisco's own object where ``cisco`` is so."""
    detection: int
    mapped: str
    """How it is known that this is the port's: hp, cisco, or confirmed (an administrator has said so)."""
    cisco: bool = False

    @property
    def is_on(self) -> bool:
        """Whether its switch was read, and says a word that is known to be on: what it is to say again later."""
        return 1 <= self.admin <= (_CISCO_ON if self.cisco else 1)

    @property
    def words(self) -> str:
        """For people, and for facts."""
        return DETECTION.get(self.detection, "unknown")


@dataclass(frozen=True, slots=True)
class Port:
    """Where a device is plugged in, and what the switch says of it."""

    switch: str
    if_index: int
    name: str
    alias: str = ""
    link: str = ""
    """up or down; empty: not told."""
    kind: int = 0
    """ifType"""
    bridge_port: int = 0
    vlans: tuple[int, ...] = ()
    """In which the switch has learned its Mac."""
    macs: int | None = None
    """On this port; None: more than were counted."""
    others: tuple[Mac, ...] = ()
    native: int = 0
    """The VLAN of frames without a tag."""
    tagged: frozenset[int] = frozenset()
    untagged: frozenset[int] = frozenset()
    offered: tuple[VoiceVlan, ...] = ()
    used: VoiceVlan | None = None
    neighbour: Neighbour | None = None
    inventory: Mapping[str, str] = field(default_factory=dict)
    poe: Poe | None = None
    seen: Oid = ()
    """The object that says where it is."""

    @property
    def uplink(self) -> str:
        """Why this is no port of a desk; empty where it may be one."""
        if self.kind in (54, 161):  # propMultiplexor, ieee8023adLag (IANAifType)
            return "it is a bundle of links"
        if self.neighbour is not None and self.neighbour.forwards:
            return f"{self.neighbour.words} is at its other end"
        if self.macs is None or self.macs > MANY:
            count = "more Macs than were counted" if self.macs is None else f"{self.macs} Macs"
            return f"it has {count}, a desk has {MANY} at most"
        return ""


def likeliest(found: list[Port]) -> Port | None:
    """Of all ports at which a Mac is seen, the one it is plugged into: each switch on the way sees it too."""
    return min(found, key=_distance) if found else None


def _distance(port: Port) -> tuple[bool, bool, int, str, int]:
    near = port.neighbour is not None and port.neighbour.is_phone
    count = 1_000_000 if port.macs is None else port.macs
    return bool(port.uplink), not near, count, port.switch, port.if_index
