"""What a connection can be in, and what all connections of one listener of one worker use together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import IntEnum
from select import epoll
from typing import TYPE_CHECKING

from provisioner.http.machine import Buffers
from provisioner.http.server import QuietHandler
from provisioner.model import Count
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


class Shared:
    """What all connections of a listener use together."""

    __slots__ = ("buffers", "connections", "count", "loop", "on_failed", "on_gone", "poll", "settings", "upper")

    def __init__(
        self,
        settings: Settings,
        count: Count,
        upper: Upper,
        on_gone: Callable[[], None],
        on_failed: Callable[[object], None],
    ) -> None:
        self.settings = settings
        self.count = count
        self.loop = asyncio.get_running_loop()
        self.poll = epoll()
        self.buffers = Buffers()
        self.connections: dict[int, SocketTransport] = {}
        self.upper = upper
        self.on_gone = on_gone
        self.on_failed = on_failed
        """Called with the peername of a handshake that came to nothing."""
