"""The media of one call: datagrams in, digits out; prompts in, datagrams with their addresses out. Sans-I/O.

Work a packet is bounded before the packet is read: strangers by one comparison, floods by ``_BYTES_A_SECOND``. The
phone's own stream has an allowance of its own, which nobody uses up who only knows the phone's address.

Tones in the sound are listened for only where the phone has agreed to no telephone-event, and only until it tells a
digit in another way: RFC 4733 is exact, and a detector in Python costs more than all the rest of a call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ivr.media import dtmf, rtp
from ivr.media.dtmf import Digit, Way
from ivr.media.g711 import Codec
from ivr.media.latch import Address, Latch
from ivr.media.listener import Listener
from ivr.media.player import Origin, Player

DEAD_AFTER: Final = 30.0
"""s without RTP after which a call has lost its phone."""

_COMFORT_NOISE: Final = 13
"""RFC 3389; a sign of life, nothing to hear."""
_BYTES_A_SECOND: Final = 40_000
"""Four times the sound of a phone with 10 ms packets (9 200), so bursts after a pause of the network fit."""
_LEAST_COST: Final = 64
"""Bytes a packet counts for at least: small ones cost as much to handle."""
_LARGEST: Final = 2048
"""Bytes of a datagram that is looked at; 60 ms of G.711 have 492."""

Prompt = Mapping[Codec, Sequence[bytes]]
"""The same sound in 20 ms frames of each codec, see ``Codec.frames``."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What offer and answer have agreed on."""

    codec: Codec
    events: int | None
    """Payload type of telephone-event, None when the phone has not offered it."""
    claimed: Address | None
    """Where the phone says that it listens; None for 0.0.0.0 and when nothing was said."""
    held: bool = False
    """The phone does not want to hear us: sendonly or inactive, RFC 3264 §8.4."""


@dataclass(slots=True)
class Counts:
    """Packets of one call by what became of them."""

    heard: int = 0
    foreign: int = 0
    """From a source that is not the phone."""
    foreign_keys: int = 0
    """Those of them that would have told a key: somebody tries to key digits into this call."""
    malformed: int = 0
    ignored: int = 0
    """Of a payload type that nobody has agreed on."""
    flooded: int = 0
    """More than any phone sends."""


class _Allowance:
    """What is read in a second."""

    __slots__ = ("_spent", "_window")

    def __init__(self, now: float) -> None:
        self._window = now
        self._spent = 0

    def affords(self, size: int, now: float) -> bool:
        """Whether so many bytes more are read now."""
        if now - self._window >= 1.0:
            self._window, self._spent = now, 0
        self._spent += max(size, _LEAST_COST)
        return self._spent <= _BYTES_A_SECOND


class Session:
    """One call's media; ``signalling`` is where its SIP was proven to come from."""

    def __init__(self, terms: Terms, origin: Origin, signalling: Address, now: float) -> None:
        self.counts = Counts()
        self._latch = Latch(terms.claimed, signalling, now)
        self._player = Player(origin)
        self._receiver = dtmf.Receiver()
        self._prompt: Prompt = {}
        self._listener: Listener | None = None
        self._own, self._others = _Allowance(now), _Allowance(now)
        self._agree(terms)

    def _agree(self, terms: Terms) -> None:
        self._terms = terms
        self._wanted = {*Codec, _COMFORT_NOISE, terms.events}
        if terms.events is not None:
            self._listener = None
        elif self._listener is None and self._receiver.listens(Way.TONE):
            self._listener = Listener()

    # --- what comes in ------------------------------------------------------------------------------------

    def receive(self, packet: bytes, source: Address, now: float) -> list[Digit]:
        """A datagram on this call's port; the digits that it is the first to tell of."""
        if self._latch.foreign(source):
            self._is_foreign(packet[1] & 0x7F if len(packet) > 1 else -1)
            return []
        if len(packet) > _LARGEST:
            self.counts.malformed += 1
            return []
        followed = self._latch.follows(source, int.from_bytes(packet[8:12], "big"))
        if not (self._own if followed else self._others).affords(len(packet), now):
            self.counts.flooded += 1
            return []
        read = self._read(packet)
        return self._digits(read, now) if read and self._is_heard(read, source, now) else []

    def info(self, digit: str, now: float) -> list[Digit]:
        """A digit of an INFO request within this call's dialog, unless it was told already."""
        return self._told(Way.INFO, [self._receiver.info(digit, now)])

    def _read(self, packet: bytes) -> rtp.Packet | None:
        try:
            read = rtp.parse(packet)
        except rtp.RtpError:
            self.counts.malformed += 1
            return None
        if read.payload_type not in self._wanted:
            self.counts.ignored += 1
            return None
        return read

    def _is_heard(self, read: rtp.Packet, source: Address, now: float) -> bool:
        waiting = self._latch.destination is None
        if not self._latch.heard(source, read.ssrc, now):
            self._is_foreign(read.payload_type)
            return False
        self.counts.heard += 1
        if waiting:
            self._player.hold(now)
        return True

    def _is_foreign(self, payload_type: int) -> None:
        self.counts.foreign += 1
        self.counts.foreign_keys += payload_type == self._terms.events

    def _digits(self, read: rtp.Packet, now: float) -> list[Digit]:
        if read.payload_type == self._terms.events:
            return self._told(Way.EVENT, [self._receiver.event(read.ssrc, read.timestamp, read.payload, now)])
        if self._listener is None or read.payload_type == _COMFORT_NOISE:
            return []
        return self._told(Way.TONE, [self._receiver.tone(key, now) for key in self._listener.take(read)])

    def _told(self, way: Way, keys: list[str]) -> list[Digit]:
        if not self._receiver.listens(Way.TONE):
            self._listener = None
        return [Digit(key, way) for key in keys if key]

    # --- what goes out ------------------------------------------------------------------------------------

    @property
    def destination(self) -> Address | None:
        """Where packets go to at this time; None while no address may be sent to."""
        return None if self._terms.held else self._latch.destination

    @property
    def finished(self) -> bool:
        """Nothing is being played, or all of it was sent."""
        return self._player.finished

    @property
    def ends(self) -> float:
        """When the last packet sent has been played out: the time to hang up after a last prompt."""
        return self._player.ends

    def play(self, prompt: Prompt, now: float) -> None:
        """Play this instead of whatever is being played; it waits until there is somebody to hear it."""
        self._prompt = prompt
        self._player.start(prompt[self._terms.codec], self._terms.codec, now)

    def stop(self) -> None:
        """Fall silent at once: barge-in."""
        self._player.stop()

    def next_due(self) -> float | None:
        """When ``outgoing`` has packets; None for not before something is played or the phone is heard."""
        return self._player.next_due() if self.destination else None

    def outgoing(self, now: float) -> list[tuple[bytes, Address]]:
        """The packets to send now and where to."""
        destination = self.destination
        return [(packet, destination) for packet in self._player.take(now)] if destination else []

    # --- what changes -------------------------------------------------------------------------------------

    def agree(self, terms: Terms, now: float, signalling: Address | None = None) -> None:
        """Offer and answer were exchanged anew: hold, another codec, another address, SIP proven on another host."""
        if terms.codec is not self._terms.codec and not self._player.finished:
            self._player.recode(self._prompt[terms.codec], terms.codec)
        waiting = self.destination is None
        self._latch.agree(terms.claimed, signalling)
        self._agree(terms)
        if waiting:
            self._player.hold(now)

    @property
    def moves(self) -> int:
        """How often another port has taken over."""
        return self._latch.moves

    @property
    def silent_since(self) -> float:
        """When the phone was heard last, or the call began."""
        return self._latch.silent_since

    def is_dead(self, now: float) -> bool:
        """Whether the phone has been silent for ``DEAD_AFTER``."""
        return now - self.silent_since >= DEAD_AFTER
