"""Waves keep their two bounds whoever is to be told, and nobody is told twice or left out."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import Invalid
from provisioner.model import Mac
from provisioner.resync.plan import Pace, Phone, lasting, waves

START = 1_800_000_000.0
PLACES = st.sampled_from(["", "berlin", "madrid", "paris", "acme"])
PHONES = st.lists(st.tuples(st.integers(1, 400), PLACES), max_size=80).map(
    lambda found: [Phone(Mac(f"{number:012x}"), place) for number, place in found]
)
PACES = st.builds(
    Pace,
    rate=st.floats(0.01, 500.0),
    wave=st.floats(0.5, 600.0),
    share=st.floats(0.001, 1.0),
)


@given(PHONES, PACES)
def test_every_phone_has_one_turn(phones: list[Phone], pace: Pace) -> None:
    turns = waves(phones, pace, START)
    assert sorted(one.mac for one in turns) == sorted({one.mac for one in phones})
    assert all(one.due >= START and one.wave == int((one.due - START) / pace.wave) for one in turns)


@given(PHONES, PACES)
def test_never_above_the_rate(phones: list[Phone], pace: Pace) -> None:
    dues = [one.due for one in waves(phones, pace, START)]
    assert all(after - before >= 1 / pace.rate - 1e-5 for before, after in pairwise(dues))


@given(PHONES, PACES, st.dictionaries(PLACES, st.integers(0, 300)))
def test_no_place_is_away_beyond_its_cap(phones: list[Phone], pace: Pace, sizes: dict[str, int]) -> None:
    turns = waves(phones, pace, START, sizes)
    by_place: defaultdict[str, list[float]] = defaultdict(list)
    for one in turns:
        by_place[one.place].append(one.due)
    for place, dues in by_place.items():
        cap = max(1, math.floor(max(len(dues), sizes.get(place, 0)) * pace.share))
        assert all(later - dues[number] >= pace.wave - 1e-5 for number, later in enumerate(dues[cap:]))


@given(PHONES, PACES)
def test_the_same_phones_get_the_same_turns(phones: list[Phone], pace: Pace) -> None:
    unique = list({one.mac: one for one in phones}.values())
    assert waves(unique, pace, START) == waves(list(reversed(unique)), pace, START)


def test_a_site_of_ten_at_a_fifth_is_told_two_by_two() -> None:
    phones = [Phone(Mac(f"{number:012x}"), "berlin") for number in range(1, 11)]
    turns = waves(phones, Pace(10.0, 180.0, 0.2), START)
    assert [round(one.due - START, 1) for one in turns] == [0, 0.1, 180, 180.1, 360, 360.1, 540, 540.1, 720, 720.1]
    assert [one.wave for one in turns] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert lasting(turns) == (pytest.approx(720.1), 5, {"berlin": 10})


def test_phones_that_are_not_told_count_for_the_size_of_their_site() -> None:
    phones = [Phone(Mac(f"{number:012x}"), "berlin") for number in range(1, 11)]
    assert {one.wave for one in waves(phones, Pace(10.0, 180.0, 0.2), START, {"berlin": 50})} == {0}


def test_a_campaign_lasts_no_longer_than_its_rate_asks_for_when_sites_are_many() -> None:
    phones = [Phone(Mac(f"{number:012x}"), f"site {number % 100}") for number in range(1, 1001)]
    seconds, _, _ = lasting(waves(phones, Pace(5.0, 10.0, 0.2), START))
    assert seconds == pytest.approx(999 / 5.0)


@pytest.mark.parametrize("values", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (math.inf, 1, 1), (math.nan, 1, 1), (-1, 1, 1)])
def test_a_pace_that_makes_no_sense_is_refused(values: tuple[float, float, float]) -> None:
    with pytest.raises(Invalid):
        Pace(*values)


def test_nobody_to_tell_is_no_wave() -> None:
    assert waves([], Pace(1.0, 1.0, 1.0), START) == []
    assert lasting([]) == (0.0, 0, {})
