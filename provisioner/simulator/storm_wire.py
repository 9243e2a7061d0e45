"""A phone's connection in a crowd: a non-blocking TLS socket without buffers of its own, so that thousands are cheap.

Differs from wire.py in what it can do without: no resumption, no plain HTTP. It knows how far it came, and giving up
closes the socket at once, as a phone's stack does.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeVar

from provisioner.simulator.storm_cards import Cards
from provisioner.simulator.storm_plan import StormPhone
from provisioner.simulator.wire import MAX_HEAD, Answer, NoAnswer, Origin, body_length, read_head, request_of

_T = TypeVar("_T")
_PIECE: Final = 16384  # bytes: one TLS record
_NO_PORT_YET: Final = 24  # IP_BIND_ADDRESS_NO_PORT, Linux: the port is chosen at connect, so each site has all of them
_REASONS: Final = {
    0: "closed",
    errno.ECONNREFUSED: "refused_connect",
    **dict.fromkeys((errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ENOTCONN), "reset"),
    **dict.fromkeys((errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH), "unreachable"),
    # This machine's descriptors, memory or ports; the server is not to blame.
    **dict.fromkeys((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL), "own_limit"),
}


class Stage(StrEnum):
    """How far an attempt has come; what it gave up at."""

    CONNECT = "connect"
    TLS = "tls"
    ANSWER = "answer"


@dataclass(slots=True)
class Attempt:
    """What one attempt's connections have in common."""

    deadline: float
    """Loop time by which the first byte must be there."""
    stage: Stage = Stage.CONNECT
    answered: bool = False
    failure: str = ""
    """In one word, as the report counts it; empty while nothing has failed."""
    statuses: list[int] = field(default_factory=list)
    retry_after: float = 0.0


class StormWire:
    """One phone's connection to one origin."""

    def __init__(self, origin: Origin, address: str, phone: StormPhone, cards: Cards, attempt: Attempt, **habits: bool):
        self._origin = origin
        self._address = address
        self._phone = phone
        self._cards = cards
        self._attempt = attempt
        self._per_file = habits.get("connection_per_file", False)
        self._loop = asyncio.get_running_loop()
        self._socket: ssl.SSLSocket | None = None

    async def exchange(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """Send one request and read its answer within the patience that is left; NoAnswer otherwise."""
        attempt = self._attempt
        until = self._loop.time() + self._cards.patience_of(self._phone) if attempt.answered else attempt.deadline
        try:
            async with asyncio.timeout_at(until):
                answer = await self._exchange(method, request_of(self._origin, method, target, headers, body))
        except TimeoutError:
            raise self._failed(f"gave_up_{attempt.stage}") from None
        except NoAnswer as error:
            raise self._failed("no_http") from error
        except OSError as error:  # ssl.SSLError is one
            raise self._failed(reason_of(error)) from error
        attempt.statuses.append(answer.status)
        if answer.status == 503:
            with suppress(ValueError):
                attempt.retry_after = float(answer.first("retry-after"))
        return answer

    def _failed(self, reason: str) -> NoAnswer:
        self._attempt.failure = reason
        self.abandon()
        return NoAnswer(reason, final=True)

    async def _exchange(self, method: str, request: bytes) -> Answer:
        kept = self._socket is not None
        try:
            answer = await self._once(method, request)
        except OSError as error:
            # A kept connection may have been closed while idle: RFC 9112 section 9.3.1 lets the client try anew.
            if not kept or reason_of(error) not in ("reset", "closed"):
                raise
            self.abandon()
            answer = await self._once(method, request)
        if not answer.keeps or self._per_file:
            await self.close()
        return answer

    async def _once(self, method: str, request: bytes) -> Answer:
        if self._socket is None:
            await self._connect()
        made = self._socket
        assert made is not None
        self._attempt.stage = Stage.ANSWER
        sent = 0
        while sent < len(request):
            sent += await self._turn(functools.partial(made.send, memoryview(request)[sent:]))
        return await self._answer(made, method)

    async def _answer(self, made: ssl.SSLSocket, method: str) -> Answer:
        got = bytearray()
        while True:
            while (end := got.find(b"\r\n\r\n")) < 0:
                if len(got) > MAX_HEAD:
                    raise NoAnswer("the answer's head is longer than a phone reads")
                await self._more(made, got)
            head = read_head(bytes(got[: end + 4]))
            del got[: end + 4]
            if head.status >= 200:
                break
        length, fault = body_length(method, head)
        while len(got) < length:
            await self._more(made, got)
        return Answer(head.status, head.headers, bytes(got[:length]), fault, keeps=head.keeps and not fault)

    async def _more(self, made: ssl.SSLSocket, got: bytearray) -> None:
        piece = await self._turn(functools.partial(made.recv, _PIECE))
        if not piece:
            raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "the server ended the connection")
        self._attempt.answered = True
        got += piece

    async def _connect(self) -> None:
        self._attempt.stage = Stage.CONNECT if not self._attempt.answered else self._attempt.stage
        plain = socket.socket(socket.AF_INET6 if ":" in self._address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            plain.setblocking(False)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._phone.site:
                with suppress(OSError):
                    plain.setsockopt(socket.IPPROTO_IP, _NO_PORT_YET, 1)
                plain.bind((self._phone.site, 0))
            await self._reach(plain)
            named = self._origin.host if self._cards.names_server(self._phone) else None
            card = self._cards.card(self._phone)
            self._socket = card.wrap_socket(plain, do_handshake_on_connect=False, server_hostname=named)
        except BaseException:
            plain.close()
            raise
        self._attempt.stage = Stage.TLS
        await self._turn(self._socket.do_handshake)

    async def _reach(self, plain: socket.socket) -> None:
        code = plain.connect_ex((self._address, self._origin.port))
        if code == errno.EINPROGRESS:
            await self._until(plain, writable=True)
            code = plain.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, "no connection")

    async def _turn(self, step: Callable[[], _T]) -> _T:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                await self._until(self._socket)
            except ssl.SSLWantWriteError:
                await self._until(self._socket, writable=True)

    async def _until(self, made: socket.socket | None, *, writable: bool = False) -> None:
        assert made is not None
        loop, descriptor = self._loop, made.fileno()
        ready: asyncio.Future[None] = loop.create_future()
        add, remove = (loop.add_writer, loop.remove_writer) if writable else (loop.add_reader, loop.remove_reader)
        add(descriptor, _wake, ready)
        try:
            await ready
        finally:
            remove(descriptor)

    async def close(self) -> None:
        """Say goodbye without waiting for the other's."""
        if self._socket is not None:
            with suppress(OSError, ValueError):
                self._socket.unwrap()
        self.abandon()

    def abandon(self) -> None:
        """Leave as a phone does that has waited long enough: the socket is closed, nothing is said."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def reason_of(error: OSError) -> str:
    """One word for what went wrong."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "distrusts_server"
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return "closed"
    if isinstance(error, ssl.SSLError):
        return "tls_alert" if "ALERT" in (error.reason or "") else "tls_broken"
    return _REASONS.get(error.errno or 0, "no_connection")
