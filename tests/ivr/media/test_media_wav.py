"""WAV: one format is read, every other one is refused with the way to mend it."""

from __future__ import annotations

import io
import struct
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.media.wav import WavError, read, write

PCM = struct.pack("<6h", 0, 1000, -1000, 32767, -32768, 5)


def _made(channels: int = 1, width: int = 2, rate: int = 8000, sound: bytes = PCM) -> bytes:
    """By the standard library's writer, so by another hand than ours."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(sound)
    return out.getvalue()


def test_others_files_are_read_and_others_read_ours() -> None:
    assert read(_made()) == PCM
    with wave.open(io.BytesIO(write(PCM)), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8000)
        assert file.readframes(99) == PCM


def test_chunks_around_the_sound_are_skipped() -> None:
    plain = write(PCM)
    named = (
        plain[:12] + b"LIST" + struct.pack("<I", 5) + b"abcde\0" + plain[12:] + b"id3 " + struct.pack("<I", 2) + b"xy"
    )
    assert read(named) == PCM


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "too short"),
        (b"RIFX" + _made()[4:], "no WAV"),
        (b"OggS" + bytes(40), "no WAV"),
        (_made(channels=2), "2 channel.*sox"),
        (_made(rate=16_000), "16000 Hz.*sox"),
        (_made(width=1, sound=b"abc"), "8 bit.*sox"),
        (_made(sound=b""), "empty"),
        (write(PCM + b"\0"), "within a sample"),
        (write(PCM)[:-1], "cut off"),
        (write(PCM)[:12], "no sound"),
        (write(PCM)[:36], "no sound"),
        (write(PCM)[:40] + b"\xff\xff\xff\xff" + PCM, "pipe"),
        (write(PCM)[:12] + write(PCM)[36:], "before its format"),
        (write(PCM)[:12] + b"fmt \x04\0\0\0\x01\0\x01\0" + write(PCM)[36:], "format of the sound"),
    ],
)
def test_anything_else_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(WavError, match=why):
        read(data)


@given(st.binary(max_size=80), st.integers(0, 60), st.integers(0, 60))
def test_no_bytes_raise_anything_else(data: bytes, cut: int, at: int) -> None:
    whole = write(PCM)
    for candidate in (data, whole[:12] + data, whole[:cut], whole[:at] + data + whole[at:]):
        try:
            assert read(candidate)
        except WavError as error:
            assert str(error)
