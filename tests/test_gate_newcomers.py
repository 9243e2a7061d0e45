"""Unknown addresses: one office is one site, who has booted goes first, and a fleet at new addresses is a storm."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import Unusable
from provisioner.gate import Drop, Gate, GateLimits, SiteClass, Storm, network_of
from provisioner.newcomers import Newcomers
from provisioner.settings import load
from tests.test_gate_storms import World

KNOWN = {"192.0.2.1": 50}
LIMITS = GateLimits(unknown_burst=100_000)


def _alive(_item: object) -> bool:
    return True


def _next(gate: Gate[str], now: float = 0.0) -> str:
    waiting, _ = gate.next(now, _alive)
    assert waiting is not None
    return waiting.item


@pytest.mark.parametrize(
    ("site", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("2001:db8:1:ffff::/64", "2001:db8:1::/48"),
        ("2001:db8:2::/64", "2001:db8:2::/48"),
        ("", ""),
    ],
)
def test_while_nobody_is_known_there_an_ipv6_site_is_its_48_bits(site: str, network: str) -> None:
    assert network_of(site) == network


def test_a_known_64_is_weighed_by_itself_and_its_48_is_not() -> None:
    gate: Gate[str] = Gate(LIMITS)
    gate.weights = {"2001:db8:1:2::/64": 3}
    gate.offer("phone", "2001:db8:1:2::/64", 0.0, 0.0)
    gate.offer("neighbour", "2001:db8:1:3::/64", 0.0, 0.0)
    assert [gate.class_of(one) for one, _ in (gate.next(0.0, _alive) for _ in range(2)) if one] == [
        SiteClass.KNOWN,
        SiteClass.UNKNOWN,
    ]


def test_one_sites_65536_networks_do_not_keep_a_new_office_out() -> None:
    world = World(100, {"192.0.2.1": 1000})
    for k in range(30 * 200):
        world.call(k / 200, "192.0.2.1")
    for _ in range(50):
        world.call(world.chance.uniform(0, 10), "2001:db8:9::/64")
    for k in range(30 * 300):
        world.call(k / 300, f"2001:db8:8:{k % 65536:x}::/64", again=False)
    world.run(30.0)
    assert len(world.back["2001:db8:9::/64"]) == 50


@given(old=st.integers(2, 40), others=st.lists(st.integers(1, 5), max_size=12), comings=st.lists(st.integers(0, 3)))
def test_between_two_turns_of_an_address_each_other_that_waits_has_one_and_who_comes_later_none(
    old: int, others: list[int], comings: list[int]
) -> None:
    gate: Gate[str] = Gate(LIMITS)
    for number in range(old):
        gate.offer("old", "old", 0.0, 0.0)
        for other, callers in enumerate(others):
            if number < callers:
                gate.offer(f"other{other}", f"other{other}", 0.0, 0.0)
    while _next(gate) != "old":
        pass
    waiting = {one for one in gate.everybody() if one != "old"}
    meanwhile: list[str] = []
    for number in range(len(waiting) + 1):
        for new in range(comings[number] if number < len(comings) else 1):
            gate.offer(f"new{number}.{new}", f"new{number}.{new}", 0.0, 0.0)
        if (begun := _next(gate)) == "old":
            break
        meanwhile.append(begun)
    else:
        pytest.fail("its turn has not come")
    assert max(Counter(meanwhile).values(), default=1) == 1
    assert set(meanwhile) <= waiting


@given(st.integers(0, 60), st.integers(1, 40))
def test_who_has_booted_gets_three_of_four_turns_of_strangers_and_leaves_the_fourth(before: int, callers: int) -> None:
    gate: Gate[str] = Gate(LIMITS)
    gate.booted("home", 0.0)
    for number in range(before + 100):
        gate.offer("stranger", f"stranger{number}", 0.0, 0.0)
    for _ in range(before):
        _next(gate)
    for _ in range(callers):
        gate.offer("home", "home", 0.0, 0.0)
    first = [_next(gate) for _ in range(callers + callers // 3)]
    assert first.count("home") == callers
    assert all("home" in first[n : n + 2] for n in range(len(first) - 1))
    assert all("stranger" in first[n : n + 4] for n in range(len(first) - 4))


def test_who_has_booted_shares_what_strangers_may_have() -> None:
    gate: Gate[str] = Gate(LIMITS)
    gate.weights = KNOWN
    gate.booted("home", 0.0)
    for _ in range(300):
        for site in ("192.0.2.1", "home", "stranger"):
            gate.offer(site, site, 0.0, 0.0)
    begun = Counter(_next(gate) for _ in range(200))
    assert begun["192.0.2.1"] == pytest.approx(140, abs=2)
    assert begun["home"] == pytest.approx(45, abs=2)


def test_the_memory_of_newcomers_is_bounded_and_the_first_are_forgotten_first() -> None:
    newcomers = Newcomers(100)
    for number in range(1000):
        newcomers.booted(f"{number}", number / 10)
    assert len(newcomers) == 100
    assert "999" in newcomers
    assert "899" not in newcomers


# --- storms of strangers ------------------------------------------------------------------------------


def _power_cut(*, boots: float, addresses: int = 30_000, seconds: float = 10.0) -> tuple[Gate[str], Storm, float]:
    """Five times what can be served, from addresses at which nobody is known; of the handshakes some become boots."""
    gate, storm, chance = Gate[str](GateLimits()), Storm(0.5, 2.0, 60.0), random.Random(3)
    gate.weights, gate.capacity = {"192.0.2.1": 1}, 100.0
    now, number = 0.0, 0
    for tick in range(int(seconds * 10)):
        now = tick / 10
        for _ in range(50):
            number += 1
            site = f"10.0.{number % addresses >> 8}.{number % addresses & 255}"
            gate.offer(site, site, now, now)
        for _ in range(10):
            waiting, _ = gate.next(now, _alive)
            if waiting is not None and chance.random() < boots:
                gate.booted(waiting.item, now)
        gate.expire(now)
        if tick % 5 == 0:
            storm.note(gate.delay(now), now)
    return gate, storm, now


def test_a_fleet_at_new_addresses_begins_a_storm_although_somebody_is_known() -> None:
    gate, storm, now = _power_cut(boots=0.4)
    assert storm.on
    assert gate.delay(now) == gate.longest(now) > 0.5


@pytest.mark.parametrize("boots", [0.0, 0.03])
def test_strangers_who_do_not_boot_begin_none_and_their_wait_is_told(boots: float) -> None:
    gate, storm, now = _power_cut(boots=boots)
    assert not storm.on
    assert gate.delay(now) == 0.0
    assert gate.longest(now) > 0.5


def test_a_few_new_addresses_begin_none_and_neither_does_a_phone_that_boots_again_and_again() -> None:
    assert not _power_cut(boots=1.0, addresses=12)[1].on
    newcomers = Newcomers(100)
    for n in range(100):
        newcomers.begun(n / 100)
        newcomers.booted("home", n / 100)
    assert not newcomers.boot(1.0)


def test_who_came_long_ago_does_not_count_any_longer() -> None:
    newcomers = Newcomers(100)
    for n in range(20):
        newcomers.booted(f"{n}", 100.0)
    assert newcomers.boot(101.0)
    assert not newcomers.boot(160.0)


# --- the last place -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [SiteClass.KNOWN, SiteClass.UNKNOWN])
def test_where_all_sites_hold_one_place_the_oldest_gives_it_back_under_pressure(kind: SiteClass) -> None:
    gate: Gate[str] = Gate(replace(LIMITS, queue=100))
    homes = [f"198.51.100.{n}" for n in range(101)]
    gate.weights = dict.fromkeys(homes, 1) if kind is SiteClass.KNOWN else KNOWN
    for n, home in enumerate(homes[:100]):
        gate.offer(home, home, 96.1 + n / 1000, 100.0)
    assert gate.pressed(kind, 100.0)
    assert gate.offer("new", homes[100], 100.0, 100.0) == [(homes[0], Drop.FULL)]
    assert gate.offer("greedy", homes[100], 100.0, 100.0) == [("new", Drop.FULL)], "who holds two goes first"


def test_strangers_never_get_all() -> None:
    with pytest.raises(Unusable, match=r"gate\.unknown"):
        load(Path("/nonexistent"), {}, gate_unknown=1.0)
