"""How many connections the kernel may hold for a listening socket: few while callers wait, as nobody looks at those.

The socket is shared with other workers, and each may open or shorten its queue: so whoever wants it short says so
again at each look, and a worker that has just come does not undo that for long.
"""

from __future__ import annotations

import socket
from typing import Final

from provisioner.settings import Settings

_SHORTEST: Final = 16
"""Connections that the kernel may hold at least."""
_SHORT: Final = 64
"""Connections that it may hold under pressure, while the capacity is not known."""


class Backlog:
    """One worker's view of it."""

    def __init__(self, sock: socket.socket, settings: Settings) -> None:
        self._sock = sock
        self._settings = settings
        self._short_until = 0.0
        self.size = settings.server_backlog

    def open(self) -> None:
        """Begin to listen: another generation may have left it short."""
        self._sock.listen(self.size)

    def look(self, delay: float, capacity: float, now: float) -> None:
        """As long as one second's work of all workers while anybody waits longer than the target, and soon after."""
        settings = self._settings
        if delay > settings.gate_target:
            self._short_until = now + settings.gate_calm
        short, wanted = now < self._short_until, settings.server_backlog
        if short:
            wanted = min(wanted, max(_SHORTEST, int(capacity * settings.worker_count) or _SHORT))
        changed = abs(wanted - self.size) > self.size // 4
        if changed:
            self.size = wanted
        if changed or short:
            self._sock.listen(self.size)
