"""One delivery on the wire: resolved once, each address judged, connected to exactly those; little of the answer read.

No proxy, no redirect, no cookie, no kept connection: where a delivery goes, the URL and the judgement decide alone.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from provisioner.errors import Invalid, Unusable
from provisioner.events import printable
from provisioner.hooks.target import Target, parse_target, refusal
from provisioner.networks import Address, Network, allow_list
from provisioner.settings import Settings

_READ: Final = 2048
"""Bytes of an answer that says no; of one that says yes none."""
_SAID: Final = 160
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
_GOOD: Final = range(200, 300)
FORBIDDEN: Final = "the host leads to an address that must not be called: only the open Internet, or webhook.allow"


class _Forbidden(OSError):
    """An address that must not be called."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it."""

    status: int = 0
    """0: no answer."""
    error: str = ""
    after: float = 0.0
    """s after which it wants to be asked again."""
    log: str = ""
    """For the server's log alone: addresses inside are nobody's business who can only name a URL."""

    @property
    def good(self) -> bool:
        """Whether the other side has it."""
        return self.status in _GOOD


Names = Sequence[tuple[int, str]]
"""Address families and addresses of a name."""
Resolve = Callable[[str, int], Awaitable[Names]]


async def resolved(host: str, port: int) -> Names:
    """All addresses of a name, as the system has them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(int(family), str(place[0])) for family, _, _, _, place in found]


class Wire:
    """Sends; one for a process."""

    def __init__(self, settings: Settings, *, names: Resolve = resolved) -> None:
        self._timeout = settings.webhook_timeout
        self._allow: Sequence[Network] = allow_list("webhook.allow", settings.webhook_allow)
        self._tls = _trusted(settings)
        self._names = names

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], now: float) -> Answer:
        """One attempt, never longer than webhook.timeout."""
        try:
            async with asyncio.timeout(self._timeout):
                target = parse_target(url)
                return await self._sent(target, await self._addresses(target), body, headers, now)
        except TimeoutError:
            return Answer(error=f"no answer in {self._timeout:g} s")
        except Invalid as error:
            return Answer(error=error.cause)
        except _Forbidden as error:
            return Answer(error=FORBIDDEN, log=str(error))
        except aiohttp.ClientConnectorCertificateError as error:
            return Answer(error=f"its certificate is not good: {_plain(error.certificate_error)}")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(error=_plain(error))

    async def _addresses(self, target: Target) -> list[ResolveResult]:
        """Where to connect; _Forbidden when any of them must not be called."""
        if target.literal is not None:
            family = socket.AF_INET6 if target.literal.version == 6 else socket.AF_INET
            found: Names = [(int(family), str(target.literal))]
        else:
            found = await self._names(target.host, target.port)
        for _, address in found:
            if why := self._refusal(address, target):
                raise _Forbidden(f"{target.host}: {why}")
        return [_place(target, family, address) for family, address in found]

    def _refusal(self, address: str, target: Target) -> str:
        try:
            judged: Address = ip_address(address)
        except ValueError:
            return f"{address!r} is no address"
        return refusal(judged, target.scheme, self._allow)

    async def _sent(
        self, target: Target, places: list[ResolveResult], body: bytes, headers: Mapping[str, str], now: float
    ) -> Answer:
        checked = frozenset(str(ip_address(one["host"])) for one in places)
        connector = aiohttp.TCPConnector(
            resolver=_Pinned(places), ssl=self._tls, force_close=True, use_dns_cache=False,
            socket_factory=partial(_socket, checked),
        )  # fmt: skip
        session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False,
            timeout=aiohttp.ClientTimeout(total=self._timeout), skip_auto_headers=("Accept", "Accept-Encoding"),
        )  # fmt: skip
        async with session, session.post(target.url, data=body, headers=headers, allow_redirects=False) as answer:
            if answer.status in _GOOD:
                return Answer(answer.status)
            return Answer(answer.status, await _told(answer), _after(answer.headers.get("Retry-After", ""), now))


class _Pinned(AbstractResolver):
    """Knows the addresses that were judged, and asks nobody."""

    def __init__(self, places: list[ResolveResult]) -> None:
        self._places = places

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Whatever the family: they were found for this host."""
        del host, port, family
        return self._places

    async def close(self) -> None:
        """Nothing is open."""


def _place(target: Target, family: int, address: str) -> ResolveResult:
    return ResolveResult(
        hostname=target.host, host=address, port=target.port, family=socket.AddressFamily(family), proto=0,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )  # fmt: skip


def _socket(checked: frozenset[str], place: tuple[object, ...]) -> socket.socket:
    """The last look before a connection: whatever chose this address, it must be one that was judged."""
    family, kind, proto, _, where = place
    assert isinstance(where, tuple) and isinstance(family, int) and isinstance(kind, int) and isinstance(proto, int)
    if str(ip_address(where[0])) not in checked:
        raise OSError("an address that was not judged")
    made = socket.socket(family, kind, proto)
    made.setblocking(False)
    return made


async def _told(answer: aiohttp.ClientResponse) -> str:
    """Its status in words, and the beginning of what it says."""
    if answer.status in range(300, 400):
        return f"answers {answer.status}: redirects are not followed, give the address itself"
    said = b""
    while len(said) < _READ and (more := await answer.content.read(_READ - len(said))):
        said += more
    text = " ".join(said.decode("utf-8", "replace").split())
    return printable(f"answers {answer.status}" + (f": {text}" if text else ""))[:_SAID]


def _after(value: str, now: float) -> float:
    """Retry-After (RFC 9110 section 10.2.3), in s or as a date; 0 where it says nothing."""
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        return max(parsedate_to_datetime(value).timestamp() - now, 0.0)
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _plain(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return printable(" ".join(str(text).split()))[:_SAID]


def _trusted(settings: Settings) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.webhook_ca:
        path: Path = settings.data / settings.webhook_ca
        try:
            context.load_verify_locations(cafile=str(path))
        except OSError as error:  # ssl.SSLError is one
            raise Unusable(f"webhook.ca = {settings.webhook_ca!r} cannot be used: {error}") from error
    return context
