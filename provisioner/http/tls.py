"""TLS under aiohttp: no TLS state before a whole ClientHello, no verdict here, no exception for anything that comes in.

What cannot become a handshake is told apart, counted once and closed cleanly; docs/overload.md lists the labels.
"""

from __future__ import annotations

import socket
from time import monotonic
from typing import Any, Final

from OpenSSL import SSL

from provisioner.flight_notes import FlightNotes, TlsSeen
from provisioner.http import keylog
from provisioner.http.contexts import make_context, peer_cert, presented_chain, tls_facts, was_resumed
from provisioner.http.machine import SENDING, Machine
from provisioner.http.shared import Shared, State
from provisioner.http.transport import SocketTransport

__all__ = ["TlsTransport", "make_context"]

MAX_HANDSHAKE: Final = 32 * 1024
"""bytes a client may send before it is done: five certificates of 2 KiB are 10 KiB; OpenSSL alone would take 100."""
_SLIM_AFTER: Final = 1.0
"""s after which a connection that has nothing to do gives its buffers back."""
_SILENT: Final = frozenset({"handshake_timeout", "left"})
"""Ends of which the kernel knows more."""
_UNKNOWN: Final = object()


class TlsTransport(SocketTransport):
    """A connection whose whole ClientHello waits in the socket; the protocol above hears of it after the handshake."""

    __slots__ = ("_cert", "_context", "_goodbye", "_machine", "_weight")

    def __init__(
        self,
        shared: Shared,
        sock: socket.socket,
        peername: object,
        context: SSL.Context,
        notes: FlightNotes | None = None,
    ) -> None:
        self._context = context
        self._machine = Machine(context, shared.buffers)
        self._weight = 0
        self._goodbye = False
        self._cert: Any = _UNKNOWN
        super().__init__(shared, sock, peername, notes)

    def _begin(self) -> None:
        self.due = self.last + self._shared.settings.tls_handshake_timeout

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As SocketTransport; the certificate is taken out of OpenSSL when first asked for."""
        machine = self._machine
        if self.state >= State.OPEN:
            if name == "peer_cert":
                if self._cert is _UNKNOWN:
                    self._cert = peer_cert(machine.connection)
                return self._cert
            if name == "tls_facts":
                return tls_facts(machine.connection)
            if name == "sslcontext":
                return self._context
            if name == "ssl_object":
                return machine.connection
        return super().get_extra_info(name, default)

    def resume_reading(self) -> None:
        """Deliver again, first what is already decrypted or waits in OpenSSL."""
        if not self._reading:
            if not self._behind:
                self._fall_behind()
            super().resume_reading()

    def catch_up(self) -> None:
        """As SocketTransport: one record more."""
        self._decrypt()

    def expire(self, now: float) -> None:
        """As SocketTransport, with the limits of a handshake before it is open."""
        if self.state == State.OPENING:
            self._refuse("handshake_timeout")
            return
        if self.state == State.OPEN and self.idle and not self.get_write_buffer_size():
            self._machine.slim()
        super().expire(now)

    # --- opening ---------------------------------------------------------------------------------

    def _received(self, size: int) -> None:
        machine = self._machine
        machine.feed_incoming(size)
        if self.state != State.OPEN:
            self._handshake(machine, size)
        elif not self._behind:  # else it waits for its turn
            self._decrypt()

    def _handshake(self, machine: Machine, size: int) -> None:
        self._weight += size
        done = machine.handshake()
        if machine.fault:
            self._refuse(machine.fault)
        elif self._weight - machine.unread > MAX_HANDSHAKE:  # what is unread is the first request already
            self._refuse("too_large")
        elif done:
            self._established(machine)
        else:
            self._flush()

    def _established(self, machine: Machine) -> None:
        version, resumed = machine.version, was_resumed(machine.connection)
        self._shared.count("tls_done", f"{version}_{'resumed' if resumed else 'full'}")
        self.last = monotonic()
        self._open()
        self.due = min(self.due, self.last + _SLIM_AFTER)
        # At once, although TLS 1.3 tickets could wait for the answer: they carry the TCP ACK without which a client
        # with Nagle's algorithm on holds its request back for 40 ms.
        self._flush()
        self._decrypt()

    def _refuse(self, label: str) -> None:
        """Count it, send the alert OpenSSL may have made, and close."""
        self._shared.count("tls_refused", label)
        self._note_refusal(label)
        self._shared.told.failed(self._peername)
        self.close()

    def _note_refusal(self, label: str) -> None:
        self._note(label, asking=label in _SILENT)
        if self.notes is not None and self._machine.fault:
            self.notes.alert = self._machine.alert

    def _release(self) -> None:
        """As SocketTransport; what is held of its secrets goes now, whenever the connection itself is collected."""
        keylog.forget(self._machine.connection)
        super()._release()

    def _seen(self) -> TlsSeen:
        """As SocketTransport."""
        machine = self._machine
        return TlsSeen(
            machine.version,
            machine.cipher,
            was_resumed(machine.connection),
            self._http is not None,
            presented_chain(machine.connection),
        )

    # --- open ------------------------------------------------------------------------------------

    def _decrypt(self) -> None:
        """Deliver one record, the next one when all others have had their turn: a peer can send hundreds at once."""
        machine = self._machine
        if self.state != State.OPEN or not self._reading:
            self._caught_up()
            return
        data = machine.read()
        if not data:
            self._caught_up()
            self._after_reading(machine)
            return
        self._deliver(data)
        if machine.drained:
            self._caught_up()
        else:
            self._fall_behind()

    def _fall_behind(self) -> None:
        """Wait for the next turn among all that are behind; nothing more is read from the socket meanwhile."""
        if not self._behind:
            self._behind = True
            self._watch()
        self._shared.behind.append(self)
        self._shared.told.behind()

    def _caught_up(self) -> None:
        if self._behind:
            self._behind = False
            self._watch()

    def _after_reading(self, machine: Machine) -> None:
        if machine.fault:
            label = machine.fault if machine.fault.startswith("alert_") else "tls_broken"
            self._shared.count("connections", label)
            self._note(label)
            self.close()
        elif machine.closed_by_peer and not self._eof:
            self._ended()
        elif not self._chunk:
            self._flush()  # OpenSSL may have answered by itself: a key update, a refused renegotiation

    def _ended(self) -> None:
        """As SocketTransport; TCP's FIN without close_notify is a truncation (RFC 8446 section 6.1), and noted."""
        if self.state == State.OPENING:
            self._eof = True
            self._refuse("left")
            return
        if not self._machine.closed_by_peer:
            self._shared.count("connections", "truncated")
            self._note("truncated")
        super()._ended()

    def _fill(self) -> bytes | memoryview:
        machine = self._machine
        self._encrypt(machine)
        ciphertext = machine.outgoing()
        if not ciphertext and self.state == State.CLOSING and not self._goodbye:
            self._goodbye = True
            machine.say_goodbye()
            ciphertext = machine.outgoing()
        return ciphertext

    def _encrypt(self, machine: Machine) -> None:
        """Turn up to 64 KiB of what was written into records: no more ciphertext than that ever waits."""
        produced = 0
        while self._queue and produced < SENDING:
            data = self._queue[0]
            taken = machine.write(data)
            if not taken:
                self._queue.clear()
                self._queued = 0
                self._shared.loop.call_soon(self.abort)
                return
            produced += taken
            self._queued -= taken
            if taken == len(data):
                self._queue.pop(0)
            else:
                self._queue[0] = memoryview(data)[taken:]
