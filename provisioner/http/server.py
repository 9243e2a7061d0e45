"""aiohttp's server without its costs: a plain GET or HEAD is answered within the call that brought its last byte.

aiohttp makes a Task, a future and a writer for every request and answers one turn of the loop later. Here the handler's
coroutine is driven on the spot; only when it has to wait for something does a Task take over. Whatever is not a plain
request on an idle connection (bodies, pipelined requests, upgrades, what cannot be parsed) goes aiohttp's ordinary way.

Rule for handlers: before anything that needs a Task of its own (``asyncio.timeout``) they yield once to the loop.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Coroutine, Generator
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpVersion, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler

from provisioner.flight_notes import FlightNotes
from provisioner.http.wire import Wire, as_response
from provisioner.model import Count

_log: Final = logging.getLogger(__name__)
_AT_ONCE: Final = 16
"""Requests that may wait behind the one under way. No phone sends any; hundreds fit into one record."""
_PLAIN: Final = frozenset({"GET", "HEAD"})

Outcome = tuple[web.StreamResponse, bool]
"""The answer, and whether the device has left meanwhile."""


class PlainRequest:
    """A request without a body: what handlers ask of aiohttp's BaseRequest, which takes longer to build."""

    __slots__ = ("_message", "headers", "keep_alive", "method", "protocol", "raw_path")

    content: StreamReader = EMPTY_PAYLOAD
    body_exists = False
    content_length = None

    def __init__(self, message: RawRequestMessage, protocol: QuietHandler) -> None:
        self._message = message
        self.method = message.method
        self.raw_path = message.path
        self.headers = message.headers
        self.keep_alive = not message.should_close
        self.protocol = protocol

    @property
    def version(self) -> HttpVersion:
        """The request's HTTP version."""
        return self._message.version

    @property
    def path(self) -> str:
        """The decoded path."""
        return self._message.url.path

    @property
    def transport(self) -> asyncio.Transport | None:
        """None once the device has left."""
        return self.protocol.transport

    def _finish(self) -> None:
        """Aiohttp's call before the answer; there is no form to close."""

    def _cancel(self, exc: BaseException) -> None:
        """Aiohttp's call when the device has left; there is no body to break off."""


class QuietHandler(RequestHandler):
    """aiohttp's connection, except that what it cannot parse is counted and answered without a word or a traceback."""

    __slots__ = ("memory",)

    memory: object
    """What the handler wants to remember about this connection; None at first."""

    @property
    def fresh(self) -> bool:
        """Whether no whole head has come yet."""
        return self._request_count == 0

    @property
    def heads(self) -> int:
        """Whole heads that have come."""
        return self._request_count

    @property
    def idle(self) -> bool:
        """Between requests: it waits for a head, or has never had a whole one."""
        if self._task_handler is None:
            return self._current_request is None
        waiter = self._waiter
        return self._request_count == 0 or (waiter is not None and not waiter.done())

    @property
    def wants_body(self) -> bool:
        """Whether the request under way has a body that is not all here."""
        request = self._current_request
        return request is not None and not request.content.is_eof()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Without a Task, which most connections never need, and without a timer: the transport keeps the time-outs."""
        self.memory = None
        manager = cast("QuietServer", self._manager)
        if not manager.eager:
            super().connection_made(transport)
            return
        BaseProtocol.connection_made(self, transport)
        manager.connection_made(self, cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        """Parse, then answer at once what can be."""
        super().data_received(data)
        if len(self._messages) > _AT_ONCE:
            cast("QuietServer", self._manager).count("http_refused", "pipelined")
            self.force_close()
            return
        if self._task_handler is not None or not self._messages:
            return
        message, payload = self._messages[0]
        if (
            len(self._messages) == 1
            and payload is EMPTY_PAYLOAD
            and not self._upgraded
            and isinstance(message, RawRequestMessage)
            and message.method in _PLAIN
        ):
            self._messages.clear()
            self._at_once(message)
        else:
            self._task_handler = self._loop.create_task(self.start())

    def _at_once(self, message: RawRequestMessage) -> None:
        """Run the handler as far as it gets without waiting, which is usually to its end."""
        assert self._parser is not None
        assert self._manager is not None
        assert self._request_handler is not None
        self._parser.message_consumed()
        self._manager.requests_count += 1
        request = cast("web.BaseRequest", PlainRequest(message, self))
        work = self._handle_request(request, None, self._request_handler)
        stays = False
        try:
            waits_for = work.send(None)
            self._task_handler = self._loop.create_task(self._finish_later(work, waits_for))
            stays = True
        except StopIteration as done:
            stays = self._stays(*done.value)
        except ConnectionError:
            pass  # the device has left
        finally:
            if not stays:
                self._part()

    async def _finish_later(self, work: Coroutine[Any, Any, Outcome], waits_for: object) -> None:
        """The rest of a request that had to wait, and what came behind it meanwhile."""
        stays = False
        try:
            stays = self._stays(*await _Rest(work, waits_for))
        except ConnectionError:
            pass  # the device has left
        finally:
            if not stays:
                self._part()
        if stays and self._messages:
            await self.start()
        else:
            self._task_handler = None

    def _stays(self, answer: web.StreamResponse, left: bool) -> bool:
        self._keepalive = not left and bool(answer.keep_alive)
        return self._keepalive and not self._close and not self._force_close

    def _part(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002  # the signature is aiohttp's
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # the signature is aiohttp's
    ) -> web.StreamResponse:
        """A head that breaks HTTP gets its status and a close; who has left gets nothing."""
        if self._manager is None or isinstance(exc, ConnectionError):
            raise ConnectionResetError("the device has left") from exc
        cast("QuietServer", self._manager).count("http_refused", type(exc).__name__ if exc else str(status))
        notes = getattr(self.transport, "notes", None)  # of whichever transport is below
        if isinstance(notes, FlightNotes) and not notes.end:
            notes.end = f"http_{status}"
        if status >= 500 and exc is not None:  # a fault of ours: the edges answer whatever a device can cause
            *_, (frame, line) = traceback.walk_tb(exc.__traceback__)
            _log.error("%s at %s:%s while answering", type(exc).__name__, frame.f_code.co_filename, line)
        return as_response(Wire(status, close=True))


class _Rest(Generator[Any, Any, Outcome]):
    """What is left of a coroutine that has begun outside of a Task and waits for something; a Task may await it."""

    def __init__(self, work: Coroutine[Any, Any, Outcome], waits_for: object) -> None:
        self._work = work
        self._waits_for: tuple[object, ...] = (waits_for,)

    def __await__(self) -> Generator[Any, Any, Outcome]:
        return self

    def send(self, value: Any) -> Any:
        """First what it waits for, then whatever it says itself."""
        if self._waits_for:
            (waits_for,), self._waits_for = self._waits_for, ()
            return waits_for
        return self._work.send(value)

    def throw(self, *error: Any) -> Any:
        """An error or a cancellation is for the coroutine."""
        self._waits_for = ()
        return self._work.throw(*error)


class QuietServer(web.Server):
    """aiohttp's low-level server with QuietHandler connections."""

    def __init__(self, handler: object, count: Count, *, eager: bool = False, **limits: object) -> None:
        super().__init__(handler, **limits)  # type: ignore[arg-type]  # passed through as given
        self.count = count
        self.eager = eager
        """Answer plain requests at once: for handlers that keep the rule above and answer with a Wire."""

    def __call__(self) -> QuietHandler:
        """Make the protocol of one connection."""
        return QuietHandler(self, loop=self._loop, **self._kwargs)
