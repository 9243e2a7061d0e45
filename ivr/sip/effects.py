"""What the core asks of the shell and tells it: frozen values, carried out in the order in which they are returned."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ivr.sip.call import Call
    from ivr.sip.sdp import Offer


@dataclass(frozen=True, slots=True)
class Flow:
    """A way to a peer that has been heard from: RFC 5626's flow, which for UDP is a pair of addresses."""

    transport: str
    """udp, tcp or tls."""
    peer: tuple[str, int]
    key: int
    """The shell's number of the connection; 0 for udp."""
    local: tuple[str, int]
    """The address that the peer reached, not the wildcard that was bound."""

    @property
    def reliable(self) -> bool:
        """Whether what is sent arrives or the connection ends: nothing is sent twice by a transaction then."""
        return self.transport != "udp"

    def shares_host(self, other: Flow) -> bool:
        """Whether the same host is at the other end, whatever its port."""
        return self.peer[0] == other.peer[0]


@dataclass(frozen=True, slots=True)
class Credential:
    """Whose secret an authentication user name stands for."""

    mac: str
    secret: str = field(repr=False)
    older: tuple[str, ...] = field(default=(), repr=False)
    """Secrets that count as well: of keys that are being exchanged."""


@dataclass(frozen=True, slots=True)
class Login:
    """User and secret with which we answer a phone that challenges our request."""

    user: str
    secret: str = field(repr=False)


class Why(StrEnum):
    """How a call came to its end."""

    CALLER = "caller hung up"
    OURS = "we hung up"
    NO_ACK = "the answer was never acknowledged"
    NO_SESSION = "the acknowledgement brought no usable session"
    CONNECTION = "the connection is gone"
    UNANSWERED = "nobody answered it here"


class Stranger(StrEnum):
    """Why a message got no further; stable words, for logs and for programs that read them."""

    TOO_MANY = "too-many-messages"
    GARBAGE = "garbage"
    SCANNER = "scanner"
    NOT_OURS = "not-ours"
    AMPLIFIES = "answer-larger-than-request"
    WRONG_SECRET = "wrong-secret"  # noqa: S105  # the name of a reason
    OTHERS_SECRET = "others-secret"  # noqa: S105  # the name of a reason


@dataclass(frozen=True, slots=True)
class Send:
    """Put these bytes on that flow."""

    flow: Flow
    data: bytes = field(repr=False)  # a REGISTER's answer has nothing secret, an INFO's digits are


@dataclass(frozen=True, slots=True)
class Close:
    """End that connection; ``closed`` need not be told of it."""

    flow: Flow


@dataclass(frozen=True, slots=True)
class Invited:
    """A phone that proved its secret calls; answer, ring or reject it. Without an offer ours goes into the answer."""

    call: Call
    offer: Offer | None
    mac: str


@dataclass(frozen=True, slots=True)
class Reoffered:
    """The caller changes the session (hold, another codec); answer or reject it as the first one."""

    call: Call
    offer: Offer | None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Our answer has arrived; ``offer`` is what the caller chose when the offer was ours."""

    call: Call
    offer: Offer | None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The caller gave up before we answered: the call is over."""

    call: Call


@dataclass(frozen=True, slots=True)
class Hungup:
    """The call is over. Each Invited ends in one Cancelled, one Hungup or the shell's own ``reject``."""

    call: Call
    why: Why


@dataclass(frozen=True, slots=True)
class Keyed:
    """A key, told by INFO."""

    call: Call
    digit: str = field(repr=False)  # digits of a code


@dataclass(frozen=True, slots=True)
class Registered:
    """A phone is registered, anew or again."""

    mac: str
    flow: Flow
    contact: str
    expires: int
    """Seconds granted."""
    user_agent: str


@dataclass(frozen=True, slots=True)
class Unregistered:
    """A phone took its registration back, let it expire, or lost its connection."""

    mac: str


@dataclass(frozen=True, slots=True)
class Notified:
    """What became of a NOTIFY: the phone's final status, 0 when nobody answered."""

    token: str
    status: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Somebody with a wrong secret, or with another phone's; for the log, which may feed a ban list.

    Over UDP whoever has a challenge of ours may say that it was somebody else's address: only a connection proves one.
    """

    flow: Flow
    why: Stranger
    mac: str
    """Whose secret it was, when it was anybody's."""


Effect = (
    Send
    | Close
    | Invited
    | Reoffered
    | Acknowledged
    | Cancelled
    | Hungup
    | Keyed
    | Registered
    | Unregistered
    | Notified
    | Refused
)
