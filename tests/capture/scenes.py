"""Failures of a boot, each as a capture: played here once and kept in tests/captures, with what must be told of it.

`python tests/capture/scenes.py` plays those that are not kept yet; one that is kept is never played again.
"""

from __future__ import annotations

import json
import ssl
import struct
from collections.abc import Callable
from pathlib import Path

import trustme
from wire import (
    ACK,
    BROADCAST,
    DHCP_IP,
    EAP_GROUP,
    FIN,
    LLDP_GROUP,
    PHONE,
    PHONE_IP,
    PUSH,
    RST,
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
    med_policy,
    option,
    question,
    reply,
    spoken,
    tcp,
    udp,
)

KEPT = Path(__file__).resolve().parents[1] / "captures"
GET = b"GET /0004f2aabbcc.cfg HTTP/1.1\r\nHost: prov.example.net\r\nUser-Agent: PolyVVX-VVX_411-UA/6.4\r\n\r\n"
OLD, NEW = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def asks(tape: Tape) -> None:
    asked = option(55, bytes([1, 3, 6, 42, 66, 160])) + option(60, b"Polycom-VVX411")
    tape.add(
        eth(BROADCAST, PHONE, 0x0800, ip("0.0.0.0", "255.255.255.255", 17, udp(68, 67, dhcp(1, asked))), *tape.tags)
    )


def offers(tape: Tape, kind: int, url: bytes, server: int = 1) -> None:
    given = b"".join(option(one, bytes([10, 0, 0, server])) for one in (54, 3, 6)) + option(51, b"\0\0\x0e\x10")
    lease = dhcp(kind, given, option(160, url), yours=PHONE_IP, op=2)
    tape.down(ip(f"10.0.0.{server}", PHONE_IP, 17, udp(67, 68, lease)))


def up_to_address() -> Tape:
    tape = Tape(tags=(120,))
    tape.add(eth(LLDP_GROUP, SWITCH, 0x88CC, lldp(med_policy(120))))
    asks(tape)
    for kind in (2, 5):
        offers(tape, kind, b"https://prov.example.net/")
    return tape


def up_to_name() -> Tape:
    tape = up_to_address()
    tape.up(ip(PHONE_IP, DHCP_IP, 17, udp(5300, 53, question("prov.example.net"))))
    tape.down(ip(DHCP_IP, PHONE_IP, 17, udp(53, 5300, reply("prov.example.net", 1, (1, bytes([192, 0, 2, 1]))))))
    return tape


def came_up() -> Tape:
    return boot(Tape(tags=(120,)))


def no_offer() -> Tape:
    tape = Tape(tags=(120,))
    tape.add(eth(LLDP_GROUP, SWITCH, 0x88CC, lldp(med_policy(120))))
    for _ in range(4):
        asks(tape)
        tape.now += 4
    return tape


def dot1x_failure() -> Tape:
    tape = Tape(tags=(120,))
    for src, packet in ((SWITCH, b"\1\1\0\5\1"), (PHONE, b"\2\1\0\x0a\1phone"), (SWITCH, b"\4\1\0\4")):
        tape.add(eth(EAP_GROUP, src, 0x888E, struct.pack("!BBH", 1, 0, len(packet)) + packet))
    return tape


def address_taken() -> Tape:
    tape = up_to_address()
    tape.add(eth(BROADCAST, PHONE, 0x0806, arp(1, PHONE, "0.0.0.0", PHONE_IP), *tape.tags))
    tape.add(eth(PHONE, "020000000099", 0x0806, arp(2, "020000000099", PHONE_IP, PHONE_IP), *tape.tags))
    decline = dhcp(4, option(50, bytes([10, 0, 0, 5])))
    tape.add(eth(BROADCAST, PHONE, 0x0800, ip("0.0.0.0", "255.255.255.255", 17, udp(68, 67, decline)), *tape.tags))
    return tape


def two_dhcp_servers() -> Tape:
    tape = Tape(tags=(120,))
    asks(tape)
    offers(tape, 2, b"https://prov.example.net/")
    offers(tape, 2, b"http://192.168.1.1/", server=254)
    return tape


def no_such_name() -> Tape:
    tape = up_to_address()
    tape.up(ip(PHONE_IP, DHCP_IP, 17, udp(5300, 53, question("prov.example.net"))))
    tape.down(ip(DHCP_IP, PHONE_IP, 17, udp(53, 5300, reply("prov.example.net", 1, rcode=3))))
    return tape


def no_answer_of_dns() -> Tape:
    tape = up_to_address()
    for wait in (0.1, 2, 4, 8):
        tape.up(ip(PHONE_IP, DHCP_IP, 17, udp(5300, 53, question("prov.example.net"))), wait)
    asks(tape)
    return tape


def syn_only() -> Tape:
    tape = up_to_name()
    for wait in (0.1, 1, 2, 4, 8):
        Talk(tape).segment("phone", SYN, after=wait)
    return tape


def port_closed() -> Tape:
    tape = up_to_name()
    talk = Talk(tape)
    talk.segment("phone", SYN)
    talk.segment("server", RST | ACK)
    return tape


def forbidden_on_the_way() -> Tape:
    tape = up_to_name()
    Talk(tape).segment("phone", SYN)
    inner = ip(PHONE_IP, SERVER_IP, 6, tcp(40_000, 443, 1000, 0, 2))[:28]
    tape.down(ip("10.9.9.9", PHONE_IP, 1, b"\x03\x0d\0\0\0\0\0\0" + inner))
    return tape


def hello() -> bytes:
    return next(data for _, data in handshake(OLD))


def large_packets_lost() -> Tape:
    tape = up_to_name()
    talk = Talk(tape).open()
    talk.say("phone", hello())
    begin = talk.seqs["server"]
    talk.segment("server", PUSH, bytes(200), seq=begin + 1448)
    sack = struct.pack("!BBII", 5, 10, begin + 1448, begin + 1648)
    for wait in (1, 2, 4):
        talk.segment("phone", ACK, options=sack, after=wait)
    return tape


def reset_on_the_way() -> Tape:
    tape = up_to_name()
    talk = Talk(tape).open()
    talk.say("phone", hello())
    talk.segment("server", RST, ttl=250)
    return tape


def server_is_silent() -> Tape:
    tape = up_to_name()
    talk = Talk(tape).open()
    talk.say("phone", hello())
    talk.segment("phone", FIN | ACK, after=30)
    return tape


def http_on_the_port() -> Tape:
    tape = up_to_name()
    talk = Talk(tape).open()
    talk.say("phone", hello())
    talk.say("server", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    talk.close("server")
    return tape


def handshake(version: ssl.TLSVersion, *, phone: str = "good", trusts: bool = True) -> list[tuple[str, bytes]]:
    ca, factory = trustme.CA(), trustme.CA()
    strangers = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.create_child_ca().issue_cert("prov.example.net").configure_cert(server)
    factory.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    server.minimum_version = server.maximum_version = version
    if trusts:
        ca.configure_trust(client)
    if phone != "none":
        maker = (factory if phone == "good" else strangers).create_child_ca()
        maker.issue_cert(common_name="0004F2AABBCC").configure_cert(client)
    return list(spoken(client, server, request=GET, answer=b"HTTP/1.1 200 OK\r\n\r\n"))


def over_tls(version: ssl.TLSVersion, closed: str, phone: str = "good", *, trusts: bool = True) -> Callable[[], Tape]:
    def play() -> Tape:
        tape = up_to_name()
        Talk(tape).open().flow(handshake(version, phone=phone, trusts=trusts)).close(closed)
        return tape

    return play


def over_http(*answers: bytes) -> Callable[[], Tape]:
    def play() -> Tape:
        tape = up_to_name()
        for number, answer in enumerate(answers):
            Talk(tape, port=80, sport=40_000 + number).open().flow([("phone", GET), ("server", answer)]).close("server")
        return tape

    return play


def empty(status: str, *lines: str) -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", *lines, "Content-Length: 0", "Connection: close", "", "")).encode()


def tftp_file_missing() -> Tape:
    tape = up_to_name()
    tape.up(ip(PHONE_IP, SERVER_IP, 17, udp(2001, 69, b"\0\x010004f2aabbcc.cfg\0octet\0")))
    tape.down(ip(SERVER_IP, PHONE_IP, 17, udp(40_001, 2001, b"\0\5\0\1File not found\0")))
    return tape


def line_refused() -> Tape:
    tape = boot(Tape(tags=(120,)))
    head = ("To: <sip:1001@pbx.example.net>", "CSeq: 1 REGISTER", "Content-Length: 0", "", "")
    for first, up in (("REGISTER sip:pbx.example.net SIP/2.0", True), ("SIP/2.0 403 Forbidden", False)):
        data = "\r\n".join((first, *head)).encode()
        ends = (PHONE_IP, SERVER_IP) if up else (SERVER_IP, PHONE_IP)
        (tape.up if up else tape.down)(ip(*ends, 17, udp(5060, 5060, data)))
    return tape


SCENES: dict[str, Callable[[], Tape]] = {
    "came_up": came_up,
    "dot1x_failure": dot1x_failure,
    "no_offer": no_offer,
    "address_taken": address_taken,
    "two_dhcp_servers": two_dhcp_servers,
    "no_such_name": no_such_name,
    "no_answer_of_dns": no_answer_of_dns,
    "syn_only": syn_only,
    "port_closed": port_closed,
    "forbidden_on_the_way": forbidden_on_the_way,
    "large_packets_lost": large_packets_lost,
    "reset_on_the_way": reset_on_the_way,
    "server_is_silent": server_is_silent,
    "http_on_the_port": http_on_the_port,
    "phone_refuses_12": over_tls(OLD, "phone", trusts=False),
    "phone_refuses_13": over_tls(NEW, "phone", trusts=False),
    "server_refuses_12": over_tls(OLD, "server", "stranger"),
    "server_refuses_13": over_tls(NEW, "server", "stranger"),
    "no_certificate_12": over_tls(OLD, "server", "none"),
    "no_certificate_13": over_tls(NEW, "server", "none"),
    "captive_portal": over_http(empty("302 Found", "Location: http://login.example.com/")),
    "wants_a_password": over_http(*[empty("401 Unauthorized", "WWW-Authenticate: Digest realm=x")] * 3),
    "file_missing": over_http(*[empty("404 Not Found")] * 3),
    "file_is_short": over_http(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n<config>"),
    "server_is_busy": over_http(empty("503 Service Unavailable", "Retry-After: 30")),
    "tftp_file_missing": tftp_file_missing,
    "line_refused": line_refused,
}


def main() -> None:
    """Play what is not kept yet; the row of the catalogue that it must be is written by hand."""
    KEPT.mkdir(exist_ok=True)
    rows = json.loads((KEPT / "rows.json").read_text()) if (KEPT / "rows.json").exists() else {}
    for name, play in SCENES.items():
        if not (KEPT / f"{name}.pcap").exists():
            play().save(KEPT / f"{name}.pcap")
        rows.setdefault(name, None)
    (KEPT / "rows.json").write_text(json.dumps(rows, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
