"""Calls that are kept between requests: they end by themselves, and what is kept is bounded."""

from __future__ import annotations

import asyncio

import pytest

from ivr.adapters import documents
from ivr.adapters.documents import DocumentCalls
from ivr.flow import Caller, Collect, Digits, FlowSettings, Input, Result, Timeout
from tests.ivr.adapters.desks import ScriptedDesk
from tests.ivr.scenarios import ACCEPTED, GOOD

pytestmark = pytest.mark.asyncio
CALLER = Caller("0004f2aabbcc", "", "twiml")


def code(_: Collect) -> tuple[Input, ...]:
    return (Digits(GOOD),)


def silent(_: Collect) -> tuple[Input, ...]:
    return (Timeout(),)


async def test_a_call_that_is_heard_of_no_more_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_LINGERS", 0.0)
    desk = ScriptedDesk(settings=FlowSettings(longest=0.05, farewell=0.01))
    calls = DocumentCalls(desk, most=5)
    await calls.step("a", None, silent, CALLER)
    assert len(calls) == 1
    await asyncio.sleep(0.1)
    assert (len(calls), desk.ended, desk.causes) == (0, [None], ["started", "gone"])


async def test_a_call_that_is_over_is_forgotten_after_a_moment(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(documents, "_LINGERS", 0.02)
    desk = ScriptedDesk([ACCEPTED], settings=FlowSettings(longest=0.4, farewell=0.0))
    calls = DocumentCalls(desk, most=5)
    await calls.step("a", None, silent, CALLER)
    last = await calls.step("a", 1, code, CALLER)
    assert await calls.step("a", 2, code, CALLER) is last
    assert desk.ended == [ACCEPTED]
    await asyncio.sleep(0.5)
    assert (len(calls), caplog.text) == (0, ""), "its first expiry has gone with it"


async def test_while_an_answer_is_out_the_same_request_waits_for_it() -> None:
    desk = ScriptedDesk([ACCEPTED])
    desk.slow = asyncio.Event()
    calls = DocumentCalls(desk, most=5)
    await calls.step("a", None, silent, CALLER)
    first = asyncio.create_task(calls.step("a", 1, code, CALLER))
    await desk.was_asked.wait()
    second = asyncio.create_task(calls.step("a", 1, code, CALLER))
    await asyncio.sleep(0.01)
    desk.slow.set()
    assert await first is await second
    assert desk.asked == [(GOOD, 1, False)]
    await calls.close()


async def test_a_caller_who_leaves_while_an_answer_is_out() -> None:
    desk = ScriptedDesk([ACCEPTED])
    desk.slow = asyncio.Event()
    calls = DocumentCalls(desk, most=5)
    await calls.step("a", None, silent, CALLER)
    asking = asyncio.create_task(calls.step("a", 1, code, CALLER))
    await desk.was_asked.wait()
    calls.end("a")
    desk.slow.set()
    last = await asking
    assert await calls.step("a", None, code, CALLER) is last
    assert desk.asked == [(GOOD, 1, False)]
    assert desk.ended == [ACCEPTED], "the phone is bound, and told to the product once"
    await calls.close()


class BrokenDesk(ScriptedDesk):
    """Breaks its contract: no method of a Desk raises."""

    async def greet(self, caller: Caller) -> Result | None:
        raise RuntimeError(caller.channel)


async def test_nothing_is_kept_of_a_call_that_never_began() -> None:
    desk = BrokenDesk()
    calls = DocumentCalls(desk, most=5)
    with pytest.raises(RuntimeError, match="twiml"):
        await calls.step("a", None, silent, CALLER)
    assert (len(calls), desk.ended) == (0, [None])


async def test_room_is_made_of_calls_that_are_over() -> None:
    desk = ScriptedDesk()
    calls = DocumentCalls(desk, most=2)
    for name in "ab":
        await calls.step(name, None, silent, CALLER)
    assert (await calls.step("c", None, silent, CALLER)).said.prompts == ("busy",)
    calls.end("a")
    assert (await calls.step("c", None, silent, CALLER)).said.prompts == ("welcome", "enter")
    assert len(calls) == 2
    await calls.close()
    assert (len(calls), len(desk.ended)) == (0, 4)
