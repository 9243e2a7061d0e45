"""Somebody else's server that is told by webhooks: takes, refuses, hangs, redirects, answers late, goes away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Got:
    """One request, as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """Answers 204, unless answers are left: a status, or what answers."""

    port: int = 0
    got: list[Got] = field(default_factory=list)
    answers: list[int | Answering] = field(default_factory=list)
    always: int | Answering = 204
    open: int = 0
    most: int = 0
    """Requests that were answered at the same time."""

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            headers = {name.lower(): value for name, value in request.headers.items()}
            self.got.append(Got(request.path_qs, headers, await request.read()))
            chosen = self.answers.pop(0) if self.answers else self.always
            return web.Response(status=chosen) if isinstance(chosen, int) else await chosen(request)
        finally:
            self.open -= 1

    def told(self) -> list[tuple[str, str, int]]:
        """Type, subject and version of what came, in its order."""
        return [(one.json["type"], one.json["subject"], one.json["version"]) for one in self.got]


@asynccontextmanager
async def receiving(**runner: Any) -> AsyncIterator[Receiver]:
    made = Receiver()
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", made.answer)
    run = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await run.setup()
    site = web.TCPSite(run, "127.0.0.1", 0, **runner)
    await site.start()
    server = site._server
    assert isinstance(server, asyncio.Server)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        await run.cleanup()
