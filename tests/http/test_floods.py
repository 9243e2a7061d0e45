"""Much at once on few connections: whoever is inside keeps nobody outside waiting."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiohttp import web

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
