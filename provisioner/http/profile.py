"""The profile listener: whoever comes is let in, looked at, served nothing and let go, within bounds of every kind.

Rule: nothing of any device is known here. A handshake is completed with any certificate or none, down to TLS 1.0; what
is asked for is answered with 404, which leaves a phone as it was, or with one line of text. Credentials are never kept.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic, time
from typing import Final

from OpenSSL import SSL

from provisioner.gate import address_key
from provisioner.gcra import Gcra
from provisioner.http.contexts import peer_cert, presented_chain
from provisioner.http.machine import Buffers, Hello, Machine, classify
from provisioner.http.schemes import scheme_of
from provisioner.model import PeerCert
from provisioner.settings import Settings

TEXT: Final = b"# This address serves nothing. It notes what the phone that asks can do.\n"
BACKLOG: Final = 64
"""Callers that the kernel holds meanwhile."""
_HELLO: Final = 20 * 1024
"""Bytes of a hello: a record and its head."""
_BYTES: Final = 96 * 1024
"""Bytes taken in on one connection: five large certificates, and the heads of a whole boot."""
_HEAD: Final = 8 * 1024
_REQUESTS: Final = 20
_ADDRESSES: Final = 4096
"""Addresses whose pace is remembered."""
_GOODBYE: Final = 1.0
"""s."""
_LATER: Final = 1.0
"""s without accepting anybody, when the process has no file descriptor left."""
_LINE: Final = re.compile(rb"([A-Z]{1,10}) (\S{1,2048}) HTTP/1\.[01]")
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}):([^\r\n]*)")


@dataclass(slots=True)
class Sighting:
    """One connection, as it was; raw, and read by nobody yet."""

    at: float
    address: str
    hello: bytes = field(default=b"", repr=False)
    plain: bool = False
    """It spoke HTTP without TLS."""
    sslv2: bool = False
    done: bool = False
    """The handshake was completed."""
    version: str = ""
    cipher: str = ""
    fault: str = ""
    """Why it was not; ``alert_`` and its name where the caller said so."""
    peer: PeerCert | None = None
    chain: tuple[bytes, ...] = field(default=(), repr=False)
    agent: str = ""
    scheme: str = ""
    """Of Authorization, and the algorithm of Digest; nothing else of it."""
    asked: str = ""
    """Which scheme the caller was asked for."""
    date: str = ""
    """As its header of that name has it."""
    targets: list[str] = field(default_factory=list)


class _Enough(Exception):
    """The connection is over, for a reason that is nobody's fault; stays in this module."""


class ProfileListener:
    """Open until it is closed. ``note`` is given each connection when it is over."""

    def __init__(
        self, context: SSL.Context, settings: Settings, note: Callable[[Sighting], None], *, ask: str = ""
    ) -> None:
        """``ask``: ``digest`` has every request without credentials answered with 401."""
        self._context, self._settings, self._note, self._ask = context, settings, note, ask
        self._all = Gcra(settings.profile_rate, 2 * settings.profile_rate + 1, 1)
        self._each = Gcra(settings.profile_address / 60, max(settings.profile_address, 1.0), _ADDRESSES)
        self._buffers = Buffers()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sock: socket.socket | None = None
        self.turned_away = 0
        """Callers beyond a bound."""

    def __len__(self) -> int:
        """Connections."""
        return len(self._tasks)

    def open(self, sock: socket.socket) -> None:
        """Take callers from now on; the socket is closed with the listener."""
        sock.setblocking(False)
        sock.listen(BACKLOG)
        self._sock = sock
        self._listen()

    def shut(self) -> None:
        """Stop listening and end every connection, now and without waiting for anything."""
        sock, self._sock = self._sock, None
        if sock is not None:
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()
        for task in list(self._tasks):
            task.cancel()

    async def close(self) -> None:
        """The same, and wait until they are gone."""
        self.shut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _listen(self) -> None:
        if self._sock is not None:
            asyncio.get_running_loop().add_reader(self._sock, self._come)

    def _come(self) -> None:
        """Accepted here, for asyncio's server forgets, open, whoever comes in the turn in which it closes."""
        if self._sock is None:
            return
        try:
            sock, peername = self._sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError:  # no file descriptor is left: the next may be had a little later
            asyncio.get_running_loop().remove_reader(self._sock)
            asyncio.get_running_loop().call_later(_LATER, self._listen)
            return
        address = str(peername[0]).removeprefix("::ffff:")
        if not self._admits(address, monotonic()):  # whoever is beyond a bound costs no more than this
            self.turned_away += 1
            sock.close()
            return
        sock.setblocking(False)
        task = asyncio.get_running_loop().create_task(self._serve(sock, Sighting(time(), address)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _task: sock.close())  # one that is ended before its first step has closed nothing

    def _admits(self, address: str, now: float) -> bool:
        if len(self) >= self._settings.profile_connections:
            return False
        key = address_key(address)
        return not self._each.take(key, now) and not self._all.take("", now)

    async def _serve(self, sock: socket.socket, seen: Sighting) -> None:
        reader, writer = await asyncio.open_connection(sock=sock, limit=_HEAD)
        try:
            async with asyncio.timeout(self._settings.profile_time):
                await _Visit(self._context, self._buffers, reader, writer, seen, self._ask).run()
        except TimeoutError:
            seen.fault = seen.fault or ("" if seen.done or seen.plain else "timeout")
        except (OSError, EOFError, _Enough):
            pass
        finally:
            self._note(seen)
            writer.close()
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(_GOODBYE):
                    await writer.wait_closed()
            writer.transport.abort()


class _Visit:
    """One caller, from the first byte to the last."""

    def __init__(
        self,
        context: SSL.Context,
        buffers: Buffers,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        seen: Sighting,
        ask: str,
    ) -> None:
        self._context, self._buffers = context, buffers
        self._reader, self._writer = reader, writer
        self._seen, self._ask = seen, ask
        self._taken = 0
        self._machine: Machine | None = None

    async def run(self) -> None:
        first, kind = await self._first()
        if kind is Hello.CLIENT_HELLO:
            self._seen.hello = first
            self._machine = Machine(self._context, self._buffers)
            self._machine.feed(first)
            await self._handshake(self._machine)
            await self._requests(b"")
            self._machine.say_goodbye()
            await self._flush()
        elif kind is Hello.PLAIN_HTTP:
            self._seen.fault = "not_tls"  # unless it is HTTP
            await self._requests(first)
        else:
            self._seen.sslv2 = kind is Hello.SSLV2
            self._seen.fault = "" if self._seen.sslv2 else "not_tls"

    async def _first(self) -> tuple[bytes, Hello]:
        first = b""
        while (kind := classify(first)) is Hello.MORE:
            if len(first) > _HELLO:
                raise _Enough
            first += await self._take()
        return first, kind

    async def _take(self) -> bytes:
        """The next bytes off the wire; _Enough at their end, and beyond the bound."""
        data = await self._reader.read(16 * 1024)
        self._taken += len(data)
        if not data or self._taken > _BYTES:
            raise _Enough
        return data

    # --- TLS ------------------------------------------------------------------------------------------

    async def _handshake(self, machine: Machine) -> None:
        seen = self._seen
        while not machine.handshake():
            await self._flush()
            if machine.fault:
                seen.fault = machine.fault
                raise _Enough
            machine.feed(await self._take())
        seen.done, seen.version, seen.cipher = True, machine.version, machine.cipher
        seen.chain = presented_chain(machine.connection)
        seen.peer = peer_cert(machine.connection)
        await self._flush()

    async def _flush(self) -> None:
        machine = self._machine
        while machine is not None and (chunk := bytes(machine.outgoing())):
            self._writer.write(chunk)
        await self._writer.drain()

    async def _more(self) -> bytes:
        """The next plaintext."""
        machine = self._machine
        if machine is None:
            return await self._take()
        while not (data := machine.read()):
            if machine.fault or machine.closed_by_peer:
                self._late(machine.fault)
                raise _Enough
            await self._flush()
            machine.feed(await self._take())
        return data

    def _late(self, fault: str) -> None:
        """A phone may look at our certificate only once the handshake is over."""
        if fault.startswith("alert_") and not self._seen.targets:
            self._seen.fault = fault

    async def _say(self, data: bytes) -> None:
        if self._machine is None:
            self._writer.write(data)
        else:
            self._machine.write(data)
        await self._flush()

    # --- HTTP -----------------------------------------------------------------------------------------

    async def _requests(self, data: bytes) -> None:
        """Several, as a boot has them; whatever has a body is answered and ends the connection."""
        for _ in range(_REQUESTS):
            while b"\r\n\r\n" not in data:
                if len(data) > _HEAD:
                    raise _Enough
                data += await self._more()
            head, _, data = data.partition(b"\r\n\r\n")
            ends = self._read(head)
            await self._say(self._answer(ends=ends))
            if ends:
                return

    def _read(self, head: bytes) -> bool:
        """Note what it says of the phone; whether the connection ends with it."""
        line, *rest = head.split(b"\r\n")
        found = _LINE.fullmatch(line)
        if found is None:
            raise _Enough
        fields = {
            match[1].decode().lower(): match[2].strip(b" \t").decode("latin-1")
            for one in rest
            if (match := _FIELD.fullmatch(one)) is not None
        }
        seen = self._seen
        if self._machine is None:
            seen.plain, seen.fault = True, ""
        seen.targets.append(f"{found[1].decode()} {found[2].decode('latin-1')}")
        seen.agent = fields.get("user-agent", seen.agent)
        seen.date = fields.get("date", seen.date)[:40]
        seen.scheme = scheme_of(fields.get("authorization", "")) or seen.scheme
        has_body = fields.get("content-length", "0") != "0" or "transfer-encoding" in fields
        return has_body or "close" in fields.get("connection", "").lower()

    def _answer(self, *, ends: bool) -> bytes:
        method, _, target = self._seen.targets[-1].partition(" ")
        extra = "Connection: close\r\n" if ends else ""
        if self._ask == "digest" and not self._seen.scheme:
            self._seen.asked = "Digest"
            return _head("401 Unauthorized", 0, extra + _challenges())
        path = target.partition("?")[0]
        if method in ("GET", "HEAD") and (path == "/" or path.endswith(".txt")):
            head = _head("200 OK", len(TEXT), f"{extra}Content-Type: text/plain\r\n")
            return head if method == "HEAD" else head + TEXT
        return _head("404 Not Found", 0, extra)


def _head(status: str, length: int, more: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n{more}\r\n".encode("ascii")


def _challenges() -> str:
    """SHA-256 before MD5, as RFC 7616 section 3.7 has it; nobody ever looks at what comes back."""
    return "".join(
        f'WWW-Authenticate: Digest realm="profile", nonce="{secrets.token_hex(16)}", qop="auth", algorithm={name}\r\n'
        for name in ("SHA-256", "MD5")
    )
