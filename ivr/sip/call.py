"""One call to the IVR, as a table of phases: invited, answered, talking, and the ways out of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from ivr.sip.dialog import Dialog
from ivr.sip.effects import Flow
from ivr.sip.exchange import Asked
from ivr.sip.transaction import LIFE, T1, T2


class Phase(StrEnum):
    """Where a call stands."""

    INVITED = "invited"
    ANSWERED = "answered"
    TALKING = "talking"
    CLOSING = "closing"
    """We want to hang up and may not before the ACK (RFC 3261 §15)."""
    LEAVING = "leaving"
    """Our BYE is under way."""
    OVER = "over"


class Turn(StrEnum):
    """What may happen to a call."""

    ANSWER = "we answer"
    REJECT = "we reject"
    CANCEL = "CANCEL"
    IDLE = "nobody answers here"
    ACK = "ACK"
    NO_ACK = "no ACK"
    THEY_LEAVE = "BYE from the caller"
    WE_LEAVE = "we hang up"
    LEFT = "our BYE is answered, or nobody does"
    LOST = "connection lost"


_ROWS: Final[Mapping[Phase, Mapping[Turn, Phase]]] = {
    Phase.INVITED: {
        Turn.ANSWER: Phase.ANSWERED,
        Turn.REJECT: Phase.OVER,
        Turn.CANCEL: Phase.OVER,
        Turn.IDLE: Phase.OVER,
        Turn.THEY_LEAVE: Phase.OVER,
        Turn.WE_LEAVE: Phase.OVER,
        Turn.LOST: Phase.OVER,
    },
    Phase.ANSWERED: {
        Turn.ACK: Phase.TALKING,
        Turn.NO_ACK: Phase.OVER,
        Turn.THEY_LEAVE: Phase.OVER,
        Turn.WE_LEAVE: Phase.CLOSING,
        Turn.LOST: Phase.OVER,
    },
    Phase.TALKING: {
        Turn.ANSWER: Phase.TALKING,  # a re-INVITE, whose ACK may be missed as the first one's
        Turn.ACK: Phase.TALKING,
        Turn.NO_ACK: Phase.OVER,
        Turn.THEY_LEAVE: Phase.OVER,
        Turn.WE_LEAVE: Phase.LEAVING,
        Turn.LOST: Phase.OVER,
    },
    Phase.CLOSING: {
        Turn.ACK: Phase.LEAVING,
        Turn.NO_ACK: Phase.OVER,
        Turn.THEY_LEAVE: Phase.OVER,
        Turn.LOST: Phase.OVER,
    },
    Phase.LEAVING: {
        Turn.LEFT: Phase.OVER,
        Turn.THEY_LEAVE: Phase.OVER,
        Turn.LOST: Phase.OVER,
    },
}
CALL: Final[Mapping[tuple[Phase, Turn], Phase]] = MappingProxyType(
    {(phase, turn): to for phase, row in _ROWS.items() for turn, to in row.items()}
)
LIVE: Final = frozenset({Phase.INVITED, Phase.ANSWERED, Phase.TALKING})
"""While the shell has to do with it."""


@dataclass(slots=True)
class Unacked:
    """A 2xx that goes out again until its ACK is there, on every kind of transport (RFC 3261 §13.3.1.4)."""

    data: bytes = field(repr=False)
    cseq: int
    owes: bool
    """The offer was ours: the answer is in the ACK."""
    until: float
    next: float
    pause: float = T1

    @classmethod
    def of(cls, data: bytes, asked: Asked, now: float) -> Unacked:
        """Sent just now."""
        request = asked.request
        return cls(data, request.cseq, not request.body, now + LIFE, now + T1)

    def again(self, now: float) -> None:
        """Sent once more: twice as long until the next time."""
        self.pause = min(2 * self.pause, T2)
        self.next = now + self.pause


class Call:
    """What is known of one call; only ``Calls`` moves it."""

    __slots__ = ("agent", "asked", "asked_until", "dialog", "id", "mac", "phase", "source", "unacked", "user")

    def __init__(self, dialog: Dialog, mac: str, user: str, source: str, agent: str) -> None:
        self.id = dialog.local_tag
        """Random, our tag."""
        self.dialog = dialog
        self.mac = mac
        self.user = user
        """The name with which the phone proved its secret."""
        self.source = source
        self.agent = agent
        """User-Agent."""
        self.phase = Phase.INVITED
        self.asked: Asked | None = None
        """The INVITE or UPDATE that the shell has to answer."""
        self.asked_until = 0.0
        self.unacked: Unacked | None = None

    def __repr__(self) -> str:
        return f"Call({self.id}, {self.mac}, {self.phase})"

    @property
    def flow(self) -> Flow:
        """Where the caller was heard last."""
        return self.dialog.flow

    @property
    def offered(self) -> bytes:
        """The session description that waits for an answer, as it came; empty when the offer is ours to make."""
        return b"" if self.asked is None else self.asked.request.body

    @property
    def wake(self) -> float | None:
        """When something is to be done without anybody asking."""
        times = [self.asked_until] if self.asked is not None else []
        if self.unacked is not None:
            times.append(min(self.unacked.next, self.unacked.until))
        return min(times, default=None)
