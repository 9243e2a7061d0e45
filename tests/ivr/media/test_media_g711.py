"""G.711 against the standard's own tables: decision values laid out as intervals, and the digital milliwatt."""

from __future__ import annotations

import struct
from bisect import bisect_right
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.media import g711
from ivr.media.g711 import Codec

EVERY_SAMPLE = [*range(-0x8000, 0x8000)]
EVERY_CODE = bytes(range(256))


def _ulaw_edges() -> list[int]:
    """Decision values of G.711 table 2a (14 bit): 0, 1, 3 … 31 in steps of 2, then eight segments of doubled steps."""
    steps = [1] + [2] * 15 + [2 << segment for segment in range(1, 8) for _ in range(16)]
    return list(accumulate(steps, initial=0))


def _alaw_edges() -> list[int]:
    """Decision values of G.711 table 1a (13 bit): 0, 2, 4 … 64, then six segments of doubled steps."""
    steps = [2] * 32 + [4 << segment for segment in range(6) for _ in range(16)]
    return list(accumulate(steps, initial=0))


def _interval(edges: list[int], scale: int, sample: int) -> int:
    magnitude = sample if sample >= 0 else -sample - 1
    return min(bisect_right([edge * scale for edge in edges], magnitude) - 1, 127)


def _ulaw(sample: int) -> int:
    return (0xFF if sample >= 0 else 0x7F) - _interval(ULAW, 4, sample)


def _alaw(sample: int) -> int:
    return ((0x80 if sample >= 0 else 0) + _interval(ALAW, 8, sample)) ^ 0x55


ULAW, ALAW = _ulaw_edges(), _alaw_edges()


def _pcm(samples: list[int]) -> bytes:
    return struct.pack(f"<{len(samples)}h", *samples)


def _samples(pcm: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(pcm) // 2}h", pcm))


def test_the_tables_end_where_the_standard_ends_them() -> None:
    assert (len(ULAW), ULAW[-1]) == (129, 8159)
    assert (len(ALAW), ALAW[-1]) == (129, 4096)


def test_every_sample_falls_into_its_interval() -> None:
    some = EVERY_SAMPLE[::7] + [
        edge * scale + by for edges, scale in ((ULAW, 4), (ALAW, 8)) for edge in edges[:-1] for by in (-1, 0, 1)
    ]
    some = [value for sample in some for value in (sample, -sample) if -0x8000 <= value < 0x8000]
    assert g711.encode_ulaw(_pcm(some)) == bytes(map(_ulaw, some))
    assert g711.encode_alaw(_pcm(some)) == bytes(map(_alaw, some))


def test_every_code_is_the_middle_of_its_interval() -> None:
    middles = [0] + [2 * (low + high) for low, high in pairwise(ULAW[1:])]
    assert _samples(g711.decode_ulaw(EVERY_CODE[:0x7F:-1])) == middles
    assert _samples(g711.decode_ulaw(EVERY_CODE[0x7F::-1])) == [-middle for middle in middles]
    middles = [4 * (low + high) for low, high in pairwise(ALAW)]
    assert _samples(g711.decode_alaw(bytes((0x80 + n) ^ 0x55 for n in range(128)))) == middles
    assert _samples(g711.decode_alaw(bytes(n ^ 0x55 for n in range(128)))) == [-middle for middle in middles]


def test_codes_survive_the_round_trip_but_for_minus_zero() -> None:
    assert g711.encode_alaw(g711.decode_alaw(EVERY_CODE)) == EVERY_CODE
    assert g711.encode_ulaw(g711.decode_ulaw(EVERY_CODE)) == EVERY_CODE[:0x7F] + b"\xff" + EVERY_CODE[0x80:]


def test_louder_is_never_softer_and_nothing_is_off_by_more_than_a_thirty_first() -> None:
    for codec, scale in ((Codec.PCMU, 4), (Codec.PCMA, 8)):
        told = _samples(codec.decode(codec.encode(_pcm(EVERY_SAMPLE))))
        assert told == sorted(told)
        assert all(abs(one - back) <= abs(one) / 31 + scale for one, back in zip(EVERY_SAMPLE, told, strict=True))


@pytest.mark.parametrize(
    ("codec", "codes"),
    [(Codec.PCMU, "1e0b0b1e9e8b8b9e"), (Codec.PCMA, "34212134b4a1a1b4")],
)
def test_the_digital_milliwatt_is_a_sine_of_1_khz_at_0_dbm0(codec: Codec, codes: str) -> None:
    """G.711 tables 5 and 6."""
    samples = _samples(codec.decode(bytes.fromhex(codes)))
    assert samples[:4] == [-sample for sample in samples[4:]] == samples[3::-1]
    assert samples[0] / samples[1] == pytest.approx(0.414, rel=0.04)
    power = sum(sample * sample for sample in samples) / 8
    assert (power**0.5 / 32768) == pytest.approx(10 ** (-6.15 / 20), rel=0.02)
    assert codec.encode(_pcm(samples)) == bytes.fromhex(codes)


@given(st.binary(max_size=700).map(lambda data: data[: len(data) // 2 * 2]), st.sampled_from(Codec))
def test_frames_are_20_ms_and_hold_all_of_the_sound(pcm: bytes, codec: Codec) -> None:
    frames = codec.frames(pcm)
    assert all(len(frame) == 160 for frame in frames)
    assert b"".join(frames).startswith(codec.encode(pcm))
    assert len(frames) == -(-len(pcm) // 320)
    filling = b"".join(frames)[len(pcm) // 2 :]
    assert all(abs(sample) <= 8 for sample in _samples(codec.decode(filling)))


def test_half_a_sample_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="pairs"):
        g711.encode_ulaw(b"\0\0\0")
