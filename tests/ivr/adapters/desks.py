"""A Desk that answers what a scenario says, and remembers what it was asked and told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ivr.flow import Attempt, Caller, Confirm, Flow, FlowSettings, Note, Result
from tests.ivr.scenarios import Scenario, checks

Asked = tuple[str, int, bool]
"""A code, which attempt of its call it is, and whether it is only held."""


class ScriptedDesk:
    """Answers in order; ``slow`` holds each answer back until it is set."""

    def __init__(
        self,
        answers: Sequence[Result] = (),
        *,
        settings: FlowSettings | None = None,
        refusal: Result | None = None,
    ) -> None:
        self.settings = settings or FlowSettings()
        self.refusal = refusal
        self.answers = list(answers)
        self.slow: asyncio.Event | None = None
        self.was_asked, self.was_told, self.was_over = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.asked: list[Asked] = []
        self.callers: list[Caller] = []
        self.notes: list[Note] = []
        self.ended: list[Result | None] = []

    def flow(self, language: str = "") -> Flow:
        return Flow(self.settings, checks, language or "en")

    async def greet(self, caller: Caller) -> Result | None:
        self.callers.append(caller)
        return self.refusal

    async def attempt(self, caller: Caller, code: str, attempt: int) -> Result:
        assert caller.channel
        return await self._answer((code, attempt, False))

    async def hold(self, caller: Caller, code: str, attempt: int) -> Result:
        assert caller.channel
        return await self._answer((code, attempt, True))

    async def _answer(self, asked: Asked) -> Result:
        self.asked.append(asked)
        self.was_asked.set()
        if self.slow is not None:
            await self.slow.wait()
        return self.answers.pop(0)

    def note(self, caller: Caller, note: Note) -> None:
        assert caller.channel
        self.notes.append(note)
        self.was_told.set()

    def finished(self, caller: Caller, result: Result | None) -> None:
        assert caller.channel
        self.ended.append(result)
        self.was_over.set()

    @property
    def causes(self) -> list[str]:
        return [note.cause for note in self.notes]


def desk_of(scenario: Scenario) -> ScriptedDesk:
    return ScriptedDesk(scenario.answers, settings=scenario.settings, refusal=scenario.refusal)


def asked_of(scenario: Scenario) -> list[Asked]:
    return [asked(one) for one in scenario.asked]


def asked(one: Attempt | Confirm) -> Asked:
    return one.code, one.attempt, isinstance(one, Attempt) and one.hold


def result_of(scenario: Scenario) -> Result | None:
    """What ``finished`` is told: the last answer to a code that was to be redeemed."""
    redeemed = [
        answer
        for one, answer in zip(scenario.asked, scenario.answers, strict=True)
        if isinstance(one, Confirm) or not one.hold
    ]
    return redeemed[-1] if redeemed else None
