# SPDX-License-Identifier: GPL-2.0-only
"""Write pcapng: a section, an interface for each link type, frames, and at the end what was lost."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import IO, Final

_COMMENT, _APPLICATION, _RESOLUTION, _IF_DROP = 1, 4, 9, 5
_NANOSECONDS: Final = 9
_SNAPLEN: Final = 262_144


@dataclass(slots=True)
class PcapngWriter:
    """Onto a stream that is open for writing bytes."""

    stream: IO[bytes]
    comment: str = ""
    written: int = 0
    """Bytes."""
    _links: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """The section's header."""
        options = _option(_APPLICATION, b"provisioner-capture")
        if self.comment:
            options = _option(_COMMENT, self.comment.encode()) + options
        self._block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + options + _option(0, b""))

    def frame(self, at_ns: int, link: int, data: bytes, length: int) -> None:
        """One frame; time in nanoseconds since 1970."""
        place = self._interface(link)
        head = struct.pack("<IIIII", place, at_ns >> 32, at_ns & 0xFFFFFFFF, len(data), length)
        self._block(6, head + data + bytes(-len(data) % 4))

    def lost(self, link: int, frames: int, at_ns: int) -> None:
        """How many frames the interface has dropped since the capture began."""
        place = self._interface(link)
        options = _option(_IF_DROP, struct.pack("<Q", frames)) + _option(0, b"")
        self._block(5, struct.pack("<III", place, at_ns >> 32, at_ns & 0xFFFFFFFF) + options)

    def _interface(self, link: int) -> int:
        if link not in self._links:
            self._links[link] = len(self._links)
            options = _option(_RESOLUTION, bytes([_NANOSECONDS])) + _option(0, b"")
            self._block(1, struct.pack("<HHI", link, 0, _SNAPLEN) + options)
        return self._links[link]

    def _block(self, kind: int, body: bytes) -> None:
        length = len(body) + 12
        self.stream.write(struct.pack("<II", kind, length) + body + struct.pack("<I", length))
        self.written += length


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)
