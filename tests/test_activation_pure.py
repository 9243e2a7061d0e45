"""The rules of activation without a database: budgets and verdicts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.activation_budget import (
    HOUR,
    TOTAL,
    Limit,
    Limits,
    Standing,
    budgets,
    charged,
    network_key,
    source_key,
    wait,
)
from provisioner.activation_limits import limits_of
from provisioner.activation_verdict import ANSWERS, Attempt, Case, Cause, Outcome, answer, objection
from provisioner.codes import ActivationCode, CodeState
from provisioner.model import Device, DeviceState, Mac, Model
from provisioner.settings import Settings

MAC, OTHER = Mac("0004f2aabb01"), Mac("0004f2aabb02")
VVX = Model("poly", "VVX 411", "vvx", "ucs", 12)
NOW = 1_800_000_000.0
FIVE = Limit(5, 900, 86_400)


# --- budgets ------------------------------------------------------------------------------------------


def test_five_wrong_ones_and_then_locks_that_double_up_to_a_day() -> None:
    one, now = Standing(), NOW
    for _ in range(4):
        one = charged(one, FIVE, now)
        assert wait(one, FIVE, now) == 0
    locks = []
    for _ in range(10):
        one = charged(one, FIVE, now)
        if left := wait(one, FIVE, now):
            locks.append(left)
            now += left
    assert locks[:3] == [900, 1800, 3600]
    for _ in range(60):
        one = charged(one, FIVE, now)
        now += wait(one, FIVE, now)
    assert wait(charged(one, FIVE, now), FIVE, now) <= 86_400


def test_the_longest_lock_is_reached_and_a_day_of_peace_makes_the_next_a_first_one() -> None:
    one, now, longest = Standing(), NOW, 0.0
    for _ in range(100):
        one = charged(one, FIVE, now)
        longest = max(longest, wait(one, FIVE, now))
        now += wait(one, FIVE, now)
    assert longest == 86_400
    now += 86_401
    for _ in range(5):
        one = charged(one, FIVE, now)
    assert wait(one, FIVE, now) == 900


@given(st.floats(1, 500), st.lists(st.floats(0, 2000), max_size=200))
def test_no_sequence_gets_more_than_two_hours_worth_into_one(tries: float, pauses: list[float]) -> None:
    """One hour's worth at once, and what comes back meanwhile."""
    limit, one, now = Limit(tries), Standing(), NOW
    at: list[float] = []
    for pause in pauses:
        now += pause
        if not wait(one, limit, now):
            one = charged(one, limit, now)
            at.append(now)
    for start in at:
        assert sum(start <= moment < start + HOUR for moment in at) <= 2 * tries + 1


@given(st.floats(0, 2e9), st.floats(0, 2e9), st.integers(0, 40), st.floats(0, 2e9))
def test_a_clock_that_was_put_back_locks_nobody_out_for_ever(turn: float, until: float, locks: int, now: float) -> None:
    assert wait(Standing(turn, until, locks), FIVE, now) <= FIVE.lock_most
    after = charged(Standing(turn, until, locks), FIVE, now)
    assert 0 <= wait(after, FIVE, now) <= FIVE.lock_most


def test_asking_costs_nothing() -> None:
    one = charged(Standing(), FIVE, NOW)
    assert [wait(one, FIVE, NOW) for _ in range(50)] == [0] * 50


@pytest.mark.parametrize(
    ("address", "source", "network"),
    [
        ("198.51.100.7", "198.51.100.7", "198.51.100.0/24"),
        ("::ffff:198.51.100.7", "198.51.100.7", "198.51.100.0/24"),
        ("2001:DB8:1:2::3", "2001:db8:1:2::3", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::1", "fe80::/64"),
        ("", "", ""),
        ("SIP/trunk-000001", "", ""),
    ],
)
def test_an_address_is_counted_with_its_neighbours(address: str, source: str, network: str) -> None:
    assert source_key(address) == source
    assert network_key(source_key(address)) == network


def test_who_only_claims_a_device_uses_up_nothing_of_its_own() -> None:
    limits = limits_of(Settings())
    proven = budgets(limits, MAC, "198.51.100.7", "acme", proven=True)
    claimed = budgets(limits, MAC, "198.51.100.7", "acme", proven=False)
    assert {one.key for one in proven} & {one.key for one in claimed} == {TOTAL}
    assert {one.kind for one in claimed} - {one.kind for one in proven} == {"unproven"}
    assert limits.unproven.tries < limits.total.tries
    assert [one.kind for one in budgets(limits, MAC, "", "", proven=True)] == [TOTAL, "device"]


def test_only_a_device_is_locked_beyond_its_rate() -> None:
    limits = limits_of(Settings())
    for name in Limits.__dataclass_fields__:
        assert bool(getattr(limits, name).lock_first) is (name == "device")


# --- verdicts -----------------------------------------------------------------------------------------


def code(**values: object) -> ActivationCode:
    given = {"state": CodeState.ISSUED, "created": NOW - 60, "expires": NOW + 60, "actor": "ann", **values}
    return ActivationCode(id="c", account="acme", extension="x", number="1001", **given)  # type: ignore[arg-type]


def device(**values: object) -> Device:
    given = {"state": DeviceState.UNASSIGNED, "account": "acme", "model": "VVX 411", "vendor": "poly", **values}
    return Device(MAC, **given)  # type: ignore[arg-type]


def case(one: ActivationCode, row: Device | None, **attempt: object) -> Case:
    values = {"vendor": "poly", "model": "VVX 411", "authenticated": True, **attempt}
    return Case(Attempt(mac=MAC, code="canary", **values), one, row, VVX, NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "row", "attempt", "cause"),
    [
        (code(), device(), {}, None),
        (code(), None, {}, None),
        (code(), device(), {"authenticated": False}, None),
        (code(mac=MAC, vendor="poly", model="VVX 411", site="berlin"), device(site="berlin"), {}, None),
        (code(site="berlin"), device(), {}, None),
        (code(site="berlin"), None, {}, None),
        (code(expires=NOW), device(), {}, Cause.EXPIRED),
        (code(state=CodeState.EXPIRED), device(), {}, Cause.EXPIRED),
        (code(state=CodeState.USED), device(), {}, Cause.USED),
        (code(state=CodeState.REVOKED), device(), {}, Cause.REVOKED),
        (code(state=CodeState.LOCKED), device(), {}, Cause.LOCKED),
        (code(), device(account="beta"), {}, Cause.OTHER_ACCOUNT),
        (code(state=CodeState.USED), device(account="beta"), {}, Cause.OTHER_ACCOUNT),
        (code(), None, {"authenticated": False}, Cause.UNPROVEN),
        (code(), device(state=DeviceState.REVOKED), {}, Cause.DEVICE_REVOKED),
        (code(), device(), {"vendor": "yealink"}, Cause.VENDOR),
        (code(mac=OTHER), device(), {}, Cause.MAC),
        (code(vendor="poly", model="VVX 150"), device(), {}, Cause.MODEL),
        (code(vendor="yealink", model="VVX 411"), device(), {}, Cause.MODEL),
        (code(site="berlin"), device(site="madrid"), {}, Cause.SITE),
    ],
)
def test_the_first_rule_that_objects_names_the_cause(
    one: ActivationCode, row: Device | None, attempt: dict[str, object], cause: Cause | None
) -> None:
    assert objection(case(one, row, **attempt)) is cause


def test_every_cause_has_an_answer_and_a_stranger_hears_one_for_all() -> None:
    assert set(ANSWERS) == set(Cause)
    assert {answer(cause, authenticated=False) for cause in Cause} == {Outcome.WRONG}
    assert answer(Cause.OTHER_ACCOUNT, authenticated=True) is Outcome.WRONG
    assert answer(Cause.USED, authenticated=True) is Outcome.USED


def test_the_digits_are_in_no_repr() -> None:
    assert "canary" not in repr(case(code(), device()))
