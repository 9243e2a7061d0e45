"""Frames made by hand, and conversations in them: what a phone, its switch and its servers say, byte by byte."""

from __future__ import annotations

import ipaddress
import ssl
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

PHONE, ROUTER, SWITCH = "0004f2aabbcc", "020000000001", "020000000002"
BROADCAST, LLDP_GROUP, CDP_GROUP, EAP_GROUP = "ffffffffffff", "0180c200000e", "01000ccccccc", "0180c2000003"
PHONE_IP, SERVER_IP, DHCP_IP = "10.0.0.5", "192.0.2.1", "10.0.0.1"
SYN, ACK, FIN, RST, PUSH = 0x02, 0x10, 0x01, 0x04, 0x18
BEGIN = 1_700_000_000.0


def eth(dst: str, src: str, kind: int, body: bytes, *vlans: int) -> bytes:
    tags = b"".join(struct.pack("!HH", 0x88A8 if len(vlans) > 1 and n == 0 else 0x8100, v) for n, v in enumerate(vlans))
    return bytes.fromhex(dst) + bytes.fromhex(src) + tags + struct.pack("!H", kind) + body


def ip(src: str, dst: str, protocol: int, body: bytes, ttl: int = 64, ident: int = 1) -> bytes:
    ends = [ipaddress.ip_address(one).packed for one in (src, dst)]
    if len(ends[0]) == 16:
        return struct.pack("!IHBB", 6 << 28, len(body), protocol, ttl) + ends[0] + ends[1] + body
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), ident, 0, ttl, protocol, 0) + ends[0] + ends[1] + body


def udp(sport: int, dport: int, body: bytes) -> bytes:
    return struct.pack("!HHHH", sport, dport, 8 + len(body), 0) + body


def tcp(sport: int, dport: int, seq: int, ack: int, flags: int, body: bytes = b"", options: bytes = b"") -> bytes:
    options += b"\x01" * (-len(options) % 4)
    size = (20 + len(options)) << 2
    return struct.pack("!HHIIBBHHH", sport, dport, seq % 2**32, ack % 2**32, size, flags, 8192, 0, 0) + options + body


def told(text: str) -> None:
    """For whoever runs the tests: what was measured, and what could not be tried here."""
    sys.stderr.write(f"{text}\n")


@dataclass
class Tape:
    """A capture that grows; time goes on by a hundredth with each frame unless it is said otherwise."""

    now: float = BEGIN
    frames: list[tuple[float, bytes]] = field(default_factory=list)
    router: str = ROUTER
    phone: str = PHONE
    tags: tuple[int, ...] = ()
    """VLANs in which all that has an IP packet goes."""

    def add(self, frame: bytes, after: float = 0.01) -> None:
        self.now += after
        self.frames.append((self.now, frame))

    def up(self, packet: bytes, after: float = 0.01, *vlans: int) -> None:
        """From the phone."""
        kind = 0x86DD if packet[0] >> 4 == 6 else 0x0800
        self.add(eth(self.router, self.phone, kind, packet, *(vlans or self.tags)), after)

    def down(self, packet: bytes, after: float = 0.01, *vlans: int) -> None:
        """To the phone."""
        kind = 0x86DD if packet[0] >> 4 == 6 else 0x0800
        self.add(eth(self.phone, self.router, kind, packet, *(vlans or self.tags)), after)

    def save(self, path: Path, *, link: int = 1, order: str = "<", nano: bool = False, snap: int = 0) -> Path:
        path.write_bytes(pcap(self.frames, link=link, order=order, nano=nano, snap=snap))
        return path


def pcap(
    frames: Iterable[tuple[float, bytes]], *, link: int = 1, order: str = "<", nano: bool = False, snap: int = 0
) -> bytes:
    magic, units = (0xA1B23C4D, 10**9) if nano else (0xA1B2C3D4, 10**6)
    made = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, link)]
    for at, data in frames:
        kept = data[:snap] if snap else data
        part = round(at % 1 * units)
        made.append(struct.pack(order + "IIII", int(at) + part // units, part % units, len(kept), len(data)) + kept)
    return b"".join(made)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link: int = 1, resolution: int | None = None, offset: int | None = None, order: str = "<") -> bytes:
    options = b""
    if resolution is not None:
        options += struct.pack(order + "HHB3x", 9, 1, resolution)
    if offset is not None:
        options += struct.pack(order + "HHq", 14, 8, offset)
    return block(1, struct.pack(order + "HHI", link, 0, 262144) + options + bytes(4), order)


def packet(ticks: int, data: bytes, place: int = 0, order: str = "<") -> bytes:
    head = struct.pack(order + "IIIII", place, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    return block(6, head + data, order)


def statistics(dropped: int, place: int = 0, order: str = "<") -> bytes:
    return block(5, struct.pack(order + "IIIHHQI", place, 0, 0, 5, 8, dropped, 0), order)


# --- conversations ---------------------------------------------------------------------------------


@dataclass
class Talk:
    """One TCP connection of the phone's; says its bytes in segments of `size`."""

    tape: Tape
    server: str = SERVER_IP
    port: int = 443
    sport: int = 40_000
    phone: str = PHONE_IP
    size: int = 1448
    ttl: int = 60
    seqs: dict[str, int] = field(default_factory=lambda: {"phone": 1000, "server": 9000})
    ident: int = 100

    def segment(self, by: str, flags: int, body: bytes = b"", *, seq: int | None = None, ttl: int | None = None,
                after: float = 0.01, options: bytes = b"") -> None:  # fmt: skip
        other = "server" if by == "phone" else "phone"
        self.ident += 1
        seq = self.seqs[by] if seq is None else seq
        ports = (self.sport, self.port) if by == "phone" else (self.port, self.sport)
        ends = (self.phone, self.server) if by == "phone" else (self.server, self.phone)
        made = tcp(*ports, seq, self.seqs[other] if flags & ACK else 0, flags, body, options)
        hops = ttl or (64 if by == "phone" else self.ttl)
        (self.tape.up if by == "phone" else self.tape.down)(ip(*ends, 6, made, hops, self.ident), after)

    def open(self) -> Talk:
        self.segment("phone", SYN)
        self.seqs["phone"] += 1
        self.segment("server", SYN | ACK)
        self.seqs["server"] += 1
        self.segment("phone", ACK)
        return self

    def say(self, by: str, data: bytes, after: float = 0.01) -> None:
        for at in range(0, len(data), self.size):
            piece = data[at : at + self.size]
            self.segment(by, PUSH, piece, after=after)
            self.seqs[by] += len(piece)
        self.segment("server" if by == "phone" else "phone", ACK)

    def close(self, by: str = "phone") -> None:
        other = "server" if by == "phone" else "phone"
        for one in (by, other):
            self.segment(one, FIN | ACK)
            self.seqs[one] += 1
        self.segment(by, ACK)

    def flow(self, turns: Iterable[tuple[str, bytes]]) -> Talk:
        for by, data in turns:
            self.say(by, data)
        return self


def spoken(client: ssl.SSLContext, server: ssl.SSLContext, name: str | None = "prov.example.net",
           request: bytes = b"", answer: bytes = b"") -> Iterator[tuple[str, bytes]]:  # fmt: skip
    """A real handshake between two real ends, and what each puts on the wire, in turns; then what goes through it."""
    pipes = {"phone": (ssl.MemoryBIO(), ssl.MemoryBIO()), "server": (ssl.MemoryBIO(), ssl.MemoryBIO())}
    ends = {
        "phone": client.wrap_bio(*pipes["phone"], server_hostname=name),
        "server": server.wrap_bio(*pipes["server"], server_side=True),
    }
    todo = {"phone": "hello", "server": "hello"}
    for turn in range(24):
        by, other = ("phone", "server") if turn % 2 == 0 else ("server", "phone")
        _step(ends[by], todo, by, request if by == "phone" else answer)
        if data := pipes[by][1].read():
            pipes[other][0].write(data)
            yield by, data


def _step(end: ssl.SSLObject, todo: dict[str, str], by: str, data: bytes) -> None:
    try:
        if todo[by] == "hello":
            end.do_handshake()
            todo[by] = "talk"
        if todo[by] == "talk" and by == "phone":
            if data:
                end.write(data)
            todo[by] = "listen"
        elif todo[by] == "talk":
            end.read(65536)
            end.write(data)
            todo[by] = "done"
        elif todo[by] == "listen":
            end.read(65536)
            todo[by] = "done"
    except ssl.SSLWantReadError:
        pass
    except ssl.SSLError:
        todo[by] = "refused"


# --- datagrams -------------------------------------------------------------------------------------


def option(number: int, value: bytes) -> bytes:
    return bytes([number, len(value)]) + value


def dhcp(kind: int, *options: bytes, yours: str = "0.0.0.0", mac: str = PHONE, sname: bytes = b"", file: bytes = b"",
         op: int = 1) -> bytes:  # fmt: skip
    head = struct.pack("!BBBBIHH", op, 1, 6, 0, 0x77, 0, 0) + bytes(4) + ipaddress.ip_address(yours).packed + bytes(8)
    fixed = head + bytes.fromhex(mac) + bytes(10) + sname.ljust(64, b"\0") + file.ljust(128, b"\0")
    return fixed + b"\x63\x82\x53\x63" + option(53, bytes([kind])) + b"".join(options) + b"\xff"


def name(text: str) -> bytes:
    return b"".join(bytes([len(one)]) + one.encode() for one in text.split(".")) + b"\0"


def question(text: str, kind: int = 1, ident: int = 1) -> bytes:
    return struct.pack("!HHHHHH", ident, 0x0100, 1, 0, 0, 0) + name(text) + struct.pack("!HH", kind, 1)


def reply(text: str, kind: int, *records: tuple[int, bytes], rcode: int = 0) -> bytes:
    head = struct.pack("!HHHHHH", 1, 0x8180 | rcode, 1, len(records), 0, 0) + name(text) + struct.pack("!HH", kind, 1)
    return head + b"".join(b"\xc0\x0c" + struct.pack("!HHIH", one, 1, 60, len(data)) + data for one, data in records)


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!H", kind << 9 | len(value)) + value


def lldp(*extra: bytes, port: bytes = b"Gi1/0/7", system: bytes = b"sw-3") -> bytes:
    head = tlv(1, b"\x04" + bytes.fromhex(SWITCH)) + tlv(2, b"\x05" + port) + tlv(3, b"\0\x78") + tlv(5, system)
    return head + b"".join(extra) + tlv(0, b"")


def med_policy(vlan: int, *, tagged: bool = True, use: int = 1) -> bytes:
    bits = int(tagged) << 22 | vlan << 9 | 5 << 6 | 46
    return tlv(127, b"\x00\x12\xbb\x02" + bytes([use]) + bits.to_bytes(3, "big"))


def arp(operation: int, sender: str, sender_ip: str, target_ip: str) -> bytes:
    ends = [ipaddress.ip_address(one).packed for one in (sender_ip, target_ip)]
    return struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + bytes.fromhex(sender) + ends[0] + bytes(6) + ends[1]


def boot(tape: Tape | None = None) -> Tape:
    """A phone that comes up over plain HTTP: every protocol of a boot once."""
    tape = tape or Tape()
    tape.add(eth(LLDP_GROUP, SWITCH, 0x88CC, lldp(med_policy(120))))
    asked = option(55, bytes([1, 3, 6, 42, 66, 160])) + option(60, b"Polycom-VVX411")
    mac = tape.phone
    tape.add(
        eth(
            BROADCAST,
            mac,
            0x0800,
            ip("0.0.0.0", "255.255.255.255", 17, udp(68, 67, dhcp(1, asked, mac=mac))),
            *tape.tags,
        )
    )
    given = (
        option(54, b"\x0a\0\0\1") + option(51, b"\0\0\x0e\x10") + option(3, b"\x0a\0\0\1") + option(6, b"\x0a\0\0\1")
    )
    url = option(160, b"http://prov.example.net/\0")
    for kind in (2, 5):
        tape.down(ip(DHCP_IP, PHONE_IP, 17, udp(67, 68, dhcp(kind, given, url, yours=PHONE_IP, op=2, mac=mac))))
    tape.add(eth(BROADCAST, mac, 0x0806, arp(1, mac, "0.0.0.0", PHONE_IP), *tape.tags))
    tape.up(ip(PHONE_IP, DHCP_IP, 17, udp(5300, 53, question("prov.example.net"))))
    tape.down(ip(DHCP_IP, PHONE_IP, 17, udp(53, 5300, reply("prov.example.net", 1, (1, bytes([192, 0, 2, 1]))))))
    talk = Talk(tape, port=80).open()
    talk.say(
        "phone", b"GET /0004f2aabbcc.cfg HTTP/1.1\r\nHost: prov.example.net\r\nUser-Agent: PolyVVX-VVX_411\r\n\r\n"
    )
    talk.say("server", b'HTTP/1.1 200 OK\r\nContent-Length: 4000\r\nETag: "x"\r\n\r\n' + b"a" * 4000)
    talk.close()
    return tape
