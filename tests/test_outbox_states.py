"""A message's life as a table: no way out of the end, nothing lost on the way, and waits that grow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.outbox_states import (
    OVER,
    TRANSITIONS,
    UNSETTLED,
    MessageEvent,
    MessageState,
    backoff,
    sources,
    target,
)


def test_every_state_is_reached_and_only_the_end_is_left_by_nobody() -> None:
    reached = {to for ways in TRANSITIONS.values() for to in ways.values()} | {MessageState.QUEUED}
    assert reached == set(MessageState) == set(TRANSITIONS)
    assert set(OVER) == {MessageState.SENT, MessageState.DROPPED}
    assert set(UNSETTLED) == set(sources(MessageEvent.CLAIM))


@pytest.mark.parametrize("event", MessageEvent)
def test_an_event_leads_to_one_state_from_wherever_it_happens(event: MessageEvent) -> None:
    assert {TRANSITIONS[state][event] for state in sources(event)} == {target(event)}


@given(st.lists(st.sampled_from(MessageEvent)))
def test_a_message_that_was_sent_or_dropped_stays_so(events: list[MessageEvent]) -> None:
    state, over = MessageState.QUEUED, False
    for event in events:
        after = TRANSITIONS[state].get(event, state)
        assert not over or after is state
        state, over = after, over or after in OVER


@given(st.integers(0, 10_000), st.floats(1, 3600), st.floats(1, 86_400), st.floats(0, 1))
def test_a_wait_is_never_longer_than_the_longest_nor_shorter_than_half(
    attempts: int, first: float, most: float, chance: float
) -> None:
    wait = backoff(attempts, first, most, chance)
    assert min(first, most) / 2 <= wait <= most


def test_waits_double_until_they_do_not() -> None:
    assert [backoff(number, 30, 600, 1.0) for number in range(1, 8)] == [30, 60, 120, 240, 480, 600, 600]
    assert backoff(1, 30, 600, 0.0) == 15
