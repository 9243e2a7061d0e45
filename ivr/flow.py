"""Rule: one conversation for every telephone system, pure: an input and the clock go in, a list of outputs comes out.

What an adapter (SIP, FastAGI, TwiML, mod_httapi, REST) does with it:

- It feeds what happened and obeys the list in its order. Lists of several feeds may be joined: a later Play or Collect
  replaces an earlier one.
- ``Play`` replaces what is playing. Keys reach the Flow while it plays, and the Flow says ``Stop`` where they end the
  prompt; the adapter never stops it by itself. When a prompt has ended by itself: ``Played()``.
- ``Play`` with a ``Collect`` behind it is one verb for systems that play and gather in one. They feed all the keys
  gathered, with the "#" where one ended them, and ``Timeout()`` after keys that a pause ended, or for none at all.
- A system that plays by itself and reports no end (a document of verbs) feeds ``Played()`` at once after a list that
  ends with a Play, and so gets its Hangup for the same document.
- ``timer`` is the moment at which ``Timeout()`` is due unless another input comes before; it moves with every input.
  Systems with timers of their own take the seconds from Collect and need ``timer`` for the end of the call only.
- ``Attempt`` and ``Confirm`` ask the use-case; its answer is fed as ``Outcome``, at once or later.
- ``Note`` is for the event log: every Play has one before it. The adapter adds device and source.

Keys that nobody waits for are dropped: all while an answer is out, and a "#" with nothing before it, for it is what
remains of a code that was complete without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final

from ivr.flow_table import ASKING, CLOSING, COLLECTING, READ_BACK, TABLE, TAIL, WAITING, Act, Event, Row, State
from ivr.flow_words import (
    Attempt,
    Caller,
    Cause,
    Collect,
    Confirm,
    Digits,
    Ended,
    FlowSettings,
    Hangup,
    Input,
    Note,
    Outcome,
    Output,
    Play,
    Played,
    Result,
    ResultKind,
    Started,
    Stop,
    Timeout,
)

__all__ = [
    "Attempt",
    "Caller",
    "Cause",
    "Collect",
    "Confirm",
    "Digits",
    "Ended",
    "Flow",
    "FlowSettings",
    "Hangup",
    "Input",
    "Note",
    "Outcome",
    "Output",
    "Play",
    "Played",
    "Result",
    "ResultKind",
    "Started",
    "State",
    "Stop",
    "Timeout",
]

_LONGEST_READ: Final = 16
"""Digits of an extension that are read back; nobody listens to more."""
_SPECIFIC: Final = frozenset({ResultKind.EXPIRED, ResultKind.USED, ResultKind.WRONG_MODEL, ResultKind.NOT_READY})
"""Only a caller whose device is authenticated hears these; another learns nothing about a code from them."""
_EVENTS: Final = {
    ResultKind.ACCEPTED: Event.ACCEPTED,
    ResultKind.TYPO: Event.MISTYPED,
    ResultKind.WRONG: Event.WRONG,
    ResultKind.EXPIRED: Event.EXPIRED,
    ResultKind.USED: Event.USED,
    ResultKind.WRONG_MODEL: Event.WRONG_MODEL,
    ResultKind.NOT_READY: Event.NOT_READY,
    ResultKind.LOCKED: Event.LOCKED,
    ResultKind.BUSY: Event.BUSY,
    ResultKind.UNSUPPORTED: Event.UNSUPPORTED,
    ResultKind.ERROR: Event.FAILED,
}
_CAUSES: Final = {
    State.SUCCESS: Cause.ACTIVATED,
    State.GOODBYE: Cause.NO_CODE,
    State.LOCKED: Cause.LOCKED,
    State.BUSY: Cause.BUSY,
    State.ERROR: Cause.ERROR,
    State.ADMINISTRATOR: Cause.UNSUPPORTED,
    State.NOT_READY: Cause.NOT_READY,
}


class Flow:
    """One call's conversation; ``checks`` says whether a code's check digit is right."""

    def __init__(self, settings: FlowSettings, checks: Callable[[str], bool], language: str = "en") -> None:
        """``language`` is for the adapter that looks up the prompts."""
        self.settings = settings
        self.language = language
        self._checks = checks
        self._lengths = frozenset({settings.code_digits, *settings.other_lengths})
        self._state = State.READY
        self._authenticated = False
        self._entry = ""
        self._code = ""
        self._owed: Act | None = None
        self._extension = ""
        self._tries = 0
        self._silences = 0
        self._playing = False
        self._began = self._spoke = 0.0
        self._due = math.inf

    @property
    def state(self) -> State:
        """Where the conversation stands."""
        return self._state

    @property
    def timer(self) -> float | None:
        """When ``Timeout()`` is due; None before the call and after it."""
        if self._state in (State.READY, State.ENDED):
            return None
        if self._state in CLOSING:
            return self._end
        return min(self._due, self._end - self.settings.farewell)

    def feed(self, given: Input, now: float) -> list[Output]:
        """What to do about it."""
        event, cause = self._read(given, now)
        row = TABLE[self._state, event]
        self._count(event)
        to = (row.last if row.last and self._spent(event) else row.to) or self._state
        before, self._state = self._state, to
        return self._do(row, before, cause, now)

    @property
    def _end(self) -> float:
        return self._began + self.settings.longest

    # Reading: which event of the table is it?

    def _read(self, given: Input, now: float) -> tuple[Event, str]:
        """The event, and its cause for the log, which may know more than the caller is told."""
        if isinstance(given, Outcome):
            return self._answer(given.result, now)
        if isinstance(given, Started) and self._state is State.READY:
            return self._start(given, now)
        event = self._clocked(given, now)
        return event, event

    def _start(self, given: Started, now: float) -> tuple[Event, str]:
        self._began = now
        self._authenticated = given.caller.authenticated
        event = _EVENTS[given.refusal.kind] if given.refusal else Event.STARTED
        return event, event

    def _clocked(self, given: Input, now: float) -> Event:
        """The call's end goes before everything but its being over already."""
        if isinstance(given, Ended):
            return Event.GONE
        if self._state is not State.READY and now >= self._end:
            return Event.OVERTIME
        if self._state in COLLECTING | WAITING and now >= self._end - self.settings.farewell:
            return Event.LATE
        if isinstance(given, Digits):
            return self._keyed(given.text, now)
        if isinstance(given, Timeout):
            return self._timed_out()
        if isinstance(given, Played):
            return Event.PLAYED if self._playing else Event.STRAY
        return Event.STARTED

    def _answer(self, result: Result, now: float) -> tuple[Event, str]:
        """An answer that is not owed is nobody's."""
        owed, self._owed = self._owed, None
        if owed is None:
            return Event.STRAY, Event.STRAY
        if now >= self._end:
            return Event.OVERTIME, Event.OVERTIME
        self._extension = result.extension
        event = _EVENTS[result.kind]
        if event is Event.ACCEPTED and owed is Act.ASK and self._holds:
            event = Event.HELD
        heard = Event.WRONG if result.kind in _SPECIFIC and not self._authenticated else event
        return heard, event

    @property
    def _holds(self) -> bool:
        return self.settings.confirm_extension

    def _keyed(self, text: str, now: float) -> Event:
        keys = [key for key in text if key in "0123456789*#"]
        if self._state in ASKING:
            return self._entered(keys)
        if self._state is State.CONFIRM:
            choices = {"1": Event.AGREED, "*": Event.DECLINED}
            return next((choices[key] for key in keys if key in choices), Event.STRAY)
        early = now - self._spoke < self.settings.grace
        if self._state in CLOSING and not early and any(key != "#" for key in keys):
            return Event.SKIPPED
        return Event.STRAY

    def _entered(self, keys: list[str]) -> Event:
        """Keys after the one that completes a code fall to the rule for an answer that is out: dropped."""
        event = Event.STRAY
        for key in keys:
            if key == "*":
                self._entry, event = "", Event.CLEARED
            elif key != "#":
                self._entry, event = self._entry + key, Event.KEY
            if len(self._entry) >= self.settings.code_digits or (key == "#" and self._entry):
                return self._submitted()
        return event

    def _timed_out(self) -> Event:
        if self._state in WAITING:
            return Event.UNANSWERED
        return self._submitted() if self._entry else Event.SILENT

    def _submitted(self) -> Event:
        self._code, self._entry = self._entry, ""
        good = len(self._code) in self._lengths and self._checks(self._code)
        return Event.COMPLETE if good else Event.MISTYPED

    # Doing: what does the row ask for?

    def _count(self, event: Event) -> None:
        """A code keyed counts once: when it is sent, or when it is not worth sending."""
        if event is Event.COMPLETE or (event is Event.MISTYPED and self._state in ASKING):
            self._tries += 1
        if event is Event.SILENT and self._state in COLLECTING:
            self._silences += 1

    def _spent(self, event: Event) -> bool:
        if event is Event.SILENT:
            return self._silences >= self.settings.silences
        return self._tries >= self.settings.tries

    def _do(self, row: Row, before: State, cause: str, now: float) -> list[Output]:
        match row.act:
            case Act.SAY:
                return self._say(row.say + TAIL[self._state], cause, now)
            case Act.LISTEN:
                return self._listen(row.on, now)
            case Act.ASK | Act.REDEEM:
                return self._ask(row.act, now)
            case Act.HANG_UP:
                return [Hangup(_CAUSES.get(before, Cause.OVERTIME))]
            case Act.NOTHING:
                return [self._note(cause)] if before is not self._state else []

    def _say(self, prompts: tuple[str, ...], cause: str, now: float) -> list[Output]:
        self._playing, self._spoke, self._due = True, now, math.inf
        said: list[Output] = [self._note(cause), Play(tuple(self._spoken(prompts)))]
        if self._state in COLLECTING:
            said.append(self._collect(self.settings.first))
        if self._state is not State.CONFIRM:
            self._code = ""
        return said

    def _spoken(self, prompts: tuple[str, ...]) -> Iterator[str]:
        """With the extension's digits; one that is no number is left out, together with the words that lead to it."""
        number = self._extension
        legible = number.isascii() and number.isdigit() and len(number) <= _LONGEST_READ
        for prompt in prompts:
            if prompt not in READ_BACK:
                yield prompt
            elif legible:
                yield prompt
                yield from (f"digit_{digit}" for digit in number)

    def _listen(self, event: Event, now: float) -> list[Output]:
        if event is Event.PLAYED:
            self._playing = False
        wait = self.settings.inter if self._entry else self.settings.first
        self._due = now + wait
        return [*self._stop(), self._collect(wait)]

    def _collect(self, wait: float) -> Collect:
        keys = 1 if self._state is State.CONFIRM else self.settings.code_digits - len(self._entry)
        return Collect(keys, "#", wait, self.settings.inter)

    def _ask(self, act: Act, now: float) -> list[Output]:
        self._owed, self._due = act, now + self.settings.answer
        asked = Attempt(self._code, self._tries, self._holds) if act is Act.ASK else Confirm(self._code, self._tries)
        return [*self._stop(), asked]

    def _stop(self) -> list[Output]:
        playing, self._playing = self._playing, False
        return [Stop()] if playing else []

    def _note(self, cause: str) -> Note:
        return Note(str(cause), self._tries, self._extension)
