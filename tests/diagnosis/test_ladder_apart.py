"""Cases that were not looked at when the rules were written: whole stories, each with what a technician would say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from seen import (
    MAC,
    NOW,
    OTHER,
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
from provisioner.diagnosis.catalogue import Rung
from provisioner.diagnosis.facts import Fact
from provisioner.diagnosis.ladder import Outcome

CFG = f"{MAC}.cfg"
MASTER = "000000000000.cfg"


def lan(at: float = 1, **lease: object) -> list[Fact]:
    """A phone that gets its address, its option, the name and the time."""
    said = {"address": "10.0.0.5", "server": "10.0.0.1", "router": "10.0.0.1",
            "option_66": "https://prov.example.net/", **lease}  # fmt: skip
    return [
        frame("frame", at, vlan=0),
        frame("dhcp", at + 1, type="discover", vlan=0),
        frame("dhcp", at + 2, type="offer", **said),
        frame("dhcp", at + 3, type="request", vlan=0),
        frame("dhcp", at + 4, type="ack", vlan=0, **said),
        frame("dns", at + 5, type="query", name="prov.example.net", record="A"),
        frame(
            "dns", at + 6, type="answer", name="prov.example.net", record="A", rcode="NOERROR", addresses="192.0.2.1"
        ),
        frame("ntp", at + 7, type="query", server="10.0.0.9"),
        frame("ntp", at + 8, type="answer", server="10.0.0.9", stratum=2, time=at + 8),
    ]


STORIES: list[tuple[str, int, list[Fact], Subject]] = [
    ("a healthy poly boot is no failure, for all its 404s", 0, [
        *tls(), *asked(CFG, 404, reason="no_such_file"), *asked(MASTER, 200, at=90_002, etag="m"),
        *asked(f"{MAC}-user.cfg", 200, at=90_003, etag="u"), *asked(f"{MAC}-phone.cfg", 404, at=90_004),
        *asked(f"{MAC}-web.cfg", 404, at=90_005), *asked("000000000000-license.cfg", 404, at=90_006),
        *asked(f"{MAC}-app.log", 201, at=90_007, method="PUT"), record("closed", 90_009, by="phone", after="answer"),
        device(state="assigned", lines=1, configuration="current")], POLY),
    ("certificate of the server ran out overnight, and the phone was fine yesterday", 42, [
        *booted(10_000), *tls("0015-2", 90_000)[:2],
        record("alert", 90_000.2, "0015-2", by="phone", code=45, name="certificate_expired"),
        record("tls_refused", 90_000.2, "0015-2", by="phone", why="certificate_expired", sure="yes"),
        device(state="assigned", lines=1, configuration="current")], replace(YEALINK, begins=0.0, ends=85_000.0)),
    ("somebody pretends to be a phone that is well", 49, [
        *booted(80_000), *tls("x-4", 90_000)[:3],
        record("verdict", 90_000.2, "x-4", verdict="untrusted", why="its issuer is unknown", issuer="CN=Evil"),
        *asked(CFG, 404, "x-4", 90_001, reason="not_identified")], YEALINK),
    ("the pretender came first, the phone is well since", 0, [
        *tls("x-4", 80_000)[:3], record("verdict", 80_000.2, "x-4", verdict="untrusted", why="its issuer is unknown"),
        *asked(CFG, 404, "x-4", 80_001, reason="not_identified"), *booted(90_000),
        device(state="assigned", lines=1, configuration="current")], YEALINK),
    ("everything on the wire is good until the phone does not like the CA", 39, [
        *lan(), *met(20),
        frame("chain", 20.2, connection="a", by="server", length=2, subject="CN=prov", issuer="CN=Own CA"),
        frame("alert", 20.3, connection="a", by="phone", code=48),
        frame("reset", 20.4, connection="a", by="phone", after="hello")], YEALINK),
    ("time was asked for in vain, and the CA is what is wrong", 39, [
        *lan()[:7], *(frame("ntp", at, type="query", server="10.0.0.9") for at in (8, 9)), *met(20),
        frame("chain", 20.2, connection="a", by="server", length=2, subject="CN=prov", issuer="CN=Own CA"),
        frame("alert", 20.3, connection="a", by="phone", code=48)], YEALINK),
    ("the firewall opens TLS at this site", 35, [
        *lan(), *met(20),
        frame("chain", 20.2, connection="a", by="server", length=2, subject="CN=prov", issuer="CN=Corp Proxy CA"),
        frame("alert", 20.3, connection="a", by="phone", code=48)], YEALINK),
    ("a voice VLAN that the phone follows and that leads nowhere", 4, [
        frame("vlan_offered", 1, by="lldp", vlan=120, tagged="yes"), frame("frame", 1.5, vlan=0),
        *(frame("dhcp", at, type="discover", vlan=120) for at in (2, 6, 14))], YEALINK),
    ("the same, but frames were lost", 0, [
        frame("vlan_offered", 1, by="lldp", vlan=120, tagged="yes"), frame("dropped", 1, frames=12),
        *(frame("dhcp", at, type="discover", vlan=120) for at in (2, 6, 14))], YEALINK),
    ("the phone was moved: no in answer to its old address, then a new one, and all is well", 0, [
        frame("dhcp", 0.1, type="request"), frame("dhcp", 0.2, type="nak"), *lan(), *met(20)[:2],
        frame("request", 21, connection="a", method="GET", path=f"/p/{CFG}", user_agent="Yealink SIP-T46S"),
        frame("answer", 22, connection="a", status=200, bytes=5000)], Subject(MAC)),
    ("a home router answers faster", 12, [
        frame("dhcp", 1, type="discover"),
        frame("dhcp", 2, type="offer", server="10.0.0.1", address="10.0.0.5", option_160="https://prov.example.net/"),
        frame("dhcp", 1.8, type="offer", server="192.168.0.1", address="192.168.0.20"),
        frame("dhcp", 3, type="request"), frame("dhcp", 4, type="ack", server="192.168.0.1", address="192.168.0.20",
              router="192.168.0.1")], POLY),
    ("the server is reached and stands behind a narrow line", 31, [
        *lan(), *met(20), frame("server_hello", 20.2, connection="a", version="TLSv1.2"),
        frame("stalled", 28, connection="a", in_="handshake", retransmits=5, sacked=2, lost=1)], YEALINK),
    ("a phone of 2008", 46, [
        *lan(), *met(20)[:2], frame("hello", 20.1, connection="a", sni="", versions="TLSv1", suites="AES128-SHA"),
        frame("alert", 20.2, connection="a", by="server", code=70, name="protocol_version"),
        frame("closed", 20.3, connection="a", by="server", after="hello")], YEALINK),
    ("TLS 1.3 hides why, the certificate does not", 51, [
        *lan(), *met(20), frame("server_hello", 20.1, connection="a", version="TLSv1.3"),
        frame("chain", 20.2, connection="a", by="phone", length=3, not_before=0, not_after=15),
        frame("tls_refused", 20.3, connection="a", by="server", why="record_shape", sure="no")], YEALINK),
    ("a certificate refusal of which only the shape is known", 49, [
        *lan(), *met(20), frame("server_hello", 20.1, connection="a", version="TLSv1.3"),
        frame("tls_refused", 20.3, connection="a", by="server", why="record_shape refused_certificate", code="48",
              sure="no")], YEALINK),
    ("the phone hangs up, and the middle sends an RST behind its FIN", 0, [
        *lan(), *met(20), frame("tls_done", 20.5, connection="a", version="TLSv1.2"),
        frame("request", 21, connection="a", method="GET", path=f"/{CFG}", file=CFG),
        frame("answer", 21.5, connection="a", status=200, bytes=5000, etag="e", file=CFG),
        frame("closed", 22, connection="a", by="phone", after="answer"),
        frame("reset", 22.1, connection="a", by="between", after="answer", ttl=30, ttl_syn_ack=60)], YEALINK),
    ("two boots far apart are no loop", 0, [
        *booted(70_000), *booted(90_000, "0015-2"),
        device(state="assigned", lines=1, configuration="current")], YEALINK),
    ("its line was moved away and the PBX still says no", 74, [
        *booted(), *(noted("register", 90_100 + n, type="answer", status=status, registrar="pbx") for n, status in
                     enumerate((401, 401, 403)))], YEALINK),
    ("it is told, hears it, and does not come", 76, [
        *booted(), noted("notify", 95_000, status="200", result="200 OK"),
        device(state="assigned", lines=1, configuration="behind")], YEALINK),
    ("nobody's new phone", 78, [
        *tls("x-9"), *asked(CFG, 404, "x-9", reason="unknown_device"),
        noted("device", 90_001, state="unknown", vendor="yealink")], Subject(MAC)),
    ("a neighbour's label was glued on", 57, [
        *lan(), *tls("0004-3", 60)[:3],
        record("verdict", 60.2, "0004-3", verdict="unique", certificate_mac=OTHER, vendor="yealink"),
        *asked(CFG, 403, "0004-3", 61, reason="not_yours")], YEALINK),
    ("the switch gives power and the wall outlet is dead", 2, [
        switch("port", 99_999, switch="sw2", port="Gi1/0/7", link="down", poe="none"), *booted(50_000)], YEALINK),
    ("it restarts every two minutes since noon", 68, [
        *(fact for n in range(8) for fact in booted(99_000 + 120 * n, f"0015-{n}"))], YEALINK),
    ("the old server's address is still in DNS", 22, [
        *lan()[:6],
        frame("dns", 7, type="answer", name="prov.example.net", record="A", rcode="0", addresses="198.51.100.4"),
        frame("syn", 8, connection="z", to="198.51.100.4", port=443, times=4)],
        replace(YEALINK, names=frozenset({"prov.example.net"}), addresses=frozenset({"192.0.2.1"}))),
]  # fmt: skip


@pytest.mark.parametrize(("story", "wanted", "facts", "subject"), STORIES, ids=[one[0] for one in STORIES])
def test_the_first_line_is_what_a_technician_would_say(
    story: str, wanted: int, facts: list[Fact], subject: Subject
) -> None:
    now = NOW if any(one.at > 1000 for one in facts) else max(one.at for one in facts) + 1
    found = of(facts, subject, now)
    assert row(found) == wanted, (story, found.title)
    if not wanted and "lost" not in story:
        assert found.outcome is Outcome.UP


def test_a_capture_alone_is_enough() -> None:
    found = of(lan(), Subject(MAC), 30)
    assert found.last_good is Rung.TIME
    assert found.outcome is Outcome.UNDECIDED


def test_this_server_alone_is_enough() -> None:
    found = of(booted(), Subject(MAC))
    assert found.outcome is Outcome.UP
    assert found.last_good is not None
    assert found.last_good.height >= Rung.FILE.height
