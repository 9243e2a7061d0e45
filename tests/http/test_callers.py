"""Before any cryptography, over real sockets: who has left, who came too late, who is not wanted, whose turn it is."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from provisioner.gate import Storm
from provisioner.http import scanners
from provisioner.http.hello import read_hello
from provisioner.http.scanners import Scanner, shape_of
from provisioner.model import ListenerKind
from tests.http.conftest import REQUEST, Edge, Pki, client_context, client_hello, edge, exchange, get


class Crowd:
    """Raw callers, all closed at the end."""

    def __init__(self) -> None:
        self.all: list[socket.socket] = []

    def come(self, server: Edge, first: bytes, address: str = "127.0.0.1", number: int = 1) -> None:
        """Connect and say something; nobody more once the kernel's queue is full, since the loop stands meanwhile."""
        for _ in range(number):
            try:
                raw = socket.create_connection(("127.0.0.1", server.port), timeout=0.3, source_address=(address, 0))
            except TimeoutError:
                return
            self.all.append(raw)
            raw.settimeout(10)
            raw.sendall(first)

    def leave(self) -> None:
        for raw in self.all:
            raw.close()


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    found = Crowd()
    yield found
    found.leave()


def _answered(callers: Sequence[socket.socket]) -> Counter[str]:
    """Who has been sent a ServerHello, by source address, and whose connection was closed."""
    found: Counter[str] = Counter()
    for raw in callers:
        raw.setblocking(False)
        try:
            data = raw.recv(65536)
        except BlockingIOError:
            continue
        found[raw.getsockname()[0] if data else "closed"] += 1
    return found


def _stand_still(seconds: float) -> None:
    """Hold the server's loop up, as a worker is that has more to do than it can."""
    time.sleep(seconds)


async def _first_is_begun(server: Edge) -> None:
    async with asyncio.timeout(8):
        while not server.counts["gate_begun unknown"]:  # noqa: ASYNC110  # a turn of the loop is what is waited for
            await asyncio.sleep(0)  # one turn: the next would begin another


async def _settled(server: Edge) -> None:
    await server.until(lambda: server.listener.state.waiting == 0)


@pytest.mark.asyncio
async def test_who_has_left_gets_no_handshake(pki: Pki, crowd: Crowd) -> None:
    async with edge(pki.context()) as server:
        crowd.come(server, client_hello(pki), number=5)
        crowd.leave()  # the loop has stood meanwhile, as it does in the midst of other handshakes
        await server.counted("gate_dropped gone", 5)
        await server.empty()
        assert not [name for name in server.counts if name.startswith(("tls_done", "gate_begun", "tls_refused"))]


@pytest.mark.asyncio
async def test_who_leaves_while_waiting_gets_no_handshake(pki: Pki, crowd: Crowd) -> None:
    async with edge(pki.context(), gate_slots=1) as server:
        crowd.come(server, client_hello(pki), number=12)
        await _first_is_begun(server)
        left = server.listener.state.waiting
        assert left > 4, "some still wait"
        crowd.leave()
        _stand_still(0.05)
        await server.counted("gate_dropped gone", left - 1)
        await server.empty()


@pytest.mark.asyncio
async def test_who_has_waited_over_the_deadline_is_let_go_with_the_kernels_time_counted(pki: Pki, crowd: Crowd) -> None:
    async with edge(pki.context(), gate_deadline=0.3) as server:
        crowd.come(server, client_hello(pki))
        _stand_still(0.5)  # it lies in the kernel's queue: nobody has accepted it yet
        await server.counted("gate_dropped late")
        assert await asyncio.to_thread(crowd.all[0].recv, 100) == b"", "a FIN, no alert, no reset"
        answer, *_ = await get(client_context(pki, pki.good), server.port)
        assert b"ok GET" in answer


@pytest.mark.asyncio
async def test_a_scanner_of_the_list_is_let_go_before_tls(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    scanner = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    scanner.set_ciphers("ECDHE-RSA-AES128-SHA256")
    scanner.check_hostname = False
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        scanner.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    hello = outgoing.read()
    version, suites = shape_of(hello)
    fingerprint = read_hello(hello, fingerprint=True).fingerprint
    listed = Scanner(fingerprint, int.from_bytes(version), int.from_bytes(suites) // 2, "a test: of its own")
    monkeypatch.setattr(scanners, "KNOWN", (*scanners.KNOWN, listed))
    async with edge(pki.context()) as server:
        assert await asyncio.to_thread(exchange, server.port, [hello]) == b""
        await server.counted("gate_dropped scanner")
        answer, *_ = await get(client_context(pki, pki.good), server.port)
        assert b"ok GET" in answer


@pytest.mark.asyncio
async def test_other_names_and_known_scanners_are_let_go_before_tls(pki: Pki, crowd: Crowd) -> None:
    scanner = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    scanner.set_ciphers("ECDHE-RSA-AES128-SHA256")
    scanner.check_hostname = False
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        scanner.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    hello = outgoing.read()
    fingerprint = read_hello(hello, fingerprint=True).fingerprint
    async with edge(pki.context(), gate_names=("localhost",), gate_scanners=(fingerprint,)) as server:
        assert await asyncio.to_thread(exchange, server.port, [hello]) == b""
        await server.counted("gate_dropped scanner")
        stranger = client_context(pki, pki.good)
        stranger.check_hostname = False
        outgoing = ssl.MemoryBIO()
        with pytest.raises(ssl.SSLWantReadError):
            stranger.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="198-51-100-1.example").do_handshake()
        assert await asyncio.to_thread(exchange, server.port, [outgoing.read()]) == b""
        await server.counted("gate_dropped name")
        answer, *_ = await get(client_context(pki, pki.good), server.port)
        assert b"ok GET" in answer


@pytest.mark.asyncio
async def test_handshakes_go_to_sites_by_their_known_phones(pki: Pki, crowd: Crowd) -> None:
    async with edge(pki.context(), gate_slots=1) as server:
        server.listener.know({"127.0.0.2": 3, "127.0.0.3": 1})
        hello = client_hello(pki)
        # The greedy small site comes first, and with as many callers.
        crowd.come(server, hello, "127.0.0.3", 40)
        crowd.come(server, hello, "127.0.0.2", 40)
        async with asyncio.timeout(8):
            while server.counts["gate_begun known"] < 40:  # noqa: ASYNC110  # a turn of the loop is what is waited for
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        begun = server.counts["gate_begun known"]
        answered = _answered(crowd.all)
        assert sum(answered.values()) >= 40
        # Those begun before the last had been taken in are not shared by weight: sixteen are taken in a turn.
        assert answered["127.0.0.2"] > 1.5 * answered["127.0.0.3"], (answered, begun)
        await _settled(server)
        crowd.leave()
        await server.empty()


@pytest.mark.asyncio
async def test_a_full_queue_lets_the_site_go_that_holds_most_of_it(pki: Pki, crowd: Crowd) -> None:
    async with edge(pki.context(), gate_slots=1, gate_queue=20) as server:
        server.listener.know({"127.0.0.2": 10, "127.0.0.3": 1})
        hello = client_hello(pki)
        crowd.come(server, hello, "127.0.0.2", 10)
        crowd.come(server, hello, "127.0.0.3", 60)
        await server.until(lambda: server.counts["gate_dropped full"] > 10)
        await _settled(server)
        closed = Counter(raw.getsockname()[0] for raw in crowd.all if _answered([raw])["closed"])
        assert closed["127.0.0.3"] >= 10
        assert not closed["127.0.0.2"]
        crowd.leave()
        await server.empty()


@pytest.mark.asyncio
async def test_when_all_places_are_silent_the_longest_silent_gives_way(pki: Pki, crowd: Crowd) -> None:
    async with edge(pki.context(), http_connections=20) as server:
        crowd.come(server, b"", number=20)
        await server.until(lambda: server.counts["connections opened"] == 20)
        answer, *_ = await get(client_context(pki, pki.good), server.port)
        assert b"ok GET" in answer
        assert server.counts["tls_refused hello_crowded_out"] >= 1
        crowd.leave()
        await server.empty()


@pytest.mark.asyncio
async def test_those_who_wait_when_the_worker_retires_are_still_begun(pki: Pki, crowd: Crowd) -> None:
    async with edge(pki.context(), gate_slots=1) as server:
        crowd.come(server, client_hello(pki), number=12)
        await _first_is_begun(server)
        assert server.listener.state.waiting > 4, "some still wait"
        await server.listener.drain(1)
        assert server.counts["gate_begun unknown"] == server.counts["connections opened"] == 12


@pytest.mark.asyncio
async def test_the_legacy_listener_keeps_within_its_share_of_a_core(pki: Pki, crowd: Crowd) -> None:
    begun = {}
    for share in (0.02, 1.0):
        async with edge(pki.context(ListenerKind.LEGACY), kind=ListenerKind.LEGACY, gate_legacy=share) as server:
            hello = client_hello(pki)
            began = time.monotonic()
            while time.monotonic() - began < 1.5:
                crowd.come(server, hello, number=5)
                await asyncio.sleep(0.01)
            begun[share] = server.counts["gate_begun unknown"] + server.counts["gate_begun slow"]
            crowd.leave()
    assert 5 < begun[0.02] < begun[1.0] / 3, begun


@pytest.mark.asyncio
async def test_a_full_house_does_not_spin_and_whoever_only_stays_gives_way(pki: Pki, crowd: Crowd) -> None:
    async with edge(pki.context(), http_connections=10, http_idle_timeout=30.0) as server:
        context = client_context(pki, pki.good)
        stays = [await asyncio.to_thread(_staying, context, server.port) for _ in range(10)]
        waiting = asyncio.create_task(get(context, server.port))
        await server.counted("connections over_cap")
        cpu = time.process_time()
        answer, *_ = await waiting
        assert b"ok GET" in answer
        assert time.process_time() - cpu < 1.0
        assert server.counts["connections over_cap"] < 20
        assert server.counts["connections crowded_out"] >= 1
        for one in stays:
            one.close()


@pytest.mark.asyncio
async def test_waiting_in_the_kernels_queue_is_waiting(pki: Pki, crowd: Crowd) -> None:
    """Callers who are begun as soon as they are taken in, but are taken in late: a storm, and a shorter queue."""
    storm = Storm(target=0.05, interval=0.1, calm=60)
    async with edge(pki.context(), gate_slots=16, gate_target=0.05, storm=storm) as server:
        assert server.listener.state.backlog == 512
        until = time.monotonic() + 5
        while not storm.on and time.monotonic() < until:
            crowd.come(server, client_hello(pki), number=2)
            _stand_still(0.1)
            await asyncio.sleep(0.01)
        assert storm.on
        assert server.listener.state.backlog <= 64


def _staying(context: ssl.SSLContext, port: int) -> ssl.SSLSocket:
    raw = socket.create_connection(("127.0.0.1", port), timeout=10)
    tls = context.wrap_socket(raw, server_hostname="localhost")
    tls.sendall(REQUEST % b"a.cfg")
    tls.recv(65536)
    return tls


@pytest.mark.asyncio
async def test_storm_mode_begins_when_callers_wait_and_ends_when_none_does(pki: Pki, crowd: Crowd) -> None:
    storm = Storm(target=0.05, interval=0.1, calm=0.6)
    async with edge(pki.context(), gate_slots=1, gate_target=0.05, storm=storm) as server:
        hello = client_hello(pki)
        while not storm.on and len(crowd.all) < 900:
            crowd.come(server, hello, number=20)
            await asyncio.sleep(0)
            _stand_still(0.06)
        assert storm.on
        crowd.leave()
        await server.until(lambda: not storm.on)
        await server.empty()
