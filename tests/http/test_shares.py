"""What the gate's parts may take: turning callers away, the legacy listener, the kernel's queue that workers share."""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from aiohttp import web

from provisioner.flight_notes import FlightNotes
from provisioner.gate import Share, Storm
from provisioner.http.budget import Rejections
from provisioner.http.listener import Listener, http_limits
from provisioner.http.server import QuietServer
from provisioner.http.wire import Wire, as_response
from provisioner.model import ListenerKind
from provisioner.settings import Settings
from tests.http.conftest import REQUEST, Edge, Pki, client_context, client_hello, edge, get

GREEDY, OTHER, NOISE = "127.0.0.3", "127.0.0.2", "127.0.0.9"


@pytest.fixture
def callers() -> Iterator[list[socket.socket]]:
    found: list[socket.socket] = []
    yield found
    for one in found:
        one.close()


def _noise(port: int, number: int, pause: float = 0.0) -> None:
    for _ in range(number):
        with socket.create_connection(("127.0.0.1", port), source_address=(NOISE, 0)) as raw:
            raw.sendall(b"garbage garbage garbage\r\n")
        time.sleep(pause)


def _watch(server: Edge) -> Counter[str]:
    """Whose handshakes are begun, in order of coming to be counted."""
    begun: Counter[str] = Counter()
    begin = server.listener._callers._begin

    def counting(sock: socket.socket, peername: tuple[str, int], notes: FlightNotes | None) -> None:
        begun[peername[0]] += 1
        begin(sock, peername, notes)

    server.listener._callers._begin = counting  # type: ignore[assignment]  # every peer here has an address
    return begun


# --- turning callers away -----------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_queue_is_fair_soon_after_a_flood_of_garbage(pki: Pki, callers: list[socket.socket]) -> None:
    async with edge(pki.context(), gate_slots=2) as server:
        server.listener.know({OTHER: 10, GREEDY: 10})
        await asyncio.to_thread(_noise, server.port, 1500)
        await asyncio.sleep(0.3)
        begun, hello = _watch(server), client_hello(pki)
        order = [GREEDY] * 420 + [OTHER] * 42
        random.Random(1).shuffle(order)
        for address in order:  # the loop stands meanwhile: all lie in the kernel's queue
            raw = socket.create_connection(("127.0.0.1", server.port), timeout=3, source_address=(address, 0))
            callers.append(raw)
            raw.sendall(hello)
        while sum(begun.values()) < 84:  # noqa: ASYNC110  # turns of the loop are what is waited for
            await asyncio.sleep(0)
        assert begun[OTHER] >= 33, begun


@pytest.mark.asyncio
async def test_slow_noise_owes_nothing(pki: Pki) -> None:
    async with edge(pki.context()) as server:
        await asyncio.to_thread(_noise, server.port, 60, 0.01)
        assert server.listener._callers.turned_away >= 59
        assert server.listener._rejections_left() > 0


def test_a_flood_while_somebody_waits_is_owed_for_no_more_than_a_moment() -> None:
    budget, spent = Rejections(0.03), 0
    for _ in range(200):
        spent += 100
        left = budget.left(spent, contended=True)
    assert -0.02 < left < 0
    until = time.thread_time() + 0.6
    while budget.left(spent, contended=True) <= 0:
        assert time.thread_time() < until, "paid back out of the CPU time"


def test_what_is_owed_has_an_end() -> None:
    share = Share(0.25, 0.05, 0.5)
    share.left(0.0)
    share.spend(100.0)
    assert share.debt() == pytest.approx(2.0)
    assert share.left(2.1) > 0


# --- the legacy listener ------------------------------------------------------------------------------


async def _costly(_request: web.BaseRequest) -> web.StreamResponse:
    until = time.thread_time() + 0.002
    while time.thread_time() < until:
        pass
    return as_response(Wire(200, b"done"))


@pytest.mark.parametrize("pipelined", [1, 12])
@pytest.mark.asyncio
async def test_whoever_is_inside_the_legacy_listener_gets_no_more_than_its_share(pki: Pki, pipelined: int) -> None:
    stop = threading.Event()

    def inside(port: int) -> None:
        context = client_context(pki, pki.good)
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as tls,
        ):
            while not stop.is_set():
                for _ in range(pipelined):  # a record each
                    tls.sendall(REQUEST % b"a.cfg")
                got = b""
                while got.count(b"done") < pipelined and (data := tls.recv(65536)):
                    got += data

    legacy = ListenerKind.LEGACY
    async with edge(pki.context(legacy), _costly, legacy, eager=True, gate_legacy=0.05) as server:
        wall, cpu = time.monotonic(), time.thread_time()
        flood = asyncio.create_task(asyncio.to_thread(inside, server.port))
        await asyncio.sleep(1.0)
        try:
            began = time.monotonic()
            answer, *_ = await get(client_context(pki, pki.good), server.port)
            waited = time.monotonic() - began
            await asyncio.sleep(max(wall + 2.5 - time.monotonic(), 0))
            used = (time.thread_time() - cpu) / (time.monotonic() - wall)
        finally:
            stop.set()
        await flood
    assert b"done" in answer
    assert used < 0.15, "a twentieth, and what the loop itself costs"
    assert waited < 2.0


# --- the kernel's queue -------------------------------------------------------------------------------


def _kernel_queue(port: int) -> int:
    told = subprocess.run(["ss", "-ltnH", f"sport = :{port}"], capture_output=True, text=True, check=True).stdout
    return int(told.split()[2])


@pytest.mark.asyncio
async def test_a_worker_that_comes_in_a_storm_does_not_open_the_kernels_queue_for_long(pki: Pki) -> None:
    async with edge(pki.context()) as server:
        one = server.listener
        one._callers.gate.capacity = 60.0
        one._callers.kernel_delay = 2.0
        one._note(time.monotonic())
        short = _kernel_queue(server.port)
        assert short == one.state.backlog < 512
        settings = Settings()
        protocol = QuietServer(None, lambda *_: None, **http_limits(settings))
        other = Listener(ListenerKind.DEVICE, one._sock.dup(), pki.context(), protocol, settings, lambda *_: None)
        other.start()
        assert _kernel_queue(server.port) == 512
        one._note(time.monotonic())
        assert _kernel_queue(server.port) == short
        other.close()
        other._sock.close()


@pytest.mark.asyncio
async def test_strangers_shorten_the_kernels_queue_and_are_told_of_without_a_storm(pki: Pki) -> None:
    storm = Storm(target=0.5, interval=0.1, calm=60)
    async with edge(pki.context(), storm=storm) as server:
        listener = server.listener
        listener.know({OTHER: 1})
        for at in (100.0, 101.0):
            listener._callers.kernel_delay = 2.0  # of somebody unknown
            assert listener.state.delay == 2.0
            listener._note(at)
        assert listener.state.backlog <= 64
        assert not storm.on
        for at in (102.0, 103.0):
            listener._callers.kernel_delay = listener._callers.kernel_delay_known = 2.0
            listener._note(at)
        assert storm.on
