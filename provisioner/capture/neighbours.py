# SPDX-License-Identifier: GPL-2.0-only
"""Two devices with one address: ARP and neighbour discovery, and the phone's own DECLINE."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from provisioner.capture.files import Frame
from provisioner.capture.lines import Fact, fact
from provisioner.capture.packets import Packet, address

_SOLICITATION, _ADVERTISEMENT = 135, 136
_NOBODY: Final = bytes(4)
_NEAR: Final = 300.0
"""Seconds between two devices' use of one address; later it may have been given on."""
_MOST: Final = 4096


@dataclass(slots=True)
class Neighbours:
    """Who has claimed which address, and when."""

    mac: bytes
    _mine: dict[bytes, float] = field(default_factory=dict)
    _others: dict[bytes, tuple[bytes, float]] = field(default_factory=dict)
    _told: set[tuple[bytes, bytes]] = field(default_factory=set)

    def arp(self, data: bytes, frame: Frame) -> Iterator[Fact]:
        """RFC 826, and the probes and announcements of RFC 5227."""
        hardware, protocol, sizes, _operation = struct.unpack_from("!HHHH", data)
        if (hardware, protocol, sizes) != (1, 0x0800, 0x0604) or len(data) < 28:
            return
        sender, claimed, target = data[8:14], data[14:18], data[24:28]
        if sender == self.mac:
            mine = claimed if claimed != _NOBODY else target
            yield from self._claim(mine, frame)
        elif claimed != _NOBODY:
            yield from self._seen(claimed, sender, frame)

    def discovery(self, packet: Packet, sender: bytes) -> Iterator[Fact]:
        """RFC 4862: a solicitation from nobody probes, an advertisement claims."""
        data, frame = packet.payload, packet.frame
        if len(data) < 24:
            return
        kind, target = data[0], data[8:24]
        probes = kind == _SOLICITATION and not any(packet.src)
        if not probes and kind != _ADVERTISEMENT:
            return
        if sender == self.mac:
            yield from self._claim(target, frame)
        else:
            yield from self._seen(target, sender, frame)

    def used(self, claimed: bytes, frame: Frame) -> Iterator[Fact]:
        """The phone sends from this address."""
        if claimed not in self._mine or frame.at - self._mine[claimed] > 1.0:
            yield from self._claim(claimed, frame)

    def _claim(self, claimed: bytes, frame: Frame) -> Iterator[Fact]:
        if len(self._mine) < _MOST:
            self._mine[claimed] = frame.at
        holder, at = self._others.get(claimed, (b"", 0.0))
        if holder and abs(frame.at - at) < _NEAR:
            yield from self._conflict(claimed, holder, frame)

    def _seen(self, claimed: bytes, holder: bytes, frame: Frame) -> Iterator[Fact]:
        if len(self._others) < _MOST:
            self._others[claimed] = (holder, frame.at)
        if claimed in self._mine and abs(frame.at - self._mine[claimed]) < _NEAR:
            yield from self._conflict(claimed, holder, frame)

    def _conflict(self, claimed: bytes, holder: bytes, frame: Frame) -> Iterator[Fact]:
        if (claimed, holder) not in self._told:
            self._told.add((claimed, holder))
            yield fact("address_conflict", frame.at, frame.ref, address=address(claimed), holder=holder.hex())
