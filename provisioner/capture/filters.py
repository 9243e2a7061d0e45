# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel lets through: one phone's frames and what the boot of any phone depends on, as text and as BPF.

Behind a router a phone's MAC is in no frame: what is known of its addresses lets it through there.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from typing import Final

_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE, _LOAD_HALF_X, _HEADER_X = 0x20, 0x28, 0x30, 0x48, 0xB1
_EQUAL, _RETURN = 0x15, 0x06
_WHOLE: Final = 262_144
_ACCEPT, _REJECT, _NEXT = "accept", "reject", ""
_IPV6: Final = "six"
MOST: Final = 8
"""Addresses: a jump of BPF reaches 255 instructions, and one of IPv6 needs 16."""

Step = tuple[int, int, str, str]
"""Operation, operand, where to go when equal, and when not; empty is the next step. A label stands before its step."""
Steps = list[tuple[str, Step]]


def expression(mac: bytes | None, addresses: Sequence[str] = ()) -> str:
    """For dumpcap and tcpdump; empty takes everything.

    `vlan` shifts all that stands behind it, so it is last. Addresses do not move: one test serves tagged frames, too.
    """
    hosts = [f"net {one}" if "/" in one else f"host {one}" for one in addresses[:MOST]]
    if mac is None:
        return " or ".join(hosts)
    tagged = " or ".join(["arp", "udp port 67", "udp port 68", *hosts])
    return " or ".join(
        [
            f"ether host {mac.hex(':')}", "ether proto 0x88cc", "ether proto 0x888e", "ether dst 01:00:0c:cc:cc:cc",
            "arp", "(udp port 67 or udp port 68)", *hosts, f"(vlan and ({tagged}))",
        ]
    )  # fmt: skip


def program(mac: bytes | None, addresses: Sequence[str] = ()) -> list[bytes]:
    """The same for a raw socket, without libpcap. Linux has taken the outermost tag out of the frame before that."""
    known = [ipaddress.ip_network(one) for one in addresses[:MOST]]
    four = [int(one.network_address) for one in known if one.version == 4]
    six = [_words(one) for one in known if one.version == 6]
    steps = [
        *(_by_mac(mac) if mac else []),
        ("type", (_LOAD_HALF, 12, "", "")),
        *(_beside_ip() if mac else []),
        ("", (_EQUAL, 0x0800, _NEXT, _IPV6)),
        *_by_address(four),
        *(_dhcp() if mac else _goes(_REJECT)),
        (_IPV6, (_EQUAL, 0x86DD, _NEXT, _REJECT)),
        *(step for number, one in enumerate(six) for at in (22, 38) for step in _by_long(one, at, f"{number} {at}")),
        (_REJECT, (_RETURN, 0, "", "")),
        (_ACCEPT, (_RETURN, _WHOLE, "", "")),
    ]
    places = {label: place for place, (label, _) in enumerate(steps) if label}
    return [_instruction(place, step, places) for place, (_, step) in enumerate(steps)]


def _words(one: ipaddress.IPv4Network | ipaddress.IPv6Network) -> tuple[int, ...]:
    return struct.unpack("!IIII", one.network_address.packed)[: one.prefixlen // 32]


def _by_mac(mac: bytes) -> Steps:
    first, last = struct.unpack("!IH", mac)
    return [
        ("", (_LOAD_WORD, 6, "", "")),
        ("", (_EQUAL, first, _NEXT, "to")),
        ("", (_LOAD_HALF, 10, "", "")),
        ("", (_EQUAL, last, _ACCEPT, _NEXT)),
        ("to", (_LOAD_WORD, 0, "", "")),
        ("", (_EQUAL, first, _NEXT, "cisco")),
        ("", (_LOAD_HALF, 4, "", "")),
        ("", (_EQUAL, last, _ACCEPT, "type")),
        ("cisco", (_EQUAL, 0x01000CCC, _NEXT, "type")),
        ("", (_LOAD_HALF, 4, "", "")),
        ("", (_EQUAL, 0xCCCC, _ACCEPT, _NEXT)),
    ]


def _beside_ip() -> Steps:
    return [("", (_EQUAL, kind, _ACCEPT, _NEXT)) for kind in (0x88CC, 0x888E, 0x0806)]


def _by_address(known: Sequence[int]) -> Steps:
    return [
        step
        for at in ((26, 30) if known else ())
        for step in [("", (_LOAD_WORD, at, "", "")), *(("", (_EQUAL, one, _ACCEPT, _NEXT)) for one in known)]
    ]


def _by_long(words: Sequence[int], at: int, label: str) -> Steps:
    """The first words of an address of IPv6: all four, or two of a network of 64 bits."""
    steps: Steps = []
    for number, word in enumerate(words):
        last = number == len(words) - 1
        steps.append(("", (_LOAD_WORD, at + 4 * number, "", "")))
        steps.append(("", (_EQUAL, word, _ACCEPT if last else _NEXT, label)))
    return [*steps, (label, (_LOAD_BYTE, 0, "", ""))]


def _dhcp() -> Steps:
    return [
        ("", (_LOAD_BYTE, 23, "", "")),
        ("", (_EQUAL, 17, _NEXT, _REJECT)),
        ("", (_HEADER_X, 14, "", "")),
        ("", (_LOAD_HALF_X, 14, "", "")),
        *(("", (_EQUAL, port, _ACCEPT, _NEXT)) for port in (67, 68)),
        ("", (_LOAD_HALF_X, 16, "", "")),
        ("", (_EQUAL, 67, _ACCEPT, _NEXT)),
        ("", (_EQUAL, 68, _ACCEPT, _REJECT)),
    ]


def _goes(label: str) -> Steps:
    return [("", (_EQUAL, 0, label, label))]


def _instruction(place: int, step: Step, places: dict[str, int]) -> bytes:
    """Struct sock_filter: jumps are counted from the next instruction."""
    code, operand, yes, no = step
    jumps = [places[one] - place - 1 if one else 0 for one in (yes, no)]
    return struct.pack("HBBI", code, *jumps, operand)
