"""The arithmetic of storms: the worked example, and what holds for every fleet and every node."""

import math
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.model import Model
from provisioner.neutral import SETTINGS, parse_value
from provisioner.shaping import (
    Advice,
    Budget,
    Outage,
    advise,
    campaign_pace,
    capacity_of,
    polling,
    step,
    time_left,
)
from provisioner.vendor import Manifest
from provisioner.vendors import drivers

BUDGET = Budget(cores=2, rejections=0.03, campaign=0.3)
DEFAULTS = {name: setting.default for name, setting in SETTINGS.items()}
PATIENT = Model(vendor="test", name="T1", family="test", lines=1, dialect="test")
VENDOR = Manifest("test", "Test", frozenset(), MappingProxyType({"T1": PATIENT}), {})
"""A vendor whose one model takes every setting."""
STEPS = (0, 20, 40, 60, 80, 120, 160, 240, 320, 480, 600)

fleets = st.integers(1, 2_000_000)
capacities = st.floats(5, 50_000)
spreads = st.floats(0, 600)
patiences = st.floats(1, 120)
outages = st.builds(Outage, fleets, capacities, spreads, patiences)


def told(outage: Outage, current: dict[str, object] | None = None, vendor: Manifest = VENDOR) -> dict[str, Advice]:
    return {one.setting: one for one in advise(vendor, outage, BUDGET, {**DEFAULTS, **(current or {})})}


def applied(found: dict[str, Advice]) -> dict[str, object]:
    return {name: one.value for name, one in found.items() if one.value is not None}


def test_the_worked_example() -> None:
    """5 files over one kept connection: 4.08 ms a boot, two cores, 80 % of them."""
    capacity = capacity_of(2, 0.8, 0.00408)
    assert capacity == pytest.approx(392, abs=0.5)
    outage = Outage(100_000, 392, spread=60, patience=10)
    assert math.ceil(outage.window) == 307
    assert outage.recovery == pytest.approx(255, abs=0.2)
    assert outage.safe_fleet == 27_440
    assert told(outage)["storm.boot_delay"].value == 320  # the next step, in Cisco's units 16


def test_figures_of_the_model() -> None:
    outage = Outage(100_000, 340, spread=60, patience=10)
    assert outage.safe_fleet == 23_800
    assert outage.collapse_after == pytest.approx(2.6, abs=0.05)
    assert outage.recovery == pytest.approx(294, abs=0.2)
    assert 340 * (10 + outage.calming_retry) / 0.35 == pytest.approx(100_000)  # outstanding phones that feed it
    assert replace(outage, fleet=23_800).collapse_after is None
    assert campaign_pace(340, 0.3) == pytest.approx(102)


@given(outages)
def test_what_is_safe_does_not_collapse_and_what_collapses_does_so_before_all_are_there(outage: Outage) -> None:
    assert (outage.collapse_after is None) == outage.is_safe
    assert outage.collapse_after is None or 0 <= outage.collapse_after <= outage.spread * (1 + 1e-9)
    assert outage.recovery >= outage.spread
    assert outage.window == pytest.approx(1.2 * outage.fleet / outage.capacity)


@given(outages, st.floats(1, 100))
def test_a_larger_fleet_never_gets_shorter_timers(outage: Outage, factor: float) -> None:
    larger = told(replace(outage, fleet=math.ceil(outage.fleet * factor)))
    for name in ("storm.boot_delay", "storm.retry_delay", "poll.period"):
        before, after = told(outage)[name].value, larger[name].value
        assert isinstance(before, int)
        assert isinstance(after, int)
        assert after >= before


@given(outages)
def test_values_can_be_set_and_are_never_below_the_defaults(outage: Outage) -> None:
    for vendor in (VENDOR, *(driver.manifest for driver in drivers())):
        for name, one in told(outage, vendor=vendor).items():
            if one.value is None:
                assert one.taken_by == 0
                continue
            assert parse_value(name, one.value) == one.value
            default = DEFAULTS[name]
            if isinstance(one.value, int) and isinstance(default, int):
                assert default <= one.value <= vendor.ceilings.get(name, 604_800)


@given(outages)
def test_attempts_reach_beyond_the_recovery_or_are_as_many_as_can_be(outage: Outage) -> None:
    found = told(outage)
    attempts, delay = found["storm.retry_attempts"].value, found["storm.retry_delay"].value
    assert isinstance(attempts, int)
    assert isinstance(delay, int)
    assert attempts == 10 or attempts * (delay + outage.patience) >= outage.recovery


@given(outages)
def test_a_window_that_fits_covers_the_work(outage: Outage) -> None:
    found = told(outage)
    delay = found["storm.boot_delay"].value
    assert isinstance(delay, int)
    assert delay == 0 if outage.is_safe else delay >= min(600, outage.window)
    assert delay in STEPS


@given(outages, st.lists(st.floats(0.95, 1.05), min_size=5, max_size=20))
def test_a_measurement_that_wavers_does_not_make_bytes_waver(outage: Outage, factors: list[float]) -> None:
    """A threshold may be crossed once; what was applied then stays. Attempts also follow the delay between them."""
    current: dict[str, object] = {}
    seen: dict[str, list[object]] = {"storm.boot_delay": [], "storm.retry_delay": [], "storm.retry_attempts": []}
    for factor in factors:
        current = applied(told(replace(outage, capacity=outage.capacity * factor), current))
        for name, values in seen.items():
            values.append(current[name])
    changes = {name: sum(a != b for a, b in pairwise(values)) for name, values in seen.items()}
    assert changes["storm.boot_delay"] <= 1
    assert changes["storm.retry_delay"] <= 1
    assert changes["storm.retry_attempts"] <= 2


@given(st.floats(0, 1000), st.sampled_from(STEPS))
def test_a_step_is_enough_or_nearly(wanted: float, current: int) -> None:
    assert step(wanted, STEPS) >= min(wanted, 600)
    kept = step(wanted, STEPS, current)
    assert kept * 1.1 >= min(wanted, 600)
    assert kept in (current, step(wanted, STEPS))


@given(outages)
def test_polling_stays_below_a_campaign(outage: Outage) -> None:
    found = told(outage)
    end, period = found["poll.to"].value, found["poll.period"].value
    assert isinstance(end, str)
    assert isinstance(period, int)
    hours = (int(end[:2]) - 1) % 24 * period / 86_400
    wanted, _ = polling(outage, BUDGET)
    assert period == 7 * 86_400 or hours * 1.12 >= wanted.wanted


def test_a_window_that_is_wide_enough_stays_as_the_administrator_set_it() -> None:
    mine = {"poll.from": "22:00", "poll.to": "06:00"}
    assert told(Outage(1_000_000, 150, 60, 10), mine)["poll.to"].value == "06:00"  # 6.2 h wanted, 8 are there
    assert told(Outage(1_000_000, 100, 60, 10), mine)["poll.to"].value == "10:00"  # 9.3 h wanted
    assert told(Outage(1_000_000, 150, 60, 10))["poll.to"].value == "09:00"


def test_what_no_model_takes_is_not_proposed_and_says_why() -> None:
    (yealink,) = (driver.manifest for driver in drivers() if driver.manifest.name == "yealink")
    found = told(Outage(1_000_000, 392, 60, 10), vendor=yealink)
    assert found["storm.boot_delay"].value is None
    assert not found["storm.boot_delay"].is_new
    assert "none of its models can" in found["storm.boot_delay"].why
    assert found["storm.retry_delay"].value == 300  # its own ceiling
    assert "300 is the most they take" in found["storm.retry_delay"].why
    assert 0 < found["storm.retry_delay"].taken_by < found["storm.retry_delay"].models


@given(fleets, fleets, capacities)
def test_time_left_ends(fleet: int, back: int, capacity: float) -> None:
    assert 0 <= time_left(fleet, back, capacity) <= fleet / capacity
    assert time_left(fleet, fleet, 0.0) == 0.0
    assert time_left(fleet + 1, fleet, 0.0) == math.inf
