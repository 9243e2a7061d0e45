"""Each row of the catalogue that facts can express, and facts of which it must be the first line of the diagnosis."""

from __future__ import annotations

from dataclasses import replace

import pytest
from seen import (
    MAC,
    NOW,
    OTHER,
    OURS,
    POLY,
    YEALINK,
    asked,
    booted,
    device,
    frame,
    met,
    noted,
    of,
    record,
    row,
    switch,
    tls,
)

from provisioner.diagnosis.case import Subject
from provisioner.diagnosis.catalogue import catalogue
from provisioner.diagnosis.facts import Fact

CFG = f"{MAC}.cfg"
SPA = Subject(MAC, "cisco", "SPA504G")
ASKED_FOR = replace(YEALINK, names=frozenset({"prov.example.net"}), addresses=OURS)


def hello(at: float, **values: object) -> list[Fact]:
    """As ``met``, with another ClientHello."""
    return [*met(at)[:2], frame("hello", at + 0.02, connection="a", **values)]


def refused(by: str, code: int, *more: Fact) -> list[Fact]:
    """A handshake on the wire that ends with an alert."""
    return [*met(), *more, frame("alert", 51, connection="a", by=by, code=code)]


def chain(by: str, **values: object) -> Fact:
    return frame("chain", 50.5, connection="a", by=by, **values)


def dhcp(type_: str, at: float, **values: object) -> Fact:
    return frame("dhcp", at, type=type_, **values)


def lease(**values: object) -> list[Fact]:
    said = {"address": "10.0.0.5", "server": "10.0.0.1", "router": "10.0.0.1", **values}
    return [dhcp("discover", 1, vlan=0), dhcp("offer", 2, **said), dhcp("request", 3), dhcp("ack", 4, **said)]


def fetched(later: float = 0.0, *, accepts: str | None = None, **answer: object) -> list[Fact]:
    """A configuration in the clear, and what came of it."""
    key, asks = f"h{later}", {} if accepts is None else {"accepts": accepts}
    return [
        *(replace(one, at=one.at + later, values={**one.values, "connection": key}) for one in met()[:2]),
        frame("request", 51 + later, connection=key, method="GET", path=f"/{CFG}", **asks),
        frame("answer", 51.1 + later, connection=key, **answer),
    ]


def judged(verdict: str, why: str = "", **more: str) -> list[Fact]:
    return [*tls()[:3], record("verdict", 90_000.1, "0015-1", verdict=verdict, why=why, **more),
            *asked(CFG, 404, reason="not_identified")]  # fmt: skip


def refusal(reason: str, status: int = 404) -> list[Fact]:
    return [*tls(), *asked(CFG, status, reason=reason)]


ntp = [frame("ntp", at, type="query", server="10.0.0.9") for at in (10, 14)]

CASES: list[tuple[int, list[Fact], Subject]] = [
    (1, [switch("port", 1, switch="sw1", port="7", link="down", poe="searching")], YEALINK),
    (1, [switch("port", 1, switch="sw1", port="7", poe="fault")], YEALINK),
    (2, [switch("port", 1, switch="sw1", port="7", link="down", poe="delivering")], YEALINK),
    (2, [frame("frame", 9, silent="yes")], YEALINK),
    (3, [frame("vlan_offered", 1, by="lldp", vlan=""), dhcp("discover", 2, vlan=0), dhcp("ack", 3, vlan=0,
        address="10.0.0.5", option_66="https://prov.example.net/")], YEALINK),
    (4, [frame("vlan_offered", 1, by="lldp", vlan=120, tagged="yes"), dhcp("discover", 2, vlan=120),
         dhcp("discover", 6, vlan=120)], YEALINK),
    (5, [frame("vlan_offered", 1, by="lldp", vlan=120, tagged="yes"), dhcp("discover", 2, vlan=0)], YEALINK),
    (5, [frame("vlan_offered", 1, by="lldp", vlan=120, tagged="no"), dhcp("discover", 2, vlan=120)], YEALINK),
    (5, [switch("vlan_offered", 1, by="switch", vlan=120), switch("vlan_used", 1, by="fdb", vlan=10)], YEALINK),
    (6, [frame("vlan_offered", 1, by="lldp", vlan=120), frame("vlan_offered", 2, by="cdp", vlan=130)], YEALINK),
    (7, [frame("vlan_offered", 1, by="lldp", vlan=120), frame("vlan_offered", 2, by="dhcp", vlan=200)], YEALINK),
    (7, [frame("vlan_offered", 1, by="lldp", vlan=120), frame("vlan_used", 2, by="frames", vlan=200)], YEALINK),
    (8, [frame("eap", 1, code="request"), frame("eap", 2, code="response"), frame("eap", 3, code="failure")], YEALINK),
    (8, [frame("eap", 1, code="request"), frame("eap", 31, code="request")], YEALINK),
    (10, [dhcp("discover", 1, vlan=0), dhcp("discover", 5, vlan=0)], YEALINK),
    (11, [*lease(), frame("address_conflict", 5, address="10.0.0.5", holder=OTHER)], YEALINK),
    (11, [*lease(), dhcp("decline", 5, address="10.0.0.5")], YEALINK),
    (12, [dhcp("discover", 1), dhcp("offer", 2, server="10.0.0.1", option_66="https://prov.example.net/"),
          dhcp("offer", 2.1, server="192.168.1.1", option_66="http://other.example/")], YEALINK),
    (13, lease(option_160="https://a.example/", option_66="https://b.example/"), YEALINK),
    (14, lease(), YEALINK),
    (15, lease(option_43="01 04 0a 0b 0c 0d"), YEALINK),
    (16, [dhcp("discover", 1), dhcp("offer", 2), dhcp("discover", 5), dhcp("offer", 6)], YEALINK),
    (17, [*lease(option_66="prov.example.net"), frame("tftp", 6, type="request", file=CFG)], YEALINK),
    (18, lease(option_66="https://prov.example.net/x", full="66"), YEALINK),
    (18, lease(file="https://prov.example.net/boot"), YEALINK),
    (19, [dhcp("request", 1), dhcp("nak", 2)], YEALINK),
    (20, [frame("dns", 1, type="query", name="prov.example.net", record="A"),
          frame("dns", 2, type="answer", name="prov.example.net", record="A", rcode="NXDOMAIN")], YEALINK),
    (21, [frame("dns", at, type="query", name="prov.example.net", record="A") for at in (1, 5)], YEALINK),
    (22, [frame("dns", 1, type="answer", name="prov.example.net", record="A", rcode="0", addresses="203.0.113.9")],
     ASKED_FOR),
    (23, [frame("dns", 1, type="answer", name="prov.example.net", record="A", rcode="0",
                addresses="192.0.2.7, 192.0.2.1"),
          *met(2, "b"), frame("syn", 3, connection="c", to="192.0.2.7", port=443, times=3)], YEALINK),
    (24, [frame("syn", 1, connection="a", to="2001:db8::1", port=443, times=4)], YEALINK),
    (25, [*ntp, *refused("phone", 42)], YEALINK),
    (25, ntp, YEALINK),
    (26, [frame("ntp", 1, type="answer", server="10.0.0.9", stratum=16), *refused("phone", 42)], YEALINK),
    (26, [frame("ntp", 1, type="answer", server="10.0.0.9", stratum=2, time=-90_000)], YEALINK),
    (27, [frame("syn", 1, connection="a", to="192.0.2.1", port=443, times=5)], YEALINK),
    (28, [frame("syn", 1, connection="a", to="192.0.2.1", port=443),
          frame("reset", 1.01, connection="a", by="server", after="syn")], YEALINK),
    (29, [frame("syn", 1, connection="a", to="192.0.2.1", port=443),
          frame("unreachable", 1.1, connection="a", by="10.0.0.1", code="admin")], YEALINK),
    (30, [frame("syn", 1, connection="a", to="192.0.2.1", port=443), frame("syn_ack", 2, connection="a", times=5)],
     YEALINK),
    (30, [*tls()[:2], record("stalled", 90_008, in_="handshake", retransmits=4, sacked=0, lost=0, unacked=3)], YEALINK),
    (31, [*tls()[:2], record("stalled", 90_008, in_="handshake", retransmits=4, sacked=1, lost=1, unacked=3)], YEALINK),
    (31, [*met(), frame("stalled", 60, connection="a", in_="handshake", retransmits=0, sacked=1, lost=1,
                        waits_for="server")], YEALINK),
    (37, [*met(), frame("stalled", 80, connection="a", in_="handshake", retransmits=0, unacked=0,
                        waits_for="server")], YEALINK),
    (49, refused("server", 0, chain("phone", hidden="yes"), frame("tls_refused", 50.9, connection="a", by="server",
                                                                  why="record_shape", sure="no")), YEALINK),
    (32, [*met(), frame("retransmitted", 55, connection="a", by="server", times=9, bytes=12_000)], YEALINK),
    (33, [*met(), frame("reset", 50.1, connection="a", by="between", after="hello", ttl=61, ttl_syn_ack=55)], YEALINK),
    (34, [*met()[:2], frame("request", 51, connection="a", method="GET", path=f"/{CFG}"),
          frame("answer", 51.1, connection="a", status=302)], YEALINK),
    (34, [*met()[:2], frame("request", 51, connection="a", method="GET", path=f"/{CFG}"),
          frame("answer", 51.1, connection="a", status=200, type="text/html; charset=utf-8")], YEALINK),
    (35, refused("phone", 48, chain("server", length=2, issuer="CN=FortiGate CA", subject="CN=prov")), YEALINK),
    (35, refused("phone", 48, chain("server", length=3, issuer="O=Corp, CN=Edge 7", subject="CN=prov")),
     replace(ASKED_FOR, issuers=frozenset({"own ca"}))),
    (39, refused("phone", 48, chain("server", length=3, issuer="O=Corp, CN=Own CA", subject="CN=prov")),
     replace(ASKED_FOR, issuers=frozenset({"own ca"}))),
    (36, [*tls()[:1], record("tls_refused", 90_000.1, by="server", why="plain_http")], YEALINK),
    (37, [*met(), frame("closed", 60, connection="a", by="phone", after="hello")], YEALINK),
    (37, [*tls()[:1], record("refused_early", 90_000.1, by="gate", why="deadline")], YEALINK),
    (38, [*booted(), device(state="assigned", lines=1, configuration="behind"), noted("notify", 95_000, status="408",
        result="408 timed out")], YEALINK),
    (39, refused("phone", 48, chain("server", length=2, issuer="CN=Own CA", subject="CN=prov")), YEALINK),
    (40, refused("phone", 48, chain("server", length=1, issuer="CN=Own CA", subject="CN=prov")), YEALINK),
    (41, refused("phone", 48, chain("server", length=2, issuer="CN=Own CA", subject="CN=prov")), SPA),
    (42, refused("phone", 45, chain("server", length=2, not_before=0, not_after=40)), YEALINK),
    (42, [*tls()[:2], record("alert", 90_000.1, by="phone", code=45)], replace(YEALINK, begins=0.0, ends=80_000.0)),
    (43, [*tls(), record("closed", 90_000.5, by="phone", after="handshake")], YEALINK),
    (44, [*hello(50, sni="", versions="TLSv1.2"), frame("tls_done", 51, connection="a", version="TLSv1.2"),
          frame("closed", 51.5, connection="a", by="phone", after="handshake")], YEALINK),
    (45, [*hello(50, versions="TLSv1.2", suites="AES128-SHA,DES-CBC3-SHA"),
          frame("alert", 51, connection="a", by="server", code=40)], YEALINK),
    (48, [*hello(50, versions="TLSv1.2", suites="ECDHE-RSA-AES128-GCM-SHA256,AES128-SHA"),
          frame("alert", 51, connection="a", by="server", code=40)], YEALINK),
    (45, [*tls()[:2], record("tls_refused", 90_000.1, by="server", why="no_shared_cipher"),
          record("alert", 90_000.1, by="server", code=40, sure="no")], YEALINK),
    (46, [*hello(50, versions="TLSv1"), frame("alert", 51, connection="a", by="server", code=70)], YEALINK),
    (46, [*hello(50, versions="TLSv1,TLSv1.1"), frame("alert", 51, connection="a", by="server", code=40)], YEALINK),
    (47, [*hello(50, versions="TLSv1.2", signature_algorithms=""),
          frame("alert", 51, connection="a", by="server", code=40)], YEALINK),
    (48, refused("server", 40, chain("server", length=2, key="EC P-256")), YEALINK),
    (49, judged("untrusted", "its issuer is unknown"), YEALINK),
    (49, judged("self_signed", "it signed itself"), YEALINK),
    (49, refused("server", 48, chain("phone", length=3, issuer="CN=X", subject=f"CN={MAC}")), YEALINK),
    (50, judged("untrusted", "its issuer is unknown and it came without a chain"), YEALINK),
    (50, refused("server", 48, chain("phone", length=1, issuer="CN=X", subject=f"CN={MAC}")), YEALINK),
    (51, judged("expired", "it ended in 2019"), YEALINK),
    (51, [*met(), chain("phone", length=2, not_before=0, not_after=20)], YEALINK),
    (52, judged("not_yet_valid", "it begins tomorrow"), YEALINK),
    (53, judged("weak", "its RSA key has 1024 bits, at least 2048 are asked for"), YEALINK),
    (53, refused("server", 42, chain("phone", length=2, key="RSA 1024", signature="sha256")), YEALINK),
    (54, judged("weak", "its signature is made with sha1"), YEALINK),
    (54, refused("server", 42, chain("phone", length=2, key="RSA 2048", signature="sha1")), YEALINK),
    (55, judged("none", "no client certificate was presented"), YEALINK),
    (55, refused("server", 40, chain("phone", length=0)), YEALINK),
    (55, refused("server", 116), YEALINK),
    (56, judged("generic", "no MAC in its name"), YEALINK),
    (57, [*tls(), *asked(f"{OTHER}.cfg", 403, reason="not_yours")], YEALINK),
    (57, [*tls()[:3], record("verdict", 90_000.1, verdict="unique", certificate_mac="00:04:F2:DE:00:01")], YEALINK),
    (58, [*tls()[:3], record("verdict", 90_000.1, verdict="unique", certificate_mac=OTHER)],
     Subject(MAC, "cisco", "SPA2102")),
    (59, [*met(), frame("tls_done", 51, connection="a", version="TLSv1.2"),
          frame("answer", 52, connection="a", status=400, type="text/html", file=CFG)], YEALINK),
    (60, refused("server", 43), YEALINK),
    (61, [*tls(), *asked(CFG, 401, reason="needs_credentials", authorization="Digest")], YEALINK),
    (62, [*tls(), *asked(f"{MAC}.boot", 404, reason="no_such_file"), *asked(CFG, 404, reason="no_such_file")], YEALINK),
    (63, refusal("wrong_vendor"), YEALINK),
    (64, fetched(status=200, mac=OTHER, looks="text"), YEALINK),
    (65, [*tls(), *asked(CFG, 200, complete="no", bytes=1400)], YEALINK),
    (66, [one for turn in range(3) for one in fetched(turn * 60.0, status=200, looks="binary", etag="c")], YEALINK),
    (67, [*booted(), *asked(f"{MAC}-phone.cfg", 405, at=90_002, method="PUT", reason="method_not_allowed")], POLY),
    (68, [fact for turn in range(6) for fact in booted(NOW - 700 + 110 * turn, f"0015-{turn}")], YEALINK),
    (68, [fact for turn in range(4) for fact in (
        dhcp("discover", 100 * turn + 1), dhcp("ack", 100 * turn + 2, address="10.0.0.5", option_66="http://p/"),
        *met(100 * turn + 3, f"c{turn}")[:2],
        frame("request", 100 * turn + 4, connection=f"c{turn}", method="GET", path=f"/{CFG}"),
        frame("answer", 100 * turn + 5, connection=f"c{turn}", status=200, etag="one"))], YEALINK),
    (69, [frame("hello", 1, connection="r", sni="rps.yealink.com"),
          *(replace(one, values={**one.values, "sni": "prov.other.example"}) if one["sni"] else one
            for one in met(5, "b", "203.0.113.9"))], ASKED_FOR),
    (70, [frame("pnp", 1, type="notify", from_="10.0.0.2", url="http://a/"),
          frame("pnp", 2, type="notify", from_="10.0.0.3", url="http://b/")], YEALINK),
    (71, refusal("deferred", 503), YEALINK),
    (73, [*booted(), *asked("T46S.rom", 200, at=90_003, complete="no", bytes=900_000)], YEALINK),
    (74, [*booted(), *(frame("register", at, type="answer", status=status, registrar="pbx.example")
          for at, status in ((90_010, 401), (90_011, 403)))], YEALINK),
    (75, [frame("tftp", 1, type="request", file=CFG), frame("tftp", 2, type="error", file=CFG, error=1)], YEALINK),
    (76, [*booted(-90_000), device(state="assigned", lines=1, configuration="behind", changed=-80_000)], YEALINK),
    (77, [*booted(), device(state="revoked", lines=1, configuration="current")], YEALINK),
    (77, refusal("revoked"), YEALINK),
    (78, refusal("unknown_device"), YEALINK),
    (79, refusal("pin_mismatch"), YEALINK),
    (80, refusal("wrong_listener"), YEALINK),
    (81, [*booted(), device(state="needs_firmware", lines=1, configuration="current", firmware="1.0")], YEALINK),
    (82, [*booted(), device(state="unassigned", lines=0, configuration="current")], YEALINK),
    (83, [*booted(), device(state="unassigned", lines=1, configuration="current", wiped="yes")], YEALINK),
    (84, refusal("render_failed", 500), YEALINK),
    (86, [frame("eap", 1, code="request", method="tls"), frame("eap", 2, code="response", method="tls"),
          frame("alert", 2, connection="802.1X", by="phone", code=48, name="unknown_ca"),
          frame("eap", 3, code="failure")], YEALINK),
    (87, refused("phone", 70, frame("server_hello", 50.4, connection="a", version="TLSv1")), YEALINK),
    (88, fetched(status=502, type="text/html"), YEALINK),
    (89, fetched(status=200, encoding="gzip", accepts=""), YEALINK),
    (90, [*booted(), *(frame("register", 90_010 + at, type="request", to="192.0.2.9:5060") for at in (0, 1, 3))],
     YEALINK),
    (90, [*booted(), frame("register", 90_010, type="answer", status=503)], YEALINK),
    (85, [*tls()[:2], record("stalled", 90_008, in_="handshake", retransmits=0, sacked=0, lost=0, unacked=0)], YEALINK),
    (85, [*tls()[:2], record("closed", 90_001, by="phone", after="hello")], YEALINK),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "facts", "subject"), CASES, ids=[f"{n}-{one[0]}" for n, one in enumerate(CASES)])
def test_the_first_line_names_the_cause(wanted: int, facts: list[Fact], subject: Subject) -> None:
    found = of(facts, subject)
    assert row(found) == wanted, found.title
    assert found.cause is not None
    assert found.cause.witnesses, "each line cites who saw it"
    assert found.exit == catalogue().places[catalogue().rows[wanted].rung].exit
    assert found.refused is catalogue().rows[wanted].refused


def test_each_row_that_facts_can_show_has_its_case() -> None:
    unseen = {one.id for one in catalogue().rows.values() if one.unseen}
    assert {one[0] for one in CASES} == set(catalogue().rows) - unseen
    assert unseen == {9, 72}, "the page of the catalogue says why for each of these"
