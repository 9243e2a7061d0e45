"""The conversation, on a clock of its own: every scenario, and the rules that no scenario can show."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from ivr.flow import (
    Attempt,
    Caller,
    Cause,
    Collect,
    Confirm,
    Digits,
    Ended,
    Flow,
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
    State,
    Stop,
    Timeout,
)
from tests.ivr.scenarios import ACCEPTED, CONFIRMING, GOOD, MISTYPED, OLD, SCENARIOS, Scenario, Then, Turn, checks

CALLER = Caller("0004f2aabbcc", "192.0.2.7", "sip", authenticated=True)


def started(settings: FlowSettings | None = None, now: float = 0.0) -> Flow:
    flow = Flow(settings or FlowSettings(), checks)
    flow.feed(Started(CALLER), now)
    return flow


def checking(settings: FlowSettings | None = None) -> Flow:
    flow = started(settings)
    flow.feed(Digits(GOOD), 5.0)
    return flow


@dataclass
class Call:
    """Acts a scenario out: the caller's part, the use-case's and the clock's."""

    scenario: Scenario
    one_by_one: bool
    now: float = 1000.0
    heard: list[tuple[str, ...]] = field(default_factory=list)
    asked: list[Attempt | Confirm] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    ends: Cause | None = None
    visited: set[State] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.flow = Flow(self.scenario.settings, checks)
        self.answers = list(self.scenario.answers)

    def run(self) -> None:
        caller = Caller("0004f2aabbcc", "192.0.2.7", "sip", self.scenario.authenticated)
        self.feed(Started(caller, self.scenario.refusal))
        for number, turn in enumerate(self.scenario.turns):
            assert self.heard[number:] == [turn.hears], f"turn {number}"
            self.act(turn)
        assert len(self.heard) == len(self.scenario.turns)

    def act(self, turn: Turn) -> None:
        for keys in turn.keys if self.one_by_one else [turn.keys]:
            self.now += 0.3
            self.feed(Digits(keys))
        if turn.then is Then.HANGS_UP:
            self.feed(Ended())
        elif turn.then is not Then.WAITS:
            self.now += 6.0
            self.feed(Played())
        if turn.then is Then.SILENT:
            assert self.flow.timer is not None
            self.now = self.flow.timer
            self.feed(Timeout())

    def feed(self, given: Input) -> None:
        outputs = self.flow.feed(given, self.now)
        self.visited.add(self.flow.state)
        for output in outputs:
            self.obey(output)

    def obey(self, output: Output) -> None:
        assert self.ends is None, "nothing comes after a Hangup"
        match output:
            case Play():
                self.heard.append(output.prompts)
            case Note():
                self.notes.append(output)
            case Hangup():
                self.ends = output.cause
            case Attempt() | Confirm():
                self.asked.append(output)
                self.now += 0.05
                self.feed(Outcome(self.answers.pop(0)))
            case _:
                pass


@pytest.mark.parametrize("one_by_one", [True, False], ids=["key by key", "gathered"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_scenario(scenario: Scenario, one_by_one: bool) -> None:
    call = Call(scenario, one_by_one)
    call.run()
    causes = [note.cause for note in call.notes]
    hung_up = ["gone"] if scenario.ends is None else []
    assert (tuple(call.asked), causes, call.ends) == (scenario.asked, [*scenario.causes, *hung_up], scenario.ends)
    assert call.flow.state is State.ENDED
    assert call.answers == []


def test_scenarios_come_to_every_state() -> None:
    calls = [Call(scenario, one_by_one=True) for scenario in SCENARIOS]
    for call in calls:
        call.run()
    assert set(State) - set[State]().union(*(call.visited for call in calls)) == {State.READY}


def test_scenario_names_are_told_apart() -> None:
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)


def test_first_key_ends_the_prompt_and_a_stray_pound_does_not() -> None:
    flow = started()
    assert flow.feed(Digits("#"), 1.0) == []
    assert flow.feed(Digits("3"), 2.0) == [Stop(), Collect(11, "#", 4.0, 4.0)]
    assert flow.feed(Digits("1"), 3.0) == [Collect(10, "#", 4.0, 4.0)]


def test_a_prompt_that_waits_for_keys_can_be_interrupted() -> None:
    said = Flow(FlowSettings(), checks).feed(Started(CALLER), 0.0)
    assert said == [Note("started", 0), Play(("welcome", "enter"), barge_in=True), Collect(12, "#", 8.0, 4.0)]


def test_eight_seconds_for_the_first_key_and_four_between_two() -> None:
    flow = started(now=100.0)
    assert flow.timer == 100.0 + 180.0 - 10.0, "while the prompt plays, only the end of the call is due"
    flow.feed(Played(), 106.0)
    assert flow.timer == 114.0
    flow.feed(Digits("3"), 107.0)
    assert flow.timer == 111.0
    flow.feed(Digits("*"), 108.0)
    assert flow.timer == 116.0
    flow.feed(Digits("#"), 109.0)
    assert flow.timer == 116.0


def test_the_end_of_a_prompt_already_stopped_gives_no_more_time() -> None:
    flow = started()
    flow.feed(Digits("3"), 1.0)
    assert flow.feed(Played(), 3.0) == []
    assert flow.timer == 5.0


def test_no_timer_before_the_call_and_after_it() -> None:
    flow = Flow(FlowSettings(), checks)
    assert flow.timer is None
    flow.feed(Started(CALLER), 0.0)
    flow.feed(Ended(), 1.0)
    assert flow.timer is None


def test_what_is_keyed_while_the_answer_is_out_is_dropped() -> None:
    flow = checking()
    assert flow.feed(Digits("314159#*1"), 5.1) == []
    flow.feed(Outcome(Result(ResultKind.WRONG)), 5.2)
    assert flow.feed(Digits(GOOD), 9.0) == [Stop(), Attempt(GOOD, 2)]


def test_no_answer_is_an_error_and_no_try_of_the_callers() -> None:
    flow = checking()
    assert flow.timer == 20.0
    assert flow.feed(Timeout(), 20.0) == [Note("unanswered", 1), Play(("system_error",))]


def test_good_news_that_comes_late_is_still_told() -> None:
    flow = checking()
    flow.feed(Timeout(), 20.0)
    assert flow.feed(Outcome(ACCEPTED), 21.0)[1] == Play(("success", "your_extension", "digit_2", "digit_0", "digit_4"))
    assert flow.feed(Played(), 27.0) == [Hangup(Cause.ACTIVATED)]


def test_a_late_answer_to_a_mere_look_binds_nothing() -> None:
    flow = checking(CONFIRMING)
    flow.feed(Timeout(), 20.0)
    assert flow.feed(Outcome(ACCEPTED), 21.0) == []
    assert flow.state is State.ERROR


def test_an_answer_that_nobody_asked_for_is_nothing() -> None:
    for flow in (Flow(FlowSettings(), checks), started()):
        before = flow.state
        assert flow.feed(Outcome(ACCEPTED), 1.0) == []
        assert flow.state is before
    flow = checking()
    flow.feed(Outcome(Result(ResultKind.WRONG)), 6.0)
    assert flow.feed(Outcome(ACCEPTED), 6.1) == []
    flow = checking()
    flow.feed(Outcome(Result(ResultKind.ERROR)), 6.0)
    assert flow.feed(Outcome(ACCEPTED), 6.1) == [], "one question, one answer"


def test_an_answer_after_the_caller_left_is_nothing() -> None:
    flow = checking()
    assert flow.feed(Ended(), 6.0) == [Note("gone", 1)]
    assert flow.feed(Outcome(ACCEPTED), 6.1) == []


def test_a_key_cuts_the_last_prompt_short_but_a_leftover_does_not() -> None:
    flow = checking()
    flow.feed(Outcome(ACCEPTED), 6.0)
    assert flow.feed(Digits("7"), 6.5) == []
    assert flow.feed(Digits("#"), 8.0) == []
    assert flow.feed(Digits("7"), 8.5) == [Hangup(Cause.ACTIVATED)]


def test_three_minutes_end_with_a_farewell_within_them() -> None:
    flow = started(now=50.0)
    flow.feed(Digits("3141"), 219.0)
    assert flow.timer == 220.0
    assert flow.feed(Timeout(), 220.0) == [Note("late", 0), Play(("goodbye",))]
    assert flow.timer == 230.0
    assert flow.feed(Timeout(), 230.0) == [Hangup(Cause.NO_CODE)]


def test_a_code_completed_in_the_last_seconds_is_not_sent() -> None:
    flow = started()
    flow.feed(Digits(GOOD[:11]), 100.0)
    assert flow.feed(Digits(GOOD[11]), 171.0) == [Note("late", 0), Play(("goodbye",))]


def test_a_clock_that_jumps_past_the_end_hangs_up_at_once() -> None:
    assert started().feed(Played(), 500.0) == [Hangup(Cause.OVERTIME)]


def test_unasked_confirmation_keys_change_nothing() -> None:
    flow = checking(CONFIRMING)
    flow.feed(Outcome(ACCEPTED), 6.0)
    assert flow.feed(Digits("#75"), 7.0) == []
    assert flow.feed(Digits("1"), 8.0) == [Stop(), Confirm(GOOD, 1)]


def test_declining_with_no_try_left_is_the_end() -> None:
    flow = checking(FlowSettings(tries=1, confirm_extension=True))
    flow.feed(Outcome(ACCEPTED), 6.0)
    assert flow.feed(Digits("*"), 7.0) == [Note("declined", 1, "204"), Play(("goodbye",))]


def test_silence_at_the_last_try_is_not_the_end() -> None:
    flow = checking(FlowSettings(tries=1, confirm_extension=True))
    held = flow.feed(Outcome(ACCEPTED), 6.0)
    assert flow.feed(Timeout(), 20.0)[1:] == held[1:], "the extension is read once more"
    assert flow.feed(Digits("1"), 21.0) == [Stop(), Confirm(GOOD, 1)]


@pytest.mark.parametrize("length", [8, 13, 16])
def test_other_lengths_of_code(length: int) -> None:
    code = "1" * (length - 1) + str(-(length - 1) % 10)
    flow = started(FlowSettings(code_digits=length))
    assert flow.feed(Digits(code[:-1]), 1.0)[-1] == Collect(1, "#", 4.0, 4.0)
    assert flow.feed(Digits(code[-1]), 2.0) == [Attempt(code, 1)]


def test_a_shorter_length_that_is_also_good_waits_for_the_pause() -> None:
    flow = started(FlowSettings(other_lengths=(8,)))
    assert not any(isinstance(output, Attempt) for output in flow.feed(Digits(OLD), 1.0))
    assert flow.feed(Timeout(), 5.0) == [Attempt(OLD, 1)]


@pytest.mark.parametrize("extension", ["", "lobby", "+49", "٣", "1" * 17])
def test_what_no_prompt_can_read_is_left_out(extension: str) -> None:
    accepted = Outcome(Result(ResultKind.ACCEPTED, extension))
    assert checking().feed(accepted, 6.0)[1] == Play(("success",))
    assert checking(CONFIRMING).feed(accepted, 6.0)[1] == Play(("confirm_keys",))


def test_an_answer_after_the_last_second_hangs_up() -> None:
    assert checking().feed(Outcome(ACCEPTED), 500.0) == [Hangup(Cause.OVERTIME)]


def test_a_code_is_not_kept_longer_than_it_is_needed() -> None:
    for flow in (checking(), checking(CONFIRMING)):
        while flow.state is not State.SUCCESS:
            flow.feed(Outcome(ACCEPTED), 6.0)
            flow.feed(Digits("1"), 6.5)
        assert GOOD not in vars(flow).values()


def test_keyed_digits_never_print() -> None:
    flow = checking(CONFIRMING)
    flow.feed(Outcome(ACCEPTED), 6.0)
    shown = [repr(one) for one in (Digits(GOOD), Attempt(GOOD, 1), *flow.feed(Digits("1"), 7.0), flow)]
    shown += [repr(started().feed(Digits(MISTYPED), 1.0)), str(vars(flow).keys())]
    assert [text for text in shown if GOOD[:4] in text] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"tries": 0},
        {"code_digits": 0},
        {"other_lengths": (0,)},
        {"other_lengths": (8, 13)},
        {"silences": 0},
        {"first": 0.0},
        {"answer": -1.0},
        {"grace": -1.0},
        {"longest": 10.0},
        {"longest": float("inf")},
        {"longest": float("nan")},
    ],
    ids=str,
)
def test_settings_that_could_not_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"at least|above|exceeds|shorter"):
        FlowSettings(**wrong)  # type: ignore[arg-type]  # each test has one of another type


def test_a_caller_is_not_turned_away_for_a_code_not_keyed_yet() -> None:
    with pytest.raises(ValueError, match="speaks of a code"):
        Started(CALLER, Result(ResultKind.WRONG))
