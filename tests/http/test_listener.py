"""The transports and the accept loop, TLS and plain: backpressure, half-close, resets, time-outs, caps, draining."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from provisioner.http.shared import State
from provisioner.model import ListenerKind
from tests.http.conftest import REQUEST, Edge, Pki, client_context, edge, exchange, get, reset

MIB = 1024 * 1024
PIECE = b"0123456789abcdef" * 4096
SECURE = pytest.mark.parametrize("secure", [True, False], ids=["tls", "plain"])


def _context(pki: Pki, secure: bool) -> Any:
    return pki.context() if secure else None


def _connect(pki: Pki, server: Edge, secure: bool) -> socket.socket:
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    return client_context(pki, pki.good).wrap_socket(raw, server_hostname="localhost") if secure else raw


def _read_all(sock: socket.socket) -> bytes:
    answer = bytearray()
    while data := sock.recv(65536):
        answer += data
    return bytes(answer)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@SECURE
@pytest.mark.asyncio
async def test_a_large_answer_to_a_slow_reader_is_not_held_in_memory(pki: Pki, secure: bool) -> None:
    most = 0
    pieces = 50 * MIB // len(PIECE)

    async def stream(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal most
        response = web.StreamResponse(headers={"Content-Length": str(50 * MIB)})
        await response.prepare(request)
        assert request.transport is not None
        for _ in range(pieces):
            await response.write(PIECE)
            most = max(most, request.transport.get_write_buffer_size())
        return response

    def read_slowly(sock: socket.socket) -> int:
        with sock:
            sock.sendall(REQUEST % b"big")
            total, expected = 0, b""
            while not expected.endswith(b"\r\n\r\n"):
                expected += sock.recv(1)
            while total < 50 * MIB:
                piece = sock.recv(262144)
                assert piece == (PIECE * 6)[total % 16 : total % 16 + len(piece)]
                total += len(piece)
            return total

    async with edge(_context(pki, secure), stream, http_write_buffer=65536) as server:
        sock = await asyncio.to_thread(_connect, pki, server, secure)
        before = _resident()
        reading = asyncio.create_task(asyncio.to_thread(read_slowly, sock))
        await asyncio.sleep(0.5)
        assert await reading == 50 * MIB
        assert most <= 65536 + 2 * len(PIECE)
        assert _resident() - before < 40 * MIB, "50 MiB were sent; the reader in this process has its own noise"


@pytest.mark.asyncio
async def test_one_large_write_becomes_little_ciphertext(pki: Pki) -> None:
    body = PIECE * 128
    waiting: list[int] = []

    async def whole(request: web.BaseRequest) -> web.StreamResponse:
        transport: Any = request.transport
        asyncio.get_running_loop().call_later(0.1, lambda: waiting.append(len(transport._chunk)))
        return web.Response(body=body)

    def late(sock: socket.socket) -> bytes:
        with sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            time.sleep(0.4)
            return _read_all(sock)

    async with edge(pki.context(), whole) as server:
        sock = await asyncio.to_thread(_connect, pki, server, True)
        answer = await asyncio.to_thread(late, sock)
        assert answer.endswith(body)
        assert waiting
        assert waiting[0] < 128 * 1024


@SECURE
@pytest.mark.asyncio
async def test_an_upload_waits_for_a_handler_that_does_not_read(pki: Pki, secure: bool) -> None:
    gate = asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        await gate.wait()
        size = 0
        async for piece in request.content.iter_chunked(65536):
            size += len(piece)
        return web.Response(text=str(size))

    sent = 0

    def upload(sock: socket.socket) -> bytes:
        nonlocal sent
        with sock:
            sock.sendall(b"PUT /l HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (32 * MIB))
            for _ in range(32 * MIB // len(PIECE)):
                sock.sendall(PIECE)
                sent += len(PIECE)
            return _read_all(sock)

    async with edge(_context(pki, secure), slow) as server:
        sock = await asyncio.to_thread(_connect, pki, server, secure)
        working = asyncio.create_task(asyncio.to_thread(upload, sock))
        await asyncio.sleep(0.7)
        stuck = sent
        await asyncio.sleep(0.3)
        assert stuck == sent < 16 * MIB  # kernel buffers, not ours
        [connection] = server.listener.connections
        assert not connection.is_reading()
        gate.set()
        assert (await working).endswith(str(32 * MIB).encode())


@SECURE
@pytest.mark.asyncio
async def test_a_peer_that_closes_its_half_still_gets_its_answer(pki: Pki, secure: bool) -> None:
    async def thinking(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(0.4)
        return web.Response(text=f"late {request.path}")

    async with edge(_context(pki, secure), thinking) as server:
        if secure:
            answer = await asyncio.to_thread(_half_close_tls, pki, server)
            assert server.counts["connections truncated"] == 0
        else:
            with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
                raw.sendall(REQUEST % b"a" + REQUEST % b"b")
                raw.shutdown(socket.SHUT_WR)
                answer = await asyncio.to_thread(_read_all, raw)
        assert b"late /a" in answer
        assert b"late /b" in answer
        await server.empty()


def _half_close_tls(pki: Pki, server: Edge) -> bytes:
    """Two requests and our close_notify at once, then read on: stdlib's SSLSocket cannot, its SSLObject can."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context(pki, pki.good, "1.2").wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(outgoing.read())
                incoming.write(raw.recv(65536))
        client.write(REQUEST % b"a" + REQUEST % b"b")
        with pytest.raises((ssl.SSLWantReadError, ssl.SSLSyscallError)):
            client.unwrap()
        raw.sendall(outgoing.read())
        ciphertext = _read_all(raw)
        incoming.write(ciphertext)
        # After close_notify OpenSSL reads no more application data; that much of it came is what counts here.
        return b"late /a late /b" if len(ciphertext) > 2 * 150 else b""


@pytest.mark.asyncio
async def test_a_body_cut_off_ends_its_request(pki: Pki) -> None:
    gone = asyncio.Event()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        try:
            await request.read()
        finally:
            gone.set()
        return web.Response()

    async with edge(None, handler) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as raw:
            raw.sendall(b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
            await server.until(lambda: bool(server.listener.connections))
            raw.shutdown(socket.SHUT_WR)
            await asyncio.wait_for(gone.wait(), 5)
        await server.empty()


@SECURE
@pytest.mark.asyncio
async def test_a_reset_in_the_middle_of_a_body_is_only_counted(
    pki: Pki, secure: bool, caplog: pytest.LogCaptureFixture
) -> None:
    ended = asyncio.Event()

    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(1 << 40)})
        await response.prepare(request)
        try:
            while True:
                await response.write(PIECE)
        finally:
            ended.set()

    with caplog.at_level(logging.DEBUG):
        async with edge(_context(pki, secure), endless) as server:
            sock = await asyncio.to_thread(_connect, pki, server, secure)
            sock.sendall(REQUEST % b"x")
            assert await asyncio.to_thread(sock.recv, 1000)
            reset(sock)
            await asyncio.wait_for(ended.wait(), 5)
            await server.counted("connections reset")
            await server.empty()
    assert "Traceback" not in caplog.text


@SECURE
@pytest.mark.asyncio
async def test_idle_and_slow_heads_are_closed_in_time(pki: Pki, secure: bool) -> None:
    async with edge(_context(pki, secure), http_idle_timeout=1.0, http_head_timeout=0.5) as server:

        def talk(first: bytes) -> bytes:
            with _connect(pki, server, secure) as sock:
                sock.sendall(first)
                return _read_all(sock)

        answer = await asyncio.to_thread(talk, REQUEST % b"a")
        assert answer.endswith(b"ok GET /a 0")  # then a clean end: over TLS an unclean one would raise
        await server.counted("connections idle_timeout")
        assert await asyncio.to_thread(talk, b"GET / HTTP/1.1\r\nHo") == b""
        await server.counted("connections head_timeout")
        # A head that begins in the packet of the one before has the idle time, which bounds it as well.
        assert b"ok GET /a 0" in await asyncio.to_thread(talk, REQUEST % b"a" + b"GET /b")
        await server.counted("connections idle_timeout", 2)
        await server.empty()


@pytest.mark.asyncio
async def test_a_dripped_head_does_not_win_time(pki: Pki) -> None:
    async with edge(None, http_idle_timeout=5.0, http_head_timeout=0.6) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\n")
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                async with asyncio.timeout(5):
                    while True:
                        await asyncio.sleep(0.1)
                        raw.sendall(b"A: b\r\n")
        await server.counted("connections head_timeout")


@SECURE
@pytest.mark.asyncio
async def test_an_endless_head_is_431(pki: Pki, secure: bool) -> None:
    async with edge(_context(pki, secure), http_head_limit=2048) as server:

        def talk() -> bytes:
            with _connect(pki, server, secure) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\n" + b"".join(b"A%d: %s\r\n" % (n, b"b" * 100) for n in range(40)))
                return _read_all(sock)

        assert (await asyncio.to_thread(talk)).startswith(b"HTTP/1.1 431 ")
        await server.counted("http_refused head_too_large")
        await server.empty()


@pytest.mark.asyncio
async def test_a_reader_that_stops_is_given_up(pki: Pki) -> None:
    async def large(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=PIECE * 256)

    async with edge(pki.context(), large, http_body_timeout=1.0) as server:
        sock = await asyncio.to_thread(_connect, pki, server, True)
        sock.sendall(REQUEST % b"x")
        await server.counted("connections stalled")
        await server.empty()
        sock.close()


@pytest.mark.asyncio
async def test_a_tcp_end_without_close_notify_is_noted(pki: Pki) -> None:
    async with edge(pki.context()) as server:
        sock = await asyncio.to_thread(_connect, pki, server, True)
        sock.sendall(REQUEST % b"x")
        assert await asyncio.to_thread(sock.recv, 1000)
        sock.close()  # the stdlib sends no close_notify here
        await server.counted("connections truncated")
        await server.empty()


@pytest.mark.asyncio
async def test_broken_records_end_the_connection(pki: Pki) -> None:
    async with edge(pki.context()) as server:
        sock = await asyncio.to_thread(_connect, pki, server, True)
        raw = socket.socket(fileno=sock.detach())
        raw.settimeout(10)
        raw.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        await asyncio.to_thread(_read_all, raw)
        raw.close()
        await server.counted("connections tls_broken")
        await server.empty()


@pytest.mark.asyncio
async def test_above_the_cap_the_kernel_keeps_them_waiting(pki: Pki) -> None:
    async with edge(pki.context(), http_connections=3) as server:
        first = [await asyncio.to_thread(_connect, pki, server, True) for _ in range(3)]
        waiting = asyncio.create_task(get(client_context(pki, pki.good), server.port))
        await server.counted("connections over_cap")
        await asyncio.sleep(0.2)
        assert len(server.listener) == 3
        assert not waiting.done()
        first.pop().close()
        answer, *_ = await waiting
        assert answer.endswith(b"ok GET /a.cfg 0")
        for one in first:
            one.close()


@SECURE
@pytest.mark.asyncio
async def test_draining_closes_the_idle_and_waits_for_the_busy(pki: Pki, secure: bool) -> None:
    started = asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/slow":
            started.set()
            await asyncio.sleep(0.6)
        return web.Response(text="done")

    async with edge(_context(pki, secure), slow) as server:
        idle = await asyncio.to_thread(_connect, pki, server, secure)
        idle.sendall(REQUEST % b"quick")
        assert (await asyncio.to_thread(idle.recv, 4096)).endswith(b"done")
        busy = await asyncio.to_thread(_connect, pki, server, secure)
        busy.sendall(REQUEST % b"slow")
        await started.wait()
        draining = asyncio.create_task(server.listener.drain(5))
        assert await asyncio.wait_for(asyncio.to_thread(_read_all, idle), 0.5) == b""
        assert not draining.done()
        assert (await asyncio.to_thread(_read_all, busy)).endswith(b"done")
        idle.close()
        busy.close()
        await asyncio.wait_for(draining, 2)
        assert not server.listener.connections


@pytest.mark.asyncio
async def test_draining_ends_in_time_whatever_the_handler_does(pki: Pki) -> None:
    async def forever(_request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    async with edge(pki.context(), forever) as server:
        sock = await asyncio.to_thread(_connect, pki, server, True)
        sock.sendall(REQUEST % b"x")
        await asyncio.sleep(0.1)
        await asyncio.wait_for(server.listener.drain(0.3), 2)
        assert len(server.listener) == 0
        sock.close()


@pytest.mark.asyncio
async def test_what_a_handler_learns_of_its_connection(pki: Pki) -> None:
    seen: dict[str, Any] = {}

    async def look(request: web.BaseRequest) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None
        for name in ("peername", "sockname", "peer_cert", "tls_facts", "socket"):
            seen[name] = transport.get_extra_info(name)
        seen["scheme"] = request.scheme
        return web.Response()

    async with edge(pki.context(), look) as server:
        await get(client_context(pki, pki.good), server.port)
        assert seen["peername"][0] == "127.0.0.1"
        assert seen["sockname"][1] == server.port
        assert seen["peer_cert"].leaf == pki.leaf.der
        assert seen["tls_facts"].version == "TLSv1.3"
        assert seen["scheme"] == "https"
    async with edge(None, look, ListenerKind.BOOTSTRAP) as server:
        await asyncio.to_thread(exchange, server.port, [b"GET / HTTP/1.0\r\n\r\n"])
        assert (seen["peer_cert"], seen["tls_facts"], seen["scheme"]) == (None, None, "http")


@pytest.mark.asyncio
async def test_an_idle_connection_costs_at_most_48_kib(pki: Pki) -> None:
    clients: list[socket.socket] = []
    async with edge(pki.context(), http_idle_timeout=300.0) as server:

        def connect(count: int) -> None:
            """The client end lives here too: only what the server's side adds may be weighed, so it is freed first."""
            for _ in range(count):
                sock = _connect(pki, server, True)
                assert isinstance(sock, ssl.SSLSocket)
                sock.sendall(REQUEST % b"x")
                sock.recv(4096)
                clients.append(socket.socket(fileno=sock.detach()))

        await asyncio.to_thread(connect, 50)
        before = _resident()
        await asyncio.to_thread(connect, 400)
        assert all(one.state is State.OPEN for one in server.listener.connections)
        assert len(server.listener) == 450
        assert (_resident() - before) / 400 < 48 * 1024
        for one in clients:
            one.close()
        await server.empty()
