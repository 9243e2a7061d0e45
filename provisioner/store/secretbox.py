"""Every secret is sealed with AES-256-GCM and bound to its table, row and field; the keys lie outside the database.

A sealed value is ``version (1) | key id (4) | nonce (12) | ciphertext and tag``. The key file holds one key a line as
64 hex digits: the first seals, the others only open what was sealed before the last rotation.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from provisioner.errors import StoreFailed, Unusable

_VERSION: Final = b"\x01"
_HEADER: Final = 5
_NONCE: Final = 12  # bytes; NIST SP 800-38D section 8.2.2: random 96-bit nonces, fewer than 2^32 seals a key
_KEY_LINE: Final = re.compile(r"[0-9a-f]{64}")


class SecretBox:
    """Seals and opens; holds its keys where no repr reaches them."""

    __slots__ = ("_ciphers", "_current", "_finders", "_header")

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self._finders = tuple(hmac.digest(key, b"token finder", "sha256") for key in keys)
        self._header = _VERSION + _key_id(keys[0])
        self._current = self._ciphers[_key_id(keys[0])]

    def __repr__(self) -> str:
        return f"SecretBox({len(self._ciphers)} keys)"

    @classmethod
    def load(cls, path: Path) -> SecretBox:
        """Read the key file; Unusable says what is wrong with it and what to do."""
        return cls([bytes.fromhex(line) for line in _read_lines(path)])

    def seal(self, secret: bytes, table: str, row: str, field: str) -> bytes:
        """Encrypt for exactly this table, row and field."""
        nonce = os.urandom(_NONCE)
        return self._header + nonce + self._current.encrypt(nonce, secret, _bound(self._header, table, row, field))

    def open(self, sealed: bytes, table: str, row: str, field: str) -> bytes:
        """Decrypt what was sealed for this table, row and field; StoreFailed when it is anything else."""
        header = sealed[:_HEADER]
        cipher = self._ciphers.get(header[1:])
        if cipher is None or header[:1] != _VERSION:
            raise StoreFailed(f"{table} {row}: {field} is sealed with a key that is not in the key file")
        nonce, text = sealed[_HEADER : _HEADER + _NONCE], sealed[_HEADER + _NONCE :]
        try:
            return cipher.decrypt(nonce, text, _bound(header, table, row, field))
        except (InvalidTag, ValueError):
            raise StoreFailed(f"{table} {row}: {field} is damaged or was moved here from another row") from None

    def is_current(self, sealed: bytes) -> bool:
        """Whether the newest key sealed it; rotation seals the others again."""
        return sealed[:_HEADER] == self._header

    def finders(self, token: str) -> tuple[str, ...]:
        """Keyed hashes a token can be found by, the newest key's first; the token itself is never stored."""
        return tuple(hmac.digest(key, token.encode(), "sha256").hex() for key in self._finders)


def create_key(path: Path) -> None:
    """Make a key file that only its owner can read; Unusable when one is there: losing it would lose every secret."""
    _write_lines(path, [os.urandom(32).hex()])


def rotate_key(path: Path) -> None:
    """Put a fresh key first; the old ones stay to open what they sealed."""
    lines = [os.urandom(32).hex(), *_read_lines(path)]
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    _write_lines(fresh, lines)
    fresh.replace(path)
    _sync_directory(path.parent)


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"key id" + key).digest()[:4]


def _bound(header: bytes, table: str, row: str, field: str) -> bytes:
    return header + "\x00".join((table, row, field)).encode()


def _read_lines(path: Path) -> list[str]:
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        raise Unusable(
            f"the key file {path} is missing: put the copy back; without it the secrets in the database are lost"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"the key file {path} cannot be read: {error}; put it back from the backup") from error
    if stat.S_IMODE(mode) & 0o077:
        raise Unusable(f"the key file {path} can be read by others ({stat.S_IMODE(mode):04o}): run `chmod 600 {path}`")
    lines = text.split()
    if not lines or not all(_KEY_LINE.fullmatch(line) for line in lines):
        raise Unusable(f"the key file {path} must hold 64 hex digits a line: put it back from the backup")
    return lines


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        raise Unusable(f"the key file {path} is there already: it is kept, since it opens what is stored") from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write("".join(f"{line}\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
