# SPDX-License-Identifier: GPL-2.0-only
"""DNS by its bytes: questions and answers of the phone, SRV and NAPTR among them, with pointers that cannot loop."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from provisioner.capture.files import Frame
from provisioner.capture.lines import Fact, fact
from provisioner.capture.packets import address

PORT: Final = 53
_RECORDS: Final = {
    1: "A",
    2: "NS",
    5: "CNAME",
    6: "SOA",
    12: "PTR",
    15: "MX",
    16: "TXT",
    28: "AAAA",
    33: "SRV",
    35: "NAPTR",
    64: "SVCB",
    65: "HTTPS",
}
_RCODES: Final = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
_MOST: Final = 64
_LONGEST: Final = 255


def facts_of(data: bytes, frame: Frame, server: str) -> Iterator[Fact]:
    """A query, or an answer with what it leads to."""
    _ident, flags, questions, answers, _, _ = struct.unpack_from("!HHHHHH", data)
    at, asked = 12, []
    for _ in range(min(questions, 4)):
        name, at = name_at(data, at)
        kind = struct.unpack_from("!HH", data, at)[0]
        at += 4
        asked.append((name, _RECORDS.get(kind, str(kind))))
    found = [] if not flags & 0x8000 else list(_answers(data, at, min(answers, _MOST)))
    for name, record in asked:
        yield fact(
            "dns",
            frame.at,
            frame.ref,
            type="answer" if flags & 0x8000 else "query",
            name=name,
            record=record,
            server=server,
            rcode=_RCODES.get(flags & 0xF, str(flags & 0xF)) if flags & 0x8000 else None,
            addresses=",".join(found),
            truncated="yes" if flags & 0x0200 else None,
        )


def _answers(data: bytes, at: int, count: int) -> Iterator[str]:
    for _ in range(count):
        _, at = name_at(data, at)
        kind, _, _, size = struct.unpack_from("!HHIH", data, at)
        at += 10
        if said := _value(kind, data, at, size):
            yield said
        at += size


def _value(kind: int, data: bytes, at: int, size: int) -> str:
    if kind in (1, 28):
        return address(data[at : at + size])
    if kind == 5:
        return f"CNAME {name_at(data, at)[0]}"
    if kind == 33:
        priority, weight, port = struct.unpack_from("!HHH", data, at)
        return f"{name_at(data, at + 6)[0]}:{port} ({priority} {weight})"
    return _naptr(data, at) if kind == 35 else ""


def _naptr(data: bytes, at: int) -> str:
    """RFC 3403: order, preference, then flags, services and a regular expression, and where it goes on."""
    order, preference = struct.unpack_from("!HH", data, at)
    at, words = at + 4, []
    for _ in range(3):
        words.append(data[at + 1 : at + 1 + data[at]].decode("latin-1"))
        at += 1 + data[at]
    return f"{words[1]} {name_at(data, at)[0]} ({order} {preference} {words[0]})"


def name_at(data: bytes, at: int) -> tuple[str, int]:
    """A name and where the bytes behind it begin."""
    labels: list[str] = []
    end, length = 0, 0
    for _ in range(_LONGEST):
        size = data[at]
        if size & 0xC0 == 0xC0:
            end = end or at + 2
            if (target := struct.unpack_from("!H", data, at)[0] & 0x3FFF) >= at:
                raise ValueError("a name points at itself or beyond")
            at = target
            continue
        if not size:
            return ".".join(labels), end or at + 1
        length += size + 1
        if length > _LONGEST:
            break
        labels.append(data[at + 1 : at + 1 + size].decode("latin-1"))
        at += 1 + size
    raise ValueError("a name of more than 255 bytes")
