"""Rule: one call through a Flow and a Desk; an adapter tells it what happened and is told what to do, and no more.

Questions to the Desk are asked here, and answered within what the Flow and the other side's patience allow. An answer
that comes later is told if the call still stands; if not, it still reaches ``finished``, for the phone may be bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from ivr.desk import Desk, ask
from ivr.flow import (
    Attempt,
    Caller,
    Cause,
    Collect,
    Confirm,
    Ended,
    Hangup,
    Input,
    Note,
    Outcome,
    Output,
    Play,
    Result,
    Started,
    State,
    Stop,
    Timeout,
)

Count = Callable[[str, str], None]
"""Metric and label, as the product's."""


def uncounted(metric: str, label: str) -> None:
    """Where nobody counts."""
    del metric, label


_OPEN: Final[set[asyncio.Task[Result]]] = set()
"""Questions without an answer yet, also those of calls that are over; the event loop keeps tasks weakly."""


@dataclass(frozen=True, slots=True)
class Said:
    """What is to be done now: these prompts, then wait for keys or hang up; neither where a last prompt plays."""

    prompts: tuple[str, ...] = ()
    collect: Collect | None = None
    hangup: Cause | None = None

    @property
    def closing(self) -> bool:
        """A last prompt, whose end has to be told."""
        return bool(self.prompts) and self.collect is None and self.hangup is None

    def after(self, output: Output) -> Said:
        """With one more output of the Flow."""
        match output:
            case Play():
                return Said(output.prompts)
            case Collect():
                return replace(self, collect=output)
            case Hangup():
                return replace(self, collect=None, hangup=output.cause)
            case Stop():
                return replace(self, prompts=())
            case _:
                return self


class Conversation:
    """One call."""

    def __init__(
        self,
        desk: Desk,
        caller: Caller,
        clock: Callable[[], float],
        *,
        language: str = "",
        patience: float = 60.0,
        count: Count = uncounted,
    ) -> None:
        """``patience`` is how long the other side waits for what we tell it, in seconds."""
        self._count = count
        self._outcome = "caller"
        self.caller = caller
        self.flow = desk.flow(language)
        self._desk = desk
        self._clock = clock
        self._patience = patience
        self._result: Result | None = None
        self._asking: asyncio.Task[Result] | None = None
        self._late = False
        self._over = False

    async def begin(self, refusal: Result | None = None) -> Said:
        """The call is up; ``refusal`` turns it away without asking the Desk."""
        refused = refusal or await self._desk.greet(self.caller)
        return await self.tell(Started(self.caller, refused)) or Said()

    async def tell(self, *inputs: Input) -> Said | None:
        """What to do about it; None to go on as before. The inputs end where the Flow has spoken."""
        said = Said()
        for given in (*self._news(), *inputs):
            said = await self._feed(given, said)
            if said.hangup:
                self._outcome = said.hangup.value.replace(" ", "_")
            if said.prompts or said.hangup:
                break
        return None if said == Said() else said

    async def _feed(self, given: Input | None, said: Said) -> Said:
        while given is not None:
            asked = None
            for output in self.flow.feed(given, self._clock()):
                if isinstance(output, Note):
                    self._desk.note(self.caller, output)
                elif isinstance(output, Attempt | Confirm):
                    asked = output
                said = said.after(output)
            given = await self._answer(asked) if asked else None
        return said

    async def _answer(self, asked: Attempt | Confirm) -> Input:
        task = self._asking = asyncio.ensure_future(self._ask(asked))
        _OPEN.add(task)
        task.add_done_callback(_OPEN.discard)
        left = (self.flow.timer or 0.0) - self._clock()
        await asyncio.wait({task}, timeout=max(0.0, min(left, self._patience)))
        self._late = not task.done()
        return Timeout() if self._late else Outcome(task.result())

    async def _ask(self, asked: Attempt | Confirm) -> Result:
        result = await ask(self._desk, self.caller, asked)
        if isinstance(asked, Confirm) or not asked.hold:
            self._result = result
        return result

    def _news(self) -> tuple[Input, ...]:
        """The answer that came after its time."""
        if not self._late or self._asking is None or not self._asking.done():
            return ()
        self._late = False
        return (Outcome(self._asking.result()),)

    def end(self) -> None:
        """The call is over, whoever ended it; once or more."""
        if self._over:
            return
        self._over = True
        self._count("ivr_calls", self._outcome)
        if self.flow.state is not State.ENDED:
            for output in self.flow.feed(Ended(), self._clock()):
                if isinstance(output, Note):
                    self._desk.note(self.caller, output)
        if self._asking is None or self._asking.done():
            self._desk.finished(self.caller, self._result)
        else:
            self._asking.add_done_callback(lambda _: self._desk.finished(self.caller, self._result))
