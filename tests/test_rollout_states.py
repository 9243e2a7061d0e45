"""Who gets a change that is rolled out, and when it goes on: tables and numbers, and any course that it may take."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from provisioner.rollout_states import (
    PARTS,
    TRANSITIONS,
    Judgement,
    RolloutState,
    RolloutStep,
    Rules,
    Tally,
    first_share,
    judge,
    next_share,
    part_of,
    sources,
    target,
)

RULES = Rules(missing=0.1, least=3, back=0.5, patience=3600.0)
MACS = [f"0004f2{number:06x}" for number in range(400)]
FEW = st.integers(0, 40)
TALLIES = st.builds(Tally, FEW, FEW, FEW, FEW)


def test_every_step_leads_to_one_state_and_what_is_over_stays_so() -> None:
    assert set(TRANSITIONS.values()) == set(RolloutState)
    for step in RolloutStep:
        assert {TRANSITIONS[state, step] for state in sources(step)} == {target(step)}
    assert {state for state in RolloutState if state.over} == {RolloutState.DONE, RolloutState.REVERTED}
    assert not [state for state, _ in TRANSITIONS if state.over]
    assert not {RolloutState.HALTED} & set(sources(RolloutStep.HALT))


def test_the_parts_are_even_and_differ_by_change() -> None:
    parts = [part_of(mac, 7) for mac in MACS]
    assert parts == [part_of(mac, 7) for mac in MACS]
    below = sum(one < PARTS // 2 for one in parts)
    assert 160 < below < 240
    first = {mac for mac in MACS if part_of(mac, 7) < 1000}
    assert first != {mac for mac in MACS if part_of(mac, 8) < 1000}


@given(st.floats(0.01, 100), st.lists(st.integers(0, PARTS - 1), max_size=50))
def test_somebody_is_among_the_first(percent: float, parts: list[int]) -> None:
    share = first_share(percent, parts)
    assert 1 <= share <= PARTS
    assert not parts or any(one < share for one in parts)
    assert share == PARTS or percent < 100


@given(st.integers(1, PARTS), st.floats(1.1, 100))
def test_steps_grow_until_everybody_has_it(share: int, growth: float) -> None:
    steps = [share]
    while steps[-1] < PARTS:
        steps.append(next_share(steps[-1], growth))
        assert steps[-1] > steps[-2]
    assert len(steps) < 120


@pytest.mark.parametrize(
    ("tally", "waited", "judgement"),
    [
        (Tally(), 0, Judgement.GO_ON),  # nobody would get anything else
        (Tally(back=5), 0, Judgement.GO_ON),
        (Tally(back=5, waiting=1), 0, Judgement.WAIT),
        (Tally(back=9, missing=1), 0, Judgement.GO_ON),
        (Tally(back=8, missing=1), 0, Judgement.HALT),
        (Tally(missing=2, waiting=50), 0, Judgement.WAIT),
        (Tally(missing=3, waiting=50), 0, Judgement.HALT),
        (Tally(back=40, missing=3, waiting=50), 0, Judgement.WAIT),
        (Tally(back=5, silent=5), 0, Judgement.GO_ON),
        (Tally(back=4, silent=6), 3599, Judgement.WAIT),
        (Tally(back=4, silent=6), 3600, Judgement.HALT),
        (Tally(silent=6), 0, Judgement.WAIT),
        (Tally(back=1, elsewhere=9), 0, Judgement.GO_ON),  # they are neither for nor against it
        (Tally(back=4, silent=4, elsewhere=90), 3600, Judgement.GO_ON),
        (Tally(missing=1, elsewhere=99), 3600, Judgement.HALT),
        (Tally(elsewhere=6), 899, Judgement.WAIT),
        (Tally(elsewhere=6), 900, Judgement.AGAIN),
        (Tally(elsewhere=6), 1e9, Judgement.AGAIN),
        (Tally(silent=1, elsewhere=6), 3600, Judgement.HALT),
    ],
)
def test_what_follows(tally: Tally, waited: float, judgement: Judgement) -> None:
    found, why = judge(tally, RULES, waited)
    assert found is judgement
    assert bool(why) is (judgement is Judgement.HALT)


@given(TALLIES, st.floats(0, 7200))
def test_no_step_follows_while_phones_are_missing_or_waited_for(tally: Tally, waited: float) -> None:
    judgement, _ = judge(tally, RULES, waited)
    if judgement is Judgement.GO_ON:
        assert not tally.waiting
        assert tally.missing <= 0.1 * tally.heard
        assert tally.back * 2 >= tally.heard + tally.silent
    if tally.missing >= 3 and tally.missing > 0.1 * tally.heard:
        assert judgement is Judgement.HALT


class Course(RuleBasedStateMachine):
    """A rollout under whatever phones do and administrators say."""

    def __init__(self) -> None:
        super().__init__()
        self.state = RolloutState.TELLING
        self.share = first_share(5.0, [part_of(mac, 3) for mac in MACS])
        self.has: set[str] = set()
        self.bad = False
        """The last step was judged while too many were missing."""

    def step(self, step: RolloutStep, share: int | None = None) -> None:
        if (self.state, step) in TRANSITIONS:
            self.state = TRANSITIONS[self.state, step]
            self.share = self.share if share is None else share

    @rule()
    def asked(self) -> None:
        self.step(RolloutStep.TOLD)

    @precondition(lambda self: self.state is RolloutState.WATCHING)
    @rule(tally=TALLIES, waited=st.floats(0, 7200))
    def watched(self, tally: Tally, waited: float) -> None:
        before = self.share
        judgement, _ = judge(tally, RULES, waited)
        if judgement is Judgement.HALT:
            self.step(RolloutStep.HALT)
        elif judgement is Judgement.GO_ON and self.share < PARTS:
            self.step(RolloutStep.PROMOTE, next_share(self.share, 4.0))
        elif judgement is Judgement.GO_ON:
            self.step(RolloutStep.FINISH)
        self.bad = tally.missing >= RULES.least and tally.missing > RULES.missing * tally.heard
        if self.bad:
            assert self.state is RolloutState.HALTED
            assert self.share == before

    @rule()
    def promoted(self) -> None:
        self.step(RolloutStep.PROMOTE, next_share(self.share, 4.0))

    @rule()
    def halted(self) -> None:
        before = self.state
        self.step(RolloutStep.HALT)
        assert before.over or self.state is RolloutState.HALTED

    @rule(sure=st.integers(0, 5))
    def finished(self, sure: int) -> None:
        if sure == 5:
            self.step(RolloutStep.FINISH, PARTS if not self.state.over else None)

    @rule(sure=st.integers(0, 5))
    def reverted(self, sure: int) -> None:
        if sure == 5:
            self.step(RolloutStep.REVERT)

    @invariant()
    def nobody_goes_to_and_fro(self) -> None:
        """Who has the new value keeps it until it is reverted, and then nobody has it."""
        now = set() if self.state is RolloutState.REVERTED else {m for m in MACS if part_of(m, 3) < self.share}
        assert self.state is RolloutState.REVERTED or self.has <= now
        self.has = now
        assert self.state is not RolloutState.DONE or now == set(MACS)


TestCourse = Course.TestCase
TestCourse.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
