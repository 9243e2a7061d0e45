"""Health, metrics and the storm view, and the web application in which API and console stand beside them.

In a process of its own, on loopback unless the settings say otherwise.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from cryptography import x509

from provisioner import __version__
from provisioner.counters import exposition
from provisioner.errors import Invalid
from provisioner.http import storm_page
from provisioner.http.fleet_state import FleetState
from provisioner.http.front_page import front
from provisioner.http.server import QuietServer
from provisioner.http.storm_watch import StormWatch
from provisioner.http.wire import Wire, as_response
from provisioner.model import Count

log: Final = logging.getLogger("provisioner.server")

_PATIENCE: Final = 2.0
"""s for the database to answer: who asks for health waits for it."""
_DAY: Final = 86400.0
_JSON: Final = "Content-Type: application/json\r\nCache-Control: no-store\r\n"
_METRICS: Final = "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\nCache-Control: no-store\r\n"
_TEXT: Final = (
    "Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
)

Ping = Callable[[], Awaitable[str]]
"""Ask the database something small: empty when it answers, otherwise why not."""


class Health:
    """What the admin process knows: what the control process tells it, and what it looks up when it is asked."""

    def __init__(self, certificates: Sequence[Path], ping: Ping) -> None:
        self._certificates = certificates
        self._ping = ping
        self._state: Mapping[str, Any] = {}

    def told(self, line: str) -> None:
        """Take in a line of the control process: the state of the house."""
        self._state = json.loads(line)

    async def report(self) -> tuple[int, Mapping[str, Any]]:
        """The status code and the document: 503 while no phone can be served."""
        workers = list(self._state.get("workers", ()))
        wanted = int(self._state.get("wanted", 0))
        database = await self._database()
        certificates = [_certificate(path) for path in self._certificates]
        expired = any(one["days_left"] is None or one["days_left"] < 0 for one in certificates)
        stopping = bool(self._state.get("stopping", False))
        failing = not workers or bool(database) or expired or stopping
        status = "failing" if failing else "degraded" if len(workers) < wanted else "ok"
        return 503 if failing else 200, {
            "status": status,
            "version": __version__,
            "uptime_seconds": round(time.time() - float(self._state.get("started", time.time())), 1),
            "stopping": stopping,
            "workers": {"alive": len(workers), "wanted": wanted, "pids": workers},
            "generation": self._state.get("generation", 0),
            "database": {"reachable": not database, "why": database},
            "certificates": certificates,
        }

    async def _database(self) -> str:
        try:
            return await asyncio.wait_for(self._ping(), _PATIENCE)
        except TimeoutError:
            return f"no answer within {_PATIENCE:g} s"


def _certificate(path: Path) -> Mapping[str, Any]:
    """One server certificate file: until when it is good. Read anew, since it may have been renewed."""
    try:
        leaf = x509.load_pem_x509_certificates(path.read_bytes())[0]
    except (OSError, ValueError):
        return {"file": path.name, "not_after": None, "days_left": None}
    left = leaf.not_valid_after_utc.timestamp() - time.time()
    return {
        "file": path.name,
        "not_after": leaf.not_valid_after_utc.isoformat(),
        "days_left": int(left // _DAY),
    }


@dataclass(frozen=True, slots=True)
class AdminEdge:
    """What the admin edge shows to everybody who reaches it. GET and HEAD only: nothing can be changed here."""

    health: Health
    metrics: Path
    fleet: FleetState
    watch: StormWatch

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The low-level aiohttp handler."""
        return as_response(await self._answer(request))

    async def _answer(self, request: web.BaseRequest) -> Wire:
        if request.method not in ("GET", "HEAD") or request.body_exists:
            return Wire(405, headers="Allow: GET, HEAD\r\n", close=True)
        try:
            status, body, headers = await self._shown(request)
        except Invalid as error:
            status, (body, headers) = 400, _refused(error, as_json=request.path.endswith(".json"))
        return Wire(status, b"" if request.method == "HEAD" else body, headers, size=len(body))

    async def _shown(self, request: web.BaseRequest) -> tuple[int, bytes, str]:
        match request.path:
            case "/":
                return 200, front(), storm_page.HEADERS
            case "/health":
                status, document = await self.health.report()
                return status, json.dumps(document, indent=2).encode() + b"\n", _JSON
            case "/metrics":
                return 200, exposition(self.metrics, self.fleet, self.watch), _METRICS
            case "/storm":
                minutes = storm_page.minutes_of(request.query.getall("minutes", []), storm_page.MINUTES[0])
                return 200, storm_page.page(self.watch.view(), self.watch.samples, minutes), storm_page.HEADERS
            case "/storm.json":
                minutes = storm_page.minutes_of(request.query.getall("minutes", []), storm_page.MOST)
                return 200, storm_page.document(self.watch.view(), self.watch.samples, minutes), _JSON
            case _:
                return 404, b"", ""


Part = Callable[[web.Application], None]
"""Adds its routes to the application."""


def application(edge: AdminEdge, parts: Iterable[Part] = ()) -> web.Application:
    """All of the admin edge; what no part answers, the edge does."""
    made = web.Application(handler_args={"access_log": None})
    made.on_response_prepare.append(_unsigned)
    for add in parts:
        add(made)
    made.router.add_route("*", "/{path:.*}", edge.handle)
    return made


async def _unsigned(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """What this server is made of is nobody's business."""
    del request
    response.headers.pop("Server", None)


async def server_of(made: web.Application, count: Count, **limits: Any) -> tuple[QuietServer, web.AppRunner]:
    """The application under the connections that this server keeps bounds of; the runner is to be cleaned up."""
    runner = web.AppRunner(made)
    await runner.setup()
    ready = runner.server
    assert ready is not None
    server = QuietServer(ready.request_handler, count, request_factory=ready.request_factory, **limits)
    return server, runner


def _refused(error: Invalid, *, as_json: bool) -> tuple[bytes, str]:
    """A question that cannot be answered, in words; nothing of it is repeated."""
    if as_json:
        told = {"error": {"kind": error.kind, "field": error.field, "cause": error.cause}}
        return json.dumps(told).encode() + b"\n", _JSON
    return f"{error.cause}.\n".encode(), _TEXT
