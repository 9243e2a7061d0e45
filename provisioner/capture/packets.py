# SPDX-License-Identifier: GPL-2.0-only
"""IP, UDP and TCP headers by struct: what is needed to sort a packet, nothing that needs an object a layer."""

from __future__ import annotations

import ipaddress
import struct
from typing import Final, NamedTuple

from provisioner.capture.files import Frame
from provisioner.capture.links import IPV4, IPV6, Link

ICMP: Final = 1
TCP: Final = 6
UDP: Final = 17
ICMPV6: Final = 58
FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
ACK: Final = 0x10
_EXTENSIONS: Final = frozenset({0, 43, 60, 135})
"""IPv6 extension headers with a length in eights: hop-by-hop, routing, destination, mobility."""
_FRAGMENT: Final = 44
_UDP_HEAD: Final = struct.Struct("!HHHH")
_TCP_HEAD: Final = struct.Struct("!HHIIBBH")


class Packet(NamedTuple):
    """An IP packet within its frame."""

    frame: Frame
    link: Link
    src: bytes
    dst: bytes
    protocol: int
    ttl: int
    start: int
    end: int
    ident: int
    """IPv4's identification; 0 where there is none."""

    @property
    def payload(self) -> bytes:
        """Above IP."""
        return self.frame.data[self.start : self.end]

    @property
    def source(self) -> str:
        """The sender's address as text."""
        return address(self.src)

    @property
    def target(self) -> str:
        """The receiver's address as text."""
        return address(self.dst)


class Datagram(NamedTuple):
    """UDP."""

    packet: Packet
    sport: int
    dport: int
    data: bytes

    @property
    def is_whole(self) -> bool:
        """Or cut off by the capture, or by IP."""
        said = self.packet.frame.data[self.packet.start + 4 : self.packet.start + 6]
        return len(self.data) + 8 >= int.from_bytes(said, "big")


class Segment(NamedTuple):
    """TCP."""

    packet: Packet
    sport: int
    dport: int
    seq: int
    ack: int
    flags: int
    window: int
    data: bytes
    length: int
    """Of the data on the wire; more than ``data`` where the capture has cut the frame."""
    sacks: bool


def address(said: bytes) -> str:
    """An address as text."""
    return str(ipaddress.ip_address(said)) if len(said) in (4, 16) else ""


def packet_of(frame: Frame, link: Link) -> Packet | None:
    """The first fragment or the whole packet; None for what is no IP or no beginning."""
    if link.kind == IPV4:
        return _ipv4(frame, link, link.start)
    return _ipv6(frame, link, link.start) if link.kind == IPV6 else None


def _ipv4(frame: Frame, link: Link, at: int) -> Packet | None:
    data = frame.data
    if len(data) < at + 20 or data[at] >> 4 != 4:
        return None
    head = (data[at] & 0x0F) * 4
    total, ident, fragment = struct.unpack_from("!HHH", data, at + 2)
    if head < 20 or fragment & 0x1FFF:
        return None
    end = at + total if total else len(data)  # an offloaded segment says 0
    return Packet(
        frame, link, data[at + 12 : at + 16], data[at + 16 : at + 20], data[at + 9], data[at + 8], at + head, end, ident
    )


def _ipv6(frame: Frame, link: Link, at: int) -> Packet | None:
    data = frame.data
    if len(data) < at + 40 or data[at] >> 4 != 6:
        return None
    length, protocol, hops = struct.unpack_from("!HBB", data, at + 4)
    src, dst, start = data[at + 8 : at + 24], data[at + 24 : at + 40], at + 40
    end = start + length if length else len(data)
    for _ in range(8):
        if protocol in _EXTENSIONS and start + 2 <= len(data):
            protocol, start = data[start], start + (data[start + 1] + 1) * 8
        elif protocol == _FRAGMENT and start + 8 <= len(data):
            if struct.unpack_from("!H", data, start + 2)[0] & 0xFFF8:
                return None
            protocol, start = data[start], start + 8
        else:
            break
    return Packet(frame, link, src, dst, protocol, hops, start, end, 0)


def is_part(packet: Packet) -> bool:
    """Whether more fragments follow this beginning."""
    data, at = packet.frame.data, packet.link.start
    if packet.link.kind == IPV4:
        return bool(data[at + 6] & 0x20)
    protocol, at = data[at + 6], at + 40
    while protocol in _EXTENSIONS and at < packet.start:
        protocol, at = data[at], at + (data[at + 1] + 1) * 8
    return protocol == _FRAGMENT and at < packet.start and bool(data[at + 3] & 1)


def datagram_of(packet: Packet) -> Datagram | None:
    """UDP; None when the header is not all there."""
    data, at = packet.frame.data, packet.start
    if len(data) < at + 8:
        return None
    sport, dport, length, _ = _UDP_HEAD.unpack_from(data, at)
    return Datagram(packet, sport, dport, data[at + 8 : min(packet.end, at + max(length, 8))])


def segment_of(packet: Packet) -> Segment | None:
    """TCP; None when the header is not all there."""
    data, at = packet.frame.data, packet.start
    if len(data) < at + 20:
        return None
    sport, dport, seq, ack, size, flags, window = _TCP_HEAD.unpack_from(data, at)
    head = (size >> 4) * 4
    if head < 20:
        return None
    body, wire = data[at + head : packet.end], packet.end - at - head
    return Segment(packet, sport, dport, seq, ack, flags, window, body, max(wire, 0), _sacks(data[at + 20 : at + head]))


def _sacks(options: bytes) -> bool:
    """Whether the segment says that something behind a hole has arrived: SACK, RFC 2018."""
    at = 0
    while at < len(options) and options[at]:
        if options[at] == 1:
            at += 1
            continue
        if options[at] == 5:
            return True
        if at + 1 >= len(options) or options[at + 1] < 2:
            return False
        at += options[at + 1]
    return False
