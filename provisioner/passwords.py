"""Passwords are hashed with argon2id (RFC 9106) in a thread, few at once: memory stays bounded and the loop goes on.

A login that is nobody's is hashed against a hash that no password has, so it takes as long as a wrong password.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from provisioner.errors import Throttled
from provisioner.settings import Settings
from provisioner.sign_in_rules import spelled

T = TypeVar("T")

_WAITING: Final = 32
"""Attempts that may wait for a turn; at 0.1 s each the last waits less than 2 s."""
_MIB: Final = 1024
"""KiB, which is what argon2 counts in."""


class Passwords:
    """One a process: its turns bound the memory that hashing may take."""

    def __init__(self, settings: Settings) -> None:
        self._hasher = PasswordHasher(
            time_cost=settings.login_hash_passes,
            memory_cost=settings.login_hash_memory * _MIB,
            parallelism=settings.login_hash_lanes,
            hash_len=32,
            salt_len=16,
            type=Type.ID,
        )
        self._turns = asyncio.Semaphore(settings.login_hash_parallel)
        self._waiting = 0
        self._nobody = ""

    async def hash(self, password: str) -> str:
        """With its parameters and salt, as it is stored."""
        return await self._turn(partial(self._hash, password))

    async def verify(self, stored: str, password: str) -> bool:
        """Whether the password is the one that was hashed; where none is stored it takes as long, and is not."""
        if not self._nobody:
            self._nobody = await self.hash(secrets.token_urlsafe(32))
        return await self._turn(partial(self._verify, stored or self._nobody, password)) and bool(stored)

    def is_outdated(self, stored: str) -> bool:
        """Whether it was hashed with other parameters than those of today."""
        return self._hasher.check_needs_rehash(stored)

    async def _turn(self, call: Callable[[], T]) -> T:
        if self._waiting >= _WAITING:
            raise Throttled("too many people sign in at this moment", retry_after=2)
        self._waiting += 1
        try:
            async with self._turns:
                return await asyncio.to_thread(call)
        finally:
            self._waiting -= 1

    def _hash(self, password: str) -> str:
        return self._hasher.hash(spelled(password).encode("utf-8", "surrogatepass"))

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, spelled(password).encode("utf-8", "surrogatepass"))
        except (VerificationError, InvalidHashError):
            return False
