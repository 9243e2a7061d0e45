# SPDX-License-Identifier: GPL-2.0-only
"""The first look at a file, at raw bytes: the phone's addresses and connections on either side of a router."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from provisioner.capture import dhcp
from provisioner.capture.datagrams import is_dhcp
from provisioner.capture.files import ETHERNET, CaptureFile, Frame
from provisioner.capture.links import ARP, IPV4, IPV6, Link, link_of
from provisioner.capture.packets import SYN, TCP, UDP, Packet, datagram_of, packet_of, segment_of

_MOST: Final = 200_000
"""Beginnings of connections of one file that are kept to be compared with those of another: 40 MB at most."""
_MOST_FLOWS: Final = 20_000
_IPV4_TYPE: Final = b"\x08\x00"
_NOBODY: Final = (bytes(4), bytes(16))
_CLIENT_HELLO: Final = 1
NOBODY: Final = bytes.fromhex("010000000000")
"""A Mac that nobody has: that of a phone of which only the address is known."""


@dataclass(slots=True)
class Survey:
    """What one file has of one phone."""

    file: CaptureFile
    mac: bytes
    addresses: set[bytes] = field(default_factory=set)
    flows: set[bytes] = field(default_factory=set)
    """Connections in which its Mac stands as text: in a certificate, a path, a User-Agent. Both directions of each."""
    beginnings: dict[bytes, tuple[bytes, float]] = field(default_factory=dict)
    """SYN or ClientHello -> the connection, from its client, and when."""
    sees_mac: bool = False
    seen: int = 0
    others: int = 0
    first: float = 0.0
    last: float = 0.0
    links: set[int] = field(default_factory=set)
    _needles: tuple[bytes, ...] = ()

    def look(self) -> Survey:
        """Read the whole file once."""
        self._needles = () if self.mac == NOBODY else tuple(spellings(self.mac))
        for frame in self.file.frames():
            self.first = self.first or frame.at
            self.last = max(self.last, frame.at)
            self.links.add(frame.link)
            self.seen += 1
            self._look_at(frame)
        return self

    def _look_at(self, frame: Frame) -> None:
        data = frame.data
        mine = frame.link == ETHERNET and data[6:12] == self.mac
        if mine:
            self.sees_mac = True
        else:
            self.others += 1
        if frame.link == ETHERNET and data[12:14] == _IPV4_TYPE and data[14:15] == b"\x45":
            self._plain(frame, mine)
            return
        link = link_of(frame.link, data)
        if link is None:
            return
        mine = mine or link.src == self.mac
        self.sees_mac = self.sees_mac or mine
        if link.kind == ARP and mine:
            self._add(data[link.start + 14 : link.start + 18])
        elif link.kind in (IPV4, IPV6):
            self._whole(frame, link, mine)

    def _plain(self, frame: Frame, mine: bool) -> None:
        """Almost every frame: Ethernet, IPv4 without options; no object is made of it."""
        data = frame.data
        if mine:
            self._add(data[26:30])
        protocol = data[23:24]
        if protocol == b"\x06" and len(data) >= 54:
            self._tcp(frame, data[26:38], data[47], data[38:42], 34 + (data[46] >> 4) * 4)
        elif protocol == b"\x11" and (data[34:36] in _DHCP or data[36:38] in _DHCP):
            self._dhcp(data[42:])

    def _whole(self, frame: Frame, link: Link, mine: bool) -> None:
        packet = packet_of(frame, link)
        if packet is None:
            return
        if mine:
            self._add(packet.src)
        if packet.protocol == TCP and (segment := segment_of(packet)) is not None:
            start = packet.start + (frame.data[packet.start + 12] >> 4) * 4
            self._tcp(frame, flow_of(packet), segment.flags, struct.pack("!I", segment.seq), start)
        elif packet.protocol == UDP and (datagram := datagram_of(packet)) is not None and is_dhcp(datagram):
            self._dhcp(datagram.data)

    def _tcp(self, frame: Frame, flow: bytes, flags: int, seq: bytes, start: int) -> None:
        data = frame.data
        if flags & 0x12 == SYN:
            self._begin(b"S" + seq + flow[-2:], flow, frame.at)
        elif len(data) > start:
            if data[start] == 0x16 and data[start + 5 : start + 6] == bytes([_CLIENT_HELLO]):
                self._begin(data[start + 11 : start + 43], flow, frame.at)
            if any(one in data for one in self._needles) and len(self.flows) < _MOST_FLOWS:
                self.flows |= {flow, turned(flow)}

    def _begin(self, mark: bytes, flow: bytes, at: float) -> None:
        if len(self.beginnings) < _MOST:
            self.beginnings.setdefault(mark, (flow, at))

    def _dhcp(self, data: bytes) -> None:
        message = dhcp.read(data)
        if message is not None and message.mac == self.mac and message.type == "ack":
            self._add(message.yours)
            self._add(message.client)

    def _add(self, address: bytes) -> None:
        if address not in _NOBODY and len(address) in (4, 16) and len(self.addresses) < 64:
            self.addresses.add(address)


_DHCP: Final = frozenset(struct.pack("!H", one) for one in dhcp.PORTS)


def flow_of(packet: Packet) -> bytes:
    """Both addresses and ports, from the sender."""
    return packet.src + packet.dst + packet.frame.data[packet.start : packet.start + 4]


def turned(flow: bytes) -> bytes:
    """The same connection from the other end."""
    size = (len(flow) - 4) // 2
    return flow[size : 2 * size] + flow[:size] + flow[-2:] + flow[-4:-2]


def spellings(mac: bytes) -> Iterable[bytes]:
    """A Mac as certificates, paths and User-Agents have it."""
    bare, colons = mac.hex(), mac.hex(":")
    return {one.encode() for text in (bare, colons, colons.replace(":", "-")) for one in (text, text.upper())}


@dataclass(slots=True)
class Selection:
    """Which frames of which file are about the phone, and what a connection is called on its side of the router."""

    mac: bytes
    surveys: list[Survey]
    addresses: set[bytes] = field(default_factory=set)
    aliases: dict[bytes, bytes] = field(default_factory=dict)
    """Connection as the server sees it, from its client -> as the phone sees it."""

    @classmethod
    def of(cls, surveys: list[Survey], mac: bytes, addresses: Iterable[bytes] = ()) -> Selection:
        """Join the files: what begins alike on both sides is one connection, whatever its addresses became."""
        made = cls(mac, surveys, set(addresses).union(*(one.addresses for one in surveys)))
        near = [one for one in surveys if one.sees_mac]
        for far in (one for one in surveys if near and not one.sees_mac):
            made._join(near, far)
        return made

    def _join(self, near: list[Survey], far: Survey) -> None:
        size_of = {4: 12, 16: 36}
        shifts: list[float] = []
        for survey in near:
            for mark, (flow, at) in survey.beginnings.items():
                there = far.beginnings.get(mark)
                mine = any(flow.startswith(one) and len(flow) == size_of[len(one)] for one in self.addresses)
                if there is None or not (mine or flow in survey.flows):
                    continue
                shifts.append(at - there[1])
                far.flows |= {there[0], turned(there[0])}
                if there[0] != flow:
                    self.aliases[there[0]] = flow
        far.file.shift = _shift(shifts)


def _shift(shifts: list[float]) -> float:
    """What to add to the other clock; a second's difference is left alone, for the way takes time, too."""
    if not shifts:
        return 0.0
    middle = sorted(shifts)[len(shifts) // 2]
    return middle if abs(middle) > 1.0 else 0.0
