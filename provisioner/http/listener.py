"""The gate at work: take callers in, begin their handshakes one by one, look at every deadline twice a second.

Rule: finish what is begun before beginning anything. In each turn all events of open connections are served first, then
callers are taken in, then ``gate.slots`` handshakes begin; turns go on while somebody waits. So a handshake that is
begun never waits for another one, and callers wait where they cost nothing. More callers are taken in than can be begun
only within ``gate.rejections`` of the CPU time; beyond that the kernel's queue fills, and phones repeat their SYN.

All work on open connections, what the kernel has told and records that are still to be decrypted, is done in one place
and for ``_LONGEST`` a turn. A listener that has a share of the cores only does nothing at all while that is used up.

One epoll set of its own per listener: registering a connection there costs a tenth of loop.add_reader().
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections import deque
from collections.abc import Mapping
from operator import attrgetter
from select import EPOLLIN
from time import monotonic, thread_time
from typing import Any, Final

from OpenSSL import SSL

from provisioner.flight_notes import FlightNotes, FlightSink
from provisioner.gate import GateState, Share, Storm
from provisioner.http.backlog import Backlog
from provisioner.http.budget import Rejections
from provisioner.http.callers import Caller, Callers, site_of
from provisioner.http.shared import Shared, State, Told, Upper
from provisioner.http.tls import TlsTransport
from provisioner.http.transport import SocketTransport
from provisioner.model import Count, ListenerKind, Observe
from provisioner.settings import Settings

log: Final = logging.getLogger("provisioner.server")

_ACCEPTS: Final = 16
"""connections taken per turn: a flood of new ones must not starve those already here."""
_EVENTS: Final = 64
"""sockets served per turn, for the same reason."""
_LONGEST: Final = 0.02
"""s of CPU for serving before others get their turn."""
_AWAY: Final = 0.2
"""s that the worker may have stood still meanwhile. Where the system grants a small share of a core, 20 ms go by with
one connection served, and as many handshakes as that would begin and none be finished."""
_ENOUGH: Final = 4
"""Callers that always may wait, whatever it costs to take them in: with fewer, a handshake slot could stay empty."""
_SCAN: Final = 0.5
"""s between looks at the deadlines: the error of every time-out."""
_IDLE_AT_LEAST: Final = 1.0
"""s that a connection may pause within a boot, however many there are."""
_DRAIN_STEP: Final = 0.05
"""s between looks at what still lives while draining."""
_OUT_OF_FILES: Final = 1.0
"""s without accepting after the system had no descriptor or memory left."""
_MAX_HEADERS: Final = 64
"""header lines in a request; phones send ten."""
_SAVED_UP: Final = 0.1
"""s that the legacy listener's share may save up while it is not used."""
_OWED: Final = 1.0
"""s of the legacy listener's share that are ever owed."""


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


def _unobserved(name: str, seconds: float) -> None:
    """Where nobody asks for measurements."""
    del name, seconds


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
        *,
        storm: Storm | None = None,
        observe: Observe = _unobserved,
        flights: FlightSink | None = None,
    ) -> None:
        """``flights`` keeps what happened on each connection."""
        self.kind = kind
        self._sock = sock
        self._context = context
        self._settings = settings
        self._count = count
        told = Told(self._on_gone, self._go_on_serving, self._on_failed, self._on_booted)
        self._shared = Shared(settings, count, server_factory, told, kind, flights)
        self._callers = Callers(self._shared, observe, self._begin)
        self._storm = storm
        self._loop = self._shared.loop
        self._accepting = False
        self._wanted = False
        self._timer: asyncio.TimerHandle | None = None
        self._next_turn: asyncio.Handle | None = None
        self._serving: asyncio.Handle | None = None
        self._ready: deque[tuple[SocketTransport | Caller, int]] = deque()
        """What the kernel has told and nobody has looked at yet; objects, for a descriptor may be another's by then."""
        self._backlog = Backlog(sock, settings)
        self._rejections = Rejections(settings.gate_rejections)
        self._shut_until = 0.0
        legacy = kind is ListenerKind.LEGACY
        share = settings.gate_legacy
        self._cores = Share(share, _SAVED_UP * share, _OWED * share) if legacy else None
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # Linux: accepted sockets inherit it

    def __len__(self) -> int:
        """Connections alive: callers that wait, and those saying goodbye, included."""
        return len(self._shared.connections) + len(self._callers)

    @property
    def connections(self) -> list[SocketTransport]:
        """The live set."""
        return list(self._shared.connections.values())

    @property
    def state(self) -> GateState:
        """The gate in numbers."""
        gate = self._callers.gate
        return GateState(len(gate), self._callers.longest(monotonic()), gate.capacity, self._backlog.size)

    def know(self, weights: Mapping[str, int]) -> None:
        """The known good phones of each site, from now on."""
        self._callers.gate.weights = weights

    def start(self) -> None:
        """Begin to accept."""
        self._wanted = True
        self._backlog.open()
        self._loop.add_reader(self._shared.poll.fileno(), self._heard)
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
        while len(self) and (now := monotonic()) < deadline:
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
        for handle in (self._next_turn, self._serving):
            if handle is not None:
                handle.cancel()
        self._next_turn = self._serving = None
        self._callers.close()
        for connection in self.connections:
            connection.abort()
        if not self._shared.poll.closed:
            self._loop.remove_reader(self._shared.poll.fileno())
            self._shared.poll.close()

    # --- accepting -------------------------------------------------------------------------------

    def _knock(self) -> None:
        """The listening socket is ready, and nobody waits."""
        if self._rejections.booked != self._callers.turned_away:
            self._rejections_left()
        self._take_in()
        self._go_on()

    def _take_in(self) -> None:
        began, taken = thread_time(), 0
        while taken < _ACCEPTS and self._take_one():
            taken += 1
        self._rejections.measured(thread_time() - began, taken)
        self._charge(began)

    def _take_one(self) -> bool:
        """Accept one connection; False when there is none, or no room for it."""
        now = monotonic()
        if len(self) >= self._settings.http_connections and not self._callers.give_way(now):
            self._count("connections", "over_cap")
            self._shut(now, _SCAN)  # the kernel's queue fills, then phones retry their SYN
            return False
        try:
            sock, peername = self._sock.accept()
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno == errno.ECONNABORTED:
                return True
            self._count("connections", "accept_failed")
            self._shut(now, _OUT_OF_FILES)
            return False
        sock.setblocking(False)
        self._count("connections", "opened")
        if self._context is None:
            SocketTransport(self._shared, sock, peername, self._shared.notes(peername))
        else:
            self._callers.take(sock, peername, now)
        return True

    def _shut(self, now: float, seconds: float) -> None:
        """No room: accept nobody for a while; ``_scan`` looks again, and so does who leaves."""
        self._shut_until = now + seconds
        self._pause_accepting()

    def _pause_accepting(self) -> None:
        if self._accepting:
            self._accepting = False
            self._loop.remove_reader(self._sock.fileno())

    def _accept_again(self) -> None:
        if self._wanted and not self._accepting and self._next_turn is None and monotonic() >= self._shut_until:
            self._accepting = True
            self._loop.add_reader(self._sock.fileno(), self._knock)

    def _on_gone(self) -> None:
        if not self._accepting and len(self) < self._settings.http_connections:
            self._shut_until = 0.0
            self._accept_again()

    def _on_failed(self, peername: object) -> None:
        self._callers.gate.failed(site_of(peername), monotonic())

    def _on_booted(self, peername: object) -> None:
        self._callers.gate.booted(site_of(peername), monotonic())

    # --- turns -----------------------------------------------------------------------------------

    def _go_on(self, slots: int = 0) -> None:
        """Begin what may be begun; while somebody waits there is another turn, and nobody is taken in but by turns."""
        self._begin_some(slots or self._settings.gate_slots)
        if self._rests():  # not before: who is inside would use up the share of each turn
            return
        if not len(self._callers.gate):
            self._accept_again()
        else:
            self._pause_accepting()
            self._next_turn = self._loop.call_soon(self._turn)

    def _rests(self) -> bool:
        """Whether the share of the cores is used up; then nothing happens until the next turn, after a while."""
        if self._cores is None or self._cores.left(monotonic()) >= 0:
            return False
        self._pause_accepting()
        self._loop.remove_reader(self._shared.poll.fileno())
        self._next_turn = self._loop.call_later(self._cores.debt(), self._turn)
        return True

    def _turn(self) -> None:
        """One turn. However much is under way, one handshake begins: those who are inside cannot shut others out."""
        self._next_turn = None
        full = False
        try:
            if self._cores is not None:  # it may have rested
                self._loop.add_reader(self._shared.poll.fileno(), self._heard)
            full = self._dispatch()
            if self._wanted and self._may_take_in():
                self._take_in()
        finally:  # whatever has failed, there is a next turn
            self._go_on(1 if full else 0)

    def _may_take_in(self) -> bool:
        """Whether there is room, and turning callers away has not used up its share of the time."""
        return monotonic() >= self._shut_until and (self._rejections_left() > 0 or len(self._callers.gate) < _ENOUGH)

    def _rejections_left(self) -> float:
        return self._rejections.left(self._callers.turned_away, contended=len(self._callers.gate) > 0)

    def _begin_some(self, slots: int) -> None:
        began, now = self._clock(), monotonic()
        for _ in range(slots):
            if not self._callers.begin(now):
                break
        self._charge(began)

    def _begin(self, sock: socket.socket, peername: object, notes: FlightNotes | None) -> None:
        assert self._context is not None  # only TLS has callers
        self._serve(TlsTransport(self._shared, sock, peername, self._context, notes), EPOLLIN)

    def _clock(self) -> float:
        return thread_time() if self._cores is not None else 0.0

    def _charge(self, began: float) -> None:
        """Charge what was done since then to the share of the cores, where there is one."""
        if self._cores is not None:
            self._cores.spend(thread_time() - began)

    def _dispatch(self) -> bool:
        """Serve what is ready and, in turn with it, who is behind; whether there is more than could be served."""
        began, until = thread_time(), monotonic() + _LONGEST
        ready, behind = self._ready, self._shared.behind
        full = not ready and self._listen() >= _EVENTS
        more = len(behind)  # who falls behind now has had his turn
        try:
            while ready or more:
                if ready:
                    one, events = ready.popleft()
                    if isinstance(one, Caller):
                        self._callers.ready(one, events)
                    else:
                        self._serve(one, events)
                if more:
                    more -= 1
                    self._serve(behind.popleft(), 0)
                if (now := monotonic()) > until and (thread_time() - began > _LONGEST or now > until + _AWAY):
                    break
        finally:
            self._charge(began)
            if ready or behind:
                self._go_on_serving()
        return full or bool(ready)

    def _listen(self) -> int:
        """Ask the kernel what is ready; how many that are. Not before all that it told last are served."""
        connections, told = self._shared.connections, self._shared.poll.poll(0, _EVENTS)
        for fd, events in told:
            one = connections.get(fd) or self._callers.silent(fd)
            if one is not None:
                self._ready.append((one, events))
        return len(told)

    def _go_on_serving(self) -> None:
        """See to it that what is still to be served gets its turn: the kernel tells some of it only once."""
        if self._serving is None and (self._ready or self._shared.behind) and not self._shared.poll.closed:
            self._serving = self._loop.call_soon(self._serve_on)

    def _serve_on(self) -> None:
        self._serving = None
        self._heard()

    def _heard(self) -> None:
        """Something is to be served; unless a turn does it anyway. Silent callers may wait in line after it."""
        if self._next_turn is not None or (self._cores is not None and self._rests()):
            return
        try:
            self._dispatch()
        finally:
            if len(self._callers.gate) and self._next_turn is None:
                self._go_on()

    def _serve(self, connection: SocketTransport, events: int) -> None:
        """What has happened to a connection; nothing new: it was behind."""
        healthy = False
        try:
            if events and connection.state is not State.GONE:
                connection.ready(events)
            elif not events:
                connection.catch_up()
            healthy = True
        finally:
            if not healthy:  # a fault of ours: it is logged by the loop, and this connection does not come back
                connection.abort()

    # --- twice a second ----------------------------------------------------------------------------

    def _scan(self) -> None:
        self._timer = self._loop.call_later(_SCAN, self._scan)
        now = monotonic()
        late = [one for one in self._shared.connections.values() if one.due <= now]
        for connection in late:
            connection.expire(now)
        self._callers.expire(now)
        self._rejections_left()  # booked while it is known whether anybody waited
        if len(self) >= self._settings.http_connections:
            self._make_room(now)
        self._accept_again()
        self._note(now)

    def _make_room(self, now: float) -> None:
        """All places are taken: end the connections that have done nothing for longest, a few at a time.

        Phones that come again lose a handshake; without it, whoever just stays could keep all others out.
        """
        idle = [one for one in self._shared.connections.values() if one.idle and one.last < now - _IDLE_AT_LEAST]
        idle.sort(key=attrgetter("last"))
        for connection in idle[: max(len(self) // 20, 1)]:
            self._count("connections", "crowded_out")
            connection.close()

    def _note(self, now: float) -> None:
        """Whether it storms, and how long the kernel's own queue may be: what is in it is not looked at in time."""
        callers, storm = self._callers, self._storm
        if storm is not None:
            storm.capacity = capacity = callers.gate.capacity
            if storm.note(delay := callers.delay(now), now):
                log.info("storm mode %s: callers wait %.1f s, %.0f handshakes/s", _on(storm.on), delay, capacity)
        if self._wanted:
            self._backlog.look(callers.longest(now), callers.gate.capacity, now)
        callers.looked()


def _on(on: bool) -> str:
    return "begins" if on else "is over"
