"""Two captures of one failure, before and behind a router, are read as one; and one behind it finds the phone alone."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path

import pytest
import trustme
from read_here import facts, of, one
from wire import (
    ACK,
    BEGIN,
    PHONE,
    PHONE_IP,
    ROUTER,
    SERVER_IP,
    SYN,
    Talk,
    Tape,
    boot,
    dhcp,
    eth,
    ip,
    option,
    spoken,
    udp,
)

from provisioner.capture.course import Course
from provisioner.capture.survey import spellings

OUTSIDE = "203.0.113.9"
GET = b"GET /a.cfg HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HELLO = b"\x16\x03\x01\x00\x30\x01\x00\x00\x2c\x03\x03" + bytes(range(32)) + b"\0" + b"\0\x02\xc0\x2f\x01\0\0\0"


def far() -> Tape:
    """On the server's side there are routers' addresses alone."""
    return Tape(phone="020000000011", router="020000000012")


def lease(tape: Tape) -> Tape:
    ack = dhcp(5, option(51, b"\0\0\1\0"), yours=PHONE_IP, op=2)
    tape.down(ip("10.0.0.1", PHONE_IP, 17, udp(67, 68, ack)))
    return tape


def test_behind_a_router_the_address_leads_to_the_phone(tmp_path: Path) -> None:
    """The lease was seen at the phone, the connection at the server alone."""
    there = far()
    Talk(there, port=80).open().flow([("phone", GET), ("server", OK)]).close()
    Talk(there, port=80, phone="10.0.0.6").open().flow([("phone", GET), ("server", OK)]).close()
    assert one(facts(tmp_path, lease(Tape()), there), "answer")["connection"] == "10.0.0.5:40000>192.0.2.1:80"


@pytest.mark.parametrize("text", ["0004f2aabbcc", "0004F2AABBCC", "00:04:f2:aa:bb:cc", "00-04-F2-AA-BB-CC"])
def test_a_mac_in_any_spelling(text: str) -> None:
    assert text.encode() in spellings(bytes.fromhex(PHONE))


def test_behind_address_translation_its_certificate_leads_to_the_phone(tmp_path: Path) -> None:
    ca, there = trustme.CA(), far()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.issue_cert("prov.example.net").configure_cert(server)
    ca.issue_cert(common_name="0004F2AABBCC").configure_cert(client)
    ca.configure_trust(client)
    server.verify_mode = ssl.CERT_REQUIRED
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    Talk(there, phone=OUTSIDE).open().flow(spoken(client, server)).close()
    Talk(there, phone=OUTSIDE, sport=40_002).open().say("phone", HELLO)
    found = facts(tmp_path, there)
    assert one(found, "chain", by="phone")["subject"].endswith("0004F2AABBCC")
    assert len(of(found, "hello")) == 1, "the other phone behind the same address is left out"
    assert not of(found, "frame")


def test_what_both_sides_saw_alike_stands_once_and_under_one_name(tmp_path: Path) -> None:
    here, there = lease(Tape()), far()
    for tape, phone in ((here, PHONE_IP), (there, OUTSIDE)):
        Talk(tape, phone=phone, port=80).open().flow([("phone", GET), ("server", OK)]).close()
    found = facts(tmp_path, here, there)
    assert one(found, "syn")["at_server"] == "yes"
    assert one(found, "answer")["connection"] == "10.0.0.5:40000>192.0.2.1:80"
    assert {fact.values["connection"] for fact in found if "connection" in fact.values} == {
        "10.0.0.5:40000>192.0.2.1:80"
    }


def test_a_clock_that_goes_wrong_is_put_right(tmp_path: Path) -> None:
    here, there = lease(Tape()), far()
    there.now += 3600
    for tape in (here, there):
        Talk(tape, port=80).open().flow([("phone", GET), ("server", OK)])
    Talk(there, port=81, phone=PHONE_IP).open()
    found = facts(tmp_path, here, there)
    assert all(fact.at < BEGIN + 10 for fact in found)


def test_a_syn_that_never_arrives(tmp_path: Path) -> None:
    here, there = lease(Tape()), far()
    Talk(there, phone="198.51.100.1", seqs={"phone": 7, "server": 8}).open()
    for wait in (0, 1, 2):
        Talk(here).segment("phone", SYN, after=wait)
    Talk(there, phone="198.51.100.1", sport=5, seqs={"phone": 9, "server": 8}).segment("phone", SYN, after=5)
    assert one(facts(tmp_path, here, there), "syn", times="3")["at_server"] == "no"


def test_of_a_server_that_was_not_watched_nothing_is_said(tmp_path: Path) -> None:
    here, there = lease(Tape()), far()
    Talk(there, phone="198.51.100.1", server="192.0.2.99", seqs={"phone": 7, "server": 8}).open()
    Talk(here).segment("phone", SYN)
    other = {"phone": 9, "server": 8}
    Talk(there, phone="198.51.100.1", server="192.0.2.99", sport=5, seqs=other).segment("phone", SYN, after=5)
    assert "at_server" not in one(facts(tmp_path, here, there), "syn")


def test_an_answer_that_gets_lost_on_its_way_back(tmp_path: Path) -> None:
    here, there = lease(Tape()), far()
    talks = Talk(here), Talk(there)
    for wait in (0, 1, 2):
        talks[0].segment("phone", SYN, after=wait)
        talks[1].segment("phone", SYN, after=wait)
        talks[1].seqs["phone"] = 1001
        talks[1].segment("server", SYN | ACK)
        talks[1].seqs["phone"] = 1000
    told = one(facts(tmp_path, here, there), "syn", at_server="answered")
    assert told["times"] == "3"


def test_the_only_phone_is_found(tmp_path: Path) -> None:
    tape = boot()
    tape.add(eth(ROUTER, "020000000077", 0x0800, ip("10.0.0.9", SERVER_IP, 17, udp(9, 9, b"x"))))
    course = Course([tape.save(tmp_path / "a.pcap")])
    phones = course.phones()
    assert [each["mac"] for each in phones] == [PHONE]
    assert phones[0]["addresses"] == [PHONE_IP]
    assert phones[0]["why"] == [
        "DHCP: asks where to boot", "DHCP: vendor class Polycom-VVX411", "Poly made it", "fetches files of its Mac",
    ]  # fmt: skip
    assert course.only_one(phones) == bytes.fromhex(PHONE)


def test_of_two_phones_nobody_is_chosen(tmp_path: Path) -> None:
    tape = boot()
    boot(Tape(now=tape.now))
    other = boot(Tape(phone="001565000001"))
    paths = [tape.save(tmp_path / "a.pcap"), other.save(tmp_path / "b.pcap")]
    course = Course(paths)
    phones = course.phones()
    assert {"001565000001", PHONE} == {each["mac"] for each in phones}
    assert course.only_one(phones) is None


def test_a_ring_is_read_as_one(tmp_path: Path) -> None:
    tape = boot()
    half = len(tape.frames) - 6
    first, second = Tape(frames=tape.frames[:half]), Tape(frames=tape.frames[half:])
    paths = [second.save(tmp_path / "ring_00001.pcapng"), first.save(tmp_path / "ring_00002.pcapng")]
    found = Course(paths).facts(bytes.fromhex(PHONE))
    assert one(found, "answer")["complete"] == "yes"
    assert {fact.ref.partition(" ")[0] for fact in found} == {"ring_00001.pcapng", "ring_00002.pcapng"}


# --- who shows no Mac ------------------------------------------------------------------------------------------


def test_of_a_phone_behind_a_router_its_address_is_enough(tmp_path: Path) -> None:
    """It does not trust the server, so nobody has seen its certificate."""
    there = far()
    for phone in (OUTSIDE, "203.0.113.10"):
        Talk(there, port=80, phone=phone).open().flow([("phone", GET), ("server", OK)]).close()
    path = there.save(tmp_path / "server.pcap")
    found = Course([path]).facts(None, [ipaddress.ip_address(OUTSIDE).packed])
    assert {fact.values["connection"] for fact in found} == {f"{OUTSIDE}:40000>{SERVER_IP}:80"}
    assert one(found, "syn")["to"] == SERVER_IP
    assert [fact.kind for fact in Course([path]).facts(None, [ipaddress.ip_address("203.0.113.11").packed])] == []


def test_a_file_without_it_proves_nothing_where_another_one_has_it(tmp_path: Path) -> None:
    there, strangers = far(), far()
    with_mac = GET.replace(b"a.cfg", b"0004f2aabbcc.cfg")
    Talk(there, port=80).open().flow([("phone", with_mac), ("server", OK)]).close()
    Talk(strangers, port=80, phone="10.0.0.77").open().flow([("phone", GET), ("server", OK)]).close()
    assert one(facts(tmp_path, strangers), "frame") == {"silent": "yes"}
    assert of(facts(tmp_path, there, strangers), "frame") == []
    broken = tmp_path / "half.pcap"
    broken.write_bytes(strangers.save(tmp_path / "whole.pcap").read_bytes()[:-9])
    assert [fact.kind for fact in Course([broken]).facts(bytes.fromhex(PHONE))] == ["broken"]
