# SPDX-License-Identifier: GPL-2.0-only
"""What was said within TLS, by the rule for what is said in clear: heads without proofs, and no body."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final

from provisioner.capture.blanking import crossed, message
from provisioner.capture.http import METHODS

_HEAD_ENDS: Final = re.compile(rb"\r?\n\r?\n")
_LENGTH: Final = re.compile(rb"(?im)^content-length[ \t]*:[ \t]*(\d{1,12})[ \t]*\r?$")
_CHUNKED: Final = re.compile(rb"(?im)^transfer-encoding[ \t]*:")
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})\b")
_NO_BODY: Final = (204, 304)


def cleared(phone: Sequence[bytes], server: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
    """The pieces of both directions, each as long as before; whatever is no HTTP is crossed out whole."""
    methods: list[bytes] = []
    asked = _requests(b"".join(phone), methods)
    told = _answers(b"".join(server), methods)
    return _cut(asked, phone), _cut(told, server)


def _requests(data: bytes, methods: list[bytes]) -> bytes:
    made, at = bytearray(), 0
    while data[at : at + 4] in METHODS:
        head = _head(data, at)
        methods.append(head.partition(b" ")[0])
        at = _take(made, data, at, head, _size(head, 0))
    return bytes(made) + crossed(data[at:])


def _answers(data: bytes, methods: list[bytes]) -> bytes:
    """Which answers have no body is told by their status, and by what was asked (RFC 9112 section 6.3)."""
    made, at, waiting = bytearray(), 0, iter(methods)
    while (found := _STATUS.match(data, at)) is not None:
        head, status = _head(data, at), int(found[1])
        asked = next(waiting, b"") if status >= 200 else b""
        bare = status < 200 or status in _NO_BODY or asked == b"HEAD"
        at = _take(made, data, at, head, 0 if bare else _size(head, len(data)))
    return bytes(made) + crossed(data[at:])


def _head(data: bytes, at: int) -> bytes:
    end = _HEAD_ENDS.search(data, at)
    return data[at : end.end() if end else len(data)]


def _size(head: bytes, unsaid: int) -> int:
    """Of the body; where its end is said within it, all that follows is taken for it."""
    if _CHUNKED.search(head):
        return 1 << 62
    found = _LENGTH.search(head)
    return int(found[1]) if found else unsaid


def _take(made: bytearray, data: bytes, at: int, head: bytes, size: int) -> int:
    body = data[at + len(head) : at + len(head) + size]
    made += message(head) + crossed(body)
    return at + len(head) + len(body)


def _cut(whole: bytes, pieces: Sequence[bytes]) -> list[bytes]:
    ends = [0, *accumulate(map(len, pieces))]
    return [whole[begin:end] for begin, end in pairwise(ends)]
