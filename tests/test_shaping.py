"""The arithmetic of storms: the worked example, and what holds for every fleet and every node."""

import math
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from provisioner.capacity import capacity_of
from provisioner.model import Model
from provisioner.neutral import SETTINGS, parse_value
from provisioner.shaping import Advice, Budget, Outage, Standing, advise, campaign_pace, polling, step, time_left
from provisioner.vendor import Manifest
from provisioner.vendors import drivers

BUDGET = Budget(cores=2, rejections=0.03, campaign=0.3)
DEFAULTS = {name: setting.default for name, setting in SETTINGS.items()}
PATIENT = Model(vendor="test", name="T1", family="test", lines=1, dialect="test")
VENDOR = Manifest("test", "Test", frozenset(), MappingProxyType({"T1": PATIENT}), {})
"""A vendor whose one model takes every setting."""
SHIPPED = tuple(driver.manifest for driver in drivers())
STEPS = (0, 20, 40, 60, 80, 120, 160, 240, 320, 480, 600)

fleets = st.integers(1, 2_000_000)
capacities = st.floats(5, 50_000)
spreads = st.floats(0, 600)
patiences = st.floats(1, 120)
outages = st.builds(Outage, fleets, capacities, spreads, patiences)


def told(
    outage: Outage,
    own: dict[str, object] | None = None,
    vendor: Manifest = VENDOR,
    planned: dict[str, object] | None = None,
) -> dict[str, Advice]:
    """``own`` is what the administrator has set, ``planned`` what a plan has set over it."""
    without = {**DEFAULTS, **(own or {})}
    standing = Standing({**without, **(planned or {})}, without)
    return {one.setting: one for one in advise(vendor, outage, BUDGET, standing)}


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
    for vendor in (VENDOR, *SHIPPED):
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
    names = ("storm.boot_delay", "storm.retry_delay", "storm.retry_attempts", "poll.to", "poll.period")
    seen: dict[str, list[object]] = {name: [] for name in names}
    for factor in factors:
        current = applied(told(replace(outage, capacity=outage.capacity * factor), planned=current))
        for name, values in seen.items():
            values.append(current[name])
    changes = {name: sum(a != b for a, b in pairwise(values)) for name, values in seen.items()}
    assert changes["storm.boot_delay"] <= 1
    assert changes["storm.retry_delay"] <= 1
    assert changes["storm.retry_attempts"] <= 2
    assert changes["poll.to"] <= 1
    assert changes["poll.period"] <= 1


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


SMALL = Outage(100, 392, 60, 10)
HUGE = Outage(20_000_000, 392, 60, 10)


@given(outages, outages)
def test_what_was_applied_for_one_fleet_never_holds_another_one_up(before: Outage, after: Outage) -> None:
    """Up or down: a plan ends within a step of what it would be had there never been another one."""
    assume(not after.safe_fleet * 0.9 < after.fleet <= after.safe_fleet)  # there, safe or not is kept as it was
    planned = applied(told(before))
    found, fresh = told(after, planned=planned), told(after)
    for name, steps in (("storm.boot_delay", STEPS), ("storm.retry_delay", (60, 90, 120, 180, 240, 300, 450, 600))):
        value, right = found[name].value, fresh[name].value
        assert isinstance(value, int)
        assert isinstance(right, int)
        assert abs(steps.index(value) - steps.index(right)) <= 1, found[name].why
        assert value in (right, planned[name])


def test_a_smaller_fleet_gets_everything_back_and_the_true_reason() -> None:
    planned = applied(told(HUGE))
    assert [name for name, value in planned.items() if value == DEFAULTS[name]] == []
    found = told(SMALL, planned=planned)
    assert applied(found) == {name: DEFAULTS[name] for name in planned}
    assert {name for name, one in found.items() if one.takes_back} == set(planned)
    assert found["storm.boot_delay"].why == "the fleet is safe without it"
    assert found["storm.retry_delay"].why == "the default is long enough: the fleet is safe without more"
    assert found["storm.retry_attempts"].why == "the default is enough"
    assert found["poll.to"].why.endswith("take 0.0 h, and there are 4 h without a plan")
    assert not any(one.is_new for one in told(SMALL, planned=applied(found)).values())


def test_in_between_it_goes_down_by_steps() -> None:
    planned = applied(told(HUGE))
    for fleet, delay, retry, end, days in (
        (20_000_000, 600, 600, "23:00", 3),
        (15_000_000, 600, 600, "23:00", 2),
        (8_000_000, 600, 600, "23:00", 1),
        (5_000_000, 600, 600, "13:00", 1),
        (2_000_000, 600, 600, "07:00", 1),
        (200_000, 600, 180, "05:00", 1),
        (100_000, 320, 90, "05:00", 1),
        (60_000, 240, 60, "05:00", 1),
    ):
        planned = applied(told(replace(HUGE, fleet=fleet), planned=planned))
        assert planned["storm.boot_delay"] == delay
        assert (planned["storm.retry_delay"], planned["poll.to"]) == (retry, end), fleet
        assert planned["poll.period"] == days * 86_400


def test_a_window_about_as_wide_as_it_must_be_stays_as_it_is() -> None:
    """4.3 h are wanted, 4 are there: nearly enough to leave it, and not enough to take a wider one back."""
    outage = replace(HUGE, fleet=1_820_000)
    assert told(outage)["poll.to"].value == "05:00"
    assert told(outage, planned={"poll.to": "07:00"})["poll.to"].value == "07:00"


def test_what_the_administrator_had_set_is_what_a_smaller_fleet_gets_back() -> None:
    mine: dict[str, object] = {"poll.from": "22:00", "poll.to": "06:00", "poll.period": 2 * 86_400}
    planned = applied(told(HUGE, mine))
    assert (planned["poll.to"], planned["poll.period"]) != ("06:00", 2 * 86_400)
    found = told(SMALL, mine, planned=planned)
    assert (found["poll.to"].value, found["poll.period"].value) == ("06:00", 2 * 86_400)
    assert found["poll.to"].takes_back
    assert "there are 16 h without a plan" in found["poll.to"].why


@pytest.mark.parametrize(("fleet", "fresh"), [(112_000, 120), (66_000, 60)], ids=["93 s", "55 s"])
def test_a_value_that_is_kept_says_so_instead_of_another_reason(fleet: int, fresh: int) -> None:
    outage = replace(HUGE, fleet=fleet)
    kept = told(outage, planned={"storm.retry_delay": 90})["storm.retry_delay"]
    assert (kept.value, kept.is_new) == (90, False)
    assert kept.why.endswith("; that is within a tenth of the step 90, which is kept")
    assert told(outage)["storm.retry_delay"].value == fresh


def test_what_no_model_takes_is_not_proposed_and_says_why() -> None:
    (yealink,) = (one for one in SHIPPED if one.name == "yealink")
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
