"""What breaks in one call ends that call, in words where there is somebody to hear them, and no other call notices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from call_phone import CallPhone, correlation, heard
from test_ivr_server import ACCEPTED, GOOD, Desk, House, samples, served, until

from ivr.flow import Caller, Digits, Flow, Input, Note, Output, Result, Started
from ivr.media.g711 import Codec
from ivr.media.session import Prompt
from ivr.server_media import MediaPort, Voice

pytestmark = pytest.mark.asyncio

OTHER = "0004f2000002"
_SECOND = 50


class BrokenFlow(Flow):
    """Breaks at one kind of input, and says a code in doing so."""

    at: type[Input]

    def feed(self, given: Input, now: float) -> list[Output]:
        if isinstance(given, self.at):
            raise RuntimeError(f"what was keyed is {GOOD}")
        return super().feed(given, now)


def broken_flow(at: type[Input]) -> Callable[[Desk], Flow]:
    def flow(desk: Desk) -> Flow:
        made = BrokenFlow(desk.settings, lambda _code: True)
        made.at = at
        return made

    return flow


@dataclass
class BreakingDesk(Desk):
    """The first call's desk breaks in one place; the others' does not."""

    breaks: str = ""
    first_flow: Callable[[Desk], Flow] | None = None
    faults: int = 0
    causes_of: dict[str, list[str]] = field(default_factory=dict)

    def flow(self, language: str = "") -> Flow:
        made, self.first_flow = self.first_flow, None
        return made(self) if made else super().flow(language)

    def _break(self, where: str, caller: Caller) -> None:
        if where == self.breaks and caller.mac != OTHER:
            self.faults += 1
            raise KeyError(GOOD)

    async def greet(self, caller: Caller) -> Result | None:
        self._break("greet", caller)
        return await super().greet(caller)

    async def attempt(self, caller: Caller, code: str, attempt: int) -> Result:
        self._break("attempt", caller)
        return await super().attempt(caller, code, attempt)

    def note(self, caller: Caller, note: Note) -> None:
        self._break("note", caller)
        self.causes_of.setdefault(caller.mac, []).append(note.cause)
        super().note(caller, note)

    def finished(self, caller: Caller, result: Result | None) -> None:
        self._break("finished", caller)
        super().finished(caller, result)


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each prompt is its first second."""
    whole = Voice.prompt

    def prompt(self: Voice, language: str, prompts: Sequence[str]) -> Prompt:
        return {codec: frames[:_SECOND] for codec, frames in whole(self, language, prompts).items()}

    monkeypatch.setattr(Voice, "prompt", prompt)


def assert_sorry(phone: CallPhone) -> None:
    """The last that it heard."""
    last = heard(phone.frames[-_SECOND:], Codec.PCMU.decode)
    assert correlation(last, samples("system_error")[: 160 * _SECOND]) > 0.99


async def another(house: House) -> CallPhone:
    phone = await house.phone(mac=OTHER)
    assert await phone.register() == 200
    assert await phone.call() == 200
    return phone


async def goes_on(house: House, phone: CallPhone) -> None:
    """The other call is served to its end."""
    await phone.key(GOOD)
    await until(lambda: (OTHER, GOOD) in [(caller.mac, code) for caller, code, _ in house.desk.codes])
    assert not phone.left.is_set()
    assert await phone.hang_up() == 200
    assert ACCEPTED in [await house.desk.end()]
    assert house.counts["ivr_calls", "fault"] == 1


async def leaves(phone: CallPhone) -> None:
    async with asyncio.timeout(10):
        await phone.left.wait()


@pytest.mark.parametrize(("at", "keys"), [(Digits, "3"), (Started, "")])
async def test_a_call_that_breaks_is_told_so_and_ends(
    at: type[Input], keys: str, caplog: pytest.LogCaptureFixture
) -> None:
    desk = BreakingDesk(first_flow=broken_flow(at))
    async with served(desk) as house:
        broken = await house.talking()
        other = await another(house)
        await until(lambda: len(broken.frames) > 20)
        await broken.key(keys)
        await leaves(broken)
        assert_sorry(broken)
        assert await house.desk.end() is None
        assert desk.causes_of[broken.mac][-1] == "fault"
        await goes_on(house, other)
    assert f"sip call of {broken.mac}: a fault ends it, RuntimeError" in caplog.text
    assert "test_server_faults" in caplog.text, "where it was"
    assert GOOD not in caplog.text


@pytest.mark.parametrize("where", ["greet", "flow"])
async def test_a_call_that_breaks_before_it_is_answered_is_500(where: str, caplog: pytest.LogCaptureFixture) -> None:
    def no_flow(_desk: Desk) -> Flow:
        raise KeyError(GOOD)

    desk = BreakingDesk(breaks=where, first_flow=no_flow if where == "flow" else None)
    async with served(desk) as house:
        broken = await house.phone()
        assert await broken.call() == 500
        assert house.server.calls == 0
        assert await house.desk.end() is None
        await goes_on(house, await another(house))
    assert GOOD not in caplog.text


async def test_a_code_whose_look_up_breaks_ends_in_words() -> None:
    desk = BreakingDesk(breaks="attempt")
    async with served(desk) as house:
        broken = await house.talking()
        other = await another(house)
        await until(lambda: broken.frames)
        await broken.key(GOOD)
        await leaves(broken)
        assert_sorry(broken)
        assert await house.desk.end() is None
        await goes_on(house, other)


async def test_what_breaks_even_the_last_words_ends_in_none() -> None:
    desk = BreakingDesk(breaks="note")
    async with served(desk) as house:
        other = await another(house)
        broken = await house.talking()
        await leaves(broken)
        assert desk.faults >= 2
        assert await house.desk.end() is None
        await goes_on(house, other)


async def test_a_beat_that_always_breaks_ends_its_call_and_misses_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(BreakingDesk()) as house:
        broken = await house.talking()
        other = await another(house)
        await until(lambda: len(other.frames) > 10 and len(broken.frames) > 10)
        sends, port = MediaPort.send, broken.media_to[1]

        def send(self: MediaPort, packet: bytes, to: tuple[str, int]) -> None:
            if self.number == port:
                raise ZeroDivisionError
            sends(self, packet, to)

        monkeypatch.setattr(MediaPort, "send", send)
        heard_before = len(other.frames)
        await leaves(broken)
        await until(lambda: len(other.frames) > heard_before + 10)
        assert await house.desk.end() is None
        await goes_on(house, other)


@pytest.mark.parametrize("ends", ["caller", "ours"])
async def test_a_desk_that_breaks_at_the_end_leaves_nothing_behind(ends: str) -> None:
    desk = BreakingDesk(breaks="finished")
    async with served(desk) as house:
        broken = await house.talking()
        other = await another(house)
        if ends == "caller":
            assert await broken.hang_up() == 200
        else:
            (call,) = (one.call for one in house.server._calls.values() if one.call.mac == broken.mac)
            house.server.hang_up(call)
        await until(lambda: house.server.calls == 1)
        assert sum(house.counts[one] for one in house.counts if one[0] == "ivr_calls") == 1
        assert await other.hang_up() == 200
        assert await house.desk.end() is None


async def test_no_port_is_lost_by_calls_that_break() -> None:
    async with served(BreakingDesk(breaks="greet")) as house:
        free = len(house.server._ports)
        for _ in range(5):
            phone = await house.phone()
            assert await phone.call() == 500
        assert len(house.server._ports) == free
