# SPDX-License-Identifier: GPL-2.0-only
"""What may stay of each protocol in clear: its fields where they are read, texts without secrets, all else crossed."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from provisioner.capture import names
from provisioner.capture.blanking import crossed, words
from provisioner.capture.links import IPV4, Link
from provisioner.capture.packets import ICMP, Packet

_MAGIC: Final = b"\x63\x82\x53\x63"
_SNAME, _FILE, _OPTIONS = 44, 108, 240
_TLS: Final = (20, 21, 22, 23)
_EAP_TLS: Final = 13
_RELAYED, _RELAY_MESSAGE, _LAYERS = (12, 13), 9, 4
_KEPT_RECORDS: Final = frozenset({1, 2, 5, 6, 12, 15, 28, 33, 35})
"""Addresses and names; TXT and what else there is may hold anything."""
_ICMP_ERRORS: Final = {True: (3, 11), False: (1, 2, 3)}
_ND_SIZES: Final = {133: 16, 134: 16, 135: 32, 136: 32}


def payload_at(data: bytes, link: Link) -> int:
    """Behind the header of a packet that is a later fragment, or none that can be read."""
    at = link.start
    if link.kind == IPV4:
        good = len(data) >= at + 20 and data[at] >> 4 == 4
        return at + max((data[at] & 0x0F) * 4, 20) if good else at
    good = len(data) >= at + 40 and data[at] >> 4 == 6
    return at + (48 if data[at + 6] == 44 else 40) if good else at


def begins_tls(data: bytes) -> bool:
    """Whether a record does."""
    return len(data) >= 3 and data[0] in _TLS and data[1] == 3 and data[2] <= 4


def records(data: bytes) -> bytes:
    """A piece of an encrypted direction; where a record ends, another one follows or it is no TLS."""
    if not begins_tls(data):
        return data
    at = 0
    while at + 5 <= len(data) and begins_tls(data[at : at + 3]):
        at += 5 + struct.unpack_from("!H", data, at + 3)[0]
    return data[:at] + crossed(data[at:])


def eapol(data: bytes, sender: bytes, known: set[bytes]) -> bytes:
    """802.1X: who says what, and of its contents the handshakes of EAP-TLS alone; an identity is none of ours."""
    if len(data) < 4 or data[1] != 0:
        return data[:4] + crossed(data[4:])
    end = 4 + min(struct.unpack_from("!H", data, 2)[0], len(data) - 4)
    body = data[9:end]
    if len(data) > 8 and data[8] == _EAP_TLS and data[4] in (1, 2):
        head = 5 if body[:1] and body[0] & 0x80 else 1
        if begins_tls(body[head:]):
            known.add(sender)
        if sender in known or len(body) <= 1:
            return data[:end]
    return data[: min(9, end)] + crossed(body)


def control(packet: Packet) -> bytes:
    """ICMP: its head; of the packet that it speaks of, header and ports; of neighbours their addresses."""
    data = packet.payload
    size = 8
    if packet.protocol != ICMP and data[:1] and data[0] in _ND_SIZES:
        size = _ND_SIZES[data[0]]
    elif data[:1] and data[0] in _ICMP_ERRORS[packet.protocol == ICMP] and len(data) > 8:
        size = 8 + ((data[8] & 0x0F) * 4 if data[8] >> 4 == 4 else 40) + 8
    return data[:size] + crossed(data[size:])


def dhcp4(data: bytes) -> bytes:
    """Fields and options; an option that comes in parts (RFC 3396) is cleared as the one text that it is."""
    if len(data) < _OPTIONS or data[236:240] != _MAGIC:
        return crossed(data)
    made, places, at = bytearray(data), dict[int, list[int]](), _OPTIONS
    made[_SNAME:_FILE], made[_FILE:236] = words(data[_SNAME:_FILE]), words(data[_FILE:236])
    while at + 1 < len(data) and data[at] != 255:
        if data[at] == 0:
            at += 1
            continue
        places.setdefault(data[at], []).extend(range(at + 2, min(at + 2 + data[at + 1], len(data))))
        at += 2 + data[at + 1]
    for where in places.values():
        value = bytes(data[one] for one in where)
        # Cut off by the capture: half a token looks like none.
        for place, byte in zip(
            where, words(value, whole=at <= len(data) or where[-1:] != [len(data) - 1]), strict=True
        ):
            made[place] = byte
    return bytes(made[: at + 1])  # behind the end nothing is read


def dhcp6(data: bytes, layers: int = _LAYERS) -> bytes:
    """Each option's text without secrets, within a relay's wrapping as well."""
    at = 34 if data[:1] and data[0] in _RELAYED else 4
    if len(data) < at or not layers:
        return crossed(data)
    made = bytearray(data[:at])
    while at + 4 <= len(data):
        code, size = struct.unpack_from("!HH", data, at)
        value = data[at + 4 : at + 4 + size]
        whole = len(value) == size
        made += data[at : at + 4]
        made += dhcp6(value, layers - 1) if code == _RELAY_MESSAGE and whole else words(value, whole=whole)
        at += 4 + size
    return bytes(made)


def dns(data: bytes) -> bytes:
    """Names and addresses; other records' contents, and what cannot be read as DNS, go."""
    made = bytearray(crossed(data))
    try:
        for begin, end in _dns_parts(data):
            made[begin:end] = words(data[begin:end]) if begin else data[begin:end]
    except (struct.error, IndexError, ValueError):
        pass  # what was read until here is kept
    return bytes(made)


def _dns_parts(data: bytes) -> Iterator[tuple[int, int]]:
    """From where to where a message may be kept."""
    _, _, questions, *counts = struct.unpack_from("!6H", data)
    if questions or any(counts):
        names.name_at(data, 12)  # a header that nothing of what it promises follows is none
    yield 0, 12
    at = 12
    for _ in range(min(questions, 4)):
        begin, at = at, names.name_at(data, at)[1] + 4
        yield begin, min(at, len(data))
    for _ in range(min(sum(counts), 128)):
        begin, at = at, names.name_at(data, at)[1] + 10
        kind, _, _, size = struct.unpack_from("!HHIH", data, at - 10)
        yield begin, at
        if kind in _KEPT_RECORDS and at + size <= len(data):
            yield at, at + size
        at += size
