"""TLS as it lies in two directions of bytes: records, and the few fields that say how they were sealed. Pure.

Rule: whatever is crooked raises Unopened with its reason, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

CHANGE, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23
TLS_1_2, TLS_1_3 = 0x0303, 0x0304
CLIENT_HELLO, SERVER_HELLO, FINISHED, KEY_UPDATE = 1, 2, 20, 24
HEAD: Final = 5
_LONGEST: Final = 0x4000 + 2048
"""RFC 5246 section 6.2.3: what a record may claim."""
_VERSIONS: Final = 43
"""supported_versions, RFC 8446 section 4.2.1."""
_RETRY: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""RFC 8446 section 4.1.3: a ServerHello with this random asks for another ClientHello."""


class Unopened(Exception):
    """Why a connection stays sealed."""


class Record(NamedTuple):
    """A whole record: where it begins, and what is in it."""

    at: int
    kind: int
    version: int
    body: bytes


class Hello(NamedTuple):
    """What the server has chosen; of the client's the random alone."""

    random: bytes
    suite: int = 0
    version: int = 0

    @property
    def retries(self) -> bool:
        """It is no answer yet."""
        return self.random == _RETRY


def records(data: bytes) -> Iterator[Record]:
    """Each whole record; one that breaks off at the end is left out."""
    at = 0
    while at + HEAD <= len(data):
        kind, version, length = data[at], data[at + 1] << 8 | data[at + 2], data[at + 3] << 8 | data[at + 4]
        if not (CHANGE <= kind <= DATA and version >> 8 == 3 and length <= _LONGEST):
            raise Unopened("it is not TLS all the way")
        if at + HEAD + length > len(data):
            return
        yield Record(at, kind, version, data[at + HEAD : at + HEAD + length])
        at += HEAD + length


def messages(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Handshake messages that lie whole in one record, as those of phones and servers do."""
    at = 0
    while at < len(body):
        length = int.from_bytes(body[at + 1 : at + 4], "big")
        if at + 4 + length > len(body):
            raise Unopened("a handshake message lies in several records")
        yield body[at], body[at + 4 : at + 4 + length]
        at += 4 + length


def client_hello(body: bytes) -> Hello:
    """RFC 8446 section 4.1.2, RFC 5246 section 7.4.1.2."""
    return Hello(_random(body))


def server_hello(body: bytes) -> Hello:
    """RFC 8446 section 4.1.3, RFC 5246 section 7.4.1.3."""
    at = _vector(body, 34, 1)[1]
    suite, version = _number(body, at, 2), _number(body, 0, 2)
    for kind, begin, end in _extensions(body, at + 3):
        if kind == _VERSIONS and end - begin == 2:
            version = _number(body, begin, 2)
    return Hello(_random(body), suite, version)


def _extensions(body: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    if at >= len(body):
        return  # TLS 1.2 may leave them out
    at, end = _vector(body, at, 2)
    while at < end:
        kind = _number(body, at, 2)
        begin, after = _vector(body, at + 2, 2)
        yield kind, begin, after
        at = after


def _random(body: bytes) -> bytes:
    if len(body) < 34:
        raise Unopened("a hello ends too early")
    return body[2:34]


def _number(body: bytes, at: int, size: int) -> int:
    if at + size > len(body):
        raise Unopened("a hello ends too early")
    return int.from_bytes(body[at : at + size], "big")


def _vector(body: bytes, at: int, size: int) -> tuple[int, int]:
    """Where what stands behind a length begins and ends."""
    begin = at + size
    end = begin + _number(body, at, size)
    if end > len(body):
        raise Unopened("a hello ends too early")
    return begin, end
