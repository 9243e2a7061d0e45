# SPDX-License-Identifier: GPL-2.0-only
"""One TLS connection as facts: what is in clear is read, what TLS 1.3 hides is told by the lengths of its records."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from provisioner.capture import tls_messages as messages
from provisioner.capture import tls_words as words
from provisioner.capture.der import NotDer, read
from provisioner.capture.files import Frame
from provisioner.capture.lines import ABSENT, Fact, fact
from provisioner.capture.tls_records import ALERT, CHANGE, DATA, HANDSHAKE, Messages, Record, RecordReader

PHONE: Final = "phone"
SERVER: Final = "server"
_TLS_1_3: Final = 0x0304
_HIDDEN_ALERT: Final = 19
"""Two bytes of alert, one of content type, sixteen of tag: RFC 8446 sections 5.2 and 6."""
_HIDDEN_NO_CERTIFICATE: Final = frozenset({25, 61, 77})
"""An empty Certificate (8 bytes), alone or in one record with a Finished of SHA-256 or SHA-384."""
_HIDDEN_FINISHED: Final = frozenset({53, 69})
"""A Finished of SHA-256 or SHA-384 in a record of its own."""
_MOST_NAMES: Final = 20
_WARNING: Final = 1
_REFUSES_NOTHING: Final = frozenset({0, 112})
"""close_notify, and that a name is not known, behind which servers go on (RFC 6066 section 3)."""


@dataclass(slots=True)
class _Side:
    records: RecordReader = field(default_factory=RecordReader)
    messages: Messages = field(default_factory=Messages)
    sealed: bool = False
    """Up to 1.2: its ChangeCipherSpec has been seen. In 1.3: its ServerHello has."""
    finished: bool = False
    hidden: list[int] = field(default_factory=list)
    """Lengths of its first encrypted records of 1.3."""
    bytes: int = 0
    """Of application data."""


@dataclass(slots=True)
class TlsTalk:
    """Both directions of one connection."""

    connection: str
    stage: str = "syn"
    version: int = 0
    suite: int = 0
    random: bytes = b""
    done: bool = False
    resumed: bool = False
    refused: bool = False
    left_by: str = ""
    """Who has said good-bye first, once the handshake was complete: his alert is encrypted, and told by its length."""
    _session: bytes = b""
    _ticket: int = 0
    _phone: _Side = field(default_factory=_Side)
    _server: _Side = field(default_factory=_Side)

    def data(self, by: str, piece: bytes, frame: Frame) -> Iterator[Fact]:
        """What the bytes tell."""
        side = self._side(by)
        if by == SERVER and not self.version and piece.startswith(b"HTTP/1."):
            self.refused = True
            yield self._fact("tls_refused", frame, by=SERVER, why="plain_http", sure=True)
        for record in side.records.data(piece, frame):
            yield from self._record(by, side, record)

    def gap(self, by: str, count: int) -> None:
        """Bytes of one direction that the capture has lost."""
        self._side(by).records.gap(count)

    @property
    def answered(self) -> int:
        """Encrypted application bytes of the server."""
        return self._server.bytes

    def _side(self, by: str) -> _Side:
        return self._phone if by == PHONE else self._server

    def _record(self, by: str, side: _Side, record: Record) -> Iterator[Fact]:
        if record.kind == HANDSHAKE:
            yield from self._handshake(by, side, record)
        elif record.kind == ALERT:
            yield from self._alert(by, record)
        elif record.kind == CHANGE:
            side.sealed = side.sealed or self.version < _TLS_1_3
        elif record.kind == DATA and self.version == _TLS_1_3 and not self.done:
            yield from self._hidden(by, side, record)
        elif record.kind == DATA:
            self._application(by, side, record.length)

    # --- in clear

    def _handshake(self, by: str, side: _Side, record: Record) -> Iterator[Fact]:
        if side.sealed:
            side.finished = True
            if self._phone.finished and self._server.finished and not self.done:
                yield self._complete(record.frame)
            return
        for kind, body in side.messages.data(record.body):
            if told := _TOLD.get(kind):
                yield from told(self, by, body, record.frame)

    def client_hello(self, _by: str, body: bytes, frame: Frame) -> Iterator[Fact]:
        """What the phone offers; a second one after a HelloRetryRequest is the same offer."""
        hello = messages.client_hello(body)
        self.stage = "hello"
        if self.random:
            return
        self.random, self._session = hello.random, hello.session
        suites = [words.suite(one) for one in hello.suites if not words.greased(one)]
        signatures = [words.SIGNATURES.get(one, f"0x{one:04x}") for one in hello.signatures if not words.greased(one)]
        yield self._fact(
            "hello",
            frame,
            by=PHONE,
            sni=hello.sni or ABSENT,
            versions=",".join(hello.versions),
            suites=",".join(suites),
            signature_algorithms=",".join(signatures) or ABSENT,
            random=hashlib.sha256(hello.random).hexdigest()[:16],
        )

    def server_hello(self, _by: str, body: bytes, frame: Frame) -> Iterator[Fact]:
        """What the server chose."""
        hello = messages.server_hello(body)
        if hello.retry:
            return
        self.stage, self.version, self.suite = "handshake", hello.version, hello.suite
        # Up to 1.2 an echoed session id resumes, unless a Certificate follows (RFC 5077 section 3.4).
        self.resumed = hello.resumes or (
            hello.version < _TLS_1_3 and bool(hello.session) and hello.session == self._session
        )
        if hello.version >= _TLS_1_3:
            self._server.sealed = self._phone.sealed = True
        yield self._fact("server_hello", frame, version=words.version(hello.version), suite=words.suite(hello.suite))

    def certificate(self, by: str, body: bytes, frame: Frame) -> Iterator[Fact]:
        """Somebody's chain."""
        self.resumed = False
        yield self._fact("chain", frame, by=by, **_chain(messages.certificates(body)))

    def request(self, by: str, body: bytes, frame: Frame) -> Iterator[Fact]:
        """The server wants to see a certificate, and of which CAs."""
        said = messages.request(body, self.version)
        yield self._fact(
            "certificate_request",
            frame,
            by=by,
            names=len(said.names),
            cas="; ".join(said.names[:_MOST_NAMES]),
            types=",".join(map(str, said.kinds)),
        )

    def _alert(self, by: str, record: Record) -> Iterator[Fact]:
        """In clear only with two bytes and a level that exists; anything else is ciphertext."""
        if record.length != 2 or record.body[0] not in (1, 2):
            self._leaves(by)
            return
        level, code = record.body
        self.refused = self.refused or (code not in _REFUSES_NOTHING and not self.done)
        said = {"code": code, "name": words.ALERTS.get(code, "unknown")}
        yield self._fact("alert", record.frame, by=by, **said, level="warning" if level == _WARNING else "fatal")

    # --- hidden

    def _hidden(self, by: str, side: _Side, record: Record) -> Iterator[Fact]:
        """TLS 1.3 until its end is known: who sends what size in which order."""
        side.hidden.append(record.length)
        if by == PHONE:
            yield from self._hidden_of_phone(record)
        elif self._phone.hidden and not self.refused:
            yield from self._hidden_of_server(record)
        if len(side.hidden) > 64:
            del side.hidden[32:]

    def _hidden_of_phone(self, record: Record) -> Iterator[Fact]:
        if self._phone.finished:
            self._application(PHONE, self._phone, record.length)
        elif record.length in _HIDDEN_FINISHED:
            self._phone.finished = True
        elif len(self._phone.hidden) == 1 and record.length == _HIDDEN_ALERT:
            yield self._refusal(PHONE, record.frame)
        elif len(self._phone.hidden) == 1 and record.length in _HIDDEN_NO_CERTIFICATE:
            yield self._fact("chain", record.frame, by=PHONE, length=0, sure="no")

    def _hidden_of_server(self, record: Record) -> Iterator[Fact]:
        """Its first word after the phone's last flight: an alert, or tickets and data."""
        if record.length != _HIDDEN_ALERT:
            self._ticket = record.length
            yield self._complete(record.frame)
        elif _HIDDEN_ALERT not in self._phone.hidden:  # else the phone has said good-bye, and so does the server
            if self._phone.hidden[0] not in _HIDDEN_FINISHED | _HIDDEN_NO_CERTIFICATE:
                yield self._fact("chain", record.frame, by=PHONE, hidden=True, sure="no")
            yield self._refusal(SERVER, record.frame)

    def _refusal(self, by: str, frame: Frame) -> Fact:
        self.refused = True
        return self._fact("tls_refused", frame, by=by, why="record_shape", sure="no")

    def _complete(self, frame: Frame) -> Fact:
        self.done = True
        return self._fact(
            "tls_done",
            frame,
            version=words.version(self.version),
            suite=words.suite(self.suite),
            resumed=self.resumed,
        )

    def _application(self, by: str, side: _Side, length: int) -> None:
        if self.version == _TLS_1_3 and length == _HIDDEN_ALERT:
            self._leaves(by)
            return
        if self.version == _TLS_1_3 and by == SERVER and self._is_ticket(length):
            return
        side.bytes += length
        if by == PHONE:
            self.stage = "request"
        elif self._phone.bytes:
            self.stage = "answer"

    def _leaves(self, by: str) -> None:
        if self.done or (by == PHONE and self._phone.finished):
            self.left_by = self.left_by or by

    def _is_ticket(self, length: int) -> bool:
        """Servers send two of one length one after the other; the first has told that the handshake is complete."""
        again, self._ticket = length == self._ticket, 0
        return again

    def _fact(self, kind: str, frame: Frame, **values: object) -> Fact:
        return fact(kind, frame.at, frame.ref, connection=self.connection, **values)


_TOLD: Final[dict[int, Callable[[TlsTalk, str, bytes, Frame], Iterator[Fact]]]] = {
    messages.CLIENT_HELLO: TlsTalk.client_hello,
    messages.SERVER_HELLO: TlsTalk.server_hello,
    messages.CERTIFICATE: TlsTalk.certificate,
    messages.CERTIFICATE_REQUEST: TlsTalk.request,
}


def _chain(ders: list[bytes]) -> dict[str, object]:
    if not ders:
        return {"length": 0}
    try:
        leaf = read(ders[0])
    except NotDer as error:
        return {"length": len(ders), "unreadable": str(error)}
    return {
        "length": len(ders),
        "subject": leaf.subject,
        "issuer": leaf.issuer,
        "not_before": int(leaf.not_before),
        "not_after": int(leaf.not_after),
        "key": leaf.key,
        "signature": leaf.signature,
        "names": ",".join(leaf.names[:_MOST_NAMES]),
        "root": _root(ders[-1], leaf.issuer),
    }


def _root(der: bytes, issuer: str) -> str:
    try:
        return read(der).issuer
    except NotDer:
        return issuer
