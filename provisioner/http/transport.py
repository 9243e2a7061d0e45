"""A socket under aiohttp's protocol: bounded in memory, in time and in patience, with one close that is always clean.

Each connection carries its own next deadline in ``due``; the listener looks at all of them twice a second instead of
keeping a timer each. Limits follow the state: opening, idle between requests, inside a head, sending, lingering.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT
from time import monotonic
from typing import Any, Final

from provisioner.flight_notes import FlightNotes, TlsSeen
from provisioner.http.machine import SENDING
from provisioner.http.server import QuietHandler
from provisioner.http.shared import Shared, State
from provisioner.http.tcp_state import tcp_state

_BROKEN: Final = EPOLLERR | EPOLLHUP
_HEAD_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)
_EOF_RECHECK: Final = 0.25
"""s between looks at a half-closed connection whose answer is still being made."""

_FIRST_REQUEST: Final = 1.0
"""s that a draining worker gives a connection that has not asked for anything yet."""


class SocketTransport(asyncio.Transport):
    """Plain TCP; TlsTransport puts TLS between it and the protocol."""

    __slots__ = (
        "__weakref__",
        "_behind",
        "_chunk",
        "_eof",
        "_fd",
        "_head_since",
        "_head_size",
        "_high",
        "_http",
        "_left",
        "_low",
        "_mask",
        "_paused",
        "_peername",
        "_queue",
        "_queued",
        "_reading",
        "_shared",
        "_sock",
        "due",
        "last",
        "notes",
        "state",
    )

    def __init__(self, shared: Shared, sock: socket.socket, peername: object, notes: FlightNotes | None = None) -> None:
        self._shared = shared
        self.notes = notes
        """What happens here, for who keeps it; None where nobody does."""
        self._sock = sock
        self._fd = sock.fileno()
        self._peername = peername
        self._queue: list[bytes | memoryview] = []  # a deque of one costs 600 bytes a connection
        self._queued = 0
        self._chunk: bytes | memoryview = b""
        self._high = shared.settings.http_write_buffer
        self._low = self._high // 4
        self._http: QuietHandler | None = None
        self._paused = False
        self._left = False
        self._reading = True
        self._eof = False
        self._behind = False
        self._head_since = 0.0
        self._head_size = 0
        self._mask = EPOLLIN
        self.state = State.OPENING
        self.last = monotonic()
        self.due = self.last
        shared.connections[self._fd] = self
        shared.poll.register(self._fd, EPOLLIN)
        self._begin()

    def _begin(self) -> None:
        self._open()

    def _open(self) -> None:
        """The protocol above takes over."""
        self.state = State.OPEN
        if self.notes is not None:
            self.notes.open = True
        self.due = self.last + self._shared.settings.http_idle_timeout
        self._http = self._shared.upper()
        self._http.connection_made(self)

    # --- what the protocol above sees (asyncio.Transport) -------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``peername``, ``sockname``; on TLS also ``peer_cert``, ``tls_facts``, ``sslcontext``, ``ssl_object``.

        No ``socket``: its options are ours, set once on the listening socket.
        """
        if name == "sockname" and self.state is not State.GONE:
            return self._sock.getsockname()
        return self._peername if name == "peername" else default

    def is_closing(self) -> bool:
        """Whether nothing more may be written."""
        return self.state >= State.CLOSING

    def is_reading(self) -> bool:
        """Whether data is delivered."""
        return self._reading and self.state == State.OPEN

    def pause_reading(self) -> None:
        """Leave what comes in the kernel: the peer's window closes."""
        self._reading = False
        self._watch()

    def resume_reading(self) -> None:
        """Deliver again."""
        if not self._reading:
            self._reading = True
            self._watch()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Change the marks at which the protocol is paused and resumed."""
        self._high = self._shared.settings.http_write_buffer if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Low and high mark."""
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        """Bytes that the socket has not taken yet."""
        return self._queued + len(self._chunk)

    def can_write_eof(self) -> bool:
        """Half-closing is the peer's right, not ours."""
        return False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send now what the socket takes, keep the rest and tell the protocol when that is too much."""
        if self.state != State.OPEN or not len(data):
            return
        self._queue.append(data if isinstance(data, bytes) else bytes(data))
        self._queued += len(data)
        if not self._mask & EPOLLOUT:
            self.last = monotonic()
            self._flush()
        if self._queued + len(self._chunk) > self._high and not self._paused:
            self._paused = True
            assert self._http is not None
            self._http.pause_writing()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """One write, so that head and body share a record and a packet."""
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        """Send what was written, say goodbye, take leave without a reset."""
        if self.state <= State.OPEN:
            self.state = State.CLOSING
            self.last = monotonic()
            self.due = self.last + self._shared.settings.http_body_timeout
            if self._mask & EPOLLOUT:
                self._watch()
            else:
                self._flush()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._lose(None)

    # --- what the listener calls ---------------------------------------------------------------

    def ready(self, events: int) -> None:
        """The socket can be read or written, or is broken."""
        if events & EPOLLOUT:
            self._flush()
        if events & (EPOLLIN | _BROKEN) and self.state is not State.GONE:
            if events & _BROKEN and not self._mask & EPOLLIN:
                self._broken(ConnectionResetError("the peer has left"))
            else:
                self._receive()

    def catch_up(self) -> None:
        """It was among those that are behind, and now it is its turn. Only TLS knows of any."""

    def expire(self, now: float) -> None:
        """``due`` has passed: close what was too slow, or say when to look again."""
        settings = self._shared.settings
        if self.state == State.LINGERING:
            self._lose(None)
        elif self.get_write_buffer_size():
            self._expire_or_wait(now, self.last + settings.http_body_timeout, "stalled")
        elif self.state == State.CLOSING:
            self._lose(None)
        elif self._eof:
            self._answer_or_close(now)
        elif not self.idle:
            self.due = now + settings.http_idle_timeout
        elif self._head_since:
            self._expire_or_wait(now, self._head_since + settings.http_head_timeout, "head_timeout")
        else:
            self._expire_or_wait(now, self.last + settings.http_idle_timeout, "idle_timeout")

    @property
    def idle(self) -> bool:
        """Between requests: the protocol waits for a head, or has never had a whole one."""
        return self._http is None or self._http.idle

    def booted(self) -> None:
        """A known device has got its configuration here."""
        self._shared.told.booted(self._peername)

    def retire(self, now: float) -> None:
        """The worker is leaving: close when idle; who has just come gets the time for its first request."""
        fresh = self._http is None or self._http.fresh
        if self.state == State.OPEN and self.idle and (not fresh or now - self.last > _FIRST_REQUEST):
            self.close()

    # --- reading ---------------------------------------------------------------------------------

    def _receive(self) -> None:
        try:
            size = self._sock.recv_into(self._shared.buffers.incoming)
        except BlockingIOError:
            return
        except OSError as error:
            self._broken(error)
            return
        if self.state >= State.CLOSING:
            if not size:
                self._peer_is_done()
        elif size:
            self._received(size)
        else:
            self._ended()

    def _received(self, size: int) -> None:
        self._deliver(bytes(self._shared.buffers.incoming_view[:size]))

    def _deliver(self, data: bytes) -> None:
        """Hand plaintext up; a head that is not whole yet starts its own clock and is weighed."""
        self.last = monotonic()
        http = self._http
        assert http is not None
        heads = http.heads
        http.data_received(data)
        if http.heads != heads or not http.idle or self.state != State.OPEN:
            self._head_since = 0.0
            self._head_size = 0
            return
        if not self._head_since:
            self._head_since = self.last
            self.due = min(self.due, self.last + self._shared.settings.http_head_timeout)
        self._head_size += len(data)
        if self._head_size > self._shared.settings.http_head_limit:
            self._shared.count("http_refused", "head_too_large")
            self._note("head_too_large")
            self.write(_HEAD_TOO_LARGE)
            self.close()

    def _ended(self) -> None:
        """The peer sends nothing more; an answer under way is still finished (half-close)."""
        self._eof = True
        if self.state == State.OPEN:
            self._answer_or_close(monotonic())
        if self.state < State.LINGERING:
            self._watch()

    def _answer_or_close(self, now: float) -> None:
        assert self._http is not None
        if self.idle or self._http.wants_body:
            self.close()
        else:
            self.due = now + _EOF_RECHECK

    def _peer_is_done(self) -> None:
        """End of file while we close: nothing is left to wait for, except that our own bytes go out."""
        self._eof = True
        if self.state == State.LINGERING:
            self._lose(None)
        else:
            self._watch()

    # --- writing ---------------------------------------------------------------------------------

    def _fill(self) -> bytes | memoryview:
        """The next bytes for the socket; empty when there are none."""
        if not self._queue:
            return b""
        data = self._queue.pop(0)
        self._queued -= len(data)
        return data

    def _flush(self) -> None:
        """Send until all is sent or the socket is full."""
        while chunk := self._chunk or self._fill():
            try:
                sent = self._sock.send(chunk)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                self._broken(error)
                return
            if sent < len(chunk):
                self._keep(chunk, sent)
                break
            self._chunk = b""
            if not self._queue and len(chunk) < SENDING and self.state == State.OPEN:
                break  # that was all: no need to ask OpenSSL for more
        self._flushed()

    def _keep(self, chunk: bytes | memoryview, sent: int) -> None:
        if sent:
            self.last = monotonic()
        # A view of the shared send buffer must be copied; a view of the writer's own bytes need not.
        rest = memoryview(chunk)[sent:]
        self._chunk = bytes(rest) if len(rest) <= 2 * SENDING else rest
        self.due = min(self.due, self.last + self._shared.settings.http_body_timeout)

    def _flushed(self) -> None:
        self._watch()
        if self._paused and self._queued + len(self._chunk) <= self._low:
            self._paused = False
            assert self._http is not None
            self._http.resume_writing()
        if self.state == State.CLOSING and not self._chunk and not self._queue:
            self._finish()

    def _finish(self) -> None:
        """All is sent: our FIN, then wait a little for the peer's."""
        self._take_leave(None)
        if self._eof:
            self._release()
            return
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:  # the peer has reset the connection meanwhile: nothing to wait for
            self._release()
            return
        self.state = State.LINGERING
        self.due = monotonic() + self._shared.settings.tls_shutdown_timeout
        self._watch()

    # --- the end ---------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Ask the kernel for exactly the events that would be acted upon.

        While the peer does not take what it is sent, nothing more of it is read: TLS answers some messages by itself
        (key updates), and what it answers would pile up.
        """
        if self.state is State.GONE:
            return
        wanted = EPOLLOUT if self._chunk or self._queue else 0
        if not self._eof and (self.state != State.OPEN or (self._reading and not self._chunk and not self._behind)):
            wanted |= EPOLLIN
        if wanted != self._mask:
            self._mask = wanted
            self._shared.poll.modify(self._fd, wanted)

    def _expire_or_wait(self, now: float, deadline: float, why: str) -> None:
        if now < deadline:
            self.due = deadline
        else:
            self._expired(why)

    def _expired(self, why: str) -> None:
        self._shared.count("connections", why)
        self._note(why, asking=True)
        if why == "stalled":
            self._lose(TimeoutError(why))
        else:
            self.close()

    def _broken(self, error: OSError) -> None:
        if self.state < State.LINGERING:
            self._note("reset")
            if self.notes is not None:
                self.notes.unsent = self._queued
        if self.state == State.OPENING:
            self._shared.count("tls_refused", "reset")
            self._shared.told.failed(self._peername)
        elif self.state < State.LINGERING:
            self._shared.count("connections", "reset")
        self._lose(error)

    def _lose(self, error: Exception | None) -> None:
        """Give the socket back and tell the protocol."""
        if self.state is State.GONE:
            return
        self._take_leave(error)
        self._release()

    def _take_leave(self, error: Exception | None) -> None:
        """Tell the protocol, once, and not from within its own call."""
        if self._http is not None and not self._left:
            self._left = True
            self._shared.loop.call_soon(self._http.connection_lost, error)

    def _note(self, end: str, *, asking: bool = False) -> None:
        """Why this is coming to its end; the first reason is the one. ``asking`` the kernel what it knows of it."""
        notes = self.notes
        if notes is not None and not notes.end:
            notes.end = end
            if asking:
                notes.tcp = tcp_state(self._sock)

    def _seen(self) -> TlsSeen:
        return TlsSeen()

    def _release(self) -> None:
        """All that others wait for goes first, and who only keeps records last."""
        self.state = State.GONE
        self._queue.clear()
        self._queued = 0
        self._chunk = b""
        self._shared.connections.pop(self._fd, None)
        self._sock.close()  # which also takes it out of the epoll set
        self._shared.count("connections", "closed")
        self._shared.told.gone()
        if self.notes is not None and self._shared.flights is not None:
            self._shared.flights.over(self.notes, self._seen)
