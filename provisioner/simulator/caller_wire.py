"""A simulated phone's way to its SIP server, UDP or a stream, and its RTP socket. What cannot be read is dropped."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Protocol, cast

from provisioner.errors import ProvisionerError
from provisioner.simulator.caller_message import LARGEST, Garbled, Message, body_length, read

Heard = Callable[[Message], None]
Lost = Callable[[str], None]


class Unreached(ProvisionerError):
    """The other side cannot be reached, or does not answer."""

    kind = "unreached"


class Wire(Protocol):
    """One flow to the server, in both directions."""

    transport: str
    local: tuple[str, int]

    def send(self, message: Message) -> None:
        """Put it on the way; nothing is said about its arrival."""

    def close(self) -> None:
        """No more is heard or sent."""


async def connect(
    transport: str, host: str, port: int, context: ssl.SSLContext | None, heard: Heard, lost: Lost
) -> Wire:
    """A flow to that server; Unreached says why there is none."""
    try:
        if transport == "udp":
            return await _datagrams(host, port, heard, lost)
        return await _stream(host, port, context if transport == "tls" else None, heard, lost)
    except (OSError, TimeoutError) as error:  # ssl.SSLError is one
        why = getattr(error, "strerror", None) or str(error) or "no answer"
        raise Unreached(f"{host}:{port} cannot be reached by {transport}: {why}") from error


class _Datagrams(asyncio.DatagramProtocol):
    transport = "udp"

    def __init__(self, heard: Heard, lost: Lost) -> None:
        self._heard, self._lost = heard, lost
        self.local = ("", 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._way = cast("asyncio.DatagramTransport", transport)
        self.local = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: object) -> None:
        del addr  # the socket is connected
        with contextlib.suppress(Garbled):
            self._heard(read(data))

    def error_received(self, exc: Exception) -> None:
        """The network says that nobody is there."""
        self._lost(getattr(exc, "strerror", None) or str(exc))

    def send(self, message: Message) -> None:
        if not self._way.is_closing():
            self._way.sendto(message.encode())

    def close(self) -> None:
        self._way.close()


async def _datagrams(host: str, port: int, heard: Heard, lost: Lost) -> Wire:
    """IPv4 first, as phones ask: a UDP socket reaches every address, so nothing would say that nobody is there."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    address = str(min(found, key=lambda one: one[0] != socket.AF_INET)[4][0])
    _, made = await loop.create_datagram_endpoint(lambda: _Datagrams(heard, lost), remote_addr=(address, port))
    return made


class _Stream:
    def __init__(
        self, transport: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: Heard, lost: Lost
    ) -> None:
        self.transport = transport
        self._reader, self._writer, self._heard, self._lost = reader, writer, heard, lost
        self.local: tuple[str, int] = writer.get_extra_info("sockname")[:2]
        self._task = asyncio.create_task(self._listen())

    def send(self, message: Message) -> None:
        if not self._writer.is_closing():
            self._writer.write(message.encode())

    def close(self) -> None:
        self._task.cancel()
        self._writer.close()

    async def _listen(self) -> None:
        try:
            while True:
                head = (await self._reader.readuntil(b"\r\n\r\n")).lstrip(b"\r\n")
                if head:  # else a keep-alive (RFC 5626 section 3.5.1)
                    self._heard(read(head + await self._reader.readexactly(body_length(head))))
        except (OSError, EOFError, asyncio.LimitOverrunError, Garbled):
            self._writer.close()
            self._lost("the connection is gone")


async def _stream(host: str, port: int, context: ssl.SSLContext | None, heard: Heard, lost: Lost) -> Wire:
    name = host if context is not None else None
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name, limit=LARGEST)
    return _Stream("tls" if context else "tcp", reader, writer, heard, lost)


class MediaPort(asyncio.DatagramProtocol):
    """The phone's RTP socket: hears the agreed address only, and speaks to nobody else."""

    def __init__(self, heard: Callable[[bytes], None]) -> None:
        self._heard = heard
        self.local = ("", 0)
        self.peer: tuple[str, int] | None = None
        """Where the other side listens, once that is known."""
        self.foreign = 0
        """Datagrams from somewhere else."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note where it listens."""
        self._way = cast("asyncio.DatagramTransport", transport)
        self.local = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Hand it on when it is from the other side."""
        if self.peer is not None and addr[:2] == self.peer:
            self._heard(data)
        else:
            self.foreign += 1

    def error_received(self, exc: Exception) -> None:
        """A closed port at the other end: its BYE is on the way."""

    def send(self, packet: bytes) -> None:
        """To the other side, once it is known."""
        if self.peer is not None and not self._way.is_closing():
            self._way.sendto(packet, self.peer)

    def close(self) -> None:
        """Hang up the media."""
        self._way.close()


async def open_media(host: str, heard: Callable[[bytes], None]) -> MediaPort:
    """An RTP socket on the address that the phone signals from."""
    loop = asyncio.get_running_loop()
    _, made = await loop.create_datagram_endpoint(lambda: MediaPort(heard), local_addr=(host, 0))
    return made
