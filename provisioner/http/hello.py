"""What a ClientHello says before anything is done for it: the name asked for, whether it resumes, its fingerprint.

Nothing here decides; a hello in several records, or one that cannot be read, is left to OpenSSL and says nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final, NamedTuple

_SERVER_NAME: Final = 0
_GROUPS: Final = 10
_FORMATS: Final = 11
_SIGNATURES: Final = 13
"""RFC 8446 section 4.2.3; TLS 1.2 has it, too (RFC 5246 section 7.4.1.4.1)."""
_TICKET: Final = 35
"""RFC 5077 section 3.2; empty where a client only says that it would take one."""
_VERSIONS: Final = 43
"""RFC 8446 section 4.2.1; with it a session id means nothing (section D.4)."""
_PRE_SHARED_KEY: Final = 41
"""RFC 8446 section 4.2.11."""
_HOST_NAME: Final = 0
_HEAD: Final = 5 + 4
"""Record header and handshake header."""


class HelloFacts(NamedTuple):
    """``name``: the server name asked for (RFC 6066 section 3), lower case; empty when none was."""

    name: str = ""
    resumes: bool = False
    fingerprint: str = ""
    """16 hex digits over version, ciphers, extensions, groups and formats in their order, without GREASE (RFC 8701)."""


_NOTHING: Final = HelloFacts()
_MOST: Final = 64
"""Numbers kept of one list; no phone offers more, and a hello can hold 8,000."""


class Offer(NamedTuple):
    """What a client says that it can, as numbers of IANA's lists, in its order and without GREASE (RFC 8701)."""

    name: str = ""
    """As HelloFacts has it."""
    versions: tuple[int, ...] = ()
    suites: tuple[int, ...] = ()
    signatures: tuple[int, ...] = ()
    """Empty where the extension was not sent, as old TLS 1.2 stacks do."""


class _Reader:
    """Bytes with a length before them; IndexError when there are fewer than that says."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def left(self) -> bool:
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        data = self._data[self._at : self._at + size]
        if len(data) < size:
            raise IndexError
        self._at += size
        return data

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, prefix: int) -> bytes:
        return self.take(self.number(prefix))


def read_hello(first: bytes, *, fingerprint: bool = False) -> HelloFacts:
    """Read the first bytes of a connection that classify() calls a ClientHello (RFC 8446 section 4.1.2)."""
    length = int.from_bytes(first[6:9])
    if len(first) < _HEAD + length:
        return _NOTHING
    try:
        return _read(first[_HEAD : _HEAD + length], fingerprint)
    except (IndexError, UnicodeDecodeError):
        return _NOTHING


def read_offer(first: bytes) -> Offer:
    """The same bytes read for people, as far as there are any: a hello may have been cut off. Never an error."""
    reader, found = _Reader(first[_HEAD:]), Offer()
    try:
        version = reader.number(2)
        reader.take(32)
        reader.vector(1)
        found = Offer(versions=(version,), suites=_numbers(reader.vector(2))[:_MOST])
        reader.vector(1)
        reader.take(2)  # the length of all extensions, which may be more than is there
        while reader.left():
            found = _with(found, reader.number(2), reader.vector(2))
    except (IndexError, UnicodeDecodeError):
        pass
    return found


def hello_time(first: bytes) -> int:
    """The first four bytes of a ClientHello's random part: Unix time in old stacks (RFC 5246 section 7.4.1.2)."""
    return int.from_bytes(first[_HEAD + 2 : _HEAD + 6])


def hello_random(first: bytes) -> str:
    """16 hex digits of a hash of the whole random part, empty where it is cut off: no two hellos have the same."""
    random = first[_HEAD + 2 : _HEAD + 34]
    return hashlib.sha256(random).hexdigest()[:16] if len(random) == 32 else ""


def _with(found: Offer, kind: int, extension: bytes) -> Offer:
    if kind == _SERVER_NAME:
        return found._replace(name=_name(extension)[:255])
    if kind == _VERSIONS:
        return found._replace(versions=_numbers(extension[1:])[:_MOST])
    if kind == _SIGNATURES:
        return found._replace(signatures=_numbers(extension[2:])[:_MOST])
    return found


def _read(body: bytes, wanted: bool) -> HelloFacts:
    reader = _Reader(body)
    version = reader.number(2)
    reader.take(32)
    session = reader.vector(1)
    ciphers = reader.vector(2)
    reader.vector(1)
    found = dict(_extensions(reader.vector(2))) if reader.left() else {}
    return HelloFacts(
        _name(found.get(_SERVER_NAME, b"")),
        _PRE_SHARED_KEY in found or bool(found.get(_TICKET)) or (bool(session) and _VERSIONS not in found),
        _fingerprint(version, ciphers, found) if wanted else "",
    )


def _extensions(data: bytes) -> Iterator[tuple[int, bytes]]:
    reader = _Reader(data)
    while reader.left():
        kind = reader.number(2)
        yield kind, reader.vector(2)


def _name(extension: bytes) -> str:
    if not extension:
        return ""
    names = _Reader(_Reader(extension).vector(2))
    while names.left():
        kind, name = names.number(1), names.vector(2)
        if kind == _HOST_NAME:
            return name.decode("ascii").lower().rstrip(".")
    return ""


def _fingerprint(version: int, ciphers: bytes, extensions: dict[int, bytes]) -> str:
    parts = (
        (version,),
        _numbers(ciphers),
        tuple(kind for kind in extensions if not _grease(kind)),
        _numbers(extensions.get(_GROUPS, b"")[2:]),
        tuple(extensions.get(_FORMATS, b"")[1:]),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _numbers(data: bytes) -> tuple[int, ...]:
    found = (int.from_bytes(data[at : at + 2]) for at in range(0, len(data) - 1, 2))
    return tuple(one for one in found if not _grease(one))


def _grease(number: int) -> bool:
    return number & 0x0F0F == 0x0A0A and number >> 8 == number & 0xFF
