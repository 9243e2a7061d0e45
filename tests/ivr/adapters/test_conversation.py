"""One call through Flow and Desk: what comes late, what comes twice, and who is told at the end."""

from __future__ import annotations

import asyncio

import pytest

from ivr.adapters.conversation import Conversation, Said
from ivr.desk import Desk, ask
from ivr.flow import Attempt, Caller, Cause, Digits, FlowSettings, Played, Result, ResultKind, Timeout
from tests.ivr.adapters.desks import ScriptedDesk
from tests.ivr.scenarios import ACCEPTED, CONFIRMING, GOOD, WRONG

pytestmark = pytest.mark.asyncio
CALLER = Caller("0004f2aabbcc", "192.0.2.7", "agi")
SOON = FlowSettings(answer=0.02)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def begun(desk: Desk, **more: float) -> Conversation:
    conversation = Conversation(desk, CALLER, Clock(), **more)  # type: ignore[arg-type]  # seconds only
    assert (await conversation.begin()).prompts == ("welcome", "enter")
    return conversation


async def test_nothing_new_is_none() -> None:
    conversation = await begun(ScriptedDesk())
    assert await conversation.tell(Digits("#")) is None
    assert await conversation.tell() is None


async def test_inputs_end_where_the_flow_has_spoken() -> None:
    desk = ScriptedDesk([WRONG])
    conversation = await begun(desk)
    said = await conversation.tell(Digits(GOOD), Timeout())
    assert said is not None
    assert (said.prompts, desk.causes) == (("wrong", "enter"), ["started", "wrong"])


async def late(patience: float = 60.0) -> tuple[ScriptedDesk, Conversation]:
    desk = ScriptedDesk([ACCEPTED], settings=SOON)
    desk.slow = asyncio.Event()
    conversation = await begun(desk, patience=patience)
    assert await conversation.tell(Digits(GOOD)) == Said(("system_error",))
    return desk, conversation


async def test_good_news_that_comes_late_is_told_in_the_call() -> None:
    desk, conversation = await late()
    assert desk.slow is not None
    desk.slow.set()
    await asyncio.sleep(0.01)
    said = await conversation.tell(Played())
    assert said is not None
    assert said.prompts[0] == "success"
    assert await conversation.tell(Played()) == Said(hangup=Cause.ACTIVATED)
    conversation.end()
    assert desk.ended == [ACCEPTED]


async def test_good_news_after_the_call_still_reaches_the_product() -> None:
    desk, conversation = await late()
    assert await conversation.tell(Played()) == Said(hangup=Cause.ERROR)
    conversation.end()
    assert desk.ended == []
    assert desk.slow is not None
    desk.slow.set()
    await asyncio.sleep(0.01)
    assert desk.ended == [ACCEPTED]


async def test_the_other_sides_patience_may_be_less() -> None:
    desk = ScriptedDesk([ACCEPTED])
    desk.slow = asyncio.Event()
    conversation = await begun(desk, patience=0.01)
    assert await conversation.tell(Digits(GOOD)) == Said(("system_error",))
    conversation.end()
    desk.slow.set()
    await asyncio.sleep(0.01)
    assert desk.ended == [ACCEPTED]


async def test_the_end_is_told_once() -> None:
    desk = ScriptedDesk()
    conversation = await begun(desk)
    conversation.end()
    conversation.end()
    assert (desk.ended, desk.causes) == ([None], ["started", "gone"])


async def test_a_binding_is_not_forgotten_for_what_came_after() -> None:
    desk = ScriptedDesk([ACCEPTED, Result(ResultKind.USED)], settings=CONFIRMING)
    conversation = await begun(desk)
    await conversation.tell(Digits(GOOD))
    await conversation.tell(Digits("1"))
    conversation.end()
    assert desk.ended == [Result(ResultKind.USED)], "what was only held is no result"


class PlainDesk(ScriptedDesk):
    """Cannot hold."""

    hold = None  # type: ignore[assignment]  # a Desk has no such method


async def test_a_desk_that_cannot_hold_binds_nothing_unconfirmed() -> None:
    desk = PlainDesk([ACCEPTED])
    assert await ask(desk, CALLER, Attempt(GOOD, 1, hold=True)) == Result(ResultKind.ERROR)
    assert desk.asked == []
    assert await ask(desk, CALLER, Attempt(GOOD, 1)) == ACCEPTED
