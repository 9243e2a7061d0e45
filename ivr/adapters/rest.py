"""Strategy: one attempt in one request, through a Flow of its own: the status says what a caller would hear.

So whoever has not proven the device learns as little here as on the telephone: unknown, used and expired are one 404.
"""

from __future__ import annotations

import hmac
import json
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from aiohttp import web

from ivr.adapters.callers import read_mac, read_source
from ivr.adapters.conversation import Conversation, Count, Said, uncounted
from ivr.adapters.hooks import hear
from ivr.desk import Desk
from ivr.flow import Caller, Digits, Note, Played, Result, ResultKind, State
from ivr.flow_table import Event

LARGEST: Final = 4096
"""Bytes of a body: four short values."""
_SHORTEST_TOKEN: Final = 16
_TOKEN: Final = re.compile(rf"[A-Za-z0-9._~+/=-]{{{_SHORTEST_TOKEN},400}}")
"""RFC 6750 section 2.1."""
_CODE: Final = re.compile(r"[0-9]([0-9 -]{0,38}[0-9])?", re.ASCII)
"""Digits, in groups as they are printed."""
_CHANNEL: Final = re.compile(r"[a-z0-9_-]{1,32}")
_OWN: Final = "rest"
"""Channel of what came by this hook, alone or before what a request calls its own: nobody passes for another's."""
_AGAIN: Final = 60
"""s, where nobody said when to come again."""

OUTCOMES: Final[Mapping[str, tuple[HTTPStatus, str, str]]] = MappingProxyType(
    {
        "wrong": (HTTPStatus.NOT_FOUND, "unknown", "No such code, or not for this caller to know more."),
        "expired": (HTTPStatus.GONE, "expired", "The code has expired."),
        "used": (HTTPStatus.GONE, "used", "The code has been used."),
        "wrong_model": (HTTPStatus.CONFLICT, "wrong_device", "The code is for another phone."),
        "ask_administrator": (HTTPStatus.CONFLICT, "unsupported", "This phone is not activated with a code."),
        "goodbye": (HTTPStatus.CONFLICT, "not_ready", "Ask the administrator; the code stays good."),
        "locked": (HTTPStatus.TOO_MANY_REQUESTS, "locked", "Too many wrong codes."),
        "busy": (HTTPStatus.SERVICE_UNAVAILABLE, "busy", "Not looked at, nothing was counted: try again."),
        "system_error": (HTTPStatus.SERVICE_UNAVAILABLE, "failed", "Something failed here: try again later."),
        "reenter_typo": (HTTPStatus.UNPROCESSABLE_ENTITY, "mistyped", "The length or the check digit is not a code's."),
    }
)
"""By the first prompt that a caller would hear."""
_WAITS: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


class Malformed(Exception):
    """What is wrong with which field; never its value."""


@dataclass(frozen=True, slots=True)
class AttemptsSettings:
    """Who may ask, and what its word is worth."""

    tokens: tuple[str, ...] = field(repr=False)
    """Bearer tokens, one a telephone system; two of one system while it changes over."""
    path: str = "/api/v1/activation/attempts"
    vouched: bool = False
    """The system has authenticated the phone whose Mac it tells."""

    def __post_init__(self) -> None:
        """Refused: a token that can be guessed, or that no header carries."""
        if not self.tokens or any(not _TOKEN.fullmatch(token) for token in self.tokens):
            raise ValueError(f"a token is at least {_SHORTEST_TOKEN} letters, digits or any of - . _ ~ + / =")


@dataclass(frozen=True, slots=True)
class Entry:
    """A request's body that is well formed."""

    code: str = field(repr=False)
    caller: Caller


class Attempts:
    """The hook."""

    name = "rest"

    def __init__(
        self,
        desk: Desk,
        settings: AttemptsSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        count: Count = uncounted,
    ) -> None:
        """One for all systems whose word is worth the same."""
        self._desk = desk
        self._settings = settings
        self._tokens = [token.encode() for token in settings.tokens]
        self._clock = clock
        self._count = count
        self._tried_now = 0

    @property
    def calls(self) -> int:
        """Attempts that are being looked at."""
        return self._tried_now

    @property
    def path(self) -> str:
        """One resource."""
        return self._settings.path

    async def close(self) -> None:
        """Nothing outlives its request."""

    async def handle(self, request: web.BaseRequest, source: str) -> web.Response:
        """The token first."""
        if request.raw_path.partition("?")[0] != self.path:
            return web.Response(status=404)
        if not self._knows(request.headers.get("Authorization", "")):
            return _problem(HTTPStatus.UNAUTHORIZED, "unauthorized", "A bearer token is needed.", challenge="Bearer")
        if request.method != "POST":
            return _problem(HTTPStatus.METHOD_NOT_ALLOWED, "method", "POST an attempt.", allow="POST")
        heard = await hear(request, LARGEST, source)
        if heard is None:
            detail = f"At most {LARGEST} bytes, within ten seconds."
            return _problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", detail)
        try:
            entry = read(heard.body, vouched=self._settings.vouched)
        except Malformed as error:
            return _problem(HTTPStatus.UNPROCESSABLE_ENTITY, "malformed", str(error))
        return await self._tried(entry)

    def _knows(self, told: str) -> bool:
        """All of them are compared, so that time tells nothing."""
        scheme, _, token = told.partition(" ")
        word = token.encode("utf-8", "replace")
        right = [hmac.compare_digest(word, known) for known in self._tokens]
        return scheme.lower() == "bearer" and any(right)

    async def _tried(self, entry: Entry) -> web.Response:
        desk = _Listening(self._desk)
        conversation = Conversation(desk, entry.caller, self._clock, count=self._count)
        self._tried_now += 1
        try:
            said = await self._said(conversation, entry.code)
        finally:
            self._tried_now -= 1
            conversation.end()
        return _answer(said, desk.result)

    async def _said(self, conversation: Conversation, code: str) -> Said:
        """A code in a request is whole, and confirmed by having been sent."""
        said = await conversation.begin()
        if said.collect:
            # More digits than any open code has must not be cut to as many as one has: that would be another code.
            most = said.collect.max_digits
            keys = code if len(code) <= most else code[:1]
            said = await conversation.tell(Digits(keys + "#")) or said
        if conversation.flow.state is State.CONFIRM:
            said = await conversation.tell(Digits("1")) or said
        if said.closing:
            await conversation.tell(Played())  # an answer is heard as soon as it is sent
        return said


class _Listening:
    """The Desk, with an ear on its answer: a status tells what no prompt does, when to come again."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.result: Result | None = None
        self.flow = desk.flow
        self.finished = desk.finished

    async def greet(self, caller: Caller) -> Result | None:
        self.result = await self._desk.greet(caller)
        return self.result

    async def attempt(self, caller: Caller, code: str, attempt: int) -> Result:
        self.result = await self._desk.attempt(caller, code, attempt)
        return self.result

    async def hold(self, caller: Caller, code: str, attempt: int) -> Result:  # noqa: ARG002  # as HoldingDesk says
        """Nothing is asked: whoever sends a code has agreed to it, and the Confirm that follows redeems it."""
        return Result(ResultKind.ACCEPTED)

    def note(self, caller: Caller, note: Note) -> None:
        """Nothing was held, so nothing is told of that."""
        if note.cause != Event.HELD:
            self._desk.note(caller, note)


def read(body: bytes, *, vouched: bool) -> Entry:
    """A request's body; Malformed is all that it raises."""
    found = _object(body)
    device = found.get("device")
    mac = device.get("mac") if isinstance(device, dict) else None
    code, channel, source = found.get("code"), found.get("channel", _OWN), found.get("source_ip", "")
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise Malformed("code: a string of digits, with blanks or hyphens between them if you like")
    if not isinstance(mac, str) or not read_mac(mac):
        raise Malformed("device.mac: the Mac of a phone, 12 hexadecimal digits")
    if not isinstance(channel, str) or not _CHANNEL.fullmatch(channel):
        raise Malformed("channel: up to 32 letters, digits, - and _")
    if not isinstance(source, str) or (source and not read_source(source)):
        raise Malformed("source_ip: an IP address, or left out")
    named = channel if channel == _OWN else f"{_OWN}-{channel}"
    caller = Caller(read_mac(mac), read_source(source), named, authenticated=vouched)
    return Entry(code.replace(" ", "").replace("-", ""), caller)


def _object(body: bytes) -> Mapping[str, object]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed("the body is no JSON") from error
    if not isinstance(found, dict):
        raise Malformed("the body is a JSON object")
    unknown = sorted(set(found) - {"code", "device", "channel", "source_ip"})
    if unknown:
        raise Malformed("a field is not known; they are code, device, channel and source_ip")
    return found


def _answer(said: Said, result: Result | None) -> web.Response:
    heard = said.prompts[0] if said.prompts else "system_error"
    if heard == "success":
        document = {"outcome": "bound", "extension": result.extension if result else ""}
        return web.json_response(document, headers={"Cache-Control": "no-store"})
    status, kind, detail = OUTCOMES.get(heard, OUTCOMES["system_error"])
    again = math.ceil(result.retry_after) if result and result.retry_after > 0 else _AGAIN
    return _problem(status, kind, detail, retry_after=str(again) if status in _WAITS else "")


def _problem(
    status: HTTPStatus, kind: str, detail: str, *, challenge: str = "", allow: str = "", retry_after: str = ""
) -> web.Response:
    """RFC 9457; the type is ours and stable, relative to nothing."""
    headers = {"WWW-Authenticate": challenge, "Allow": allow, "Retry-After": retry_after, "Cache-Control": "no-store"}
    document = {"type": f"urn:activation:{kind}", "title": status.phrase, "status": status.value, "detail": detail}
    return web.Response(
        status=status.value,
        body=json.dumps(document).encode(),
        content_type="application/problem+json",
        headers={name: value for name, value in headers.items() if value},
    )
