"""Keys that come between our 200 and an ACK that was lost: none is lost with it, and none counts twice."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest
from call_phone import CallPhone, Message
from test_ivr_server import ACCEPTED, GOOD, Desk, House, closes, served, until

from ivr.flow import Result, ResultKind

pytestmark = pytest.mark.asyncio


async def unacknowledged(house: House, monkeypatch: pytest.MonkeyPatch) -> tuple[CallPhone, Callable[[], None]]:
    """A phone in a call whose ACK is lost, and what sends it again."""
    phone = await house.phone()
    assert await phone.register() == 200
    acknowledge, lost = phone._acknowledge, list[Message]()

    def lose(answer: Message, uri: str, body: bytes = b"") -> None:
        lost.append(answer) if answer.status == 200 else acknowledge(answer, uri, body)

    monkeypatch.setattr(phone, "_acknowledge", lose)
    assert await phone.call() == 200
    return phone, lambda: acknowledge(lost[0], phone.uri)


@pytest.mark.parametrize("way", ["info", "event"])
@pytest.mark.parametrize("early", [1, 5, 12])
async def test_keys_before_the_ack_are_the_first_of_the_code(
    monkeypatch: pytest.MonkeyPatch, way: str, early: int
) -> None:
    async with served() as house:
        phone, repair = await unacknowledged(house, monkeypatch)
        await phone.key(GOOD[:early], way)
        await asyncio.sleep(0.1)
        assert (phone.frames, house.desk.causes) == ([], []), "nothing is said before the ACK"
        repair()
        await phone.key(GOOD[early:], way)
        await closes(phone)
        assert [code for _, code, _ in house.desk.codes] == [GOOD]
        assert await house.desk.end() == ACCEPTED


async def test_keys_told_in_both_ways_across_the_ack_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served() as house:
        phone, repair = await unacknowledged(house, monkeypatch)
        for number, key in enumerate(GOOD):
            if number == 4:
                repair()
            await phone.key(key, "event")
            await phone.key(key, "info")
        await closes(phone)
        assert [code for _, code, _ in house.desk.codes] == [GOOD]


async def test_a_repeated_200_and_ack_begin_nothing_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served() as house:
        phone, repair = await unacknowledged(house, monkeypatch)
        await phone.key(GOOD[:3], "info")
        await asyncio.sleep(0.6)  # our 200 comes again
        repair()
        repair()
        await phone.key(GOOD[3:], "info")
        repair()
        await closes(phone)
        assert [code for _, code, _ in house.desk.codes] == [GOOD]
        assert house.desk.causes == ["started", "accepted"]


async def test_keys_before_the_ack_do_not_cut_a_refusal_short(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(Desk(refusal=Result(ResultKind.UNSUPPORTED))) as house:
        phone, repair = await unacknowledged(house, monkeypatch)
        await phone.key("12", "info")
        repair()
        await until(lambda: len(phone.frames) > 60)
        assert not phone.left.is_set()


async def test_keys_before_an_ack_that_brings_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """An INVITE without an offer: ours is in the 200, and what the phone chose in its ACK."""
    async with served() as house:
        phone = await house.phone()
        answer = await phone.ask("INVITE", "sip:activate@localhost")
        assert answer.status == 200
        uri, phone._to = answer.get("Contact").strip("<>"), answer.get("To")
        phone.uri, phone.codec, phone.events = uri, 0, 101
        await phone.key(GOOD[:7], "info")
        host, port = phone._rtp_address()
        chosen = (
            f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
        )
        phone._acknowledge(answer, uri, chosen.encode())
        found = re.search(r"m=audio (\d+)", answer.body.decode())
        assert found
        phone.media_to = ("127.0.0.1", int(found[1]))
        phone._talking = asyncio.create_task(phone._talk())
        await asyncio.sleep(0.5)  # an event so soon after could be a key that INFO has told
        await phone.key(GOOD[7:])
        await closes(phone)
        assert [code for _, code, _ in house.desk.codes] == [GOOD]


async def test_who_goes_on_keying_before_the_ack_fills_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(rate=1000.0, burst=1000) as house:
        phone, repair = await unacknowledged(house, monkeypatch)
        await phone.key("1" * 60, "info")
        (one,) = house.server._calls.values()
        assert len(one._unfed) == 32
        repair()
        assert await phone.hang_up() == 200
