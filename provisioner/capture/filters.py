# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel lets through: one phone's frames and what the boot of any phone depends on, as text and as BPF."""

from __future__ import annotations

import struct
from typing import Final

_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE, _LOAD_HALF_X, _HEADER_X = 0x20, 0x28, 0x30, 0x48, 0xB1
_EQUAL, _RETURN = 0x15, 0x06
_WHOLE: Final = 262_144
_ACCEPT, _REJECT, _NEXT = "accept", "reject", ""

Step = tuple[int, int, str, str]
"""Operation, operand, where to go when equal, and when not; empty is the next step. A label stands before its step."""


def expression(mac: bytes | None) -> str:
    """For dumpcap and tcpdump; empty takes everything.

    `vlan` shifts all that stands behind it, so it is last. Addresses do not move: one test serves tagged frames, too.
    """
    if mac is None:
        return ""
    return (
        f"ether host {mac.hex(':')} or ether proto 0x88cc or ether proto 0x888e or ether dst 01:00:0c:cc:cc:cc "
        "or arp or (udp port 67 or udp port 68) or (vlan and (arp or udp port 67 or udp port 68))"
    )


def program(mac: bytes) -> list[bytes]:
    """The same for a raw socket, without libpcap. Linux has taken the outermost tag out of the frame before that."""
    first, last = struct.unpack("!IH", mac)
    steps: list[tuple[str, Step]] = [
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
        ("type", (_LOAD_HALF, 12, "", "")),
        *(("", (_EQUAL, kind, _ACCEPT, _NEXT)) for kind in (0x88CC, 0x888E, 0x0806)),
        ("", (_EQUAL, 0x0800, _NEXT, _REJECT)),
        ("", (_LOAD_BYTE, 23, "", "")),
        ("", (_EQUAL, 17, _NEXT, _REJECT)),
        ("", (_HEADER_X, 14, "", "")),
        ("", (_LOAD_HALF_X, 14, "", "")),
        *(("", (_EQUAL, port, _ACCEPT, _NEXT)) for port in (67, 68)),
        ("", (_LOAD_HALF_X, 16, "", "")),
        ("", (_EQUAL, 67, _ACCEPT, _NEXT)),
        ("", (_EQUAL, 68, _ACCEPT, _REJECT)),
        (_REJECT, (_RETURN, 0, "", "")),
        (_ACCEPT, (_RETURN, _WHOLE, "", "")),
    ]
    places = {label: place for place, (label, _) in enumerate(steps) if label}
    return [_instruction(place, step, places) for place, (_, step) in enumerate(steps)]


def _instruction(place: int, step: Step, places: dict[str, int]) -> bytes:
    """Struct sock_filter: jumps are counted from the next instruction."""
    code, operand, yes, no = step
    jumps = [places[one] - place - 1 if one else 0 for one in (yes, no)]
    return struct.pack("HBBI", code, *jumps, operand)
