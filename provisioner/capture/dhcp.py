# SPDX-License-Identifier: GPL-2.0-only
"""DHCPv4 by its bytes: options split, overloaded or of the wrong type are read as they are meant."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from provisioner.capture import blanking
from provisioner.capture.files import Frame
from provisioner.capture.lines import ABSENT, Fact, fact, text, url_without_secrets, words_without_secrets
from provisioner.capture.packets import address

PORTS: Final = frozenset({67, 68})
_MAGIC: Final = b"\x63\x82\x53\x63"
_FIXED: Final = 240
_TYPES: Final = {1: "discover", 2: "offer", 3: "request", 4: "decline", 5: "ack", 6: "nak", 7: "release", 8: "inform"}
_BOOT: Final = (43, 66, 67, 120, 125, 128, 132, 150, 159, 160, 161)
"""Options that tell a phone where it boots, or in which VLAN."""
_FULL: Final = 250
"""Bytes: one option holds 255, and a URL that fills it was cut."""
_OVERLOAD, _VLAN, _TEXTS = 52, 132, frozenset({66, 67, 128, 132, 150, 159, 160, 161})
_PRINTED: Final = re.compile(rb"[\x20-\x7e\x80-\xff]{2,}")


@dataclass(frozen=True, slots=True)
class Message:
    """One message."""

    type: str
    asks: bool
    """Of a client; a relay passes it on under an address of its own."""
    mac: bytes
    ident: int
    yours: bytes
    client: bytes
    next_server: bytes
    relay: bytes
    options: Mapping[int, bytes]
    """Joined where they come in parts: RFC 3396."""
    sname: bytes
    file: bytes
    overload: int


def read(data: bytes) -> Message | None:
    """A message; None for what is none."""
    if len(data) < _FIXED or data[236:240] != _MAGIC:
        return None
    found: dict[int, bytes] = {}
    _gather(data[_FIXED:], found)
    overload = int.from_bytes(found.get(_OVERLOAD, b"")[:1], "big")
    # RFC 2131 section 4.1: first the options field, then file, then sname.
    if overload & 1:
        _gather(data[108:236], found)
    if overload & 2:
        _gather(data[44:108], found)
    return Message(
        type=_TYPES.get(int.from_bytes(found.get(53, b"")[:1], "big"), "bootp"),
        asks=data[0] == 1,
        mac=data[28 : 28 + min(data[2], 16)],
        ident=struct.unpack_from("!I", data, 4)[0],
        yours=data[16:20],
        client=data[12:16],
        next_server=data[20:24],
        relay=data[24:28],
        options=found,
        sname=b"" if overload & 2 else data[44:108].split(b"\0")[0],
        file=b"" if overload & 1 else data[108:236].split(b"\0")[0],
        overload=overload,
    )


def facts_of(message: Message, frame: Frame, vlan: int) -> Iterator[Fact]:
    """The message, and the VLAN that it offers."""
    told = message.options
    boots = {f"option_{one}": option_text(one, told[one]) for one in _BOOT if one in told}
    yield fact(
        "dhcp",
        frame.at,
        frame.ref,
        version=4,
        type=message.type,
        vlan=vlan,
        sender="phone" if message.asks else "server",
        server=_address(told.get(54, b"")),
        address=_address(message.yours) or _address(told.get(50, b"")) or _address(message.client),
        lease=_number(told.get(51, b"")),
        router=_addresses(told.get(3, b"")) or (ABSENT if message.type in ("offer", "ack") else None),
        dns=_addresses(told.get(6, b"")),
        domain=_words(told.get(15)),
        ntp=_addresses(told.get(42, b"")),
        vendor_class=_words(told.get(60)),
        asked=",".join(map(str, told.get(55, b""))),
        next_server=_address(message.next_server),
        relay=_address(message.relay),
        message=_words(told.get(56)),
        overload="yes" if message.overload else None,
        full=",".join(str(one) for one in _BOOT if len(told.get(one, b"")) >= _FULL),
        sname=_words(message.sname),
        file=_url(message.file),
        **boots,
    )
    offered = _vlan(told.get(_VLAN, b""))
    if offered and message.type in ("offer", "ack"):
        yield fact("vlan_offered", frame.at, frame.ref, vlan=offered, by="dhcp", tagged=True)


def option_text(number: int, data: bytes) -> str:
    """As text where it is text, as addresses where it can only be those, else as hex: never what no one has sent."""
    bare = data.rstrip(b"\0")
    if number in _TEXTS and bare and _PRINTED.fullmatch(bare):
        return _url(bare)
    if number in (128, 150, 120) and data and len(data) % 4 == 0:
        return _addresses(data)
    if number in (43, 125):
        return _within(number, data)
    return _hex(data)


def _within(number: int, data: bytes) -> str:
    """The suboptions of 43 (RFC 2132 section 8.4) or 125 (RFC 3925) as number=text; hex where there are none."""
    body = data[5:] if number == 125 and len(data) > 5 and data[4] == len(data) - 5 else data
    parts, at = [], 0
    while at + 2 <= len(body) and body[at] not in (0, 255):
        code, size = body[at], body[at + 1]
        value = body[at + 2 : at + 2 + size]
        if len(value) < size:
            break
        parts.append(f"{code}={_url(value) if _PRINTED.fullmatch(value.rstrip(bytes(1))) else _hex(value)}")
        at += 2 + size
    whole = at >= len(body) or not body[at:].strip(b"\0\xff")
    if parts and whole:
        enterprise = f"enterprise {struct.unpack_from('!I', data)[0]}: " if body is not data else ""
        return enterprise + " ".join(parts)
    bare = data.rstrip(b"\0")
    return _url(bare) if bare and _PRINTED.fullmatch(bare) else _hex(data)


def _gather(area: bytes, found: dict[int, bytes]) -> None:
    at = 0
    while at < len(area) and area[at] != 255:
        code = area[at]
        if code == 0:
            at += 1
            continue
        if at + 1 >= len(area):
            return
        size = area[at + 1]
        found[code] = found.get(code, b"") + area[at + 2 : at + 2 + size]
        at += 2 + size


def _vlan(data: bytes) -> int:
    said = re.search(rb"\d{1,4}", data)
    binary = int.from_bytes(data, "big") if len(data) in (2, 4) else 0
    number = int(said[0]) if said else binary
    return number if 0 < number < 4095 else 0


def _words(data: bytes | None) -> str:
    return words_without_secrets(text(data or b""))


def _hex(data: bytes) -> str:
    """Bytes that nobody can read as text; what looks like a secret among them is not told in hex, either."""
    return blanking.words(data).hex()


def _url(data: bytes) -> str:
    return url_without_secrets(text(data))


def _address(data: bytes) -> str:
    return address(data[:4]) if len(data) >= 4 and any(data[:4]) else ""


def _addresses(data: bytes) -> str:
    return ",".join(address(data[at : at + 4]) for at in range(0, len(data) - 3, 4))


def _number(data: bytes) -> int | None:
    return int.from_bytes(data, "big") if len(data) == 4 else None
