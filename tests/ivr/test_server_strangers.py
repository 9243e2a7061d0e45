"""Connections that prove nothing make room for phones; what is logged of strangers; whom a proxy's calls are from."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest
from test_ivr_server import GOOD, MAC, House, closes, served, until

pytestmark = pytest.mark.asyncio

OPTIONS = (
    b"OPTIONS sip:activate@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n"
    b"To: <sip:a@b>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)
Held = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ivr.server_net._FIRST", 0.4)
    monkeypatch.setattr("ivr.server_net._UNPROVEN", 0.8)
    monkeypatch.setattr("ivr.server_net._SWEEP", 0.05)


async def stranger(house: House, address: str) -> Held:
    """It keeps its connection alive and proves nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", house.ports["tcp"], local_addr=(address, 0))
    writer.write(b"\r\n\r\n")
    assert await asyncio.wait_for(reader.readexactly(2), 5) == b"\r\n"
    return reader, writer


async def ended(held: Held) -> None:
    reader, writer = held
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(reader.read(), 5)
    writer.close()


@pytest.mark.parametrize("said", [b"\r\n\r\n", OPTIONS])
async def test_nothing_said_earns_time_but_a_proof(hurried: None, said: bytes) -> None:
    del hurried
    async with served() as house:
        loop = asyncio.get_running_loop()
        began = loop.time()
        reader, writer = await stranger(house, "127.0.0.31")

        async def insist() -> None:
            while not writer.is_closing():
                writer.write(said)
                await asyncio.sleep(0.1)

        insisting = asyncio.create_task(insist())
        await ended((reader, writer))
        assert 0.6 < loop.time() - began < 3
        insisting.cancel()
        await until(lambda: house.server.connections == 0)


async def test_a_registration_and_a_call_are_proofs(hurried: None) -> None:
    del hurried
    async with served() as house:
        registered, calling = await house.phone("tcp"), await house.phone("tcp", mac="0004f2000002")
        assert await registered.register() == 200
        assert await calling.call() == 200
        await asyncio.sleep(1.2)
        assert house.server.connections == 2
        assert await house.server.notify(MAC, "check-sync") == 200
        assert await calling.hang_up() == 200


async def test_who_proves_nothing_makes_room_for_phones() -> None:
    async with served(connections=8) as house:
        held = [await stranger(house, f"127.0.0.{31 + number % 2}") for number in range(8)]
        assert house.server.connections == 8
        phone = await house.phone("tcp")
        assert await phone.register() == 200
        await ended(held.pop(0))
        assert house.server.connections == 8
        held += [await stranger(house, "127.0.0.1") for _ in range(12)]
        held += [await stranger(house, "127.0.0.33") for _ in range(12)]
        assert house.server.connections == 8
        assert await house.server.notify(MAC, "check-sync") == 200, "phones stay"
        assert house.server.dropped()["over_cap"] >= 24
        for one in held:
            one[1].close()


async def test_phones_alone_are_not_turned_out_for_anybody() -> None:
    async with served(connections=4) as house:
        phones = [await house.phone("tcp", mac=f"0004f200000{number}") for number in range(2)]
        assert [await one.register() for one in phones] == [200, 200]
        reader, writer = await asyncio.open_connection("127.0.0.1", house.ports["tcp"])
        await ended((reader, writer))
        assert house.server.connections == house.server.registrations == 2


@pytest.mark.parametrize(
    ("transport", "line"),
    [
        ("tcp", "sip refused wrong-secret from 127.0.0.1"),
        ("udp", "sip refused wrong-secret over udp, as if from 127.0.0.1"),
    ],
)
async def test_only_a_connection_is_told_as_an_address(
    caplog: pytest.LogCaptureFixture, transport: str, line: str
) -> None:
    caplog.set_level(logging.INFO)
    async with served() as house:
        phone = await house.phone(transport, secret="not-it")
        assert await phone.register() == 401
        assert [one.getMessage() for one in caplog.records if "refused" in one.getMessage()] == [line]


async def test_calls_through_a_proxy_are_of_no_source() -> None:
    """The phones behind it share its address, and must not share a budget of codes."""
    async with served(trusted=frozenset({"127.0.0.1"})) as house:
        behind = await house.talking()
        await until(lambda: behind.frames)
        await behind.key(GOOD)
        await closes(behind)
        assert [caller.source for caller, _, _ in house.desk.codes] == [""]
