"""`provisioner storm plan`: what it prints, and that only --apply changes anything."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from prometheus_client import values

from provisioner import settings
from provisioner.counters import Counters, bury
from provisioner.handshake_cost import handshake_cost
from provisioner.run_directory import RunDirectory

Run = Callable[..., Result]
Asked = Callable[..., Any]
MAC = "0004f2aabbcc"
BIG = ("storm", "plan", "--phones", "100000", "--capacity", "392")


def planned(found: Any, vendor: str, setting: str) -> Any:
    return next(one for one in found["settings"] if (one["vendor"], one["setting"]) == (vendor, setting))


def test_the_worked_example_and_nothing_is_changed(asked: Asked, run: Run, office: None) -> None:
    layers = asked("layer", "list")
    found = asked(*BIG)
    assert found["safe_fleet"] == 27_440
    assert found["collapse_after_s"] == 3.1
    assert found["recovery_s"] == 255.1
    assert found["window_s"] == 307
    assert found["campaign_per_s"] == 117.6
    assert found["capacity"]["how"] == "given"
    retry = planned(found, "yealink", "storm.retry_delay")
    assert (retry["current"], retry["value"], retry["new"]) == (60, 90, True)
    assert planned(found, "poly", "storm.boot_delay")["value"] is None
    assert found["applied"] == []
    assert asked("layer", "list") == layers
    text = run(*BIG).stdout
    assert "models here can be told to wait after power-on (storm.boot_delay), so W is reached by no setting" in text, (
        "a window that no shipped model can be told is said to be one"
    )
    for words in ("27,440", "307 s", "W = 1.2·N/C", "turning 100,000 phones away", "Nothing was changed"):
        assert words in text


def test_applied_values_reach_the_phone_and_stay_while_the_measurement_wavers(
    asked: Asked, run: Run, office: None
) -> None:
    before = run("render", MAC, f"{MAC}-user.cfg").stdout
    assert 'device.prov.redunInterAttemptDelay="60"' in before
    applied = asked(*BIG, "--apply")["applied"]
    assert {(one["vendor"], one["setting"], one["value"]) for one in applied} == {
        (vendor, setting, value)
        for vendor in ("poly", "yealink")
        for setting, value in (("storm.retry_delay", 90), ("storm.retry_attempts", 4))
    }
    after = run("render", MAC, f"{MAC}-user.cfg").stdout
    assert 'device.prov.redunInterAttemptDelay="90"' in after
    assert 'device.prov.redunAttemptLimit="4"' in after
    layers = asked("layer", "list")
    for capacity in ("375", "410"):
        again = asked("storm", "plan", "--phones", "100000", "--capacity", capacity, "--apply")
        assert again["applied"] == []
    assert asked("layer", "list") == layers
    assert run("render", MAC, f"{MAC}-user.cfg").stdout == after
    assert "Nothing to change" in run(*BIG).stdout


def test_a_small_fleet_is_safe_as_it_is(asked: Asked, office: None) -> None:
    found = asked("storm", "plan", "--capacity", "392", "--apply")
    assert found["phones"] == 1  # the devices there are
    assert found["safe"] is True
    assert found["collapse_after_s"] is None
    assert found["applied"] == []


def test_wrong_questions_are_refused(run: Run) -> None:
    assert "--phones" in run("storm", "plan", "--capacity", "5", code=1).stderr
    for words in (("--capacity", "0"), ("--capacity", "5", "--boot-cost", "2"), ("--phones", "0"), ("--spread", "-1")):
        run("storm", "plan", *words, code=2)


@pytest.mark.parametrize("option", ["--capacity", "--boot-cost", "--patience", "--spread", "--phones"])
@pytest.mark.parametrize("number", ["inf", "-inf", "nan", "0", "-1", "1e400", "9" * 400])
def test_no_number_is_taken_that_cannot_be_reckoned_with(run: Run, option: str, number: str) -> None:
    others = ("--phones", "10") if option != "--phones" else ()
    assert option in run("storm", "plan", *others, option, number, code=2).stderr


@pytest.mark.parametrize("number", ["1", "1e9"])
def test_the_largest_numbers_are_reckoned_with(asked: Asked, number: str) -> None:
    for capacity in ("0.01", "1e9"):
        found = asked(
            "storm", "plan", "--phones", str(int(float(number))), "--capacity", capacity, "--patience", number,
            "--spread", number,
        )  # fmt: skip
        assert found["window_s"] >= 1


# --- smaller again, and back ----------------------------------------------------------------------

SMALLER = ("storm", "plan", "--phones", "100", "--capacity", "392")


def vendor_layers(asked: Asked) -> dict[str, Any]:
    return {one["key"]: one["values"] for one in asked("layer", "list") if one["scope"] == "vendor"}


def test_a_smaller_fleet_takes_back_what_was_applied_and_says_why(asked: Asked, run: Run, office: None) -> None:
    layers, before = asked("layer", "list"), run("render", MAC, f"{MAC}-user.cfg").stdout
    asked(*BIG, "--apply")
    planned_delay = planned(asked(*SMALLER), "yealink", "storm.retry_delay")
    assert (planned_delay["current"], planned_delay["value"], planned_delay["taken_back"]) == (90, 60, True)
    text = run(*SMALLER).stdout
    assert "the fleet is safe without more; what was applied is taken back" in text
    assert "* would change" in text
    taken = asked(*SMALLER, "--apply")["applied"]
    assert {(one["vendor"], one["setting"], one["value"], one["taken_back"]) for one in taken} == {
        (vendor, setting, value, True)
        for vendor in ("poly", "yealink")
        for setting, value in (("storm.retry_delay", 60), ("storm.retry_attempts", 3))
    }
    assert asked("layer", "list") == layers
    assert run("render", MAC, f"{MAC}-user.cfg").stdout == before
    assert "Nothing to change" in run(*SMALLER, "--apply").stdout


def test_a_fleet_in_between_gets_the_step_in_between(asked: Asked, run: Run, office: None) -> None:
    asked("storm", "plan", "--phones", "400000", "--capacity", "392", "--apply")
    assert vendor_layers(asked)["poly"]["storm.retry_delay"] == 450
    told = run(*BIG, "--apply").stdout
    assert "applied: poly storm.retry_delay=90" in told
    assert vendor_layers(asked)["poly"]["storm.retry_delay"] == 90


def test_undo_puts_the_layers_back_as_they_were(asked: Asked, run: Run, office: None) -> None:
    run("layer", "set", "vendor", "poly", "storm.retry_delay=70", "language=de-DE")
    run("layer", "set", "defaults", "poll.to=04:00")
    layers, before = asked("layer", "list"), run("render", MAC, f"{MAC}-user.cfg").stdout
    applied = asked("storm", "plan", "--phones", "20000000", "--capacity", "392", "--apply")["applied"]
    assert {one["setting"] for one in applied} == {
        "storm.retry_delay", "storm.retry_attempts", "poll.to", "poll.period",
    }  # fmt: skip
    undone = asked("storm", "plan", "--undo")["undone"]
    assert {(one["vendor"], one["setting"], one["value"]) for one in undone} == {
        (one["vendor"], one["setting"], one["value"]) for one in applied
    }
    assert asked("layer", "list") == layers
    assert run("render", MAC, f"{MAC}-user.cfg").stdout == before
    assert asked("storm", "plan", "--undo") == {"undone": []}
    assert "nothing to take back" in run("storm", "plan", "--undo").stdout
    kinds = [one["kind"] for one in asked("events")]
    assert (kinds.count("storm_shaped"), kinds[-1]) == (2, "storm_shaped")
    told = run("events", "--kind", "storm_shaped").stdout
    assert "now=poly storm.retry_delay=" in told
    assert "standing" not in told, "what is for programs is in their JSON only"
    assert "{" not in told
    assert [line for line in told.splitlines() if line != line.rstrip()] == []


def test_undo_tells_what_it_did_and_leaves_what_somebody_has_changed(asked: Asked, run: Run, office: None) -> None:
    run("layer", "set", "vendor", "poly", "storm.retry_delay=70")
    run(*BIG, "--apply")
    run("layer", "set", "vendor", "yealink", "storm.retry_delay=200")
    text = run("storm", "plan", "--undo").stdout
    assert "poly storm.retry_delay: 70, was 90" in text
    assert "poly storm.retry_attempts: no longer set, was 4" in text
    assert "yealink storm.retry_delay: 200; somebody has changed the plan's 90 since, so it stays" in text
    assert vendor_layers(asked) == {"poly": {"storm.retry_delay": 70}, "yealink": {"storm.retry_delay": 200}}


@pytest.mark.parametrize("other", ["--apply", "--phones=5", "--spread=60", "--capacity=3", "--patience=3"])
def test_undo_stands_alone(asked: Asked, run: Run, office: None, other: str) -> None:
    run(*BIG, "--apply")
    layers = asked("layer", "list")
    told = run("storm", "plan", "--undo", other, code=2).stderr
    assert f"{other.partition('=')[0]} has no meaning beside it" in told
    assert asked("layer", "list") == layers


# --- capacity -------------------------------------------------------------------------------------


def test_what_is_estimated_says_so(asked: Asked, run: Run, data: Path) -> None:
    found = asked("storm", "plan", "--phones", "1000")["capacity"]
    assert found["how"] == "estimated"
    for words in ("assumed", "8 files (admission.files)", "no server runs here"):
        assert words in found["why"]
    assert "other work on these cores" in found["caution"]
    assert abs(found["at"] - time.time()) < 60
    assert 5 < found["boots_per_s"] < 100_000
    assert "Capacity is an estimate: other work on these cores" in run("storm", "plan", "--phones", "1000").stdout
    configured = settings.load(data)
    one = handshake_cost([data / name for name in configured.tls_certificates], seconds=0.2)
    assert 0.00005 < one < 0.1


@pytest.fixture
def serving(data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, float], None]]:
    """A server of one worker that serves boots of 4 ms when it is told to, at a time that it is told."""
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    monkeypatch.setenv("PROVISIONER_SERVER_WORKERS", "1")
    house = RunDirectory(data)
    house.claim()
    spent, at = [0.0], [0.0]
    worker = Counters(house.metrics, 1, cpu=lambda: spent[0], wall=lambda: at[0])

    def serve(boots: int, when: float) -> None:
        for _ in range(boots):
            worker.count("boots", "poly")
        spent[0] += boots * 0.004
        at[0] = when
        worker.flush()

    yield serve
    house.release()


def test_what_the_running_server_has_measured_counts(
    asked: Asked, run: Run, data: Path, serving: Callable[[int, float], None]
) -> None:
    now = time.time()
    for boots, total in ((199, 199), (1, 199)):  # one boot is too few to tell its cost
        serving(boots, now)
        found = asked("storm", "plan", "--phones", "1000")["capacity"]
        assert found["how"] == "estimated"
        assert f"have served {total} boots at speed, and it takes 200" in found["why"]
    serving(100, now)
    found = asked("storm", "plan", "--phones", "1000")["capacity"]
    assert (found["how"], found["caution"]) == ("measured", "")
    assert found["boots_per_s"] == pytest.approx(0.8 / 0.004, rel=0.01)
    assert found["at"] == round(now, 1)
    assert "4.00 ms a boot; CPU of the running workers over 299 boots, the last one" in found["why"]
    assert "Capacity is an estimate" not in run("storm", "plan", "--phones", "1000").stdout
    bury(RunDirectory(data).metrics, 1)
    assert asked("storm", "plan", "--phones", "1000")["capacity"] == found, "it outlives the worker that measured it"


def test_what_was_measured_long_ago_gives_way_to_an_estimate_and_is_named(
    asked: Asked, serving: Callable[[int, float], None]
) -> None:
    serving(500, time.time() - 8 * 86_400)
    found = asked("storm", "plan", "--phones", "1000")["capacity"]
    assert found["how"] == "estimated"
    assert "what the running workers measured, 200 boots/s, is from " in found["why"]
    assert "which is not within the last 7 days" in found["why"]


def test_without_a_server_there_is_nothing_measured(asked: Asked, data: Path) -> None:
    RunDirectory(data).metrics.mkdir(parents=True)
    assert asked("storm", "plan", "--phones", "1000")["capacity"]["how"] == "estimated"


def test_the_cost_of_a_boot_may_be_given(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISIONER_SERVER_WORKERS", "1")
    found = asked("storm", "plan", "--phones", "1000", "--boot-cost", "4")["capacity"]
    assert (found["how"], found["boots_per_s"], found["at"]) == ("given", 200.0, None)
    assert found["why"].endswith("4.00 ms a boot; --boot-cost")
