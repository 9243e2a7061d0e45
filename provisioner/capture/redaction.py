# SPDX-License-Identifier: GPL-2.0-only
"""Secrets out of frames that leave this machine: above the link only what a rule here names and reads is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from provisioner.capture import clearing, dhcp, dhcp6, names, sip
from provisioner.capture.blanking import crossed, message, words
from provisioner.capture.files import Frame
from provisioner.capture.http import METHODS
from provisioner.capture.links import ARP, CDP, EAPOL, IPV4, IPV6, LLDP, Link, link_of
from provisioner.capture.packets import (
    ICMP,
    ICMPV6,
    SYN,
    TCP,
    UDP,
    Datagram,
    Packet,
    Segment,
    datagram_of,
    is_part,
    packet_of,
    segment_of,
)
from provisioner.capture.survey import flow_of, turned

_ARP_SIZE: Final = 28
_RTP: Final = 12
_NTP, _NTP_SIZE, _SYSLOG, _TFTP = 123, 48, 514, 69
_TFTP_DATA, _TFTP_ACK, _TFTP_ERROR, _TFTP_OPTIONS = 3, 4, 5, 6
_MOST_FLOWS: Final = 4096


@dataclass(slots=True)
class Redactor:
    """Remembers which directions of TCP are encrypted, who asked for files by TFTP, and whose EAP is TLS."""

    given: Callable[[Packet, Segment], bytes | None] | None = None
    """Where secrets go with the frames: what is to stand in a segment of TLS. Of no other TLS anything is kept then."""
    _sealed: dict[bytes, bool] = field(default_factory=dict)
    _transfers: set[tuple[bytes, int]] = field(default_factory=set)
    _eap: set[bytes] = field(default_factory=set)

    def clean(self, frame: Frame) -> bytes:
        """The frame's bytes, as many as before; what stands behind the packet is padding and becomes zeros."""
        data, link = frame.data, link_of(frame.link, frame.data)
        if link is None:
            return crossed(data)
        start, kept = self._above(frame, link)
        return (data[:start] + kept).ljust(len(data), b"\0")[: len(data)]

    def _above(self, frame: Frame, link: Link) -> tuple[int, bytes]:
        """From where on the frame is made anew, and with what."""
        data = frame.data[link.start :]
        if link.kind in (IPV4, IPV6):
            return self._internet(frame, link)
        if link.kind == ARP:
            kept = data[:_ARP_SIZE] if data[4:6] == b"\x06\x04" else crossed(data)
        elif link.kind in (LLDP, CDP):
            kept = words(data)
        elif link.kind == EAPOL:
            kept = clearing.eapol(data, link.src, self._eap)
        else:
            kept = crossed(data)
        return link.start, kept

    def _internet(self, frame: Frame, link: Link) -> tuple[int, bytes]:
        packet = packet_of(frame, link)
        if packet is None:
            start = clearing.payload_at(frame.data, link)
            return start, crossed(frame.data[start:])
        if packet.protocol == TCP and (segment := segment_of(packet)) is not None:
            start = packet.start + (frame.data[packet.start + 12] >> 4) * 4
            return start, crossed(segment.data) if is_part(packet) else self._tcp(packet, segment)
        if packet.protocol == UDP and (datagram := datagram_of(packet)) is not None:
            return packet.start + 8, crossed(datagram.data) if is_part(packet) else self._udp(datagram)
        if packet.protocol in (ICMP, ICMPV6) and not is_part(packet):
            return packet.start, clearing.control(packet)
        return packet.start, crossed(packet.payload)

    def _tcp(self, packet: Packet, segment: Segment) -> bytes:
        """Of what is in clear only heads of HTTP and SIP; TLS, where that direction has begun with it."""
        data, flow = segment.data, flow_of(packet)
        if self.given is not None and (kept := self.given(packet, segment)) is not None:
            return kept
        if segment.flags & SYN:
            self._sealed.pop(flow, None)
            self._sealed.pop(turned(flow), None)
        if data[:4] in METHODS or data.startswith(b"HTTP/1.") or sip.is_sip(data):
            self._remember(flow, sealed=False)
            return message(data)
        if clearing.begins_tls(data) and flow not in self._sealed:
            self._remember(flow, sealed=True)
        return clearing.records(data) if self._sealed.get(flow) and self.given is None else crossed(data)

    def _remember(self, flow: bytes, *, sealed: bool) -> None:
        if len(self._sealed) < _MOST_FLOWS or flow in self._sealed:
            self._sealed[flow] = sealed

    def _udp(self, one: Datagram) -> bytes:
        data, ports, whole = one.data, {one.sport, one.dport}, one.is_whole
        if ports & dhcp.PORTS:
            return clearing.dhcp4(data)
        if ports & dhcp6.PORTS:
            return clearing.dhcp6(data)
        if names.PORT in ports:
            return clearing.dns(data)
        if sip.is_sip(data):
            return message(data, keep_body=True, whole=whole)
        if _SYSLOG in ports:
            return words(data, whole=whole)
        if _NTP in ports:
            return data[:_NTP_SIZE] + crossed(data[_NTP_SIZE:])
        return self._moving(one, whole=whole)

    def _moving(self, one: Datagram, *, whole: bool) -> bytes:
        """TFTP and RTP, which move from port to port."""
        data, kind = one.data, int.from_bytes(one.data[:2], "big")
        if one.dport == _TFTP:
            if len(self._transfers) < _MOST_FLOWS:
                self._transfers.add((one.packet.src, one.sport))
            return words(data, whole=whole) if kind in (1, 2) else crossed(data)
        if {(one.packet.src, one.sport), (one.packet.dst, one.dport)} & self._transfers:
            if kind in (_TFTP_DATA, _TFTP_ACK):
                return data[:4] + crossed(data[4:])
            return words(data, whole=whole) if kind in (_TFTP_ERROR, _TFTP_OPTIONS) else crossed(data)
        if data and data[0] >> 6 == 2 and len(data) >= _RTP:  # RTP: the sound of somebody's voice, or keys
            return data[:_RTP] + bytes(len(data) - _RTP)
        return crossed(data)
