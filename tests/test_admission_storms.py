"""Admission while the gate is in storm mode: what can wait waits, all limits hold, and who is back is known."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_admission import FRESH, OBI, Calm, Desk, desk, view

from provisioner.admission import GO, LATER_KINDS, Errand
from provisioner.model import FileKind
from provisioner.settings import Settings


@pytest.mark.parametrize("mode", ["observe", "enforce"])
def test_a_storm_puts_off_what_can_wait_and_nothing_else(mode: str) -> None:
    one = desk(mode)
    one.storm.on = True
    assert one.admission.admit(view(), FileKind.FIRMWARE, 100.0, Errand.FIRMWARE).status == 404
    assert one.admission.admit(view(), FileKind.FIRMWARE, 100.0) is GO
    assert one.admission.admit(view(), FileKind.LOG, 100.0, Errand.UPLOAD).status == 404
    assert one.admission.admit(view(), FileKind.LOG, 100.0, spare=False).hold == 5.0, "the only copy is here"
    assert one.admission.admit(view(), FileKind.DIRECTORY, 100.0).hold == 5.0
    assert one.counts["firmware_storm_p3_refused"] == 1
    assert one.admission.admit(FRESH, FileKind.FIRMWARE, 100.0, Errand.FIRMWARE) is GO
    for kind in set(FileKind) - set(LATER_KINDS):
        assert one.admission.admit(view(2, site=""), kind, 100.0) is GO
    one.storm.on = False
    assert one.admission.admit(view(3), FileKind.FIRMWARE, 100.0, Errand.FIRMWARE) is GO


def test_the_pause_can_be_switched_off() -> None:
    one = Desk(Settings(data=Path("nowhere"), storm_pause=False), Calm(on=True))
    assert one.admission.admit(view(), FileKind.FIRMWARE, 100.0, Errand.FIRMWARE) is GO


@pytest.mark.parametrize("kind", [FileKind.DIRECTORY, FileKind.LOG])
def test_a_storm_does_not_lift_the_limits_of_a_device(kind: FileKind) -> None:
    one = desk()
    one.storm.on, one.storm.since = True, 90.0
    said = [one.admission.admit(view(model=OBI), kind, 100.0, full=True) for _ in range(5000)]
    assert {(decision.status, decision.hold) for decision in said[:40]} == {(0, 5.0)}, "its handshakes, twice"
    assert {decision.status for decision in said[40:]} == {503}
    assert one.counts["handshake_device_p3_refused"] == 4960
    assert one.admission.admit(view(2, model=OBI), kind, 100.0).hold == 5.0, "another one's turn"
    assert one.admission.admit(view(2, model=OBI), FileKind.DEVICE, 100.0) is GO


def test_who_only_observes_refuses_no_flood_in_a_storm_either() -> None:
    one = desk("observe")
    one.storm.on = True
    said = [one.admission.admit(view(model=OBI), FileKind.DIRECTORY, 100.0) for _ in range(500)]
    assert {(decision.status, decision.hold) for decision in said} == {(0, 5.0)}


def test_what_a_storm_has_refused_is_no_beginning() -> None:
    """The three images an hour are still there when it is over; the requests and handshakes were made."""
    one = desk(handshakes_burst=6)
    one.storm.on = True
    for _ in range(5):
        decision = one.admission.admit(view(), FileKind.FIRMWARE, 100.0, Errand.FIRMWARE, full=True)
        assert decision.status == 404
        assert one.admission.admit(view(), FileKind.LOG, 100.0, Errand.UPLOAD).status == 404
    one.storm.on = False
    said = [one.admission.admit(view(), FileKind.FIRMWARE, 100.0, Errand.FIRMWARE) for _ in range(4)]
    assert said[:3] == [GO] * 3
    assert said[3] is not GO
    assert one.admission.admit(view(), FileKind.DEVICE, 100.0, full=True) is GO
    assert one.admission.admit(view(), FileKind.DEVICE, 100.0, full=True) is not GO


def test_retry_after_is_a_storms_only_in_a_storm() -> None:
    one = desk(requests_burst=3)
    one.storm.capacity = 0.5  # of some busy second long ago
    one.admission.learn({}, {"acme": 50_000})
    flood = [one.admission.admit(view(model=OBI), FileKind.DEVICE, 100.0) for _ in range(50)]
    said = {decision.retry_after for decision in flood if decision.status}
    assert said
    assert max(said) <= 45, "its own wait is no 30 s, give or take a half"
    one.storm.on, one.storm.since = True, 100.0
    assert one.admission.admit(view(model=OBI), FileKind.DEVICE, 100.0).retry_after >= 450


def test_retry_after_is_when_all_who_are_out_can_be_back() -> None:
    one = desk(answers=("poly/*=p3",))
    one.storm.on, one.storm.since, one.storm.capacity = True, 50.0, 10.0
    one.admission.learn({}, {"acme": 3000, "other": 2000})
    for number in range(1, 2001):
        one.admission.came_back(view(number).device.mac)
    said = [one.admission.admit(view(7000 + number, site=""), FileKind.LOG, 100.0).retry_after for number in range(200)]
    assert 150 <= min(said) < 200 < 400 < max(said) <= 450, "(5000 - 2000) / 10 a second, give or take a half"
    one.storm.capacity = 0.001
    late = [one.admission.admit(view(8000 + number), FileKind.LOG, 100.0).retry_after for number in range(50)]
    assert 1000 < max(late) <= 1350
    one.storm.since = 900.0  # another storm: nobody is back yet
    one.storm.capacity = 10.0
    assert one.admission.admit(view(), FileKind.LOG, 1000.0).retry_after >= 250


def test_who_is_back_is_counted_once_a_storm_when_a_boot_was_served() -> None:
    one = desk()
    one.admission.came_back(view(1).device.mac)
    assert one.admission.back == 0, "calm"
    one.storm.on, one.storm.since = True, 95.0
    for number in (1, 2, 1, 1, 2):
        one.admission.came_back(view(number).device.mac)
    one.admission.admit(view(3), FileKind.MASTER, 100.0)
    assert one.admission.back == 2, "who has asked for something is not back"
    one.storm.on = False
    assert one.admission.back == 0
    one.storm.on, one.storm.since = True, 200.0
    assert one.admission.back == 0, "another storm"
