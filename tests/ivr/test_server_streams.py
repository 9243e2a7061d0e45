"""Connections that drip, that pour, that shake hands by halves: phones beside them are served, and work is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator

import pytest
import trustme
from test_ivr_server import GOOD, MAC, House, closes, served, until
from test_server_strangers import OPTIONS, Held, ended, hurried

from ivr.server_net import Streams
from ivr.sip.effects import Flow

pytestmark = pytest.mark.asyncio

__all__ = ["hurried"]
OFFICE = "127.0.0.40"


@pytest.fixture(scope="module")
def contexts() -> Iterator[tuple[ssl.SSLContext, ssl.SSLContext]]:
    """The server's and the phones'."""
    authority = trustme.CA()
    server, phone = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(phone)
    yield server, phone


async def reached(house: House, address: str = OFFICE, kind: str = "tcp") -> Held:
    return await asyncio.open_connection("127.0.0.1", house.ports[kind], local_addr=(address, 0))


async def answers(reader: asyncio.StreamReader, many: int) -> list[bytes]:
    """So many whole answers without a body."""
    return [await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5) for _ in range(many)]


# --- one connection ---------------------------------------------------------------------------------------


async def test_a_message_may_come_byte_by_byte_and_many_at_once() -> None:
    async with served() as house:
        reader, writer = await reached(house)
        for at in range(len(OPTIONS)):
            writer.write(OPTIONS[at : at + 1])
            await asyncio.sleep(0)
        writer.write(b"\r\n".join([OPTIONS] * 5))
        assert [one.split(b"\r\n")[0] for one in await answers(reader, 6)] == [b"SIP/2.0 200 OK"] * 6
        writer.write(b"\r\n")
        writer.write(b"\r\n" + OPTIONS[:100])
        assert await asyncio.wait_for(reader.readexactly(2), 5) == b"\r\n", "a pong, though a message has begun"
        writer.write(OPTIONS[100:])
        await answers(reader, 1)
        writer.close()


@pytest.mark.parametrize(
    "said",
    [
        OPTIONS.replace(b"Content-Length: 0", b"Content-Length: -1"),
        OPTIONS.replace(b"Content-Length: 0", b"Content-Length: 65000"),
        OPTIONS.replace(b"Content-Length: 0", b"X-Without: length"),
        OPTIONS.replace(b"\r\n\r\n", b"\r\nX: " + b"y" * 9000),
        OPTIONS.replace(b"\r\n\r\n", b"\r\n" + b"X: y\r\n" * 500 + b"\r\n"),
        OPTIONS.replace(b"\r\n\r\n", b"\r\nX: a" + b"\r\n b" * 4000),
        b"OPTIONS " + b"x" * 3000,
    ],
)
async def test_a_stream_that_cannot_be_read_ends(said: bytes) -> None:
    async with served() as house:
        reader, writer = await reached(house)
        writer.write(said)
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        await until(lambda: house.server.connections == 0)


async def test_who_pours_is_not_read_for_a_while_and_others_are() -> None:
    async with served(rate=1.0, burst=3, connections=8) as house:
        pouring = await reached(house)
        calling = await house.phone("tcp")
        assert await calling.register() == 200
        poured = asyncio.create_task(pour(pouring, OPTIONS * 20_000))
        await until(lambda: house.server.dropped().get("too-many-messages", 0) > 0)
        before = house.server.dropped()["too-many-messages"]
        await asyncio.sleep(0.3)
        assert house.server.dropped()["too-many-messages"] == before, "it waits to be read"
        assert before < 2000
        assert await calling.register() == 200
        poured.cancel()
        pouring[1].transport.abort()
        await until(lambda: house.server.connections == 1)


async def pour(held: Held, data: bytes) -> None:
    _, writer = held
    with contextlib.suppress(ConnectionError):
        writer.write(data)
        await writer.drain()


async def test_a_peer_that_reads_no_answers_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ivr.server_net._BACKLOG", 20_000)
    async with served(rate=10_000.0, burst=60_000) as house:
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", house.ports["tcp"]))
        poured = asyncio.create_task(loop.sock_sendall(sock, OPTIONS * 30_000))
        await until(lambda: house.server.connections == 1)
        await until(lambda: house.server.connections == 0, 20)
        with contextlib.suppress(ConnectionError):
            await poured
        sock.close()


# --- a phone's connections --------------------------------------------------------------------------------


async def test_one_phone_keeps_a_few_connections_and_the_others_may_go(hurried: None) -> None:
    del hurried
    async with served(connections=20) as house:
        phones = [await house.phone("tcp") for _ in range(6)]
        assert [await one.register() for one in phones] == [200] * 6
        assert house.server.connections == 6
        await until(lambda: house.server.connections == 3, 5)
        await asyncio.sleep(1.0)
        assert house.server.connections == 3
        assert await house.server.notify(MAC, "check-sync") == 200, "the last one is where it registered"
        assert phones[-1].notified.qsize() == 1


async def test_a_call_on_a_connection_of_its_own_leaves_the_registration_where_it_is(hurried: None) -> None:
    del hurried
    async with served() as house:
        registered, calling = await house.phone("tcp"), await house.phone("tcp")
        assert await registered.register() == 200
        assert await calling.call() == 200
        await asyncio.sleep(1.2)
        assert house.server.connections == 2
        assert await calling.hang_up() == 200
        assert await house.server.notify(MAC, "check-sync") == 200
        assert registered.notified.qsize() == 1


async def test_what_is_remembered_of_phones_goes_with_their_connections() -> None:
    async with served(connections=20) as house:
        for number in range(4):
            phone = await house.phone("tcp", mac=f"0004f200000{number % 2}")
            assert await phone.register() == 200
            phone._wire.abort()
        streams: Streams = house.server._streams
        await until(lambda: len(streams) == 0)
        assert (streams._of_phone, dict(streams._sources)) == ({}, {})


# --- TLS --------------------------------------------------------------------------------------------------


async def test_a_phone_calls_over_tls(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async with served(secure=contexts[0]) as house:
        phone = await house.phone("tls", context=contexts[1])
        assert await phone.register() == 200
        assert await phone.call() == 200
        await until(lambda: phone.frames)
        await phone.key(GOOD, "info")
        await closes(phone)
        assert [code for _, code, _ in house.desk.codes] == [GOOD]
        assert house.counts["ivr_registered", "tls"] == 1


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", OPTIONS, b"\xff" * 5000])
async def test_half_a_handshake_ends_and_phones_are_served_meanwhile(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ivr.server_net._FIRST", 0.6)
    monkeypatch.setattr("ivr.server_net._SWEEP", 0.05)
    async with served(secure=contexts[0], connections=12) as house:
        halves = [await reached(house, f"127.0.0.{41 + number % 3}", "tls") for number in range(9)]
        for _, writer in halves:
            writer.write(said)
        phone = await house.phone("tls", context=contexts[1])
        assert await phone.register() == 200
        for one in halves:
            await ended(one)
        await until(lambda: house.server.connections == 1)
        assert await house.server.notify(MAC, "check-sync") == 200


async def test_handshakes_of_one_address_wait_for_each_other_and_no_other_does(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ivr.server_net._HANDSHAKES", 2)
    monkeypatch.setattr("ivr.server_net._IN_VAIN", 1.2)
    loop = asyncio.get_running_loop()
    async with served(secure=contexts[0], connections=40) as house:
        began, took = loop.time(), list[float]()

        async def secured(address: str) -> bool:
            try:
                _, writer = await asyncio.open_connection(
                    "127.0.0.1",
                    house.ports["tls"],
                    local_addr=(address, 0),
                    ssl=contexts[1],
                    server_hostname="localhost",
                )
            except (ConnectionError, ssl.SSLError):
                return False
            took.append(loop.time() - began)
            writer.transport.abort()
            return True

        shaken = await asyncio.gather(*(secured("127.0.0.44") for _ in range(10)))
        assert sum(shaken) == 4, "two at once, and two that have a second to wait at most"
        assert [round(one, 1) for one in sorted(took)][2:] == pytest.approx([0.5, 1.0], abs=0.15)
        assert await secured("127.0.0.45")


async def test_who_has_gone_before_his_turn_costs_no_handshake(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ivr.server_net._HANDSHAKES", 2)
    async with served(secure=contexts[0], connections=4) as house:
        held = [await reached(house, "127.0.0.46", "tls") for _ in range(7)]  # in two places, by turns
        await until(lambda: house.server.dropped()["over_cap"] == 5)
        assert house.server.connections == 2
        for _, writer in held:
            writer.transport.abort()
        await asyncio.sleep(0.1)
        phone = await house.phone("tls", context=contexts[1])
        assert await phone.register() == 200


def _flow(host: str) -> Flow:
    return Flow("tls", (host, 5), 1, ("127.0.0.1", 5061))


async def test_memory_for_handshakes_is_bounded() -> None:
    streams = Streams(lambda _data, _flow: True, lambda _flow: None, lambda _host: 8192, 4)
    for number in range(200):
        assert streams.handshake(_flow(f"192.0.2.{number}")) == 0.0
    assert len(streams._handshakes) <= 16
