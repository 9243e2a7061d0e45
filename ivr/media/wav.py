"""WAV files with one sound format, the one prompts are kept in: PCM, 8 kHz, mono, 16 bit. Anything else is a WavError.

Strict, because a prompt at the wrong speed is noticed by callers and not by the operator who recorded it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from ivr.media.g711 import RATE

_RIFF: Final = struct.Struct("<4sI4s")
_CHUNK: Final = struct.Struct("<4sI")
_FORMAT: Final = struct.Struct("<HHIIHH")
_PCM: Final = 1
_WANTED: Final = (_PCM, 1, RATE, 2 * RATE, 2, 16)
_ADVICE: Final = "convert it with: sox in.wav -r 8000 -c 1 -b 16 -e signed-integer out.wav"


class WavError(Exception):
    """These bytes are no prompt."""


def read(data: bytes) -> bytes:
    """PCM samples of a WAV file's bytes; WavError says what is wrong and how to mend it."""
    _check_riff(data)
    known = False
    for name, body in _chunks(data):
        if name == b"fmt ":
            _check_format(body)
            known = True
        elif name == b"data":
            return _sound(body, known)
    raise WavError("the file has no sound in it")


def write(pcm: bytes) -> bytes:
    """A WAV file's bytes of PCM samples."""
    form = _CHUNK.pack(b"fmt ", _FORMAT.size) + _FORMAT.pack(*_WANTED)
    body = form + _CHUNK.pack(b"data", len(pcm)) + pcm
    return _RIFF.pack(b"RIFF", 4 + len(body), b"WAVE") + body


def _check_riff(data: bytes) -> None:
    if len(data) < _RIFF.size:
        raise WavError("the file is too short to be a WAV file")
    riff, _, wave = _RIFF.unpack_from(data)
    if (riff, wave) != (b"RIFF", b"WAVE"):
        raise WavError("this is no WAV file")


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and body of each chunk; a body of odd length is followed by a byte of padding."""
    start = _RIFF.size
    while start + _CHUNK.size <= len(data):
        name, size = _CHUNK.unpack_from(data, start)
        start += _CHUNK.size
        if start + size > len(data):
            raise WavError("the file is cut off, or was written to a pipe and does not know its length")
        yield name, data[start : start + size]
        start += size + size % 2


def _check_format(body: bytes) -> None:
    if len(body) < _FORMAT.size:
        raise WavError("the format of the sound is cut off")
    tag, channels, rate, a_second, a_sample, bits = _FORMAT.unpack_from(body)
    if (tag, channels, rate, a_second, a_sample, bits) != _WANTED:
        found = f"format {tag}, {channels} channel(s), {rate} Hz, {bits} bit"
        raise WavError(f"{found}; prompts are PCM (format {_PCM}), mono, {RATE} Hz, 16 bit: {_ADVICE}")


def _sound(body: bytes, known: bool) -> bytes:
    if not known:
        raise WavError("the sound comes before its format")
    if not body or len(body) % 2:
        raise WavError("the sound is empty or ends within a sample")
    return body
