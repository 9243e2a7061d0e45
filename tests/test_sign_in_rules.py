"""Paces, places and passwords, without a clock or a database; codes of a second factor against RFC 6238's own."""

from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import Invalid
from provisioner.second_factor import new_recovery_codes, new_seed, recovery_finder, step_of, uri_of
from provisioner.sign_in_rules import Pace, check_password, hidden, login_of, place_of

RFC_SEED = base64.b32encode(b"12345678901234567890").decode()


@pytest.mark.parametrize(("at", "code"), [(59, "287082"), (1111111109, "081804"), (20000000000, "353130")])
def test_codes_are_those_of_rfc_6238(at: float, code: str) -> None:
    """Appendix B, its last six digits."""
    assert step_of(RFC_SEED, code, at, -1) == at // 30
    assert step_of(RFC_SEED, f"{code[:3]} {code[3:]}", at, -1) == at // 30


def test_a_clock_may_be_half_a_minute_off_and_no_more() -> None:
    for late, right in ((-60, False), (-30, True), (0, True), (30, True), (60, False)):
        assert (step_of(RFC_SEED, "081804", 1111111109 + late, -1) is not None) is right


def test_a_step_counts_once() -> None:
    step = step_of(RFC_SEED, "081804", 1111111109, -1)
    assert step is not None
    assert step_of(RFC_SEED, "081804", 1111111109, step) is None
    assert step_of(RFC_SEED, "081804", 1111111109, step - 1) == step


@given(st.text(max_size=20))
def test_no_text_but_six_digits_is_a_code(text: str) -> None:
    found = step_of(RFC_SEED, text, 1111111109, -1)
    assert found is None or text.replace(" ", "") in {"081804", "731029", "068872"} or text.replace(" ", "").isdigit()


def test_an_app_reads_the_seed() -> None:
    seed = new_seed()
    assert len(base64.b32decode(seed)) == 20
    assert uri_of(seed, "ann@example.net", "phones").startswith("otpauth://totp/phones:ann%40example.net?secret=")


def test_recovery_codes_are_found_however_they_are_written() -> None:
    codes = new_recovery_codes(random.Random(1).choice)
    assert len(set(codes)) == 10
    for code in codes:
        assert len(recovery_finder(code)) == 64
        assert recovery_finder(code.upper().replace("-", " ")) == recovery_finder(code)
    assert recovery_finder("081804") == recovery_finder("") == ""


@given(st.integers(1, 50), st.floats(1, 1000), st.lists(st.floats(0, 100), max_size=60))
def test_a_pace_gives_its_attempts_at_once_and_no_more(attempts: int, window: float, gaps: list[float]) -> None:
    pace, now, turn, taken = Pace(attempts, window), 1000.0, 0.0, []
    for gap in gaps:
        now += gap
        if pace.wait(turn, now) <= 1e-6:
            turn = max(turn, now) + pace.interval
            taken.append(now)
    for end in taken:
        recent = [at for at in taken if end - window < at <= end]
        assert len(recent) <= 2 * attempts
    at_once = [at for at in taken if taken and at == taken[0]]
    assert len(at_once) <= attempts


def test_a_clock_that_was_put_back_makes_nobody_wait_for_ever() -> None:
    pace = Pace(5, 900.0)
    assert pace.wait(1e12, 1000.0) <= 2 * 900.0


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("a channel", ""),
    ],
)
def test_a_place_is_what_one_subscriber_has(address: str, place: str) -> None:
    assert place_of(address) == place


def test_a_login_has_one_spelling_and_a_stranger_leaves_none_behind() -> None:
    assert login_of(" Ann@Example.NET ") == "ann@example.net"
    assert "ann" not in hidden("ann@example.net")
    assert hidden("\udcff") != hidden("ann@example.net")


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short", "12 to 128"),
        ("x" * 129, "12 to 128"),
        ("aaaaaaaaaaaabbbb", "different"),
        ("my-name-is-ann.smith!", "name of the login"),
    ],
)
def test_a_password_that_is_easy_to_guess_is_refused(password: str, why: str) -> None:
    with pytest.raises(Invalid, match=why) as told:
        check_password(password, "ann.smith@example.net", 12)
    assert told.value.field == "password"
    assert password not in str(told.value)


def test_a_passphrase_in_any_script_is_taken() -> None:
    check_password("correct horse battery", "ann@example.net", 12)
    check_password("сырая кошка на крыше", "ann@example.net", 12)
