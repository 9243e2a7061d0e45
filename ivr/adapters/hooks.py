"""Rule: a web hook is a path and a handler; what it reads of a request is bounded before it is looked at.

The digits of a code stand in some requests' query: run these hooks without an access log (``access_log=None``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import parse_qsl

from aiohttp import web

MOST_FIELDS: Final = 200
LONGEST_QUERY: Final = 8192
_SLOWEST: Final = 10.0
"""s for a body of a few kilobytes."""


class Hook(Protocol):
    """A handler that also does without an Application: it looks at path, query, headers and body only."""

    @property
    def path(self) -> str:
        """What it answers, as aiohttp's router spells it."""

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer any method."""

    async def close(self) -> None:
        """The server ends: calls that stand are over."""


def application(*hooks: Hook) -> web.Application:
    """The hooks as an application, to be run alone or added to another; what is on no path is a 404."""
    app = web.Application()
    for hook in hooks:
        app.router.add_route("*", hook.path, hook.handle)
        app.on_cleanup.append(_closing(hook.close))
    return app


def _closing(close: Callable[[], Awaitable[None]]) -> Callable[[web.Application], Awaitable[None]]:
    async def closing(_: web.Application) -> None:
        await close()

    return closing


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


async def hear(request: web.BaseRequest, most: int) -> Heard | None:
    """The request with its body; None when that is larger, or slow, or the query too long."""
    path, _, query = request.raw_path.partition("?")
    if len(query) > LONGEST_QUERY or (request.content_length or 0) > most:
        return None
    try:
        async with asyncio.timeout(_SLOWEST):
            body = await _body(request, most)
    except TimeoutError:
        return None
    if body is None:
        return None
    return Heard(request.method, path, query, body, lambda name: request.headers.get(name, ""))


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
