"""Admission: never more than burst and rate allow, never a status for a device without configuration, never a ban."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.admission import GO, Admission, Errand, Rank, answers_of, rank_of
from provisioner.counters import _MOST_LABELS
from provisioner.errors import Unusable
from provisioner.gcra import Ceilings, Gcra
from provisioner.model import BootView, Device, DeviceState, FileKind, Mac, Model
from provisioner.settings import Settings
from provisioner.vendors import drivers

VVX = Model("poly", "VVX 411", "vvx", "ucs", 12, answers=("p2", "firmware", "log"))
OBI = Model("poly", "OBi302", "obi", "obi", 2)
MODELS = (VVX, OBI)
TINY = 1e-5
"""s: ten times what the product takes for an error of floating point."""


@dataclass
class Calm:
    on: bool = False
    since: float = 0.0
    capacity: float = 0.0


@dataclass
class Desk:
    """An Admission, what it counted, and the storm it is told of."""

    settings: Settings
    storm: Calm = field(default_factory=Calm)
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.admission = Admission(self.settings, self.storm, self._count, random.Random(7).uniform, MODELS)

    def _count(self, metric: str, label: str) -> None:
        assert metric == "admissions"
        self.counts[label] += 1


def desk(mode: str = "enforce", **chosen: object) -> Desk:
    named = {"admission_mode": mode, "server_workers": 1} | {f"admission_{key}": one for key, one in chosen.items()}
    return Desk(Settings(data=Path("nowhere"), **named))  # type: ignore[arg-type]  # names and types are the tests'


def view(number: int = 1, *, served: int = 5, changed: int = 3, model: Model = VVX, site: str = "berlin") -> BootView:
    mac = Mac(f"0004f2{number:06x}")
    device = Device(mac, model.vendor, model.name, DeviceState.ASSIGNED, "acme", site)
    return BootView(device, served=served, changed=changed)


FRESH = view(served=-1)
kinds = st.sampled_from(list(FileKind))
errands = st.sampled_from(list(Errand))
gaps = st.lists(st.floats(0, 30, allow_subnormal=False), max_size=120)


# --- classes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("served", "changed", "kind", "rank"),
    [
        (-1, 0, FileKind.DEVICE, Rank.P0),
        (-1, 9, FileKind.FIRMWARE, Rank.P0),
        (4, 5, FileKind.DEVICE, Rank.P1),
        (4, 5, FileKind.LICENSE, Rank.P1),
        (5, 5, FileKind.MASTER, Rank.P2),
        (6, 5, FileKind.RESOURCE, Rank.P2),
        (4, 5, FileKind.FIRMWARE, Rank.P3),
        (5, 5, FileKind.DIRECTORY, Rank.P3),
        (5, 5, FileKind.LOG, Rank.P3),
        (5, 5, FileKind.CALLS, Rank.P3),
    ],
)
def test_what_a_device_lacks_comes_before_what_it_asks_for(
    served: int, changed: int, kind: FileKind, rank: Rank
) -> None:
    assert rank_of(view(served=served, changed=changed), kind) is rank


# --- the rate ---------------------------------------------------------------------------------------


@settings(deadline=None)
@given(gaps, st.floats(0.01, 50), st.integers(1, 40), st.data())
def test_no_sequence_gets_more_than_burst_and_rate(
    waits: list[float], rate: float, burst: int, data: st.DataObject
) -> None:
    meter, now, granted = Gcra(rate, burst, 10), 1000.0, []
    for gap in waits:
        now += gap
        cost = data.draw(st.integers(1, burst))
        if meter.take("one", now, cost) == 0:
            granted.append((now, cost))
    for first in range(len(granted)):
        total = 0
        for at, cost in granted[first:]:
            total += cost
            assert total <= burst + rate * (at - granted[first][0]) + 1e-3


@settings(deadline=None)
@given(st.integers(1, 60), st.floats(0.1, 20), st.integers(1, 60), gaps)
def test_a_ceiling_follows_the_number_of_devices(size: int, floor: float, own: int, waits: list[float]) -> None:
    crowds, files, now = Ceilings(8, floor, own, 10), 8, 1000.0
    crowds.learn({"berlin": size})
    rate, burst = max(floor, size * files / 60), max(2 * size * files, (size + 1) * own)
    granted, start = 0, now
    for gap in waits:
        now += gap
        while crowds.take("berlin", now) == 0 and granted < 10_000:
            granted += 1
        assert granted <= burst + rate * (now - start) + 1e-3
    assert not waits or granted >= burst


@settings(deadline=None)
@given(st.floats(0.05, 50), st.integers(1, 40), st.integers(0, 80), st.floats(0, 1e6))
def test_the_wait_is_exact(rate: float, burst: int, before: int, start: float) -> None:
    meter = Gcra(rate, burst, 10)
    for _ in range(before):
        meter.take("one", start)
    wait = meter.take("one", start)
    assert (wait > 0) is (before >= burst)
    if wait > TINY:
        assert meter.take("one", start + wait - min(TINY, wait / 2)) > 0, "granted before its time"
        assert meter.take("one", start + wait) == 0


def test_a_device_that_is_held_keeps_to_the_rate_all_the_same() -> None:
    one, now, served = desk(requests=60.0, requests_burst=5, hold=5.0), 100.0, []
    for _ in range(60):
        decision = one.admission.admit(FRESH, FileKind.DEVICE, now)
        now += decision.hold
        served.append(now)
    for index in range(6, 60):
        assert served[index] - served[index - 1] == pytest.approx(1.0)


# --- what is said -----------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.tuples(kinds, errands, st.floats(0, 3), st.booleans()), max_size=150))
def test_a_device_without_configuration_never_gets_a_status(asks: list[tuple[FileKind, Errand, float, bool]]) -> None:
    one, now = desk(requests_burst=3, answers=("poly/*=p1+p2+p3+firmware+log+directory+calls",)), 100.0
    one.storm.on = True
    for kind, errand, gap, full in asks:
        now += gap
        decision = one.admission.admit(FRESH, kind, now, errand, full=full)
        assert decision.status == 0
        assert 0 <= decision.hold <= one.settings.admission_hold


@settings(deadline=None)
@given(st.lists(st.tuples(kinds, errands, st.integers(-1, 4)), max_size=150))
def test_observing_holds_and_refuses_nobody(asks: list[tuple[FileKind, Errand, int]]) -> None:
    one = desk("observe", requests_burst=3)
    one.admission.learn({"berlin": 1}, {"acme": 1})
    for kind, errand, served in asks:
        assert one.admission.admit(view(served=served), kind, 100.0, errand, full=True) is GO
    assert sum(one.counts.values()) == len(asks)
    assert not [label for label in one.counts if label.endswith(("_held", "_refused"))]
    assert len(asks) <= 30 or [label for label in one.counts if label.endswith("_observed")]


def over(one: Desk, ask: BootView, kind: FileKind = FileKind.DEVICE, *, now: float = 100.0) -> None:
    """Spend a device's burst of 3, and so much more that the next wait is longer than any hold, but no flood."""
    for _ in range(5):
        one.admission.admit(ask, kind, now)


def test_who_is_over_waits_and_is_served() -> None:
    one = desk(requests_burst=3)
    pending = view(served=1)
    held = [one.admission.admit(pending, FileKind.DEVICE, 100.0).hold for _ in range(6)]
    assert held == [0, 0, 0, pytest.approx(3.0), 5.0, 5.0]
    assert one.counts == {"request_ok_p1_admitted": 3, "request_device_p1_held": 3}


def test_only_the_family_that_does_better_gets_a_503_with_jitter() -> None:
    one = desk(requests_burst=3, requests=6.0, retry_least=30.0)
    retries = set()
    for number in range(40):
        over(one, view(number))
        decision = one.admission.admit(view(number), FileKind.DEVICE, 100.0)
        assert (decision.status, decision.hold) == (503, 0)
        assert 15 <= decision.retry_after <= 45
        assert view(number).device.mac in decision.cause
        retries.add(decision.retry_after)
    assert len(retries) > 5, "everybody comes back at once"
    over(one, view(99, model=OBI))
    assert one.admission.admit(view(99, model=OBI), FileKind.DEVICE, 100.0).status == 0
    assert one.counts["request_device_p2_refused"] >= 40


@pytest.mark.parametrize(
    ("entries", "status"),
    [
        ((), 503),
        (("poly/vvx=",), 0),
        (("poly/*=",), 0),
        (("poly/*=", "poly/vvx=p2"), 503),
        (("poly/vvx=p2", "poly/*=p1"), 0),
        (("yealink/*=",), 503),
    ],
)
def test_an_operator_knows_better_than_what_ships(entries: tuple[str, ...], status: int) -> None:
    one = desk(requests_burst=3, requests=6.0, answers=entries)
    over(one, view())
    assert one.admission.admit(view(), FileKind.DEVICE, 100.0).status == status


@pytest.mark.parametrize("entry", ["poly/vvx", "vvx=p2", "poly/vvx=p0", "poly/vvx=p2,p3", "poly/vvx=config"])
def test_an_answer_that_means_nothing_is_refused_by_name(entry: str) -> None:
    with pytest.raises(Unusable, match=r"admission\.answers"):
        answers_of(MODELS, [entry])


def test_what_ships_speaks_of_every_family_in_known_words() -> None:
    models = [model for driver in drivers() for model in driver.manifest.models.values()]
    entries = [f"{one.vendor}/{one.family}={'+'.join(one.answers)}" for one in models]
    assert answers_of(models, entries) == answers_of(models, ())
    assert not any("p1" in one.answers for one in models), "a change that waits is never put off by default"


def test_a_flood_that_no_patient_phone_can_make_is_turned_away() -> None:
    """A phone asks for one thing after another: held each time, it never owes a whole burst."""
    one, flooder = desk(requests_burst=10), view(served=1, model=OBI)
    said = [one.admission.admit(flooder, FileKind.DEVICE, 100.0).status for _ in range(40)]
    assert said.index(503) == 20
    assert one.admission.admit(view(2, served=1, model=OBI), FileKind.DEVICE, 100.0) is GO
    patient, now = view(3, served=1, model=OBI), 100.0
    for _ in range(500):
        decision = one.admission.admit(patient, FileKind.DEVICE, now)
        assert decision.status == 0
        now += decision.hold


# --- other devices ------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(0, 200))
def test_no_device_suffers_for_another_behind_the_same_address(neighbours: int, greed: int) -> None:
    """No limit knows addresses: whatever one does, the others of its site boot twice within the minute."""
    one = desk()
    one.admission.learn({"berlin": neighbours + 1}, {"acme": neighbours + 1})
    for _ in range(greed):
        one.admission.admit(view(0), FileKind.DEVICE, 100.0, full=True)
    boots = 2 * one.settings.admission_files
    said = [
        one.admission.admit(view(number), FileKind.DEVICE, 100.0)
        for number in range(1, neighbours + 1)
        for _ in range(boots)
    ]
    assert said == [GO] * boots * neighbours


@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_at_a_small_site_every_device_may_ask_as_often_as_its_own_limit_lets_it(size: int) -> None:
    one = desk()
    one.admission.learn({"berlin": size}, {"acme": size})
    said = [one.admission.admit(view(number), FileKind.DEVICE, 100.0) for number in range(size) for _ in range(40)]
    assert said == [GO] * 40 * size


def test_the_ceiling_of_a_site_holds_and_does_not_refuse_who_is_pending() -> None:
    one = desk()
    one.admission.learn({"berlin": 2}, {"acme": 1000})
    said = [one.admission.admit(view(number, served=1), FileKind.DEVICE, 100.0) for number in range(200)]
    assert said[:120] == [GO] * 120, "three times what one device may ask at once: it has two"
    assert all(decision.hold > 0 and not decision.status for decision in said[120:])
    assert one.counts["request_site_p1_held"] == 80
    assert one.admission.admit(view(200, site="paris"), FileKind.DEVICE, 100.0) is GO


def test_a_site_whose_size_is_not_known_yet_has_no_ceiling() -> None:
    one = desk()
    assert all(one.admission.admit(view(number), FileKind.DEVICE, 100.0) is GO for number in range(2000))


# --- handshakes, uploads, firmware ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("errand", "full", "burst", "label"),
    [
        (Errand.REQUEST, True, 20, "handshake_device_p1_held"),
        (Errand.UPLOAD, False, 12, "upload_device_p1_held"),
        (Errand.FIRMWARE, False, 3, "firmware_device_p1_held"),
    ],
)
def test_each_kind_of_work_has_its_own_limit(errand: Errand, full: bool, burst: int, label: str) -> None:
    one, ask = desk(), view(served=1, site="")
    said = [one.admission.admit(ask, FileKind.OVERRIDES, 100.0, errand, full=full) for _ in range(burst + 1)]
    assert said[:-1] == [GO] * burst
    assert said[-1].hold == 5.0
    assert one.counts[label] == 1
    assert one.admission.admit(ask, FileKind.OVERRIDES, 100.0) is GO


def test_only_so_many_images_go_to_one_site_at_once() -> None:
    one, kind = desk(answers=("poly/vvx=firmware",)), FileKind.FIRMWARE
    leases = [one.admission.lease("berlin", 100.0) for _ in range(2)]
    assert one.admission.admit(view(), kind, 100.0, Errand.FIRMWARE).status == 404
    assert one.admission.admit(view(2, model=OBI), kind, 100.0, Errand.FIRMWARE).hold == 5.0
    assert one.admission.admit(view(3, site="paris"), kind, 100.0, Errand.FIRMWARE) is GO
    assert one.admission.admit(view(4), kind, 100.0) is GO, "a later range of a transfer goes on"
    assert one.admission.lease("", 100.0) is None
    assert leases[0] is not None
    leases[0].end()
    leases[0].end()
    assert one.admission.admit(view(5), kind, 100.0, Errand.FIRMWARE) is GO
    one.admission.lease("berlin", 101.0)
    assert one.admission.admit(view(6), kind, 102.0, Errand.FIRMWARE).status == 404
    assert one.admission.admit(view(7), kind, 100.0 + 901, Errand.FIRMWARE) is GO, "no transfer lasts for ever"


# --- bounds -----------------------------------------------------------------------------------------


def test_memory_is_bounded_and_forgets_first_what_is_worth_nothing() -> None:
    one = desk(keys=1200)
    for number in range(5000):
        one.admission.admit(view(number, site=f"s{number}"), FileKind.LOG, 100.0, Errand.UPLOAD, full=True)
    assert len(one.admission) <= 1200
    busy, now = Gcra(1.0, 10, 100), 100.0
    for _ in range(10):
        busy.take("looping", now)
    for number in range(1000):
        now += 0.05  # each is worth nothing again a second later, the looping one after ten
        busy.take(f"other {number}", now)
        if now < 109.0:
            assert busy.wait("looping", now, 10) > 0, "the busy key was forgotten before idle ones"


def test_labels_stay_within_what_is_counted_apart() -> None:
    one = desk(requests_burst=2, uploads_burst=1, firmware_burst=1, handshakes_burst=1)
    one.admission.learn({"berlin": 1}, {"acme": 1})
    for on in (False, True):
        one.storm.on = on
        for mode in (True, False):
            one.admission._enforced = mode
            for number, kind in enumerate(FileKind):
                for errand in Errand:
                    for served in (-1, 1, 5):
                        for _ in range(8):
                            one.admission.admit(view(number, served=served), kind, 100.0, errand, full=True)
    assert len(one.counts) < _MOST_LABELS
    for label in one.counts:
        stage, reason, rank, outcome = label.split("_")
        assert stage in {"request", "handshake", "upload", "firmware"}
        assert reason in {"ok", "device", "site", "account", "parallel", "storm"}
        assert rank in set(Rank)
        assert outcome in {"admitted", "observed", "held", "refused"}
