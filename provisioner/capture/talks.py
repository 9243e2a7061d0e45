# SPDX-License-Identifier: GPL-2.0-only
"""TCP connections as two whole directions of bytes, so that each segment can be given other bytes in their place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from provisioner.capture.blanking import crossed
from provisioner.capture.packets import ACK, SYN, Packet, Segment
from provisioner.capture.streams import Stream
from provisioner.capture.survey import flow_of, turned

LONGEST: Final = 8 << 20
"""Bytes of one direction: a boot's files are a hundredth of it; what moves an image stays sealed."""
_MOST: Final = 64 << 20
"""Bytes of all of them."""
_MOST_TALKS: Final = 4096
_HALF: Final = 1 << 31
_ALL: Final = (1 << 32) - 1


@dataclass(slots=True)
class Way:
    """One direction."""

    data: bytearray = field(default_factory=bytearray)
    broken: str = ""
    """Why not all of it is there."""
    image: bytes | None = None
    """What is to stand there instead."""
    _stream: Stream = field(default_factory=Stream)
    _base: int | None = None

    def take(self, segment: Segment, room: int) -> int:
        """Put it in order; how many bytes more it has now, of so many that it may have."""
        before = len(self.data)
        if segment.flags & SYN:
            if self._base is None:
                self._stream.begin(segment.seq)
                self._base = segment.seq + 1 & _ALL
            return 0
        for piece in self._stream.take(segment):
            if piece.missing:
                self.broken = self.broken or "frames of it are cut off"
            elif len(self.data) + len(piece.data) > min(LONGEST, before + room):
                self.broken = self.broken or "it is too long"
            elif not self.broken:
                self.data += piece.data
        if self._base is None and self._stream.next is not None:
            self._base = segment.seq
        return len(self.data) - before

    @property
    def why(self) -> str:
        """Why it cannot be read whole; empty where it can."""
        return self.broken or ("frames of it are missing" if self._stream.hole else "")

    def put(self, segment: Segment) -> bytes:
        """The segment's bytes as they are to be; where nothing is known of them they are crossed out."""
        made = bytearray(crossed(segment.data))
        image, base = self.image or b"", self._base or 0
        offset = segment.seq - base & _ALL
        offset -= _ALL + 1 if offset >= _HALF else 0
        first, last = max(offset, 0), min(offset + len(made), len(image))
        if first < last:
            made[first - offset : last - offset] = image[first:last]
        return bytes(made)


@dataclass(slots=True)
class Talk:
    """One connection."""

    isn: int | None = None
    """Of its SYN: another one on the same ports is another connection."""
    ways: dict[bytes, Way] = field(default_factory=dict)
    """By the flow from its sender."""

    def way(self, flow: bytes) -> Way:
        """The direction from this sender."""
        return self.ways.setdefault(flow, Way())


@dataclass(slots=True)
class Talks:
    """All connections of one captured side; told of each segment in the order of the file, twice."""

    everyone: list[Talk] = field(default_factory=list)
    size: int = 0
    _known: dict[bytes, list[Talk]] = field(default_factory=dict)
    _now: dict[bytes, int] = field(default_factory=dict)

    def again(self) -> None:
        """From the first segment on, once more: the same segments find the same connections."""
        self._now.clear()

    def of(self, packet: Packet, segment: Segment) -> Talk | None:
        """Whose it is; None beyond the bound."""
        flow = flow_of(packet)
        key = min(flow, turned(flow))
        known, now = self._known.setdefault(key, []), self._now.get(key, -1)
        opens = bool(segment.flags & SYN and not segment.flags & ACK)
        if now < 0 or (opens and known[now].isn != segment.seq):
            now += 1
        if now == len(known):
            if len(self.everyone) >= _MOST_TALKS:
                return None
            known.append(Talk(segment.seq if opens else None))
            self.everyone.append(known[now])
        self._now[key] = now
        return known[now]

    def take(self, packet: Packet, segment: Segment) -> None:
        """The first time: its bytes."""
        if (talk := self.of(packet, segment)) is not None:
            self.size += talk.way(flow_of(packet)).take(segment, _MOST - self.size)

    def put(self, packet: Packet, segment: Segment) -> bytes | None:
        """The second time: what is to stand in it; None where nobody has said anything of its direction."""
        talk = self.of(packet, segment)
        way = talk.ways.get(flow_of(packet)) if talk is not None else None
        return way.put(segment) if way is not None and way.image is not None else None
