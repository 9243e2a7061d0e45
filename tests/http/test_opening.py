"""Everything that is not a good ClientHello: told apart, counted once, closed cleanly, in time, without a traceback."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from effort import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from provisioner.http.machine import Buffers, Hello, Machine, classify
from provisioner.http.tls import MAX_HANDSHAKE
from tests.http.conftest import REQUEST, Pki, client_context, client_hello, edge, exchange, get, reset

_BUFFERS = Buffers()
_contexts: dict[int, Any] = {}
_hellos: dict[int, bytes] = {}


def _context_of(pki: Pki) -> SSL.Context:
    return _contexts.setdefault(id(pki), pki.context())


def _hello_of(pki: Pki) -> bytes:
    return _hellos.setdefault(id(pki), client_hello(pki))


OPENINGS = {
    "plain_http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "sslv2": bytes.fromhex("802e01000200150000001007") + b"\0" * 36,
    "not_tls": b"\x00\x01\x02\x03garbage",
}


@pytest.mark.parametrize("label", OPENINGS)
@pytest.mark.asyncio
async def test_what_is_no_client_hello_is_counted_and_closed_cleanly(pki: Pki, label: str) -> None:
    async with edge(pki.context()) as server:
        answer = await asyncio.to_thread(exchange, server.port, [OPENINGS[label]])
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert bool(answer) is (label == "plain_http")
        await server.counted(f"tls_refused {label}")
        await server.empty()
        assert sum(n for name, n in server.counts.items() if name.startswith("tls_refused")) == 1


@pytest.mark.asyncio
async def test_a_silent_peer_and_a_dribbled_hello_are_closed_in_time(pki: Pki) -> None:
    hello = client_hello(pki)
    async with edge(pki.context(), tls_hello_timeout=0.5) as server:
        for first in (b"", hello[:1], hello[:-1]):
            assert await asyncio.to_thread(exchange, server.port, [first]) == b""
        await server.counted("tls_refused hello_timeout", 3)
        await server.empty()


@pytest.mark.asyncio
async def test_a_hello_byte_by_byte_still_shakes_hands(pki: Pki) -> None:
    async with edge(pki.context()) as server:
        client = ssl.MemoryBIO(), ssl.MemoryBIO()
        answer = await asyncio.to_thread(_handshake_in_pieces, client_context(pki, pki.good), client, server.port, 1)
        assert b"ok GET /slow 0" in answer
        assert server.counts["tls_done TLSv1.3_full"] == 1


@pytest.mark.asyncio
async def test_a_handshake_that_stops_is_closed_in_time(pki: Pki) -> None:
    async with edge(pki.context(), tls_handshake_timeout=0.5) as server:
        answer = await asyncio.to_thread(exchange, server.port, [client_hello(pki)])
        assert answer[0] == 0x16  # our ServerHello, then the end
        await server.counted("tls_refused handshake_timeout")
        await server.empty()


@pytest.mark.asyncio
async def test_a_peer_that_leaves_or_resets_within_the_handshake_is_counted(pki: Pki) -> None:
    async with edge(pki.context()) as server:
        with socket.create_connection(("127.0.0.1", server.port)):
            await asyncio.sleep(0.05)
        await server.counted("tls_refused left")
        raw = socket.create_connection(("127.0.0.1", server.port))
        raw.sendall(client_hello(pki))
        await server.until(lambda: server.counts["connections opened"] == 2)
        await asyncio.sleep(0.1)
        reset(raw)
        await server.counted("tls_refused reset")
        await server.empty()


@pytest.mark.asyncio
async def test_an_alert_of_the_client_is_counted_by_its_name(pki: Pki) -> None:
    async with edge(pki.context()) as server:
        distrustful = ssl.create_default_context()
        with pytest.raises(ssl.SSLCertVerificationError):
            await get(distrustful, server.port)
        await server.counted("tls_refused alert_unknown_ca")


def _absurd(pki: Pki, tmp_path: Path) -> Path:
    huge = tmp_path / "huge.pem"
    huge.write_bytes(pki.leaf.pem(*[pki.issuing] * (MAX_HANDSHAKE // len(pki.issuing.der) + 3)))
    return huge


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.asyncio
async def test_an_absurd_certificate_chain_is_refused(pki: Pki, tmp_path: Path, version: str) -> None:
    async with edge(pki.context()) as server:
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            answer, *_ = await get(client_context(pki, _absurd(pki, tmp_path), version), server.port)
            assert answer == b"", "closed before the client noticed"
        await server.counted("tls_refused too_large")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.asyncio
async def test_an_absurd_chain_is_refused_although_it_all_comes_at_once(pki: Pki, tmp_path: Path, version: str) -> None:
    async with edge(pki.context()) as server:
        client = client_context(pki, _absurd(pki, tmp_path), version)
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            answer = await _second_flight_at_once(client, server.port, REQUEST % b"a.cfg")
            assert answer == b"", "closed before the client noticed"
        await server.counted("tls_refused too_large")


@pytest.mark.asyncio
async def test_a_long_first_request_beside_the_end_of_the_handshake_is_not_taken_for_it(pki: Pki) -> None:
    async with edge(pki.context()) as server:
        head = b"PUT /a.log HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % MAX_HANDSHAKE
        client = client_context(pki, pki.good, "1.3")
        answer = await _second_flight_at_once(client, server.port, head + b"x" * MAX_HANDSHAKE)
        assert b"ok PUT /a.log %d" % MAX_HANDSHAKE in answer


async def _second_flight_at_once(context: ssl.SSLContext, port: int, request: bytes) -> bytes:
    """All from the certificate on in one piece: sent while the server's loop stands, so that one read takes it all.

    With TLS 1.3 the request goes along: its client may speak with its Finished (RFC 8446 section 4.4.4).
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        sent = False
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(outgoing.read())
                incoming.write(await asyncio.to_thread(raw.recv, 65536))
        while True:
            try:
                if not sent:
                    client.write(request)
                    raw.sendall(outgoing.read())
                    sent = True
                return client.read(65536)
            except ssl.SSLWantReadError:
                data = await asyncio.to_thread(raw.recv, 65536)
                if not data:
                    return b""
                incoming.write(data)


@pytest.mark.asyncio
async def test_a_thousand_half_open_connections_do_not_hinder_a_phone(pki: Pki) -> None:
    hello = client_hello(pki)
    async with edge(pki.context(), tls_hello_timeout=2.0, server_backlog=1024) as server:
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(1000)]
        for number, one in enumerate(idle):
            one.sendall(hello[: number % 50])
        await server.until(lambda: server.counts["connections opened"] == 1000, 20)
        answer, *_ = await get(client_context(pki, pki.good), server.port)
        assert answer.startswith(b"HTTP/1.1 200")
        await server.counted("tls_refused hello_timeout", 1000)
        for one in idle:
            one.close()
        await server.empty()


# --- the machine and the classifier, without a socket ---------------------------------------------


@given(st.binary(max_size=40))
@settings(max_examples=examples(400))
def test_classify_takes_anything_and_never_asks_for_more_than_a_record(first: bytes) -> None:
    kind = classify(first)
    if kind is Hello.CLIENT_HELLO:
        assert first[0] == 0x16
        assert len(first) >= 9
    if kind is Hello.MORE and len(first) >= 6:
        assert len(first) < 5 + 16384


@given(st.binary(max_size=200), st.integers(0, 300), st.sampled_from(["insert", "overwrite", "cut"]))
@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_mutated_client_hello_never_raises(pki: Pki, noise: bytes, at: int, how: str) -> None:
    hello = _hello_of(pki)
    mutated = {
        "insert": hello[:at] + noise + hello[at:],
        "overwrite": hello[:at] + noise + hello[at + len(noise) :],
        "cut": hello[:at] + hello[at + len(noise) :],
    }[how]
    machine = Machine(_context_of(pki), _BUFFERS)
    if mutated:
        machine.feed(mutated)
    if machine.handshake():
        raise AssertionError("a ClientHello alone completes nothing")
    assert re.fullmatch(r"[a-z0-9_]*", machine.fault)
    machine.outgoing()
    machine.say_goodbye()


@given(st.lists(st.integers(1, 700), min_size=1, max_size=30))
@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_fragmentation_of_a_handshake_works(pki: Pki, sizes: list[int]) -> None:
    machine = Machine(_context_of(pki), _BUFFERS)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context(pki, pki.good).wrap_bio(incoming, outgoing, server_hostname="localhost")
    done, turn = False, 0
    for _ in range(6):
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        sent = outgoing.read()
        while sent:
            size = sizes[turn % len(sizes)]
            turn += 1
            machine.feed(sent[:size])
            sent = sent[size:]
            done = done or machine.handshake()
        incoming.write(bytes(machine.outgoing()))
    assert done
    assert not machine.fault
    client.write(b"hello")
    machine.feed(outgoing.read())
    assert machine.read() == b"hello"
    assert machine.write(b"x" * 20000) == 16384
    machine.say_goodbye()
    assert not machine.fault


def _handshake_in_pieces(
    context: ssl.SSLContext, bios: tuple[ssl.MemoryBIO, ssl.MemoryBIO], port: int, size: int
) -> bytes:
    incoming, outgoing = bios
    client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def send() -> None:
            data = outgoing.read()
            for start in range(0, len(data), size):
                raw.sendall(data[start : start + size])

        def until_done(step: Any) -> Any:
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    send()
                    incoming.write(raw.recv(65536))

        until_done(client.do_handshake)
        client.write(REQUEST % b"slow")
        send()
        return bytes(until_done(lambda: client.read(65536)))
