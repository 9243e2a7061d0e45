"""Rule: a request is somebody's word only when its signature says so, compared in constant time, before all else.

Twilio: base64 of HMAC-SHA1 over the public URL and the sorted form fields. Telnyx: Ed25519 over ``timestamp|body``.
Systems that sign nothing carry a shared secret as the last part of the path.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Callable
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ivr.adapters.hooks import Heard, pairs

WINDOW: Final = 300.0
"""s that Telnyx's timestamp may be off: what its documentation advises against replays."""
_BODIES: Final = 50_000
"""Remembered: 160 requests a second for as long as a signature is good."""
_STAMP: Final = "telnyx-timestamp"
_LONGEST_STEP: Final = 8
_SHORTEST_SECRET: Final = 16
_SECRET: Final = re.compile(rf"[A-Za-z0-9_-]{{{_SHORTEST_SECRET},200}}")


class Signature(Protocol):
    """How the other side proves itself."""

    covers_query: bool
    """Whether what stands in the URL is signed too: without that, GET proves nothing."""

    def good(self, heard: Heard) -> bool:
        """Whether this request is theirs; never raises."""


class TwilioSignature:
    """Also of SignalWire's and others' compatible systems."""

    covers_query = True

    def __init__(self, token: str, public_url: str) -> None:
        """``public_url`` is the hook's, as the other side calls it: behind a proxy nobody else knows it."""
        if not token:
            raise ValueError("the account's auth token is empty")
        self._token = token.encode()
        self._url = public_url

    def good(self, heard: Heard) -> bool:
        """The fields count in the order of their names; one that comes twice with one value counts once."""
        try:
            form = pairs(heard.body.decode("utf-8", "replace")) if heard.is_form else []
        except ValueError:
            return False
        signed = self._url + (f"?{heard.query}" if heard.query else "") + "".join(a + b for a, b in sorted(set(form)))
        expected = base64.b64encode(hmac.digest(self._token, signed.encode("utf-8", "replace"), "sha1"))
        return hmac.compare_digest(expected, heard.headers("X-Twilio-Signature").encode("utf-8", "replace"))


class TelnyxSignature:
    """``key`` is the account's public key, base64."""

    covers_query = False

    def __init__(self, key: str, *, clock: Callable[[], float] = time.time) -> None:
        """Refused: a key that is none."""
        try:
            self._key = Ed25519PublicKey.from_public_bytes(base64.b64decode(key, validate=True))
        except (ValueError, binascii.Error) as error:
            raise ValueError("a Telnyx public key is 32 bytes in base64") from error
        self._clock = clock

    def good(self, heard: Heard) -> bool:
        """Within the window, over the body as it came."""
        stamp = heard.headers(_STAMP)
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
            return False
        if abs(self._clock() - int(stamp)) > WINDOW:
            return False
        try:
            signature = base64.b64decode(heard.headers("telnyx-signature-ed25519"), validate=True)
            self._key.verify(signature, f"{stamp}|".encode() + heard.body)
        except (ValueError, InvalidSignature):
            return False
        return True


class FirstSteps:
    """Where a signature leaves out the query: a body belongs to the step with which it came first.

    So one that was recorded is worth nothing at another step of its call, as long as its signature is good.
    """

    def __init__(self, most: int = _BODIES) -> None:
        """``most`` bodies are remembered; nobody but the other side can make one."""
        self._first: dict[bytes, str] = {}
        self._most = most

    def first(self, heard: Heard, step: str) -> str:
        """The step that counts. A caller may do the same thing twice, but not in one second: the time is signed too."""
        key = hashlib.sha256(f"{heard.headers(_STAMP)}|".encode() + heard.body).digest()
        if key not in self._first and len(self._first) >= self._most:
            del self._first[next(iter(self._first))]
        return self._first.setdefault(key, step[:_LONGEST_STEP])


class SharedSecret:
    """For systems that sign nothing: the path ends in ``/<secret>``, over TLS or a network of one's own."""

    covers_query = True

    def __init__(self, secret: str) -> None:
        """Refused: a secret that can be guessed, or that a URL would spell otherwise."""
        if not _SECRET.fullmatch(secret):
            raise ValueError(f"the secret is at least {_SHORTEST_SECRET} letters, digits, - and _")
        self._secret = secret.encode()

    def good(self, heard: Heard) -> bool:
        """The last part of the path."""
        told = heard.path.rpartition("/")[2].encode("utf-8", "replace")
        return hmac.compare_digest(told, self._secret)
