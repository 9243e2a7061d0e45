"""The gate: fair over sites by weight, newest first under pressure, nothing late, nobody banned, all bounded."""

from __future__ import annotations

import itertools
from collections import Counter, deque

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from provisioner.gate import Drop, Gate, GateLimits, Share, SiteClass, Storm, address_key
from provisioner.gcra import Gcra

Item = tuple[str, int]


def _alive(_item: Item) -> bool:
    return True


def _gate(**limits: object) -> Gate[Item]:
    return Gate(GateLimits(**limits))  # type: ignore[arg-type]  # each test names the limits it is about


def _drain(gate: Gate[Item], now: float, most: int = 10**9) -> list[Item]:
    found = []
    while len(found) < most:
        waiting, _ = gate.next(now, _alive)
        if waiting is None:
            break
        found.append(waiting.item)
    return found


# --- fair over sites ----------------------------------------------------------------------------------


@given(
    weights=st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 50), min_size=2),
    turns=st.integers(1, 400),
)
def test_weights_hold_within_one_handshake_while_all_sites_wait(weights: dict[str, int], turns: int) -> None:
    gate = _gate(queue=100_000)
    gate.weights = weights
    for site, number in itertools.product(weights, range(turns)):
        gate.offer((site, number), site, 0.0, 0.0)
    served = Counter(site for site, _ in _drain(gate, 0.0, turns))
    total = sum(weights.values())
    for site, weight in weights.items():
        due = turns * weight / total
        # By at most one handshake ahead of its due, and one for each other site's last turn behind it.
        assert due - len(weights) < served[site] < due + 1 + weight / min(weights.values())
    for one, other in itertools.combinations(weights, 2):
        apart = abs(served[one] / weights[one] - served[other] / weights[other])
        assert apart <= 1 / weights[one] + 1 / weights[other]


def test_a_site_of_500_does_not_hold_up_the_others() -> None:
    gate = _gate()
    gate.weights = {"nat": 500, **{f"site{n}": 50 for n in range(30)}}
    for site, weight in gate.weights.items():
        for number in range(weight):
            gate.offer((site, number), site, 0.0, 0.0)
    half = Counter(site for site, _ in _drain(gate, 0.0, 1000))
    for site, weight in gate.weights.items():
        assert half[site] == pytest.approx(weight / 2, abs=1)


@given(st.lists(st.sampled_from("abc"), max_size=60))
def test_who_comes_back_has_saved_nothing_up(comings: list[str]) -> None:
    gate = _gate()
    gate.weights = dict.fromkeys("abcd", 1)
    for number, site in enumerate(comings):
        gate.offer((site, number), site, 0.0, 0.0)
    _drain(gate, 0.0)
    for site, number in itertools.product("ad", range(10)):
        gate.offer((site, number), site, 0.0, 0.0)
    first = [site for site, _ in _drain(gate, 0.0, 8)]
    assert abs(first.count("a") - first.count("d")) <= 2


def test_unknown_sites_get_all_when_idle_and_their_share_while_known_ones_wait() -> None:
    gate = _gate(unknown=0.3, unknown_burst=1000)
    gate.weights = {"known": 10}
    for number in range(50):
        gate.offer(("new", number), "new", 0.0, 0.0)
    assert len(_drain(gate, 0.0)) == 50
    for site, number in itertools.product(("new", "known"), range(200)):
        gate.offer((site, number), site, 0.0, 0.0)
    served = Counter(site for site, _ in _drain(gate, 0.0, 200))
    assert served["new"] == pytest.approx(60, abs=2)


@given(st.lists(st.booleans(), min_size=20, max_size=200), st.floats(0.05, 0.9))
def test_unknown_sites_never_get_more_than_their_share_of_a_contested_stretch(
    comings: list[bool], share: float
) -> None:
    gate = _gate(unknown=share, unknown_burst=100_000)
    gate.weights = {"known": 5}
    for number in range(1000):
        gate.offer(("known", number), "known", 0.0, 0.0)
    unknown = 0
    for number, comes in enumerate(comings):
        if comes:
            gate.offer(("new", number), "new", 0.0, 0.0)
        unknown += _drain(gate, 0.0, 1)[0][0] == "new"
    assert unknown <= share * len(comings) + 2


def test_a_flood_of_one_unknown_address_waits_behind_all_others_and_is_never_refused() -> None:
    gate = _gate(unknown_rate=2.0, unknown_burst=10)
    for number in range(100):
        gate.offer(("flood", number), "flood", 0.0, 0.0)
    gate.offer(("office", 0), "office", 0.0, 0.0)
    order = [site for site, _ in _drain(gate, 0.0)]
    assert order.index("office") <= 11
    assert order.count("flood") == 100, "slow, not banned"


def test_failed_handshakes_make_an_unknown_address_slow_for_a_while_and_a_known_one_never() -> None:
    gate = _gate(failures=10 / 60, failures_burst=3)
    gate.weights = {"known": 1}
    for _ in range(500):
        gate.failed("known", 0.0)
        gate.failed("bad", 0.0)
    for now, kind in ((0.0, SiteClass.SLOW), (20.0, SiteClass.SLOW), (40.0, SiteClass.UNKNOWN)):
        gate.offer(("bad", 0), "bad", now, now)
        waiting, _ = gate.next(now, _alive)
        assert waiting is not None
        assert gate.class_of(waiting) is kind
    gate.offer(("known", 0), "known", 0.0, 0.0)
    waiting, _ = gate.next(0.0, _alive)
    assert waiting is not None
    assert gate.class_of(waiting) is SiteClass.KNOWN


# --- order within a site --------------------------------------------------------------------------------


def test_oldest_first_while_calm_and_newest_first_under_pressure() -> None:
    for now, order in ((0.4, [0, 1, 2]), (1.0, [2, 1, 0])):
        gate = _gate(target=0.5)
        for number in range(3):
            gate.offer(("a", number), "a", number / 100, 0.1)
        got = []
        for _ in range(3):
            waiting, _ = gate.next(now, _alive)
            assert waiting is not None
            got.append(waiting.item[1])
        assert got == order


def test_who_resumes_a_session_goes_first_within_its_site_only() -> None:
    gate = _gate()
    gate.weights = {"a": 1, "b": 1}
    gate.offer(("b", 0), "b", 0.0, 0.0)
    gate.offer(("a", 0), "a", 0.0, 0.0)
    gate.offer(("a", 1), "a", 0.0, 0.0, resumes=True)
    assert _drain(gate, 0.0) == [("b", 0), ("a", 1), ("a", 0)]


def test_who_has_left_is_let_go_and_its_site_loses_no_turn() -> None:
    gate = _gate()
    gate.weights = {"a": 1, "b": 1}
    for site, number in itertools.product("ab", range(4)):
        gate.offer((site, number), site, 0.0, 0.0)
    served = []
    while True:
        waiting, dropped = gate.next(0.0, lambda item: item[0] == "b" or item[1] >= 2)
        assert all(why is Drop.GONE for _, why in dropped)
        if waiting is None:
            break
        served.append(waiting.item[0])
    assert served[:4].count("a") == served[:4].count("b") == 2


def test_when_all_places_are_taken_the_site_that_holds_most_by_its_weight_gives_one_back() -> None:
    gate = _gate(queue=40)
    gate.weights = {"greedy": 2, "big": 30, "small": 1}
    for number in range(20):
        gate.offer(("big", number), "big", 0.0, 0.0)
    for number in range(20):
        gate.offer(("greedy", number), "greedy", 0.0, 0.0)
    dropped = [gate.offer(("small", number), "small", 0.0, 0.0) for number in range(3)]
    assert [item[0] for [(item, why)] in dropped if why is Drop.FULL] == ["greedy"] * 3


# --- everything at once -----------------------------------------------------------------------------------


class Doorstep(RuleBasedStateMachine):
    """Any sequence of comings, goings and turns; time only moves on."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = _gate(queue=12, deadline=4.0, target=0.5, unknown_rate=1.0, unknown_burst=3)
        self.now = 100.0
        self.number = 0
        self.waiting: dict[Item, float] = {}
        self.gone: set[Item] = set()
        self.passed_over: deque[Item] = deque()

    def _dropped(self, dropped: list[tuple[Item, Drop]]) -> None:
        for item, why in dropped:
            since = self.waiting.pop(item)
            assert (why is Drop.LATE) is (why is not Drop.FULL and self.now - since > 4.0)
            assert why is not Drop.GONE or item in self.gone

    @rule(site=st.sampled_from(["192.0.2.1", "192.0.2.2", "192.0.2.3"]), lain=st.floats(0, 6), resumes=st.booleans())
    def comes(self, site: str, lain: float, resumes: bool) -> None:
        self.number += 1
        item = (site, self.number)
        self.waiting[item] = self.now - lain
        self._dropped(self.gate.offer(item, site, self.now - lain, self.now, resumes=resumes))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leaves(self, data: st.DataObject) -> None:
        self.gone.add(data.draw(st.sampled_from(sorted(self.waiting))))

    @rule(seconds=st.floats(0, 3))
    def passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def turn(self) -> None:
        waiting, dropped = self.gate.next(self.now, lambda item: item not in self.gone)
        self._dropped(dropped)
        if waiting is None:
            assert not self.waiting, "nobody is left waiting while a handshake could begin"
            return
        since = self.waiting.pop(waiting.item)
        assert self.now - since <= 4.0, "nothing late is served"
        assert waiting.item not in self.gone

    @rule()
    def looks(self) -> None:
        self._dropped(self.gate.expire(self.now))

    @rule(weights=st.dictionaries(st.sampled_from(["192.0.2.1", "192.0.2.2"]), st.integers(1, 5)))
    def learns(self, weights: dict[str, int]) -> None:
        self.gate.weights = weights

    @rule(site=st.sampled_from(["192.0.2.1", "192.0.2.3"]))
    def fails(self, site: str) -> None:
        self.gate.failed(site, self.now)

    @invariant()
    def all_are_accounted_for(self) -> None:
        assert len(self.gate) == len(self.waiting) <= 12
        assert sorted(self.gate.everybody()) == sorted(self.waiting)
        assert self.gate.delay(self.now) >= 0


TestDoorstep = Doorstep.TestCase


@settings(max_examples=examples(50))
@given(
    bad=st.lists(st.tuples(st.floats(0, 2), st.booleans()), max_size=300),
    weight=st.integers(0, 3),
)
def test_nothing_an_address_has_done_keeps_it_from_a_handshake_when_nobody_else_waits(
    bad: list[tuple[float, bool]], weight: int
) -> None:
    gate = _gate(unknown_burst=2, failures_burst=1)
    gate.weights = {"192.0.2.1": weight} if weight else {}
    now = 0.0
    for number, (seconds, fails) in enumerate(bad):
        now += seconds
        gate.offer(("x", number), "192.0.2.1", now, now)
        gate.next(now, _alive)
        if fails:
            gate.failed("192.0.2.1", now)
    gate.offer(("good", 0), "192.0.2.1", now, now)
    assert ("good", 0) in _drain(gate, now)


def test_memory_stays_bounded_whoever_calls() -> None:
    gate = _gate(queue=100)
    for number in range(60_000):
        site = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        gate.offer((site, number), site, number / 1000, number / 1000)
        gate.next(number / 1000, _alive)
        gate.failed(site, number / 1000)
    assert sum(len(order) for order in gate._orders.values()) < 5_000
    assert sum(len(lane) for lane in gate._lanes.values()) <= 100
    assert sum(len(lane._heap) for lane in gate._lanes.values()) < 2_000
    assert len(gate._callers) <= 20_000
    assert len(gate._failed) <= 20_000


def test_capacity_is_what_was_begun_while_somebody_waited_and_bounds_the_queue() -> None:
    gate = _gate(queue=4096, deadline=4.0)
    assert gate.bound == 4096
    now = 0.0
    for _ in range(30):
        for number in range(40):
            gate.offer(("a", number), "a", now, now)
        for _ in range(30):
            now += 1 / 30
            gate.next(now, _alive)
    assert gate.capacity == pytest.approx(30, rel=0.1)
    assert gate.bound == pytest.approx(120, rel=0.1)


# --- the small parts ----------------------------------------------------------------------------------


def test_storm_begins_after_its_interval_and_ends_after_calm() -> None:
    storm = Storm(target=0.5, interval=2.0, calm=60.0)
    told = [(now, storm.note(delay, now)) for now, delay in ((0, 1), (1, 0.1), (2, 1), (3.9, 1), (4, 1), (5, 1))]
    assert [now for now, changed in told if changed] == [4]
    assert (storm.on, storm.since) == (True, 4)
    told = [(now, storm.note(delay, now)) for now, delay in ((6, 0), (50, 0.6), (51, 0), (110, 0), (111, 0), (112, 0))]
    assert [now for now, changed in told if changed] == [111]
    assert (storm.on, storm.since) == (False, 0.0)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.1)), max_size=100))
def test_a_share_is_never_exceeded_by_more_than_one_spending(steps: list[tuple[float, float]]) -> None:
    share, clock, spent, largest = Share(0.25, 0.05, 1.0), 0.0, 0.0, 0.0
    share.left(clock)
    for passed, cost in steps:
        clock += passed
        if share.left(clock) > 0:
            share.spend(cost)
            spent, largest = spent + cost, max(largest, cost)
    assert spent <= 0.25 * clock + 0.05 + largest + 1e-9


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
    ],
)
def test_a_site_is_an_ipv4_address_or_an_ipv6_network_of_64_bits(address: str, key: str) -> None:
    assert address_key(address) == key


@given(
    rate=st.floats(0.1, 100),
    burst=st.integers(1, 50),
    steps=st.lists(st.tuples(st.floats(0, 5), st.integers(1, 3)), max_size=200),
)
def test_a_rate_is_never_exceeded_by_more_than_its_burst_and_waits_are_exact(
    rate: float, burst: int, steps: list[tuple[float, int]]
) -> None:
    meter, now, granted = Gcra(rate, burst, 10), 0.0, 0
    for passed, cost in steps:
        now += passed
        wait = meter.take("k", now, cost)
        if not wait:
            granted += cost
        elif cost <= burst and wait > 1e-4:
            assert meter.wait("k", now + wait * 0.999 - 1e-6, cost) > 0
            assert meter.wait("k", now + wait + 1e-6, cost) == 0
        assert granted <= burst + rate * now + 1e-6


def test_a_meter_forgets_spent_keys_first() -> None:
    meter = Gcra(1.0, 1, 3)
    meter.charge("busy", 0.0, 100)
    meter.take("b", 0.0)
    meter.take("c", 1.5)
    meter.take("d", 1.6)
    assert len(meter) == 3
    assert meter.wait("busy", 1.6) > 0
