"""The shell that speaks SNMP: one engine a process, loaded when it is first needed, and no MIB file is ever looked up.

An engine for each switch would be 4 MB and a socket each. Keys of SNMPv3 users are told apart by the id of the switch's
own engine, so two switches may have a user of the same name with other keys.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

from provisioner.errors import Unusable
from provisioner.switches.agent import AgentFailed, Part, Table
from provisioner.switches.credentials import Auth, Community, Credential, Privacy
from provisioner.switches.discovery import engine_in, request
from provisioner.switches.fence import CLOSED, Fence
from provisioner.switches.oids import Oid, Row, Value, below, dotted, parts

_CRYPTOGRAPHY: Final = 47
"""pysnmp 7.1 needs it and does not say so: below it each encrypted user fails as with a wrong key."""
_TOGETHER: Final = 20
"""Objects of one question: their answer fits a datagram that no path cuts."""
_REPETITIONS: Final = 25
"""Rows of one answer: some switches answer slowly or loop above it."""
_TOO_BIG: Final = 1  # error-status of RFC 3416 section 3

_SAID: Final[Mapping[str, tuple[Part, str]]] = {
    "RequestTimedOut": (Part.SILENT, "no answer"),
    "UnknownUserName": (Part.USER, "the switch does not know this user"),
    "UnknownSecurityName": (Part.USER, "the switch does not know this user"),
    "WrongDigest": (Part.AUTH, "the auth key or algorithm is not the one that the switch has for this user"),
    "AuthenticationFailure": (Part.AUTH, "the auth key or algorithm is not the one that the switch has"),
    "AuthenticationError": (Part.AUTH, "the auth key or algorithm is not the one that the switch has"),
    "UnsupportedAuthProtocol": (Part.AUTH, "this auth algorithm is not supported"),
    "UnsupportedSecurityLevel": (
        Part.PRIVACY,
        "the switch has this user with another level: without auth or privacy where they are given, or the reverse",
    ),
    "DecryptionError": (Part.PRIVACY, "the privacy key or algorithm is not the one that the switch has for this user"),
    "EncryptionError": (Part.PRIVACY, "the privacy key or algorithm is not one that can be used"),
    "UnsupportedPrivProtocol": (Part.PRIVACY, "this privacy algorithm is not supported"),
    "NoSuchContext": (Part.CONTEXT, "the switch has no such context"),
}
_REFUSED: Final[Mapping[int, tuple[Part, str]]] = {
    2: (Part.OBJECT, "the switch does not have it"),
    6: (Part.RIGHTS, "the switch gives no access to it"),
    7: (Part.OBJECT, "the switch takes another type of value"),
    10: (Part.OBJECT, "the switch does not take this value"),
    11: (Part.OBJECT, "the switch does not have it"),
    16: (Part.RIGHTS, "the switch does not let this credential do it"),
    17: (Part.OBJECT, "the switch does not have it, or lets nobody change it"),
}
"""error-status of RFC 3416 section 3."""


@dataclass(frozen=True, slots=True)
class Reached:
    """What is at an address, before any name or password."""

    engine: bytes = b""
    """Its id; empty: nothing answered."""
    closed: bool = False
    """The machine is there and says that nothing listens."""


@dataclass(frozen=True, slots=True)
class Where:
    """Where a switch, or a receiver of traps, is reached."""

    host: str
    port: int = 161
    fence: Fence = CLOSED

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 161 else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Pace:
    """How long is waited for an answer, and how often is asked again."""

    timeout: float = 1.0
    retries: int = 1


class Engine:
    """SNMP for one event loop. Use ``shared``: there is one for a process."""

    def __init__(self, snmp: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.snmp = snmp
        self.loop = loop
        self._ids: dict[Where, bytes] = {}
        self._turns: dict[tuple[bytes, str], asyncio.Lock] = {}

    def turn(self, ident: bytes, credential: Credential) -> AbstractAsyncContextManager[None]:
        """Pysnmp has one set of keys for a user of a switch: who comes with others must not take them from under it."""
        if isinstance(credential, Community):
            return nullcontext()
        return self._turns.setdefault((ident, credential.user), asyncio.Lock())

    def close(self) -> None:
        """Let the socket go, and the timer."""
        if not self.loop.is_closed():
            self.snmp.close_dispatcher()

    async def agent(self, where: Where, credential: Credential, pace: Pace) -> SnmpAgent:
        """A switch as this credential sees it; AgentFailed where nothing can be reached at all."""
        if isinstance(credential, Community):
            return SnmpAgent(self, await target(where, pace), credential, b"", b"", str(where))
        ident = self._ids.get(where) or (await reached(where, pace)).engine
        if not ident:
            raise AgentFailed(Part.ADDRESS, f"nothing answers at {where}: the address is wrong, or it is kept away")
        self._ids[where] = ident
        return SnmpAgent(self, await target(where, pace), credential, ident, b"", str(where))

    def forget(self, where: Where) -> None:
        """The switch at this address may be another one now."""
        self._ids.pop(where, None)


class SnmpAgent:
    """One switch, one credential."""

    def __init__(
        self, engine: Engine, to: Any, credential: Credential, ident: bytes, context: bytes, name: str
    ) -> None:
        self._engine = engine
        self._to = to
        self._credential = credential
        self._ident = ident
        self._context = context
        self._name = name
        self._auth = auth_data(credential, ident)

    def within(self, vlan: int) -> SnmpAgent:
        """Community@VLAN, or the context vlan-VLAN, as Cisco has them."""
        one = self._credential
        if isinstance(one, Community):
            one = Community(f"{one.community}@{vlan}")
            return SnmpAgent(self._engine, self._to, one, b"", b"", self._name)
        return SnmpAgent(self._engine, self._to, one, self._ident, f"vlan-{vlan}".encode(), self._name)

    async def get(self, *oids: Oid) -> Mapping[Oid, Value]:
        """Values; what the switch does not have is left out."""
        found: dict[Oid, Value] = {}
        for some in parts(oids, _TOGETHER):
            found.update(await self._get(some))
        return found

    async def _get(self, some: Sequence[Oid]) -> Mapping[Oid, Value]:
        status, rows = await self._ask("GetCommandGenerator", [(oid, None) for oid in some])
        if status == _TOO_BIG and len(some) > 1:
            half = len(some) // 2
            return {**await self._get(some[:half]), **await self._get(some[half:])}
        self._require(status, some)
        return dict(rows)

    async def walk(self, root: Oid, most: int = 4096, after: Oid = ()) -> Table:
        """Everything below; a switch that goes in circles is left there."""
        found: list[Row] = []
        last = after or root
        while len(found) < most:
            status, rows = await self._ask("BulkCommandGenerator", [(last, None)], 0, min(_REPETITIONS, most))
            self._require(status, [last])
            fresh = []
            for oid, value in rows:
                if below(root, oid) is None or oid <= last:
                    break
                fresh.append((oid, value))
                last = oid
            found += fresh
            if len(fresh) < len(rows) or not fresh:
                return Table(found[:most], len(found) <= most)
        return Table(found[:most], False)

    async def set(self, oid: Oid, value: int | bytes) -> None:
        """Change one object; AgentFailed says whether the credential or the object is wrong."""
        try:
            status, _ = await self._ask("SetCommandGenerator", [(oid, value)])
            self._require(status, [oid])
        except AgentFailed as error:
            if isinstance(self._credential, Community) and error.part in (Part.SILENT, Part.RIGHTS):
                silent = ", or wrong: a change was not answered" if error.part is Part.SILENT else ""
                why = f"{self._name}: this community is read-only on the switch{silent}"
                raise AgentFailed(Part.READ_ONLY, why) from error
            raise

    def _require(self, status: int, asked: Sequence[Oid]) -> None:
        if status:
            part, why = _REFUSED.get(status, (Part.NONSENSE, f"the switch answers with error {status}"))
            raise AgentFailed(part, f"{self._name}: {dotted(asked[0])}: {why}")

    async def _ask(
        self, how: str, wanted: Sequence[tuple[Oid, int | bytes | None]], *more: int
    ) -> tuple[int, list[Row]]:
        """One question; pysnmp's generators are driven directly, as its own wrappers look every name up in MIBs."""
        from pysnmp.entity.rfc3413 import cmdgen
        from pysnmp.hlapi.v3arch.asyncio.cmdgen import LCD

        answered: asyncio.Future[tuple[Any, Any, Any]] = asyncio.get_running_loop().create_future()

        def told(_engine: Any, _handle: Any, wrong: Any, status: Any, _index: Any, rows: Any, _context: Any) -> None:
            if not answered.done():
                answered.set_result((wrong, status, rows))

        snmp = self._engine.snmp
        rows = [_varbind(oid, value) for oid, value in wanted]
        async with self._engine.turn(self._ident, self._credential):
            name, _ = LCD.configure(snmp, self._auth, self._to, self._context)
            getattr(cmdgen, how)().send_varbinds(snmp, name, None, self._context, *more, rows, told, None)
            wrong, status, found = await answered
        if type(wrong).__name__ == "EmptyResponse":  # a walk's end, to some agents
            return 0, []
        if wrong is not None:
            part, why = said_of(wrong)
            raise AgentFailed(part, f"{self._name}: {why}")
        return int(status or 0), [row for row in map(_row, found or ()) if row is not None]


def said_of(wrong: object) -> tuple[Part, str]:
    """What pysnmp means, in words."""
    return _SAID.get(type(wrong).__name__, (Part.NONSENSE, f"{wrong}"))


# --- the engine of this process -------------------------------------------------------------------------------------

_held: dict[asyncio.AbstractEventLoop, asyncio.Task[Engine]] = {}
"""One at most: whoever comes while it is being made waits for the same one."""


async def shared() -> Engine:
    """The engine of this process and loop; Unusable where what it needs is not installed."""
    loop = asyncio.get_running_loop()
    if loop not in _held:
        _held.clear()  # of a loop that is over
        _held[loop] = loop.create_task(_begun(loop), name="SNMP engine")
    try:
        return await asyncio.shield(_held[loop])
    except Unusable:
        _held.pop(loop, None)  # somebody may install what is missing
        raise


async def _begun(loop: asyncio.AbstractEventLoop) -> Engine:
    check_floor(version("cryptography"))
    return Engine(await asyncio.to_thread(_made), loop)  # half a second, in which others go on


async def close_shared() -> None:
    """Let it go, at the end of the loop."""
    task = _held.pop(asyncio.get_running_loop(), None)
    if task is None:
        return
    if task.done() and not task.cancelled() and task.exception() is None:
        task.result().close()
    else:
        task.cancel()
    await asyncio.sleep(0)  # its timer and its socket end with the next turn


def check_floor(found: str) -> None:
    """Unusable below the version without which encryption fails as with a wrong key."""
    if int(found.partition(".")[0]) < _CRYPTOGRAPHY:
        raise Unusable(f"SNMPv3 needs cryptography {_CRYPTOGRAPHY} or newer, and {found} is installed: upgrade it")


def _made() -> Any:
    try:
        from pysnmp.hlapi.v3arch.asyncio import SnmpEngine
    except ImportError as error:
        raise Unusable(f"SNMP needs the package pysnmp: {error}") from error
    return SnmpEngine()


# --- addresses ------------------------------------------------------------------------------------------------------


async def resolved(where: Where) -> tuple[int, tuple[Any, ...]]:
    """Family and address; AgentFailed where the name means nothing, or nothing that may be asked."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(where.host, where.port, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise AgentFailed(
            Part.ADDRESS, f"{where.host} is no address, and no name that is known: {error.strerror}"
        ) from error
    whys = [where.fence.refusal(str(one[4][0])) for one in found]
    found = [one for one, why in zip(found, whys, strict=True) if not why]
    if not found:
        raise AgentFailed(Part.ADDRESS, f"nobody is asked at {where.host}: {whys[0]}")
    found.sort(key=lambda one: one[0] != socket.AF_INET)
    family, _, _, _, address = found[0]
    return family, address


async def target(where: Where, pace: Pace) -> Any:
    """The same as pysnmp takes it."""
    from pysnmp.hlapi.v3arch.asyncio import Udp6TransportTarget, UdpTransportTarget

    family, address = await resolved(where)
    kind = UdpTransportTarget if family == socket.AF_INET else Udp6TransportTarget
    return await kind.create(address[:2], timeout=pace.timeout, retries=pace.retries)


class _Ear(asyncio.DatagramProtocol):
    """Hears the answer to one question, or that nobody is there to hear it."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.heard: asyncio.Future[Reached] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, _address: object) -> None:
        """An answer, or something else."""
        if (ident := engine_in(data, self._number)) and not self.heard.done():
            self.heard.set_result(Reached(ident))

    def error_received(self, _error: Exception) -> None:
        """ICMP: nothing listens there."""
        if not self.heard.done():
            self.heard.set_result(Reached(closed=True))


async def reached(where: Where, pace: Pace) -> Reached:
    """Ask for the id of the engine at an address, as often as of anything else."""
    _, address = await resolved(where)
    number = secrets.randbits(31)
    loop = asyncio.get_running_loop()
    try:
        transport, ear = await loop.create_datagram_endpoint(lambda: _Ear(number), remote_addr=address[:2])
    except OSError as error:
        raise AgentFailed(Part.ADDRESS, f"{where} cannot be reached from here: {error}") from error
    try:
        for _ in range(1 + pace.retries):
            transport.sendto(request(number))
            done, _pending = await asyncio.wait({ear.heard}, timeout=pace.timeout)
            if done:
                return ear.heard.result()
    finally:
        transport.close()
    return Reached()


# --- what pysnmp has other words for --------------------------------------------------------------------------------


def auth_data(one: Credential, ident: bytes) -> Any:
    """A credential; ``ident``: the engine that its keys are for."""
    from pysnmp.hlapi.v3arch import asyncio as words
    from pysnmp.proto.rfc1902 import OctetString

    if isinstance(one, Community):
        return words.CommunityData(one.community)
    return words.UsmUserData(
        one.user,
        one.auth_key or None,
        one.privacy_key or None,
        authProtocol=getattr(words, _AUTH[one.auth]),
        privProtocol=getattr(words, _PRIVACY[one.privacy]),
        securityEngineId=OctetString(ident),
    )


_AUTH: Final[Mapping[Auth, str]] = {
    Auth.NONE: "USM_AUTH_NONE",
    Auth.MD5: "USM_AUTH_HMAC96_MD5",
    Auth.SHA: "USM_AUTH_HMAC96_SHA",
    Auth.SHA224: "USM_AUTH_HMAC128_SHA224",
    Auth.SHA256: "USM_AUTH_HMAC192_SHA256",
    Auth.SHA384: "USM_AUTH_HMAC256_SHA384",
    Auth.SHA512: "USM_AUTH_HMAC384_SHA512",
}
_PRIVACY: Final[Mapping[Privacy, str]] = {
    Privacy.NONE: "USM_PRIV_NONE",
    Privacy.DES: "USM_PRIV_CBC56_DES",
    Privacy.AES: "USM_PRIV_CFB128_AES",
    Privacy.AES192: "USM_PRIV_CFB192_AES_BLUMENTHAL",
    Privacy.AES256: "USM_PRIV_CFB256_AES_BLUMENTHAL",
    Privacy.AES192_CISCO: "USM_PRIV_CFB192_AES",
    Privacy.AES256_CISCO: "USM_PRIV_CFB256_AES",
}


def _varbind(oid: Oid, value: int | bytes | None) -> tuple[Any, Any]:
    from pysnmp.proto.rfc1902 import Integer32, Null, ObjectName, OctetString

    if value is None:
        return ObjectName(oid), Null("")
    return ObjectName(oid), Integer32(value) if isinstance(value, int) else OctetString(value)


def _row(bound: tuple[Any, Any]) -> Row | None:
    """A name and its value; None for noSuchObject, noSuchInstance, endOfMibView and nothing."""
    from pyasn1.type import univ

    name, value = bound
    if isinstance(value, univ.Null):
        return None
    if isinstance(value, univ.ObjectIdentifier):
        return tuple(name), tuple(value)
    if isinstance(value, univ.Integer):
        return tuple(name), int(value)
    return (tuple(name), bytes(value)) if isinstance(value, univ.OctetString) else None
