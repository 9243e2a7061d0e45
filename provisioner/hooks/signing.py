"""Signatures of webhooks, made and checked: Standard Webhooks, a bare HMAC over the body, and a bearer secret. Pure.

Standard Webhooks (standardwebhooks.com, v1): HMAC-SHA256 over ``id.timestamp.body``, in base64, one for each secret
that is valid now. Comparisons take the same time whatever is wrong.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from provisioner.errors import Invalid, NotSignedIn

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
_PREFIX: Final = "whsec_"
_LEAST, _MOST = 24, 64
"""Bytes of a secret, as the specification has it."""
_BARE: Final = re.compile(r"[!-~]{16,200}")
_TIME: Final = re.compile(r"[0-9]{1,12}")
_IDENT: Final = re.compile(r"[!-~]{1,200}")
_SIGNATURES: Final = 16
"""Looked at in one header."""
DIGEST_HEADERS: Final = ("x-signature-256", "x-hub-signature-256")
"""Where systems put a bare HMAC of the body: ``sha256=`` and hex digits."""


class Scheme(StrEnum):
    """How a source proves itself."""

    STANDARD = "standard"
    """Standard Webhooks: id, time and body are signed."""
    HMAC = "hmac"
    """``X-Signature-256: sha256=...`` over the body, as GitHub's hooks do; it proves no time."""
    BEARER = "bearer"
    """``Authorization: Bearer SECRET``; for what can sign nothing."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a good proof says beside who it is."""

    ident: str = ""
    """The sender's own id of the message, where that is signed as well."""
    at: float | None = None


def new_secret(entropy: bytes) -> str:
    """A secret as it is told, of 32 random bytes."""
    return _PREFIX + base64.b64encode(entropy).decode()


def key_of(secret: str) -> bytes:
    """The key in a Standard Webhooks secret; ValueError when it is none."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("must be whsec_ and base64") from None
    if not _LEAST <= len(key) <= _MOST:
        raise ValueError(f"must hold {_LEAST} to {_MOST} bytes")
    return key


def check_secret(scheme: Scheme, secret: str) -> str:
    """A secret of somebody else's making; Invalid says what it must be, and never what it was."""
    try:
        if scheme is Scheme.STANDARD:
            key_of(secret)
        elif not _BARE.fullmatch(secret):
            raise ValueError("must be 16 to 200 visible ASCII characters")
    except ValueError as error:
        raise Invalid("secret", str(error)) from None
    return secret


def signature(secret: str, ident: str, timestamp: int, body: bytes) -> str:
    """One signature, with its version."""
    digest = hmac.digest(key_of(secret), f"{ident}.{timestamp}.".encode() + body, "sha256")
    return "v1," + base64.b64encode(digest).decode()


def signed(secrets: Sequence[str], ident: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers; each secret that is still valid has signed."""
    made = " ".join(signature(one, ident, timestamp, body) for one in secrets)
    return {ID: ident, TIMESTAMP: str(timestamp), SIGNATURE: made}


def prove(
    scheme: Scheme, secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: float, window: float
) -> Proof:
    """NotSignedIn unless one of the secrets has made this; ``headers`` by their names in lower case."""
    if scheme is Scheme.STANDARD:
        return _standard(secrets, headers, body, now, window)
    good = _bearer(secrets, headers) if scheme is Scheme.BEARER else _digest(secrets, headers, body)
    if not good:
        raise NotSignedIn("the signature or secret is missing or wrong")
    return Proof()


def _standard(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: float, window: float) -> Proof:
    ident, told, given = (headers.get(name, "") for name in (ID, TIMESTAMP, SIGNATURE))
    if not _IDENT.fullmatch(ident) or not _TIME.fullmatch(told):
        raise NotSignedIn(f"{ID}, {TIMESTAMP} or {SIGNATURE} is missing or malformed")
    good = False
    for secret in secrets:
        wanted = signature(secret, ident, int(told), body).encode()
        for one in given.encode("utf-8", "replace").split()[:_SIGNATURES]:
            good |= hmac.compare_digest(one, wanted)
    if not good or str(int(told)) != told:
        raise NotSignedIn("the signature is wrong: another secret, or a body that was changed on its way")
    if abs(now - int(told)) > window:
        raise NotSignedIn(f"{TIMESTAMP} is more than {window:g} s off: a replay, or a clock that is wrong")
    return Proof(ident, float(told))


def _digest(secrets: Sequence[str], headers: Mapping[str, str], body: bytes) -> bool:
    given = next((headers[name] for name in DIGEST_HEADERS if name in headers), "")
    sent = given.strip().removeprefix("sha256=").lower().encode("utf-8", "replace")
    good = False
    for secret in secrets:
        good |= hmac.compare_digest(sent, hmac.digest(secret.encode(), body, "sha256").hex().encode())
    return good


def _bearer(secrets: Sequence[str], headers: Mapping[str, str]) -> bool:
    scheme, _, sent = headers.get("authorization", "").partition(" ")
    digest = hashlib.sha256(sent.strip().encode("utf-8", "replace")).digest()
    good = False
    for secret in secrets:
        good |= hmac.compare_digest(digest, hashlib.sha256(secret.encode()).digest())
    return good and scheme.lower() == "bearer"
