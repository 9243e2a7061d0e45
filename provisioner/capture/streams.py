# SPDX-License-Identifier: GPL-2.0-only
"""One direction of a TCP connection put into order; repeated, missing and lost are counted."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from provisioner.capture.files import Frame
from provisioner.capture.packets import Segment

_HALF: Final = 1 << 31
_ALL: Final = (1 << 32) - 1
_MOST_WAITING: Final = 256
"""Segments behind a hole: a window of 64 KiB has 45."""
_BIG: Final = 1000
"""Bytes: every way that IPv4 goes takes smaller ones (RFC 791 section 3.2 asks for 576)."""


class Piece(NamedTuple):
    """Bytes in their order, or ``missing`` bytes that no frame of the capture holds."""

    data: bytes
    missing: int
    frame: Frame


@dataclass(slots=True)
class Stream:
    """Fed with the segments of one direction."""

    next: int | None = None
    """Sequence number that comes next."""
    acked: int | None = None
    """What the other end has acknowledged."""
    bytes: int = 0
    repeated: int = 0
    repeated_bytes: int = 0
    again: int = 0
    """Repeated since the other end has last acknowledged anything new."""
    sacked: bool = False
    """The other end has said that something behind a hole has arrived."""
    lost: int = 0
    """Bytes that the other end has, but the capture has not."""
    last_at: float = 0.0
    last_frame: Frame | None = None
    _passed: int = 0
    """Bytes of the largest segment that the other end has acknowledged."""
    _sent: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=_MOST_WAITING))
    """Where each segment ends that is not acknowledged yet, and how long it is."""
    _waiting: dict[int, Segment] = field(default_factory=dict)

    def begin(self, seq: int) -> None:
        """After a SYN."""
        self.next = seq + 1 & _ALL

    def take(self, segment: Segment) -> Iterator[Piece]:
        """What is in order now."""
        if not segment.length:
            return
        self.last_at, self.last_frame = segment.packet.frame.at, segment.packet.frame
        self._sent.append((segment.seq + segment.length & _ALL, segment.length))
        if self.next is None:
            self.next = segment.seq
        ahead = segment.seq - self.next & _ALL
        if ahead >= _HALF:
            yield from self._old(segment, _ALL + 1 - ahead)
        elif ahead == 0:
            yield from self._deliver(segment, 0)
            yield from self._drain()
        else:
            self._wait(segment)

    def acknowledge(self, ack: int, sacks: bool) -> Iterator[Piece]:
        """What the other end says it has: if that is more than the capture has, the capture has lost it."""
        self.sacked = self.sacked or sacks
        if self.acked is None or 0 < (ack - self.acked & _ALL) < _HALF:
            self.acked, self.again = ack, 0
        while self._sent and (ack - self._sent[0][0] & _ALL) < _HALF:
            self._passed = max(self._passed, self._sent.popleft()[1])
        if self.next is None or not self._waiting:
            return
        missing = ack - self.next & _ALL
        first = min(one - self.next & _ALL for one in self._waiting)
        if first <= missing < _HALF:
            frame = self._waiting[self.next + first & _ALL].packet.frame
            self.next, self.lost = self.next + first & _ALL, self.lost + first
            yield Piece(b"", first, frame)
            yield from self._drain()

    @property
    def hole(self) -> int:
        """Bytes that have never come though something behind them has."""
        if self.next is None or not self._waiting:
            return 0
        return min(one - self.next & _ALL for one in self._waiting)

    @property
    def too_big(self) -> bool:
        """It is repeated and does not arrive, what is behind it does, and none of its size has ever arrived."""
        size = self._sent[0][1] if self._sent else 0
        return self.sacked and self.repeated > 1 and size >= _BIG and size > self._passed

    @property
    def unacked(self) -> int:
        """Bytes that were sent and never acknowledged."""
        if self.next is None or self.acked is None:
            return 0
        end = self.next
        for segment in self._waiting.values():
            if (segment.seq + segment.length - end & _ALL) < _HALF:
                end = segment.seq + segment.length & _ALL
        open_ = end - self.acked & _ALL
        return open_ if open_ < _HALF else 0

    def _old(self, segment: Segment, back: int) -> Iterator[Piece]:
        if back < segment.length:  # some of it is new
            yield from self._deliver(segment, back)
            yield from self._drain()
        elif segment.length > 1 or back > 1:  # one byte again and again is a keep-alive
            self._repeat(segment)

    def _repeat(self, segment: Segment) -> None:
        self.repeated, self.again = self.repeated + 1, self.again + 1
        self.repeated_bytes += segment.length

    def _wait(self, segment: Segment) -> None:
        if segment.seq in self._waiting:
            self._repeat(segment)
        elif len(self._waiting) < _MOST_WAITING:
            self._waiting[segment.seq] = segment

    def _drain(self) -> Iterator[Piece]:
        while self._waiting and self.next is not None:
            seq = min(self._waiting, key=lambda one: one - (self.next or 0) + _HALF & _ALL)
            back = self.next - seq & _ALL
            if back >= _HALF:
                return
            segment = self._waiting.pop(seq)
            if back < segment.length:
                yield from self._deliver(segment, back)

    def _deliver(self, segment: Segment, skip: int) -> Iterator[Piece]:
        frame = segment.packet.frame
        self.next = segment.seq + segment.length & _ALL
        self.bytes += segment.length - skip
        if data := segment.data[skip:]:
            yield Piece(data, 0, frame)
        cut = segment.length - max(len(segment.data), skip)
        if cut > 0:
            self.lost += cut
            yield Piece(b"", cut, frame)
