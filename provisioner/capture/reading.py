# SPDX-License-Identifier: GPL-2.0-only
"""The second look: the frames that concern one phone go each to its dissector, and what they tell becomes facts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from provisioner.capture import dhcp, dhcp6, discovery, icmp
from provisioner.capture.connection import Connection
from provisioner.capture.datagrams import Datagrams, is_dhcp
from provisioner.capture.eap import EapTalk, Port
from provisioner.capture.fence import fenced
from provisioner.capture.files import ETHERNET, Frame
from provisioner.capture.lines import Fact, fact
from provisioner.capture.links import ARP, CDP, EAPOL, IPV4, IPV6, LLDP, Link, link_of, readable
from provisioner.capture.neighbours import Neighbours
from provisioner.capture.packets import (
    ACK,
    ICMP,
    ICMPV6,
    SYN,
    TCP,
    UDP,
    Datagram,
    Packet,
    Segment,
    address,
    datagram_of,
    packet_of,
    segment_of,
)
from provisioner.capture.survey import NOBODY, Selection, Survey, flow_of, turned

PHONE: Final = "phone"
SERVER: Final = "server"
_MOST_CONNECTIONS: Final = 4096
_MOST_FACTS: Final = 20_000
_MOST_ANNOUNCEMENTS: Final = 200
"""LLDP and CDP come every 30 s and say the same; a capture of an hour and a half has so many."""
_MULTICAST: Final = frozenset({b"\x01\x80\xc2", b"\x01\x00\x0c"})
"""Groups of 802.1 and of Cisco, which no switch passes on."""


@dataclass(slots=True)
class Reading:
    """One file, one phone."""

    chosen: Selection
    survey: Survey
    facts: list[Fact] = field(default_factory=list)
    _connections: dict[bytes, Connection] = field(default_factory=dict)
    _ended: dict[str, int] = field(default_factory=dict)
    _datagrams: Datagrams = field(default_factory=Datagrams)
    _eap: EapTalk = field(default_factory=EapTalk)
    _port: Port = field(init=False)
    _addresses: set[bytes] = field(default_factory=set)
    """The phone's as this file has them; empty behind address translation, where another has its address."""
    _neighbours: Neighbours = field(init=False)
    _vlans: set[int] = field(default_factory=set)
    _announced: int = 0
    _unread: int = 0

    def __post_init__(self) -> None:
        """The phone's own addresses are watched for others that claim them."""
        self._neighbours, self._port = Neighbours(self.chosen.mac), Port(self.chosen.mac)
        translated = any(flow in self.chosen.aliases for flow in self.survey.flows)
        self._addresses = set() if translated and not self.survey.sees_mac else self.chosen.addresses

    def read(self) -> list[Fact]:
        """Every fact of the file."""
        file = self.survey.file
        for frame in file.frames():
            link = link_of(frame.link, frame.data)
            if link is not None:
                self._add(self._frame(frame, link))
        self._add(self._end())
        if len(self.facts) == _MOST_FACTS:
            why = f"more than {_MOST_FACTS} facts; of a shorter capture, or with --mac, all are told"
            self.facts.append(fact("broken", self.facts[-1].at, file.name, why=why))
        return self.facts

    def _add(self, facts: Iterable[Fact]) -> None:
        for one in facts:
            if len(self.facts) < _MOST_FACTS:
                self.facts.append(one)

    # --- which frame is whose

    def _frame(self, frame: Frame, link: Link) -> Iterator[Fact]:
        mine = link.src == self.chosen.mac
        if mine:
            yield from self._first(frame, link)
        if link.kind in _BESIDE_IP:
            yield from _BESIDE_IP[link.kind](self, frame, link)
        elif link.kind in (IPV4, IPV6):
            packet = packet_of(frame, link)
            if packet is not None:
                yield from self._packet(packet, mine=mine)
            elif mine or link.dst == self.chosen.mac:
                self._unread += 1

    def _first(self, frame: Frame, link: Link) -> Iterator[Fact]:
        if not self._vlans:
            yield fact("frame", frame.at, frame.ref, vlan=link.vlan)
        if link.vlan not in self._vlans and link.kind in (IPV4, IPV6, ARP) and len(self._vlans) < 16:
            self._vlans.add(link.vlan)
            yield fact("vlan_used", frame.at, frame.ref, vlan=link.vlan, by="frames")

    def _packet(self, packet: Packet, *, mine: bool) -> Iterator[Fact]:
        chosen, link = self.chosen, packet.link
        by_address = not self.survey.sees_mac or packet.frame.link != ETHERNET  # else another Mac is another device
        by_phone = mine or (by_address and packet.src in self._addresses)
        if mine and any(packet.src):
            yield from self._neighbours.used(packet.src, packet.frame)
        ours = by_phone or link.dst == chosen.mac or (by_address and packet.dst in self._addresses)
        if packet.protocol == TCP:
            if ours or (by_address and flow_of(packet) in self.survey.flows):
                yield from self._segment(packet, by_phone=by_phone, ours=ours)
        elif packet.protocol == UDP:
            yield from self._datagram(packet, by_phone=by_phone, ours=ours)
        elif packet.protocol in (ICMP, ICMPV6):
            yield from fenced("ICMP", lambda: self._control(packet), packet.frame)

    # --- beside IP

    def _lldp(self, frame: Frame, link: Link) -> Iterator[Fact]:
        return self._announcement(frame, link, "LLDP", discovery.lldp)

    def _cdp(self, frame: Frame, link: Link) -> Iterator[Fact]:
        return self._announcement(frame, link, "CDP", discovery.cdp)

    def _announcement(self, frame: Frame, link: Link, what: str, read: discovery.Reader) -> Iterator[Fact]:
        sender = discovery.PHONE if link.src == self.chosen.mac else discovery.SWITCH
        if self._announced < _MOST_ANNOUNCEMENTS and (sender == discovery.PHONE or not self._elsewhere(link)):
            self._announced += 1
            yield from fenced(what, lambda: read(frame.data, link, frame, sender), frame)

    def _elsewhere(self, link: Link) -> bool:
        """Seen from behind a router the announcements are of another switch than the phone's."""
        return bool(not self.survey.sees_mac and self.survey.flows) or link.dst[:3] not in _MULTICAST

    def _eapol(self, frame: Frame, link: Link) -> Iterator[Fact]:
        if self._port.concerns(frame.data[link.start :], link):
            by = PHONE if link.src == self.chosen.mac else SERVER
            yield from fenced("802.1X", lambda: self._eap.take(frame.data[link.start :], frame, by), frame)

    def _arp(self, frame: Frame, link: Link) -> Iterator[Fact]:
        yield from fenced("ARP", lambda: self._neighbours.arp(frame.data[link.start :], frame), frame)

    # --- over IP

    def _datagram(self, packet: Packet, *, by_phone: bool, ours: bool) -> Iterator[Fact]:
        one = datagram_of(packet)
        if one is None:
            return
        by = PHONE if by_phone else SERVER
        if is_dhcp(one):
            message = dhcp.read(one.data)
            if message is not None and message.mac == self.chosen.mac:
                vlan = packet.link.vlan
                yield from fenced("DHCP", lambda: dhcp.facts_of(message, packet.frame, vlan), packet.frame)
        elif ours or _leases_to(self.chosen.mac, one):
            yield from fenced("UDP", lambda: self._datagrams.take(one, by), packet.frame)

    def _control(self, packet: Packet) -> Iterator[Fact]:
        frame = packet.frame
        if packet.protocol == ICMPV6 and packet.payload[:1] in (b"\x87", b"\x88"):
            yield from self._neighbours.discovery(packet, packet.link.src)
            return
        said = icmp.read(packet)
        if said is None or not ({said.src, said.dst} & self._addresses or said.flow in self.survey.flows):
            return
        if said.code == "ttl":
            yield fact("icmp_lost", frame.at, frame.ref, code="ttl", by=said.by, to=said.to)
            return
        yield fact(
            "unreachable",
            frame.at,
            frame.ref,
            connection=self._name_of(self._begun(said.flow)) if said.protocol == TCP else None,
            by=said.by,
            code=said.code,
            mtu=said.mtu or None,
            to=said.to,
            port=int.from_bytes(said.ports[2:4], "big"),
        )

    def _begun(self, flow: bytes) -> bytes:
        """As the phone has begun it, where it was the server that was told."""
        back = turned(flow)
        return back if flow not in self._connections and back in self._connections else flow

    def _segment(self, packet: Packet, *, by_phone: bool, ours: bool) -> Iterator[Fact]:
        segment = segment_of(packet)
        if segment is None:
            return
        flow = flow_of(packet)
        known, back = self._connections.get(flow), self._connections.get(turned(flow))
        if known is None and back is None:
            from_phone = by_phone if ours else _from_client(segment)
            if segment.flags & SYN and not segment.flags & ACK and not from_phone:
                return  # somebody connects to the phone; that is no part of its boot
            known = self._opened(flow if from_phone else turned(flow), packet, segment, from_phone=from_phone)
            by = PHONE if from_phone else SERVER
        else:
            by = PHONE if known is not None else SERVER
        connection = known or back
        if connection is not None and connection.reopened_by(segment) and by == PHONE:
            yield from self._over(flow)
            connection = self._opened(flow, packet, segment, from_phone=True)
        if connection is not None:
            yield from connection.take(by, segment)

    def _opened(self, flow: bytes, packet: Packet, segment: Segment, *, from_phone: bool) -> Connection:
        if len(self._connections) >= _MOST_CONNECTIONS:
            self._add(self._over(next(iter(self._connections))))
        name = self._name_of(flow)
        count = self._ended.get(name, 0)
        server, port = (packet.target, segment.dport) if from_phone else (packet.source, segment.sport)
        made = Connection(f"{name}#{count + 1}" if count else name, server, port)
        self._connections[flow] = made
        return made

    def _over(self, flow: bytes) -> Iterator[Fact]:
        connection = self._connections.pop(flow)
        name = connection.name.partition("#")[0]
        self._ended[name] = self._ended.get(name, 0) + 1
        yield from connection.finish(self.survey.last + self.survey.file.shift, trusted=not self.survey.file.dropped)

    def _name_of(self, flow: bytes) -> str:
        """By the phone's own address, on whichever side of a router it is seen; always from the phone to the server."""
        flow = self.chosen.aliases.get(flow, flow)
        size = (len(flow) - 4) // 2
        ends = [f"[{address(one)}]" if size == 16 else address(one) for one in (flow[:size], flow[size : 2 * size])]
        ports = int.from_bytes(flow[-4:-2], "big"), int.from_bytes(flow[-2:], "big")
        return f"{ends[0]}:{ports[0]}>{ends[1]}:{ports[1]}"

    # --- at the end of the file

    def _end(self) -> Iterator[Fact]:
        survey, file = self.survey, self.survey.file
        if file.dropped:
            yield fact("dropped", survey.last + file.shift, file.name, frames=file.dropped)
        for flow in list(self._connections):
            yield from self._over(flow)
        yield from self._datagrams.finish()
        yield from file.broken
        if self._unread:
            why = f"{self._unread} of the phone's packets are fragments or damaged, and were not read"
            yield fact("broken", survey.last + file.shift, file.name, why=why)
        for link in sorted(one for one in survey.links if not readable(one)):
            yield fact("broken", survey.first, file.name, why=f"frames of link type {link} are not read")
        if survey.others and not self._is_anywhere():
            yield fact("frame", survey.first, file.name, silent=True)

    def _is_anywhere(self) -> bool:
        """Whether another file has seen it, or was damaged; nor does silence say anything of a mere address."""
        surveys = self.chosen.surveys
        heard = any(one.sees_mac or one.flows or one.file.broken for one in surveys)
        return heard or bool(self._connections or self._ended) or self.chosen.mac == NOBODY


_BESIDE_IP: Final = {ARP: Reading._arp, LLDP: Reading._lldp, CDP: Reading._cdp, EAPOL: Reading._eapol}


def _leases_to(mac: bytes, one: Datagram) -> bool:
    """DHCPv6 by a relay, in which the phone's Mac stands in its identifier alone."""
    return bool(dhcp6.PORTS & {one.sport, one.dport}) and dhcp6.hardware(one.data) == mac


def _from_client(segment: Segment) -> bool:
    """Of a connection whose beginning is not in the file: servers have the lower port."""
    if segment.flags & SYN:
        return not segment.flags & ACK
    return segment.sport > segment.dport


def joined(readings: list[Reading]) -> list[Fact]:
    """Every file's facts in the order of time; what both sides of a router saw alike stands once."""
    told: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
    found: list[Fact] = []
    for reading in sorted(readings, key=lambda one: not one.survey.sees_mac):
        for one in reading.facts:
            mark = (one.kind, tuple(sorted(one.values.items())))
            if "connection" in one.values and mark in told and not reading.survey.sees_mac:
                continue
            told.add(mark)
            found.append(_placed(one, reading, readings) if one.kind == "syn" else one)
    return sorted(found, key=lambda one: one.at)


def _placed(syn: Fact, reading: Reading, readings: list[Reading]) -> Fact:
    """A SYN of the phone's side, and whether it has arrived at the server's."""
    others = [one for one in readings if not one.survey.sees_mac]
    if not reading.survey.sees_mac or not others:
        return syn
    connection = syn.values["connection"]
    there = [one for other in others for one in other.facts if one.values.get("connection") == connection]
    if any(one.kind == "syn_ack" for one in there):
        answered = any(one.kind == "syn_ack" and one.values["connection"] == connection for one in reading.facts)
        return replace_values(syn, at_server="yes" if answered else "answered")
    if there:
        return replace_values(syn, at_server="yes")
    watched = any(_covers(one.survey, syn.at) and _knows(one.survey, syn.values["to"]) for one in others)
    return replace_values(syn, at_server="no") if watched else syn


def _covers(survey: Survey, at: float) -> bool:
    """It was running then, and has lost nothing: only so its silence says something."""
    return survey.first <= at - survey.file.shift <= survey.last and not survey.file.dropped


def replace_values(one: Fact, **values: str) -> Fact:
    """The same fact with more values."""
    return one._replace(values={**one.values, **values})


def _knows(survey: Survey, server: str) -> bool:
    """Whether other connections to that server are in the file: else it was captured somewhere else."""
    return any(address(flow[(len(flow) - 4) // 2 : -4]) == server for flow, _ in survey.beginnings.values())
