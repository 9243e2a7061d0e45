"""Two clocks: a capture and this server's records are put in order by what both saw, and not at all otherwise."""

from __future__ import annotations

import ssl
from dataclasses import replace

import pytest
from seen import MAC, NOW, asked, booted, frame, of, record, row, tls

from provisioner.capture.files import ETHERNET, Frame
from provisioner.capture.tls import PHONE, TlsTalk
from provisioner.diagnosis.clocks import compared
from provisioner.diagnosis.facts import Fact, Kind
from provisioner.diagnosis.ladder import Outcome
from provisioner.http.hello import hello_random

CFG = f"{MAC}.cfg"
HERE = "10.0.0.5:40001>192.0.2.1:443"
NEXT = "10.0.0.5:40002>192.0.2.1:443"
OFFERED = {"sni": "prov.example.net", "versions": "TLSv1.3,TLSv1.2"}


def at_wire(at: float, name: str = HERE, **hello: object) -> list[Fact]:
    """A connection as a capture names it."""
    return [
        frame("syn", at, connection=name, to="192.0.2.1", port=443, times=1),
        frame("syn_ack", at + 0.05, connection=name, times=1),
        frame("hello", at + 0.1, connection=name, **{**OFFERED, **hello}),
    ]


def with_port(facts: list[Fact], port: int = 40_001, random: str = "") -> list[Fact]:
    """This server's record, with the phone's port and its hello's random; older releases have kept no random."""
    more = {Kind.ACCEPTED: {"port": str(port)}, Kind.HELLO: {"random": random} if random else {}}
    return [replace(one, values={**one.values, **more.get(one.kind, {})}) for one in facts]


def no_offer(at: float) -> list[Fact]:
    return [frame("dhcp", at + more, type="discover", vlan=0) for more in (0, 4)]


def test_without_a_connection_that_both_saw_neither_heals_the_other() -> None:
    found = of([*no_offer(80_000), *at_wire(79_000, "10.0.0.5:39999>192.0.2.1:443"), *with_port(booted(90_000))])
    assert row(found) == 10
    assert any("cannot be compared" in note for note in found.notes)


def test_a_capture_whose_clock_is_wrong_is_put_right_by_a_connection_that_both_saw() -> None:
    """By its own clock the phone had no address after it was served; it is an hour ahead."""
    boot = with_port(booted(90_000), random="aa")
    found = of([*no_offer(93_500), *at_wire(93_600, random="aa"), *boot])
    assert (row(found), found.outcome) == (0, Outcome.UP)
    assert any("3600 s ahead of" in note for note in found.notes)
    later = [*no_offer(93_700), *at_wire(93_600, random="aa"), *boot]
    assert row(of(later)) == 10, "it was an hour later by that clock, and still behind the boot"
    translated = [*no_offer(93_500), *at_wire(93_600, random="aa"), *with_port(booted(90_000), 61_000, "aa")]
    assert of(translated).outcome is Outcome.UP, "behind address translation it has another port here"


def test_ports_come_again_after_each_boot_and_prove_nothing_alone() -> None:
    """Its SYN is dropped now; two hours ago, and on the days before, it came from the same port and was well."""
    dropped = frame("syn", 99_950, connection=HERE, to="192.0.2.1", port=443, times=5)
    older = [fact for n, at in enumerate((92_800, 6_400, 10)) for fact in with_port(booted(at, f"0015-{n}"))]
    for before in (older[: len(older) // 3], older):
        found = of([dropped, *before])
        assert (row(found), found.outcome) == (27, Outcome.BROKEN)
        assert any("cannot be compared" in note for note in found.notes)


@pytest.mark.parametrize("random", ["", "aa"])
def test_the_same_hello_from_the_same_port_is_no_proof_either(random: str) -> None:
    cut = frame("reset", 99_950.2, connection=HERE, by="between", after="hello", ttl=60, ttl_syn_ack=52)
    older = with_port(booted(92_800), random="bb" if random else "")
    assert row(of([*at_wire(99_950, random=random), cut, *older])) == 33


def test_a_random_that_comes_again_proves_nothing() -> None:
    older = [*with_port(booted(80_000, "0015-1"), random="aa"), *with_port(booted(90_000, "0015-2"), random="aa")]
    assert not compared([*at_wire(93_600, random="aa"), *older]).aligned


def test_several_ports_that_say_the_same_are_enough_where_nothing_else_could_be_meant() -> None:
    """Records of an older release: two connections of one boot, as far apart here as there."""
    seen = [*at_wire(93_600), *at_wire(93_630, NEXT)]
    boot = [*with_port(booted(90_000, "0015-1")), *with_port(booted(90_030, "0015-2"), 40_002)]
    found = compared([*seen, *boot])
    assert (found.aligned, "3600 s ahead of" in found.note) == (True, True)
    before = [*with_port(booted(70_000, "0015-8")), *with_port(booted(70_030, "0015-9"), 40_002)]
    assert not compared([*seen, *boot, *before]).aligned, "two boots that look alike: which of them is not known"
    slow = [*with_port(booted(90_000, "0015-1")), *with_port(booted(90_090, "0015-2"), 40_002)]
    assert not compared([*seen, *slow]).aligned


def test_the_hash_of_a_random_is_the_same_at_both_witnesses() -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="prov.example.net").do_handshake()
    first = outgoing.read()
    (hello,) = TlsTalk("a").data(PHONE, first, Frame("f", 1, 1.0, ETHERNET, first, len(first)))
    assert hello.values["random"] == hello_random(first) != ""
    assert hello_random(first[:40]) == ""


def test_the_same_clock_is_left_as_it_is() -> None:
    facts = [*no_offer(89_000), *at_wire(89_999.9), *with_port(booted(90_000))]
    found = compared(facts)
    assert (found.aligned, found.note, found.facts) == (True, "", tuple(facts))
    assert of(facts).outcome is Outcome.UP


def test_another_hello_on_the_same_port_is_another_connection() -> None:
    here = with_port(booted(1_000))
    assert compared([*at_wire(1_000), *here]).aligned
    for other in ({"sni": "other.example.net"}, {"suites": "AES128-SHA,AES256-SHA"}):
        assert not compared([*at_wire(1_000, **other), *here]).aligned
    assert not compared([*at_wire(1_000, random="aa"), *with_port(booted(1_000), random="bb")]).aligned
    whole = [replace(one, values={**one.values, "suites": ",".join("abcdefg")}) if one.kind is Kind.HELLO else one
             for one in here]  # fmt: skip
    assert compared([*at_wire(1_000, suites="a,b,c,d\N{HORIZONTAL ELLIPSIS}"), *whole]).aligned, "it was only cut short"
    assert not compared([*at_wire(1_000, suites="a,b,c,d,e,f,g,h\N{HORIZONTAL ELLIPSIS}"), *whole]).aligned
    assert not compared([*at_wire(1_000), *with_port(booted(1_000), 40_002)]).aligned
    assert compared([*at_wire(1_000)[:2], *here]).aligned, "the port and the time, where no hello was seen"
    assert not compared([*at_wire(1_000)[:1], *here]).aligned, "who got no answer is on nobody's record"


def test_one_witness_alone_needs_nobody_elses_clock() -> None:
    assert compared(booted()).note == compared(at_wire(1)).note == ""
    bad = [*tls("x-1", 80_000)[:3], record("verdict", 80_000.1, "x-1", verdict="untrusted", why="who knows")]
    assert of([*bad, *booted(), *asked(CFG, 200, at=NOW - 50)]).outcome is Outcome.UP
