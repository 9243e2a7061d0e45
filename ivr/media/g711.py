"""G.711 by tables: 256 entries to decode; 65 536 to encode, made when first wanted. PCM is 16 bit little-endian, 8 kHz.

The rule is that of ITU-T G.711, in the 16-bit scale of its reference software (G.191): the magnitude of a negative
sample is its one's complement, so positive and negative intervals hold equally many integers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum
from functools import cache
from typing import Final

RATE: Final = 8000
"""Samples a second, RFC 3551 §4.5.14."""
FRAME: Final = 160
"""Samples in 20 ms, the default packet time of RFC 3551 §4.2."""

_ULAW_BIAS: Final = 33
_ULAW_MOST: Final = 0x1FFF
_ALAW_EVEN_BITS: Final = 0x55
"""A-law goes over the wire with its even bits inverted."""


def _magnitude(sample: int) -> int:
    return ~sample if sample < 0 else sample


def _ulaw_code(sample: int) -> int:
    biased = min((_magnitude(sample) >> 2) + _ULAW_BIAS, _ULAW_MOST)
    segment = biased.bit_length() - 6
    step = biased >> (segment + 1) & 0x0F
    return ~((0x80 if sample < 0 else 0) | segment << 4 | step) & 0xFF


def _ulaw_sample(code: int) -> int:
    bits = ~code & 0xFF
    magnitude = (((bits & 0x0F) << 1 | _ULAW_BIAS) << (bits >> 4 & 7)) - _ULAW_BIAS
    return -4 * magnitude if bits & 0x80 else 4 * magnitude


def _alaw_code(sample: int) -> int:
    magnitude = _magnitude(sample) >> 4
    segment = max(0, magnitude.bit_length() - 4)
    step = magnitude >> max(0, segment - 1) & 0x0F
    return ((0 if sample < 0 else 0x80) | segment << 4 | step) ^ _ALAW_EVEN_BITS


def _alaw_sample(code: int) -> int:
    bits = code ^ _ALAW_EVEN_BITS
    segment, middle = bits >> 4 & 7, (bits & 0x0F) << 1 | 1
    magnitude = (middle | 0x20) << (segment - 1) if segment else middle
    return 8 * magnitude if bits & 0x80 else -8 * magnitude


@cache
def _encoding(rule: Callable[[int], int]) -> bytes:
    """Code of each sample, by the sample read as unsigned: tens of milliseconds, once a rule."""
    return bytes(rule(sample) for sample in (*range(0x8000), *range(-0x8000, 0)))


def _decoding(rule: Callable[[int], int]) -> tuple[bytes, bytes]:
    """Low and high byte of the sample of each code, for ``bytes.translate``."""
    samples = [rule(code) & 0xFFFF for code in range(256)]
    return bytes(sample & 0xFF for sample in samples), bytes(sample >> 8 for sample in samples)


_FROM_ULAW: Final = _decoding(_ulaw_sample)
_FROM_ALAW: Final = _decoding(_alaw_sample)


def _encode(pcm: bytes, table: bytes) -> bytes:
    if len(pcm) % 2:
        raise ValueError("16-bit samples come in pairs of bytes")
    return bytes(map(table.__getitem__, struct.unpack(f"<{len(pcm) // 2}H", pcm)))


def _decode(codes: bytes, table: tuple[bytes, bytes]) -> bytes:
    pcm = bytearray(2 * len(codes))
    pcm[0::2], pcm[1::2] = codes.translate(table[0]), codes.translate(table[1])
    return bytes(pcm)


def encode_ulaw(pcm: bytes) -> bytes:
    """PCM as µ-law, a byte a sample."""
    return _encode(pcm, _encoding(_ulaw_code))


def decode_ulaw(codes: bytes) -> bytes:
    """µ-law as PCM: the middle of each code's interval."""
    return _decode(codes, _FROM_ULAW)


def encode_alaw(pcm: bytes) -> bytes:
    """PCM as A-law, a byte a sample."""
    return _encode(pcm, _encoding(_alaw_code))


def decode_alaw(codes: bytes) -> bytes:
    """A-law as PCM: the middle of each code's interval."""
    return _decode(codes, _FROM_ALAW)


class Codec(IntEnum):
    """The two codecs every desk phone speaks; the value is the static RTP payload type, RFC 3551 table 4."""

    PCMU = 0
    PCMA = 8

    def encode(self, pcm: bytes) -> bytes:
        """PCM as bytes of this codec."""
        return encode_ulaw(pcm) if self is Codec.PCMU else encode_alaw(pcm)

    def decode(self, codes: bytes) -> bytes:
        """Bytes of this codec as PCM."""
        return decode_ulaw(codes) if self is Codec.PCMU else decode_alaw(codes)

    def frames(self, pcm: bytes) -> tuple[bytes, ...]:
        """PCM cut into frames of 20 ms, the last filled up with silence."""
        codes = self.encode(pcm + bytes(-len(pcm) % (2 * FRAME)))
        return tuple(codes[start : start + FRAME] for start in range(0, len(codes), FRAME))
