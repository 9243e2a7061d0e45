"""How far a phone is that was bound: each stage, and a phone's whole life as a state machine."""

from __future__ import annotations

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from provisioner.progress import LOOPS, UNPLUG, Progress, Stage, progress_of

NOW = 1_800_000_000.0
WINDOW, PATIENCE = 1800.0, 120.0


def progress(bound: float | None, fetched: float | None, now: float, *, arrived: bool = False) -> Progress:
    return progress_of(bound, fetched, now, arrived=arrived, window=WINDOW, patience=PATIENCE)


@pytest.mark.parametrize(
    ("fetched", "arrived", "now", "stage", "hint"),
    [
        (None, False, 0, Stage.WAITING, ""),
        (None, False, 119, Stage.WAITING, ""),
        (None, False, 120, Stage.WAITING, UNPLUG),
        (-5, False, 200, Stage.WAITING, UNPLUG),  # that fetch was before it was bound
        (None, False, 1800, Stage.WAITING, UNPLUG),
        (None, False, 1801, Stage.STUCK, UNPLUG),
        (130, True, 131, Stage.ACTIVATING, ""),  # the hint has gone by itself
        (130, False, 131, Stage.ACTIVATING, ""),  # firmware first
        (400, True, 450, Stage.ACTIVATING, ""),  # a second restart is normal
        (400, True, 519, Stage.ACTIVATING, ""),
        (400, True, 520, Stage.ONLINE, ""),
        (1799, True, 1850, Stage.ACTIVATING, ""),
        (1900, False, 1950, Stage.STUCK, LOOPS),  # and not its configuration
        (1900, True, 1950, Stage.ONLINE, ""),  # it polls
        (3600, True, 3601, Stage.ONLINE, ""),
        (1900, False, 2020, Stage.ONLINE, ""),
        (90_000, False, 90_001, Stage.ONLINE, ""),
    ],
)
def test_stages_of_a_bound_phone(fetched: float | None, arrived: bool, now: float, stage: Stage, hint: str) -> None:
    at = None if fetched is None else NOW + fetched
    found = progress(NOW, at, NOW + now, arrived=arrived)
    assert (found.stage, found.hint) == (stage, hint)


def test_what_is_not_bound_is_on_no_way() -> None:
    assert progress(None, NOW, NOW, arrived=True).stage is Stage.UNBOUND


@given(st.none() | st.floats(-1e5, 1e6), st.floats(0, 1e6), st.booleans())
def test_there_is_a_stage_for_everything_and_a_hint_only_where_something_is_to_be_done(
    fetched: float | None, now: float, arrived: bool
) -> None:
    at = None if fetched is None else NOW + min(fetched, now)
    found = progress(NOW, at, NOW + now, arrived=arrived)
    assert found.stage is not Stage.UNBOUND
    assert found.hint == "" or found.stage in {Stage.WAITING, Stage.STUCK}


class Life(RuleBasedStateMachine):
    """A phone is bound, fetches this and that, polls, is restarted, is given another line, at any times."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.bound: float | None = None
        self.fetched: float | None = None
        self.had: float | None = None
        """When it first got the configuration of its newest line."""

    @rule(seconds=st.sampled_from([0.5, 10, 100, 119, 120, 121, 300, 1700, 1800, 1801, 2400, 3600]) | st.floats(0, 9e4))
    def time_goes_by(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def bind(self) -> None:
        self.bound, self.had = self.now, None
        assert self.stage in {Stage.WAITING, Stage.ACTIVATING}, "the time before does not count"

    @precondition(lambda self: self.bound is not None)
    @rule()
    def unbind(self) -> None:
        self.bound = self.had = None
        assert self.stage is Stage.UNBOUND

    @precondition(lambda self: self.bound is not None)
    @rule()
    def fetch_its_configuration(self) -> None:
        """It boots, polls, or was told to."""
        self.fetched = self.now
        self.had = self.now if self.had is None else self.had
        assert self.found.hint == "", "whatever was to be done is done"

    @rule()
    def fetch_something_else(self) -> None:
        """Firmware, or a file that all phones share."""
        self.fetched = self.now

    @property
    def found(self) -> Progress:
        return progress(self.bound, self.fetched, self.now, arrived=self.had is not None)

    @property
    def stage(self) -> Stage:
        return self.found.stage

    @invariant()
    def who_has_its_configuration_is_never_stuck(self) -> None:
        assert self.had is None or self.stage in {Stage.ACTIVATING, Stage.ONLINE}

    @invariant()
    def nobody_is_stuck_within_the_window(self) -> None:
        assert self.stage is not Stage.STUCK or (self.bound is not None and self.now - self.bound > WINDOW)

    @invariant()
    def who_has_fetched_nothing_since_is_told_to_be_unplugged_when_it_is_time(self) -> None:
        if self.bound is None or (self.fetched is not None and self.fetched >= self.bound):
            assert self.found.hint != UNPLUG
            return
        since = self.now - self.bound
        assert self.found.hint == (UNPLUG if since >= PATIENCE else "")
        assert self.stage is (Stage.STUCK if since > WINDOW else Stage.WAITING)

    @invariant()
    def quiet_is_online(self) -> None:
        if self.bound is not None and self.fetched is not None and self.bound <= self.fetched <= self.now - PATIENCE:
            assert self.stage is Stage.ONLINE


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=examples(150), stateful_step_count=30, deadline=None)
