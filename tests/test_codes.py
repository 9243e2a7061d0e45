"""Codes: what they are made of, what their check digit notices, and what may become of them."""

from __future__ import annotations

import random
import re
import secrets
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.codes import (
    ACTIVE,
    LONGEST,
    MEANINGS,
    SHORTEST,
    TRANSITIONS,
    ActivationCode,
    CodeEvent,
    CodeState,
    chance,
    check_digit,
    checks,
    drawn,
    generate,
    grouped,
    is_trivial,
    masked,
    normalise,
    require,
    sources,
    target,
)
from provisioner.deeds import Cure, Deed
from provisioner.errors import Conflict, Unusable

DOCS = Path(__file__).resolve().parent.parent / "docs" / "activation.md"

bodies = st.text("0123456789", min_size=SHORTEST - 1, max_size=LONGEST - 1)


def complete(body: str) -> str:
    return body + check_digit(body)


# --- digits -----------------------------------------------------------------------------------------


@given(st.integers(SHORTEST, LONGEST), st.integers(0, 2**32))
def test_what_is_generated_checks_and_is_not_trivial(digits: int, seed: int) -> None:
    code = generate(random.Random(seed).randbytes, digits)
    assert len(code) == digits
    assert checks(code)
    assert not is_trivial(code)


@given(bodies, st.data())
def test_every_single_wrong_digit_is_noticed(body: str, data: st.DataObject) -> None:
    code = complete(body)
    place = data.draw(st.integers(0, len(code) - 1))
    other = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != code[place]]))
    assert checks(code)
    assert not checks(code[:place] + other + code[place + 1 :])


@given(bodies, st.data())
def test_every_swap_of_neighbours_is_noticed(body: str, data: st.DataObject) -> None:
    code = complete(body)
    place = data.draw(st.integers(0, len(code) - 2))
    swapped = code[:place] + code[place + 1] + code[place] + code[place + 2 :]
    assert checks(swapped) is (swapped == code)


@given(st.text())
def test_nothing_else_checks(text: str) -> None:
    assert checks(text) is (re.fullmatch("[0-9]{8,16}", text) is not None and check_digit(text) == "0")


@pytest.mark.parametrize("text", ["", "1234567", "1" * 17, "١٢٣٤٥٦٧٨٩٠١٢", "12345678901\n", "0x1234567890"])
def test_what_is_no_code_does_not_check(text: str) -> None:
    assert not checks(text)


def test_known_check_digits() -> None:
    """572 and its check digit 4: the example in Damm's thesis."""
    assert check_digit("572") == "4"
    assert check_digit("5724") == "0"


def test_the_digits_are_evenly_spread() -> None:
    source = random.Random(4711)
    counts = Counter("".join(generate(source.randbytes)[:-1] for _ in range(4000)))
    expected = 4000 * 11 / 10
    assert sum((counts[str(digit)] - expected) ** 2 / expected for digit in range(10)) < 27.9  # chi², 9 df, 0.1 %


def test_no_code_comes_twice() -> None:
    assert len({generate(secrets.token_bytes) for _ in range(2000)}) == 2000


@pytest.mark.parametrize(
    "body",
    ["00000000000", "77777777777", "01234567890", "98765432109", "13579135791", "12341234123", "12121212121",
     "11122233311", "12312312312", "90123456789"],
)  # fmt: skip
def test_what_people_try_first_is_never_given(body: str) -> None:
    assert is_trivial(complete(body))


def test_few_codes_are_left_out() -> None:
    """The arithmetic of guessing counts on all of them."""
    source = random.Random(1)
    for digits, most in ((8, 0.04), (12, 0.001)):
        drawn_codes = [complete("".join(source.choices("0123456789", k=digits - 1))) for _ in range(20_000)]
        assert sum(map(is_trivial, drawn_codes)) / 20_000 < most


@pytest.mark.parametrize("entropy", [lambda size: bytes(size), lambda size: b"\xff" * size, lambda _size: b""])
def test_a_broken_source_of_random_numbers_makes_no_code(entropy: object) -> None:
    with pytest.raises(Unusable, match="random"):
        generate(entropy)  # type: ignore[arg-type]


@pytest.mark.parametrize("digits", [7, 17])
def test_other_lengths_are_refused(digits: int) -> None:
    with pytest.raises(ValueError, match="8 to 16"):
        generate(secrets.token_bytes, digits)


# --- as people see it ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "shown", "hidden"),
    [
        ("123456789012", "1234-5678-9012", "****-****-**12"),
        ("12345678", "1234-5678", "****-**78"),
        ("1234567890123", "1234-5678-90123", "****-****-***23"),
        ("1234567890123456", "1234-5678-9012-3456", "****-****-****-**56"),
        ("12345", "1234-5", "*****"),
        ("", "", ""),
    ],
)
def test_codes_are_shown_in_groups_and_masked(code: str, shown: str, hidden: str) -> None:
    if len(code) != 5:
        assert grouped(code) == shown
    assert masked(code) == hidden


@given(st.text(max_size=40))
def test_a_mask_shows_two_digits_at_most_and_nothing_else(text: str) -> None:
    shown = masked(text).replace("*", "").replace("-", "")
    assert len(shown) <= 2
    assert shown == "" or (shown.isdigit() and text.endswith(shown) and len(text) >= 8)


@given(bodies, st.sampled_from(["-", " ", ".", "\u2013", "\u00a0", " - "]))
def test_separators_are_nothing(body: str, separator: str) -> None:
    code = complete(body)
    assert normalise(grouped(code).replace("-", separator)) == code
    assert normalise(f" {grouped(code)}\n") == code


# --- the table ----------------------------------------------------------------------------------------


def test_every_state_can_be_reached_and_every_event_happens() -> None:
    reached, ahead = {CodeState.ISSUED}, [CodeState.ISSUED]
    while ahead:
        new = set(TRANSITIONS[ahead.pop()].values()) - reached
        reached |= new
        ahead += new
    assert reached == set(CodeState) == set(TRANSITIONS)
    assert {event for ways in TRANSITIONS.values() for event in ways} == set(CodeEvent) == set(MEANINGS)


@pytest.mark.parametrize("event", CodeEvent)
def test_an_event_leads_to_one_state_wherever_it_happens(event: CodeEvent) -> None:
    """The store has one statement an event."""
    ends = {TRANSITIONS[state][event] for state in sources(event)}
    assert ends == {target(event)}


@pytest.mark.parametrize("state", CodeState)
@pytest.mark.parametrize("event", CodeEvent)
def test_what_is_not_in_the_table_is_refused_by_name(state: CodeState, event: CodeEvent) -> None:
    if event in TRANSITIONS[state]:
        require(state, event, "1001")
        return
    with pytest.raises(Conflict) as refused:
        require(state, event, "1001")
    instead = Deed.ISSUE_CODE_INSTEAD if state is CodeState.USED else Deed.ISSUE_CODE
    helps = Deed.REISSUE_CODE if state is CodeState.LOCKED else instead
    assert f"the code of extension 1001 is {state} and " in refused.value.cause
    assert refused.value.cure == Cure(helps, "1001"), "what is possible then"


def test_who_has_left_the_open_states_stays_where_he_is() -> None:
    assert set(ACTIVE) == {CodeState.ISSUED, CodeState.LOCKED}
    for state in set(CodeState) - set(ACTIVE):
        assert TRANSITIONS[state] == {}


def test_a_code_expires_by_the_clock_and_only_while_it_is_open() -> None:
    for state in CodeState:
        one = ActivationCode("id", "acme", "x", "1001", state, 0.0, 100.0, "ann")
        assert one.state_at(99.9) is state
        assert one.state_at(100.0) is (CodeState.EXPIRED if state in ACTIVE else state)


# --- the documentation --------------------------------------------------------------------------------


def test_the_drawing_in_the_docs_is_the_table() -> None:
    text = DOCS.read_text("utf-8")
    assert f"```mermaid\n{drawn()}\n```" in text
    for event, meaning in MEANINGS.items():
        assert f"| `{event}` | {meaning} |" in text


def test_the_guess_arithmetic_in_the_docs_is_right() -> None:
    """Rows are ``| digits | chance | ...`` for 100, 1,000 and 10,000 open codes, 200 wrong ones an hour for a week."""
    rows = re.findall(r"^\| (\d+) \| ([\d.e-]+) \| ([\d.e-]+) \| ([\d.e-]+) \|$", DOCS.read_text("utf-8"), re.M)
    assert [int(row[0]) for row in rows] == [8, 10, 12, 13, 16]
    for digits, *told in rows:
        for codes, shown in zip((100, 1000, 10_000), told, strict=True):
            right = chance(int(digits) - 1, codes, 200 * 24 * 7)
            assert float(shown) == pytest.approx(right, rel=0.06)
