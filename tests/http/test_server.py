"""Plain requests are answered at once; what comes split, in a heap, too early, or has to wait keeps its order."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from provisioner.http.wire import Wire, as_response
from provisioner.model import ListenerKind
from tests.http.conftest import Edge, edge

pytestmark = pytest.mark.asyncio


class Handler:
    """Says the path; ``/slow`` waits for ``go``, ``/fails`` breaks, ``/loses`` finds the device gone."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.tasks: dict[str, bool] = {}

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path
        self.tasks[path] = asyncio.current_task() is not None
        if path.startswith("/slow"):
            await asyncio.sleep(0)  # the rule: yield before anything that needs a Task
            async with asyncio.timeout(10):
                await self.go.wait()
        if path.startswith("/fails"):
            raise ValueError("a fault")
        if path.startswith("/loses"):
            raise ConnectionResetError("gone")
        if path.startswith("/none"):
            return as_response(Wire(404))
        body = b"" if request.method == "HEAD" else f"{request.method} {path}".encode()
        return as_response(Wire(200, body, size=len(path) + 4))


class Phone:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def ask(self, path: str, method: str = "GET", extra: str = "", version: str = "1.1") -> None:
        self.writer.write(f"{method} {path} HTTP/{version}\r\nHost: x\r\n{extra}\r\n".encode())

    async def answer(self, *, body: bool = True) -> tuple[str, str]:
        """Status line and body."""
        async with asyncio.timeout(5):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            size = int(head.partition("Content-Length: ")[2].partition("\r\n")[0])
            return head, (await self.reader.readexactly(size)).decode() if body else ""

    async def closed(self) -> bool:
        async with asyncio.timeout(5):
            return await self.reader.read() == b""


@asynccontextmanager
async def phone(handler: Handler, **settings: float) -> AsyncIterator[tuple[Phone, Edge]]:
    async with edge(None, handler, ListenerKind.BOOTSTRAP, eager=True, **settings) as seen:
        reader, writer = await asyncio.open_connection("127.0.0.1", seen.port)
        try:
            yield Phone(reader, writer), seen
        finally:
            writer.close()


async def test_plain_requests_need_no_task() -> None:
    handler = Handler()
    async with phone(handler) as (one, _):
        for path in ("/a", "/b"):
            one.ask(path)
            assert (await one.answer())[1] == f"GET {path}"
        one.ask("/head", "HEAD")
        head, _body = await one.answer(body=False)
        assert head.startswith("HTTP/1.1 200 ")
        one.ask("/none")
        assert (await one.answer())[0].startswith("HTTP/1.1 404 ")
    assert handler.tasks == {"/a": False, "/b": False, "/head": False, "/none": False}


async def test_pipelined_requests_keep_their_order_and_the_connection_goes_on() -> None:
    async with phone(Handler()) as (one, _):
        for path in ("/1", "/2", "/3"):
            one.ask(path)
        assert [(await one.answer())[1] for _ in range(3)] == ["GET /1", "GET /2", "GET /3"]
        one.ask("/4")
        assert (await one.answer())[1] == "GET /4"


async def test_a_request_that_waits_gets_a_task_and_what_follows_waits_behind_it() -> None:
    handler = Handler()
    async with phone(handler) as (one, seen):
        one.ask("/slow")
        await _until(lambda: "/slow" in handler.tasks)
        (connection,) = seen.listener.connections
        assert not connection.idle
        one.ask("/next")
        one.ask("/last")
        await asyncio.sleep(0.05)
        assert handler.tasks == {"/slow": False}
        handler.go.set()
        assert [(await one.answer())[1] for _ in range(3)] == ["GET /slow", "GET /next", "GET /last"]
        await _until(lambda: connection.idle)


async def test_after_waiting_requests_are_answered_at_once_again() -> None:
    handler = Handler()
    handler.go.set()
    async with phone(handler) as (one, _):
        one.ask("/slow")
        assert (await one.answer())[1] == "GET /slow"
        one.ask("/quick")
        assert (await one.answer())[1] == "GET /quick"
    assert handler.tasks == {"/slow": False, "/quick": False}


async def test_a_device_that_leaves_while_its_request_waits_takes_nothing_along() -> None:
    handler = Handler()
    async with phone(handler) as (one, seen):
        one.ask("/slow")
        await _until(lambda: "/slow" in handler.tasks)
        sock = one.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an end
        one.writer.transport.abort()
        await _until(lambda: seen.counts["connections closed"] == 1)
        handler.go.set()
        await asyncio.sleep(0.05)
    assert handler.tasks == {"/slow": False}


async def test_a_half_closed_connection_gets_the_answer_it_waits_for() -> None:
    handler = Handler()
    async with phone(handler) as (one, _):
        one.ask("/slow")
        await _until(lambda: "/slow" in handler.tasks)
        one.writer.write_eof()
        await asyncio.sleep(0.05)
        handler.go.set()
        assert (await one.answer())[1] == "GET /slow"
        assert await one.closed()


async def test_old_http_stays_only_when_it_asks_to() -> None:
    async with phone(Handler()) as (one, _):
        one.ask("/a", version="1.0", extra="Connection: keep-alive\r\n")
        assert "Connection: keep-alive" in (await one.answer())[0]
        one.ask("/b", version="1.0")
        assert (await one.answer())[1] == "GET /b"
        assert await one.closed()


async def test_connection_close_is_kept() -> None:
    async with phone(Handler()) as (one, _):
        one.ask("/a", extra="Connection: close\r\n")
        assert "Connection: close" in (await one.answer())[0]
        assert await one.closed()


async def test_a_head_may_come_byte_by_byte_and_in_one_packet_with_the_end_of_another() -> None:
    async with phone(Handler()) as (one, _):
        for byte in b"GET /bytes HTTP/1.1\r\nHost: x\r\n\r\n":
            one.writer.write(bytes((byte,)))
            await asyncio.sleep(0.001)
        assert (await one.answer())[1] == "GET /bytes"
        one.writer.write(b"GET /first HTTP/1.1\r\nHost: x\r\n\r\nGET /sec")
        assert (await one.answer())[1] == "GET /first"
        one.writer.write(b"ond HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await one.answer())[1] == "GET /second"


async def test_many_heads_on_one_connection_are_not_taken_for_a_long_one() -> None:
    async with phone(Handler(), http_head_limit=1024, http_head_timeout=0.5) as (one, _):
        for number in range(100):
            one.ask(f"/{number}")
            assert (await one.answer())[1] == f"GET /{number}"
        await asyncio.sleep(1.2)  # beyond the head's time-out: between requests it does not count
        one.ask("/again")
        assert (await one.answer())[1] == "GET /again"


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_bodies_go_the_ordinary_way_and_the_connection_goes_on(method: str) -> None:
    handler = Handler()
    async with phone(handler) as (one, _):
        one.ask("/before")
        assert (await one.answer())[1] == "GET /before"
        one.ask("/body", method, "Content-Length: 3\r\n")
        one.writer.write(b"abc")
        assert (await one.answer(body=False))[0].startswith("HTTP/1.1 200 ")
    assert handler.tasks["/body"]


async def test_a_get_with_a_body_goes_the_ordinary_way() -> None:
    handler = Handler()
    async with phone(handler) as (one, _):
        one.ask("/body", extra="Content-Length: 3\r\n")
        one.writer.write(b"abc")
        assert (await one.answer())[1] == "GET /body"
    assert handler.tasks["/body"]


@pytest.mark.parametrize("first", ["", "/before"])
async def test_a_fault_of_ours_closes_this_connection_with_a_status(first: str) -> None:
    async with phone(Handler()) as (one, seen):
        if first:
            one.ask(first)
            await one.answer()
        one.ask("/fails")
        assert (await one.answer())[0].startswith("HTTP/1.1 500 ")
        assert await one.closed()
        assert seen.counts["http_refused ValueError"] == 1


async def test_who_has_left_gets_nothing() -> None:
    async with phone(Handler()) as (one, _):
        one.ask("/loses")
        assert await one.closed()


async def test_what_is_no_http_is_refused_on_a_used_connection_too() -> None:
    async with phone(Handler()) as (one, _):
        one.ask("/a")
        await one.answer()
        one.writer.write(b"\x00garbage\r\n\r\n")
        assert (await one.answer())[0].startswith("HTTP/1.1 400 ")
        assert await one.closed()


async def test_an_idle_connection_is_closed_in_time_and_when_the_worker_leaves() -> None:
    async with phone(Handler(), http_idle_timeout=0.5) as (one, seen):
        one.ask("/a")
        await one.answer()
        assert await one.closed()
        assert seen.counts["connections idle_timeout"] == 1
    async with phone(Handler()) as (one, seen):
        one.ask("/a")
        await one.answer()
        await seen.listener.drain(2)
        assert await one.closed()


async def test_draining_waits_for_an_answer_that_is_being_made() -> None:
    handler = Handler()
    async with phone(handler) as (one, seen):
        one.ask("/slow")
        await _until(lambda: "/slow" in handler.tasks)
        draining = asyncio.create_task(seen.listener.drain(5))
        await asyncio.sleep(0.1)
        handler.go.set()
        assert (await one.answer())[1] == "GET /slow"
        assert await one.closed()
        await draining


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # most of what is waited for has no event
            await asyncio.sleep(0.005)
