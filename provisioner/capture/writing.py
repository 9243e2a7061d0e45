# SPDX-License-Identifier: GPL-2.0-only
"""Write pcapng: a section, secrets, an interface for each side and link type, frames, and at the end what was lost."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import IO, Final

_COMMENT, _APPLICATION, _NAME, _RESOLUTION, _IF_DROP = 1, 4, 2, 9, 5
_SECRETS: Final = 10
_KEY_LOG: Final = 0x544C534B
"""Decryption Secrets Block with a TLS key log (draft-ietf-opsawg-pcapng, section 4.7)."""
APPLICATION: Final = b"provisioner-capture"
SIDE: Final = b"side "
"""How an interface is called whose frames are one captured side of several."""
_NANOSECONDS: Final = 9
_SNAPLEN: Final = 262_144


@dataclass(slots=True)
class PcapngWriter:
    """Onto a stream that is open for writing bytes."""

    stream: IO[bytes]
    comment: str = ""
    written: int = 0
    """Bytes."""
    _places: dict[tuple[int, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """The section's header."""
        options = _option(_APPLICATION, APPLICATION)
        if self.comment:
            options = _option(_COMMENT, self.comment.encode()) + options
        self._block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + options + _option(0, b""))

    def secrets(self, lines: Iterable[str]) -> None:
        """Lines of an NSS key log; they stand before the frames that are read with them."""
        log = "".join(f"{one}\n" for one in lines).encode()
        self._block(_SECRETS, struct.pack("<II", _KEY_LOG, len(log)) + log + bytes(-len(log) % 4))

    def frame(self, at_ns: int, link: int, data: bytes, length: int, side: int = 0) -> None:
        """One frame; time in nanoseconds since 1970. Sides are counted from 1; 0: there is but one."""
        place = self.interface(link, side)
        head = struct.pack("<IIIII", place, at_ns >> 32, at_ns & 0xFFFFFFFF, len(data), length)
        self._block(6, head + data + bytes(-len(data) % 4))

    def lost(self, link: int, frames: int, at_ns: int, side: int = 0) -> None:
        """How many frames the interface has dropped since the capture began."""
        place = self.interface(link, side)
        options = _option(_IF_DROP, struct.pack("<Q", frames)) + _option(0, b"")
        self._block(5, struct.pack("<III", place, at_ns >> 32, at_ns & 0xFFFFFFFF) + options)

    def interface(self, link: int, side: int = 0) -> int:
        """Its number; described where it is new."""
        if (side, link) not in self._places:
            self._places[side, link] = len(self._places)
            name = _option(_NAME, SIDE + str(side).encode()) if side else b""
            options = name + _option(_RESOLUTION, bytes([_NANOSECONDS])) + _option(0, b"")
            self._block(1, struct.pack("<HHI", link, 0, _SNAPLEN) + options)
        return self._places[side, link]

    def _block(self, kind: int, body: bytes) -> None:
        length = len(body) + 12
        self.stream.write(struct.pack("<II", kind, length) + body + struct.pack("<I", length))
        self.written += length


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)
