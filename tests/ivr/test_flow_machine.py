"""Whatever a caller, a use-case and a clock do in whatever order: the promises hold."""

from __future__ import annotations

from effort import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ivr.flow import (
    Attempt,
    Caller,
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
from ivr.flow_table import prompts
from tests.ivr.scenarios import GOOD, MISTYPED, checks

BEGAN = 5000.0
KINDS = st.sampled_from(ResultKind)
FREQUENT = st.sampled_from([ResultKind.ACCEPTED] * 4 + [ResultKind.WRONG] * 4 + list(ResultKind))
TURNED_AWAY = [ResultKind.LOCKED, ResultKind.BUSY, ResultKind.UNSUPPORTED, ResultKind.ERROR]
REFUSALS = st.sampled_from([None] * 20 + [Result(kind) for kind in TURNED_AWAY])
KEYS = st.text("0123456789*#", min_size=1, max_size=14) | st.sampled_from([GOOD, GOOD + "#", MISTYPED, "1", "*"])
INPUTS = st.one_of(
    st.builds(Digits, st.text(max_size=20)),
    st.builds(Outcome, st.builds(Result, KINDS, st.text(max_size=20))),
    st.sampled_from([Played(), Timeout(), Started(Caller("", "", ""))]),
)


class Conversation(RuleBasedStateMachine):
    """One call; the shell keeps its one duty: it feeds Timeout when the Flow's timer is due."""

    @initialize(
        tries=st.integers(1, 4),
        confirm=st.booleans(),
        known=st.booleans(),
        refusal=REFUSALS,
    )
    def begin(self, tries: int, confirm: bool, known: bool, refusal: Result | None) -> None:
        self.settings = FlowSettings(tries=tries, confirm_extension=confirm)
        self.flow = Flow(self.settings, checks)
        self.now = BEGAN
        self.said: list[Output] = []
        self.waiting = self.playing = False
        self.hung_up = 0.0
        self.feed(Started(Caller("0004f2aabbcc", "192.0.2.7", "sip", known), refusal))

    def feed(self, given: Input) -> list[Output]:
        outputs = self.flow.feed(given, self.now)
        self.said += outputs
        self.playing = self.playing and given != Played()
        for output in outputs:
            self.obey(output)
        self.waiting = any(isinstance(output, (Attempt, Confirm)) for output in outputs) or (
            self.waiting and not isinstance(given, Outcome)
        )
        return outputs

    def obey(self, output: Output) -> None:
        """As a player does."""
        assert not self.hung_up, "nothing follows a Hangup"
        if isinstance(output, Stop):
            assert self.playing, "nothing plays that could be stopped"
        if isinstance(output, Hangup):
            self.hung_up = self.now
        self.playing = isinstance(output, Play) or (self.playing and not isinstance(output, (Stop, Hangup)))

    @rule(keys=KEYS)
    def keys(self, keys: str) -> None:
        for key in keys:
            self.feed(Digits(key))

    @rule(keys=KEYS)
    def gathered(self, keys: str) -> None:
        self.feed(Digits(keys))

    @rule()
    def played(self) -> None:
        self.feed(Played())

    @rule(seconds=st.floats(0, 15))
    def time_passes(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.flow.timer) is not None and due <= until:
            self.now = max(due, self.now)
            self.feed(Timeout())
        self.now = until

    @precondition(lambda self: self.waiting)
    @rule(kind=FREQUENT, extension=st.sampled_from(["204", "", "lobby", "٣"]))
    def answered(self, kind: ResultKind, extension: str) -> None:
        self.feed(Outcome(Result(kind, extension)))

    @rule(given=INPUTS)
    def nonsense(self, given: Input) -> None:
        """No input in any state is undefined."""
        self.feed(given)

    @rule()
    def whole_code(self) -> None:
        self.feed(Digits(GOOD))

    @precondition(lambda self: self.now > BEGAN + 60)
    @rule()
    def caller_leaves(self) -> None:
        """Late, so that most calls have a life."""
        self.feed(Ended())
        assert self.flow.state is State.ENDED

    @invariant()
    def tries_are_kept(self) -> None:
        assert sum(isinstance(output, Attempt) for output in self.said) <= self.settings.tries

    @invariant()
    def only_whole_codes_with_a_right_check_digit_are_sent(self) -> None:
        codes = [output.code for output in self.said if isinstance(output, (Attempt, Confirm))]
        assert all(len(code) == 12 and code.isdigit() and checks(code) for code in codes)

    @invariant()
    def a_confirmation_has_its_attempt(self) -> None:
        held = [(output.code, output.attempt) for output in self.said if isinstance(output, Attempt) and output.hold]
        confirmed = [(output.code, output.attempt) for output in self.said if isinstance(output, Confirm)]
        assert set(confirmed) <= set(held)
        assert len(confirmed) == len(set(confirmed))

    @invariant()
    def a_call_hung_up_is_over(self) -> None:
        assert not self.hung_up or self.flow.state is State.ENDED

    @invariant()
    def every_prompt_has_its_cause(self) -> None:
        for before, output in zip([None, *self.said], self.said, strict=False):
            assert not isinstance(output, Play) or isinstance(before, Note)

    @invariant()
    def only_prompts_that_exist_are_played(self) -> None:
        said = {prompt for output in self.said if isinstance(output, Play) for prompt in output.prompts}
        assert said <= prompts()

    @invariant()
    def a_live_call_has_a_timer_within_its_three_minutes(self) -> None:
        timer = self.flow.timer
        assert (timer is None) == (self.flow.state is State.ENDED)
        assert timer is None or timer <= BEGAN + self.settings.longest

    def teardown(self) -> None:
        """Left alone it ends: no Played, no answer, only its own timer."""
        if not hasattr(self, "flow"):
            return
        while (due := self.flow.timer) is not None:
            self.now = max(due, self.now)
            self.feed(Timeout())
        assert self.flow.state is State.ENDED
        assert self.hung_up <= BEGAN + self.settings.longest


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=examples(150), stateful_step_count=40, deadline=None)
