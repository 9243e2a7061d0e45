"""A canary at every place where a secret can stand in a frame is in nothing that leaves the machine."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wire import (
    DHCP_IP,
    EAP_GROUP,
    PHONE,
    PHONE_IP,
    SERVER_IP,
    SWITCH,
    SYN,
    Talk,
    Tape,
    arp,
    boot,
    dhcp,
    eth,
    ip,
    lldp,
    option,
    question,
    reply,
    tcp,
    tlv,
    udp,
)

from provisioner.capture.course import Course
from provisioner.capture.cutting import cut
from provisioner.capture.eap import Port
from provisioner.capture.exhibits import exhibits
from provisioner.capture.files import of_paths
from provisioner.capture.lines import as_line
from provisioner.capture.links import link_of
from provisioner.cli.main import cli

Put = Callable[[Tape, bytes], None]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
TOKENS = st.text(LETTERS, min_size=22, max_size=40).map(lambda text: f"Zq{text}".encode())
"""As the server makes them."""
TICKETS = st.text(LETTERS[:-2], min_size=7, max_size=16).map(lambda text: f"Zq{text}".encode())
"""Too short to be known by its looks: only its place tells."""
OTHER = "001565000001"


def by_udp(sport: int, dport: int, before: bytes, after: bytes = b"", *, down: bool = True) -> Put:
    def put(tape: Tape, canary: bytes) -> None:
        body = udp(sport, dport, before + canary + after)
        (tape.down if down else tape.up)(ip(*((SERVER_IP, PHONE_IP) if down else (PHONE_IP, SERVER_IP)), 17, body))

    return put


def by_tcp(by: str, before: bytes, after: bytes = b"\r\n\r\n") -> Put:
    def put(tape: Tape, canary: bytes) -> None:
        talk = Talk(tape, port=80).open()
        if by == "server":
            talk.say("phone", b"GET /a.cfg HTTP/1.1\r\nHost: x\r\n\r\n")
        talk.say(by, before + canary + after)
        talk.close()

    return put


def by_dhcp(*numbers: int, before: bytes = b"https://prov.example.net/t/") -> Put:
    def put(tape: Tape, canary: bytes) -> None:
        options = b"".join(option(one, before + canary) for one in numbers)
        packet = dhcp(5, options, op=2, yours=PHONE_IP)
        tape.down(ip(DHCP_IP, PHONE_IP, 17, udp(67, 68, packet)))

    return put


def in_parts(tape: Tape, canary: bytes) -> None:
    """An option split in the middle of the token: RFC 3396."""
    url = b"http://x/t/" + canary
    packet = dhcp(5, option(66, url[:15]), option(66, url[15:]), op=2, yours=PHONE_IP)
    tape.down(ip(DHCP_IP, PHONE_IP, 17, udp(67, 68, packet)))


def in_suboption(tape: Tape, canary: bytes) -> None:
    packet = dhcp(5, option(43, option(1, b"http://x/t/" + canary) + option(2, b"\0\1" + canary)), op=2, yours=PHONE_IP)
    tape.down(ip(DHCP_IP, PHONE_IP, 17, udp(67, 68, packet)))


def in_fixed(name: str) -> Put:
    def put(tape: Tape, canary: bytes) -> None:
        fixed = {name: b"http://x/t/" + canary}
        tape.down(ip(DHCP_IP, PHONE_IP, 17, udp(67, 68, dhcp(5, op=2, yours=PHONE_IP, **fixed))))  # type: ignore[arg-type]  # one of two texts

    return put


def by_dhcp6(tape: Tape, canary: bytes) -> None:
    url = b"https://x/t/" + canary
    body = b"\x07abc" + struct.pack("!HHH", 13, 2, 0) + struct.pack("!HH", 59, len(url)) + url
    tape.down(ip("fe80::1", "fe80::5", 17, udp(547, 546, body)))


def of_tftp(kind: int, before: bytes = b"") -> Put:
    def put(tape: Tape, canary: bytes) -> None:
        tape.up(ip(PHONE_IP, SERVER_IP, 17, udp(2001, 69, b"\0\1/t/" + canary + b"/a.cfg\0octet\0")))
        tape.down(ip(SERVER_IP, PHONE_IP, 17, udp(3001, 2001, struct.pack("!HH", kind, 1) + before + canary)))

    return put


def in_fragment(tape: Tape, canary: bytes) -> None:
    """TFTP with large blocks: the later fragment has no header but that of IP, the first is only half of a datagram."""
    first = bytearray(ip(SERVER_IP, PHONE_IP, 17, udp(3001, 2001, b"\0\3\0\1" + canary + bytes(92))))
    first[6] = 0x20
    rest = bytearray(ip(SERVER_IP, PHONE_IP, 17, b"user.password=" + canary))
    rest[7] = 16
    for one in (first, rest):
        tape.down(bytes(one))


def in_fragment_6(tape: Tape, canary: bytes) -> None:
    for offset, more in ((0, 1), (16, 0)):
        head = struct.pack("!BBHI", 17, 0, offset << 3 | more, 7)
        tape.down(ip("fe80::1", "fe80::5", 44, head + udp(514, 514, b"<3>password=" + canary)))


def of_protocol(number: int, before: bytes = b"\0\0\x08\0") -> Put:
    return lambda tape, canary: tape.down(ip(SERVER_IP, PHONE_IP, number, before + canary))


def of_type(kind: int, before: bytes = b"") -> Put:
    return lambda tape, canary: tape.add(eth(PHONE, SWITCH, kind, before + canary))


def of_eap(method: int, code: int = 2) -> Put:
    def put(tape: Tape, canary: bytes) -> None:
        packet = struct.pack("!BBHB", code, 7, 5 + len(canary), method) + canary
        tape.add(eth(EAP_GROUP, PHONE, 0x888E, struct.pack("!BBH", 1, 0, len(packet)) + packet))

    return put


def behind(tape: Tape, canary: bytes) -> None:
    """Padding of Ethernet, of IP and of ARP: what was in a card's memory before."""
    tape.down(ip(SERVER_IP, PHONE_IP, 17, udp(514, 514, b"<3>x")) + canary)
    tape.add(eth(PHONE, SWITCH, 0x0806, arp(1, SWITCH, DHCP_IP, PHONE_IP) + canary))
    padded = bytearray(udp(514, 514, b"<3>x") + canary)
    tape.down(ip(SERVER_IP, PHONE_IP, 17, bytes(padded)))


def after_tls(tape: Tape, canary: bytes) -> None:
    """The server answers a ClientHello in clear, in two segments; and the same ports are used again without TLS."""
    talk = Talk(tape).open()
    talk.say("phone", b"\x16\x03\x01\0\5hello")
    talk.say("server", b"HTTP/1.1 400 No\r\n\r\n")
    talk.say("server", b"password " + canary)
    talk.say("phone", b"\x15\x03\x01\0\2\2\0" + canary)
    Talk(tape).segment("phone", SYN)
    tape.up(ip(PHONE_IP, SERVER_IP, 6, tcp(40_000, 443, 9, 9, 0x18, canary)))


HEAD = b"HTTP/1.1 200 OK\r\n"
GET = b"GET /a.cfg HTTP/1.1\r\n"
NOTIFY = b"NOTIFY sip:x SIP/2.0\r\nEvent: ua-profile\r\n"
REGISTER = b"REGISTER sip:p SIP/2.0\r\nCSeq: 1 REGISTER\r\n"
AUTHORIZATION = (b"Authorization: ", b"authorization:", b"AUTHORIZATION: Secret ", b"Authorization: Basic\r\n ",
                 b"Proxy-Authorization: Digest username=a,\r\n\tresponse=", b"Cookie: ", b"set-cookie: a=",
                 b"WWW-Authenticate: ", b"www-authenticate: Digest realm=x, nonce=")  # fmt: skip
# Whatever its length and form: its place says that it is one.
HIDDEN: dict[str, Put] = {
    "option 66": by_dhcp(66),
    "options 160 and 43": by_dhcp(160, 43, before=b"http://x/t/"),
    "option of no known kind": by_dhcp(224),
    "option in parts": in_parts,
    "sname": in_fixed("sname"),
    "file": in_fixed("file"),
    "DHCPv6": by_dhcp6,
    "password of option 66": by_dhcp(66, before=b"https://x/a?password="),
    "PnP body": by_udp(5060, 5060, NOTIFY + b"\r\nhttps://prov.example.net/t/", b"/x.cfg"),
    "PnP target": by_udp(5060, 5060, b"NOTIFY sip:a:", b"@x SIP/2.0\r\nEvent: x\r\n\r\n"),
    "SIP message": by_udp(5060, 5060, b"MESSAGE sip:a SIP/2.0\r\n\r\nour number is "),
    "SDP": by_udp(5060, 5060, b"INVITE sip:a SIP/2.0\r\n\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"),
    "Location": by_tcp("server", HEAD + b"Location: https://x/t/", b"/a.cfg\r\n\r\n"),
    "query": by_tcp("phone", b"GET /a?x=", b" HTTP/1.1\r\n\r\n"),
    "body": by_tcp("server", HEAD + b"Content-Length: 90\r\n\r\n"),
    "body behind bare line ends": by_tcp("server", b"HTTP/1.1 200 OK\nA: b\n\n"),
    "cut head": by_tcp("phone", GET + b"X: ", b""),
    "no TLS": after_tls,
    "TFTP data": of_tftp(3),
    "TFTP error": of_tftp(5, b"/t/"),
    "fragments": in_fragment,
    "fragments of IPv6": in_fragment_6,
    "GRE": of_protocol(47, b"\0\0\x88\xbe"),
    "ESP": of_protocol(50),
    "IP in IP": of_protocol(4),
    "ping": of_protocol(1, b"\x08\0\0\0\0\1\0\1"),
    "EtherType": of_type(0x88B5),
    "PPPoE discovery": of_type(0x8863, b"\x11\x09\0\0"),
    "LLC": lambda tape, canary: tape.add(eth(PHONE, SWITCH, 30, b"\x42\x42\x03" + canary)),
    "no IP": of_type(0x0800, b"\0\0"),
    "EAP-MD5": of_eap(4),
    "identity": of_eap(1),
    "no EAP-TLS": of_eap(13),
    "TTLS": of_eap(21),
    "keys of 802.1X": of_type(0x888E, b"\1\3\0\x20"),
    "unknown port": by_udp(7, 40_100, b"hello "),
    "IKE": by_udp(500, 500, b""),
    "no DHCP": by_udp(67, 68, b""),
    "no DNS": by_udp(53, 5300, b""),
    "behind NTP": by_udp(123, 123, b"\x24" + bytes(47)),
    "syslog": by_udp(514, 514, b"<3>password="),
    "syslog URL": by_udp(514, 514, b"<3>got https://x/t/"),
    "padding": behind,
    "TXT": lambda tape, canary: tape.down(ip(DHCP_IP, PHONE_IP, 17, udp(53, 5300, reply("x.y", 16, (16, canary))))),
    **{f"HTTP {one!r}": by_tcp("server" if b"-" in one[:4] else "phone", (HEAD if b"-" in one[:4] else GET) + one)
       for one in AUTHORIZATION},
    **{f"SIP {one!r}": by_udp(5060, 5060, REGISTER + one, b"\r\n\r\n", down=False) for one in AUTHORIZATION},
}  # fmt: skip
# Where only its looks tell.
LOOSE: dict[str, Put] = {
    "suboption": in_suboption,
    "class": by_dhcp(60, before=b""),
    "server's message": by_dhcp(56, before=b"no "),
    "hex option": by_dhcp(125, before=b"\0\1"),
    "User-Agent": by_tcp("phone", GET + b"User-Agent: "),
    "ETag": by_tcp("server", HEAD + b'Content-Length: 0\r\nETag: "', b'"\r\n\r\n'),
    "Content-Type": by_tcp("server", HEAD + b"Content-Length: 0\r\nContent-Type: "),
    "path": by_tcp("phone", b"GET /", b"/a.cfg HTTP/1.1\r\n\r\n"),
    "SIP From": by_udp(5060, 5060, REGISTER + b"From: ", b"\r\n\r\n", down=False),
    "SIP To": by_udp(5060, 5060, REGISTER + b"To: <sip:", b"@x>\r\n\r\n", down=False),
    "Reason": by_udp(5060, 5060, b"SIP/2.0 403 No\r\nCSeq: 1 REGISTER\r\nReason: ", b"\r\n\r\n"),
    "TFTP error": of_tftp(5),
    "syslog": by_udp(514, 514, b"<3>got "),
    "LLDP": lambda tape, canary: tape.add(eth("0180c200000e", SWITCH, 0x88CC, lldp(tlv(127, b"\0\1\2\3 " + canary)))),
}


def leaving(folder: Path, put: Put, canary: bytes) -> bytes:
    """All that the program hands on: the frames cut out, those of the page with their fields, and the facts."""
    tape = Tape()
    tape.up(ip(PHONE_IP, DHCP_IP, 17, udp(5300, 53, question("a.b"))))
    put(tape, canary)
    path = tape.save(folder / "a.pcap")
    assert canary in path.read_bytes() or put is in_parts
    mac = bytes.fromhex(PHONE)
    facts = [as_line(one) for one in Course([path]).facts(mac)]
    cut([path], mac, folder)
    made = folder / f"{PHONE}.pcapng"
    lengths = [len(one.data) for one in of_paths([made])[0].frames()]
    assert set(lengths) <= {len(frame) for _, frame in tape.frames}
    shown = list(exhibits([path], {f"a.pcap frame {number}" for number in range(1, len(tape.frames) + 1)}))
    assert len(shown) == len(tape.frames)
    hexes = b"".join(bytes.fromhex(str(one["hex"])) for one in shown)
    return made.read_bytes() + hexes + json.dumps([facts, shown]).encode()


@pytest.mark.parametrize("place", sorted(HIDDEN))
@settings(max_examples=3)
@given(canary=TICKETS)
@example(canary=b"Zq0000000000")  # as long as the header of DNS
def test_its_place_is_enough(tmp_path_factory: pytest.TempPathFactory, place: str, canary: bytes) -> None:
    told = leaving(tmp_path_factory.mktemp("x"), HIDDEN[place], canary)
    assert canary not in told and canary.hex().encode() not in told


@pytest.mark.parametrize("place", sorted(HIDDEN | LOOSE))
@settings(max_examples=3)
@given(canary=TOKENS)
def test_its_looks_are_enough(tmp_path_factory: pytest.TempPathFactory, place: str, canary: bytes) -> None:
    told = leaving(tmp_path_factory.mktemp("x"), (LOOSE | HIDDEN)[place], canary)
    assert canary not in told and canary.hex().encode() not in told


def test_two_etags_stay_two(tmp_path: Path) -> None:
    tape, put = Tape(), LOOSE["ETag"]
    for one in (b"a" * 32, b"b" * 32, b"a" * 32):
        put(tape, one)
    found = Course([tape.save(tmp_path / "a.pcap")]).facts(bytes.fromhex(PHONE))
    tags = [one.values["etag"] for one in found if one.kind == "answer"]
    assert tags[0] == tags[2] != tags[1]


def test_what_polycom_calls_its_phones_is_no_token(tmp_path: Path) -> None:
    tape = Tape()
    LOOSE["User-Agent"](tape, b"FileTransport PolycomSoundPointIP-SPIP_670-UA/4.0.8")
    (told,) = [
        one for one in Course([tape.save(tmp_path / "a.pcap")]).facts(bytes.fromhex(PHONE)) if one.kind == "request"
    ]
    assert told.values["user_agent"] == "FileTransport PolycomSoundPointIP-SPIP_670-UA/4.0.8"


def eapol(dst: str, src: str, code: int, data: bytes = b"\1") -> bytes:
    packet = struct.pack("!BBH", code, 1, 4 + len(data)) + data
    return eth(dst, src, 0x888E, struct.pack("!BBH", 1, 0, len(packet)) + packet)


def test_of_another_phone_on_the_wire_no_802_1x_is_taken() -> None:
    port, said = Port(bytes.fromhex(PHONE)), []
    for frame in (
        eapol(EAP_GROUP, SWITCH, 1),
        eapol(EAP_GROUP, PHONE, 2),
        eapol(EAP_GROUP, SWITCH, 3, b""),
        eapol(EAP_GROUP, OTHER, 2),
        eapol(EAP_GROUP, SWITCH, 1),
        eapol(PHONE, SWITCH, 1),
        eth(EAP_GROUP, SWITCH, 0x888E, b"\1\3\0\0"),
    ):
        link = link_of(1, frame)
        assert link is not None
        said.append(port.concerns(frame[link.start :], link))
    assert said == [True, True, True, False, False, True, False]


def test_others_802_1x_is_not_cut_out(tmp_path: Path) -> None:
    tape = Tape()
    tape.add(eapol(EAP_GROUP, PHONE, 2))
    tape.add(eapol(EAP_GROUP, OTHER, 2))
    tape.add(eapol(EAP_GROUP, SWITCH, 4, b""))
    cut([tape.save(tmp_path / "a.pcap")], bytes.fromhex(PHONE), tmp_path)
    kept = [one.data for one in of_paths([tmp_path / f"{PHONE}.pcapng"])[0].frames()]
    assert [one[6:12].hex() for one in kept] == [PHONE]


def test_the_bundle_with_its_page_has_none(tmp_path: Path) -> None:
    """By the command line, everything at once."""
    tape, canary = boot(), b"Zq5_hKx-7RtLw2PnYc8VmB4d"
    for put in (LOOSE | HIDDEN).values():
        put(tape, canary)
    path, out = tape.save(tmp_path / "a.pcap"), tmp_path / "out"
    words = ["--data", str(tmp_path), "capture", "bundle", PHONE, str(path), "--into", str(out)]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    names = {one.name for one in out.iterdir()}
    assert names == {f"{PHONE}.pcapng", "verdict.json", "facts.jsonl", "report.html"}
    whole = b"".join(one.read_bytes() for one in out.iterdir()) + done.output.encode()
    assert canary not in whole and canary.hex().encode() not in whole.replace(b" ", b"").replace(b"\n", b"")
