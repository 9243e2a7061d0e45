# SPDX-License-Identifier: GPL-2.0-only
"""DHCPv6: what a phone asks for and is told, the boot file's URL and the vendor's options among it (RFC 8415, 5970)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from provisioner.capture.dhcp import option_text
from provisioner.capture.files import Frame
from provisioner.capture.lines import Fact, fact, text, url_without_secrets, words_without_secrets
from provisioner.capture.packets import address

PORTS: Final = frozenset({546, 547})
_TYPES: Final = {
    1: "discover",
    2: "offer",
    3: "request",
    4: "confirm",
    5: "renew",
    6: "rebind",
    7: "ack",
    8: "release",
    9: "decline",
    11: "inform",
}
"""In the words of DHCPv4, so that one ladder reads both: SOLICIT discovers, ADVERTISE offers, REPLY acknowledges."""
_RELAYED: Final = (12, 13)
_RELAY_MESSAGE, _SERVER_ID, _CLIENT_ID, _IA_NA, _IA_ADDRESS, _STATUS = 9, 2, 1, 3, 5, 13
_ASKED, _CLASS, _VENDOR, _DNS, _NTP, _BOOT_FILE = 6, 16, 17, 23, 56, 59
_MOST: Final = 200
_LAYERS: Final = 4


def facts_of(data: bytes, frame: Frame, vlan: int, sender: str) -> Iterator[Fact]:
    """One message, out of its relays' wrapping."""
    message = _unwrapped(data)
    told = dict(_options(message[4:]))
    identity = dict(_options(told.get(_IA_NA, b"")[12:]))
    kind = _TYPES.get(message[0], str(message[0]))
    if kind == "ack" and _STATUS in identity and not identity.get(_IA_ADDRESS):
        kind = "nak"  # RFC 8415 section 18.3.2: a REPLY without an address says why in its status
    yield fact(
        "dhcp",
        frame.at,
        frame.ref,
        version=6,
        type=kind,
        vlan=vlan,
        sender=sender,
        server=told.get(_SERVER_ID, b"").hex(),
        client=told.get(_CLIENT_ID, b"").hex(),
        address=address(identity.get(_IA_ADDRESS, b"")[:16]),
        asked=",".join(map(str, _numbers(told.get(_ASKED, b"")))),
        vendor_class=words_without_secrets(text(told.get(_CLASS, b"")[6:])),
        dns=",".join(address(told[_DNS][at : at + 16]) for at in range(0, len(told.get(_DNS, b"")) - 15, 16)),
        option_17=_vendor(told.get(_VENDOR, b"")),
        option_59=url_without_secrets(text(told.get(_BOOT_FILE, b""))),
    )


def hardware(data: bytes) -> bytes:
    """The Mac within the client's DUID, when it holds one; the server's side of a relay has nothing else."""
    try:
        duid = dict(_options(_unwrapped(data)[4:])).get(_CLIENT_ID, b"")
    except ValueError:
        return b""
    kind = int.from_bytes(duid[:2], "big")
    return duid[8:14] if kind == 1 else duid[4:10] if kind == 3 else b""


def _unwrapped(data: bytes) -> bytes:
    for _ in range(_LAYERS):
        if not data or data[0] not in _RELAYED:
            break
        data = dict(_options(data[34:])).get(_RELAY_MESSAGE, b"")
    if not data:
        raise ValueError("a DHCPv6 message without a type")
    return data


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    for _ in range(_MOST):
        if at + 4 > len(data):
            return
        code, size = struct.unpack_from("!HH", data, at)
        yield code, data[at + 4 : at + 4 + size]
        at += 4 + size


def _numbers(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data) - 1, 2)]


def _vendor(data: bytes) -> str:
    if len(data) < 8:
        return ""
    inside = (f"{code}={option_text(66, value)}" for code, value in _options(data[4:]))
    return f"enterprise {struct.unpack_from('!I', data)[0]}: {' '.join(inside)}"
