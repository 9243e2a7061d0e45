"""A simulated phone's mouth and ear: RTP (RFC 3550) with G.711 and telephone-events (RFC 4733). Time is given."""

from __future__ import annotations

import io
import struct
import wave
from array import array
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from provisioner.errors import Invalid
from provisioner.simulator.caller_message import Garbled
from provisioner.simulator.caller_sdp import PCMA, PCMU

RATE: Final = 8000
FRAME: Final = 160
"""Samples of one packet: 20 ms."""
PACE: Final = FRAME / RATE
KEYS: Final = "0123456789*#ABCD"
"""In the order of their event numbers (RFC 4733 section 3.2)."""
_TONE: Final = 5
"""Packets while a key is held: 100 ms."""
_ENDS: Final = 3
"""Packets that say a key was let go, because one may be lost (section 2.5.1.4)."""
_GAP: Final = 3
"""Packets of silence between two keys."""
_VOLUME: Final = 10
"""-dBm0 of the tone that an event stands for."""
_SILENCE: Final = {PCMU: b"\xff" * FRAME, PCMA: b"\xd5" * FRAME}
_LONGEST: Final = 300 * RATE
"""Samples that are kept: five minutes."""
_LOUD: Final = 250
"""Largest sample of a packet from which on somebody speaks; the silence of a line stays far below."""
_HEADER: Final = struct.Struct("!BBHII")


def _mu(code: int) -> int:
    """ITU-T G.711, mu-law."""
    code = ~code & 0xFF
    size = (((code & 0x0F) << 3) + 0x84) << ((code >> 4) & 7)
    return 0x84 - size if code & 0x80 else size - 0x84


def _a(code: int) -> int:
    """ITU-T G.711, A-law."""
    code ^= 0x55
    segment = (code >> 4) & 7
    size = ((code & 0x0F) << 4) + (8 if segment == 0 else 0x108)
    size <<= max(segment - 1, 0)
    return size if code & 0x80 else -size


_TABLES: Final = {PCMU: [_mu(code) for code in range(256)], PCMA: [_a(code) for code in range(256)]}


def decode(codec: int, payload: bytes) -> array[int]:
    """16-bit samples of a G.711 payload."""
    table = _TABLES[codec]
    return array("h", [table[code] for code in payload])


@dataclass(frozen=True, slots=True)
class Packet:
    """One RTP packet."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    source: int
    payload: bytes = field(repr=False)

    def encode(self) -> bytes:
        """As it goes out."""
        kind = self.payload_type | (0x80 if self.marker else 0)
        return _HEADER.pack(0x80, kind, self.sequence, self.timestamp, self.source) + self.payload


def read_packet(data: bytes) -> Packet:
    """One datagram; Garbled when it is no RTP."""
    if len(data) < _HEADER.size or data[0] >> 6 != 2:
        raise Garbled("no RTP")
    bits, kind, sequence, timestamp, source = _HEADER.unpack_from(data)
    start = _HEADER.size + 4 * (bits & 0x0F)
    if bits & 0x10:  # an extension: its length stands in its third and fourth byte
        if len(data) < start + 4:
            raise Garbled("an RTP extension that is cut off")
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4])
    end = len(data) - (data[-1] if bits & 0x20 else 0)
    if start > end:
        raise Garbled("an RTP packet that is cut off")
    return Packet(kind & 0x7F, bool(kind & 0x80), sequence, timestamp, source, data[start:end])


class Mouth:
    """What this phone sends every 20 ms: silence, and the keys that are pressed."""

    def __init__(self, codec: int, events: int | None, entropy: bytes) -> None:
        self._codec, self._events = codec, events
        self._sequence, self._timestamp, self._source = struct.unpack("!HII", entropy[:10])
        self._pressed: deque[str] = deque()
        self._key = ""
        self._ticks = 0
        self._began = 0
        self._talks = False

    @property
    def busy(self) -> bool:
        """Whether keys are still being sent."""
        return bool(self._pressed or self._key)

    def press(self, keys: str) -> None:
        """Press these one after the other; Invalid for a key that no phone has."""
        if self._events is None:
            raise Invalid("keys", "the other side has not agreed to telephone-events")
        if strange := [one for one in keys if one not in KEYS]:
            raise Invalid("keys", f"{len(strange)} of them are no keys of a phone")
        self._pressed.extend(keys)

    def packet(self) -> bytes:
        """The next one; to be called every 20 ms."""
        if not self._key and self._pressed:
            self._key, self._ticks, self._began = self._pressed.popleft(), 0, self._timestamp
        made = self._event() if self._key and self._ticks < _TONE + _ENDS else self._silence()
        if self._key:
            self._ticks += 1
            if self._ticks >= _TONE + _ENDS + _GAP:
                self._key = ""
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._timestamp = (self._timestamp + FRAME) & 0xFFFFFFFF
        return made.encode()

    def _silence(self) -> Packet:
        first, self._talks = not self._talks, True
        return Packet(self._codec, first, self._sequence, self._timestamp, self._source, _SILENCE[self._codec])

    def _event(self) -> Packet:
        """Section 2.5.1: the timestamp of the key's begin in all its packets, the duration growing, then three ends."""
        self._talks = False
        lasted = min(self._ticks + 1, _TONE) * FRAME
        end = 0x80 if self._ticks >= _TONE else 0
        payload = struct.pack("!BBH", KEYS.index(self._key), end | _VOLUME, lasted)
        kind = self._events or 0
        return Packet(kind, self._ticks == 0, self._sequence, self._began, self._source, payload)


class Ear:
    """What this phone hears, put in its place by the packets' own clock."""

    def __init__(self) -> None:
        self.packets = 0
        self.last_loud: float | None = None
        """When somebody was heard to speak last."""
        self.loud = 0
        """Packets in which somebody spoke."""
        self._samples = array("h")
        self._source: int | None = None
        self._first = 0
        self._base = 0

    def take(self, data: bytes, now: float) -> None:
        """One datagram; what is no sound is passed over."""
        try:
            packet = read_packet(data)
        except Garbled:
            return
        if packet.payload_type in _TABLES and packet.payload:
            self.packets += 1
            sound = decode(packet.payload_type, packet.payload)
            self._place(packet, sound)
            if max(map(abs, sound)) >= _LOUD:
                self.last_loud = now
                self.loud += 1

    def _place(self, packet: Packet, sound: array[int]) -> None:
        if packet.source != self._source:
            self._source, self._first, self._base = packet.source, packet.timestamp, len(self._samples)
        since = (packet.timestamp - self._first) & 0xFFFFFFFF
        # Before the first one: it was overtaken on the way.
        place = self._base + (since if since < 0x80000000 else since - 0x100000000)
        if place < 0 or place + len(sound) > _LONGEST:
            return
        if (missing := place + len(sound) - len(self._samples)) > 0:
            self._samples.extend([0] * missing)
        self._samples[place : place + len(sound)] = sound

    @property
    def seconds(self) -> float:
        """From the first sample that was heard to the last."""
        return len(self._samples) / RATE

    @property
    def spoken(self) -> float:
        """Seconds of it in which somebody spoke."""
        return self.loud * PACE

    @property
    def samples(self) -> array[int]:
        """All of it, 8 kHz."""
        return self._samples

    def wav(self) -> bytes:
        """All of it as a WAV file."""
        out = io.BytesIO()
        with wave.open(out, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            samples = array("h", self._samples)
            if struct.pack("=H", 1) != struct.pack("<H", 1):
                samples.byteswap()
            file.writeframes(samples.tobytes())
        return out.getvalue()
