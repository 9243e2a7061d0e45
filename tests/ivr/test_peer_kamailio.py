"""Kamailio stands in front: phones register through it with a Path, call and hang up along its Record-Route."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ivr.flow import Caller, Result
from ivr.server_media import Voice
from tests.call_phone import CallPhone
from tests.ivr.answering import Answering, OneCodeDesk, answering, login, short_voice
from tests.ivr.kamailio import HOST, Proxy, kamailio
from tests.ivr.scenarios import GOOD
from tests.ivr.sipp_calls import MAC, play
from tests.ivr.test_baresip import call

pytestmark = pytest.mark.asyncio


class Hesitant(OneCodeDesk):
    """Never says whether it takes the call."""

    async def greet(self, caller: Caller) -> Result | None:
        self.callers.append(caller)
        await asyncio.Event().wait()
        return None


@pytest.fixture(scope="session")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Voice:
    return short_voice(tmp_path_factory.mktemp("voice"))


@asynccontextmanager
async def behind(desk: OneCodeDesk, voice: Voice, folder: Path) -> AsyncIterator[tuple[Answering, Proxy]]:
    """The server as an operator would set it up: its proxy's address is trusted."""
    async with answering(desk, voice, trusted=frozenset({HOST})) as ivr, kamailio(ivr.port, folder) as proxy:
        yield ivr, proxy


async def test_a_phone_registers_with_a_path_and_is_told_along_it(tmp_path: Path, voice: Voice) -> None:
    async with behind(OneCodeDesk(), voice, tmp_path) as (ivr, proxy):
        phones = []
        for mac in (MAC, "0004f2aabb01"):
            phones.append(await CallPhone.open(mac, *login(mac), (HOST, proxy.port)))
            assert await phones[-1].register() == 200
        assert ivr.server.registrations == 2, "they share an address, and are two all the same"
        assert await ivr.server.notify(MAC, "check-sync;reboot=true") == 200
        assert await asyncio.wait_for(phones[0].notified.get(), 5) == "check-sync;reboot=true"
        assert phones[1].notified.empty()
        assert {host for phone in phones for host in phone.senders} == {HOST}
        assert await phones[0].register(expires=0) == 200
        assert ivr.server.registrations == 1
        for phone in phones:
            phone.close()
        assert proxy.passed("NOTIFY") == ["server"]


async def test_a_call_through_it_binds_and_the_server_hangs_up(tmp_path: Path, voice: Voice) -> None:
    desk = OneCodeDesk(event="")
    async with behind(desk, voice, tmp_path) as (ivr, proxy):
        assert await call(ivr, tmp_path / "heard", server=proxy.at, listens=0.3) == {"registered": True, "ended": True}
        assert desk.keyed == [GOOD]
        assert [(one.mac, one.source) for one in desk.callers] == [(MAC, "")], "a proxy's address is nobody's"
        assert ivr.counted["ivr_calls", "activated"] == 1
        assert ivr.server.calls == 0
        assert proxy.passed("BYE") == ["server"]
    assert (tmp_path / "heard").stat().st_size > 16_000


async def test_a_caller_hangs_up_along_the_route_that_was_recorded(tmp_path: Path, voice: Voice) -> None:
    desk = OneCodeDesk()
    async with behind(desk, voice, tmp_path) as (ivr, proxy):
        assert await play("caller_hangs_up", proxy.at, tmp_path) == ""
        assert ivr.server.calls == 0
        assert ivr.counted["ivr_calls", "caller"] == 1
        assert set(proxy.passed("BYE")) == {"phone"}
    assert desk.ended == [None]


async def test_a_call_is_cancelled_through_it_and_without_it(tmp_path: Path, voice: Voice) -> None:
    desk = Hesitant()
    async with behind(desk, voice, tmp_path) as (ivr, proxy):
        for at, cancelled in ((proxy.at, 1), (ivr.at, 2)):
            assert await play("caller_cancels", at, tmp_path) == ""
            assert ivr.counted["ivr_calls", "cancelled"] == cancelled
            assert ivr.server.calls == 0
        assert set(proxy.passed("CANCEL")) == {"phone"}
    assert (desk.keyed, desk.ended) == ([], [None, None])
