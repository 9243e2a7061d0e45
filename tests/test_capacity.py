"""Capacity: one formula, three sources, and each says what it is made of and of when it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner import capacity as capacities
from provisioner.capacity import ENOUGH, RECENT, Capacity, Cores, Source, estimated, is_recent, measured
from provisioner.settings import Settings

NODE = Cores(2, 0.8)
AT = 1_800_000_000.0
TOTALS = {("busy_boots_total", ""): 400.0, ("busy_cpu_seconds_total", ""): 1.632, ("busy_timestamp_seconds", ""): AT}


def test_what_was_measured_says_with_how_many_boots_and_when() -> None:
    found = measured(NODE, TOTALS)
    assert found is not None
    assert found.boots == pytest.approx(392, abs=0.5)
    assert (found.how, found.at, found.counted, found.caution) == (Source.MEASURED, AT, 400, "")
    for words in ("2 cores x 0.8 (storm.utilization) / 4.08 ms a boot", "400 boots", "2027-01-15 08:00:00 UTC"):
        assert words in found.why


@pytest.mark.parametrize(
    "change",
    [{("busy_boots_total", ""): ENOUGH - 1.0}, {("busy_cpu_seconds_total", ""): 0.0}],
    ids=["too few boots", "no time spent"],
)
def test_too_little_is_no_measurement(change: dict[tuple[str, str], float]) -> None:
    assert measured(NODE, TOTALS | change) is None
    assert measured(NODE, {}) is None


def test_an_estimate_says_what_is_assumed_and_how_it_may_be_wrong() -> None:
    found = estimated(NODE, 0.0015, 8, AT, "no server runs")
    assert found.boots == pytest.approx(1.6 / (0.0015 + 0.0005 + 8 * 0.00035))
    for words in ("1.50 ms of a core", "8 files (admission.files)", "assumed to take 3.30 ms", "no server runs"):
        assert words in found.why
    for words in ("other work on these cores", "a connection for each file", "half or a third"):
        assert words in found.caution


def test_a_measurement_grows_old() -> None:
    found = measured(NODE, TOTALS)
    assert found is not None
    assert is_recent(found, AT + RECENT)
    assert not is_recent(found, AT + RECENT + 1)
    assert is_recent(found, AT)
    assert not is_recent(found, AT - 1), "a clock that was ten years ahead does not make it recent for ten years"
    assert not is_recent(Capacity(1.0, Source.MEASURED, ""), AT), "nobody knows of when it is"


def test_why_there_is_none_is_told() -> None:
    old = measured(NODE, TOTALS)
    assert "no server runs" in capacities.why_not_measured(None, None)
    assert "have served 12 boots at speed, and it takes 200" in capacities.why_not_measured(
        {("busy_boots_total", ""): 12.0}, None
    )
    told = capacities.why_not_measured(TOTALS, old)
    assert "392 boots/s, is from 2027-01-15 08:00:00 UTC, which is not within the last 7 days" in told


def test_cores_are_no_more_than_the_workers_that_use_them() -> None:
    assert Cores.of(Settings(server_workers=1, storm_utilization=0.5)) == (1, 0.5)
    assert Cores.of(Settings(server_workers=256)).number < 256 or Cores.of(Settings()).number >= 256


@given(st.integers(1, 256), st.floats(0.05, 1.0), st.floats(1e-5, 1.0), st.integers(ENOUGH, 10**9))
def test_given_and_measured_are_the_same_sum(number: int, share: float, cost: float, boots: int) -> None:
    node = Cores(number, share)
    totals = {("busy_boots_total", ""): float(boots), ("busy_cpu_seconds_total", ""): boots * cost}
    found = measured(node, totals)
    assert found is not None
    assert found.boots == pytest.approx(capacities.given_cost(node, cost).boots)
    assert "at a time not known" in found.why
