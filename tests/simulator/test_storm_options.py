"""What `simulate storm` may be asked for: values without sense and options without effect are refused by name."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.errors import Invalid
from provisioner.simulator.storm_plan import Mode, StormPlan, places
from provisioner.storm_cast import MOST, Call
from provisioner.storm_options import Asked

NOTHING: dict[str, Any] = {
    **dict.fromkeys(("phones", "sites", "nat", "rate", "together", "seconds", "capacity", "processes")),
    **{"spread": 60.0, "patience": 10.0, "retry": 60.0, "jitter": 0.1},
    **{"no_retry": False, "greedy": False, "heed": (), "connection_per_file": False},
}
SENSIBLE: dict[str, Any] = {
    **{"phones": 40, "sites": 5, "nat": 8, "seconds": 100.0, "capacity": 50.0, "processes": 2},
    **{"spread": 5.0, "patience": 4.0, "retry": 7.0, "jitter": 0.2},
    **{"greedy": True, "heed": ("Yealink",), "no_retry": True, "rate": 3.0, "together": 6},
    "connection_per_file": True,
}
"""A value for each option that makes sense by itself."""


def asked(**said: Any) -> tuple[StormPlan, Call]:
    return Asked(**{**NOTHING, **said}).plan(said.keys(), cores=2)


def refused(**said: Any) -> Invalid:
    with pytest.raises(Invalid) as told:
        asked(**said)
    return told.value


def test_nothing_said_is_two_thousand_phones_in_a_minute() -> None:
    plan, call = asked()
    assert call == Call(2000, 30, 500)
    assert (plan.mode, plan.spread, plan.patience, plan.retry, plan.jitter) == (Mode.STORM, 60.0, 10.0, 60.0, 0.1)
    assert (plan.seconds, plan.processes, plan.retries) == (900.0, 2, True)


def test_every_option_reaches_the_plan() -> None:
    said = {name: SENSIBLE[name] for name in SENSIBLE.keys() - {"no_retry", "rate", "together"}}
    plan, call = asked(**said)
    assert call == Call(40, 5, 8)
    for name in ("spread", "patience", "retry", "jitter", "seconds", "capacity", "processes", "connection_per_file"):
        assert getattr(plan, name) == SENSIBLE[name]
    assert plan.heeding == {"yealink"}
    assert asked(rate=3.0)[0].rate == 3.0
    assert asked(together=6)[0].together == 6
    assert not asked(no_retry=True)[0].retries
    assert asked(retry=None)[0].retry is None, "each model's own"


IN_VAIN = [
    *((beside, name) for beside in ("rate", "together") for name in ("spread", "capacity")),
    *(("together", name) for name in ("no_retry", "retry", "jitter", "greedy", "heed")),
    *(("no_retry", name) for name in ("retry", "jitter", "greedy", "heed")),
    ("rate", "together"),
]


@pytest.mark.parametrize(("beside", "name"), IN_VAIN, ids=lambda one: one)
def test_an_option_that_would_change_nothing_is_refused(beside: str, name: str) -> None:
    error = refused(**{beside: SENSIBLE[beside], name: SENSIBLE[name]})
    assert error.field == name
    assert error.why.startswith(f"has no effect with --{beside.replace('_', '-')}: ")


PAIRS = [
    (one, other)
    for place, one in enumerate(sorted(SENSIBLE))
    for other in sorted(SENSIBLE)[place + 1 :]
    if (one, other) not in IN_VAIN and (other, one) not in IN_VAIN
]


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda one: one)
def test_every_other_pair_of_options_is_taken(one: str, other: str) -> None:
    asked(**{name: SENSIBLE[name] for name in (one, other)})


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("phones", {"phones": 0}),
        ("phones", {"phones": -7, "greedy": True}),
        ("phones", {"phones": MOST + 1}),
        ("phones", {"phones": 301, "rate": 10.0}),
        ("nat", {"phones": 5, "nat": 9}),
        ("nat", {"nat": -1}),
        ("sites", {"sites": 0}),
        ("sites", {"sites": 1, "nat": 3}),
        ("sites", {"sites": 31, "phones": 30, "nat": 0}),
        ("sites", {"sites": 3, "phones": 30, "nat": 30}),
        ("sites", {"sites": 23, "phones": 30, "nat": 9}),
        ("rate", {"rate": 0.01}),
        ("together", {"together": 41, "phones": 40}),
        ("processes", {"processes": 5, "phones": 4}),
        ("processes", {"processes": 3, "together": 2}),
        ("processes", {"processes": 0}),
        ("seconds", {"seconds": 30.0}),
        ("seconds", {"seconds": float("nan")}),
        ("heed", {"heed": ("nokia",)}),
        ("heed", {"heed": ("yealink",), "phones": 1}),
        ("greedy", {"greedy": True, "sites": 1}),
        ("greedy", {"greedy": True, "sites": 2}),
        ("spread", {"spread": -1.0}),
        ("retry", {"retry": float("inf")}),
        ("jitter", {"jitter": 1.0}),
        ("patience", {"patience": 0.0}),
        ("capacity", {"capacity": float("nan")}),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(field: str, said: dict[str, Any]) -> None:
    assert refused(**said).field == field


def test_what_is_only_just_possible_is_taken() -> None:
    assert asked(phones=300, rate=10.0)[1].phones == 300
    assert asked(sites=30, phones=30, nat=0)[1].sites == 30
    assert asked(sites=22, phones=30, nat=9)[1].sites == 22
    assert asked(sites=1, phones=30, nat=30)[1] == Call(30, 1, 30)
    assert asked(together=40, phones=40)[0].together == 40
    assert asked(greedy=True, sites=3)[1].sites == 3
    assert asked(seconds=60.0)[0].seconds == 60.0
    assert asked(rate=10.0, seconds=1.0)[1].phones == 10


@settings(deadline=None)  # other tests share the machine
@given(st.integers(1, 3000), st.none() | st.integers(1, 40), st.none() | st.integers(0, 3000))
def test_whatever_is_taken_leaves_no_site_without_a_phone(phones: int, sites: int | None, nat: int | None) -> None:
    said = {name: value for name, value in (("phones", phones), ("sites", sites), ("nat", nat)) if value is not None}
    try:
        _, call = asked(**said)
    except Invalid:
        assert len(said) > 1, "phones alone are never refused"
        return
    assert len(set(places(call.phones, call.sites, call.nat))) == call.sites


def test_the_fields_are_the_options() -> None:
    from provisioner.cli.simulate import simulate_storm_command

    options = {one.name for one in simulate_storm_command.params} - {"data", "as_json", "json", "known", "plots"}
    assert options == {one.name for one in fields(Asked)} == set(SENSIBLE) == set(NOTHING)
