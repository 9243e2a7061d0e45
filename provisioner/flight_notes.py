"""What a worker jots down of one connection while it lives: references and plain values, judged when it is over. Pure.

Nothing here is parsed, masked or copied: most connections are good, and with those left out nothing more is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from provisioner.model import BootView, DeviceFile, ListenerKind, Peer

REQUESTS: Final = 32
"""Requests kept of one connection; the others are counted."""
HELLO: Final = 4096
"""Bytes of a ClientHello kept until it is over; post-quantum key shares make two thousand of them."""


class Asked(NamedTuple):
    """One request and its answer."""

    at: float
    method: str
    target: str
    """As sent: it may hold a token, and is masked before it is written."""
    file: DeviceFile | None
    status: int
    size: int
    headers: str
    """Of the answer; the ETag is read out of them later."""
    reason: str
    """The kind of error; empty where there was none."""
    why: str
    """Its cause in words."""
    held: float
    """s that admission let it wait."""
    retry_after: int


class TcpState(NamedTuple):
    """What the kernel knows of a connection (Linux's struct tcp_info)."""

    retransmits: int
    """Times that the oldest segment was sent again, without an answer."""
    unacked: int
    """Segments sent and not acknowledged."""
    sacked: int
    """Of these, some that came behind a hole."""
    lost: int
    resent: int
    """Segments sent again in all."""
    rtt: int
    """ms"""
    path_mtu: int


class TlsSeen(NamedTuple):
    """What OpenSSL has at the end of a connection; empty where it never came so far."""

    version: str = ""
    cipher: str = ""
    resumed: bool = False
    done: bool = False
    """The handshake was completed."""
    chain: tuple[bytes, ...] = ()
    """As it was presented, leaf first."""


class FlightNotes:
    """One connection."""

    __slots__ = (
        "agent", "alert", "asked", "at", "authorization", "end", "gate", "hello", "host", "listener", "more", "open",
        "peer", "peername", "tcp", "unsent", "view", "waited",
    )  # fmt: skip

    def __init__(self, at: float, peername: object, listener: ListenerKind) -> None:
        self.at = at
        self.peername = peername
        self.listener = listener
        self.hello = b""
        self.waited = 0.0
        """s in the gate's queue."""
        self.gate = ""
        """How well the gate knew the address."""
        self.peer: Peer | None = None
        self.view: BootView | None = None
        self.asked: list[Asked] = []
        self.more = 0
        self.agent = ""
        self.host = ""
        self.authorization = ""
        """The scheme alone."""
        self.open = False
        """It came as far as a request could."""
        self.end = ""
        """Why it is over: the label that was counted; empty where one side has just closed it."""
        self.alert = 0
        """What the server sent last, as its number; 0: none. Negative: encrypted, so by its cause."""
        self.tcp: TcpState | None = None
        self.unsent = 0
        """Bytes of answers that were still waiting here when the other side reset it."""

    def ask(self, one: Asked) -> None:
        """A request was answered."""
        if len(self.asked) < REQUESTS:
            self.asked.append(one)
        else:
            self.more += 1


class FlightSink(Protocol):
    """Whoever keeps them; waits for nothing and never raises."""

    def over(self, notes: FlightNotes, seen: Callable[[], TlsSeen]) -> None:
        """A connection is over; ``seen`` is asked only where it is kept."""

    def turned_away(self, notes: FlightNotes) -> None:
        """Somebody was let go before any TLS state."""
