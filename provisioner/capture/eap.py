# SPDX-License-Identifier: GPL-2.0-only
"""802.1X: who asked and who answered, and the TLS handshake inside EAP-TLS put together from its fragments."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from provisioner.capture.files import Frame
from provisioner.capture.lines import Fact, fact
from provisioner.capture.links import Link
from provisioner.capture.tls import PHONE, SERVER, TlsTalk

NAME: Final = "802.1X"
"""The connection of its TLS facts; there the server is the authenticator's RADIUS server."""
_CODES: Final = {1: "request", 2: "response", 3: "success", 4: "failure"}
_METHODS: Final = {
    1: "identity",
    2: "notification",
    3: "nak",
    4: "md5",
    6: "gtc",
    13: "tls",
    21: "ttls",
    25: "peap",
    43: "fast",
}
_TLS_INSIDE: Final = frozenset({13, 21, 25, 43})
_LENGTH, _MORE, _START = 0x80, 0x40, 0x20
_LONGEST: Final = 1 << 17
_GROUP: Final = b"\x01\x80\xc2"


@dataclass(slots=True)
class Port:
    """Which frames are the phone's: most go to a group, and of several devices each is answered in turn."""

    mac: bytes
    _last: bytes = b""
    """Who asked to come in, or answered, last."""

    def concerns(self, data: bytes, link: Link) -> bool:
        """Its own, those to it, and to the group what answers it, or asks before anybody has spoken."""
        kind, code = data[1:2], data[4:5]
        if kind == b"\x01" or (kind == b"\0" and code == b"\2"):
            self._last = link.src
        if self.mac in (link.src, link.dst):
            return True
        asks = kind == b"\0" and code in (b"\1", b"\3", b"\4")  # these only an authenticator sends: RFC 3748 section 4
        return asks and link.dst[:3] == _GROUP and self._last in (b"", self.mac)


@dataclass(slots=True)
class EapTalk:
    """The conversation on one port."""

    _talk: TlsTalk = field(default_factory=lambda: TlsTalk(NAME))
    _parts: dict[str, bytearray] = field(default_factory=lambda: {PHONE: bytearray(), SERVER: bytearray()})
    _last: tuple[int, int, str] = (0, -1, "")

    def take(self, data: bytes, frame: Frame, by: str) -> Iterator[Fact]:
        """One EAPOL frame from its version on."""
        _version, kind, length = struct.unpack_from("!BBH", data)
        if kind == 1:
            yield fact("eap", frame.at, frame.ref, code="start", by=by)
        if kind == 0 and length >= 4:
            yield from self._packet(data[4 : 4 + length], frame, by)

    def _packet(self, data: bytes, frame: Frame, by: str) -> Iterator[Fact]:
        code, ident, length = struct.unpack_from("!BBH", data)
        kind = data[4] if length > 4 and len(data) > 4 else 0
        yield fact(
            "eap", frame.at, frame.ref, code=_CODES.get(code, str(code)), method=_METHODS.get(kind, kind or ""), by=by
        )
        repeated, self._last = (code, ident, by) == self._last, (code, ident, by)
        if kind in _TLS_INSIDE and len(data) > 5 and not repeated:
            yield from self._fragment(data[:length], frame, by)

    def _fragment(self, data: bytes, frame: Frame, by: str) -> Iterator[Fact]:
        """RFC 5216 section 3.1: flags, perhaps the whole length, a piece."""
        flags = data[5]
        if flags & _START:
            self._talk = TlsTalk(NAME)
            return
        parts = self._parts[by]
        parts += data[10 if flags & _LENGTH else 6 :]
        if len(parts) > _LONGEST:
            parts.clear()
            raise ValueError("a handshake of more than 128 KiB")
        if not flags & _MORE:
            whole = bytes(parts)
            parts.clear()
            yield from self._talk.data(by, whole, frame)
