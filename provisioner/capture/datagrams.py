# SPDX-License-Identifier: GPL-2.0-only
"""What phones send by UDP beside DHCP and DNS: time, TFTP with its moving ports, SIP, syslog and keys in RTP."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from provisioner.capture import dhcp, dhcp6, names, sip
from provisioner.capture.lines import Fact, fact, url_without_secrets, words_without_secrets
from provisioner.capture.packets import Datagram

_NTP, _TFTP, _SYSLOG = 123, 69, 514
_EPOCH: Final = 2_208_988_800
"""Seconds from 1900, where NTP counts from, to 1970."""
_ERA: Final = 1 << 32
_HALF: Final = 1 << 31
_READ, _WRITE, _DATA, _ERROR, _OACK = 1, 2, 3, 5, 6
_PRIORITY: Final = re.compile(rb"<(\d{1,3})>")
_SEVERITIES: Final = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")
_MOST_TRANSFERS: Final = 256
_LONGEST_LOG: Final = 2000
_MOST_SYSLOG: Final = 500
_MOST_KEYS: Final = 64
_DYNAMIC: Final = range(96, 128)


@dataclass(slots=True)
class Datagrams:
    """The phone's UDP; TFTP and RTP have to be remembered from one datagram to the next."""

    _transfers: dict[tuple[bytes, int], tuple[str, bool]] = field(default_factory=dict)
    _logged: int = 0
    _keys: dict[tuple[bytes, int, bytes, int], dict[int, int]] = field(default_factory=dict)
    _first: dict[tuple[bytes, int, bytes, int], Datagram] = field(default_factory=dict)

    def take(self, one: Datagram, by: str) -> Iterator[Fact]:
        """What one datagram tells; by is phone or server."""
        frame, ports = one.packet.frame, (one.sport, one.dport)
        if dhcp6.PORTS & set(ports):
            yield from dhcp6.facts_of(one.data, frame, one.packet.link.vlan, by)
        elif names.PORT in ports:
            server = one.packet.target if one.dport == names.PORT else one.packet.source
            yield from names.facts_of(one.data, frame, server)
        elif _NTP in ports:
            yield from self._time(one, by)
        elif _SYSLOG in ports:
            yield from self._log(one)
        elif one.dport == _TFTP or self._transfer_of(one) is not None:
            yield from self._transfer(one)
        elif sip.is_sip(one.data):
            if message := sip.read(one.data):
                to = f"{one.packet.target}:{one.dport}" if by == "phone" else ""
                yield from sip.facts_of(message, frame, one.packet.source, by_phone=by == "phone", to=to)
        else:
            self._event(one)

    def finish(self) -> Iterator[Fact]:
        """How many keys went by RTP, and never which."""
        for flow, one in self._first.items():
            pressed = sum(seen >= 3 for seen in self._keys[flow].values())
            if pressed:
                frame = one.packet.frame
                yield fact("telephone_event", frame.at, frame.ref, to=one.packet.target, keys=pressed)

    def _time(self, one: Datagram, by: str) -> Iterator[Fact]:
        """RFC 5905: the server's clock is in the transmit time stamp."""
        frame = one.packet.frame
        if len(one.data) < 48:
            raise ValueError("an NTP packet of under 48 bytes")
        mode, stratum = one.data[0] & 7, one.data[1]
        if mode in (1, 3):
            yield fact("ntp", frame.at, frame.ref, type="query", server=one.packet.target)
        elif mode in (2, 4, 5):
            seconds, part = struct.unpack_from("!II", one.data, 40)
            # Era 1 begins in 2036; a time stamp without its first bit is of that one (RFC 4330 section 3).
            at = seconds - _EPOCH + (_ERA if seconds < _HALF else 0) + part / _ERA
            server = one.packet.source if by != "phone" else one.packet.target
            yield fact("ntp", frame.at, frame.ref, type="answer", server=server, stratum=stratum, time=round(at, 3))

    def _log(self, one: Datagram) -> Iterator[Fact]:
        """RFC 3164 and 5424 have the priority in common."""
        self._logged += 1
        if self._logged > _MOST_SYSLOG:
            return
        found = _PRIORITY.match(one.data)
        words = one.data[found.end() :] if found else one.data
        frame, whole = one.packet.frame, one.is_whole and len(words) <= _LONGEST_LOG
        yield fact(
            "syslog",
            frame.at,
            frame.ref,
            text=words_without_secrets(words[:_LONGEST_LOG].decode("utf-8", "replace"), whole=whole),
            severity=_SEVERITIES[int(found[1]) & 7] if found else None,
        )

    def _transfer_of(self, one: Datagram) -> tuple[str, bool] | None:
        """RFC 1350: the server answers from a port of its own, so the client's port is what names the transfer."""
        if not self._transfers:
            return None
        return self._transfers.get((one.packet.dst, one.dport)) or self._transfers.get((one.packet.src, one.sport))

    def _transfer(self, one: Datagram) -> Iterator[Fact]:
        frame, kind = one.packet.frame, struct.unpack_from("!H", one.data)[0]
        if kind in (_READ, _WRITE) and one.dport == _TFTP:
            file = url_without_secrets(one.data[2:].split(b"\0")[0].decode("utf-8", "replace"))
            if len(self._transfers) < _MOST_TRANSFERS:
                self._transfers[one.packet.src, one.sport] = (file, False)
            yield fact("tftp", frame.at, frame.ref, type="request", file=file, server=one.packet.target)
            return
        found = self._transfer_of(one)
        if found is None:
            return
        file, begun = found
        if kind == _ERROR:
            code, words = struct.unpack_from("!H", one.data, 2)[0], one.data[4:].split(b"\0")[0]
            said = f"{code} {words.decode('utf-8', 'replace')}".strip()
            yield fact(
                "tftp",
                frame.at,
                frame.ref,
                type="error",
                file=file,
                error=words_without_secrets(said, whole=one.is_whole),
                server=one.packet.source,
            )
        elif kind in (_DATA, _OACK) and not begun:
            self._transfers[one.packet.dst, one.dport] = (file, True)
            yield fact("tftp", frame.at, frame.ref, type="data", file=file, server=one.packet.source)

    def _event(self, one: Datagram) -> None:
        """RFC 4733: four bytes under a dynamic payload type, sent several times with one time stamp."""
        data = one.data
        if len(data) != 16 or data[0] != 0x80 or data[1] & 0x7F not in _DYNAMIC or data[12] > 16 or data[13] & 0x40:
            return
        flow = (one.packet.src, one.sport, one.packet.dst, one.dport)
        if flow not in self._keys and len(self._keys) >= _MOST_KEYS:
            return
        seen = self._keys.setdefault(flow, {})
        self._first.setdefault(flow, one)
        stamp = struct.unpack_from("!I", data, 4)[0]
        if stamp in seen or len(seen) < 1024:
            seen[stamp] = seen.get(stamp, 0) + 1


def is_dhcp(one: Datagram) -> bool:
    """Whether it is DHCPv4, which has no IP address of the phone's in it yet."""
    return bool(dhcp.PORTS & {one.sport, one.dport})
