"""How a client proves who it is, by name: one of five, for what else stands first in the header may be the proof."""

from __future__ import annotations

import re
from typing import Final

_SCHEMES: Final = {one.lower(): one for one in ("Basic", "Digest", "Bearer", "NTLM", "Negotiate")}
_ALGORITHM: Final = re.compile(r'\balgorithm\s*=\s*"?([A-Za-z0-9-]+)', re.IGNORECASE)
_ALGORITHMS: Final = frozenset(
    f"{one}{session}" for one in ("MD5", "SHA-256", "SHA-512-256") for session in ("", "-SESS")
)
"""RFC 7616 section 6.1."""
OTHER: Final = "other"


def scheme_word(authorization: str) -> str:
    """``Basic``, ``Digest``, ``Bearer``, ``NTLM``, ``Negotiate``, else ``other``; nothing for no header."""
    word = authorization.split(maxsplit=1)[0] if authorization.strip() else ""
    return _SCHEMES.get(word.lower(), OTHER) if word else ""


def scheme_of(authorization: str) -> str:
    """``Digest MD5``, ``Basic``: the scheme, and of Digest the algorithm; nothing that proves anything."""
    word = scheme_word(authorization)
    if word != "Digest":
        return word
    found = _ALGORITHM.search(authorization)
    name = found[1].upper() if found else "MD5"
    return f"Digest {name if name in _ALGORITHMS else OTHER}"
