"""Switches that say nothing, take their time, or talk nonsense: what they cost is bounded, and they are named."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cabinet import PHONE, Cabinet
from snmp_lab import simulated

from provisioner.model import Mac
from provisioner.switches import search as searching
from provisioner.switches.credentials import Community
from provisioner.switches.engine import shared
from provisioner.switches.search import Found
from provisioner.switches.switches import Switches

MAC = Mac(PHONE)
Twist = Callable[[bytes], bytes]


class Between(asyncio.DatagramProtocol):
    """Stands before an agent: what it answers comes late, or as something else; without an agent nothing comes."""

    def __init__(self, port: int, delay: float, twist: Twist) -> None:
        self.port, self.delay, self.twist = port, delay, twist
        self.tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self.out = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        if self.port:
            task = asyncio.get_running_loop().create_task(self._pass_on(data, address))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _pass_on(self, data: bytes, address: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes] = loop.create_future()
        ear = _Ear(answer)
        transport, _ = await loop.create_datagram_endpoint(lambda: ear, remote_addr=("127.0.0.1", self.port))
        try:
            transport.sendto(data)
            said = await answer
            await asyncio.sleep(self.delay)
            self.out.sendto(self.twist(said), address)
        finally:
            transport.close()


class _Ear(asyncio.DatagramProtocol):
    def __init__(self, answer: asyncio.Future[bytes]) -> None:
        self.answer = answer

    def datagram_received(self, data: bytes, _address: object) -> None:
        if not self.answer.done():
            self.answer.set_result(data)


@asynccontextmanager
async def between(agent: int = 0, delay: float = 0.0, twist: Twist = bytes) -> AsyncIterator[int]:
    """Its port."""
    loop = asyncio.get_running_loop()
    transport, one = await loop.create_datagram_endpoint(
        lambda: Between(agent, delay, twist), local_addr=("127.0.0.1", 0)
    )
    try:
        yield int(transport.get_extra_info("sockname")[1])
    finally:
        transport.close()
        for task in one.tasks:
            task.cancel()


def garbled(seed: int) -> Twist:
    """Some bytes are others, some are missing, some come twice."""
    dice = random.Random(seed)

    def twist(said: bytes) -> bytes:
        text = bytearray(said)
        for _ in range(dice.randint(1, 6)):
            text[dice.randrange(len(text))] = dice.randrange(256)
        return bytes(dice.choice([text, text[: dice.randrange(len(text))], text * 2, dice.randbytes(80)]))

    return twist


def hasty(desk: Switches, parallel: int = 100) -> Switches:
    chosen = replace(desk._settings, switch_timeout=1.5, switch_retries=0, switch_parallel=parallel)
    return Switches(desk._store, desk._drivers, chosen, actor="ann")


async def known(desk: Switches, **ports: int) -> None:
    for name, port in ports.items():
        read = Community("public")
        await desk.add_switch(name, account="Acme", site="HQ", address="127.0.0.1", port=port, read=read)


async def timed(desk: Switches) -> tuple[Found, float]:
    await shared()  # it takes a moment to be loaded
    began = time.monotonic()
    return await desk.find_port(MAC), time.monotonic() - began


@pytest.mark.slow  # it waits for a slow one
@pytest.mark.asyncio
async def test_who_is_silent_slow_or_mad_is_named_and_the_phone_is_found_all_the_same(
    desk: Switches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "_ONE", 4.0)
    with simulated(tmp_path, {"public": Cabinet(crowd=1).rows()}) as agent:
        async with (
            between() as silent,
            between(agent, delay=1.2) as slow,
            between(agent, twist=lambda _: b"\x30\x82\xff\xffno SNMP at all") as mad,
        ):
            await known(desk, good=agent, silent=silent, slow=slow, mad=mad)
            told, lasted = await timed(hasty(desk))
    assert told.port is not None
    assert (told.port.switch, told.port.name) == ("good", "Gi1/0/7")
    assert [name for name, _ in told.failed] == ["mad", "silent", "slow"]
    assert [why for name, why in told.failed if name == "slow"] == ["it has not told all within 4 s"]
    assert "3 of 4 switches did not answer" in told.words
    assert lasted < 2 * 4.0 + 5.0


@pytest.mark.slow  # it waits for many
@pytest.mark.asyncio
async def test_all_of_them_have_their_time_and_who_had_no_turn_is_named_too(
    desk: Switches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "_ONE", 2.0)
    monkeypatch.setattr(searching, "_ALL", 6.0)
    with simulated(tmp_path, {"public": Cabinet(crowd=1).rows()}) as agent:
        async with between() as silent:
            await known(desk, a_good=agent, **{f"b{number:02d}": silent for number in range(20)})
            told, lasted = await timed(hasty(desk, parallel=1))
    assert told.port is not None, "what one switch takes is kept for looking closer"
    assert [name for name, _ in told.failed] == [f"b{number:02d}" for number in range(20)]
    whys = [why for _, why in told.failed]
    assert "no answer" in whys[0] and "before its turn" in whys[-1]
    assert lasted < 6.0 + 8.0, "twenty times a second and a half, one after the other, would be thirty"


@pytest.mark.slow  # agents of its own
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.asyncio
async def test_whatever_an_agent_answers_the_search_ends_and_says_so(
    desk: Switches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(searching, "_ONE", 4.0)
    with simulated(tmp_path, {"public": Cabinet(crowd=1).rows()}) as agent:
        async with between(agent, twist=garbled(seed)) as mad:
            await known(desk, mad=mad)
            told, lasted = await timed(hasty(desk))
    assert told.port is None and [name for name, _ in told.failed] == ["mad"]
    assert lasted < 2 * 4.0 + 5.0
