"""When a phone is away, and whether it or its site is told."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.model import Mac
from provisioner.presence_rules import BREAK, Absent, brightened, is_missing, listening_since, told_singly

DAY = 86_400.0


def phone(number: int, place: str) -> Absent:
    return Absent(Mac(f"0004f2{number:06x}"), place, 0.0)


@pytest.mark.parametrize(
    ("silent", "polls", "registers", "missing"),
    [
        (2 * DAY, DAY, False, False),
        (3 * DAY, DAY, False, True),
        (3 * DAY, 2 * DAY, False, False),
        (4 * DAY, 2 * DAY, False, True),
        (300 * DAY, None, False, False),
        (3 * DAY, None, True, True),
        (2 * DAY, None, True, False),
    ],
)
def test_a_phone_has_two_of_its_polls(silent: float, polls: float | None, registers: bool, missing: bool) -> None:
    assert is_missing(1000.0, 1000.0 + silent, 3 * DAY, polls, registers=registers) is missing


def test_a_break_of_the_server_gives_all_their_time_anew() -> None:
    assert listening_since(5.0, 1000.0, 1000.0 + BREAK) == 5.0
    assert listening_since(5.0, 1000.0, 1001.0 + BREAK) == 1001.0 + BREAK
    assert listening_since(5.0, 10_000.0, 1000.0) == 1000.0, "a clock that was put back is a break, too"


PLACES = st.lists(st.sampled_from("abc"), max_size=30)


@given(PLACES, st.dictionaries(st.sampled_from("abc"), st.integers(0, 12)), st.integers(0, 6))
def test_of_a_place_so_many_are_told_singly_and_then_it_is_told_once(
    places: list[str], away: dict[str, int], singly: int
) -> None:
    told, dark = told_singly([phone(*one) for one in enumerate(places)], away, singly)
    assert [one.place for one in told] == places
    for place, count in Counter(places).items():
        before = away.get(place, 0)
        alone = sum(one.singly for one in told if one.place == place)
        assert alone == min(count, max(0, singly - before))
        assert (place in dark) == (before <= singly < before + count)
        assert dark.get(place, before + count) == before + count
    assert set(dark) <= set(places)


@given(st.dictionaries(st.sampled_from("abc"), st.integers(1, 12)), st.integers(0, 6))
def test_a_place_is_bright_when_no_more_are_away_than_are_told_singly(before: dict[str, int], singly: int) -> None:
    after = {place: count // 2 for place, count in before.items()}
    expected = {place for place, count in before.items() if count > singly and count // 2 <= singly}
    assert set(brightened(before, after, singly)) == expected
    assert set(brightened(before, {}, singly)) == {place for place, count in before.items() if count > singly}
    assert brightened(before, before, singly) == []
