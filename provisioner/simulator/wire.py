"""A small strict HTTP/1.1 client on asyncio streams: one connection, kept or renewed, no mercy for the server.

Phones of some vendors cannot read chunked bodies or bodies that end with the connection, so either is a fault here.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult

from provisioner.errors import Invalid, ProvisionerError
from provisioner.simulator.handshake import ResumingContext, client_context
from provisioner.simulator.phone import Flash, Phone

MAX_HEAD: Final = 32768  # bytes; no server of configuration files has reason for more
MAX_BODY: Final = 8 * 1024 * 1024  # bytes; the largest phone book a phone holds is far below
_CLOSING: Final = 0.5  # s to wait for the other end's close_notify
_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,253}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_STATUS = re.compile(r"HTTP/1\.([01]) ([1-5][0-9]{2})(?: .*)?")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class NoAnswer(ProvisionerError):
    """No HTTP answer: connection, TLS, silence or a broken head. ``final`` when a retry cannot help."""

    kind = "no_answer"

    def __init__(self, cause: str, *, final: bool = False) -> None:
        super().__init__(cause)
        self.final = final


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a URL's server is."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: SplitResult) -> Origin:
        """Take it out of a split URL; Invalid when it is not HTTP or HTTPS."""
        try:
            port = url.port
            host = (url.hostname or "").encode("idna").decode("ascii")
        except ValueError as error:  # UnicodeError is one
            raise Invalid("url", "its host is no host name or its port no number below 65536") from error
        if url.scheme not in ("http", "https") or not _HOST.fullmatch(host):
            raise Invalid("url", "only http:// and https:// with a host name are simulated")
        return cls(url.scheme, host, port or (443 if url.scheme == "https" else 80))

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"https": 443, "http": 80}[self.scheme]
        return host if self.port == usual else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. ``fault`` is what a phone cannot bear; the body is empty then."""

    status: int
    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    fault: str = ""
    keeps: bool = True

    def first(self, name: str) -> str:
        """The first value of a header, empty without one."""
        return self.headers.get(name, ("",))[0]


def read_head(head: bytes) -> Answer:
    """Status line and headers; NoAnswer when they are not HTTP/1.x."""
    lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    status = _STATUS.fullmatch(lines[0])
    if status is None:
        raise NoAnswer("the answer does not begin with an HTTP/1 status line")
    headers: dict[str, tuple[str, ...]] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not _NAME.fullmatch(name):
            raise NoAnswer("the answer has a header line that is none")
        headers[name.lower()] = (*headers.get(name.lower(), ()), value.strip())
    connection = ",".join(headers.get("connection", ())).lower()
    keeps = "close" not in connection and (status[1] == "1" or "keep-alive" in connection)
    return Answer(int(status[2]), headers, keeps=keeps)


def body_length(method: str, head: Answer) -> tuple[int, str]:
    """How many bytes follow, and the fault when that cannot be said as RFC 9112 section 6 asks."""
    if head.headers.get("transfer-encoding"):
        return 0, "Transfer-Encoding in place of Content-Length; old phones cannot read it"
    if head.status in (204, 304):
        return 0, ""
    lengths = set(head.headers.get("content-length", ()))
    if not lengths:
        return 0, "no Content-Length"
    text = lengths.pop()
    if lengths or not re.fullmatch(r"[0-9]{1,12}", text):
        return 0, "a Content-Length that is not one number"
    if method == "HEAD":
        return 0, ""
    return (int(text), "") if int(text) <= MAX_BODY else (0, f"{text} bytes, more than a phone holds")


async def read_answer(reader: asyncio.StreamReader, method: str) -> Answer:
    """One answer; interim 1xx ones are passed over."""
    while True:
        head = read_head(await reader.readuntil(b"\r\n\r\n"))
        if head.status >= 200:
            break
    length, fault = body_length(method, head)
    body = await reader.readexactly(length)
    return Answer(head.status, head.headers, body, fault, keeps=head.keeps and not fault)


@dataclass
class TlsSeen:
    """What the connections of a boot were."""

    version: str = ""
    cipher: str = ""
    connections: int = 0
    resumed: int = 0


class Wire:
    """One phone's connection to one origin."""

    def __init__(self, origin: Origin, phone: Phone, flash: Flash, seen: TlsSeen) -> None:
        self._origin = origin
        self._phone = phone
        self._flash = flash
        self._seen = seen
        self._patience = phone.persona.patience if phone.patience is None else phone.patience
        self._context = self._tls()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """Send one request and read its answer within the phone's patience; NoAnswer otherwise."""
        try:
            async with asyncio.timeout(self._patience):
                return await self._exchange(method, request_of(self._origin, method, target, headers, body))
        except TimeoutError:
            self._abort()
            raise NoAnswer(f"no whole answer within {self._patience:g} s") from None
        except (OSError, EOFError, asyncio.LimitOverrunError) as error:
            self._abort()
            raise _no_answer(error) from error
        except NoAnswer:
            self._abort()
            raise

    async def _exchange(self, method: str, request: bytes) -> Answer:
        kept = self._streams is not None
        try:
            answer = await self._once(method, request)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            # A kept connection may have been closed while idle: RFC 9112 section 9.3.1 lets the client try anew.
            if not kept or (isinstance(error, asyncio.IncompleteReadError) and error.partial):
                raise
            self._abort()
            answer = await self._once(method, request)
        if not answer.keeps or self._phone.connection_per_file:
            await self.close()
        return answer

    async def _once(self, method: str, request: bytes) -> Answer:
        reader, writer = self._streams = self._streams or await self._connect()
        writer.write(request)
        await writer.drain()
        return await read_answer(reader, method)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        origin, persona = self._origin, self._phone.persona
        secure = origin.scheme == "https"
        reader, writer = await asyncio.open_connection(
            self._phone.address or origin.host,
            origin.port,
            limit=MAX_HEAD,
            ssl=self._context,
            server_hostname=(origin.host if persona.sends_name else "") if secure else None,
            ssl_handshake_timeout=self._patience + 1 if secure else None,
            ssl_shutdown_timeout=_CLOSING if secure else None,
        )
        self._seen.connections += 1
        tls = writer.get_extra_info("ssl_object")
        if tls is not None:
            self._seen.version, self._seen.cipher = tls.version(), tls.cipher()[0]
            self._seen.resumed += bool(tls.session_reused)
        return reader, writer

    async def close(self) -> None:
        """Say goodbye; the session that the server gave is kept for resumption."""
        if self._streams is None:
            return
        (_, writer), self._streams = self._streams, None
        self._remember(writer)
        writer.close()
        with suppress(OSError):  # TimeoutError and ssl.SSLError are ones
            await writer.wait_closed()

    def _abort(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    def _tls(self) -> ResumingContext | None:
        if self._origin.scheme != "https":
            return None
        known = self._flash.sessions.get(self._key) if self._phone.resume else None
        if known is not None and isinstance(known[0], ResumingContext):
            known[0].session = known[1]
            return known[0]
        return client_context(self._phone, self._flash)

    def _remember(self, writer: asyncio.StreamWriter) -> None:
        tls = writer.get_extra_info("ssl_object")
        if self._phone.resume and self._context is not None and tls is not None and tls.session is not None:
            self._context.session = tls.session
            self._flash.sessions[self._key] = (self._context, tls.session)

    @property
    def _key(self) -> tuple[str, int, str]:
        return self._origin.host, self._origin.port, str(self._phone.certificate)


def request_of(origin: Origin, method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Head and body as they go out; control characters do not."""
    told = {"Host": origin.authority, **headers}
    if body or method in ("PUT", "POST"):
        told["Content-Length"] = str(len(body))
    lines = [
        f"{method} {target} HTTP/1.1",
        *(f"{name}: {_CONTROL.sub('', value)}" for name, value in told.items() if value),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body


def _no_answer(error: Exception) -> NoAnswer:
    if isinstance(error, ssl.SSLCertVerificationError):
        return NoAnswer(f"the phone does not trust the server's certificate: {error.verify_message}", final=True)
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "it broke").lower().replace("_", " ")
        return NoAnswer(f"TLS ended: {reason}", final="alert" in reason or "version" in reason)
    if isinstance(error, asyncio.LimitOverrunError):
        return NoAnswer("the answer's head is longer than a phone reads")
    if isinstance(error, EOFError):
        return NoAnswer("the server closed the connection before the answer was whole")
    if isinstance(error, OSError) and error.strerror:
        return NoAnswer(f"no connection: {error.strerror}")
    return NoAnswer("the server ended the connection during the TLS handshake or just after it")
