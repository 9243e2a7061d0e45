# SPDX-License-Identifier: GPL-2.0-only
"""One TCP connection that the phone began: how it opened, what was said, who ended it, where it stood still."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from provisioner.capture.fence import fenced
from provisioner.capture.files import Frame
from provisioner.capture.http import METHODS, HttpTalk
from provisioner.capture.lines import Fact, fact
from provisioner.capture.packets import ACK, FIN, RST, SYN, Segment
from provisioner.capture.sip import SipTalk, is_sip
from provisioner.capture.streams import Piece, Stream
from provisioner.capture.tls import PHONE, SERVER, TlsTalk

BETWEEN: Final = "between"
_ANOTHER_HOP: Final = 2
"""A reset whose TTL differs by more than this from the SYN-ACK's has come from somewhere else on the way."""
_MIRRORED: Final = 0.05
"""Seconds within which the same packet again is a copy: mirror ports and loopbacks show what goes out and comes in."""
_MIRRORED_NAMELESS: Final = 0.002
"""The same without an IP id, by which a copy is told from a repetition; nobody repeats as soon as that."""
_MOST_RECENT: Final = 256
_SILENT: Final = 5.0
"""Seconds after which an answer that does not come counts as standing still."""
_SEGMENT: Final = 1448
"""Bytes of a full segment on Ethernet, to say how many frames a gap may be."""
_WAITING: Final = {"hello": "handshake", "handshake": "handshake", "request": "answer"}
"""What is waited for after each stage, in the words of the facts."""


@dataclass(slots=True)
class Connection:
    """Fed with its segments; `finish` tells what can be said only at the end."""

    name: str
    server: str
    port: int
    at: float = 0.0
    last: float = 0.0
    syn: Frame | None = None
    isn: int | None = None
    syns: int = 0
    syn_ack: Frame | None = None
    syn_acks: int = 0
    acked: bool = False
    """The phone has answered the SYN-ACK."""
    over: bool = False
    _ttl: dict[str, int] = field(default_factory=dict)
    _streams: dict[str, Stream] = field(default_factory=lambda: {PHONE: Stream(), SERVER: Stream()})
    talk: TlsTalk | HttpTalk | SipTalk | None = None
    _recent: dict[tuple[str, int, int, int, int, int], float] = field(default_factory=dict)
    _spoken: dict[str, float] = field(default_factory=dict)
    _closed_by: str = ""
    _left: bool = False
    """The phone has ended its side."""
    _content: bool = False
    """It had everything then: what comes later it need not acknowledge."""

    def take(self, by: str, segment: Segment) -> Iterator[Fact]:
        """What one segment tells."""
        packet = segment.packet
        if self._is_copy(by, segment):
            return
        self.at, self.last = self.at or packet.frame.at, packet.frame.at
        if segment.flags & SYN:
            self._opening(by, segment)
            return
        if segment.flags & RST:
            yield from self._reset(by, segment)
            return
        self.acked = self.acked or by == PHONE
        if segment.flags & ACK:
            other = SERVER if by == PHONE else PHONE
            yield from self._said(other, self._streams[other].acknowledge(segment.ack, segment.sacks), packet.frame)
        yield from self._said(by, self._streams[by].take(segment), packet.frame)
        if segment.flags & FIN:
            yield from self._closed(by, packet.frame)

    def _is_copy(self, by: str, one: Segment) -> bool:
        mark = (by, one.seq, one.ack, one.flags, one.length, one.packet.ident)
        before, now = self._recent.get(mark), one.packet.frame.at
        if before is not None and now - before < (_MIRRORED if one.packet.ident else _MIRRORED_NAMELESS):
            return True
        if len(self._recent) >= _MOST_RECENT:
            self._recent.clear()
        self._recent[mark] = now
        return False

    def reopened_by(self, segment: Segment) -> bool:
        """Whether this SYN begins another connection on the same ports."""
        return bool(segment.flags & SYN and not segment.flags & ACK and self.isn not in (None, segment.seq))

    def finish(self, end: float, *, trusted: bool) -> Iterator[Fact]:
        """How it opened and where it stood still; not trusted means that the capture has lost frames."""
        if self.syn:
            yield self._fact("syn", self.syn, to=self.server, port=self.port, times=self.syns)
        if self.syn_ack:
            yield self._fact("syn_ack", self.syn_ack, times=self.syn_acks)
        if isinstance(self.talk, HttpTalk):
            yield from self.talk.end()
        for by, stream in self._streams.items():
            yield from self._losses(by, stream)
        stalled = self._stalled(end, trusted=trusted)
        if stalled is not None:
            yield stalled

    @property
    def stage(self) -> str:
        """After what something happened, in the words of the facts."""
        return self.talk.stage if self.talk else "syn"

    @property
    def random(self) -> bytes:
        """Of its ClientHello: the same on both sides of any address translation."""
        return self.talk.random if isinstance(self.talk, TlsTalk) else b""

    def _opening(self, by: str, segment: Segment) -> None:
        frame = segment.packet.frame
        self._ttl.setdefault(by, segment.packet.ttl)
        self._streams[by].begin(segment.seq)
        if segment.flags & ACK:
            self.syn_ack, self.syn_acks = self.syn_ack or frame, self.syn_acks + 1
        else:
            self.syn, self.syns, self.isn = self.syn or frame, self.syns + 1, segment.seq

    def _said(self, by: str, pieces: Iterator[Piece], frame: Frame) -> Iterator[Fact]:
        for piece in pieces:
            self._spoken[by] = frame.at
            if self.talk is None and piece.data:
                self.talk = _talk_of(by, piece.data, self.name)
            if self.talk is None:
                continue
            if piece.missing:
                self.talk.gap(by, piece.missing)
            else:
                yield from self._dissected(by, piece)

    def _dissected(self, by: str, piece: Piece) -> Iterator[Fact]:
        talk = self.talk
        if talk is not None:
            what = type(talk).__name__.removesuffix("Talk").upper()
            yield from fenced(what, lambda: talk.data(by, piece.data, piece.frame), piece.frame)

    def _reset(self, by: str, segment: Segment) -> Iterator[Fact]:
        """Not a cause when its sender, or the phone, has said good-bye before."""
        if self.over or self._closed_by in (by, PHONE):
            self.over = True
            return
        self.over = True
        if self._complete() or (isinstance(self.talk, TlsTalk) and self.talk.refused):
            yield from self._closed(by, segment.packet.frame)  # what was said before it is the cause
            return
        ttl, before = segment.packet.ttl, self._ttl.get(by)
        foreign = before is not None and abs(ttl - before) > _ANOTHER_HOP
        yield self._fact(
            "reset",
            segment.packet.frame,
            by=BETWEEN if foreign else by,
            after=self.stage,
            ttl=ttl,
            ttl_syn_ack=before if by == SERVER else None,
        )

    def _complete(self) -> bool:
        return self.stage == "answer" and not self._streams[SERVER].hole

    def _closed(self, by: str, frame: Frame) -> Iterator[Fact]:
        if by == PHONE and not self._left:
            server = self._streams[SERVER]
            self._left, self._content = True, not (server.unacked or server.hole)
        if self._closed_by:
            return
        self._closed_by = by
        answered = self.talk.answered if self.talk else 0
        first = self.talk.left_by if isinstance(self.talk, TlsTalk) else ""
        yield self._fact("closed", frame, by=first or by, after=self.stage, bytes=answered)

    def _losses(self, by: str, stream: Stream) -> Iterator[Fact]:
        if stream.repeated and stream.last_frame:
            yield self._fact(
                "retransmitted", stream.last_frame, by=by, times=stream.repeated, bytes=stream.repeated_bytes
            )
        if stream.lost and stream.last_frame:
            frames = math.ceil(stream.lost / _SEGMENT)
            yield self._fact("dropped", stream.last_frame, frames=frames, by=by)

    def _stalled(self, end: float, *, trusted: bool) -> Fact | None:
        """Bytes that never arrive, or an answer that never comes; of silence nothing is said where frames are lost."""
        for by, stream in self._streams.items():
            if by == SERVER and self._content:
                continue
            if stream.last_frame and stream.unacked and (stream.hole or stream.again):
                return self._standing(stream.last_frame, by, stream)
        return self._silence(end) if trusted else None

    def _silence(self, end: float) -> Fact | None:
        """Everything that was sent has arrived, and still nothing comes back."""
        if self.stage not in _WAITING or any(one.lost for one in self._streams.values()):
            return None
        quiet = (self.last if self._closed_by or self.over else end) - max(self._spoken.values(), default=end)
        by_phone = self._spoken.get(PHONE, 0.0) >= self._spoken.get(SERVER, 0.0)
        frame = self._streams[PHONE if by_phone else SERVER].last_frame
        if frame is None or quiet < _SILENT or not self._is_missed(by_phone=by_phone):
            return None
        return self._fact(
            "stalled",
            frame,
            in_=_WAITING[self.stage],
            waits_for=SERVER if by_phone else PHONE,
            seconds=round(quiet, 1),
            **_NOTHING,
        )

    def _is_missed(self, *, by_phone: bool) -> bool:
        """Who has waited leaves in the end; whose turn it was may leave as well, and then nothing stood still."""
        if self._closed_by == SERVER:
            done = isinstance(self.talk, TlsTalk) and self.talk.done
            return not by_phone and self.stage == "handshake" and not done
        return by_phone or not self._closed_by

    def _standing(self, frame: Frame, by: str, stream: Stream) -> Fact:
        return self._fact(
            "stalled",
            frame,
            in_=_WAITING.get(self.stage, "answer"),
            waits_for=by,
            retransmits=stream.repeated,
            sacked=int(stream.sacked or bool(stream.hole)),
            lost=int(bool(stream.hole) or stream.too_big),
            unacked=math.ceil(stream.unacked / _SEGMENT),
        )

    def _fact(self, kind: str, frame: Frame, **values: object) -> Fact:
        return fact(kind, frame.at, frame.ref, connection=self.name, **values)


_NOTHING: Final = {"retransmits": 0, "sacked": 0, "lost": 0, "unacked": 0}


def _talk_of(by: str, data: bytes, name: str) -> TlsTalk | HttpTalk | SipTalk | None:
    """Which protocol it is, by its first bytes."""
    if by == PHONE and data[:4] in METHODS and not is_sip(data):
        return HttpTalk(name)
    if is_sip(data):
        return SipTalk(name)
    if len(data) > 2 and 20 <= data[0] <= 23 and data[1] == 3:
        return TlsTalk(name, stage="hello" if by == PHONE else "handshake")
    if data.startswith(b"HTTP/1."):
        return HttpTalk(name)
    return None
