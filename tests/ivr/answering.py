"""The IVR's server on loopback with a Desk that knows one code; a phone that used it is told to fetch again."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
import time
import wave
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ivr.flow import Caller, Flow, FlowSettings, Note, Result, ResultKind
from ivr.prompts import IDS, Prompts
from ivr.server import Server, ServerConfig, Sockets
from ivr.server_media import Voice
from ivr.sip.config import CoreConfig
from ivr.sip.effects import Credential
from provisioner import activation_secret
from provisioner.model import Mac
from tests.ivr.scenarios import EXTENSION, GOOD, checks

KEY = b"k" * 32
NUMBER = "2288"
LIFE = 3600


def secret_of(name: str) -> Credential | None:
    """As the product proves a phone."""
    found = activation_secret.credential(KEY, name, time.time(), LIFE)
    return Credential(str(found[0]), str(found[1])) if found else None


def login(mac: str) -> tuple[str, str]:
    """What a phone's configuration says."""
    name, secret = activation_secret.issue(KEY, Mac.parse(mac), time.time(), LIFE, b"12345678")
    return name, str(secret)


@dataclass
class OneCodeDesk:
    """Knows GOOD; ``bound`` is called with the Mac whose it has become."""

    bound: Callable[[str], None] = lambda _: None
    settings: FlowSettings = field(default_factory=FlowSettings)
    refusal: Result | None = None
    event: str = "check-sync;reboot=true"
    """Told after a call that bound a phone; empty: nothing is told."""
    server: Server | None = None
    keyed: list[str] = field(default_factory=list)
    causes: list[str] = field(default_factory=list)
    callers: list[Caller] = field(default_factory=list)
    ended: list[Result | None] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def flow(self, language: str = "") -> Flow:
        return Flow(self.settings, checks, language or "en")

    async def greet(self, caller: Caller) -> Result | None:
        self.callers.append(caller)
        return self.refusal

    async def attempt(self, caller: Caller, code: str, attempt: int) -> Result:
        assert attempt
        self.keyed.append(code)
        if code != GOOD:
            return Result(ResultKind.WRONG)
        self.bound(caller.mac)
        return Result(ResultKind.ACCEPTED, EXTENSION)

    def note(self, caller: Caller, note: Note) -> None:
        assert caller.mac
        self.causes.append(note.cause)

    def finished(self, caller: Caller, result: Result | None) -> None:
        self.ended.append(result)
        if result is not None and result.kind is ResultKind.ACCEPTED and self.event:
            task = asyncio.create_task(self._tell(caller.mac))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _tell(self, mac: str) -> None:
        assert self.server is not None
        await asyncio.sleep(0.2)
        self.statuses.append(await self.server.notify(mac, self.event))


def short_voice(folder: Path) -> Voice:
    """Every prompt a third of a second of one tone, so that a call takes no longer than a test may."""
    (folder / "en").mkdir(parents=True)
    samples = [int(6000 * math.sin(2 * math.pi * 440 * n / 8000)) for n in range(2600)]
    for prompt in IDS:
        with wave.open(str(folder / "en" / f"{prompt}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return Voice({"en": Prompts(folder)})


@dataclass(frozen=True)
class Answering:
    """A server that answers."""

    server: Server
    port: int
    counted: Mapping[tuple[str, str], int]

    @property
    def at(self) -> str:
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def answering(
    desk: OneCodeDesk, voice: Voice | None = None, *, calls: int = 10, **core: Any
) -> AsyncIterator[Answering]:
    """UDP and TCP on the same free port; ``core`` is of its CoreConfig."""
    udp, tcp = _sockets()
    counted: Counter[tuple[str, str]] = Counter()
    settled = CoreConfig(key=KEY, users=frozenset({NUMBER, "activate"}), **core)
    config = ServerConfig(core=settled, calls=calls, media=(20_000, 60_000), connections=20)
    server = Server(config, desk, secret_of, voice or Voice({"en": Prompts()}), lambda *which: counted.update([which]))
    desk.server = server
    await server.start(Sockets(udp=udp, tcp=tcp))
    try:
        yield Answering(server, udp.getsockname()[1], counted)
    finally:
        for task in list(desk.tasks):
            task.cancel()
        await asyncio.gather(*desk.tasks, return_exceptions=True)
        await server.drain(0)
        await server.close()
        udp.close()
        tcp.close()


def _sockets() -> tuple[socket.socket, socket.socket]:
    while True:
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        tcp.bind(("127.0.0.1", 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind(tcp.getsockname())
        except OSError:  # somebody else's
            tcp.close()
            udp.close()
            continue
        tcp.listen()
        return udp, tcp
