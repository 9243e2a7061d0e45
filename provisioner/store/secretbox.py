"""Every secret is sealed with AES-256-GCM and bound to its table, row and field; the keys lie outside the database.

A sealed value is ``version (1) | key id (4) | nonce (12) | ciphertext and tag``. The key file holds one key a line as
64 hex digits: the first seals, the others only open what was sealed before the last rotation.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from provisioner.errors import Conflict, StoreFailed, Unusable
from provisioner.secret_files import secret_text

_VERSION: Final = b"\x01"
HEADER: Final = 5
"""Bytes that tell version and key."""
_NONCE: Final = 12  # bytes; NIST SP 800-38D section 8.2.2: random 96-bit nonces, fewer than 2^32 seals a key
_KEY_LINE: Final = re.compile(r"[0-9a-f]{64}")
_CODES: Final = b"provisioner activation code finder"
"""HKDF's info (RFC 5869 section 3.2): a key for this purpose alone."""

_Stamp = tuple[int, int, int]
"""Inode, time and size of the key file."""


class SecretBox:
    """Seals and opens; holds its keys where no repr reaches them.

    One that was read from a file follows it, so a rotation reaches every running process without a restart: before it
    seals or finds it looks whether the file is another one (1 µs), and when it meets a key it does not know.
    """

    __slots__ = ("_ciphers", "_current", "_derived", "_finders", "_header", "_keys", "_path", "_stamp")

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._path: Path | None = None
        self._stamp: _Stamp | None = None
        self._ciphers: dict[bytes, AESGCM] = {}
        """Grows only: what this process could open once it can still open while it holds a row read a moment ago."""
        self._take(keys)

    def __repr__(self) -> str:
        return f"SecretBox({len(self._finders)} keys)"

    def __len__(self) -> int:
        """Keys in the file; more than one while a rotation is not finished."""
        return len(self._finders)

    @classmethod
    def load(cls, path: Path) -> SecretBox:
        """Read the key file; Unusable says what is wrong with it and what to do."""
        stamp = _stamp(path)
        box = cls(_read_keys(path))
        box._path, box._stamp = path, stamp
        return box

    def _take(self, keys: Sequence[bytes]) -> None:
        self._ciphers |= {_key_id(key): AESGCM(key) for key in keys}
        self._finders = tuple(hmac.digest(key, b"token finder", "sha256") for key in keys)
        self._keys = tuple(keys)
        self._derived: dict[bytes, tuple[bytes, ...]] = {}
        self._header = _VERSION + _key_id(keys[0])
        self._current = self._ciphers[_key_id(keys[0])]

    def follow(self) -> None:
        """Take up the keys of a file that was replaced; one that cannot be read now changes nothing."""
        if self._path is None or (stamp := _stamp(self._path)) == self._stamp or stamp is None:
            return
        with suppress(Unusable):
            self._take(_read_keys(self._path))
            self._stamp = stamp

    def seal(self, secret: bytes, table: str, row: str, field: str) -> bytes:
        """Encrypt for exactly this table, row and field."""
        self.follow()
        nonce = os.urandom(_NONCE)
        return self._header + nonce + self._current.encrypt(nonce, secret, _bound(self._header, table, row, field))

    def open(self, sealed: bytes, table: str, row: str, field: str) -> bytes:
        """Decrypt what was sealed for this table, row and field; StoreFailed when it is anything else."""
        header = sealed[:HEADER]
        if (cipher := self._ciphers.get(header[1:])) is None:
            self.follow()
            cipher = self._ciphers.get(header[1:])
        if cipher is None or header[:1] != _VERSION:
            raise StoreFailed(f"{table} {row}: {field} is sealed with a key that is not in the key file")
        nonce, text = sealed[HEADER : HEADER + _NONCE], sealed[HEADER + _NONCE :]
        try:
            return cipher.decrypt(nonce, text, _bound(header, table, row, field))
        except (InvalidTag, ValueError):
            raise StoreFailed(f"{table} {row}: {field} is damaged or was moved here from another row") from None

    @property
    def path(self) -> Path:
        """The file its keys are from."""
        assert self._path is not None, "keys that are from no file cannot be rotated"
        return self._path

    @property
    def header(self) -> bytes:
        """What everything begins with that the newest key has sealed."""
        return self._header

    def is_current(self, sealed: bytes) -> bool:
        """Whether the newest key sealed it; rotation seals the others again."""
        return sealed[:HEADER] == self._header

    def finders(self, token: str) -> tuple[str, ...]:
        """Keyed hashes a token can be found by, the newest key's first; the token itself is never stored."""
        self.follow()
        return tuple(hmac.digest(key, token.encode(), "sha256").hex() for key in self._finders)

    def code_finders(self, code: str) -> tuple[str, ...]:
        """What an activation code can be found by, the newest key's first: the key's id and HMAC-SHA256 under it."""
        derived = self.derived(_CODES)
        keys = zip(self._keys, derived, strict=True)
        return tuple(f"{_key_id(key).hex()}:{hmac.digest(own, code.encode(), 'sha256').hex()}" for key, own in keys)

    def derived(self, purpose: bytes) -> tuple[bytes, ...]:
        """Keys of 256 bits for another purpose (RFC 5869), the newest key's first: none says anything of the others."""
        self.follow()
        found = self._derived.get(purpose)
        if found is None:
            found = tuple(HKDF(SHA256(), 32, None, purpose).derive(key) for key in self._keys)
            self._derived[purpose] = found
        return found


def create_key(path: Path) -> None:
    """Make a key file that only its owner can read; Unusable when one is there: losing it would lose every secret."""
    _write_lines(path, [os.urandom(32).hex()])


def rotate_key(path: Path) -> None:
    """Put a fresh key first; the old ones stay to open what they sealed."""
    _replace_lines(path, [os.urandom(32).hex(), *_read_lines(path)])


def drop_old_keys(path: Path) -> None:
    """Keep the newest key alone; whatever an older one has sealed is lost from now on."""
    _replace_lines(path, _read_lines(path)[:1])


@contextmanager
def rotating(path: Path) -> Iterator[None]:
    """Be the only one who changes the key file; Conflict when another process does. A crash leaves no lock behind."""
    with path.with_name(path.name + ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("another process rotates the key right now: wait for it") from None
        yield


def _replace_lines(path: Path, lines: Sequence[str]) -> None:
    """All of it or nothing: a crash leaves the file before or the one behind."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    _write_lines(fresh, lines)
    fresh.replace(path)
    _sync_directory(path.parent)


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"key id" + key).digest()[:4]


def _bound(header: bytes, table: str, row: str, field: str) -> bytes:
    return header + "\x00".join((table, row, field)).encode()


def _read_keys(path: Path) -> list[bytes]:
    return [bytes.fromhex(line) for line in _read_lines(path)]


def _read_lines(path: Path) -> list[str]:
    missing = f"the key file {path} is missing: put the copy back; without it the secrets in the database are lost"
    text = secret_text(path, "the key file", "; put it back from the backup", missing=missing)
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
