# SPDX-License-Identifier: GPL-2.0-only
"""Secrets out of frames that leave this machine: what is in clear and not known as harmless is blanked."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import Final

from provisioner.capture import dhcp, names, sip
from provisioner.capture.files import Frame
from provisioner.capture.http import METHODS
from provisioner.capture.links import link_of
from provisioner.capture.packets import TCP, UDP, Datagram, Packet, Segment, datagram_of, packet_of, segment_of
from provisioner.capture.survey import flow_of, turned

_X: Final = b"x"
_HEADERS: Final = re.compile(
    rb"(?im)^((?:proxy-)?authorization:[ \t]*\S+[ \t]|(?:set-)?cookie:|x-[\w-]*(?:key|token)[\w-]*:|"
    rb"authentication-info:)(.*)$"
)
_USER_INFO: Final = re.compile(rb"(://)([^\s/@\"'<>]{1,200})(@)")
_TOKEN: Final = re.compile(rb"()([A-Za-z0-9_-]{22,})()")
_QUERY: Final = re.compile(rb"(?m)(\?)(\S{1,2000})( HTTP/1\.)")
_SAID: Final = re.compile(
    rb"(?i)((?:pass(?:word|wd)?|secret|pwd|pin|token)[\w.\"']{0,20}\s{0,3}(?:[=:>]|\bis\b)\s{0,3}[\"']?)([^\s\"'<&]{1,200})()"
)
_KEY: Final = re.compile(rb"(?i)(signal\s{0,3}=\s{0,3})([0-9*#A-D]+)()")
"""SIP INFO: a digit, perhaps of an activation code."""
_TLS: Final = (20, 21, 22, 23)
_RTP: Final = 12
_PLAIN_PORTS: Final = dhcp.PORTS | {names.PORT, 123, 546, 547, 500}
"""Nothing secret goes to these but in URLs with a password."""
_TFTP_DATA: Final = 3
_MOST_FLOWS: Final = 4096


@dataclass(slots=True)
class Redactor:
    """Remembers which TCP connections are encrypted; of others only heads of HTTP and SIP stay readable."""

    _sealed: dict[bytes, bool] = field(default_factory=dict)

    def clean(self, frame: Frame) -> bytes:
        """The frame's bytes, as many as before."""
        link = link_of(frame.link, frame.data)
        packet = packet_of(frame, link) if link else None
        if packet is None:
            return frame.data
        if packet.protocol == TCP and (segment := segment_of(packet)) is not None and segment.data:
            return self._placed(frame, segment.data, self._tcp(packet, segment), packet)
        if packet.protocol == UDP and (datagram := datagram_of(packet)) is not None and datagram.data:
            return self._placed(frame, datagram.data, _udp(datagram), packet)
        return frame.data

    @staticmethod
    def _placed(frame: Frame, old: bytes, new: bytes, packet: Packet) -> bytes:
        end = min(packet.end, len(frame.data))
        return frame.data[: end - len(old)] + new + frame.data[end:]

    def _tcp(self, packet: Packet, segment: Segment) -> bytes:
        data, flow = segment.data, flow_of(packet)
        if data[:4] in METHODS or data.startswith(b"HTTP/1.") or sip.is_sip(data):
            self._remember(flow, sealed=False)
            return _head(data)
        if data[0] in _TLS and data[1:2] == b"\x03":
            self._remember(flow, sealed=True)
        return data if self._sealed.get(flow) else _X * len(data)

    def _remember(self, flow: bytes, *, sealed: bool) -> None:
        if len(self._sealed) < _MOST_FLOWS and flow not in self._sealed:
            self._sealed[flow] = self._sealed[turned(flow)] = sealed


def _udp(one: Datagram) -> bytes:
    data, ports = one.data, {one.sport, one.dport}
    if sip.is_sip(data):
        return _head(data, keep_body=True)
    if ports & _PLAIN_PORTS:
        return _blanked(_USER_INFO, data)
    if data[0] >> 6 == 2 and len(data) >= _RTP:  # RTP: the sound of somebody's voice, or keys
        return data[:_RTP] + bytes(len(data) - _RTP)
    if len(data) >= 4 and struct.unpack_from("!H", data)[0] == _TFTP_DATA and 514 not in ports:
        return data[:4] + _X * (len(data) - 4)
    return _words(data)


def _head(data: bytes, *, keep_body: bool = False) -> bytes:
    """A head without credentials; a configuration's body holds passwords under names that nobody can list."""
    head, blank, body = data.partition(b"\r\n\r\n")
    first, line, rest = head.partition(b"\r\n")
    first = _blanked(_TOKEN, _blanked(_QUERY, first)) if not sip.is_sip(data) else first
    head = _words(_HEADERS.sub(_crossed, first + line + rest))
    return head + blank + (_words(body) if keep_body else _X * len(body))


def _words(data: bytes) -> bytes:
    return _blanked(_KEY, _blanked(_SAID, _blanked(_USER_INFO, data)))


def _blanked(pattern: re.Pattern[bytes], data: bytes) -> bytes:
    return pattern.sub(lambda found: found[1] + _X * len(found[2]) + found[3], data)


def _crossed(found: re.Match[bytes]) -> bytes:
    value = found[2].rstrip(b"\r")
    return found[1] + _X * len(value) + found[2][len(value) :]
