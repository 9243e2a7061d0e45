"""What a phone has plainly passed is not what stops it, and what only may be so is not said to be so."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from seen import MAC, NOW, OURS, YEALINK, asked, booted, device, frame, met, noted, of, record, row, switch

from provisioner.diagnosis.case import Subject
from provisioner.diagnosis.facts import Fact, Kind
from provisioner.diagnosis.ladder import Outcome

NAME = "prov.example.net"
NAMED = replace(YEALINK, names=frozenset({NAME}))
KNOWN = replace(NAMED, addresses=OURS, issuers=frozenset({"r11"}))
DROPPED = frame("syn", 60, connection="a", to="192.0.2.1", port=443, times=5)


def boots(**lease: object) -> list[Fact]:
    """A lease as a phone gets it when it starts."""
    said = {"address": "10.0.0.5", "server": "10.0.0.1", "router": "10.0.0.1", **lease}
    return [frame("dhcp", 1, type="discover", asked="1,3,66,160"), frame("dhcp", 2, type="offer", **said),
            frame("dhcp", 3, type="request"), frame("dhcp", 4, type="ack", **said)]  # fmt: skip


def name(rcode: str = "NOERROR", called: str = NAME, **more: object) -> list[Fact]:
    said = {"name": called, "record": "A"}
    return [frame("dns", 5, type="query", **said), frame("dns", 6, type="answer", rcode=rcode, **said, **more)]


# --- it knows where to go --------------------------------------------------------------------------------


@pytest.mark.parametrize(("wanted", "facts", "subject"), [
    (27, [*boots(), DROPPED], KNOWN),
    (27, [*boots(), *name(addresses="192.0.2.1"), DROPPED], NAMED),
    (27, [*boots(), *name(called="rps.yealink.com", addresses="203.0.113.1"), DROPPED], YEALINK),
    (20, [*boots(), *name("NXDOMAIN")], NAMED),
    (27, [*boots(option_66=NAME, option_150="192.0.2.1"), DROPPED], KNOWN),
    (27, [*boots(option_66="tftp.example.net", option_160=f"https://{NAME}/"), DROPPED], KNOWN),
    (27, [*boots(option_160=f"https://{NAME}/"), *name("NXDOMAIN", "wpad.corp.lan"), DROPPED], YEALINK),
    (14, [*boots(), *name(called="rps.yealink.com", addresses="203.0.113.1")], NAMED),
])  # fmt: skip
def test_who_is_on_its_way_to_the_server_knows_where_to_go(wanted: int, facts: list[Fact], subject: Subject) -> None:
    found = of(facts, subject, 100)
    assert row(found) == wanted, found.title


def test_the_same_server_by_name_and_address_is_no_contradiction() -> None:
    assert row(of(boots(option_66=NAME, option_150="192.0.2.1"), KNOWN, 100)) == 0
    assert row(of(boots(option_66=NAME, option_160=f"https://{NAME}/"), YEALINK, 100)) == 0
    for differ, sure in ({"option_66": "http://old.example/"}, True), ({"option_66": f"http://{NAME}/p"}, False):
        found = of(boots(**{"option_160": f"https://{'b.example' if sure else NAME}/", **differ}), KNOWN, 100)
        assert (row(found), found.cause and found.cause.sure) == (13, sure)


def test_a_name_that_nobody_has_told_it_is_perhaps_not_the_servers() -> None:
    found = of([*boots(option_160=f"https://{NAME}/"), *name("NXDOMAIN", "wpad.corp.lan")], YEALINK, 100)
    assert (row(found), found.cause and found.cause.sure) == (20, False)
    told = of([*boots(option_160=f"https://{NAME}/"), *name("NXDOMAIN")], YEALINK, 100)
    assert (row(told), told.cause and told.cause.sure) == (20, True)


def test_a_phone_that_is_up_and_keeps_its_lease_is_up() -> None:
    more = {"address": "10.0.0.5", "server": "10.0.0.1", "router": "10.0.0.1"}
    for option in ({}, {"option_160": "https://a.example/", "option_66": "https://b.example/"}):
        kept = [frame("dhcp", NOW - 30, type="request"), frame("dhcp", NOW - 30, type="ack", **more, **option)]
        assert of([*booted(), *kept], KNOWN).outcome is Outcome.UP
    assert row(of(kept, KNOWN)) == 13, "and where nothing is known of it, it is worth a word"


def test_a_day_of_attempts_is_judged_at_once() -> None:
    facts = []
    for turn in range(600):
        at = NOW - 86_400 + 60 * turn
        facts.append(
            frame("dns", at, type="answer", name=NAME, record="A", rcode="0", addresses=f"192.0.2.1, 192.0.2.{turn}")
        )
        facts.append(frame("syn", at + 1, connection=f"10.0.0.5:{20_000 + turn}>a", to="192.0.2.1", port=443, times=5))
    begun = time.process_time()
    assert row(of(facts)) == 27
    assert time.process_time() - begun < 4


# --- silence ---------------------------------------------------------------------------------------------


def test_a_capture_that_does_not_see_it_proves_no_dead_link() -> None:
    """Behind a router its MAC is in no frame at the server."""
    silent = frame("frame", NOW - 60, silent="yes")
    alone = of([silent])
    assert (row(alone), alone.cause and alone.cause.sure) == (2, False)
    served = of([silent, *booted(NOW - 600)])
    assert (row(served), served.outcome) == (0, Outcome.UP)
    assert any("where it does not pass" in note for note in served.notes)
    up = of([silent, switch("port", NOW, switch="sw1", port="7", link="up")])
    assert (row(up), up.outcome) == (0, Outcome.UNDECIDED)
    assert row(of([silent, *booted(NOW - 600)], now=NOW + 200_000)) == 2, "nothing has been heard of it for days"


# --- a switch says how it is now -------------------------------------------------------------------------


def test_what_a_switch_says_now_does_not_stop_who_was_served_a_minute_ago() -> None:
    port = {"switch": "sw1", "port": "7", "link": "up"}
    elsewhere = [switch("port", NOW, **port, vlan=1), switch("vlan_offered", NOW, by="lldp", vlan=20),
                 switch("vlan_used", NOW, by="fdb", vlan=1)]  # fmt: skip
    fault = switch("port", NOW, **port, poe="fault")
    for look, by_the_way in (elsewhere, "5 tagged"), ([fault], "1 the port gives no power"):
        found = of([*booted(NOW - 60), *look])
        assert (row(found), found.outcome) == (0, Outcome.UP)
        assert any(by_the_way in note for note in found.notes)
    yesterday = of([*booted(NOW - 80_000), *elsewhere])
    assert (row(yesterday), yesterday.cause and yesterday.cause.sure) == (5, False)
    never = of(elsewhere)
    assert (row(never), never.cause and never.cause.sure) == (5, True)


# --- it does what it is told -----------------------------------------------------------------------------


def turns(times: int, *, told: bool, after: float = 100) -> list[Fact]:
    facts = []
    for turn in range(times):
        at = NOW - 800 + 110 * turn
        facts += booted(at + (after if told else 0), f"0015-{turn}")
        facts += [noted("notify", at, status="200", result="200 OK")] if told else []
    return facts


@pytest.mark.parametrize("after", [-1, 2, 80])
def test_who_comes_because_it_was_told_to_is_in_no_loop(after: float) -> None:
    assert row(of(turns(6, told=False))) == 68
    assert row(of(turns(6, told=True, after=after))) == 0
    once = noted("notify", NOW - 802, status="200", result="200 OK")
    assert row(of([once, *turns(7, told=False)])) == 68, "told once, and it has come seven times"


def test_restarts_that_were_asked_for_are_no_loop_either() -> None:
    facts = []
    for turn in range(4):
        at = NOW - 800 + 150 * turn
        facts += [noted("notify", at - 30, status="200"), frame("dhcp", at, type="discover"), *met(at + 3, f"c{turn}")]
        facts.append(frame("tls_done", at + 4, connection=f"c{turn}", version="TLSv1.2"))
    assert row(of(facts)) == 0
    assert row(of([one for one in facts if one.kind is not Kind.NOTIFY])) == 68


# --- it has not come yet ---------------------------------------------------------------------------------


def test_a_change_of_today_makes_no_phone_broken_that_polls_tomorrow() -> None:
    behind = device(state="assigned", lines=1, configuration="behind", changed=NOW - 60)
    found = of([*booted(), behind])
    assert (row(found), found.outcome) == (0, Outcome.UP)
    assert any("76" in note for note in found.notes)
    before = noted("notify", 89_000, status="408", result="408")
    assert row(of([before, *booted(), behind])) == 0, "it has come since, and was changed after that"
    for status, wanted in ("408", 38), ("200", 76):
        assert row(of([*booted(), noted("notify", 95_000, status=status, result=status), behind])) == wanted
    assert row(of([*booted(), noted("notify", NOW - 20, status="200", result="200"), behind])) == 0, "it may be coming"
    overdue = of([*booted(-90_000), device(state="assigned", lines=1, configuration="behind", changed=-80_000)])
    assert (row(overdue), overdue.cause and overdue.cause.sure) == (76, False)


# --- TLS -------------------------------------------------------------------------------------------------


def refused(issuer: str, length: int = 2, code: int = 48) -> list[Fact]:
    chain = frame("chain", 50.5, connection="a", by="server", length=length, issuer=issuer, subject=f"CN={NAME}")
    return [*met(), chain, frame("alert", 51, connection="a", by="phone", code=code)]


def test_an_issuer_with_another_name_is_not_yet_inspection() -> None:
    renewed = of(refused("C=US, O=Let's Encrypt, CN=R10"), KNOWN, 100)
    assert (row(renewed), renewed.cause and renewed.cause.sure) == (35, False)
    firewall = of(refused("CN=FortiGate CA"), KNOWN, 100)
    assert (row(firewall), firewall.cause and firewall.cause.sure) == (35, True)
    before = of(refused("CN=R10"), replace(KNOWN, begins=70.0, ends=1e9), 100)
    assert row(before) == 39, "our certificate of today is newer than what was captured"


def test_one_certificate_is_perhaps_all_that_there_is() -> None:
    """A private root may sign the server's certificate itself."""
    found = of(refused("CN=Own CA", length=1), now=100)
    assert (row(found), found.cause and found.cause.sure) == (40, False)


def test_a_warning_before_a_complete_handshake_refuses_nothing() -> None:
    warned = frame("alert", 50.1, connection="a", by="server", code=112, name="unrecognized_name", level="warning")
    whole = [*met(), warned, frame("tls_done", 52, connection="a", version="TLSv1.2")]
    assert row(of(whole, now=100)) == 0
    assert row(of([*met(), warned], now=100)) != 49, "nor does it where nothing more was seen"
    other = [
        replace(one, values={**one.values, "code": "42", "level": "fatal"}) if one is warned else one for one in whole
    ]
    assert row(of(other, now=100)) == 0, "whatever it says: the handshake went on"
    late = replace(warned, at=53.0, values={**warned.values, "code": "42", "level": "fatal"})
    assert row(of([*met(), late], now=100)) == 49
    served = [*booted(), record("alert", 90_009, by="phone", code=0, name="close_notify"), *asked(f"{MAC}.cfg", 304)]
    assert of(served).outcome is Outcome.UP
