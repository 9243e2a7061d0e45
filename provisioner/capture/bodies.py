# SPDX-License-Identifier: GPL-2.0-only
"""What a body is, by its first bytes: a page for people, a file for phones, or something that neither reads."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

_KEPT: Final = 1024
"""Bytes: Grandstream's <mac> stands behind the first element, a page's doctype at the very beginning."""
_PAGE: Final = re.compile(rb"\s*(?:<!--.{0,400}?-->\s*)*<(?:!doctype\s+html|html|head|body|script)\b", re.I | re.S)
_OWNER: Final = re.compile(rb"<mac>\s*([0-9a-f]{2}(?:[:.-]?[0-9a-f]{2}){5})\s*</mac>", re.I)
_GZIP: Final = b"\x1f\x8b"
_TEXT: Final = frozenset(range(0x20, 0x7F)) | frozenset(b"\t\n\r\x0c") | frozenset(range(0x80, 0x100))
_STRANGE: Final = 0.05
"""Share of bytes that stand in no text: ciphertext has an eighth of control characters."""
_ENOUGH: Final = 16
"""Bytes: of fewer nothing is said."""


@dataclass(slots=True)
class Beginning:
    """The first bytes of one body."""

    _bytes: bytearray = field(default_factory=bytearray)

    def take(self, piece: bytes) -> None:
        """Some more of it."""
        self._bytes += piece[: _KEPT - len(self._bytes)]

    def values(self) -> dict[str, object]:
        """Of the answer: what it looks like, and whose Mac it names itself."""
        data = bytes(self._bytes)
        owner = _OWNER.search(data)
        return {"looks": _looks(data), "mac": re.sub(rb"[:.-]", b"", owner[1]).lower() if owner else ""}


def _looks(data: bytes) -> str:
    if _PAGE.match(data.removeprefix(b"\xef\xbb\xbf")):
        return "page"
    if data.startswith(_GZIP):
        return "gzip"
    if len(data) < _ENOUGH or len(set(data)) == 1:  # a body that was blanked says nothing
        return ""
    strange = sum(byte not in _TEXT for byte in data)
    return "binary" if strange > _STRANGE * len(data) else "text"
