"""SNMPv3 engine discovery by hand: whether anything speaks SNMP at an address, before any name or password. Pure.

RFC 3414 section 4: a request without a user is answered by a report that names the engine. A wrong community is
answered by nothing at all, so this is what tells a wrong community from a wrong address.
"""

from __future__ import annotations

from typing import Final

_SEQUENCE: Final = 0x30
_INTEGER: Final = 0x02
_OCTETS: Final = 0x04
_GET: Final = 0xA0
_REPORTABLE: Final = b"\x04"
_LARGEST: Final = 65_507
"""Bytes of a UDP datagram."""
_USM: Final = 3
_ENGINE_ID: Final = range(5, 33)
"""Octets of an engine's id (RFC 3411 section 5)."""


def request(number: int) -> bytes:
    """The question; ``number`` (31 bits) comes back with its answer."""
    head = _tlv(_SEQUENCE, _int(number) + _int(_LARGEST) + _tlv(_OCTETS, _REPORTABLE) + _int(_USM))
    nobody = _tlv(_SEQUENCE, _tlv(_OCTETS, b"") + _int(0) + _int(0) + _tlv(_OCTETS, b"") * 3)
    get = _tlv(_GET, _int(number) + _int(0) + _int(0) + _tlv(_SEQUENCE, b""))
    scoped = _tlv(_SEQUENCE, _tlv(_OCTETS, b"") * 2 + get)
    return _tlv(_SEQUENCE, _int(3) + head + _tlv(_OCTETS, nobody) + scoped)


def engine_in(answer: bytes, number: int) -> bytes | None:
    """The id of the engine that answers this question; None for anything else."""
    try:
        message = _children(answer, _SEQUENCE)
        (_, version), (_, head), (_, security) = message[:3]
        asked = int.from_bytes(_inside(head)[0][1], "big")
        engine = _children(security, _SEQUENCE)[0]
    except (ValueError, IndexError):
        return None
    good = int.from_bytes(version, "big") == 3 and asked == number and engine[0] == _OCTETS
    return engine[1] if good and len(engine[1]) in _ENGINE_ID else None


def _tlv(tag: int, value: bytes) -> bytes:
    size = len(value)
    return bytes([tag, size] if size < 0x80 else [tag, 0x81, size]) + value


def _int(value: int) -> bytes:
    return _tlv(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _children(data: bytes, tag: int) -> list[tuple[int, bytes]]:
    found, value, _ = _read(data)
    if found != tag:
        raise ValueError("another type")
    return _inside(value)


def _inside(value: bytes) -> list[tuple[int, bytes]]:
    found = []
    while value:
        tag, inner, value = _read(value)
        found.append((tag, inner))
    return found


def _read(data: bytes) -> tuple[int, bytes, bytes]:
    """Tag, value and what follows (X.690 section 8.1); ValueError where it is cut off or longer than a datagram."""
    if len(data) < 2:
        raise ValueError("cut off")
    tag, size, start = data[0], data[1], 2
    if size & 0x80:
        count = size & 0x7F
        if not 1 <= count <= 3 or len(data) < 2 + count:
            raise ValueError("no length")
        size, start = int.from_bytes(data[2 : 2 + count], "big"), 2 + count
    if len(data) < start + size:
        raise ValueError("cut off")
    return tag, data[start : start + size], data[start + size :]
