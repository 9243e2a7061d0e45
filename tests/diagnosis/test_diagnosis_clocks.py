"""Two clocks: a capture and this server's records are put in order by what both saw, and not at all otherwise."""

from __future__ import annotations

from dataclasses import replace

from seen import MAC, NOW, asked, booted, frame, of, record, row, tls

from provisioner.diagnosis.clocks import compared
from provisioner.diagnosis.facts import Fact
from provisioner.diagnosis.ladder import Outcome

CFG = f"{MAC}.cfg"
HERE = "10.0.0.5:40001>192.0.2.1:443"
OFFERED = {"sni": "prov.example.net", "versions": "TLSv1.3,TLSv1.2"}


def at_wire(at: float, name: str = HERE, **hello: object) -> list[Fact]:
    """A connection as a capture names it."""
    return [
        frame("syn", at, connection=name, to="192.0.2.1", port=443, times=1),
        frame("hello", at + 0.1, connection=name, **{**OFFERED, **hello}),
    ]


def with_port(facts: list[Fact], port: int = 40_001) -> list[Fact]:
    return [replace(one, values={**one.values, "port": str(port)}) if one.kind.value == "accepted" else one
            for one in facts]  # fmt: skip


def no_offer(at: float) -> list[Fact]:
    return [frame("dhcp", at + more, type="discover", vlan=0) for more in (0, 4)]


def test_without_a_connection_that_both_saw_neither_heals_the_other() -> None:
    found = of([*no_offer(80_000), *at_wire(79_000, "10.0.0.5:39999>192.0.2.1:443"), *with_port(booted(90_000))])
    assert row(found) == 10
    assert any("cannot be compared" in note for note in found.notes)


def test_a_capture_whose_clock_is_wrong_is_put_right_by_a_connection_that_both_saw() -> None:
    """By its own clock the phone had no address after it was served; it is an hour ahead."""
    facts = [*no_offer(93_500), *at_wire(93_600), *with_port(booted(90_000))]
    found = of(facts)
    assert (row(found), found.outcome) == (0, Outcome.UP)
    assert any("3600 s ahead of" in note for note in found.notes)
    later = [*no_offer(93_700), *at_wire(93_600), *with_port(booted(90_000))]
    assert row(of(later)) == 10, "it was an hour later by that clock, and still behind the boot"


def test_the_same_clock_is_left_as_it_is() -> None:
    facts = [*no_offer(89_000), *at_wire(89_999.9), *with_port(booted(90_000))]
    found = compared(facts)
    assert (found.aligned, found.note, found.facts) == (True, "", tuple(facts))
    assert of(facts).outcome is Outcome.UP


def test_another_hello_on_the_same_port_is_another_connection() -> None:
    for other in ({"sni": "other.example.net"}, {"suites": "AES128-SHA,AES256-SHA"}):
        assert not compared([*at_wire(1_000, **other), *with_port(booted())]).aligned
    assert not compared([*at_wire(1_000), *with_port(booted(), 40_002)]).aligned
    assert compared([*at_wire(1_000)[:1], *with_port(booted())]).aligned, "the port alone, where no hello was seen"


def test_one_witness_alone_needs_nobody_elses_clock() -> None:
    assert compared(booted()).note == compared(at_wire(1)).note == ""
    bad = [*tls("x-1", 80_000)[:3], record("verdict", 80_000.1, "x-1", verdict="untrusted", why="who knows")]
    assert of([*bad, *booted(), *asked(CFG, 200, at=NOW - 50)]).outcome is Outcome.UP
