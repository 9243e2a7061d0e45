"""The device edge: parse a request, ask Delivery, write the answer; every error becomes a status and an event here."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, cast

from aiohttp import web

from provisioner.delivery import Delivery
from provisioner.errors import (
    BadRequest,
    Deferred,
    MethodNotAllowed,
    NeedsCredentials,
    NoSuchFile,
    Paused,
    ProvisionerError,
    RangeNotSatisfiable,
    Refused,
    TooLarge,
    TooSlow,
)
from provisioner.events import EventLog, masked
from provisioner.http.images import image_answer, later_part, names
from provisioner.http.jotting import jot, notes_of
from provisioner.http.keylog import KeySink
from provisioner.http.paths import clean
from provisioner.http.server import QuietHandler
from provisioner.http.tally import tally
from provisioner.http.transport import SocketTransport
from provisioner.http.wire import Transfer, Wire, as_response
from provisioner.identity import Identifier
from provisioner.model import Count, ListenerKind, Mac, Peer, PeerCert, TlsFacts
from provisioner.visit import Answer, Ask, Visit

_log: Final = logging.getLogger(__name__)
_AGENT_LONGEST: Final = 300
_NO_CACHE: Final = "Cache-Control: private, no-store\r\n"
"""No proxy keeps a configuration (RFC 9111 section 5.2.2.5)."""
_REFUSALS: Final = 16
"""Refused requests after which whoever is no known device has to shake hands anew: a boot asks for fewer."""
_NO_TLS: Final = TlsFacts()

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class DeviceEdge:
    """The handlers of the device and legacy listeners of one worker."""

    def __init__(
        self,
        delivery: Delivery,
        identifier: Identifier,
        events: EventLog,
        count: Count,
        note: Callable[[Mac, PeerCert], None] | None = None,
        keys: KeySink | None = None,
    ) -> None:
        """``note`` is given each certificate that names a device, with its chain; ``keys`` records TLS secrets."""
        self._keys = keys
        self._note_chain = note
        self._delivery = delivery
        self._identifier = identifier
        self._events = events
        self._count = count

    def handler(self, listener: ListenerKind) -> Handler:
        """The low-level aiohttp handler of one listener."""

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            visit = self._visit(request, listener)
            wire = await self._outermost(request, visit)
            self._count("answers", str(wire.status))
            jot(request, visit, wire)
            if tally(self._count, visit, wire.status):
                self._booted(request, visit)
            return as_response(wire)

        return handle

    def _booted(self, request: web.BaseRequest, visit: Visit) -> None:
        """A boot was served: who is nobody's device is not among those that a storm is over without."""
        if visit.view is None:
            return
        self._delivery.admission.came_back(visit.view.device.mac)
        if isinstance(request.transport, SocketTransport):
            request.transport.booted()

    async def _outermost(self, request: web.BaseRequest, visit: Visit) -> Wire:
        """One of the two places that catch everything: this request fails, no other."""
        try:
            return await self._serve(request, visit)
        except ProvisionerError as error:
            return self._refuse(request, visit, error)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:  # noqa: BLE001  # the outer edge of a request: no other may suffer
            return self._refuse(request, visit, ProvisionerError(f"unexpected {type(error).__name__}{_where(error)}"))

    def _visit(self, request: web.BaseRequest, listener: ListenerKind) -> Visit:
        """The connection's Visit; its identity is judged with the first request."""
        connection = cast("QuietHandler", request.protocol)
        if not isinstance(visit := connection.memory, Visit):
            visit = connection.memory = self._first(request.transport, listener)
            if (notes := notes_of(request)) is not None:
                visit.notes, notes.peer = notes, visit.peer
        return visit

    def _first(self, transport: asyncio.Transport | None, listener: ListenerKind) -> Visit:
        if transport is None:
            raise ConnectionResetError("the device has left")
        cert: PeerCert | None = transport.get_extra_info("peer_cert")
        identity = self._identifier.judge(cert, listener, time.time())
        self._count("verdicts", identity.verdict)
        if self._note_chain is not None and identity.mac and cert is not None and not cert.resumed:
            self._note_chain(identity.mac, cert)
        if self._keys is not None and self._keys.mac:
            self._keys.judged(transport.get_extra_info("ssl_object"), identity)
        peername = transport.get_extra_info("peername")
        address = str(peername[0]) if peername else ""
        return Visit(Peer(identity, transport.get_extra_info("tls_facts") or _NO_TLS, listener, address))

    async def _serve(self, request: web.BaseRequest, visit: Visit) -> Wire:
        headers = request.headers
        if len(headers.getall("Host", ())) > 1:
            raise BadRequest("more than one Host")
        ask = Ask(
            method=request.method,
            path=clean(request.raw_path),
            user_agent=headers.get("User-Agent", "")[:_AGENT_LONGEST],
            at=time.time(),
            authorization=headers.get("Authorization", ""),
            target=request.raw_path,
            part=later_part(headers.get("Range", "")),
            if_range=headers.get("If-Range", ""),
        )
        if ask.method in ("GET", "HEAD"):
            if request.body_exists:
                raise BadRequest("a body where none belongs")
            return self._answer(request, ask, await self._delivery.fetch(visit, ask))
        if ask.method in ("PUT", "POST"):
            return await self._take(request, visit, ask)
        raise MethodNotAllowed(f"method {ask.method[:20]}")

    # --- answers ----------------------------------------------------------------------------------

    def _answer(self, request: web.BaseRequest, ask: Ask, answer: Answer) -> Wire:
        headers = f"Content-Type: {answer.media_type}\r\n{_NO_CACHE}"
        if answer.image is not None:
            return self._lent(answer.site, ask, image_answer(request, answer.image, headers))
        headers += f"ETag: {answer.etag}\r\n"
        unchanged = names(request.headers.get("If-None-Match", ""), answer.etag)
        self._note(answer, ask, 304 if unchanged else 200)
        if unchanged:
            return Wire(304, headers=headers, size=len(answer.body))
        return Wire(200, b"" if ask.method == "HEAD" else answer.body, headers, size=len(answer.body))

    def _lent(self, site: str, ask: Ask, wire: Wire) -> Wire:
        """The site's uplink is lent to this transfer until its last byte is out."""
        if wire.status not in (200, 206) or ask.method == "HEAD":
            return wire
        lease = self._delivery.admission.lease(site, time.monotonic())
        return wire if lease is None else Transfer(wire, lease.end)

    def _note(self, answer: Answer, ask: Ask, status: int) -> None:
        record = answer.record
        if record is None:
            return
        if status != 200 or ask.method == "HEAD":
            revision = record.revision if ask.method == "GET" else -1
            record = replace(record, status=status, body=b"", revision=revision)
        self._delivery.recorder.fetch(record)

    def _refuse(self, request: web.BaseRequest, visit: Visit, error: ProvisionerError) -> Wire:
        if visit.notes is not None:
            visit.error = error
        served = visit.view is not None or visit.moment is not None
        known_device_probes = isinstance(error, NoSuchFile) and served
        busy = isinstance(error, (Deferred, Paused))  # in a storm too many to tell: they are counted
        if not known_device_probes and not busy:
            agent = request.headers.get("User-Agent", "")
            told = self._events.refused(error, visit.peer, request.raw_path, agent, time.time())
            if told and error.status >= 500:
                _log.error("%s failed: %s", masked(request.raw_path), error.cause)
        self._count("refusals", error.kind)
        headers = ""
        if isinstance(error, NeedsCredentials):
            challenges = self._delivery.digest.challenge(time.time(), stale=error.stale)
            headers = "".join(f"WWW-Authenticate: {one}\r\n" for one in challenges)
        elif isinstance(error, MethodNotAllowed):
            headers = "Allow: GET, HEAD\r\n"
        elif isinstance(error, Deferred):
            headers = f"Retry-After: {error.retry_after}\r\n"
        elif isinstance(error, RangeNotSatisfiable):
            headers = f"Content-Range: bytes */{error.size}\r\n"
        visit.refusals += visit.view is None
        keep = isinstance(error, Refused) and not request.body_exists and visit.refusals < _REFUSALS
        return Wire(error.status, headers=headers, close=not keep)

    # --- uploads ------------------------------------------------------------------------------------

    async def _take(self, request: web.BaseRequest, visit: Visit, ask: Ask) -> Wire:
        """Read a body no further than its cap; the device edge keeps nothing of a refused one."""
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise BadRequest("an encoded body, which could not be served back as it came")
        intake = await self._delivery.welcome(visit, ask, request.content_length or 0)
        limit = self._delivery.settings.http_body_timeout
        size = request.content_length or intake.cap
        with self._delivery.admission.room(intake.record.mac, intake.rank, size):
            if request.headers.get("Expect", "").lower() == "100-continue":
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            try:
                async with asyncio.timeout(limit):
                    body = await _read(request, intake.cap)
            except TimeoutError as error:
                raise TooSlow(f"the body took longer than {limit:g} s") from error
            await self._delivery.keep(visit, intake, body)
        return Wire(201)


def _where(error: Exception) -> str:
    """`` at file:line``, which is enough to report it; the error's own text might quote a secret."""
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    return f" at {frame.f_code.co_filename.rpartition('/')[2]}:{line}"


async def _read(request: web.BaseRequest, most: int) -> bytes:
    parts, size = [], 0
    try:
        while chunk := await request.content.readany():
            size += len(chunk)
            if size > most:
                raise TooLarge(f"more than {most} bytes")
            parts.append(chunk)
    except web.RequestPayloadError as error:
        raise BadRequest("the body broke off") from error
    if request.content_length is not None and size != request.content_length:
        raise BadRequest(f"{size} bytes of {request.content_length}")
    return b"".join(parts)
