"""Names, time, files, telephony and what the network says: what each tells, and nothing of a secret in any of it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from read_here import facts, of, one
from wire import (
    DHCP_IP,
    PHONE_IP,
    SERVER_IP,
    Talk,
    Tape,
    boot,
    ip,
    name,
    reply,
    tcp,
    udp,
)

# --- names, time, files ----------------------------------------------------------------------------


def test_names(tmp_path: Path) -> None:
    tape = Tape()
    srv = struct.pack("!HHH", 10, 5, 5061) + name("sip1.example.net")
    naptr = struct.pack("!HH", 100, 50) + b"\x01s\x08SIPS+D2T\x00" + name("_sips._tcp.example.net")
    for kind, records, rcode in (
        (33, [(33, srv)], 0),
        (35, [(35, naptr)], 0),
        (28, [(5, name("b.example")), (28, bytes(15) + b"\1")], 0),
        (1, [], 3),
    ):
        answer = reply("a.example.net", kind, *records, rcode=rcode)
        tape.down(ip(DHCP_IP, PHONE_IP, 17, udp(53, 5300, answer)))
    found = facts(tmp_path, tape)
    assert one(found, "dns", record="SRV")["addresses"] == "sip1.example.net:5061 (10 5)"
    assert one(found, "dns", record="NAPTR")["addresses"] == "SIPS+D2T _sips._tcp.example.net (100 50 s)"
    assert one(found, "dns", record="AAAA")["addresses"] == "CNAME b.example,::1"
    assert one(found, "dns", record="A")["rcode"] == "NXDOMAIN"


def test_a_name_that_points_at_itself(tmp_path: Path) -> None:
    tape = Tape()
    loop = struct.pack("!HHHHHH", 1, 0x0100, 1, 0, 0, 0) + b"\xc0\x0c" + b"\0\1\0\1"
    tape.up(ip(PHONE_IP, DHCP_IP, 17, udp(5300, 53, loop)))
    assert "points at itself" in one(facts(tmp_path, tape), "broken")["why"]


def test_time(tmp_path: Path) -> None:
    tape = Tape()
    tape.up(ip(PHONE_IP, SERVER_IP, 17, udp(123, 123, b"\x23" + bytes(47))))
    stamp = struct.pack("!II", 2_208_988_800 + 1_500_000_000, 1 << 31)
    tape.down(ip(SERVER_IP, PHONE_IP, 17, udp(123, 123, b"\x24\x10" + bytes(38) + stamp)))
    tape.up(ip(PHONE_IP, SERVER_IP, 17, udp(123, 123, b"\x23")))
    found = facts(tmp_path, tape)
    assert one(found, "ntp", type="query")["server"] == SERVER_IP
    assert one(found, "ntp", type="answer") == {
        "type": "answer",
        "server": SERVER_IP,
        "stratum": "16",
        "time": "1500000000.5",
    }
    assert "under 48 bytes" in one(found, "broken")["why"]


def test_tftp_answers_from_a_port_of_its_own(tmp_path: Path) -> None:
    tape = Tape()
    for sport, file, answer in (
        (2001, b"good.cfg", struct.pack("!HH", 3, 1) + b"password=x"),
        (2002, b"none.cfg", struct.pack("!HH", 5, 1) + b"File not found\0"),
    ):
        tape.up(ip(PHONE_IP, SERVER_IP, 17, udp(sport, 69, b"\0\1" + file + b"\0octet\0")))
        tape.down(ip(SERVER_IP, PHONE_IP, 17, udp(40_001, sport, answer)))
    found = facts(tmp_path, tape)
    assert [each["file"] for each in of(found, "tftp", type="request")] == ["good.cfg", "none.cfg"]
    assert one(found, "tftp", type="data")["file"] == "good.cfg"
    assert one(found, "tftp", type="error")["error"] == "1 File not found"


# --- telephony and what phones write ---------------------------------------------------------------


def sip(*lines: str, body: str = "") -> bytes:
    return ("\r\n".join(lines) + f"\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode()


def test_registration(tmp_path: Path) -> None:
    tape = Tape()
    head = ("Via: SIP/2.0/UDP 10.0.0.5", "To: <sip:1001@pbx.example.net>", "CSeq: 1 REGISTER")
    credentials = 'Authorization: Digest username="1001", response="5ebe2294ecd0e0f08eab7690d2a6ee69"'
    tape.up(
        ip(PHONE_IP, SERVER_IP, 17, udp(5060, 5060, sip("REGISTER sip:pbx.example.net SIP/2.0", *head, credentials)))
    )
    tape.down(ip(SERVER_IP, PHONE_IP, 17, udp(5060, 5060, sip("SIP/2.0 403 Forbidden", *head))))
    found = facts(tmp_path, tape)
    told = one(found, "register", type="request")
    assert (told["user"], told["registrar"], told["authorization"]) == ("1001", "sip:pbx.example.net", "Digest")
    assert one(found, "register", type="answer")["status"] == "403"
    assert "5ebe" not in str(found)


def test_plug_and_play_and_check_sync(tmp_path: Path) -> None:
    tape = Tape()
    event = 'Event: ua-profile;profile-type="device"'
    tape.up(ip(PHONE_IP, "224.0.1.75", 17, udp(5060, 5060, sip("SUBSCRIBE sip:MAC@224.0.1.75 SIP/2.0", event))))
    profile = sip("NOTIFY sip:x SIP/2.0", event, body="https://a:b@rogue.example.net/cfg")
    tape.down(ip(DHCP_IP, PHONE_IP, 17, udp(5060, 5060, profile)))
    tape.down(
        ip(SERVER_IP, PHONE_IP, 17, udp(5060, 5060, sip("NOTIFY sip:x SIP/2.0", "Event: check-sync;reboot=true")))
    )
    tape.up(ip(PHONE_IP, SERVER_IP, 17, udp(5060, 5060, sip("SIP/2.0 401 Unauthorized", "CSeq: 1 NOTIFY"))))
    found = facts(tmp_path, tape)
    assert one(found, "pnp", type="subscribe")["from"] == PHONE_IP
    assert one(found, "pnp", type="notify") == {
        "type": "notify",
        "from": DHCP_IP,
        "url": "https://...@rogue.example.net/cfg",
    }
    assert one(found, "notify", result="sent")["event"] == "check-sync;reboot=true"
    assert one(found, "notify", result="refused")["status"] == "401"


def test_registration_over_tcp_in_pieces(tmp_path: Path) -> None:
    tape = Tape()
    talk = Talk(tape, port=5060, size=50).open()
    lines = ("To: <sip:1001@p>", "CSeq: 1 REGISTER")
    talk.say("phone", sip("REGISTER sip:p SIP/2.0", *lines))
    talk.say("server", sip("SIP/2.0 200 OK", *lines))
    found = facts(tmp_path, tape)
    assert [each.get("status", "") for each in of(found, "register")] == ["", "200"]


def test_keys_are_counted_and_never_told(tmp_path: Path) -> None:
    tape = Tape()
    for press, digit in enumerate((4, 7, 1)):
        for packet in range(4):
            rtp = struct.pack("!BBHII", 0x80, 101, press * 10 + packet, 1000 + press, 9) + struct.pack(
                "!BBH", digit, 10, 800
            )
            tape.up(ip(PHONE_IP, SERVER_IP, 17, udp(16384, 20000, rtp)))
    told = one(facts(tmp_path, tape), "telephone_event")
    assert told == {"to": SERVER_IP, "keys": "3"}


def test_syslog_without_its_passwords(tmp_path: Path) -> None:
    tape = Tape()
    line = b"<131>Nov 22 10:00:00 VVX411: Server certificate verification failed, admin password=hunter2 url https://x"
    tape.up(ip(PHONE_IP, SERVER_IP, 17, udp(514, 514, line)))
    told = one(facts(tmp_path, tape), "syslog")
    assert told["severity"] == "error" and "verification failed" in told["text"] and "hunter2" not in told["text"]


# --- the network says no ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code", "rest", "told"),
    [
        (3, 13, b"\0\0\0\0", {"code": "admin"}),
        (3, 4, b"\0\0\x05\x78", {"code": "fragmentation", "mtu": "1400"}),
        (3, 3, b"\0\0\0\0", {"code": "port"}),
    ],
)
def test_icmp_names_the_connection(tmp_path: Path, kind: int, code: int, rest: bytes, told: dict[str, str]) -> None:
    tape = Tape()
    Talk(tape).segment("phone", 0x02)
    inner = ip(PHONE_IP, SERVER_IP, 6, tcp(40_000, 443, 1000, 0, 2))[:28]
    tape.down(ip("10.9.9.9", PHONE_IP, 1, bytes([kind, code, 0, 0]) + rest + inner))
    found = one(facts(tmp_path, tape), "unreachable")
    assert found["connection"] == "10.0.0.5:40000>192.0.2.1:443" and found["by"] == "10.9.9.9"
    assert told.items() <= found.items()


def test_icmp_that_is_about_somebody_else(tmp_path: Path) -> None:
    tape = boot()
    inner = ip("10.0.0.77", SERVER_IP, 6, tcp(40_000, 443, 1000, 0, 2))[:28]
    tape.down(ip("10.9.9.9", "10.0.0.77", 1, b"\3\1\0\0\0\0\0\0" + inner))
    assert not of(facts(tmp_path, tape), "unreachable")


def test_fragments_are_not_read_and_that_is_said(tmp_path: Path) -> None:
    tape = boot()
    fragment = bytearray(ip(PHONE_IP, SERVER_IP, 17, b"the end of something"))
    fragment[7] = 0x10
    tape.up(bytes(fragment))
    assert "1 of the phone's packets" in one(facts(tmp_path, tape), "broken")["why"]


def test_too_many_hops(tmp_path: Path) -> None:
    tape = boot()
    inner = ip(PHONE_IP, SERVER_IP, 17, udp(1, 2, b""))
    tape.down(ip("10.9.9.9", PHONE_IP, 1, b"\x0b\0\0\0\0\0\0\0" + inner))
    assert one(facts(tmp_path, tape), "icmp_lost")["code"] == "ttl"
