"""The table alone: whole, reachable, ending; and the pictures drawn from it show all of it."""

from __future__ import annotations

import pytest

from ivr import flow_table
from ivr.flow_table import ASKING, CLOSING, COLLECTING, IGNORED, ROWS, TABLE, TAIL, WAITING, Act, Event, State, prompts


def test_every_state_knows_every_event_exactly_once() -> None:
    listed = [(state, row.on) for row in ROWS for state in row.states]
    ignored = [(state, event) for states, events in IGNORED for state in states for event in events]
    everything = [(state, event) for state in State for event in Event]
    assert sorted(listed + ignored) == sorted(everything)
    assert set(TABLE) == set(everything)


def test_ignoring_changes_nothing() -> None:
    ignored = {(state, event) for states, events in IGNORED for state in states for event in events}
    assert {TABLE[pair][2:] for pair in ignored} == {(None, Act.NOTHING, (), None)}


def after(state: State) -> set[State]:
    rows = [row for row in ROWS if state in row.states]
    return {to for row in rows for to in (row.to, row.last) if to}


def reachable(state: State) -> set[State]:
    found, new = {state}, [state]
    while new:
        fresh = after(new.pop()) - found
        found |= fresh
        new += fresh
    return found


def test_every_state_is_reached_and_every_state_ends() -> None:
    assert reachable(State.READY) == set(State)
    assert [state for state in State if State.ENDED not in reachable(state)] == []
    assert after(State.ENDED) == set()


def test_states_are_of_one_kind() -> None:
    kinds = [{State.READY}, ASKING, {State.CONFIRM}, WAITING, CLOSING, {State.ENDED}]
    assert sorted(state for kind in kinds for state in kind) == sorted(State)
    assert ASKING | {State.CONFIRM} == COLLECTING


def test_only_a_state_that_says_something_is_entered_with_words() -> None:
    said = {to for row in ROWS if row.act is Act.SAY for to in (row.to, row.last) if to}
    assert said == set(TAIL)


def test_what_a_caller_can_spoil_is_counted() -> None:
    """Without ``last`` a caller could go round for ever."""
    spoilt = {Event.MISTYPED, Event.SILENT, Event.WRONG, Event.EXPIRED, Event.USED, Event.WRONG_MODEL, Event.DECLINED}
    endless = [row for row in ROWS if row.on in spoilt and row.to in COLLECTING and row.last is None]
    assert endless == []


@pytest.mark.parametrize("draw", [flow_table.diagram, flow_table.listing])
def test_the_pictures_show_all(draw: object) -> None:
    assert callable(draw)
    drawn = draw()
    assert [word for word in (*State, *{row.on for row in ROWS}) if str(word) not in drawn] == []
    assert [prompt for prompt in prompts() if not prompt.startswith("digit_") and prompt not in drawn] == []


def test_the_diagram_is_mermaid() -> None:
    lines = flow_table.diagram().splitlines()
    assert lines[0] == "stateDiagram-v2"
    nodes = {line.split(" : ")[0].strip() for line in lines if " : " in line and "-->" not in line}
    arrows = [line.strip().split(" : ")[0].split(" --> ") for line in lines if "-->" in line]
    assert {end for arrow in arrows for end in arrow} - nodes == {"[*]"}
    assert [line for line in lines if line.count(":") > 1 or ";" in line] == [], "Mermaid would misread these"
    assert len(arrows) == len({tuple(arrow) for arrow in arrows}), "one arrow between two nodes"


def test_the_listing_is_one_table() -> None:
    lines = flow_table.listing().splitlines()
    assert len(lines) == len(ROWS) + 2
    assert {line.count("|") for line in lines} == {6}
