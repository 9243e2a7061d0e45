"""Sends frames at the pace of speech: one every 20 ms by the caller's clock, and no burst to make up for being late.

The RTP timestamp runs on with the clock while nothing is played, so it only ever grows within a call and a phone sees
pauses as pauses; the first packet after a pause bears the marker (RFC 3551 §4.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ivr.media.g711 import FRAME, RATE, Codec
from ivr.media.rtp import Packet, build

CATCH_UP: Final = 5
"""Frames sent at once at most: 100 ms is what a phone's jitter buffer surely holds. Who calls later than that has
stretched the prompt, not lost any of it."""
_PERIOD: Final = FRAME / RATE
_ROUNDING: Final = 1e-6
"""s: errors of floating point."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a stream's numbers begin, RFC 3550 §5.1: random and unpredictable, so the caller's to choose."""

    ssrc: int
    sequence: int
    timestamp: int


class Player:
    """The outgoing stream of one call."""

    __slots__ = ("_due", "_frames", "_marker", "_next", "_payload_type", "_sequence", "_ssrc", "_timestamp")

    def __init__(self, origin: Origin) -> None:
        self._ssrc = origin.ssrc
        self._sequence = origin.sequence
        self._timestamp = origin.timestamp
        self._frames: Sequence[bytes] = ()
        self._next = 0
        self._payload_type: int = Codec.PCMU
        self._marker = False
        self._due: float | None = None

    @property
    def finished(self) -> bool:
        """Nothing is left to send."""
        return self._next >= len(self._frames)

    @property
    def ends(self) -> float:
        """When the last frame sent so far has been played out; 0 when none was."""
        return self._due or 0.0

    def start(self, frames: Sequence[bytes], codec: Codec, now: float) -> None:
        """Play these 20 ms frames in place of whatever is being played."""
        paused = self.finished
        self._frames, self._next, self._payload_type = frames, 0, codec
        if paused or self._due is None or self._due < now:
            self._resume(now)

    def recode(self, frames: Sequence[bytes], codec: Codec) -> None:
        """Go on where it is, with the same frames in another codec."""
        self._frames, self._payload_type = frames, codec

    def stop(self) -> None:
        """Fall silent: the caller has begun to speak or to press keys."""
        self._frames, self._next = (), 0

    def hold(self, now: float) -> None:
        """Nothing can be sent at this time: what is left begins anew when it can."""
        if not self.finished:
            self._resume(now)

    def next_due(self) -> float | None:
        """When ``take`` has something to send, or None when everything was sent."""
        return None if self.finished else self._due

    def take(self, now: float) -> list[bytes]:
        """The packets due by now, at most ``CATCH_UP``."""
        due = self.next_due()
        earliest = now - (CATCH_UP - 1) * _PERIOD
        if due is not None and due < earliest:
            self._resume(earliest)
        packets = []
        while (due := self.next_due()) is not None and due <= now + _ROUNDING:
            packets.append(self._packet())
            self._due = due + _PERIOD
        return packets

    def _resume(self, now: float) -> None:
        """Go on at ``now`` or after the last frame, whichever is later; the timestamp moves with the clock."""
        if self._due is not None and now > self._due:
            self._timestamp += round((now - self._due) * RATE)
        self._due = now if self._due is None else max(now, self._due)
        self._marker = True

    def _packet(self) -> bytes:
        frame = self._frames[self._next]
        packet = Packet(self._payload_type, self._marker, self._sequence, self._timestamp, self._ssrc, frame)
        self._next += 1
        self._sequence += 1
        self._timestamp += len(frame)
        self._marker = False
        return build(packet)
