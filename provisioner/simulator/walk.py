"""A walk asks for one file after the other as a phone does: retries, credentials, and a Step for each request."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from provisioner.errors import Invalid, ProvisionerError
from provisioner.simulator.credentials import Credentials
from provisioner.simulator.handshake import readable_ca
from provisioner.simulator.phone import Flash, Phone
from provisioner.simulator.report import RegisteredLine, Step, masked_url
from provisioner.simulator.wire import Answer, NoAnswer, Origin, TlsSeen, Wire

MISSING: Final = (403, 404, 410)  # "there is no such file": the phone goes on to the next name
XML: Final = ("application/xml", "text/xml")
TEXT: Final = ("text/plain", "application/octet-stream", "text/cfg")
_AS_SENT: Final = "/%?=&:@!$'()*+,;~[]-._"


class GaveUp(ProvisionerError):
    """The server gave no answer at all: the phone stops asking and runs on what it has."""

    kind = "gave_up"


class Link(Protocol):
    """A connection to one origin."""

    async def exchange(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """Send one request and read its answer; NoAnswer otherwise."""

    async def close(self) -> None:
        """End it."""


@dataclass(slots=True)
class Result:
    """What a vendor's sequence made of the files it got."""

    parameters: dict[str, str] = field(default_factory=dict, repr=False)
    """Applied in this boot."""
    lines: tuple[RegisteredLine, ...] = ()
    ignored: list[str] = field(default_factory=list)
    refused_because: str = ""
    no_line_because: str = ""
    next_url: str = ""


class Walk:
    """The requests of one boot against one provisioning URL."""

    def __init__(
        self, phone: Phone, url: str, flash: Flash, seen: TlsSeen, connect: Callable[[Origin], Link] | None = None
    ) -> None:
        parts = split_url(url)
        self.phone = phone
        self.flash = flash
        self.origin = Origin.of(parts)
        # A last segment without a dot is a directory: Poly and Yealink write their server's path without a slash.
        path = parts.path if "." in parts.path.rpartition("/")[2] or parts.path.endswith("/") else f"{parts.path}/"
        self.url = parts._replace(netloc=self.origin.authority, path=path).geturl()
        self.agent = ""
        self.steps: list[Step] = []
        self.notes: list[str] = []
        self.lines_read: Callable[[], tuple[RegisteredLine, ...]] = tuple
        """What the files that have been read so far would register, should the phone give up before it has all."""
        self._connect = connect or (lambda origin: Wire(origin, phone, flash, seen))
        self._links: dict[Origin, Link] = {}
        self._credentials = Credentials(
            phone.user or unquote(parts.username or ""),
            phone.password or unquote(parts.password or ""),
            phone.persona.digests,
        )

    async def close(self) -> None:
        """End every connection."""
        for link in self._links.values():
            await link.close()

    async def get(self, name: str, types: tuple[str, ...] = (), note: str = "") -> Answer:
        """GET a name relative to the provisioning URL, or a whole URL. GaveUp when no answer comes."""
        answer = await self._ask("GET", name)
        found = self._content_type(answer, types) if answer.status == 200 else _refusal(answer)
        self._amend("; ".join(filter(None, (note, found))))
        return answer

    async def head(self, name: str, note: str = "") -> Answer:
        """HEAD: is it there?"""
        answer = await self._ask("HEAD", name)
        self._amend(note)
        return answer

    async def put(self, name: str, body: bytes, *, method: str = "PUT", note: str = "") -> None:
        """Upload; every answer is tolerated, as phones do."""
        answer = await self._ask(method, name, body)
        self._amend("; ".join(filter(None, (note, "" if answer.status < 300 else "the phone goes on"))))

    async def optional(self, files: Awaitable[None]) -> None:
        """What a phone asks for once it is configured: when a server is gone by then, it rings all the same."""
        try:
            await files
        except GaveUp as error:
            self.notes.append(f"it goes on without the rest: {error.cause}")

    def join(self, url: str) -> str:
        """A URL of the configuration, which may be relative to the provisioning URL."""
        try:
            return urljoin(self.url, url)
        except ValueError as error:
            raise GaveUp(f"a URL in the configuration is none: {error}") from error

    def trust(self, text: str) -> None:
        """A CA that the configuration brings: trusted from the next connection on, if it can be read."""
        pem = readable_ca(text)
        if not pem:
            self.notes.append("the configuration brings a CA certificate that cannot be read")
        elif pem not in self.flash.certificates:
            self.flash.certificates.append(pem)

    def say(self, fault: str) -> None:
        """Put a fault on the last step."""
        self._amend("", fault)

    def _amend(self, note: str, fault: str = "") -> None:
        last = self.steps[-1]
        self.steps[-1] = Step(
            last.method,
            last.path,
            last.status,
            last.size,
            "; ".join(filter(None, (last.note, note))),
            "; ".join(filter(None, (last.fault, fault))),
            last.sha256,
        )

    async def _ask(self, method: str, name: str, body: bytes = b"") -> Answer:
        persona = self.phone.persona
        attempts = self.phone.attempts or persona.attempts
        delay = persona.retry_delay if self.phone.retry_delay is None else self.phone.retry_delay
        for attempt in range(1, attempts + 1):
            try:
                answer = await self._authorised(method, name, body)
            except NoAnswer as error:
                self.steps.append(Step(method, self._shown(name), 0, 0, error.cause))
                if error.final or attempt == attempts:
                    raise GaveUp(f"{self._shown(name)}: {error.cause}") from error
            else:
                if answer.status < 500 or attempt == attempts:
                    return answer
            await asyncio.sleep(delay)
        raise GaveUp(f"{self._shown(name)}: not one attempt is allowed")

    async def _authorised(self, method: str, name: str, body: bytes) -> Answer:
        answer = await self._once(method, name, body)
        if answer.status == 401 and self._credentials.take(answer.headers.get("www-authenticate", ())):
            answer = await self._once(method, name, body)
        return answer

    async def _once(self, method: str, name: str, body: bytes) -> Answer:
        origin, target = self.resolve(name)
        link = self._links.get(origin) or self._links.setdefault(origin, self._connect(origin))
        # Credentials are for the provisioning server alone, wherever a file list points.
        proof = self._credentials.header(method, target) if origin == self.origin else ""
        headers = {"User-Agent": self.agent, "Accept": "*/*", "Authorization": proof}
        answer = await link.exchange(method, target, headers, body)
        size = len(body) if method in ("PUT", "POST") else len(answer.body)
        digest = hashlib.sha256(answer.body).hexdigest() if answer.body else ""
        self.steps.append(Step(method, self._shown(name), answer.status, size, fault=answer.fault, sha256=digest))
        return answer

    def resolve(self, name: str) -> tuple[Origin, str]:
        """Server and request target of a name; NoAnswer when a phone could not ask for it."""
        try:
            parts = urlsplit(name if "://" in name else urljoin(self.url, f"./{quote(name.lstrip('/'), _AS_SENT)}"))
            # Nearly always the provisioning server itself; a crowd of phones asks this a lot.
            own = (parts.scheme, parts.netloc) == (self.origin.scheme, self.origin.authority)
            origin = self.origin if own else Origin.of(parts)
        except (Invalid, ValueError) as error:
            raise NoAnswer(f"the phone cannot ask for that name: {error}", final=True) from error
        target = quote(parts.path or "/", _AS_SENT)
        return origin, f"{target}?{quote(parts.query, _AS_SENT)}" if parts.query else target

    def _shown(self, name: str) -> str:
        return masked_url(name)

    def _content_type(self, answer: Answer, types: tuple[str, ...]) -> str:
        given = answer.first("content-type").partition(";")[0].strip().lower()
        if types and given == "text/html":
            self.say("HTML in place of a configuration")
        if not types or given in types:
            return ""
        return f"Content-Type {given or 'is missing'}, expected {types[0]}"


def split_url(url: str) -> SplitResult:
    """Its parts; Invalid when it has none."""
    try:
        return urlsplit(url)
    except ValueError as error:
        raise Invalid("url", f"cannot be taken apart: {error}") from error


def _refusal(answer: Answer) -> str:
    if answer.status == 401:
        return "credentials wanted; a phone would ask its user"
    if answer.status in (301, 302, 303, 307, 308):
        return "a redirect, which the phone does not follow"
    return f"Retry-After {answer.first('retry-after')} is not heeded" if answer.first("retry-after") else ""


def is_usable(answer: Answer) -> bool:
    """Whether the phone reads the body."""
    return answer.status == 200 and not answer.fault
