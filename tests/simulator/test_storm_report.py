"""The figures of a storm: what is counted, and what the words and pictures say of it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_storm_plan import crowd

from provisioner.errors import Unusable
from provisioner.simulator.storm_crowd import Record
from provisioner.simulator.storm_plan import Mode, StormPlan
from provisioner.simulator.storm_plots import Curve, plot, plots_of, write_plots
from provisioner.simulator.storm_report import ServerReport, jain, per_second, percentile, reached, reckon
from provisioner.simulator.storm_text import storm_json, storm_text

SITES = ["big"] * 4 + ["a", "a", "b", "b"]
PLAN = StormPlan(crowd(SITES), spread=4.0, nat="big", capacity=1.0)


def attempt(phone: int, began: float, ended: float, outcome: str = "back", tries: int = 1, late: float = 0.0) -> Record:
    return Record(phone, began, ended, outcome, (200, 404) if outcome == "back" else (), late, tries)


def all_back(plan: StormPlan = PLAN) -> list[Record]:
    return [attempt(place, place, place + 0.5) for place in range(len(plan.phones))]


@settings(deadline=None)  # other tests share the machine
@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.001, 1))
def test_a_percentile_is_one_of_the_values_and_covers_its_share(values: list[float], share: float) -> None:
    ordered = sorted(values)
    found = percentile(ordered, share)
    assert found in ordered
    assert sum(one <= found for one in ordered) >= share * len(ordered) * 0.999999


@settings(deadline=None)  # other tests share the machine
@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=50))
def test_jain_lies_between_one_for_all_and_all_for_one(values: list[float]) -> None:
    assert 1 / len(values) - 1e-9 <= jain(values) <= 1 + 1e-9


def test_jain_knows_its_extremes() -> None:
    assert jain([0.5] * 7) == pytest.approx(1)
    assert jain([1, 0, 0, 0]) == pytest.approx(0.25)
    assert jain([0, 0]) == 1.0


def test_a_share_that_was_never_reached_has_no_time() -> None:
    assert reached([1.0, 2.0], 4, 0.5) == 2.0
    assert reached([1.0, 2.0], 4, 0.75) is None
    assert reached([], 4, 0.01) is None


def test_each_figure_of_a_storm_in_which_all_came_back() -> None:
    report = reckon(PLAN, all_back(), cpu=1.5)
    assert (report.phones, report.back, report.t50, report.t99, report.t100) == (8, 8, 3.5, 7.5, 7.5)
    assert (report.ideal, report.seconds, report.cpu) == (8.0, 7.5, 1.5)
    assert (report.attempts, report.attempts_per_phone, report.most_attempts) == (8, 1.0, 1)
    assert report.goodput == pytest.approx(8 / 7.5)
    assert report.statuses == {"200": 8, "404": 8}
    assert report.jain == pytest.approx(1 / 3)  # half the phones: all of the large site, none of two others
    assert (report.nat_t99, report.others_t99) == (3.5, 7.5)
    assert report.nat_ratio == pytest.approx(3.5 / 7.5)
    assert report.sites["a"].t99 == 5.5
    assert list(report.back_series) == list(range(1, 9))
    assert report.good


def test_who_is_not_back_spoils_it_and_shows() -> None:
    report = reckon(PLAN, [*all_back()[:-1], attempt(7, 1, 11, "gave_up_tls")])
    assert (report.back, report.t99, report.t100, report.good) == (7, None, None, False)
    assert report.outcomes == {"back": 7, "gave_up_tls": 1}
    assert "never" in storm_text(report)


def test_another_phones_body_fails_even_when_all_else_is_well() -> None:
    plan = StormPlan(crowd(["a"]), mode=Mode.RATE, rate=1, seconds=2)
    report = reckon(plan, [attempt(0, 0, 1), attempt(0, 1, 2, "wrong_body")])
    assert (report.wrong_bodies, report.good) == (1, False)
    assert "ANOTHER PHONE" in storm_text(report)


def test_a_load_counts_boots_and_only_those_within_its_time() -> None:
    plan = StormPlan(crowd(["a", "b"]), mode=Mode.RATE, rate=2, seconds=2, capacity=5)
    report = reckon(plan, [attempt(0, 0, 1), attempt(1, 0.5, 1), attempt(0, 1, 1.5), attempt(0, 1.9, 9)])
    assert (report.phones, report.back, report.goodput) == (4, 4, 1.5)
    assert report.good
    assert not reckon(plan, [attempt(0, 0, 1), attempt(1, 0.5, 1, "reset")]).good, "an attempt has failed"
    assert (report.ideal, report.jain, report.sites) == (None, None, {})


def test_retries_are_attempts_of_the_same_phone() -> None:
    records = [attempt(0, 0, 1, "reset"), attempt(0, 5, 6, tries=2), *all_back()[1:]]
    report = reckon(PLAN, records)
    assert (report.phones, report.attempts, report.most_attempts) == (8, 9, 2)
    assert report.attempts_per_phone == 9 / 8


def test_a_run_without_any_attempt_has_a_report() -> None:
    report = reckon(PLAN, [])
    assert (report.back, report.goodput, report.latency.p99, report.good) == (0, 0.0, 0.0, False)
    assert storm_text(report)
    assert plots_of(report)


@settings(deadline=None)  # other tests share the machine
@given(
    st.lists(
        st.tuples(st.integers(0, 7), st.floats(0, 50), st.floats(0, 20), st.sampled_from(["back", "reset", "closed"])),
        max_size=40,
    )
)
def test_the_series_agree_with_the_sums(rows: list[tuple[int, float, float, str]]) -> None:
    report = reckon(PLAN, [attempt(place, began, began + took, what) for place, began, took, what in rows])
    assert sum(report.goodput_series) == report.outcomes.get("back", 0)
    assert report.back_series[-1] == report.back == len({row[0] for row in rows if row[3] == "back"})
    assert all(earlier <= later for earlier, later in pairwise(report.back_series))
    assert sum(report.outcomes.values()) == report.attempts
    json.loads(storm_json(report))


def test_a_storm_that_was_stopped_says_so_first_and_counts_until_then() -> None:
    report = reckon(PLAN, [attempt(0, 0, 1), attempt(1, 1, 2, "reset")], stopped_after=4.25)
    assert (report.seconds, report.back, report.attempts) == (4.25, 1, 2)
    assert len(report.back_series) == 5
    first, *rest = storm_text(report).splitlines()
    assert first == "STOPPED EARLY, after 4.2 s. Until then:"
    assert any("8, 1 of them back" in line for line in rest)
    assert json.loads(storm_json(report))["stopped_after"] == 4.25
    assert json.loads(storm_json(reckon(PLAN, all_back())))["stopped_after"] is None
    assert "STOPPED" not in storm_text(reckon(PLAN, all_back()))


def test_a_load_that_was_stopped_is_reckoned_over_the_time_it_had() -> None:
    plan = StormPlan(crowd(["a"]), mode=Mode.RATE, rate=2, seconds=100)
    report = reckon(plan, [attempt(0, 0, 1), attempt(0, 1, 2)], stopped_after=4.0)
    assert report.goodput == 0.5
    late = reckon(replace(plan, seconds=2.0), [attempt(0, 0, 1), attempt(0, 1, 9)], stopped_after=9.0)
    assert late.goodput == 0.5  # what begins in time may end later


@pytest.mark.parametrize(
    ("storm_mode", "known", "told", "noted"),
    [
        (None, None, "stayed calm", False),
        (None, 0.97, "stayed calm; 97 % of its handshakes", False),
        (None, 0.1, "stayed calm; 10 % of its handshakes", True),
        (0.0, 1.0, "was in storm mode already when this run began; 100 %", False),
        (3.14, 0.1, "entered storm mode after 3.1 s", False),
    ],
)
def test_what_the_server_said_of_itself(storm_mode: float | None, known: float | None, told: str, noted: bool) -> None:
    report = replace(reckon(PLAN, all_back()), server=ServerReport(storm_mode, known))
    text = storm_text(report)
    assert told in text
    assert ("--known" in text) is noted
    assert ("wait until /storm says Calm" in text) is (storm_mode == 0)
    assert json.loads(storm_json(report))["server"] == {"storm_mode": storm_mode, "known": known}
    assert "the server" not in storm_text(reckon(PLAN, all_back()))


def test_what_falls_into_the_last_second_is_counted() -> None:
    assert per_second([0.0, 0.9, 2.0], 2.0) == [2, 0, 1]


def test_json_has_the_names_that_are_documented() -> None:
    told = json.loads(storm_json(reckon(PLAN, all_back())))
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "simulate-a-storm.md").read_text()
    assert [name for name in told if f"`{name}`" not in page] == []


def test_a_machine_that_is_too_slow_says_so() -> None:
    assert "CAUTION" in storm_text(reckon(PLAN, [attempt(0, 1, 2, late=0.5)]))
    assert "CAUTION" in storm_text(reckon(PLAN, [attempt(0, 1, 2, "own_limit")]))
    assert "CAUTION" not in storm_text(reckon(PLAN, all_back()))


@pytest.mark.parametrize(("late", "worthless"), [(0.5, False), (1.99, False), (2.0, True), (14.0, True)])
def test_from_a_lateness_on_a_run_says_first_of_all_that_it_says_nothing(late: float, worthless: bool) -> None:
    text = storm_text(reckon(PLAN, [attempt(0, 1, 2, late=late)]))
    (caution,) = [line for line in text.splitlines() if line.startswith("  CAUTION")]
    assert ("this run says nothing about the server" in caution.lower()) is worthless
    assert text.startswith("WORTHLESS: this run says nothing about the server") is worthless


def test_what_ended_after_the_stop_was_under_way_when_it_was_stopped() -> None:
    report = reckon(PLAN, [attempt(0, 0, 1), attempt(1, 1, 31.1)], stopped_after=26.6)
    assert (report.seconds, report.attempts, report.back, len(report.back_series)) == (26.6, 1, 1, 27)
    assert "it lasted          26.6 s" in storm_text(report)


def test_plots_are_svg_of_what_happened(tmp_path: Path) -> None:
    write_plots(reckon(PLAN, all_back()), tmp_path / "new")
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == ["back.svg", "fairness.svg", "goodput.svg", "latency.svg"]
    root = ElementTree.parse(tmp_path / "new" / "back.svg").getroot()
    lines = [one for one in root.iter() if one.tag.endswith("polyline")]
    assert len(lines) == 2  # what happened and the ideal
    last = lines[0].get("points", "").split()[-1].split(",")
    assert float(last[1]) < 200  # nearly all are back: high up


def test_names_in_a_plot_are_no_markup() -> None:
    text = plot("a < b & c", "x", "y", [Curve('<script>"', [(0, 0), (1, 1)])])
    assert ElementTree.fromstring(text) is not None


def test_plots_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unusable, match="cannot be written"):
        write_plots(reckon(PLAN, all_back()), tmp_path / "file")
