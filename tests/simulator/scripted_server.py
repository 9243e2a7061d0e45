"""A real TLS server that plays a script of files and remembers every request; shares nothing with the product."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import trustme


@dataclass(frozen=True)
class Certificates:
    server_ca: Path
    certificate: Path
    key: Path
    stranger: Path
    stranger_key: Path
    factory: trustme.CA
    server: trustme.LeafCert

    def context(self, *, required: bool = False, lowest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2) -> ssl.SSLContext:
        """A server's context that asks for a client certificate of the factory."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.configure_cert(context)
        self.factory.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        context.minimum_version = lowest
        return context


XML = "application/xml"
TEXT = "text/plain"


@dataclass(frozen=True)
class Reply:
    """What the script answers. ``raw`` goes out as it is, then the connection ends."""

    body: bytes = b""
    status: int = 200
    media_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes = b""
    delay: float = 0.0
    hang_up: bool = False


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    agent: str
    headers: Mapping[str, str]
    body: bytes
    connection: int
    subject: str


Script = Callable[[Asked], Reply]


def play(files: Mapping[str, bytes | str | Reply]) -> Script:
    """Answer GET and HEAD from the files and 404 the rest; take every upload."""

    def answer(asked: Asked) -> Reply:
        if asked.method in ("PUT", "POST"):
            return Reply(status=201)
        found = files.get(asked.path)
        if found is None:
            return Reply(status=404)
        if isinstance(found, Reply):
            return found
        body = found.encode() if isinstance(found, str) else found
        return Reply(body, media_type=TEXT if asked.path.endswith((".boot", ".cfg")) and b"#!v" in body[:9] else XML)

    return answer


class ScriptedServer:
    """``async with ScriptedServer(script, context) as server``; no context means plain HTTP."""

    def __init__(self, script: Script, context: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.asked: list[Asked] = []
        self.connections = 0
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def order(self) -> list[tuple[str, str]]:
        return [(one.method, one.path) for one in self.asked]

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}/"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            with suppress(OSError, EOFError, asyncio.CancelledError):
                while await self._one(reader, writer, self.connections):
                    pass
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            self._tasks.discard(task)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> bool:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:-2])}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        asked = Asked(method, path, headers.get("user-agent", ""), headers, body, connection, _subject(writer))
        self.asked.append(asked)
        reply = self.script(asked)
        await asyncio.sleep(reply.delay)
        if reply.raw:
            writer.write(reply.raw)
        else:
            writer.write(_head(reply) + (b"" if method == "HEAD" else reply.body))
        await writer.drain()
        return not reply.raw and not reply.hang_up


def _head(reply: Reply) -> bytes:
    headers = {"Content-Length": str(len(reply.body)), **reply.headers}
    if reply.media_type:
        headers["Content-Type"] = reply.media_type
    lines = [f"HTTP/1.1 {reply.status} X", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()


def _subject(writer: asyncio.StreamWriter) -> str:
    cert = writer.get_extra_info("peercert") or {}
    names = dict(pair for part in cert.get("subject", ()) for pair in part)
    return str(names.get("commonName", ""))
