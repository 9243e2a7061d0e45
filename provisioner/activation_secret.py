"""The SIP credential of a phone that waits for activation: worked out from a key, never stored. Pure: time is given.

The user is the Mac. The name for authentication is ``<mac>-<stamp>``, the password a keyed hash of that name, so every
worker and the voice server agree on it without a word between them, and a restart changes nothing. A stamp says when
the credential began to count, in seconds of Unix time as 8 hex digits; it is no secret, the key is.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Final

from provisioner.errors import Invalid
from provisioner.model import Mac, Secret

PURPOSE: Final = b"activation SIP credential 1"
"""What the key is derived for: HKDF's info (RFC 5869 section 3.2)."""
ENTROPY: Final = 8
"""Bytes that make a stamp unlike any other where each fetch has a secret of its own."""
SHORTEST: Final = 7200
"""s that such a credential counts for: twice the shortest time between two polls of the slowest phones."""
_SKEW: Final = 300.0
"""s that a clock may have been put back since the stamp was made."""
_NAME: Final = re.compile(r"([0-9a-f]{12})-([0-9a-f]{8})(?:-[0-9a-f]{16})?")
_BYTES: Final = 20  # 160 bits, 32 characters: the longest password that the oldest of the phones takes


def issue(key: bytes, mac: Mac, now: float, life: int, entropy: bytes) -> tuple[str, Secret]:
    """Name and password that this device registers with.

    The same for all of ``life`` seconds, which begin at another moment for each device, so that a fleet of waiting
    phones does not restart at once; with a life of 0 different for each ``entropy`` (8 random bytes).
    """
    if life:
        phase = int.from_bytes(hashlib.sha256(mac.encode()).digest()[:8]) % life
        name = f"{mac}-{max(int(now) - (int(now) - phase) % life, 0):08x}"
    else:
        name = f"{mac}-{int(now):08x}-{entropy[:ENTROPY].hex()}"
    return name, _password(key, name)


def credential(key: bytes, auth_name: str, now: float, life: int) -> tuple[Mac, Secret] | None:
    """Whose name this is and the password that belongs to it; None where it is no name of ours or is too old.

    It counts for twice its life: who fetched it at its last moment still has it for a whole one.
    """
    found = _NAME.fullmatch(auth_name)
    if found is None or not -_SKEW <= now - int(found[2], 16) < (2 * life or SHORTEST):
        return None
    try:
        mac = Mac.parse(found[1])
    except Invalid:  # all zeros: everybody and so nobody
        return None
    return mac, _password(key, auth_name)


def _password(key: bytes, name: str) -> Secret:
    """Small letters and digits only: no phone's file and no phone's keypad has trouble with them."""
    return Secret(base64.b32encode(hmac.digest(key, name.encode(), "sha256")[:_BYTES]).decode().lower())
