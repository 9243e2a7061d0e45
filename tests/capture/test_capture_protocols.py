"""Link and addresses of a boot, from frames made byte by byte: LLDP, CDP, 802.1X, DHCP and who else has the address."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from read_here import facts, of, one
from wire import (
    BROADCAST,
    CDP_GROUP,
    DHCP_IP,
    EAP_GROUP,
    LLDP_GROUP,
    PHONE,
    PHONE_IP,
    ROUTER,
    SERVER_IP,
    SWITCH,
    Tape,
    arp,
    boot,
    dhcp,
    eth,
    ip,
    lldp,
    med_policy,
    option,
    question,
    tlv,
    udp,
)

V6, ROUTER_V6 = "fe80::204:f2ff:feaa:bbcc", "fe80::1"


def given(tmp_path: Path, *options: bytes, kind: int = 5, **more: bytes) -> dict[str, str]:
    """One lease of the phone's."""
    tape = Tape()
    tape.down(ip(DHCP_IP, PHONE_IP, 17, udp(67, 68, dhcp(kind, *options, yours=PHONE_IP, op=2, **more))))
    return one(facts(tmp_path, tape), "dhcp")


def test_a_whole_boot(tmp_path: Path) -> None:
    found = facts(tmp_path, boot())
    assert one(found, "vlan_offered") == {"vlan": "120", "tagged": "yes", "by": "lldp", "dscp": "46"}
    assert one(found, "dhcp", type="discover")["vendor_class"] == "Polycom-VVX411"
    lease = one(found, "dhcp", type="ack")
    assert lease["option_160"] == "http://prov.example.net/" and lease["router"] == "10.0.0.1"
    assert (lease["lease"], lease["address"], lease["server"]) == ("3600", PHONE_IP, DHCP_IP)
    assert one(found, "dns", type="answer")["addresses"] == SERVER_IP
    assert one(found, "request")["file"] == "0004f2aabbcc.cfg"
    answer = one(found, "answer")
    assert (answer["status"], answer["bytes"], answer["complete"]) == ("200", "4000", "yes")
    assert one(found, "closed")["by"] == "phone"
    assert not of(found, "broken") and not of(found, "stalled") and not of(found, "retransmitted")
    assert [fact.at for fact in found] == sorted(fact.at for fact in found)


# --- link ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "sender", "told"),
    [
        ((med_policy(120),), SWITCH, [("vlan_offered", "120")]),
        ((med_policy(120, tagged=False),), SWITCH, [("vlan_offered", "120")]),
        ((med_policy(120, use=2),), SWITCH, [("vlan_offered", "")]),  # of signalling alone
        ((), SWITCH, [("vlan_offered", "")]),
        ((med_policy(9),), PHONE, [("vlan_used", "9")]),
        ((), PHONE, []),
    ],
)
def test_lldp(tmp_path: Path, extra: tuple[bytes, ...], sender: str, told: list[tuple[str, str]]) -> None:
    tape = Tape()
    tape.add(eth(LLDP_GROUP, sender, 0x88CC, lldp(*extra)))
    found = facts(tmp_path, tape)
    assert [(fact.kind, fact.values["vlan"]) for fact in found if fact.kind.startswith("vlan_")] == told
    assert one(found, "discovery")["port"] == "Gi1/0/7"


def test_a_computer_behind_the_phone_is_no_switch_without_a_policy(tmp_path: Path) -> None:
    tape = Tape()
    tape.add(eth(LLDP_GROUP, "020000000055", 0x88CC, lldp(tlv(7, b"\x00\x80\x00\x80"), system=b"pc")))
    tape.add(eth(LLDP_GROUP, SWITCH, 0x88CC, lldp(tlv(7, b"\x00\x14\x00\x04"), med_policy(120))))
    found = facts(tmp_path, tape)
    assert [each["sender"] for each in of(found, "discovery")] == ["other", "switch"]
    assert one(found, "vlan_offered")["vlan"] == "120"


def test_lldp_says_what_the_phone_is(tmp_path: Path) -> None:
    tape = Tape()
    inventory = [tlv(127, b"\x00\x12\xbb" + bytes([kind]) + text) for kind, text in ((10, b"VVX 411"), (8, b"64167F"))]
    tape.add(eth(LLDP_GROUP, PHONE, 0x88CC, lldp(*inventory)))
    told = one(facts(tmp_path, tape), "discovery")
    assert (told["model"], told["serial"], told["sender"]) == ("VVX 411", "64167F", "phone")


def test_a_malformed_lldp_frame_is_reported_and_nothing_else_is_lost(tmp_path: Path) -> None:
    tape = Tape()
    tape.add(eth(LLDP_GROUP, SWITCH, 0x88CC, tlv(1, b"\x04") + tlv(8, b"\xff\x01\x02\x03\x09\xff\xff") + b"\xfe\xff"))
    boot(tape)
    found = facts(tmp_path, tape)
    assert one(found, "answer")["status"] == "200"
    assert all("frame 1" in fact.ref for fact in found if fact.kind == "broken")


def test_cdp(tmp_path: Path) -> None:
    def part(kind: int, value: bytes) -> bytes:
        return struct.pack("!HH", kind, len(value) + 4) + value

    body = b"\x02\xb4\0\0" + part(1, b"sw-9") + part(3, b"Fa0/4") + part(0x0E, b"\x01" + struct.pack("!H", 130))
    snap = b"\xaa\xaa\x03\x00\x00\x0c\x20\x00" + body
    tape = Tape()
    tape.add(bytes.fromhex(CDP_GROUP + SWITCH) + struct.pack("!H", len(snap)) + snap)
    found = facts(tmp_path, tape)
    assert one(found, "vlan_offered")["vlan"] == "130"
    assert one(found, "discovery")["name"] == "sw-9"


@pytest.mark.parametrize(("vlans", "told"), [((), "0"), ((120,), "120"), ((7, 130), "130")])
def test_the_vlan_in_which_the_phone_speaks(tmp_path: Path, vlans: tuple[int, ...], told: str) -> None:
    tape = Tape()
    tape.up(ip(PHONE_IP, DHCP_IP, 17, udp(5300, 53, question("a.example"))), 0.01, *vlans)
    found = facts(tmp_path, tape)
    assert one(found, "frame")["vlan"] == told
    assert one(found, "vlan_used") == {"vlan": told, "by": "frames"}
    assert one(found, "dns")["name"] == "a.example"


def test_a_phone_that_never_speaks(tmp_path: Path) -> None:
    tape = Tape()
    tape.add(eth(LLDP_GROUP, SWITCH, 0x88CC, lldp(med_policy(120))))
    assert one(facts(tmp_path, tape), "frame") == {"silent": "yes"}


def test_8021x_and_the_handshake_inside_it(tmp_path: Path) -> None:
    """A ClientHello in three fragments, one of them sent twice."""
    hello = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\xc0\x2f" + b"\x01\0" + b"\0\0"
    record = b"\x16\x03\x01" + struct.pack("!H", len(hello) + 4) + b"\x01" + len(hello).to_bytes(3, "big") + hello
    third = len(record) // 3
    parts = [record[:third], record[third : 2 * third], record[2 * third :]]
    tape = Tape()

    def eap(src: str, code: int, ident: int, body: bytes) -> None:
        packet = struct.pack("!BBH", code, ident, 4 + len(body)) + body
        tape.add(eth(EAP_GROUP, src, 0x888E, struct.pack("!BBH", 1, 0, len(packet)) + packet))

    eap(SWITCH, 1, 1, b"\x01")
    eap(PHONE, 2, 1, b"\x01phone")
    eap(SWITCH, 1, 2, b"\x0d\x20")
    eap(PHONE, 2, 3, b"\x0d\xc0" + struct.pack("!I", len(record)) + parts[0])
    eap(PHONE, 2, 3, b"\x0d\xc0" + struct.pack("!I", len(record)) + parts[0])
    eap(PHONE, 2, 4, b"\x0d\x40" + parts[1])
    eap(PHONE, 2, 5, b"\x0d\x00" + parts[2])
    eap(SWITCH, 4, 5, b"")
    found = facts(tmp_path, tape)
    assert one(found, "hello")["suites"] == "ECDHE-RSA-AES128-GCM-SHA256"
    assert one(found, "hello")["connection"] == "802.1X"
    assert one(found, "eap", code="failure")["by"] == "server"
    assert len(of(found, "eap", method="tls", by="phone")) == 4


# --- addresses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((option(66, b"https://prov.example.net/\0"),), {"option_66": "https://prov.example.net/"}),
        ((option(66, b"https://ada:geheim@prov.example.net/"),), {"option_66": "https://...@prov.example.net/"}),
        ((option(160, b"https://prov.exam"), option(160, b"ple.net/")), {"option_160": "https://prov.example.net/"}),
        ((option(150, bytes([10, 0, 0, 9, 10, 0, 0, 8])),), {"option_150": "10.0.0.9,10.0.0.8"}),
        ((option(150, b"tftp.example.net"),), {"option_150": "tftp.example.net"}),
        ((option(128, b"VLAN-A:120;"),), {"option_128": "VLAN-A:120;"}),
        ((option(43, b"\x01\x08http://x\x02\x01\x07"),), {"option_43": "1=http://x 2=07"}),
        ((option(43, b"https://plain.example.net"),), {"option_43": "https://plain.example.net"}),
        ((option(125, b"\0\0\x19\xd4\x05\x01\x03abc"),), {"option_125": "enterprise 6612: 1=abc"}),
        (
            (option(159, b"https://a"), option(161, b"https://b")),
            {"option_159": "https://a", "option_161": "https://b"},
        ),
        ((option(3, b"\x0a\0\0\1"),), {"router": "10.0.0.1"}),
        ((), {"router": ""}),
    ],
)
def test_dhcp_options(tmp_path: Path, options: tuple[bytes, ...], told: dict[str, str]) -> None:
    assert told.items() <= given(tmp_path, *options).items()


def test_dhcp_options_where_names_and_files_are(tmp_path: Path) -> None:
    """Overload: RFC 2131 section 4.1."""
    found = given(
        tmp_path, option(52, b"\x03"), file=option(67, b"boot.cfg") + b"\xff", sname=option(66, b"srv") + b"\xff"
    )
    assert (found["option_67"], found["option_66"], found["overload"]) == ("boot.cfg", "srv", "yes")
    assert "sname" not in found and "file" not in found
    plain = given(tmp_path, file=b"old.cfg", sname=b"tftp")
    assert (plain["file"], plain["sname"]) == ("old.cfg", "tftp")


@pytest.mark.parametrize(
    ("value", "vlan"), [(b"120", "120"), (b"VLAN-A=7;", "7"), (b"\0\x78", "120"), (b"0", ""), (b"", "")]
)
def test_a_vlan_by_dhcp(tmp_path: Path, value: bytes, vlan: str) -> None:
    tape = Tape()
    lease = dhcp(5, option(132, value), yours=PHONE_IP, op=2)
    tape.down(ip(DHCP_IP, PHONE_IP, 17, udp(67, 68, lease)))
    assert [each["vlan"] for each in of(facts(tmp_path, tape), "vlan_offered")] == ([vlan] if vlan else [])


def test_who_speaks_is_told_behind_a_relay_too(tmp_path: Path) -> None:
    tape = Tape(phone="020000000011")
    tape.up(ip("10.0.0.1", "10.9.9.9", 17, udp(67, 67, dhcp(1))))
    tape.down(ip("10.9.9.9", "10.0.0.1", 17, udp(67, 67, dhcp(2, op=2))))
    assert [(each["type"], each["sender"]) for each in of(facts(tmp_path, tape), "dhcp")] == [
        ("discover", "phone"), ("offer", "server"),
    ]  # fmt: skip


def test_dhcp_of_another_phone_is_not_ours(tmp_path: Path) -> None:
    tape = boot()
    other = dhcp(1, mac="0004f2000001")
    tape.add(eth(BROADCAST, "0004f2000001", 0x0800, ip("0.0.0.0", "255.255.255.255", 17, udp(68, 67, other))))
    assert len(of(facts(tmp_path, tape), "dhcp", type="discover")) == 1


def test_dhcp6_out_of_a_relays_wrapping(tmp_path: Path) -> None:
    def opt(code: int, value: bytes) -> bytes:
        return struct.pack("!HH", code, len(value)) + value

    address = opt(5, bytes.fromhex("20010db8") + bytes(11) + b"\x09" + bytes(8))
    inner = b"\x07\0\0\1" + opt(3, bytes(12) + address) + opt(59, b"https://u:p@boot.example.net/x")
    inner += opt(17, struct.pack("!I", 13885) + opt(1, b"https://v"))
    tape = Tape()
    tape.down(ip(ROUTER_V6, V6, 17, udp(547, 546, b"\x0d\0" + bytes(32) + opt(9, inner))))
    tape.up(ip(V6, "ff02::1:2", 17, udp(546, 547, b"\x01\0\0\1" + opt(6, b"\0\x3b"))))
    found = facts(tmp_path, tape)
    lease = one(found, "dhcp", type="ack")
    assert (lease["version"], lease["address"]) == ("6", "2001:db8::9")
    assert lease["option_59"] == "https://...@boot.example.net/x"
    assert lease["option_17"] == "enterprise 13885: 1=https://v"
    assert one(found, "dhcp", type="discover")["asked"] == "59"


def test_somebody_else_has_the_address(tmp_path: Path) -> None:
    tape = Tape()
    tape.add(eth(BROADCAST, PHONE, 0x0806, arp(1, PHONE, "0.0.0.0", PHONE_IP)))
    tape.add(eth(PHONE, "020000000099", 0x0806, arp(2, "020000000099", PHONE_IP, PHONE_IP)))
    tape.add(eth(PHONE, "020000000099", 0x0806, arp(2, "020000000099", PHONE_IP, PHONE_IP)))
    assert one(facts(tmp_path, tape), "address_conflict") == {"address": PHONE_IP, "holder": "020000000099"}


def test_the_router_is_no_conflict(tmp_path: Path) -> None:
    tape = Tape()
    tape.add(eth(BROADCAST, PHONE, 0x0806, arp(1, PHONE, PHONE_IP, DHCP_IP)))
    tape.add(eth(PHONE, ROUTER, 0x0806, arp(2, ROUTER, DHCP_IP, PHONE_IP)))
    assert not of(facts(tmp_path, tape), "address_conflict")


def test_an_ipv6_address_that_is_taken(tmp_path: Path) -> None:
    tape = Tape()
    target = bytes.fromhex("fe80") + bytes(13) + b"\x07"
    tape.up(ip("::", "ff02::1:ff00:7", 58, b"\x87\0\0\0" + bytes(4) + target, 255))
    tape.down(ip("fe80::7", "ff02::1", 58, b"\x88\0\0\0" + b"\x20\0\0\0" + target, 255))
    assert one(facts(tmp_path, tape), "address_conflict")["address"] == "fe80::7"
