"""Limits of phones that are nobody's yet: their own, in calm and in storms, and at the cost of nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_admission import Desk, view

from provisioner.admission import GO
from provisioner.model import Device, DeviceState, FileKind, Mac
from provisioner.settings import Settings


def desk(mode: str = "observe", *, answers: tuple[str, ...] = (), **chosen: object) -> Desk:
    """``chosen``: settings of ``activation``."""
    named = {f"activation_{name}": one for name, one in chosen.items()}
    usual = {"admission_mode": mode, "server_workers": 1, "admission_answers": answers}
    return Desk(Settings(data=Path("nowhere"), **usual, **named))  # type: ignore[arg-type]  # the tests'


def waiting(number: int = 1, account: str = "acme") -> Device:
    """A device that waits for activation; without an account it is one that nobody has added."""
    return Device(Mac(f"0004f2{number:06x}"), "poly", "VVX 411", DeviceState.UNASSIGNED, account)


@pytest.mark.parametrize("mode", ["observe", "enforce"])
def test_one_device_has_a_bounded_number_of_offers_in_either_mode(mode: str) -> None:
    one = desk(mode, offers_burst=10, offers=6.0)
    made = [one.admission.offer(waiting(account=""), FileKind.DEVICE, "192.0.2.1", 100.0) for _ in range(40)]
    assert made[:10] == [GO] * 10
    assert all(decision.hold > 0 or decision.status == 503 for decision in made[10:])
    assert any(decision.status == 503 for decision in made)
    assert one.admission.offer(waiting(2), FileKind.DEVICE, "192.0.2.1", 100.0) is GO
    assert one.counts["offer_ok_p3_admitted"] == 11
    assert not any(label.endswith("_observed") for label in one.counts)


def test_one_address_has_a_bounded_number_of_offers() -> None:
    one = desk(offers_address_burst=10)
    made = [one.admission.offer(waiting(n), FileKind.DEVICE, "192.0.2.1", 100.0) for n in range(1, 21)]
    assert made[:10] == [GO] * 10
    assert all(decision.hold > 0 for decision in made[10:])
    assert one.admission.offer(waiting(99), FileKind.DEVICE, "192.0.2.2", 100.0) is GO


def test_offers_take_nothing_from_phones_that_ring() -> None:
    one = desk("enforce", offers_burst=1, offers_address_burst=1)
    for number in range(1, 30):
        one.admission.offer(waiting(number), FileKind.DEVICE, "192.0.2.1", 100.0)
    assert one.admission.admit(view(1), FileKind.DEVICE, 100.0) is GO


def test_in_a_storm_an_offer_comes_last() -> None:
    one = desk()
    one.storm.on = True
    decision = one.admission.offer(waiting(), FileKind.DEVICE, "192.0.2.1", 100.0)
    assert (decision.hold, decision.status) == (5.0, 0)
    assert one.counts["offer_storm_p3_held"] == 1
    assert one.admission.admit(view(1), FileKind.DEVICE, 100.0) is GO


@pytest.mark.parametrize("storm", [False, True])
def test_a_device_that_was_added_waits_for_its_offer_and_is_never_refused(storm: bool) -> None:
    """It may never have had a configuration, and then it is of the class that gets no status."""
    one = desk(answers=("poly/*=p1+p2+p3+firmware+log+directory+calls",), offers_burst=3)
    one.storm.on = storm
    for kind in FileKind:
        said = [one.admission.offer(waiting(), kind, "192.0.2.1", 100.0) for _ in range(300)]
        assert {decision.status for decision in said} == {0}
        assert max(decision.hold for decision in said) == 5.0
    assert not [label for label in one.counts if label.endswith("_refused")]


def test_a_storm_does_not_lift_the_limits_of_offers() -> None:
    one = desk()
    one.storm.on = True
    said = [one.admission.offer(waiting(account=""), FileKind.DEVICE, "192.0.2.1", 100.0) for _ in range(200)]
    assert [decision.status for decision in said[:80]] == [0] * 80, "its burst, and one that it owes"
    assert {decision.status for decision in said[80:]} == {503}
    for number in range(2, 700):
        one.admission.offer(waiting(number, ""), FileKind.DEVICE, "192.0.2.1", 100.0)
    one.storm.on = False
    assert one.admission.offer(waiting(999, ""), FileKind.DEVICE, "192.0.2.1", 100.0) is not GO, "of one address"
    assert one.admission.offer(waiting(999, ""), FileKind.DEVICE, "192.0.2.2", 100.0) is GO
