# SPDX-License-Identifier: GPL-2.0-only
"""One direction of TLS cut into records as its bytes arrive; application data is counted and never kept."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from provisioner.capture.files import Frame

CHANGE, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23
LONGEST: Final = 0x4000 + 2048
"""RFC 5246 section 6.2.3: what a record may claim."""
_LONGEST_HANDSHAKE: Final = 1 << 18
_HEAD: Final = struct.Struct("!BHH")


class Record(NamedTuple):
    """A whole record, and the frame that brought its end. The body of application data is not there."""

    kind: int
    version: int
    length: int
    body: bytes
    frame: Frame


@dataclass(slots=True)
class RecordReader:
    """Fed with the stream's bytes in their order; `gap` where the capture has none of them."""

    blind: bool = False
    """What follows cannot be cut into records any more."""
    _buffer: bytearray = field(default_factory=bytearray)
    _skip: int = 0
    _head: tuple[int, int, int] = (0, 0, 0)

    def data(self, piece: bytes, frame: Frame) -> Iterator[Record]:
        """The records that end within it."""
        if self.blind and not self._found_again(piece):
            return
        self._buffer += piece
        while (record := self._next(frame)) is not None:
            yield record

    def gap(self, count: int) -> None:
        """So many bytes are missing."""
        if self._skip >= count:
            self._skip -= count
            return
        self.blind, self._skip = True, 0
        self._buffer.clear()

    def _next(self, frame: Frame) -> Record | None:
        if self._skip:
            return self._skipped(frame)
        if len(self._buffer) < 5:
            return None
        kind, version, length = (
            self._buffer[0],
            self._buffer[1] << 8 | self._buffer[2],
            self._buffer[3] << 8 | self._buffer[4],
        )
        if not (CHANGE <= kind <= 24 and version >> 8 == 3 and length <= LONGEST):
            self.blind = True
            self._buffer.clear()
            return None
        if kind == DATA:
            del self._buffer[:5]
            self._skip, self._head = length, (kind, version, length)
            return self._skipped(frame) if length else Record(kind, version, 0, b"", frame)
        if len(self._buffer) < 5 + length:
            return None
        body = bytes(self._buffer[5 : 5 + length])
        del self._buffer[: 5 + length]
        return Record(kind, version, length, body, frame)

    def _skipped(self, frame: Frame) -> Record | None:
        taken = min(self._skip, len(self._buffer))
        del self._buffer[:taken]
        self._skip -= taken
        return None if self._skip else Record(*self._head, b"", frame)

    def _found_again(self, piece: bytes) -> bool:
        """A segment that begins like a record ends the blindness: senders begin most records with one."""
        if len(piece) < 5 or not (CHANGE <= piece[0] <= DATA and piece[1] == 3 and piece[2] <= 4):
            return False
        if piece[3] << 8 | piece[4] > LONGEST:
            return False
        self.blind = False
        return True


@dataclass(slots=True)
class Messages:
    """Handshake messages out of handshake records."""

    _buffer: bytearray = field(default_factory=bytearray)

    def data(self, body: bytes) -> Iterator[tuple[int, bytes]]:
        """Each message that is whole, as (type, body)."""
        self._buffer += body
        if len(self._buffer) > _LONGEST_HANDSHAKE:
            self._buffer.clear()
            raise ValueError("a handshake message of more than 256 KiB")
        while len(self._buffer) >= 4:
            length = int.from_bytes(self._buffer[1:4], "big")
            if len(self._buffer) < 4 + length:
                return
            kind, message = self._buffer[0], bytes(self._buffer[4 : 4 + length])
            del self._buffer[: 4 + length]
            yield kind, message
