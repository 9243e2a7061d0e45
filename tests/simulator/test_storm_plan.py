"""What is decided before a storm: who stands where, who is switched on when, and when who comes back."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.errors import Invalid
from provisioner.model import Mac
from provisioner.simulator.storm_plan import (
    MOST_SITES,
    Mode,
    StormPhone,
    StormPlan,
    back_off,
    calm,
    due,
    places,
    shares,
    site_addresses,
    switch_on,
)

NOWHERE = Path("nowhere.pem")


def crowd(sites: list[str], vendor: str = "yealink", model: str = "T46S") -> tuple[StormPhone, ...]:
    return tuple(
        StormPhone(Mac(f"001565{number:06x}"), vendor, model, NOWHERE, NOWHERE, site, str(number))
        for number, site in enumerate(sites)
    )


@settings(deadline=None)  # other tests share the machine
@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=80), st.floats(0, 600), st.integers())
def test_each_site_is_switched_on_evenly_over_the_spread(sites: list[str], spread: float, seed: int) -> None:
    plan = StormPlan(crowd(sites), spread=spread, seed=seed)
    times = switch_on(plan)
    assert times == switch_on(plan)
    for site, count in Counter(sites).items():
        own = sorted(time for time, phone in zip(times, plan.phones, strict=True) if phone.site == site)
        for slot, time in enumerate(own):
            assert spread * slot / count <= time * (1 + 1e-9) + 1e-9
            assert time <= spread * (slot + 1) / count * (1 + 1e-9)


def test_another_seed_is_another_storm() -> None:
    phones = crowd(["a"] * 20)
    assert switch_on(StormPlan(phones, seed=1)) != switch_on(StormPlan(phones, seed=2))


@settings(deadline=None)  # other tests share the machine
@given(st.floats(0, 1), st.floats(0.1, 1000), st.floats(0, 0.9))
def test_a_phone_comes_back_within_its_jitter(chance: float, retry: float, jitter: float) -> None:
    plan = StormPlan(crowd(["a"]), retry=retry, jitter=jitter)
    wait = back_off(plan, plan.phones[0], 5.0, 0.0, chance)
    assert retry * (1 - jitter) * 0.999 <= wait <= retry * (1 + jitter) * 1.001


def test_without_a_retry_of_the_plan_the_persona_has_its_own() -> None:
    plan = StormPlan(crowd(["a"]), retry=None, jitter=0)
    assert back_off(plan, plan.phones[0], 5.0, 0.0, 0.3) == 5.0


def test_retry_after_is_for_those_who_heed_it() -> None:
    phone = crowd(["a"])[0]
    heeding = StormPlan((phone,), jitter=0, heeding=frozenset({"yealink"}))
    assert back_off(heeding, phone, 5.0, 7.0, 0.5) == 7.0
    assert back_off(heeding, phone, 5.0, 0.0, 0.5) == 60.0
    assert back_off(StormPlan((phone,), jitter=0), phone, 5.0, 7.0, 0.5) == 60.0


def test_a_greedy_site_comes_back_ten_times_as_often_and_heeds_nothing() -> None:
    greedy, modest = crowd(["g", "m"])
    plan = StormPlan((greedy, modest), jitter=0, greedy=frozenset({"g"}), heeding=frozenset({"yealink"}))
    assert back_off(plan, greedy, 5.0, 99.0, 0.5) == 6.0
    assert back_off(plan, modest, 5.0, 0.0, 0.5) == 60.0


@settings(deadline=None)  # other tests share the machine
@given(st.floats(0, 100), st.floats(0.1, 5000))
def test_a_rate_counts_by_the_clock_alone_and_ends(seconds: float, rate: float) -> None:
    plan = StormPlan(mode=Mode.RATE, rate=rate, seconds=30.0)
    assert due(plan, seconds) == int(min(seconds, 30.0) * rate)


@settings(deadline=None)  # other tests share the machine
@given(st.integers(1, 3000), st.integers(2, 300), st.data())
def test_the_large_site_has_an_address_of_its_own(phones: int, sites: int, data: st.DataObject) -> None:
    nat = data.draw(st.integers(0, phones))
    stand = places(phones, sites, nat)
    first, *_ = site_addresses(sites)
    counted = Counter(stand)
    assert len(stand) == phones
    if nat:
        assert counted[first] == nat
    others = [number for site, number in counted.items() if site != first or not nat]
    assert not others or max(others) - min(others) <= 1


def test_sites_are_addresses_of_loopback_and_all_different() -> None:
    addresses = site_addresses(MOST_SITES)
    assert len(set(addresses)) == MOST_SITES
    for address in addresses:
        first, *rest = [int(part) for part in address.split(".")]
        assert first == 127
        assert all(0 <= part <= 255 for part in rest)
    assert "127.0.0.1" not in addresses


@settings(deadline=None)  # other tests share the machine
@given(st.integers(1, 200), st.integers(1, 20))
def test_every_phone_is_played_by_one_process(phones: int, processes: int) -> None:
    plan = StormPlan(crowd(["a"] * phones), processes=processes)
    parts = shares(plan)
    assert sorted(place for part in parts for place in part) == list(range(phones))
    assert all(parts)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("spread", {"spread": -1.0}),
        ("rate", {"mode": Mode.RATE}),
        ("rate", {"rate": -2.0}),
        ("together", {"mode": Mode.CLOSED}),
        ("seconds", {"seconds": 0.0}),
        ("patience", {"patience": 0.0}),
        ("retry", {"retry": 0.0}),
        ("retry", {"retry": float("inf")}),
        ("retry", {"retry": float("nan")}),
        ("jitter", {"jitter": 1.0}),
        ("greed", {"greed": 0.0}),
        ("processes", {"processes": 0}),
        ("capacity", {"capacity": -1.0}),
        ("spread", {"spread": float("nan")}),
    ],
)
def test_a_plan_that_makes_no_sense_names_the_field(field: str, values: dict[str, object]) -> None:
    with pytest.raises(Invalid) as told:
        StormPlan(**values)  # type: ignore[arg-type]  # each case its own
    assert told.value.field == field


def test_a_quiet_day_has_the_same_phones_and_nobody_in_a_hurry() -> None:
    wild = StormPlan(
        crowd(["a"] * 120), mode=Mode.CLOSED, together=9, patience=0.1, retries=False, greedy=frozenset({"a"})
    )
    quiet = calm(wild)
    assert (quiet.phones, quiet.mode, quiet.retries, quiet.greedy) == (wild.phones, Mode.STORM, True, frozenset())
    assert 1 <= quiet.spread <= 10
    assert quiet.seconds > quiet.spread + 10 * quiet.patience


@pytest.mark.parametrize(
    ("field", "asked"), [("phones", (0, 3, 0)), ("nat", (5, 3, 6)), ("sites", (5, 0, 0)), ("sites", (5, 1, 3))]
)
def test_a_crowd_that_cannot_stand_anywhere_is_refused(field: str, asked: tuple[int, int, int]) -> None:
    with pytest.raises(Invalid) as told:
        places(*asked)
    assert told.value.field == field
