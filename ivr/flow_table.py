"""Rule: what the conversation does next stands in ROWS and IGNORED, both data; flow.py only looks it up.

A row says: in these states, when this happens, go there, do that and say this. A row with ``last`` goes there instead
when the call's tries are spent. What a state ignores on purpose is listed too, so that nothing is left undefined.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final, NamedTuple


class State(StrEnum):
    """Where the conversation stands."""

    READY = "ready"
    WELCOME = "welcome"
    ENTER = "enter"
    TYPO = "re-enter after typo"
    WRONG = "wrong"
    NO_INPUT = "no input"
    CHECKING = "checking"
    CONFIRM = "confirm extension"
    BINDING = "binding"
    SUCCESS = "success"
    LOCKED = "locked"
    BUSY = "busy"
    ERROR = "system error"
    ADMINISTRATOR = "ask administrator"
    NOT_READY = "not ready"
    GOODBYE = "goodbye"
    ENDED = "ended"


class Event(StrEnum):
    """What happened, as the table knows it; most are also the cause of a prompt in the event log."""

    STARTED = "started"
    KEY = "key"
    CLEARED = "cleared"
    COMPLETE = "complete"
    MISTYPED = "mistyped"
    SILENT = "silent"
    UNANSWERED = "unanswered"
    """The use-case has taken too long."""
    PLAYED = "played"
    AGREED = "agreed"
    DECLINED = "declined"
    SKIPPED = "skipped"
    STRAY = "stray"
    """Nothing anybody waits for: a key too many, the end of a prompt already stopped, an answer not asked for."""
    HELD = "held"
    """The code is good and waits to be confirmed."""
    ACCEPTED = "accepted"
    WRONG = "wrong"
    EXPIRED = "expired"
    USED = "used"
    WRONG_MODEL = "wrong_model"
    NOT_READY = "not_ready"
    LOCKED = "locked"
    BUSY = "busy"
    UNSUPPORTED = "unsupported"
    FAILED = "failed"
    LATE = "late"
    """The call has to come to its end: what remains of its time is for a farewell."""
    OVERTIME = "overtime"
    GONE = "gone"


class Act(StrEnum):
    """What the Flow does on its way into the next state."""

    SAY = "say"
    LISTEN = "listen"
    ASK = "ask"
    REDEEM = "redeem"
    HANG_UP = "hang up"
    NOTHING = "nothing"


ASKING: Final = frozenset({State.WELCOME, State.ENTER, State.TYPO, State.WRONG, State.NO_INPUT})
"""A code is being keyed in, or waited for."""
WAITING: Final = frozenset({State.CHECKING, State.BINDING})
"""The use-case has been asked and has not answered yet."""
CLOSING: Final = frozenset(
    {State.SUCCESS, State.LOCKED, State.BUSY, State.ERROR, State.ADMINISTRATOR, State.NOT_READY, State.GOODBYE},
)
"""The last prompt is being played."""
COLLECTING: Final = ASKING | {State.CONFIRM}
"""Keys are waited for."""
TALKING: Final = frozenset(State) - {State.READY, State.ENDED}

TAIL: Final[Mapping[State, tuple[str, ...]]] = {
    State.WELCOME: ("welcome", "enter"),
    State.ENTER: ("enter",),
    State.TYPO: ("enter",),
    State.WRONG: ("enter",),
    State.NO_INPUT: ("enter",),
    State.CONFIRM: ("confirm_extension", "confirm_keys"),
    State.SUCCESS: ("success", "your_extension"),
    State.LOCKED: ("locked",),
    State.BUSY: ("busy",),
    State.ERROR: ("system_error",),
    State.ADMINISTRATOR: ("ask_administrator",),
    State.NOT_READY: ("goodbye",),  # it sends them to their administrator, and blames neither phone nor code
    State.GOODBYE: ("goodbye",),
}
"""What is said on the way into a state, after what the row itself says."""
READ_BACK: Final = frozenset({"confirm_extension", "your_extension"})
"""Prompts after which the digits of the extension are read."""


class Row(NamedTuple):
    """In any of these states, on this event."""

    states: frozenset[State]
    on: Event
    to: State | None
    """None stays where it is."""
    act: Act
    say: tuple[str, ...] = ()
    last: State | None = None
    """Where to go instead when the tries are spent."""


def _only(*states: State) -> frozenset[State]:
    return frozenset(states)


_READY: Final = _only(State.READY)
_CONFIRM: Final = _only(State.CONFIRM)
_ANSWERABLE: Final = WAITING | _READY
"""READY too: the use-case may turn a caller away before the first prompt."""

ROWS: Final = (
    Row(_READY, Event.STARTED, State.WELCOME, Act.SAY),
    Row(ASKING, Event.KEY, State.ENTER, Act.LISTEN),
    Row(ASKING, Event.CLEARED, State.ENTER, Act.LISTEN),
    Row(ASKING, Event.COMPLETE, State.CHECKING, Act.ASK),
    Row(ASKING | WAITING, Event.MISTYPED, State.TYPO, Act.SAY, ("reenter_typo",), last=State.GOODBYE),
    Row(ASKING, Event.SILENT, State.NO_INPUT, Act.SAY, ("no_input",), last=State.GOODBYE),
    Row(COLLECTING, Event.PLAYED, None, Act.LISTEN),
    Row(COLLECTING, Event.LATE, State.GOODBYE, Act.SAY),
    Row(_only(State.CHECKING), Event.HELD, State.CONFIRM, Act.SAY),
    Row(WAITING, Event.ACCEPTED, State.SUCCESS, Act.SAY),
    Row(WAITING, Event.WRONG, State.WRONG, Act.SAY, ("wrong",), last=State.GOODBYE),
    Row(WAITING, Event.EXPIRED, State.WRONG, Act.SAY, ("expired",), last=State.GOODBYE),
    Row(WAITING, Event.USED, State.WRONG, Act.SAY, ("used",), last=State.GOODBYE),
    Row(WAITING, Event.WRONG_MODEL, State.WRONG, Act.SAY, ("wrong_model",), last=State.GOODBYE),
    Row(WAITING, Event.NOT_READY, State.NOT_READY, Act.SAY),
    Row(_ANSWERABLE, Event.LOCKED, State.LOCKED, Act.SAY),
    Row(_ANSWERABLE, Event.BUSY, State.BUSY, Act.SAY),
    Row(_ANSWERABLE, Event.UNSUPPORTED, State.ADMINISTRATOR, Act.SAY),
    Row(_ANSWERABLE, Event.FAILED, State.ERROR, Act.SAY),
    Row(WAITING, Event.UNANSWERED, State.ERROR, Act.SAY),
    Row(WAITING, Event.LATE, State.ERROR, Act.SAY),
    # The answer came after the caller was told of an error: the good news is the truth.
    Row(_only(State.ERROR), Event.ACCEPTED, State.SUCCESS, Act.SAY),
    Row(_CONFIRM, Event.AGREED, State.BINDING, Act.REDEEM),
    Row(_CONFIRM, Event.DECLINED, State.ENTER, Act.SAY, last=State.GOODBYE),
    Row(_CONFIRM, Event.SILENT, State.CONFIRM, Act.SAY, last=State.GOODBYE),
    Row(CLOSING, Event.PLAYED, State.ENDED, Act.HANG_UP),
    Row(CLOSING, Event.SKIPPED, State.ENDED, Act.HANG_UP),
    Row(TALKING, Event.OVERTIME, State.ENDED, Act.HANG_UP),
    Row(TALKING | _READY, Event.GONE, State.ENDED, Act.NOTHING),
)

_KEYED: Final = frozenset({Event.KEY, Event.CLEARED, Event.COMPLETE})
_CHOSEN: Final = frozenset({Event.AGREED, Event.DECLINED})
_REFUSED: Final = frozenset({Event.WRONG, Event.EXPIRED, Event.USED, Event.WRONG_MODEL, Event.NOT_READY})
_TURNED_AWAY: Final = frozenset({Event.LOCKED, Event.BUSY, Event.UNSUPPORTED, Event.FAILED})
_GOOD: Final = frozenset({Event.HELD, Event.ACCEPTED})
_ANSWERED: Final = _GOOD | _REFUSED | _TURNED_AWAY
_CLOCK: Final = frozenset({Event.SILENT, Event.UNANSWERED, Event.LATE, Event.OVERTIME})
_MISTYPED: Final = frozenset({Event.MISTYPED})
_PLAYED: Final = frozenset({Event.PLAYED})
_SKIPPED: Final = frozenset({Event.SKIPPED})
_ALWAYS: Final = frozenset({Event.STRAY})

IGNORED: Final[tuple[tuple[frozenset[State], frozenset[Event]], ...]] = (
    (frozenset(State), _ALWAYS),
    (TALKING, frozenset({Event.STARTED})),
    (_READY, _KEYED | _MISTYPED | _CHOSEN | _GOOD | _REFUSED | _CLOCK | _PLAYED | _SKIPPED),
    (ASKING, _CHOSEN | _ANSWERED | _SKIPPED | {Event.UNANSWERED}),
    # A key pressed while the answer is out was pressed before the next prompt could be heard: it is dropped.
    (WAITING, _KEYED | _CHOSEN | _SKIPPED | _PLAYED | {Event.SILENT}),
    (_only(State.BINDING), frozenset({Event.HELD})),
    (_CONFIRM, _KEYED | _MISTYPED | _ANSWERED | _SKIPPED | {Event.UNANSWERED}),
    (CLOSING, _KEYED | _MISTYPED | _CHOSEN | (_CLOCK - {Event.OVERTIME}) | (_ANSWERED - {Event.ACCEPTED})),
    (CLOSING - {State.ERROR}, frozenset({Event.ACCEPTED})),
    (_only(State.ENDED), frozenset(Event) - _ALWAYS),
)
"""What changes nothing and says nothing."""


def _table() -> Iterator[tuple[tuple[State, Event], Row]]:
    for row in ROWS:
        for state in sorted(row.states):
            yield (state, row.on), row
    for states, events in IGNORED:
        for state in sorted(states):
            for event in sorted(events):
                yield (state, event), Row(_only(state), event, None, Act.NOTHING)


TABLE: Final[Mapping[tuple[State, Event], Row]] = dict(_table())
"""Every state with every event."""


def prompts() -> frozenset[str]:
    """Every prompt that the table can say, the digits included."""
    said = {prompt for row in ROWS for prompt in row.say}
    ends = {prompt for tail in TAIL.values() for prompt in tail}
    return frozenset(said | ends | {f"digit_{digit}" for digit in range(10)})


_NODES: Final[tuple[tuple[str, frozenset[State]], ...]] = (
    ("Ready", _READY),
    ("Asking", ASKING),
    ("Waiting", WAITING),
    ("Confirming", _CONFIRM),
    ("Closing", CLOSING),
    ("Ended", _only(State.ENDED)),
)
"""States that behave alike share a node in the diagram."""


def diagram() -> str:
    """The table as a Mermaid state diagram: a node a group of states, a line a row on the arrow between two of them."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for row in ROWS:
        for source, target, label in _arrows(row):
            arrows.setdefault((source, target), []).append(label)
    nodes = [f"    {name} : {', '.join(state for state in State if state in states)}" for name, states in _NODES]
    drawn = [f"    {source} --> {target} : {'<br/>'.join(lines)}" for (source, target), lines in arrows.items()]
    return "\n".join(["stateDiagram-v2", *nodes, "    [*] --> Ready", *drawn, "    Ended --> [*]", ""])


def _arrows(row: Row) -> Iterator[tuple[str, str, str]]:
    """Once for each node that has a state of this row."""
    for name, states in _NODES:
        if states & row.states:
            yield name, _node(row.to) if row.to else name, f"{row.on}, {_does(row, row.to)}"
            if row.last:
                yield name, _node(row.last), f"{row.on} and tries spent, {_does(row, row.last)}"


def _node(state: State) -> str:
    return next(name for name, states in _NODES if state in states)


def _does(row: Row, to: State | None) -> str:
    if row.act is not Act.SAY or to is None:
        return row.act
    return f"say {' + '.join((*row.say, *TAIL[to]))}"


def listing() -> str:
    """The table as Markdown: every row in words, for those who do not read diagrams."""
    lines = ["| in | when | then | and is in | tries spent |", "|---|---|---|---|---|"]
    for row in ROWS:
        where = ", ".join(state for state in State if state in row.states)
        last = _does(row, row.last) if row.last else ""
        lines.append(f"| {where} | {row.on} | {_does(row, row.to)} | {row.to or 'the same'} | {last} |")
    return "\n".join([*lines, ""])
