# SPDX-License-Identifier: GPL-2.0-only
"""From the first byte of a frame to its network layer: Ethernet with any tags, cooked, raw and PPPoE frames."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from provisioner.capture.files import ETHERNET

IPV4: Final = 0x0800
ARP: Final = 0x0806
IPV6: Final = 0x86DD
EAPOL: Final = 0x888E
LLDP: Final = 0x88CC
CDP: Final = 0x2000
"""SNAP protocol id under Cisco's OUI; no EtherType, and below those."""
_LLC: Final = 1500
"""802.3: up to here the field is a length, not a type."""
_PPPOE: Final = 0x8864
_TAGS: Final = frozenset({0x8100, 0x88A8, 0x9100, 0x9200})
"""802.1Q, 802.1ad and what came before it."""
_MOST_TAGS: Final = 4
_NOBODY: Final = bytes(6)
_FAMILY: Final = {2: IPV4, 10: IPV6, 24: IPV6, 28: IPV6, 30: IPV6}
"""AF_INET, and AF_INET6 of Linux and the BSDs: pcap's LINKTYPE_NULL."""


class Link(NamedTuple):
    """What stands around a packet."""

    src: bytes
    dst: bytes
    vlans: tuple[int, ...]
    """From the outermost tag to the innermost."""
    kind: int
    start: int
    """Of the network layer within the frame."""

    @property
    def vlan(self) -> int:
        """The innermost tag; 0 is none."""
        return self.vlans[-1] if self.vlans else 0


def link_of(link: int, data: bytes) -> Link | None:
    """None where the link type is not read or the frame is too short to say anything."""
    try:
        if link == ETHERNET:
            return _tagged(data[6:12], data[0:6], data, 12)
        reader = _OTHERS.get(link)
        return reader(data) if reader else None
    except (struct.error, IndexError):
        return None


def readable(link: int) -> bool:
    """Whether frames of this link type are read at all."""
    return link == ETHERNET or link in _OTHERS


def _tagged(src: bytes, dst: bytes, data: bytes, at: int) -> Link:
    kind = data[at] << 8 | data[at + 1]
    at += 2
    vlans: list[int] = []
    while kind in _TAGS and len(vlans) < _MOST_TAGS:
        tag, kind = struct.unpack_from("!HH", data, at)
        vlans.append(tag & 0xFFF)
        at += 4
    if kind <= _LLC:
        return _snap(src, dst, tuple(vlans), data, at)
    if kind == _PPPOE:
        protocol = struct.unpack_from("!H", data, at + 6)[0]
        kind, at = {0x21: IPV4, 0x57: IPV6}.get(protocol, 0), at + 8
    return Link(src, dst, tuple(vlans), kind, at)


def _snap(src: bytes, dst: bytes, vlans: tuple[int, ...], data: bytes, at: int) -> Link:
    """LLC with SNAP, under which Cisco's discovery is."""
    if data[at : at + 6] == b"\xaa\xaa\x03\x00\x00\x0c":
        protocol = struct.unpack_from("!H", data, at + 6)[0]
        return Link(src, dst, vlans, protocol if protocol == CDP else 0, at + 8)
    return Link(src, dst, vlans, 0, at)


def _cooked(data: bytes) -> Link:
    """LINKTYPE_LINUX_SLL: what `-i any` writes. Only the sender's address is there."""
    length, kind = struct.unpack_from("!H", data, 4)[0], struct.unpack_from("!H", data, 14)[0]
    src = data[6:12] if length == 6 else _NOBODY
    return _tagged(src, _NOBODY, data, 14) if kind in _TAGS else Link(src, _NOBODY, (), kind, 16)


def _cooked_2(data: bytes) -> Link:
    """LINKTYPE_LINUX_SLL2."""
    kind, length = struct.unpack_from("!H", data)[0], data[11]
    return Link(data[12:18] if length == 6 else _NOBODY, _NOBODY, (), kind, 20)


def _raw(data: bytes) -> Link:
    return Link(_NOBODY, _NOBODY, (), {4: IPV4, 6: IPV6}.get(data[0] >> 4, 0), 0)


def _family(data: bytes) -> Link:
    """LINKTYPE_NULL in the capturing machine's byte order, LINKTYPE_LOOP in the network's."""
    value = min(struct.unpack_from("<I", data)[0], struct.unpack_from(">I", data)[0])
    return Link(_NOBODY, _NOBODY, (), _FAMILY.get(value, 0), 4)


_OTHERS: Final = {
    0: _family,
    108: _family,
    12: _raw,
    14: _raw,
    101: _raw,
    228: _raw,
    229: _raw,
    113: _cooked,
    276: _cooked_2,
}


def mac_text(address: bytes) -> str:
    """As the product spells it."""
    return address.hex()
