"""Accept no more than a worker can hold, look at every connection's deadline twice a second, leave in good order.

One epoll set of its own per listener: registering a connection there costs a tenth of loop.add_reader().
"""

from __future__ import annotations

import asyncio
import errno
import socket
from time import monotonic
from typing import Any, Final

from OpenSSL import SSL

from provisioner.http.shared import Shared, Upper
from provisioner.http.tls import TlsTransport
from provisioner.http.transport import SocketTransport
from provisioner.model import Count, ListenerKind
from provisioner.settings import Settings

_ACCEPTS: Final = 16
"""connections taken per wake-up: a flood of new ones must not starve those already here."""
_EVENTS: Final = 64
"""sockets served per wake-up, for the same reason."""
_SCAN: Final = 0.5
"""s between looks at the deadlines: the error of every time-out."""
_DRAIN_STEP: Final = 0.05
"""s between looks at what still lives while draining."""
_OUT_OF_FILES: Final = 1.0
"""s without accepting after the system had no descriptor or memory left."""
_MAX_HEADERS: Final = 64
"""header lines in a request; phones send ten."""


def http_limits(settings: Settings) -> dict[str, Any]:
    """Arguments for aiohttp's Server that fit below these transports, which keep the time-outs themselves."""
    return {
        "access_log": None,
        "tcp_keepalive": False,
        "keepalive_timeout": settings.http_idle_timeout * 4,  # never first: the transport closes idle connections
        "lingering_time": settings.tls_shutdown_timeout,
        "max_line_size": settings.http_head_limit,
        "max_field_size": settings.http_head_limit,
        "max_headers": _MAX_HEADERS,
        "auto_decompress": False,
    }


class Listener:
    """One listening socket of one worker and everything that came through it."""

    def __init__(
        self,
        kind: ListenerKind,
        sock: socket.socket,
        context: SSL.Context | None,
        server_factory: Upper,
        settings: Settings,
        count: Count,
    ) -> None:
        self.kind = kind
        self._sock = sock
        self._context = context
        self._settings = settings
        self._count = count
        self._shared = Shared(settings, count, server_factory, self._on_gone)
        self._loop = self._shared.loop
        self._accepting = False
        self._wanted = False
        self._timer: asyncio.TimerHandle | None = None
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # Linux: accepted sockets inherit it

    def __len__(self) -> int:
        """Connections alive, those saying goodbye included."""
        return len(self._shared.connections)

    @property
    def connections(self) -> list[SocketTransport]:
        """The live set."""
        return list(self._shared.connections.values())

    def start(self) -> None:
        """Begin to accept."""
        self._wanted = True
        self._loop.add_reader(self._shared.poll.fileno(), self._dispatch)
        self._timer = self._loop.call_later(_SCAN, self._scan)
        self._accept_again()

    def stop_accepting(self) -> None:
        """Leave new connections to others; the socket stays open, it is shared with other processes."""
        self._wanted = False
        self._pause_accepting()

    async def drain(self, timeout: float) -> None:  # noqa: ASYNC109  # a limit on the whole, not on one await
        """Close what is idle now, let the rest finish, drop what is left after ``timeout`` seconds."""
        self.stop_accepting()
        deadline = monotonic() + timeout
        while self._shared.connections and (now := monotonic()) < deadline:
            for connection in self.connections:
                connection.retire(now)
            await asyncio.sleep(_DRAIN_STEP)
        self.close()
        await asyncio.sleep(0)  # the protocols hear of it

    def close(self) -> None:
        """Drop every connection and give everything but the listening socket back."""
        self.stop_accepting()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in self.connections:
            connection.abort()
        if not self._shared.poll.closed:
            self._loop.remove_reader(self._shared.poll.fileno())
            self._shared.poll.close()

    # --- accepting -------------------------------------------------------------------------------

    def _accept(self) -> None:
        for _ in range(_ACCEPTS):
            if len(self._shared.connections) >= self._settings.http_connections:
                self._count("connections", "over_cap")
                self._pause_accepting()  # the kernel's queue fills, then phones retry their SYN
                return
            try:
                sock, peername = self._sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ECONNABORTED:
                    continue
                self._count("connections", "accept_failed")
                self._pause_accepting()
                self._loop.call_later(_OUT_OF_FILES, self._accept_again)
                return
            self._take(sock, peername)

    def _take(self, sock: socket.socket, peername: object) -> None:
        sock.setblocking(False)
        self._count("connections", "opened")
        if self._context is None:
            SocketTransport(self._shared, sock, peername)
        else:
            TlsTransport(self._shared, sock, peername, self._context)

    def _pause_accepting(self) -> None:
        if self._accepting:
            self._accepting = False
            self._loop.remove_reader(self._sock.fileno())

    def _accept_again(self) -> None:
        if self._wanted and not self._accepting:
            self._accepting = True
            self._loop.add_reader(self._sock.fileno(), self._accept)

    def _on_gone(self) -> None:
        if not self._accepting and len(self._shared.connections) < self._settings.http_connections:
            self._accept_again()

    # --- serving ---------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        connections = self._shared.connections
        for fd, events in self._shared.poll.poll(0, _EVENTS):
            connection = connections.get(fd)
            if connection is None:
                continue
            healthy = False
            try:
                connection.ready(events)
                healthy = True
            finally:
                if not healthy:  # a fault of ours: it is logged by the loop, and this connection does not come back
                    connection.abort()

    def _scan(self) -> None:
        self._timer = self._loop.call_later(_SCAN, self._scan)
        now = monotonic()
        late = [one for one in self._shared.connections.values() if one.due <= now]
        for connection in late:
            connection.expire(now)
