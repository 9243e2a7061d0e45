"""A second factor: codes of RFC 6238 from an authenticator app, and recovery codes for the day it is lost. Pure.

A code counts in its own step and in the ones beside it, as clocks differ; a step that was used does not count again.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Final

import pyotp

_STEP: Final = 30
"""s, RFC 6238 section 5.2."""
_BESIDE: Final = 1
"""Steps: half a minute is as far as a clock may be off."""
_SEED: Final = 32
"""Characters of base32: 160 bits, RFC 4226 section 4."""
_CODES: Final = 10
_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"
_DIGITS: Final = re.compile(r"[0-9]{6}")
_RECOVERY: Final = re.compile(rf"[{_ALPHABET}]{{16}}")


def new_seed() -> str:
    """What the app and the server share."""
    return pyotp.random_base32(_SEED)


def uri_of(seed: str, login: str, issuer: str) -> str:
    """What the app reads from a QR code."""
    return pyotp.TOTP(seed, interval=_STEP).provisioning_uri(name=login, issuer_name=issuer)


def step_of(seed: str, code: str, now: float, used: int) -> int | None:
    """The step of this code, when it is one of now and none up to ``used``; the same work whether it is or not."""
    given = code.replace(" ", "")
    given = given if _DIGITS.fullmatch(given) else "none"
    present, found = int(now // _STEP), None
    for step in range(present - _BESIDE, present + _BESIDE + 1):
        right = hmac.compare_digest(pyotp.TOTP(seed, interval=_STEP).generate_otp(max(step, 0)), given)
        found = step if right and step > used else found
    return found


def new_recovery_codes(pick: Callable[[str], str]) -> list[str]:
    """Ten codes of 79 bits, in groups that can be read out; ``pick`` chooses one character."""
    drawn = ("".join(pick(_ALPHABET) for _ in range(16)) for _ in range(_CODES))
    return ["-".join(code[start : start + 4] for start in range(0, 16, 4)) for code in drawn]


def recovery_finder(code: str) -> str:
    """What a recovery code is found by, however it was written; empty for what is none."""
    plain = re.sub(r"[\s-]", "", code.lower())
    return hashlib.sha256(plain.encode()).hexdigest() if _RECOVERY.fullmatch(plain) else ""
