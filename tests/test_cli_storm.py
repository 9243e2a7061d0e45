"""`provisioner storm plan`: what it prints, and that only --apply changes anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from prometheus_client import values

from provisioner import settings
from provisioner.counters import Counters
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


def test_what_is_estimated_says_so(asked: Asked, data: Path) -> None:
    found = asked("storm", "plan", "--phones", "1000")["capacity"]
    assert found["how"] == "estimated"
    assert "assumed" in found["why"]
    assert 5 < found["boots_per_s"] < 100_000
    configured = settings.load(data)
    one = handshake_cost([data / name for name in configured.tls_certificates], seconds=0.2)
    assert 0.00005 < one < 0.1


def test_what_the_running_server_has_measured_counts(asked: Asked, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    monkeypatch.setenv("PROVISIONER_SERVER_WORKERS", "1")
    house = RunDirectory(data)
    house.claim()
    spent = [0.0]
    worker = Counters(house.metrics, 1, cpu=lambda: spent[0])
    for boots, how in ((199, "estimated"), (1, "estimated"), (100, "measured")):
        for _ in range(boots):
            worker.count("boots", "poly")
        spent[0] += boots * 0.004
        worker.flush()
        found = asked("storm", "plan", "--phones", "1000")["capacity"]
        assert found["how"] == how
    assert found["boots_per_s"] == pytest.approx(0.8 / 0.004, rel=0.01)
    assert "4.00 ms" in found["why"]
    house.release()
    assert asked("storm", "plan", "--phones", "1000")["capacity"]["how"] == "estimated"
