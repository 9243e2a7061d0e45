"""sipp plays a phone on a bad line: what is lost comes again, what comes twice happens once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from ivr.server_media import Voice
from tests.ivr.answering import Answering, OneCodeDesk, answering, short_voice
from tests.ivr.scenarios import GOOD
from tests.ivr.sipp_calls import play


@pytest.fixture(scope="session")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Voice:
    return short_voice(tmp_path_factory.mktemp("voice"))


class Line(asyncio.DatagramProtocol):
    """Between one phone and the server: ``lost`` is lost once each, ``twice`` comes twice."""

    def __init__(self, server: tuple[str, int], lost: str, twice: str) -> None:
        self.server, self.lost, self.twice = server, lost, twice
        self.phone: tuple[str, int] | None = None
        self.hits = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.way = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if addr != self.server:
            self.phone = addr
        to = self.phone if addr == self.server else self.server
        text = data.decode("utf-8", "replace")
        if self.lost and re.match(self.lost, text, re.DOTALL):
            self.lost, self.hits = "", self.hits + 1
            return
        self.way.sendto(data, to)
        if self.twice and re.match(self.twice, text, re.DOTALL):
            self.hits += 1
            self.way.sendto(data, to)


@asynccontextmanager
async def line(ivr: Answering, lost: str = "", twice: str = "") -> AsyncIterator[tuple[Line, str]]:
    loop = asyncio.get_running_loop()
    way, made = await loop.create_datagram_endpoint(
        lambda: Line(("127.0.0.1", ivr.port), lost, twice), local_addr=("127.0.0.1", 0)
    )
    try:
        yield made, f"127.0.0.1:{way.get_extra_info('sockname')[1]}"
    finally:
        way.close()


@pytest.mark.asyncio
async def test_it_registers_by_digest(tmp_path: Path, voice: Voice) -> None:
    async with answering(OneCodeDesk(), voice) as ivr:
        assert await play("register", ivr.at, tmp_path) == ""
        assert ivr.server.registrations == 1


BAD = {
    "a good line": ("", "", 0),
    "lost ACK": (r"ACK .*CSeq: 2 ACK", "", 1),
    "lost answer": (r"SIP/2.0 200 .*CSeq: 2 INVITE", "", 1),
    "lost BYE": (r"BYE ", "", 1),
    "lost answer to the BYE": (r"SIP/2.0 200 .*CSeq: [0-9]+ BYE", "", 1),
    "INVITE twice": ("", r"INVITE .*CSeq: 2 INVITE", 1),
    "each INFO twice": ("", r"INFO ", len(GOOD) + 1),
}
"""What a line loses once, what it brings twice, and how often that happens."""


@dataclass(frozen=True)
class Lived:
    """A call that is over."""

    said: str
    left: int
    """Calls that the server still has."""
    hits: int
    desk: OneCodeDesk
    activated: int


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory, voice: Voice) -> Mapping[str, Lived]:
    """A call over each of these lines, all at once, each to a server of its own: they wait most of the time."""

    async def one(lost: str, twice: str) -> Lived:
        desk = OneCodeDesk(event="")
        async with answering(desk, voice) as ivr, line(ivr, lost, twice) as (between, at):
            said = await play("code_by_info", at, tmp_path_factory.mktemp("sipp"))
            left = ivr.server.calls
        return Lived(said, left, between.hits, desk, ivr.counted["ivr_calls", "activated"])

    async def everybody() -> list[Lived]:
        return await asyncio.gather(*(one(lost, twice) for lost, twice, _ in BAD.values()))

    return dict(zip(BAD, asyncio.run(everybody()), strict=True))


@pytest.mark.parametrize("how", BAD)
def test_a_code_arrives_once_whatever_the_line_does(lived: Mapping[str, Lived], how: str) -> None:
    found, desk = lived[how], lived[how].desk
    assert (found.said, found.left) == ("", 0)
    assert found.hits == BAD[how][2]
    assert (desk.keyed, len(desk.callers), len(desk.ended)) == ([GOOD], 1, 1)
    assert found.activated == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("lost", ["", r"SIP/2.0 200 .*CSeq: 3 BYE"])
async def test_a_caller_who_hangs_up_leaves_nothing_behind(tmp_path: Path, voice: Voice, lost: str) -> None:
    desk = OneCodeDesk()
    async with answering(desk, voice) as ivr, line(ivr, lost) as (between, at):
        assert await play("caller_hangs_up", at, tmp_path) == ""
        assert ivr.server.calls == 0
    assert between.lost == ""
    assert (desk.keyed, desk.ended) == ([], [None])
    assert ivr.counted[("ivr_calls", "caller")] == 1


@pytest.mark.asyncio
async def test_a_wrong_secret_gets_no_call(tmp_path: Path, voice: Voice) -> None:
    desk = OneCodeDesk()
    async with answering(desk, voice) as ivr:
        assert await play("wrong_secret", ivr.at, tmp_path, password="wrong") == ""
    assert desk.callers == []
