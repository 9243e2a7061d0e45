"""What switches saw of a phone, as facts: each with the object that it was read from."""

from __future__ import annotations

import time
from collections.abc import Iterator

from provisioner.diagnosis.facts import Fact, Kind, Source, Witness
from provisioner.model import Mac
from provisioner.switches.oids import Oid, dotted
from provisioner.switches.search import Found
from provisioner.switches.switches import Switches
from provisioner.switches.values import Port, VoiceVlan


async def find_facts(desk: Switches, mac: Mac) -> list[Fact]:
    """Ask the switches of the phone's site now."""
    return list(facts_of(await desk.find_port(mac), time.time()))


def facts_of(found: Found, now: float) -> Iterator[Fact]:
    """The port, the VLANs, and which switches did not answer."""
    for name, why in found.failed:
        yield Fact(Kind.BROKEN, now, Witness(Source.SWITCH, name), {"why": why})
    if found.port is None:
        return
    port = found.port
    yield Fact(Kind.PORT, now, _witness(port, port.seen), dict(_port(port)))
    for one in port.offered:
        yield Fact(Kind.VLAN_OFFERED, now, _witness(port, one.oid), dict(_vlan(one)))
    if port.used is not None:
        yield Fact(
            Kind.VLAN_USED, now, _witness(port, port.used.oid), {"vlan": str(port.used.vlan), "by": port.used.by}
        )
    for vlan in port.vlans:
        yield Fact(Kind.VLAN_USED, now, _witness(port, port.seen), {"vlan": str(vlan), "by": "fdb"})


def _witness(port: Port, oid: Oid) -> Witness:
    return Witness(Source.SWITCH, f"{port.switch} {dotted(oid)}" if oid else port.switch)


def _port(port: Port) -> Iterator[tuple[str, str]]:
    yield "switch", port.switch
    yield "port", port.name
    if port.link:
        yield "link", port.link
    if port.vlans:
        yield "vlan", ", ".join(map(str, port.vlans))
    if port.macs is not None:
        yield "macs", str(port.macs)
    if port.poe is not None:
        yield "poe", _POE.get(port.poe.detection, "fault")


_POE = {1: "off", 2: "searching", 3: "delivering"}
"""The words of facts; a test of the switch and every other fault are faults to a phone."""


def _vlan(one: VoiceVlan) -> Iterator[tuple[str, str]]:
    yield "vlan", str(one.vlan)
    yield "by", one.by
    if one.tagged is not None:
        yield "tagged", "yes" if one.tagged else "no"
