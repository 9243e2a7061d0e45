"""Puts the caller's sound in order for the tone detector: each packet once, none out of turn, pauses as silence."""

from __future__ import annotations

from typing import Final

from ivr.media.g711 import RATE, Codec
from ivr.media.goertzel import Detector
from ivr.media.rtp import Packet

_PAUSE: Final = RATE * 80 // 1000
"""Samples missing that are silence: a phone that suppresses it. Less is a few lost packets, and a tone that goes on."""
_SILENCE: Final = bytes(2 * RATE // 10)
"""100 ms, enough to end any tone."""


class Listener:
    """Keys heard in the sound of one call."""

    __slots__ = ("_detector", "_expected", "_sequence", "_ssrc")

    def __init__(self) -> None:
        self._detector = Detector()
        self._ssrc = -1
        self._sequence = 0
        self._expected = 0

    def take(self, packet: Packet) -> list[str]:
        """The next packet of PCMU or PCMA as it came from the network; the keys recognised in it."""
        found = []
        if packet.ssrc != self._ssrc:
            self._ssrc = packet.ssrc
            found = self._detector.feed(_SILENCE)
        elif not 0 < packet.sequence - self._sequence & 0xFFFF < 0x8000:
            return []  # told already, or too late to be put in its place
        elif _PAUSE <= packet.timestamp - self._expected & 0xFFFFFFFF < 0x80000000:
            found = self._detector.feed(_SILENCE)
        self._sequence = packet.sequence
        self._expected = packet.timestamp + len(packet.payload)
        return found + self._detector.feed(Codec(packet.payload_type).decode(packet.payload))
