"""Answers as they stand on the wire: one head, Content-Length always, never chunked, bodies from memory or from disk.

Wire sits where aiohttp expects a StreamResponse; building one of those costs more than rendering a small file.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import Final, NamedTuple, cast

from aiohttp import web

_CHUNK: Final = 64 * 1024
"""bytes of an image read and written at a time."""
_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}


class Slice(NamedTuple):
    """A part of a file on disk."""

    path: Path
    start: int
    size: int


class Wire:
    """One answer. ``size`` is the Content-Length, which HEAD and 304 state without sending a body."""

    __slots__ = ("_body", "_headers", "_keep_alive", "_size", "status")

    def __init__(
        self, status: int, body: bytes | Slice = b"", headers: str = "", *, size: int = -1, close: bool = False
    ) -> None:
        self.status = status
        self._body = body
        self._headers = headers
        self._size = size if size >= 0 else (body.size if isinstance(body, Slice) else len(body))
        self._keep_alive = not close

    @property
    def size(self) -> int:
        """Its Content-Length."""
        return self._size

    @property
    def headers(self) -> str:
        """As they were given; of each answer others come before and behind them."""
        return self._headers

    @property
    def keep_alive(self) -> bool:
        """What aiohttp asks after the answer went out."""
        return self._keep_alive

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write the head and the body; waits while the device reads slowly (backpressure)."""
        self._keep_alive = self._keep_alive and bool(request.keep_alive)
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the device has left")
        head = self._head(request)
        if isinstance(self._body, Slice):
            transport.write(head)
            await self._send_slice(request, self._body)
        else:
            transport.write(head + self._body)
            if request.protocol.writing_paused:
                await drained(request)

    async def write_eof(self) -> None:
        """All was written by ``prepare``."""

    def _head(self, request: web.BaseRequest) -> bytes:
        old = request.version.minor == 0
        connection = ("keep-alive" if old else "") if self._keep_alive else ("" if old else "close")
        return (
            f"HTTP/1.1 {self.status} {_REASONS.get(self.status, '')}\r\nDate: {http_date()}\r\n"
            f"Content-Length: {self._size}\r\n{self._headers}"
            f"{f'Connection: {connection}' + chr(13) + chr(10) if connection else ''}\r\n"
        ).encode("latin-1")

    async def _send_slice(self, request: web.BaseRequest, part: Slice) -> None:
        """Read off the loop and write at the device's pace; a file that got shorter ends the connection."""
        left = part.size
        with await asyncio.to_thread(part.path.open, "rb") as file:
            file.seek(part.start)
            while left:
                chunk = await asyncio.to_thread(file.read, min(_CHUNK, left))
                transport = request.transport
                if not chunk or transport is None:
                    self._keep_alive = False
                    raise ConnectionResetError("the image got shorter or the device has left")
                transport.write(chunk)
                left -= len(chunk)
                await drained(request)


class Transfer(Wire):
    """An answer after which something is given back, however it ends."""

    __slots__ = ("_give_back", "_wire")

    def __init__(self, wire: Wire, give_back: Callable[[], None]) -> None:
        self._wire = wire
        self._give_back = give_back
        self.status = wire.status

    @property
    def size(self) -> int:
        """As the answer itself."""
        return self._wire.size

    @property
    def headers(self) -> str:
        """As the answer itself."""
        return self._wire.headers

    @property
    def keep_alive(self) -> bool:
        """As the answer itself."""
        return self._wire.keep_alive

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send the answer, then give back."""
        try:
            await self._wire.prepare(request)
        finally:
            self._give_back()


def as_response(wire: Wire) -> web.StreamResponse:
    """For aiohttp's signature: it calls only prepare, write_eof and keep_alive."""
    return cast("web.StreamResponse", wire)


async def drained(request: web.BaseRequest) -> None:
    """Wait until the transport's buffer is below its high-water mark."""
    await request.protocol._drain_helper()  # aiohttp's own writers wait by it; there is no public name


_date = (0, "")


def http_date() -> str:
    """RFC 9110 section 5.6.7, made once a second."""
    global _date  # one process, one clock
    now = int(time.time())
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True))
    return _date[1]
