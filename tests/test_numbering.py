"""Numbers, ranges, states and slots: whatever comes in, what is inside cannot be wrong."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import Invalid
from provisioner.licensing import MOST_PHONES, AccountPolicy, LicenseState, license_state
from provisioner.model import Mac
from provisioner.numbering import NumberRange, NumberState, is_public, number_state, parse_number
from provisioner.preconditions import Phones
from provisioner.store.rows import Binding


@pytest.mark.parametrize(
    ("written", "inside"),
    [
        ("+1 (415) 555-0100", "+14155550100"),
        ("+49.30/123456", "+4930123456"),
        (" +442071234567 ", "+442071234567"),
        ("1001", "1001"),
        ("0 30-12", "03012"),
    ],
)
def test_a_number_has_one_spelling(written: str, inside: str) -> None:
    assert parse_number(written) == inside == parse_number(inside)
    assert is_public(inside) is written.strip().startswith("+")


@pytest.mark.parametrize("written", ["", "+", "1", "+0123456789", "+123456", "+1234567890123456", "1e3", "٣٤٥", "+1+2"])
def test_what_is_no_number_is_refused_by_field(written: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_number(written)
    assert refused.value.field == "number"


@given(st.text(max_size=40))
def test_any_text_is_a_number_or_refused(text: str) -> None:
    try:
        found = parse_number(text)
    except Invalid:
        return
    assert re.fullmatch(r"\+[1-9][0-9]{6,14}|[0-9]{2,15}", found) and parse_number(found) == found


@pytest.mark.parametrize(
    "text", ["", "1000", "1000-", "1-2", "100-2000", "2000-1000", "0000000-0200000", "a-b", "١٠-٢٠"]
)
def test_a_range_in_which_nothing_could_be_found_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        NumberRange.parse(text)
    assert refused.value.field == "range"


@given(low=st.integers(0, 9999), size=st.integers(0, 30), taken=st.sets(st.integers(0, 10_050)))
def test_the_lowest_that_is_free(low: int, size: int, taken: set[int]) -> None:
    span = NumberRange(str(low).zfill(5), str(low + size).zfill(5))
    assert NumberRange.parse(str(span)) == span
    free = sorted(set(range(low, low + size + 1)) - taken)
    assert span.lowest_free({str(one).zfill(5) for one in taken}) == (str(free[0]).zfill(5) if free else None)


def test_leading_zeros_are_kept() -> None:
    assert list(NumberRange.parse("098 - 101")) == ["098", "099", "100", "101"]


def test_states_are_worked_out_and_never_contradict() -> None:
    assert license_state(has_user=True, suspended=True) is LicenseState.SUSPENDED
    assert license_state(has_user=True, suspended=False) is LicenseState.ASSIGNED
    assert license_state(has_user=False, suspended=False) is LicenseState.AVAILABLE
    assert number_state(porting=True, has_extension=True, held=False) is NumberState.PORTING
    assert number_state(porting=False, has_extension=True, held=True) is NumberState.ASSIGNED
    assert number_state(porting=False, has_extension=False, held=True) is NumberState.HELD
    assert number_state(porting=False, has_extension=False, held=False) is NumberState.AVAILABLE


@pytest.mark.parametrize(
    ("given", "field"),
    [({"phones": 0}, "phones"), ({"phones": MOST_PHONES + 1}, "phones"), ({"reserved": ("9 1",)}, "reserved")],
)
def test_a_policy_nobody_could_keep_is_refused(given: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        AccountPolicy("a", **given)  # type: ignore[arg-type]  # wrong values are the point
    assert refused.value.field == field


def _bound(number: int, slot: int) -> Binding:
    return Binding(Mac(f"0004f2aabb{number:02x}"), 1, "e", "1001", "", float(number), None, "ann", "bind", slot)


@given(st.sets(st.integers(1, 5), max_size=5), st.integers(1, 5))
def test_a_free_slot_is_within_the_policy_unless_all_are_taken(slots: set[int], most: int) -> None:
    phones = Phones(
        tuple(_bound(number, slot) for number, slot in enumerate(sorted(slots))), AccountPolicy("a", phones=most)
    )
    assert phones.slot() not in slots
    assert (phones.slot() <= most) == (not set(range(1, most + 1)) <= slots)
    if gone := phones.given_up(Mac("0004f2ffffff")):
        assert gone is phones.held[0] and phones.slot(gone) <= gone.slot
    assert phones.full == (len(slots) >= most)


def test_a_phone_takes_its_own_place_before_another_ones() -> None:
    phones = Phones((_bound(1, 1), _bound(2, 2)), AccountPolicy("a", phones=2))
    assert phones.given_up(Mac("0004f2aabb02")) is phones.held[1] is phones.on(Mac("0004f2aabb02"))
    assert phones.on(Mac("0004f2aabb03")) is None and phones.full
    assert Phones((), AccountPolicy("a")).given_up(Mac("0004f2aabb02")) is None
    assert phones.told == "line 1 of 00:04:f2:aa:bb:01 and line 1 of 00:04:f2:aa:bb:02"
