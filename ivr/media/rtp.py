"""RTP packets as values, RFC 3550 §5.1: whatever is not version 2 and whole is an RtpError, never anything else."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

_HEADER: Final = struct.Struct("!BBHII")
_VERSION: Final = 2 << 6
_PADDED: Final = 0x20
_EXTENDED: Final = 0x10
_MARKED: Final = 0x80


class RtpError(Exception):
    """These bytes are no RTP packet."""


class Packet(NamedTuple):
    """One RTP packet without padding, header extension and contributing sources: an IVR has no use for them."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes

    def __repr__(self) -> str:
        """Without the payload, which may say which key was pressed."""
        return f"Packet(type {self.payload_type}, sequence {self.sequence}, {len(self.payload)} bytes)"


def parse(packet: bytes) -> Packet:
    """Read a datagram; RtpError when it is no RTP packet."""
    if len(packet) < _HEADER.size:
        raise RtpError("shorter than an RTP header")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(packet)
    if first & 0xC0 != _VERSION:
        raise RtpError("not RTP version 2")
    start = _HEADER.size + 4 * (first & 0x0F)
    if first & _EXTENDED:
        start = _behind_extension(packet, start)
    end = len(packet) - (packet[-1] if first & _PADDED else 0)
    if start > end or (first & _PADDED and end == len(packet)):
        raise RtpError("sources, extension and padding do not fit")
    return Packet(second & 0x7F, bool(second & _MARKED), sequence, timestamp, ssrc, packet[start:end])


def _behind_extension(packet: bytes, start: int) -> int:
    """RFC 3550 §5.3.1: two bytes of its own, then its length in words."""
    if len(packet) < start + 4:
        raise RtpError("header extension is cut off")
    return start + 4 + 4 * int.from_bytes(packet[start + 2 : start + 4], "big")


def build(packet: Packet) -> bytes:
    """Write a packet; sequence number and timestamp wrap as RFC 3550 wants."""
    if not 0 <= packet.payload_type <= 0x7F:
        raise ValueError("a payload type has seven bits")
    second = packet.payload_type | (_MARKED if packet.marker else 0)
    sequence, timestamp, ssrc = packet.sequence & 0xFFFF, packet.timestamp & 0xFFFFFFFF, packet.ssrc & 0xFFFFFFFF
    return _HEADER.pack(_VERSION, second, sequence, timestamp, ssrc) + packet.payload
