"""A key press is one digit, however often and in whichever ways it is told: RFC 4733, SIP INFO, a tone in the sound.

Rule 1: an event is reported at its first packet that arrives, whichever it is; six or more tell of the same press, so
one lost packet, the marker's or all three of the end, costs nothing.
Rule 2: a press is (SSRC, timestamp, event). A new timestamp still is the same press when it is the next segment of a
held key, or comes so soon after that no finger can have lifted, unless it was heard that it had.
Rule 3: the better way wins for the rest of the call: once an event was heard, INFO and tones are not listened to; once
INFO was, tones are not. What the lesser way told first is recognised when the better way tells it again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from ivr.media.g711 import RATE

KEYS: Final = "0123456789*#ABCD"
"""By event code, RFC 4733 §3.2; the events behind them are no keys."""

_REMEMBERED: Final = 64
"""Presses: more than four full codes. A press forgotten is only told again if it is also sent again."""
_SEGMENT: Final = range(0xFE00, 0x10000)
"""Timestamp units from one segment of a held key to the next, RFC 4733 §2.5.1.3: 0xFFFF, or a few packets less."""
_HELD: Final = 1.0
"""s: a held key is heard of every 20 to 100 ms, so longer silence means that it was let go."""
_TOO_SOON: Final = RATE * 80 // 1000
"""Timestamp units: ITU-T Q.24 has 40 ms of tone and 40 ms of pause for the fastest dialler. Senders exist that move
the timestamp with each packet of an event, which RFC 4733 §2.2.1 forbids; others count it in milliseconds, so that a
start which follows an end is a press of its own, however near."""
_RETOLD_BY_INFO: Final = 10.0
"""s: phones send INFO when the key is let go, the tone was heard when it went down."""
_RETOLD_BY_EVENT: Final = 0.15
"""s by which the start that an event claims may lie behind what came over the other way: their paths differ."""
_UNMATCHED: Final = 32
"""Digits remembered to recognise them when they are told again."""


class Way(IntEnum):
    """How a digit came, worse to better."""

    TONE = 0
    INFO = 1
    EVENT = 2


@dataclass(frozen=True, slots=True)
class Digit:
    """One press of a key and how it was told. Which key it was is a secret and does not print."""

    key: str = field(repr=False)
    way: Way


@dataclass(slots=True)
class _Press:
    """One event with the packets heard of it so far."""

    timestamp: int
    event: int
    ended: bool
    heard: float


class Receiver:
    """The keys pressed in one call; each method returns the digit that it is the first to be told of, or ``""``."""

    __slots__ = ("_best", "_last", "_presses", "_told")

    def __init__(self) -> None:
        self._best = Way.TONE
        self._presses: dict[tuple[int, int, int], _Press] = {}
        self._last: dict[int, _Press] = {}
        self._told: deque[tuple[Way, str, float]] = deque(maxlen=_UNMATCHED)

    def listens(self, way: Way) -> bool:
        """Whether digits that come this way still count in this call."""
        return way >= self._best

    def event(self, ssrc: int, timestamp: int, payload: bytes, now: float) -> str:
        """A telephone-event packet of RFC 4733."""
        if len(payload) < 4 or payload[0] >= len(KEYS):
            return ""
        event, ended, duration = payload[0], bool(payload[1] & 0x80), payload[2] << 8 | payload[3]
        if not self._is_new(ssrc, timestamp, event, ended, now):
            return ""
        began = now - duration / RATE
        return self._digit(Way.EVENT, KEYS[event], now, began - _RETOLD_BY_EVENT)

    def info(self, digit: str, now: float) -> str:
        """A digit of an INFO request. Its body is the signalling's to read, and its retransmissions to drop."""
        return self._digit(Way.INFO, digit, now, now - _RETOLD_BY_INFO)

    def tone(self, digit: str, now: float) -> str:
        """A digit heard in the sound."""
        return self._digit(Way.TONE, digit, now, now)

    def _digit(self, way: Way, digit: str, now: float, since: float) -> str:
        if len(digit) != 1 or digit not in KEYS or not self.listens(way):
            return ""
        self._best = way
        if self._was_told(way, digit, since):
            return ""
        if way < Way.EVENT:
            self._told.append((way, digit, now))
        return digit

    def _was_told(self, way: Way, digit: str, since: float) -> bool:
        """Whether a lesser way told this press; it and what came before it are then done with."""
        for index, (other, told, at) in enumerate(self._told):
            if other < way and told == digit and at >= since:
                for _ in range(index + 1):
                    self._told.popleft()
                return True
        return False

    def _is_new(self, ssrc: int, timestamp: int, event: int, ended: bool, now: float) -> bool:
        key = (ssrc, timestamp, event)
        known = self._presses.get(key)
        if known is not None:
            known.ended, known.heard = known.ended or ended, now
            return False
        last = self._last.get(ssrc)
        press = _Press(timestamp, event, ended, now)
        self._remember(ssrc, key, press)
        return last is None or not _goes_on(last, press)

    def _remember(self, ssrc: int, key: tuple[int, int, int], press: _Press) -> None:
        self._presses[key] = press
        self._last[ssrc] = press
        if len(self._presses) > _REMEMBERED:
            oldest = next(iter(self._presses))
            forgotten = self._presses.pop(oldest)
            if self._last.get(oldest[0]) is forgotten:
                del self._last[oldest[0]]


def _goes_on(last: _Press, press: _Press) -> bool:
    """Whether a new timestamp belongs to the press before it."""
    apart = press.timestamp - last.timestamp & 0xFFFFFFFF
    if press.event != last.event:
        return False
    if apart < _TOO_SOON:
        return press.ended or not last.ended
    return apart in _SEGMENT and not last.ended and press.heard - last.heard < _HELD
