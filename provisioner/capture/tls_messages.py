# SPDX-License-Identifier: GPL-2.0-only
"""Handshake messages of TLS 1.0 to 1.3 from their bytes; what is crooked raises ValueError alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from provisioner.capture import der, tls_words

CLIENT_HELLO, SERVER_HELLO, NEW_TICKET, CERTIFICATE = 1, 2, 4, 11
CERTIFICATE_REQUEST, SERVER_DONE, FINISHED = 13, 14, 20
_SNI, _SIGNATURES, _TICKET, _PSK, _VERSIONS = 0, 13, 35, 41, 43
_RETRY: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""RFC 8446 section 4.1.3: a ServerHello with this random asks for another ClientHello."""
_MOST_CERTIFICATES: Final = 16


@dataclass(slots=True)
class Cursor:
    """Takes what is there, and says so when it is not."""

    data: bytes
    at: int = 0

    def take(self, count: int) -> bytes:
        """The next bytes."""
        piece = self.data[self.at : self.at + count]
        if len(piece) < count:
            raise ValueError("the message ends too early")
        self.at += count
        return piece

    def number(self, size: int) -> int:
        """Big-endian."""
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """Length, then as many bytes."""
        return self.take(self.number(size))

    @property
    def left(self) -> int:
        """Bytes that are still there."""
        return len(self.data) - self.at


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What the client offers."""

    version: int
    random: bytes
    session: bytes
    suites: tuple[int, ...]
    sni: str
    signatures: tuple[int, ...]
    supported: tuple[int, ...]

    @property
    def versions(self) -> list[str]:
        """Newest first; the legacy field is the highest of a client that has no list."""
        offered = [one for one in self.supported if not tls_words.greased(one)]
        return [tls_words.version(one) for one in sorted(offered, reverse=True)] or [tls_words.version(self.version)]


@dataclass(frozen=True, slots=True)
class ServerHello:
    """What the server chose."""

    version: int
    session: bytes
    suite: int
    retry: bool
    resumes: bool
    """TLS 1.3: by a pre-shared key."""


@dataclass(frozen=True, slots=True)
class Request:
    """CertificateRequest up to TLS 1.2."""

    kinds: tuple[int, ...]
    names: tuple[str, ...] = field(default=())


def client_hello(body: bytes) -> ClientHello:
    """RFC 5246 section 7.4.1.2 and RFC 8446 section 4.1.2."""
    read = Cursor(body)
    version, random, session = read.number(2), read.take(32), read.vector(1)
    suites = _numbers(read.vector(2))
    read.vector(1)
    told = dict(_extensions(read))
    listed = told.get(_VERSIONS, b"")
    return ClientHello(
        version,
        random,
        session,
        suites,
        _server_name(told.get(_SNI, b"")),
        _numbers(told.get(_SIGNATURES, b"\0\0")[2:]),
        _numbers(listed[1:]),
    )


def server_hello(body: bytes) -> ServerHello:
    """RFC 5246 section 7.4.1.3 and RFC 8446 section 4.1.3."""
    read = Cursor(body)
    version, random, session, suite = read.number(2), read.take(32), read.vector(1), read.number(2)
    read.number(1)
    told = dict(_extensions(read))
    chosen = told.get(_VERSIONS, b"")
    if len(chosen) == 2:
        version = int.from_bytes(chosen, "big")
    return ServerHello(version, session, suite, random == _RETRY, _PSK in told)


def certificates(body: bytes) -> list[bytes]:
    """Up to TLS 1.2: the leaf first."""
    read = Cursor(Cursor(body).vector(3))
    found: list[bytes] = []
    while read.left and len(found) < _MOST_CERTIFICATES:
        found.append(read.vector(3))
    return found


def request(body: bytes, version: int) -> Request:
    """RFC 5246 section 7.4.4; the signature algorithms are new in TLS 1.2."""
    read = Cursor(body)
    kinds = tuple(read.vector(1))
    if version >= 0x0303:
        read.vector(2)
    names: list[str] = []
    listed = Cursor(read.vector(2))
    while listed.left and len(names) < 200:
        names.append(der.name_of(listed.vector(2)))
    return Request(kinds, tuple(names))


def tickets(kind: int, body: bytes) -> Iterator[tuple[int, int]]:
    """Where a message has the ticket of a session of TLS 1.2 (RFC 5077 sections 3.2 and 3.3): begin and end."""
    if kind == NEW_TICKET:
        yield 4, len(body)
    if kind != CLIENT_HELLO:
        return
    read = Cursor(body)
    read.take(34)
    for size in (1, 2, 1):
        read.vector(size)
    if read.left < 2:
        return
    begin = read.at + 2
    inner = Cursor(read.vector(2))
    while inner.left >= 4:
        extension, said = inner.number(2), inner.vector(2)
        if extension == _TICKET:
            yield begin + inner.at - len(said), begin + inner.at


def _extensions(read: Cursor) -> Iterator[tuple[int, bytes]]:
    if read.left < 2:
        return
    inner = Cursor(read.vector(2))
    while inner.left >= 4:
        yield inner.number(2), inner.vector(2)


def _numbers(data: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data) - 1, 2))


def _server_name(data: bytes) -> str:
    if not data:
        return ""
    read = Cursor(Cursor(data).vector(2))
    return read.vector(2).decode("latin-1") if read.left and read.number(1) == 0 else ""
