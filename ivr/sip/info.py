"""Keys told by INFO: the two bodies that phones send, neither of which was ever standardised."""

from __future__ import annotations

import re
from typing import Final

RELAY: Final = "application/dtmf-relay"
PLAIN: Final = "application/dtmf"
BODIES: Final = frozenset({RELAY, PLAIN})

_LONGEST: Final = 256
"""Bytes; a real body has thirty."""
_SIGNAL: Final = re.compile(r"^[ \t]*Signal[ \t]*=[ \t]*(\S{1,5})[ \t]*$", re.IGNORECASE | re.MULTILINE)
_EVENTS: Final = {str(number): key for number, key in enumerate("0123456789*#ABCD")}
"""RFC 4733's numbers, which some phones send for the keys without a digit."""
_FLASH: Final = frozenset({"16", "flash", "hf", "!"})
_KEY: Final = re.compile(r"[0-9*#A-D]")


def key_of(content_type: str, body: bytes) -> str | None:
    """The key in the body of an INFO; empty when it is none of ours (hook flash), None when it cannot be read."""
    if len(body) > _LONGEST:
        return None
    text = body.decode("latin-1").replace("\r", "\n")
    if content_type == RELAY:
        found = _SIGNAL.search(text)
        text = found[1] if found else ""
    return _key(text.strip())


def _key(told: str) -> str | None:
    if told.lower() in _FLASH:
        return ""
    key = _EVENTS.get(told, told.upper())
    return key if _KEY.fullmatch(key) else None
