# SPDX-License-Identifier: GPL-2.0-only
"""Secrets go with the frames, and nothing that they open but what may be read.

This program has no secrets and no ciphers. It hands a connection's bytes to who has them, gets what was said in it,
crosses out what nobody may read, and gets bytes of the same length back. Rule: a connection all of whose captured sides
were made so gets its secrets along; of any other TLS only heads of records and handshakes in clear are left.
"""

from __future__ import annotations

import struct
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from provisioner.capture import tls_messages
from provisioner.capture.blanking import crossed
from provisioner.capture.clearing import begins_tls
from provisioner.capture.exchange import cleared
from provisioner.capture.packets import Packet, Segment
from provisioner.capture.talks import Talk, Talks, Way
from provisioner.capture.tls_records import CHANGE, DATA, HANDSHAKE, Messages

T = TypeVar("T")
Ask = Callable[[Mapping[str, object]], Mapping[str, object]]
"""Says one line and takes one."""
_HEAD: Final = 5
_RANDOM: Final = slice(11, 43)
"""Of a ClientHello, in the record that a connection begins with."""


@dataclass(slots=True)
class _Sealed:
    """A connection of TLS whose beginning is there."""

    random: bytes
    phone: Way
    server: Way
    lines: list[str] = field(default_factory=list)
    why: str = ""

    def shut(self, why: str) -> None:
        """It stays sealed after all."""
        self.why, self.lines, self.phone.image, self.server.image = why, [], None, None


@dataclass(slots=True)
class Unsealing:
    """Of all sides of one phone."""

    ask: Ask
    sides: dict[int, Talks] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    """Of a key log, for the connections that were made so."""
    opened: int = 0
    left: Counter[str] = field(default_factory=Counter)
    """Connections that stay sealed, by the reason."""

    def take(self, side: int, packet: Packet, segment: Segment) -> None:
        """The first time."""
        self.sides.setdefault(side, Talks()).take(packet, segment)

    def settle(self) -> None:
        """Have them opened, and say what is to stand in each."""
        talks = [talk for side in self.sides.values() for talk in side.everyone]
        found = [one for talk in talks if (one := _sealed(talk)) is not None]
        for one in found:
            self._open(one)
        shut = {one.random for one in found if one.why}
        for one in found:
            if not one.why and one.random in shut:
                one.shut("another side of it is not whole")
        good = [one for one in found if not one.why]
        self.opened, self.left = len(good), Counter(one.why for one in found if one.why)
        self.lines = sorted({line for one in good for line in one.lines})
        if self.lines:
            for talk in talks:
                _veil(talk)
        for side in self.sides.values():
            side.again()

    def given(self, side: int) -> Callable[[Packet, Segment], bytes | None] | None:
        """The second time, for one side; None where no secrets go along, so that nothing has to change."""
        return self.sides[side].put if self.lines and side in self.sides else None

    def _open(self, one: _Sealed) -> None:
        one.why = one.phone.why or one.server.why
        if one.why:
            return
        told = self.ask({"sealed": {"phone": _text(one.phone.data), "server": _text(one.server.data)}})
        if "opened" in told:
            phone, server = cleared(*_both(told["opened"], _pieces))
            told = self.ask({"cleared": {"phone": [*map(_text, phone)], "server": [*map(_text, server)]}})
        if "resealed" not in told:
            one.why = str(told.get("refused", "nobody has opened it"))
            return
        one.phone.image, one.server.image = _both(told["resealed"], _bytes)
        lines = told.get("lines")
        one.lines = [str(line) for line in lines] if isinstance(lines, list) else []
        if (len(one.phone.image), len(one.server.image)) != (len(one.phone.data), len(one.server.data)):
            one.shut("it came back with another length")


def _sealed(talk: Talk) -> _Sealed | None:
    """None for what is no TLS, or has lost its ClientHello."""
    ways = list(talk.ways.values())
    for phone, server in ((ways[0], ways[1]), (ways[1], ways[0])) if len(ways) == 2 else ():
        data = phone.data
        if begins_tls(bytes(data[:3])) and data[0] == HANDSHAKE and data[5:6] == b"\x01" and len(data) >= _RANDOM.stop:
            return _Sealed(bytes(data[_RANDOM]), phone, server)
    return None


# --- what stays where secrets go along ----------------------------------------------------------------


def _veil(talk: Talk) -> None:
    """Whoever has a ticket and the secret of its session goes on with it as the phone; so tickets go from all."""
    if not any(begins_tls(bytes(way.data[:3])) for way in talk.ways.values()):
        return
    for way in talk.ways.values():
        way.image = veiled(bytes(way.data), keep=False) if way.image is None else veiled(way.image, keep=True)


def veiled(data: bytes, *, keep: bool) -> bytes:
    """A direction of TLS without tickets and, unless that is to be kept, without application data."""
    made, clear = bytearray(data), True
    at = 0
    while at + _HEAD <= len(data) and begins_tls(data[at : at + 3]):
        end = at + _HEAD + struct.unpack_from("!H", data, at + 3)[0]
        body = slice(at + _HEAD, min(end, len(data)))
        if end > len(data) or (data[at] == DATA and not keep):
            made[body] = crossed(data[body])
        elif data[at] == HANDSHAKE and (clear or _is_hello(data[body])):
            made[body] = _without_tickets(data[body])
        clear = clear and data[at] != CHANGE
        at = end
    made[at:] = crossed(data[at:])
    return bytes(made)


def _is_hello(body: bytes) -> bool:
    """TLS 1.3 may ask for a second one, behind a ChangeCipherSpec that means nothing."""
    return body[:1] == b"\x01" and int.from_bytes(body[1:4], "big") == len(body) - 4


def _without_tickets(body: bytes) -> bytes:
    """Handshake messages in clear; what cannot be read as such goes."""
    made, at = bytearray(body), 0
    try:
        for kind, message in Messages().data(body):
            for begin, end in tls_messages.tickets(kind, message):
                made[at + 4 + begin : at + 4 + end] = crossed(message[begin:end])
            at += 4 + len(message)
    except ValueError:
        return crossed(body)
    made[at:] = crossed(body[at:])
    return bytes(made)


# --- lines --------------------------------------------------------------------------------------------


def _text(data: bytes | bytearray) -> str:
    return b64encode(data).decode()


def _bytes(said: object) -> bytes:
    return b64decode(str(said), validate=True)


def _pieces(said: object) -> list[bytes]:
    return [_bytes(one) for one in said] if isinstance(said, list) else []


def _both(said: object, read: Callable[[object], T]) -> Iterator[T]:
    words = said if isinstance(said, dict) else {}
    yield read(words.get("phone", ""))
    yield read(words.get("server", ""))
