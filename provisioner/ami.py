"""The client's side of Asterisk's manager interface, as far as telling a phone to fetch again needs it.

One connection, one action at a time, everything within its time and its size. A connection that has failed is closed,
and the next action makes another. Nothing that came from outside can end a line: whatever holds a control character is
refused before it is sent.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from provisioner.errors import AmiError

_BANNER: Final = b"Asterisk Call Manager/"
_LINE: Final = 8192
"""bytes"""
_PACKET: Final = 65_536
"""bytes"""
_LINES: Final = 500
"""Of one packet."""
_SKIPPED: Final = 10_000
"""Events and late answers that are passed over while an answer is waited for."""
_LONGEST: Final = 200
"""Characters of an argument."""

Pairs = Sequence[tuple[str, str]]
IN_CALL: Final = frozenset({"INUSE", "BUSY", "RINGING", "RINGINUSE", "ONHOLD"})
"""Device states (Asterisk's DEVICE_STATE) of a phone that must not restart now."""
ABSENT: Final = "UNAVAILABLE"
IDLE: Final = "NOT_INUSE"


class Packets:
    """Bytes become packets, cut wherever they may be; AmiError for what is too long to be one."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[bytes] = []
        self._size = 0
        self.banner = ""
        """The first line, once it is there."""

    def feed(self, data: bytes) -> Iterator[Mapping[str, str]]:
        """The packets that these bytes complete; of a name that comes twice the first counts."""
        self._rest += data
        while (end := self._rest.find(b"\n")) >= 0:
            line, self._rest = self._rest[:end].rstrip(b"\r"), self._rest[end + 1 :]
            if packet := self._line(line):
                yield packet
        if len(self._rest) > _LINE:
            raise AmiError("the manager interface sent a line that does not end")

    def _line(self, line: bytes) -> Mapping[str, str]:
        if len(line) > _LINE:
            raise AmiError("the manager interface sent a line that is too long")
        if not self.banner:
            if not line.startswith(_BANNER):
                raise AmiError("this is no manager interface: its first line is another")
            self.banner = _text(line)
            return {}
        if line:
            self._lines.append(line)
            self._size += len(line)
            if len(self._lines) > _LINES or self._size > _PACKET:
                raise AmiError("the manager interface sent a packet that is too long")
            return {}
        lines, self._lines, self._size = self._lines, [], 0
        return _pairs(lines)


def _pairs(lines: Sequence[bytes]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = _text(line).partition(":")
        if colon:
            found.setdefault(name.strip().lower(), value.strip())
    return found


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")


def written(action: str, ident: str, arguments: Pairs) -> bytes:
    """An action as it is sent; AmiError where an argument could be more than one."""
    lines = [("Action", action), ("ActionID", ident), *arguments]
    for name, value in lines:
        if not name.isalnum() or len(value) > _LONGEST or not value.isprintable():
            raise AmiError(f"{name} cannot be sent to the manager interface: too long, or with a control character")
    return "".join(f"{name}: {value}\r\n" for name, value in lines).encode() + b"\r\n"


def variable(name: str, value: str) -> tuple[str, str]:
    """A header of the NOTIFY; a comma would begin another one."""
    if "," in name + value or "=" in name:
        raise AmiError("a header of a NOTIFY by the manager interface can hold no comma")
    return "Variable", f"{name}={value}"


class _Connection(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    packets: Packets
    waiting: list[Mapping[str, str]]
    """Packets that came together with an earlier one."""


class Ami:
    """One a process; close it in the end."""

    def __init__(self, host: str, port: int, user: str, secret: str, *, timeout: float = 5.0) -> None:
        self._address = host, port
        self._user, self._secret = user, secret
        self._timeout = timeout
        self._connection: _Connection | None = None
        self._turn = asyncio.Lock()
        self._idents = itertools.count(1)

    @property
    def connected(self) -> bool:
        """Whether the last action has left a connection behind."""
        return self._connection is not None

    async def notify(self, endpoint: str, event: str) -> None:
        """Have the PBX send the endpoint a NOTIFY with this Event; AmiError says why it did not take it.

        That it took it does not mean that the phone has answered: the PBX tells nobody.
        """
        arguments = (_to(endpoint), variable("Event", event))
        found = await self.ask("PJSIPNotify", arguments)
        if found.get("response") != "Success":
            raise AmiError(f"the PBX sends no NOTIFY to {endpoint}: {_said(found)}")

    async def state(self, endpoint: str) -> str:
        """NOT_INUSE, INUSE, UNAVAILABLE ...: what the PBX knows of an endpoint; AmiError when it does not say."""
        _, name = _to(endpoint)
        if set(name) & set("(){}$,"):
            raise AmiError("this is no name of an endpoint")
        found = await self.ask("Getvar", [("Variable", f"DEVICE_STATE(PJSIP/{name})")])
        if found.get("response") != "Success":
            raise AmiError(f"the PBX does not tell the state of {endpoint}: {_said(found)}")
        return found.get("value", "").upper()

    async def ask(self, action: str, arguments: Pairs) -> Mapping[str, str]:
        """One action and its answer, names in lower case; AmiError."""
        ident = f"provisioner-{next(self._idents)}"
        request = written(action, ident, arguments)
        async with self._turn:
            reused = self._connection is not None
            try:
                return await self._within(request, ident)
            except ConnectionError as error:
                if not reused:
                    raise self._gone(error) from error
            try:  # it was closed while nobody used it
                return await self._within(request, ident)
            except ConnectionError as error:
                raise self._gone(error) from error

    async def close(self) -> None:
        """Let go of the connection."""
        async with self._turn:
            self._drop()

    def _gone(self, error: OSError) -> AmiError:
        host, port = self._address
        return AmiError(f"the manager interface at {host}:{port} is not there: {type(error).__name__}")

    async def _within(self, request: bytes, ident: str) -> Mapping[str, str]:
        """An action that ends otherwise than with its answer takes the connection along."""
        answered = False
        try:
            async with asyncio.timeout(self._timeout):
                connection = self._connection = self._connection or await self._connected()
                found = await _exchange(connection, request, ident)
            answered = True
        except TimeoutError as error:
            raise AmiError(f"the manager interface did not answer within {self._timeout:g} s") from error
        except ConnectionError:
            raise
        except OSError as error:
            raise self._gone(error) from error
        finally:
            if not answered:
                self._drop()
        return found

    async def _connected(self) -> _Connection:
        reader, writer = await asyncio.open_connection(*self._address, limit=_PACKET)
        connection = _Connection(reader, writer, Packets(), [])
        try:
            await self._log_in(connection)
        except BaseException:  # cancelled or refused: nobody else knows of it yet
            writer.close()
            raise
        return connection

    async def _log_in(self, connection: _Connection) -> None:
        """By a challenge where it is offered, so that the secret stays here."""
        while not connection.packets.banner:
            await _more(connection)
        offered = await self._action(connection, "Challenge", [("AuthType", "MD5")])
        challenge = offered.get("challenge", "") if offered.get("response") == "Success" else ""
        who = ("Username", self._user)
        if challenge:
            mixed = hashlib.md5((challenge + self._secret).encode(), usedforsecurity=False).hexdigest()
            proof = [("AuthType", "MD5"), who, ("Key", mixed)]
        else:
            proof = [who, ("Secret", self._secret)]
        found = await self._action(connection, "Login", [*proof, ("Events", "off")])
        if found.get("response") != "Success":
            raise AmiError(f"the manager interface does not let {self._user!r} in; look at its manager.conf")

    async def _action(self, connection: _Connection, action: str, arguments: Pairs) -> Mapping[str, str]:
        ident = f"provisioner-{next(self._idents)}"
        return await _exchange(connection, written(action, ident, arguments), ident)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.writer.close()
            self._connection = None


async def _exchange(connection: _Connection, request: bytes, ident: str) -> Mapping[str, str]:
    """Send it, and pass over everything until its own answer comes."""
    connection.writer.write(request)
    await connection.writer.drain()
    for _ in range(_SKIPPED):
        while not connection.waiting:
            await _more(connection)
        packet = connection.waiting.pop(0)
        if "response" in packet and packet.get("actionid") == ident:
            return packet
    raise AmiError("the manager interface sends everything but an answer")


async def _more(connection: _Connection) -> None:
    data = await connection.reader.read(4096)
    if not data:
        raise ConnectionResetError("closed")
    connection.waiting.extend(connection.packets.feed(data))


def _to(endpoint: str) -> tuple[str, str]:
    """The argument that names a phone: an endpoint of the PBX, or a SIP URI."""
    return ("URI" if endpoint.lower().startswith(("sip:", "sips:")) else "Endpoint"), endpoint


def _said(packet: Mapping[str, str]) -> str:
    """The PBX's own words, printable and short."""
    said = packet.get("message", "") or packet.get("response", "")
    return "".join(letter if letter.isprintable() else "?" for letter in said)[:_LONGEST] or "it says nothing"
