"""Floods of datagrams at the ports of a call, and ports that are nobody's to give."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

import pytest
from test_ivr_server import GOOD, House, closes, served, until

from ivr import server_media
from ivr.server_media import MediaPorts

pytestmark = pytest.mark.asyncio


@contextlib.asynccontextmanager
async def flooded(to: tuple[str, int], source: str, size: int = 172, per_beat: int = 80) -> AsyncIterator[None]:
    """Four thousand datagrams a second with keys in them, from another host."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((source, 0))
    datagram = struct.pack("!BBHII", 0x80, 101, 1, 8000, 99) + struct.pack("!BBH", 7, 0x8A, 400) + bytes(size - 16)

    async def insist() -> None:
        while True:
            for _ in range(per_beat):
                with contextlib.suppress(BlockingIOError):
                    sock.sendto(datagram, to)
            await asyncio.sleep(0.02)

    insisting = asyncio.create_task(insist())
    try:
        yield
    finally:
        insisting.cancel()
        sock.close()


async def test_keys_are_heard_within_a_flood_of_strangers_packets() -> None:
    async with served() as house:
        phone = await house.talking()
        await until(lambda: phone.frames)
        async with flooded(phone.media_to, "127.0.0.66"):
            await asyncio.sleep(0.2)
            await phone.key(GOOD)
            await until(lambda: house.desk.codes)
        await closes(phone)
        assert [code for _, code, _ in house.desk.codes] == [GOOD]


async def test_a_flood_from_the_phones_host_but_not_its_port_takes_nothing() -> None:
    async with served() as house:
        phone = await house.talking()
        await until(lambda: len(phone.frames) > 5)
        async with flooded(phone.media_to, "127.0.0.1", size=800, per_beat=40):
            await asyncio.sleep(0.2)
            await phone.key(GOOD)
            await until(lambda: house.desk.codes)
        await closes(phone)
        assert [code for _, code, _ in house.desk.codes] == [GOOD]


async def read_of(house: House, ports: int) -> list[int]:
    """How much of the datagrams that lie at so many ports is read in one beat."""
    made = [house.server._ports.open("127.0.0.1") for _ in range(ports)]
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for port in made:
        assert port is not None
        for _ in range(90):
            sock.sendto(b"x", ("127.0.0.1", port.number))
    house.server._ports.spare.renew()
    found = [len(list(port.arrived())) for port in made if port]
    for port in made:
        assert port is not None
        port.close()
    sock.close()
    return found


async def test_floods_share_what_a_beat_has_to_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_media, "_SPARE", 100)
    async with served() as house:
        assert await read_of(house, 4) == [90, 30, 10, 10]


async def test_no_more_ports_are_tried_than_a_call_may_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def bound(_host: str, port: int) -> socket.socket | None:
        tried.append(port)
        return None

    ports = MediaPorts(26_000, 27_999)
    monkeypatch.setattr(server_media, "_bound", bound)
    assert ports.open("127.0.0.1") is None
    assert len(tried) == 64
    assert ports.open("127.0.0.1") is None
    assert len(set(tried)) == 128, "others are tried next time"
    assert len(ports) == 1000
