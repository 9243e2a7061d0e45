"""The keys of one direction out of recorded secrets: AEAD suites of TLS 1.2 and 1.3, and no other. Pure.

RFC 5246 section 6.3 and RFC 8446 section 7 say how keys come about, RFC 5288 and RFC 7905 how a nonce is made of them.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from provisioner.evidence.tls_layout import TLS_1_3, Record, Unopened

TAG: Final = 16
_EXPLICIT: Final = 8
"""Bytes of its nonce that a GCM record of TLS 1.2 carries."""
_NONCE: Final = 12


class Suite(NamedTuple):
    """What it takes to seal a record."""

    cipher: str
    key: int
    hash: str

    @property
    def explicit(self) -> bool:
        """In TLS 1.2 a part of the nonce stands in the record."""
        return self.cipher == "gcm"


_GCM_128, _GCM_256 = Suite("gcm", 16, "sha256"), Suite("gcm", 32, "sha384")
_CHACHA: Final = Suite("chacha", 32, "sha256")
MODERN: Final[Mapping[int, Suite]] = MappingProxyType({0x1301: _GCM_128, 0x1302: _GCM_256, 0x1303: _CHACHA})
"""TLS 1.3."""
OLDER: Final[Mapping[int, Suite]] = MappingProxyType(
    dict.fromkeys((0x009C, 0x009E, 0xC02B, 0xC02F), _GCM_128)
    | dict.fromkeys((0x009D, 0x009F, 0xC02C, 0xC030), _GCM_256)
    | dict.fromkeys((0xCCA8, 0xCCA9, 0xCCAA), _CHACHA)
)
"""TLS 1.2."""


@dataclass(slots=True, repr=False)
class Sealer:
    """One direction under one key: opens its records in their order, and seals another text in the place of each."""

    cipher: AESGCM | ChaCha20Poly1305
    iv: bytes
    modern: bool
    explicit: bool = False
    number: int = 0

    def open(self, one: Record) -> tuple[int, bytes]:
        """The number under which it was sealed, and the text."""
        number = self.number
        self.number += 1
        nonce, begin = self._nonce(one, number)
        size = len(one.body) - begin - TAG
        if size < 0:
            raise Unopened("an encrypted record is too short")
        try:
            return number, self.cipher.decrypt(nonce, one.body[begin:], self._bound(one, number, size))
        except InvalidTag:
            raise Unopened("a record does not open with the secrets of its connection") from None

    def seal(self, one: Record, number: int, text: bytes) -> bytes:
        """The body of the same record with another text of the same length."""
        nonce, begin = self._nonce(one, number)
        if len(text) != len(one.body) - begin - TAG:
            raise Unopened("what was cleared has another length")
        return one.body[:begin] + self.cipher.encrypt(nonce, text, self._bound(one, number, len(text)))

    def _nonce(self, one: Record, number: int) -> tuple[bytes, int]:
        if self.explicit:
            return self.iv + one.body[:_EXPLICIT].ljust(_EXPLICIT, b"\0"), _EXPLICIT
        counted = number.to_bytes(_NONCE, "big")
        return bytes(left ^ right for left, right in zip(self.iv, counted, strict=True)), 0

    def _bound(self, one: Record, number: int, size: int) -> bytes:
        if self.modern:
            return struct.pack("!BHH", one.kind, one.version, len(one.body))
        return struct.pack("!QBHH", number, one.kind, one.version, size)


def of_traffic_secret(suite: Suite, secret: bytes) -> Sealer:
    """TLS 1.3: one direction, in the handshake or after it."""
    key = _expanded(suite, secret, b"key", suite.key)
    return Sealer(_cipher(suite, key), _expanded(suite, secret, b"iv", _NONCE), modern=True)


def of_master_secret(suite: Suite, master: bytes, client_random: bytes, server_random: bytes) -> tuple[Sealer, Sealer]:
    """TLS 1.2: the client's direction, and the server's."""
    fixed = 4 if suite.explicit else _NONCE
    seed = b"key expansion" + server_random + client_random
    block = _expanded_by_hash(suite.hash, master, seed, 2 * (suite.key + fixed))
    keys, ivs = block[: 2 * suite.key], block[2 * suite.key :]
    return (
        Sealer(_cipher(suite, keys[: suite.key]), ivs[:fixed], modern=False, explicit=suite.explicit),
        Sealer(_cipher(suite, keys[suite.key :]), ivs[fixed:], modern=False, explicit=suite.explicit),
    )


def updated(suite: Suite, secret: bytes) -> bytes:
    """The secret after a KeyUpdate, RFC 8446 section 7.2."""
    return _expanded(suite, secret, b"traffic upd", len(secret))


def suite_of(number: int, version: int) -> Suite:
    """Unopened for what has no tag over each record, or is older."""
    found = (MODERN if version == TLS_1_3 else OLDER).get(number)
    if found is None:
        raise Unopened(f"its cipher suite 0x{number:04x} is none that records can be sealed again with")
    return found


def with_body(one: Record, body: bytes) -> bytes:
    """The record as it stands in its direction."""
    return struct.pack("!BHH", one.kind, one.version, len(one.body)) + body


def _cipher(suite: Suite, key: bytes) -> AESGCM | ChaCha20Poly1305:
    return AESGCM(key) if suite.cipher == "gcm" else ChaCha20Poly1305(key)


def _expanded(suite: Suite, secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label without a context."""
    name = b"tls13 " + label
    info = struct.pack("!HB", size, len(name)) + name + b"\0"
    digest = SHA256() if suite.hash == "sha256" else SHA384()
    if len(secret) != digest.digest_size:
        raise Unopened("a recorded secret has the wrong length")
    return HKDFExpand(digest, size, info).derive(secret)


def _expanded_by_hash(name: str, secret: bytes, seed: bytes, size: int) -> bytes:
    """P_hash, RFC 5246 section 5."""
    made, link = b"", seed
    while len(made) < size:
        link = hmac.digest(secret, link, name)
        made += hmac.digest(secret, link + seed, name)
    return made[:size]
