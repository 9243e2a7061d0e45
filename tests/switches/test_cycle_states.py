"""Power is never left off: whatever may happen, the way to an end leads over having read that the port is on again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from provisioner.cycle_states import CYCLE_WORDS, ENDS, MAY_BE_OFF, TRANSITIONS, CycleState, CycleStep, sources, target


def test_every_state_is_reached_and_every_end_is_one() -> None:
    reached, todo = {CycleState.ASKED}, [CycleState.ASKED]
    while todo:
        state = todo.pop()
        for (before, _), after in TRANSITIONS.items():
            if before is state and after not in reached:
                reached.add(after)
                todo.append(after)
    assert reached == set(CycleState)
    assert {before for before, _ in TRANSITIONS} == set(CycleState) - ENDS
    assert set(CYCLE_WORDS) == set(CycleState)


def test_a_step_leads_where_it_always_leads() -> None:
    for step in CycleStep:
        assert {after for (_, one), after in TRANSITIONS.items() if one is step} == {target(step)}
        assert sources(step)


def test_out_of_the_dark_leads_only_what_has_seen_that_it_is_light() -> None:
    out = {step for (before, step), after in TRANSITIONS.items() if before in MAY_BE_OFF and after not in MAY_BE_OFF}
    assert out == {CycleStep.FINISH, CycleStep.GIVE_UP, CycleStep.SEEN}
    assert set(sources(CycleStep.FINISH)) == set(sources(CycleStep.GIVE_UP)) == {CycleState.RESTORING}
    assert not ENDS & MAY_BE_OFF
    assert sources(CycleStep.CUT) == (CycleState.CHECKING,), "nothing is switched off that nobody has looked at"


@given(st.lists(st.sampled_from(CycleStep), max_size=30))
def test_no_order_of_events_ends_in_the_dark(steps: list[CycleStep]) -> None:
    """A port with its switch: CUT turns it off, FINISH and GIVE_UP have read it back as on, SEEN is a person's word."""
    state, off = CycleState.ASKED, False
    for step in steps:
        if (after := TRANSITIONS.get((state, step))) is None:
            continue
        off = step is CycleStep.CUT or (off and step not in (CycleStep.FINISH, CycleStep.GIVE_UP, CycleStep.SEEN))
        state = after
        assert off is (state in MAY_BE_OFF)
        assert not (off and state in ENDS)
