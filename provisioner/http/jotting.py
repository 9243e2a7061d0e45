"""Jots down a request that was answered, for the flight recorder: by reference; what has to be read is read later."""

from __future__ import annotations

import time
from typing import Final

from aiohttp import web

from provisioner.errors import Deferred
from provisioner.flight_notes import Asked, FlightNotes
from provisioner.http.schemes import scheme_word
from provisioner.http.transport import SocketTransport
from provisioner.http.wire import Wire
from provisioner.visit import Visit

_LONGEST: Final = 300
_TARGET: Final = 1000
"""Characters of a request target; what is shown of it later is shorter."""


def notes_of(request: web.BaseRequest) -> FlightNotes | None:
    """Where to write; None where nobody keeps it."""
    transport = request.transport
    return transport.notes if isinstance(transport, SocketTransport) else None


def jot(request: web.BaseRequest, visit: Visit, wire: Wire) -> None:
    """The request of a device that was just answered, or is about to be."""
    notes = visit.notes
    if notes is None:
        return
    error, visit.error = visit.error, None
    held, visit.held = visit.held, 0.0
    notes.view = visit.view
    _heads(request, notes)
    sends = request.method in ("PUT", "POST")
    notes.ask(
        Asked(
            time.time(),
            request.method,
            request.raw_path[:_TARGET],
            visit.file,
            wire.status,
            (request.content_length or 0) if sends else wire.size,
            wire.headers,
            error.kind if error is not None else "",
            error.cause if error is not None else "",
            held,
            error.retry_after if isinstance(error, Deferred) else 0,
        )
    )


def jot_plain(request: web.BaseRequest, wire: Wire, kind: str) -> None:
    """The same on the bootstrap listener, where nobody is anybody; ``kind`` is what it counts the answer as."""
    notes = notes_of(request)
    if notes is None:
        return
    _heads(request, notes)
    target, why = request.raw_path[:_TARGET], "" if wire.status < 400 else kind
    notes.ask(Asked(time.time(), request.method, target, None, wire.status, wire.size, wire.headers, why, "", 0.0, 0))


def _heads(request: web.BaseRequest, notes: FlightNotes) -> None:
    headers = request.headers
    if not notes.asked:
        notes.agent = headers.get("User-Agent", "")[:_LONGEST]
        notes.host = headers.get("Host", "")[:_LONGEST]
    if scheme := scheme_word(headers.get("Authorization", "")):
        notes.authorization = scheme
