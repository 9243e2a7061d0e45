# SPDX-License-Identifier: GPL-2.0-only
"""Secrets out of text in clear, byte for byte: tokens, passwords, proofs of identity and keys become as many x."""

from __future__ import annotations

import re
from typing import Final

from provisioner.capture import sip
from provisioner.capture.lines import SCHEMES
from provisioner.capture.looks import hidden

X: Final = b"x"
_PROOF: Final = re.compile(
    rb"(?im)^([ \t]*(?:(?:proxy-)?authorization|(?:set-)?cookie2?|(?:proxy-)?authentication-info|"
    rb"x-[\w-]*(?:key|token|auth)[\w-]*)[ \t]*:)([^\n]*(?:\n[ \t][^\n]*)*)"
)
"""A whole header, with the lines that it was folded into."""
_CHALLENGE: Final = re.compile(rb"(?im)^([ \t]*(?:www|proxy)-authenticate[ \t]*:[ \t]*)([^\n]*(?:\n[ \t][^\n]*)*)")
_NONCE: Final = re.compile(rb"(?i)\b((?:c|next)?nonce|opaque|response)([ \t]*=[ \t]*)(\"[^\"\n]*\"?|[^\s,]+)")
_HEAD_ENDS: Final = re.compile(rb"\r?\n\r?\n")
_SAYS_MORE: Final = re.compile(rb"(?:INFO|MESSAGE) ")
"""SIP whose body is what somebody types or presses."""


def crossed(data: bytes) -> bytes:
    """Nothing of it but its length."""
    return X * len(data)


def words(data: bytes, *, whole: bool = True) -> bytes:
    """Free text without secrets; what is cut off may end in half a token."""
    text = data.decode("latin-1")  # a character for each byte
    return hidden(text, lambda secret: X.decode() * len(secret), whole=whole).encode("latin-1")


def message(data: bytes, *, keep_body: bool = False, whole: bool = True) -> bytes:
    """HTTP or SIP: a head without proofs; a configuration's body holds passwords under names that nobody can list."""
    end = _HEAD_ENDS.search(data)
    head, body = (data[: end.end()], data[end.end() :]) if end else (data, b"")
    head = _PROOF.sub(lambda found: found[1] + _black(found[2]), head)
    head = words(_CHALLENGE.sub(_asked, head), whole=end is not None)
    keep_body = keep_body and not _SAYS_MORE.match(data) and sip.is_sip(data)
    return head + (words(body, whole=whole) if keep_body else crossed(body))


def _black(value: bytes) -> bytes:
    return re.sub(rb"\S", X, value)


def _asked(found: re.Match[bytes]) -> bytes:
    """A challenge says what it wants to have; what its server made for this one client goes."""
    scheme = found[2].split(maxsplit=1)[0] if found[2].strip() else b""
    if scheme.lower().decode("latin-1") not in SCHEMES:
        return found[1] + _black(found[2])
    if scheme.lower() != b"digest":
        return found[1] + scheme + _black(found[2][len(scheme) :])
    return found[1] + _NONCE.sub(lambda one: one[1] + one[2] + _black(one[3]), found[2])
