"""A manager interface of our own: reads actions as Asterisk does, answers by a table, and can misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

BANNER = b"Asterisk Call Manager/7.0.3\r\n"
_NOISE = "Event: FullyBooted\r\nStatus: Fully Booted\r\n\r\nResponse: Success\r\nActionID: somebody's\r\n\r\n"
SECRET = "s3cret-of-the-PBX"


@dataclass
class FakeAmi:
    """States by endpoint; what was sent and by whom; ``offers`` is whether there is a challenge."""

    states: dict[str, str] = field(default_factory=dict)
    offers: bool = True
    secret: str = SECRET
    notified: list[tuple[str, str]] = field(default_factory=list)
    actions: list[dict[str, str]] = field(default_factory=list)
    connections: int = 0
    raw: Callable[[bytes], bytes] | None = None
    """What to answer to any bytes, instead."""
    port: int = 0
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FakeAmi]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.hang_up()
            await server.wait_closed()

    def hang_up(self) -> None:
        for writer in self._open:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if self.raw is not None:
                writer.write(self.raw(b""))
                writer.write_eof()
                await reader.read()
            else:
                await self._talk(reader, writer)
        self._open.discard(writer)
        writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(BANNER)
        known = False
        while True:
            packet = await reader.readuntil(b"\r\n\r\n")
            asked = dict(line.split(": ", 1) for line in packet.decode().strip().split("\r\n"))
            self.actions.append(asked)
            known, answer = self._answer(asked, known)
            writer.write(f"{_NOISE}Response: {answer}\r\nActionID: {asked['ActionID']}\r\n\r\n".encode())

    def _answer(self, asked: dict[str, str], known: bool) -> tuple[bool, str]:
        action = asked["Action"]
        if action == "Challenge":
            return known, "Success\r\nChallenge: 840415273" if self.offers else "Error\r\nMessage: no"
        if action == "Login":
            mixed = hashlib.md5(f"840415273{self.secret}".encode(), usedforsecurity=False).hexdigest()
            good = asked.get("Key") == mixed if self.offers else asked.get("Secret") == self.secret
            return good, "Success\r\nMessage: Authentication accepted" if good else "Error\r\nMessage: failed"
        if not known:
            return known, "Error\r\nMessage: Permission denied"
        if action == "Getvar":
            name = asked["Variable"].removeprefix("DEVICE_STATE(PJSIP/").removesuffix(")")
            return known, f"Success\r\nVariable: {asked['Variable']}\r\nValue: {self.states.get(name, 'INVALID')}"
        if action == "PJSIPNotify" and asked.get("Endpoint") in self.states:
            self.notified.append((asked["Endpoint"], asked["Variable"]))
            return known, "Success\r\nMessage: NOTIFY sent"
        return known, "Error\r\nMessage: Unable to retrieve endpoint"
