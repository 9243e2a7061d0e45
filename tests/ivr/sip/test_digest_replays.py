"""An answer to a challenge counts once, in whatever order, and only from the address that the challenge was sent to."""

from __future__ import annotations

import re

import pytest
from effort import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from test_digest_sip import FROM, NOW, challenger, proof, verdict

# --- every answer counts once ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "fresh"),
    [
        ((1, 1, 2, 2, 3), (1, 0, 1, 0, 1)),
        ((1, 3, 2, 3, 2, 4), (1, 1, 1, 0, 0, 1)),  # datagrams that overtook each other
        ((0, 1), (0, 1)),
        ((5, 1, 4, 6, 5), (1, 1, 1, 1, 0)),
        ((1, 100, 37, 36, 36, 37), (1, 1, 1, 0, 0, 0)),  # 64 behind is too late
        ((2, 65, 2, 66, 2, 3), (1, 1, 0, 1, 0, 1)),
        ((0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFE, 1), (1, 0, 1, 0)),
    ],
)
def test_an_answer_counts_once_in_whatever_order(counts: tuple[int, ...], fresh: tuple[int, ...]) -> None:
    judge = challenger()
    challenge = judge.challenge(NOW, FROM)[0]
    found = [verdict(judge, proof(challenge, nc)) for nc in counts]
    assert found == ["ok" if one else "stale" for one in fresh]


# --- and from one address -------------------------------------------------------------------------------


@pytest.mark.parametrize("elsewhere", ["192.0.2.18", "2001:db8::17", "", "192.0.2.1", "192.0.2.17:activation"])
def test_an_answer_is_worth_nothing_from_another_address(elsewhere: str) -> None:
    judge = challenger()
    overheard = proof(judge.challenge(NOW, FROM)[0])
    assert verdict(judge, overheard, source=elsewhere) == "stale"
    assert verdict(judge, overheard) == "ok", "the phone has lost nothing by it"
    assert verdict(judge, overheard, source=elsewhere) == "stale"


def test_a_phone_that_was_moved_gets_in_with_the_next_nonce() -> None:
    judge = challenger()
    before = judge.challenge(NOW, FROM)[0]
    assert verdict(judge, proof(before)) == "ok"
    assert verdict(judge, proof(before, 2), source="203.0.113.4") == "stale"
    after = judge.challenge(NOW, "203.0.113.4", stale=True)[0]
    assert verdict(judge, proof(after), source="203.0.113.4") == "ok"


def test_nobody_is_called_wrong_for_a_nonce_that_was_sent_elsewhere() -> None:
    judge = challenger()
    assert verdict(judge, proof(judge.challenge(NOW, FROM)[0], secret="guess"), source="203.0.113.4") == "missing"


def test_unread_bytes_show_who_receives_at_their_senders_address() -> None:
    judge = challenger()
    nonce = re.findall(r'nonce="([^"]+)"', judge.challenge(NOW, FROM)[0])[0]

    def shown(text: str, later: float = 0.0, source: str = FROM) -> bool:
        return judge.shown(text.encode(), NOW + later, source)

    assert shown(f'Authorization: Digest realm="x", nonce="{nonce}", nc=1')
    assert shown(f'authorization:digest NONCE =\t"{nonce}"')
    assert not shown(f'Authorization: Digest nonce="{nonce}"', source="203.0.113.4")
    assert not shown(f'Authorization: Digest nonce="{nonce}"', later=301)
    assert not shown(f'Authorization: Digest nonce="{nonce[:-1]}0"') or nonce.endswith("0")
    assert not shown(f'nonce="{"0" * 50}", ' * 3 + f'nonce="{nonce}"'), "no more than three are looked at"
    assert not shown("") and not shown('nonce="')


def test_a_wrong_answer_uses_nothing_up() -> None:
    judge = challenger()
    challenge = judge.challenge(NOW, FROM)[0]
    assert verdict(judge, proof(challenge, 9, secret="guess")) == "wrong"
    assert verdict(judge, proof(challenge, 1)) == "ok"


def test_phones_challenged_in_the_same_instant_have_their_own_nonces() -> None:
    judge = challenger()
    challenges = {judge.challenge(NOW, FROM)[0] for _ in range(50)}
    assert len(challenges) == 50
    assert [verdict(judge, proof(one)) for one in challenges] == ["ok"] * 50


def test_a_full_memory_makes_old_nonces_stale_and_no_answer_count_twice() -> None:
    judge = challenger(remembered=10)
    early = [judge.challenge(NOW + number / 10, FROM)[0] for number in range(30)]
    assert [verdict(judge, proof(one), NOW + 5) for one in early] == ["ok"] * 30
    assert [verdict(judge, proof(one), NOW + 5) for one in early] == ["stale"] * 30
    assert verdict(judge, proof(judge.challenge(NOW + 6, FROM)[0]), NOW + 6) == "ok"


SOURCES = st.sampled_from([FROM, "203.0.113.4"])


class Replays(RuleBasedStateMachine):
    """Whatever the order, the clock and the room for memory, no (nonce, user, nc) is ok twice, none from an address
    that its nonce was not sent to, and memory is bounded.
    """

    def __init__(self) -> None:
        super().__init__()
        self.judge = challenger(life=60.0, remembered=3)
        self.now = NOW
        self.challenges = [(self.judge.challenge(NOW, FROM)[0], FROM, NOW)]
        self.taken: set[tuple[str, int]] = set()

    @rule(source=SOURCES)
    def challenge(self, source: str) -> None:
        self.challenges.append((self.judge.challenge(self.now, source)[0], source, self.now))

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(which=st.integers(0, 100), nc=st.integers(0, 200) | st.just(0xFFFFFFFF), source=SOURCES)
    def answer(self, which: int, nc: int, source: str) -> None:
        challenge, to, born = self.challenges[which % len(self.challenges)]
        found = verdict(self.judge, proof(challenge, nc), self.now, source=source)
        assert found in {"ok", "stale"}
        if found == "ok":
            assert nc
            assert (source, self.now - born <= 60.001) == (to, True)
            assert (challenge, nc) not in self.taken
            self.taken.add((challenge, nc))

    @rule(source=SOURCES, first=st.integers(1, 9))
    def newcomer(self, source: str, first: int) -> None:
        """Whoever answers a fresh challenge at once gets in, however full it is; and again with the next count."""
        self.now += 0.01
        self.challenges.append((self.judge.challenge(self.now, source)[0], source, self.now))
        for nc in (first + 1, first, first + 2):
            assert verdict(self.judge, proof(self.challenges[-1][0], nc), self.now, source=source) == "ok"
            self.taken.add((self.challenges[-1][0], nc))

    @invariant()
    def memory_is_bounded(self) -> None:
        assert len(self.judge._used._counts) <= 3


TestReplays = Replays.TestCase
TestReplays.settings = settings(max_examples=examples(50), stateful_step_count=40, deadline=None)
