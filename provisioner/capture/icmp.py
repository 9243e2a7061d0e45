# SPDX-License-Identifier: GPL-2.0-only
"""ICMP errors by the packet they carry: whom the network would not let through, and how large a packet may be."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from provisioner.capture.packets import ICMP, Packet, address

_V4: Final = {0: "net", 1: "host", 2: "port", 3: "port", 4: "fragmentation", 9: "admin", 10: "admin", 13: "admin"}
_V6: Final = {0: "net", 1: "admin", 2: "host", 3: "host", 4: "port", 5: "admin", 6: "admin"}
_UNREACHABLE, _EXCEEDED, _V6_UNREACHABLE, _V6_TOO_BIG, _V6_EXCEEDED = 3, 11, 1, 2, 3


class Refusal(NamedTuple):
    """Somebody on the way says why a packet went no further."""

    by: str
    code: str
    mtu: int
    src: bytes
    dst: bytes
    protocol: int
    ports: bytes
    """Both, of the packet that is meant."""

    @property
    def flow(self) -> bytes:
        """As `survey.flow_of` has it."""
        return self.src + self.dst + self.ports

    @property
    def to(self) -> str:
        """Whom it was for."""
        return address(self.dst)


def read(packet: Packet) -> Refusal | None:
    """None for an echo and whatever else is no error."""
    data = packet.payload
    if len(data) < 28:
        return None
    kind, code = data[0], data[1]
    said = _v4(kind, code) if packet.protocol == ICMP else _v6(kind, code)
    if not said:
        return None
    mtu = struct.unpack_from("!H", data, 6)[0] if packet.protocol == ICMP else struct.unpack_from("!I", data, 4)[0]
    inner = data[8:]
    if inner[0] >> 4 == 4:
        head = (inner[0] & 0xF) * 4
        meant = (inner[12:16], inner[16:20], inner[9], inner[head : head + 4])
    elif inner[0] >> 4 == 6 and len(inner) >= 44:
        meant = (inner[8:24], inner[24:40], inner[6], inner[40:44])
    else:
        return None
    return Refusal(packet.source, said, mtu if said == "fragmentation" else 0, *meant)


def _v4(kind: int, code: int) -> str:
    if kind == _UNREACHABLE:
        return _V4.get(code, "host")
    return "ttl" if kind == _EXCEEDED else ""


def _v6(kind: int, code: int) -> str:
    if kind == _V6_UNREACHABLE:
        return _V6.get(code, "host")
    return {_V6_TOO_BIG: "fragmentation", _V6_EXCEEDED: "ttl"}.get(kind, "")
