"""The table of what may become of a device that is to fetch again, walked; and what a person is told."""

from __future__ import annotations

import pytest

from provisioner.model import Mac
from provisioner.resync_states import TRANSITIONS, Standing, State, Step, Way, sources, span, target


def test_every_state_is_reached_and_every_step_leads_to_one_state() -> None:
    assert set(TRANSITIONS.values()) == set(State)
    for step in Step:
        assert len({state for (_, one), state in TRANSITIONS.items() if one is step}) == 1
        assert all(TRANSITIONS[state, step] is target(step) for state in sources(step))


def test_who_was_told_cannot_be_called_back_and_who_has_come_is_not_given_up_as_untold() -> None:
    assert sources(Step.STOP) == (State.BOUND,)
    assert State.REGISTERED not in {state for state, step in TRANSITIONS if step is not Step.ASK}
    assert State.STOPPED not in {state for state, step in TRANSITIONS if step is not Step.ASK}
    assert set(sources(Step.ASK)) == set(State)


def standing(state: State, way: Way = Way.NONE, due: float = 0.0) -> Standing:
    return Standing(Mac("0004f2aabb01"), "c", state, way, 0, due, 0.0, 0, "", 9000.0)


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (standing(State.BOUND, due=700.0), "its turn comes in 10 min"),
        (standing(State.BOUND, due=50.0), "its turn is now"),
        (standing(State.BOUND, Way.POLL, 50.0), "asks by itself within 3 h"),
        (standing(State.STUCK), "unplug it"),
        (standing(State.STOPPED), "stopped"),
    ],
)
def test_a_person_is_told_what_is_waited_for(one: Standing, words: str) -> None:
    assert words in one.told(100.0)


def test_spans_are_rounded_up() -> None:
    assert [span(one) for one in (-1, 0, 59.6, 119, 120, 121, 7199, 7200, 7201)] == [
        "0 s", "0 s", "60 s", "119 s", "2 min", "3 min", "120 min", "2 h", "3 h",
    ]  # fmt: skip
