"""Accepted connections that have no TLS state yet: listened to, looked at, queued, and begun one by one or let go.

Looking costs some 20 µs, a handshake a hundred times that, so everything that can be known before is asked first: has a
whole ClientHello come, when, is its sender still there, what does it say. Who is let go gets a FIN and no TLS alert: a
phone may take an alert for good and tell its user of a certificate error.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from select import EPOLLET, EPOLLIN, EPOLLRDHUP
from struct import Struct
from time import monotonic
from typing import Final

from provisioner.flight_notes import HELLO, FlightNotes
from provisioner.gate import Drop, Gate, GateLimits, address_key
from provisioner.http.hello import read_hello
from provisioner.http.machine import Hello, classify
from provisioner.http.scanners import Scanners
from provisioner.http.shared import Shared
from provisioner.http.tcp_state import tcp_state
from provisioner.model import Observe
from provisioner.settings import Settings

log: Final = logging.getLogger("provisioner.server")

_ESTABLISHED: Final = 1
"""TCP_ESTABLISHED in struct tcp_info, Linux's include/net/tcp_states.h: neither end has said FIN."""
_TCP_INFO: Final = Struct("B51xI")
"""tcpi_state, and tcpi_last_data_recv in ms at offset 52: how long the ClientHello lies here, kernel time included."""
_JUST_NOW: Final = 0.005
"""s for which a look at a connection is good."""
_AT_LEAST: Final = 1.0
"""s for a ClientHello to come, however many callers there are: a round trip around the world, twice."""
_MINUTE: Final = 60.0
_TELLING: Final = frozenset({"hello_timeout", "hello_crowded_out", "reset"})
"""Ends of which the kernel knows more."""
_WRONG_PORT: Final = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def gate_limits(settings: Settings) -> GateLimits:
    """The gate's own view of the settings."""
    return GateLimits(
        deadline=settings.gate_deadline,
        target=settings.gate_target,
        queue=settings.gate_queue,
        unknown=settings.gate_unknown,
        unknown_rate=settings.gate_unknown_rate,
        unknown_burst=settings.gate_unknown_burst,
        failures=settings.gate_failures / _MINUTE,
        failures_burst=settings.gate_failures_burst,
        order=settings.gate_order,
        fair=settings.gate_fair,
        dead_check=settings.gate_dead_check,
    )


class Caller:
    """One of them."""

    __slots__ = ("due", "looked", "notes", "peername", "site", "sock")

    def __init__(self, sock: socket.socket, peername: object, due: float) -> None:
        self.sock = sock
        self.peername = peername
        self.site = site_of(peername)
        self.due = due
        self.looked = 0.0
        self.notes: FlightNotes | None = None
        """From its ClientHello on."""


def site_of(peername: object) -> str:
    """The gate's key of a peer; empty for a socket without addresses."""
    return address_key(str(peername[0])) if isinstance(peername, tuple) and peername else ""


Begin = Callable[[socket.socket, object, FlightNotes | None], None]


class Callers:
    """Those of one listener. ``begin`` starts a handshake; ``turned_away`` counts who cost time for nothing."""

    def __init__(self, shared: Shared, observe: Observe, begin: Begin) -> None:
        self.gate: Gate[Caller] = Gate(gate_limits(shared.settings))
        self.turned_away = 0
        self.kernel_delay = 0.0
        """The longest that anybody had lain in the kernel's queue who came since the last look, s."""
        self.kernel_delay_known = 0.0
        """The same, of those at known addresses."""
        self._shared = shared
        self._count = shared.count
        self._observe = observe
        self._begin = begin
        self._silent: dict[int, Caller] = {}
        self._names = frozenset(name.lower() for name in shared.settings.gate_names)
        self._scanners = Scanners(shared.settings.gate_scanners)

    def __len__(self) -> int:
        """All of them."""
        return len(self._silent) + len(self.gate)

    def take(self, sock: socket.socket, peername: object, now: float) -> None:
        """Somebody has connected."""
        caller = Caller(sock, peername, now + self._shared.settings.tls_hello_timeout)
        if not self._look(caller, now):
            self._silent[sock.fileno()] = caller
            self._shared.poll.register(sock.fileno(), EPOLLIN | EPOLLRDHUP | EPOLLET)

    def silent(self, fd: int) -> Caller | None:
        """The silent one with this descriptor."""
        return self._silent.get(fd)

    def ready(self, caller: Caller, events: int) -> None:
        """A silent one has said something, or left; unless it has been let go meanwhile."""
        fd = caller.sock.fileno()
        if self._silent.get(fd) is not caller:
            return
        if self._look(caller, monotonic()):
            del self._silent[fd]
            if caller.sock.fileno() >= 0:  # it waits now
                self._shared.poll.unregister(fd)
        elif events & EPOLLRDHUP:
            self._refuse(self._listened(fd), "left")

    def begin(self, now: float) -> bool:
        """Begin the next handshake; False when nobody waits."""
        waiting, dropped = self.gate.next(now, self._alive)
        self._let_go(dropped)
        if waiting is None:
            return False
        caller = waiting.item
        self._count("gate_begun", kind := self.gate.class_of(waiting))
        self._observe("gate_delay", now - waiting.since)
        if caller.notes is not None:
            caller.notes.waited, caller.notes.gate = now - waiting.since, kind
        self._begin(caller.sock, caller.peername, caller.notes)
        return True

    def delay(self, now: float) -> float:
        """How long they wait whose waiting is a storm, in the kernel's queue too; seconds."""
        heeded = self.kernel_delay if self.gate.heeds_strangers(now) else self.kernel_delay_known
        return max(self.gate.delay(now), heeded)

    def longest(self, now: float) -> float:
        """How long anybody waits, whoever it is; in the kernel's queue all are one."""
        return max(self.gate.longest(now), self.kernel_delay)

    def looked(self) -> None:
        """The delays have been looked at."""
        self.kernel_delay = self.kernel_delay_known = 0.0

    def expire(self, now: float) -> None:
        """Let go who has not said enough in time, and who has waited too long."""
        for fd, caller in list(self._silent.items()):
            if caller.due > now:
                break  # they all had the same time, so they stand in the order in which it ends
            self._refuse(self._listened(fd), "hello_timeout")
        self._let_go(self.gate.expire(now))

    def give_way(self, now: float) -> bool:
        """Let the silent one go that has been here longest; False when there is none that has had its time."""
        fd = next(iter(self._silent), None)
        if fd is None or self._silent[fd].due - now > self._shared.settings.tls_hello_timeout - _AT_LEAST:
            return False
        self._refuse(self._listened(fd), "hello_crowded_out")
        return True

    def close(self) -> None:
        """Let all go."""
        for caller in [*self._silent.values(), *self.gate.everybody()]:
            self._close(caller)
        self._silent.clear()
        self.gate = Gate(self.gate.limits)

    # --- one caller ---------------------------------------------------------------------------------

    def _look(self, caller: Caller, now: float) -> bool:
        """Whether enough has come to decide; the bytes stay in the socket."""
        incoming = self._shared.buffers.incoming
        try:
            size = caller.sock.recv_into(incoming, 0, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            self._refuse(caller, "reset")
            return True
        if not size:
            self._refuse(caller, "left")
            return True
        first = bytes(self._shared.buffers.incoming_view[:size])
        kind = classify(first)
        if kind is Hello.MORE:
            return False
        if kind is Hello.CLIENT_HELLO:
            self._queue(caller, first, now)
        else:
            self._refuse(caller, kind.value, _WRONG_PORT if kind is Hello.PLAIN_HTTP else b"")
        return True

    def _queue(self, caller: Caller, first: bytes, now: float) -> None:
        if (notes := self._shared.notes(caller.peername)) is not None:
            notes.hello = first[:HELLO]
            caller.notes = notes
        told = log.isEnabledFor(logging.DEBUG)
        facts = read_hello(first, fingerprint=told or self._scanners.suspects(first))
        if told:
            log.debug("caller %s asks for %r, fingerprint %s", caller.site, facts.name, facts.fingerprint)
        if self._names and facts.name and facts.name not in self._names:
            self._drop(caller, "name")
        elif facts.fingerprint in self._scanners:
            self._drop(caller, "scanner")
        elif (lain := self._lain(caller, now)) < 0:
            self._drop(caller, Drop.GONE)
        else:
            self.kernel_delay = max(self.kernel_delay, lain)
            if caller.site in self.gate.weights:
                self.kernel_delay_known = max(self.kernel_delay_known, lain)
            self._let_go(self.gate.offer(caller, caller.site, now - lain, now, resumes=facts.resumes))

    def _lain(self, caller: Caller, now: float) -> float:
        """How long its ClientHello has lain here, seconds; -1 when its sender has left."""
        caller.looked = now
        if not self.gate.limits.dead_check:
            return 0.0
        try:
            state, lain = _TCP_INFO.unpack(caller.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size))
        except OSError:
            return 0.0  # no TCP (tests use socket pairs), or a kernel that does not tell
        return lain / 1000 if state == _ESTABLISHED else -1.0

    def _alive(self, caller: Caller) -> bool:
        now = monotonic()
        return now - caller.looked < _JUST_NOW or self._lain(caller, now) >= 0

    # --- letting go ---------------------------------------------------------------------------------

    def _listened(self, fd: int) -> Caller:
        """A silent one that is not listened to any longer."""
        self._shared.poll.unregister(fd)
        return self._silent.pop(fd)

    def _let_go(self, dropped: list[tuple[Caller, Drop]]) -> None:
        for caller, why in dropped:
            self._drop(caller, why)

    def _drop(self, caller: Caller, why: str) -> None:
        self._count("gate_dropped", why)
        notes = self._ended(caller, f"gate_{why}")
        self._close(caller)
        self._record(notes)

    def _refuse(self, caller: Caller, label: str, answer: bytes = b"") -> None:
        self._count("tls_refused", label)
        notes = self._ended(caller, label)
        self.gate.failed(caller.site, monotonic())
        self._close(caller, answer)
        self._record(notes)

    def _ended(self, caller: Caller, label: str) -> FlightNotes | None:
        """Why, while the kernel still knows of it."""
        notes = caller.notes or self._shared.notes(caller.peername)
        if notes is not None:
            notes.end = label
            if label in _TELLING:
                notes.tcp = tcp_state(caller.sock)
        return notes

    def _record(self, notes: FlightNotes | None) -> None:
        """Once the socket is given back."""
        if notes is not None and self._shared.flights is not None:
            self._shared.flights.turned_away(notes)

    def _close(self, caller: Caller, answer: bytes = b"") -> None:
        """What has come is read away first: closing over unread data is a reset (RFC 2525 section 2.17)."""
        self.turned_away += 1
        sock = caller.sock
        try:
            sock.recv_into(self._shared.buffers.incoming)
            if answer:
                sock.send(answer)
        except OSError:  # it has left already, or has said nothing
            pass
        sock.close()
        self._count("connections", "closed")
        self._shared.told.gone()
