"""What the kernel lets through, by its own rules: each instruction is done here as BPF does it."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wire import BROADCAST, CDP_GROUP, DHCP_IP, LLDP_GROUP, PHONE, PHONE_IP, ROUTER, SERVER_IP, arp, eth, ip, tcp, udp

from provisioner.capture.filters import MOST, expression, program

MAC = bytes.fromhex(PHONE)
FAR, SIX, SITE = "020000000011", "2001:db8::7", "2001:db8:1::/64"


def passes(steps: list[bytes], frame: bytes) -> bool:
    """linux/filter.h: what is read beyond the frame's end ends it with a no."""
    place, a, x = 0, 0, 0
    while True:
        code, yes, no, operand = struct.unpack("HBBI", steps[place])
        place += 1
        if code == 0x06:
            return bool(operand)
        if code == 0x15:
            place += yes if a == operand else no
            continue
        if code == 0xB1:
            x = (frame[operand] & 0x0F) * 4
            continue
        size, at = {0x20: (4, operand), 0x28: (2, operand), 0x30: (1, operand), 0x48: (2, operand + x)}[code]
        if len(frame) < at + size:
            return False
        a = int.from_bytes(frame[at : at + size])


def routed(src: str, dst: str) -> bytes:
    """A segment as it comes from a router: nobody's MAC in it that says anything."""
    return eth(ROUTER, FAR, 0x86DD if ":" in src else 0x0800, ip(src, dst, 6, tcp(40_000, 443, 1, 0, 2)))


LEASE = eth(BROADCAST, ROUTER, 0x0800, ip(DHCP_IP, "255.255.255.255", 17, udp(67, 68, bytes(240))))
FRAMES = {
    "its own": (eth(ROUTER, PHONE, 0x0800, ip(PHONE_IP, SERVER_IP, 6, tcp(1, 2, 3, 4, 2))), True, False),
    "to it": (eth(PHONE, ROUTER, 0x0800, ip(SERVER_IP, "10.9.9.9", 17, udp(53, 53, b"x"))), True, False),
    "arp": (eth(BROADCAST, ROUTER, 0x0806, arp(1, ROUTER, "10.0.0.1", "10.0.0.2")), True, False),
    "lldp": (eth(LLDP_GROUP, ROUTER, 0x88CC, b"x"), True, False),
    "cdp": (eth(CDP_GROUP, ROUTER, 0x0020, b"x"), True, False),
    "dhcp": (LEASE, True, False),
    "from its address": (routed("203.0.113.9", SERVER_IP), False, True),
    "to its address": (routed(SERVER_IP, "203.0.113.9"), False, True),
    "its address of IPv6": (routed(SIX, "2001:db8:9::1"), False, True),
    "from its site": (routed("2001:db8:1::99", "2001:db8:9::1"), False, True),
    "to its site": (routed("2001:db8:9::1", "2001:db8:1::99"), False, True),
    "another site": (routed("2001:db8:2::99", "2001:db8:9::1"), False, False),
    "the one beside it": (routed("203.0.113.8", SERVER_IP), False, False),
    "the one beside it of IPv6": (routed("2001:db8::8", "2001:db8:9::1"), False, False),
}


@pytest.mark.parametrize("what", FRAMES)
def test_a_phone_is_let_through_by_its_mac_and_behind_a_router_by_its_addresses(what: str) -> None:
    frame, near, far = FRAMES[what]
    known = ("203.0.113.9", SIX, SITE)
    assert passes(program(MAC), frame) is near
    assert passes(program(MAC, known), frame) is (near or far)
    assert passes(program(None, known), frame) is far


def test_as_many_addresses_as_jumps_reach() -> None:
    several = [f"2001:db8:{number}::1" for number in range(MOST + 3)]
    steps = program(MAC, several)
    assert passes(steps, routed(several[MOST - 1], "2001:db9::1"))
    assert not passes(steps, routed(several[MOST], "2001:db9::1"))


def test_it_is_the_same_for_programs_with_libpcap() -> None:
    assert expression(None) == ""
    assert expression(None, ["203.0.113.9", SITE]) == f"host 203.0.113.9 or net {SITE}"
    assert expression(MAC, [SIX]).count(f"host {SIX}") == 2, "tagged as well"


@given(st.binary(max_size=80), st.lists(st.ip_addresses().map(str), max_size=10))
@example(LEASE[:40], [])
def test_whatever_comes_it_ends(frame: bytes, addresses: list[str]) -> None:
    passes(program(MAC, addresses), frame)
    passes(program(None, addresses), frame)
