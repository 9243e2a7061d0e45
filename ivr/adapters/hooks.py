"""Rule: a web hook is a path and a handler; what it reads of a request is bounded before it is looked at.

The digits of a code stand in some requests' query: run these hooks without an access log (``access_log=None``), and
with a server that bounds connections, heads and the time that they may take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import parse_qsl

from aiohttp import web

MOST_FIELDS: Final = 200
LONGEST_QUERY: Final = 8192
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
"""RFC 9110 section 10.1.1; libcurl, and with it FreeSWITCH, keeps a larger form back for a second without it."""
_SLOWEST: Final = 10.0
"""s for a body of a few kilobytes."""


class Hook(Protocol):
    """Answers one path and all below it; it looks at path, query, headers and body only."""

    name: str
    """Of the system on the other side, for metrics."""

    @property
    def path(self) -> str:
        """Without a slash at its end."""

    @property
    def calls(self) -> int:
        """That stand."""

    async def handle(self, request: web.BaseRequest, source: str) -> web.Response:
        """Answer any method; ``source`` is the address that asks."""

    async def close(self) -> None:
        """The server ends: calls that stand are over."""


class Hooks:
    """All of them behind one listener, for aiohttp's low-level server; what is on no path is a 404."""

    def __init__(self, *hooks: Hook) -> None:
        """Refused: two on one path."""
        self._hooks = {hook.path: hook for hook in hooks}
        if len(self._hooks) < len(hooks):
            raise ValueError("two hooks have the same path")

    @property
    def calls(self) -> int:
        """That stand, behind all of them."""
        return sum(hook.calls for hook in self._hooks.values())

    def find(self, path: str) -> Hook | None:
        """Whose path it is, or is below of."""
        while path and path not in self._hooks:
            path = path.rpartition("/")[0]
        return self._hooks.get(path)

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """As the one whose path it is says, with the peer as source."""
        hook = self.find(request.raw_path.partition("?")[0])
        return await hook.handle(request, peer_of(request)) if hook else web.Response(status=404)

    async def close(self) -> None:
        """All calls are over."""
        for hook in self._hooks.values():
            await hook.close()


def peer_of(request: web.BaseRequest) -> str:
    """The address at the other end of the connection; empty when it has gone."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return str(peer[0]) if peer else ""


@dataclass(frozen=True, slots=True)
class Heard:
    """A request as it came: what a signature is worked out over."""

    method: str
    path: str
    query: str = field(repr=False)
    """Raw, without the question mark."""
    body: bytes = field(repr=False)
    headers: Callable[[str], str] = field(repr=False)
    """The value of a header by its name; empty when it is missing."""
    source: str = ""
    """The address that asks."""

    @property
    def fields(self) -> dict[str, str]:
        """Of the query and a form, the last of equal names; ValueError when there are too many."""
        return dict([*pairs(self.query), *(pairs(self.body.decode("utf-8", "replace")) if self.is_form else ())])

    @property
    def is_form(self) -> bool:
        """Whether the body is name=value."""
        kind = self.headers("Content-Type").partition(";")[0].strip().lower()
        return self.method == "POST" and kind == "application/x-www-form-urlencoded"


def pairs(form: str) -> list[tuple[str, str]]:
    """Of a query or a form; ValueError when there are too many."""
    return parse_qsl(form, keep_blank_values=True, max_num_fields=MOST_FIELDS)


async def hear(request: web.BaseRequest, most: int, source: str) -> Heard | None:
    """The request with its body; None when that is larger, or slow, or the query too long."""
    path, _, query = request.raw_path.partition("?")
    if len(query) > LONGEST_QUERY or (request.content_length or 0) > most:
        return None
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport:
        request.transport.write(_CONTINUE)
    try:
        async with asyncio.timeout(_SLOWEST):
            body = await _body(request, most)
    except TimeoutError:
        return None
    if body is None:
        return None
    return Heard(request.method, path, query, body, lambda name: request.headers.get(name, ""), source)


async def _body(request: web.BaseRequest, most: int) -> bytes | None:
    """A body that tells no length is counted as it comes."""
    body = bytearray()
    while piece := await request.content.readany():
        body += piece
        if len(body) > most:
            return None
    return bytes(body)


def refused() -> web.Response:
    """Nothing at all but the number: whoever may not speak to us learns nothing."""
    return web.Response(status=403)


def xml(document: bytes) -> web.Response:
    """A document for a machine that is on a call."""
    return web.Response(body=document, content_type="text/xml", charset="utf-8", headers={"Cache-Control": "no-store"})
