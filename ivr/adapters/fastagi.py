"""Strategy: Asterisk connects for each call, and we command it: STREAM FILE for prompts, GET DATA for the last of them.

FastAGI knows no passwords, so only peers of a list may connect. What a header says of the phone is a hint; the caller
counts as authenticated only where the operator vouches for this Asterisk and it challenges the endpoint named by a Mac.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ivr.adapters import agi
from ivr.adapters.agi import AgiError, Environment, HungUp, Reply, Told
from ivr.adapters.callers import Peers, first_mac, read_mac, read_source
from ivr.adapters.conversation import Conversation, Count, Said, uncounted
from ivr.desk import Desk
from ivr.flow import Caller, Cause, Collect, Digits, Input, Played, Timeout

PORT: Final = 4573
RESULT: Final = "ACT_RESULT"
"""The channel variable that says how the call ended, for the dialplan's ``h`` extension."""
_PATIENCE: Final = 10.0
"""s for what Asterisk answers at once: its environment, a variable."""
_GRACE: Final = 30.0
"""s over the Flow's own end, for a GET DATA that is under way."""
_ESCAPES: Final = "0123456789*"
"""Keys that cut a streamed prompt short; "#" would be what remains of a code complete without it."""
_ENDPOINT: Final = "${CHANNEL(endpoint)}"
_CHALLENGED: Final = "${PJSIP_ENDPOINT(${CHANNEL(endpoint)},auth)}"
"""The section that Asterisk challenges this endpoint with; empty for one that it lets in unasked."""
_UP: Final = "6"
"""Of CHANNEL STATUS: the call stands."""
_ADDRESS: Final = "${CHANNEL(pjsip,remote_addr)}"
_QUIET: Final = 10.0
"""s between two lines of the log about connections turned away."""
_OBJECTIONS: Final = {
    "stranger": "is none of the peers that may connect",
    "rate": "connects too often",
    "full": "finds as many calls as there may be",
}
_FOLDER: Final = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
_HEADER: Final = re.compile(r"[A-Za-z0-9-]+")
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FastAgiSettings:
    """Who may connect, and what is believed."""

    peers: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    """Networks of the Asterisks that may connect."""
    vouched: tuple[str, ...] = ()
    """Those of them whose word is taken that an endpoint named by a Mac, and challenged, is that device."""
    calls: int = 100
    """At once; each is one connection."""
    folder: str = "activation"
    """Of the recordings, below Asterisk's sounds of a language."""
    header: str = "MAC"
    """The SIP header in which some phones tell their Mac: a hint."""

    def __post_init__(self) -> None:
        """Refused: names that would mean something else within a command of Asterisk's."""
        if not _FOLDER.fullmatch(self.folder) or not _HEADER.fullmatch(self.header):
            raise ValueError("folder is of letters, digits, / _ and -; header of letters, digits and -")


class _Gone(Exception):
    """The caller has hung up."""


class FastAgi:
    """The server; ``start`` it, and ``close`` it."""

    def __init__(
        self,
        desk: Desk,
        settings: FastAgiSettings | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        count: Count = uncounted,
        admits: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """``admits`` says whether an address that may connect does not so too often; refused: peers that are none."""
        self._desk = desk
        self._count = count
        self._admits = admits
        self._told_again = 0.0
        self._settings = settings or FastAgiSettings()
        self._peers = Peers(self._settings.peers)
        self._vouched = Peers(self._settings.vouched)
        self._clock = clock
        self._server: asyncio.Server | None = None
        self._calls: set[asyncio.Task[None]] = set()

    async def start(self, host: str = "127.0.0.1", port: int = PORT, *, sock: socket.socket | None = None) -> None:
        """Listen, on a socket that is bound already where there is one; port 0 takes a free one."""
        where = {"host": host, "port": port} if sock is None else {"sock": sock}
        self._server = await asyncio.start_server(self._accept, limit=agi.LONGEST, **where)

    @property
    def port(self) -> int:
        """Where it listens; 0 before it does."""
        return int(self._server.sockets[0].getsockname()[1]) if self._server and self._server.sockets else 0

    @property
    def calls(self) -> int:
        """That stand."""
        return len(self._calls)

    async def close(self) -> None:
        """Listen no more; calls that stand are cut."""
        if self._server:
            self._server.close()
        for task in self._calls:
            task.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = (writer.get_extra_info("peername") or ("",))[0]
        if why := self._objection(address):
            self._turned_away(address, why)
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._serve(_Line(reader, writer), address))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    def _objection(self, address: str) -> str:
        """Which of ``_OBJECTIONS`` there is to a connection; none is empty."""
        if not self._peers.allows(address):
            return "stranger"
        if not self._admits(address):
            return "rate"
        return "full" if len(self._calls) >= self._settings.calls else ""

    def _turned_away(self, address: str, why: str) -> None:
        """All are counted; the log has one line each ten seconds, for whoever is turned away may come again at once."""
        self._count("agi_connections", why)
        if self._clock() >= self._told_again:
            self._told_again = self._clock() + _QUIET
            _LOG.warning("FastAGI: %s %s; closed", address, _OBJECTIONS[why])

    async def _serve(self, line: _Line, address: str) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                environment = await line.environment()
                caller = await self._caller(line, environment, vouched=self._vouched.allows(address))
            await self._call(line, caller)
            self._count("agi_connections", "served")
        except _Gone:
            self._count("agi_connections", "gone")
        except (AgiError, TimeoutError, OSError) as error:
            self._count("agi_connections", "failed")
            _LOG.warning("FastAGI with %s ended: %s", address, str(error) or type(error).__name__)
        finally:
            line.close()

    async def _call(self, line: _Line, caller: Caller) -> None:
        """The recordings are Asterisk's, and so is the choice of their language."""
        conversation = Conversation(self._desk, caller, self._clock, count=self._count)
        try:
            async with asyncio.timeout(conversation.flow.settings.longest + _GRACE):
                said = await conversation.begin()
                while said.hangup is None:
                    said = await self._act(line, conversation, said) or said
                await line.command("SET VARIABLE", RESULT, said.hangup)
                await line.command("HANGUP")
        finally:
            conversation.end()

    async def _act(self, line: _Line, conversation: Conversation, said: Said) -> Said | None:
        """GET DATA plays one file, so those before it are streamed; keys cut either short."""
        streamed = said.prompts[:-1] if said.collect else said.prompts
        heard = await self._stream(line, conversation, streamed)
        if heard is not None:
            return heard
        if said.collect is None:
            return await conversation.tell(Played()) or Said(hangup=Cause.ERROR)
        file = self._file(said.prompts[-1]) if said.prompts else ""
        wait, most = round(said.collect.first_s * 1000), said.collect.max_digits
        reply = await line.command("GET DATA", file, str(wait), str(most))
        return await conversation.tell(*gathered(reply, said.collect))

    async def _stream(self, line: _Line, conversation: Conversation, prompts: tuple[str, ...]) -> Said | None:
        """A key that changes nothing is passed over, and the prompt goes on from where it was."""
        for prompt in prompts:
            start, pressed = 0, "?"
            while pressed:
                reply = await line.command("STREAM FILE", self._file(prompt), _ESCAPES, str(start))
                start, pressed = reply.endpos, agi.key(reply.result)
                heard = await conversation.tell(Digits(pressed)) if pressed else None
                if heard is not None:
                    return heard
        return None

    def _file(self, prompt: str) -> str:
        return f"{self._settings.folder}/{prompt}"

    async def _caller(self, line: _Line, environment: Environment, *, vouched: bool) -> Caller:
        endpoint = read_mac(await line.variable(_ENDPOINT))
        proven = vouched and bool(endpoint) and bool(await line.variable(_CHALLENGED))
        header = read_mac(await line.variable(f"${{PJSIP_HEADER(read,{self._settings.header})}}"))
        claims = (endpoint, first_mac(environment.arguments), header, read_mac(environment.get("callerid")))
        mac = first_mac(claims)
        if len({claim for claim in claims if claim}) > 1:
            _LOG.warning("FastAGI: endpoint, argument, header and caller id name different phones; taken: %s", mac)
        source = read_source(await line.variable(_ADDRESS))
        return Caller(mac, source, "agi", authenticated=proven)


class _Line:
    """One connection: commands out, one at a time, and what comes back."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._inbox = agi.Inbox()
        self._hung_up = False

    async def environment(self) -> Environment:
        told = await self._told()
        while not isinstance(told, Environment):
            told = await self._told()
        return told

    async def variable(self, expression: str) -> str:
        """Empty where this Asterisk has no such function or the channel no such value."""
        reply = await self.command("GET FULL VARIABLE", expression)
        return reply.value if reply.code == 200 and reply.result == "1" else ""

    async def command(self, name: str, *arguments: str) -> Reply:
        told = await self._answered(name, *arguments)
        if told.result == "-1" and not self._hung_up:
            await self._why(name, *arguments)
        if self._hung_up or told.code == agi.GONE or told.result == "-1":
            raise _Gone
        if told.code != 200 and name != "GET FULL VARIABLE":
            raise AgiError(f"{name} was answered {told.code}")
        return told

    async def _answered(self, name: str, *arguments: str) -> Reply:
        self._writer.write(agi.command(name, *arguments))
        await self._writer.drain()
        told = await self._told()
        while not isinstance(told, Reply):
            told = await self._told()
        return told

    async def _why(self, name: str, *arguments: str) -> None:
        """Asterisk answers a missing file as it does a caller who left; only the channel tells the two apart."""
        state = await self._answered("CHANNEL STATUS")
        if not self._hung_up and state.result == _UP:
            raise AgiError(f"{name} {' '.join(arguments)} failed: is this file among Asterisk's sounds?")

    async def _told(self) -> Told | None:
        try:
            line = await self._reader.readline()
        except ValueError as error:
            raise AgiError(f"a line of over {agi.LONGEST} bytes") from error
        if not line.endswith(b"\n"):
            raise _Gone
        told = self._inbox.told(line)
        self._hung_up = self._hung_up or isinstance(told, HungUp)
        return told

    def close(self) -> None:
        self._writer.close()


def gathered(reply: Reply, collect: Collect) -> tuple[Input, ...]:
    """What GET DATA answers: all keys asked for, or those before a "#" that it keeps, or before a pause."""
    if reply.value == "timeout":
        return (Digits(reply.result), Timeout()) if reply.result else (Timeout(),)
    full = len(reply.result) >= collect.max_digits
    return (Digits(reply.result if full else reply.result + "#"),)
