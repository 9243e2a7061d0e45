"""A TLS connection opened with its recorded secrets, and sealed again under them with other words of the same length.

Rule: all of both directions can be opened, or nothing of it is. What was sealed again has the same records, numbers and
keys as before, so whoever has the secrets reads the new words, and of the old ones nothing is left. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from provisioner.evidence import tls_layout as layout
from provisioner.evidence import tls_suites as suites
from provisioner.evidence.key_lines import LABELS, MASTER, PHONE, SERVER, KeyLog
from provisioner.evidence.tls_layout import DATA, HANDSHAKE, HEAD, Hello, Record, Unopened

_X: Final = b"x"


class _Text(NamedTuple):
    """Application data of one record."""

    record: Record
    sealer: suites.Sealer
    number: int
    said: bytes
    behind: bytes
    """TLS 1.3: the real type and padding."""


@dataclass(slots=True)
class _Side:
    made: bytearray
    """The direction as it will be."""
    texts: list[_Text] = field(default_factory=list)
    end: int = 0
    """Of the last whole record."""


class Opened:
    """One connection, both of its directions."""

    def __init__(self, phone: bytes, server: bytes, keys: KeyLog) -> None:
        """Unopened says why it stays as it is."""
        self._sides = {PHONE: _Side(bytearray(phone)), SERVER: _Side(bytearray(server))}
        hello, answer = _hello(phone), _answer(server)
        self.random = hello.random
        secrets = keys.of(hello.random)
        suite = suites.suite_of(answer.suite, answer.version)
        if answer.version == layout.TLS_1_3:
            for by, data in ((PHONE, phone), (SERVER, server)):
                self._open_modern(by, data, suite, secrets)
        elif answer.version == layout.TLS_1_2:
            master = secrets.get(MASTER, b"")
            sealers = suites.of_master_secret(suite, master, hello.random, answer.random)
            for by, data, sealer in zip((PHONE, SERVER), (phone, server), sealers, strict=True):
                self._open_older(by, data, sealer)
        else:
            raise Unopened("it is older than TLS 1.2")

    def texts(self, by: str) -> list[bytes]:
        """What one side has said, record by record."""
        return [one.said for one in self._sides[by].texts]

    def resealed(self, by: str, said: Sequence[bytes]) -> bytes:
        """The direction with other words in it; a record that breaks off at its end is crossed out."""
        side = self._sides[by]
        if len(said) != len(side.texts):
            raise Unopened("what was cleared has another number of records")
        for one, text in zip(side.texts, said, strict=True):
            if len(text) != len(one.said):
                raise Unopened("what was cleared has another length")
            body = one.sealer.seal(one.record, one.number, text + one.behind)
            side.made[one.record.at + HEAD : one.record.at + HEAD + len(body)] = body
        side.made[side.end :] = _X * (len(side.made) - side.end)
        return bytes(side.made)

    # --- TLS 1.3

    def _open_modern(self, by: str, data: bytes, suite: suites.Suite, secrets: Mapping[str, bytes]) -> None:
        side = self._sides[by]
        early, late = (secrets.get(label, b"") for label in LABELS[by])
        sealer, finished = suites.of_traffic_secret(suite, early), _Handshake()
        for one in layout.records(data):
            side.end = one.at + HEAD + len(one.body)
            if one.kind != DATA:
                continue  # a hello, an alert in clear, or a ChangeCipherSpec that means nothing
            number, inner = sealer.open(one)
            text = inner.rstrip(b"\0")
            kind = text[-1] if text else 0
            if kind == DATA:
                side.texts.append(_Text(one, sealer, number, text[:-1], inner[len(text) - 1 :]))
            elif kind == HANDSHAKE:
                for message in finished.take(text[:-1]):
                    if message == layout.FINISHED:
                        sealer = suites.of_traffic_secret(suite, late)
                    elif message == layout.KEY_UPDATE:
                        late = suites.updated(suite, late)
                        sealer = suites.of_traffic_secret(suite, late)

    # --- TLS 1.2

    def _open_older(self, by: str, data: bytes, sealer: suites.Sealer) -> None:
        side, sealed = self._sides[by], False
        for one in layout.records(data):
            side.end = one.at + HEAD + len(one.body)
            if sealed:
                number, text = sealer.open(one)
                if one.kind == DATA:
                    side.texts.append(_Text(one, sealer, number, text, b""))
            elif one.kind == layout.CHANGE:
                sealed = True


@dataclass(slots=True)
class _Handshake:
    """Kinds of the messages that end within encrypted records, over whose bounds they may lie."""

    _left: bytes = b""

    def take(self, piece: bytes) -> Iterator[int]:
        self._left += piece
        while len(self._left) >= 4:
            length = int.from_bytes(self._left[1:4], "big")
            if len(self._left) < 4 + length:
                return
            kind, self._left = self._left[0], self._left[4 + length :]
            yield kind


def _hello(phone: bytes) -> Hello:
    for kind, body in _handshakes(phone):
        if kind == layout.CLIENT_HELLO:
            return layout.client_hello(body)
    raise Unopened("the capture does not have its beginning")


def _answer(server: bytes) -> Hello:
    for kind, body in _handshakes(server):
        if kind == layout.SERVER_HELLO and not (found := layout.server_hello(body)).retries:
            return found
    raise Unopened("the server has not answered it")


def _handshakes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Those in clear, as far as they go."""
    for one in layout.records(data):
        if one.kind == DATA:
            return
        if one.kind == HANDSHAKE:
            yield from layout.messages(one.body)
