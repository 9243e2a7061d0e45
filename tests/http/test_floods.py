"""Much at once on few connections: whoever is inside keeps nobody outside waiting."""

from __future__ import annotations

import asyncio
import socket
import time
from select import EPOLLHUP

import pytest
from aiohttp import web

from provisioner.http.shared import State
from provisioner.http.wire import Wire, as_response
from tests.http.conftest import REQUEST, Pki, client_context, edge, get
from tests.http.test_listener import _connect


@pytest.mark.asyncio
async def test_a_few_pipelined_requests_are_answered_in_order_and_hundreds_are_not(pki: Pki) -> None:
    async with edge(pki.context()) as server:

        def talk(number: int) -> bytes:
            with _connect(pki, server, True) as sock:
                sock.sendall(b"".join(REQUEST % b"%d" % n for n in range(number)))
                answer = b""
                while b"/%d 0" % (number - 1) not in answer:
                    data = sock.recv(65536)
                    if not data:
                        break
                    answer += data
                return answer

        answer = await asyncio.to_thread(talk, 16)
        positions = [answer.index(b"GET /%d 0" % n) for n in range(16)]
        assert positions == sorted(positions)
        assert b"/299 0" not in await asyncio.to_thread(talk, 300)
        await server.counted("http_refused pipelined")


@pytest.mark.asyncio
async def test_a_peer_that_sends_hundreds_of_records_at_once_holds_nobody_up(pki: Pki) -> None:
    lags: list[float] = []

    async def beat() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            lags.append(time.monotonic() - before)

    async def costly(request: web.BaseRequest) -> web.StreamResponse:
        time.sleep(0.002)  # noqa: ASYNC251  # as a rendering is: work that holds the loop
        return as_response(Wire(200, b"done"))

    def flood() -> None:
        with _connect(pki, server, True) as sock:
            for n in range(400):
                sock.sendall(REQUEST % b"%d" % n)  # a record each
            while sock.recv(65536).count(b"done") and sock.pending():
                pass

    async with edge(pki.context(), costly, eager=True) as server:
        beating = asyncio.create_task(beat())
        await asyncio.gather(*(asyncio.to_thread(flood) for _ in range(4)))
        answer, *_ = await get(client_context(pki, pki.good), server.port)
        assert b"done" in answer
        beating.cancel()
        assert max(lags) < 0.5


@pytest.mark.asyncio
async def test_hundreds_of_peers_that_send_many_records_at_once_hold_nobody_up(pki: Pki) -> None:
    """All that are behind share one turn: its length does not grow with their number."""
    number, records, cost = 40, 10, 0.002
    served = 0

    async def costly(_request: web.BaseRequest) -> web.StreamResponse:
        nonlocal served
        served += 1
        until = time.thread_time() + cost
        while time.thread_time() < until:
            pass
        return as_response(Wire(200, b"done"))

    async with edge(pki.context(), costly, eager=True) as server:
        server.listener.know({"127.0.0.1": 50})
        context = client_context(pki, pki.good)
        inside = [await asyncio.to_thread(_connect, pki, server, True) for _ in range(number)]
        for sock in inside:  # the loop stands meanwhile
            for n in range(records):
                sock.sendall(REQUEST % b"%d" % n)
        outside = asyncio.create_task(get(context, server.port))
        turns: list[float] = []
        while not outside.done():
            before = time.thread_time()
            await asyncio.sleep(0)
            turns.append(time.thread_time() - before)
        assert b"done" in (await outside)[0]
        assert served < number * records, "who came last did not wait until all that were inside had been served"
        assert max(turns) < number * cost * 0.7, "no turn serves all of them"
        await server.until(lambda: served >= number * records, 30)
        for sock in inside:
            sock.close()


@pytest.mark.asyncio
async def test_what_is_left_for_the_next_turn_is_not_done_to_another_with_the_same_descriptor(pki: Pki) -> None:
    """Told of while others take long, gone before its turn, and its descriptor is already somebody else's."""
    async with edge(pki.context()) as server:
        listener = server.listener
        gone = await asyncio.to_thread(_connect, pki, server, True)
        await server.until(lambda: len(listener.connections) == 1)
        [left] = listener.connections
        descriptor = left._fd
        listener._ready.append((left, EPOLLHUP))
        raw = socket.socket()  # before, or it would be this one that gets the descriptor
        left.abort()
        raw.connect(("127.0.0.1", server.port))
        context = client_context(pki, pki.good)
        other = await asyncio.to_thread(context.wrap_socket, raw, server_hostname="localhost")
        await server.until(lambda: any(one.state is State.OPEN for one in listener.connections))
        assert [one._fd for one in listener.connections] == [descriptor]
        listener._go_on_serving()
        other.sendall(REQUEST % b"a")
        assert b"ok GET /a" in await asyncio.to_thread(other.recv, 65536)
        gone.close()
        other.close()
