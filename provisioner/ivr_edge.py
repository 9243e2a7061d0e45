"""The listener of the web hooks: whoever asks too often is answered 429, all answers are counted, none is logged.

Connections, heads, idle times and bodies are bounded by the listener that phones have, too; what a hook reads of a body
is its own to bound. The digits of codes stand in some requests' query, so nothing of a request is ever written down.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from aiohttp import web

from ivr.adapters import Hooks
from ivr.adapters.callers import Peers, read_source
from ivr.adapters.hooks import peer_of
from provisioner.http.listener import http_limits
from provisioner.http.renewed import RenewedListener
from provisioner.http.server import QuietServer
from provisioner.http.wire import Wire, as_response
from provisioner.model import Count, ListenerKind
from provisioner.settings import Settings

_MOST_HOPS: Final = 8
"""Proxies between a caller and us; nobody has more."""
_AGAIN: Final = 1
"""s after which who asked too often may ask again."""


class HookEdge:
    """The low-level aiohttp handler; ``admits`` says whether an address asks no more often than it may."""

    def __init__(
        self, hooks: Hooks, proxies: Sequence[str], count: Count, *, admits: Callable[[str], bool] = lambda _: True
    ) -> None:
        self._hooks = hooks
        self._proxies = Peers(proxies)
        self._count = count
        self._admits = admits

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request."""
        await asyncio.sleep(0)  # the hooks measure time, and for that this must be a Task of its own
        source = source_of(peer_of(request), request.headers.getall("X-Forwarded-For", ()), self._proxies)
        hook = self._hooks.find(request.raw_path.partition("?")[0])
        if not self._admits(source):
            answer = web.Response(status=429, headers={"Retry-After": str(_AGAIN)})
        elif hook is None:
            answer = web.Response(status=404)
        else:
            answer = await hook.handle(request, source)
        self._count("hook_answers", f"{answer.status}_{hook.name if hook else 'none'}")
        return as_response(_wire(request, answer))


def _wire(request: web.BaseRequest, answer: web.Response) -> Wire:
    """A body that was not read to its end is not read any more: the connection ends."""
    body = answer.body if isinstance(answer.body, bytes) else b""
    headers = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items() if name != "Content-Length")
    sent = b"" if request.method == "HEAD" else body
    return Wire(answer.status, sent, headers, size=len(body), close=not request.content.is_eof())


def source_of(peer: str, forwarded: Sequence[str], proxies: Peers) -> str:
    """The address that asks: the last one that is not a proxy of ours, as each of these adds whom it has heard."""
    source = read_source(peer) or peer
    hops = ",".join(forwarded).split(",")[-_MOST_HOPS:] if forwarded else []
    while hops and proxies.allows(source):
        told = read_source(hops.pop())
        if not told:
            break
        source = told
    return source


class HookListener:
    """The edge on its socket; a renewed certificate is used for new connections, and those that are open go on."""

    def __init__(self, sock: socket.socket, handler: HookEdge, settings: Settings, count: Count) -> None:
        """Unusable when a certificate cannot be used."""
        # Phones are told other names than other systems are, and other numbers hold for them.
        bounds = replace(settings, http_connections=settings.hooks_connections, gate_names=())
        files = [settings.data / name for name in settings.tls_certificates] if settings.hooks_tls else []
        self._server = QuietServer(handler.handle, count, **http_limits(settings))
        self._renewed = RenewedListener(ListenerKind.HOOKS, sock, self._server, bounds, count, files)

    def __len__(self) -> int:
        """Connections."""
        return len(self._renewed)

    def start(self) -> None:
        """Answer from now on."""
        self._renewed.start()

    async def look(self) -> None:
        """Use certificates that have changed; Unusable leaves all as it was."""
        await self._renewed.look()

    async def close(self) -> None:
        """Drop every connection."""
        self._renewed.close()
        await self._server.shutdown(0)
