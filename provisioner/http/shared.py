"""What a connection can be in, and what all connections of one listener of one worker use together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from select import epoll
from time import time
from typing import TYPE_CHECKING

from provisioner.flight_notes import FlightNotes, FlightSink
from provisioner.http.machine import Buffers
from provisioner.http.server import QuietHandler
from provisioner.model import Count, ListenerKind
from provisioner.settings import Settings

if TYPE_CHECKING:
    from provisioner.http.transport import SocketTransport

Upper = Callable[[], QuietHandler]
"""Makes the protocol for one connection: a QuietServer."""


class State(IntEnum):
    """The life of a connection; it only moves forward."""

    OPENING = 0
    OPEN = 1
    CLOSING = 2
    """The server has said close(): what it wrote before is still sent."""
    LINGERING = 3
    """Our FIN is out; what the peer still sends is thrown away, so that no reset eats our last bytes."""
    GONE = 4


@dataclass(frozen=True, slots=True)
class Told:
    """What a listener is told by its connections."""

    gone: Callable[[], None]
    behind: Callable[[], None]
    """Another one has joined those that are behind."""
    failed: Callable[[object], None]
    """The peername of a handshake that came to nothing."""
    booted: Callable[[object], None]
    """The peername of a known device that has got its configuration."""


class Shared:
    """What all connections of a listener use together."""

    __slots__ = (
        "behind", "buffers", "connections", "count", "flights", "kind", "loop", "poll", "settings", "told", "upper",
    )  # fmt: skip

    def __init__(
        self,
        settings: Settings,
        count: Count,
        upper: Upper,
        told: Told,
        kind: ListenerKind = ListenerKind.DEVICE,
        flights: FlightSink | None = None,
    ) -> None:
        self.kind = kind
        self.flights = flights
        """Who keeps what happened on a connection; None: nobody does."""
        self.settings = settings
        self.count = count
        self.loop = asyncio.get_running_loop()
        self.poll = epoll()
        self.buffers = Buffers()
        self.connections: dict[int, SocketTransport] = {}
        self.upper = upper
        self.told = told
        self.behind: deque[SocketTransport] = deque()
        """Connections with more to deliver than one turn allows, each once; the listener serves them in order."""

    def notes(self, peername: object) -> FlightNotes | None:
        """For a connection that has just come; None where nobody wants any."""
        return None if self.flights is None else FlightNotes(time(), peername, self.kind)
