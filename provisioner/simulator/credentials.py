"""HTTP Digest as a phone answers it: RFC 7616 with qop=auth, MD5 or SHA-256, the nonce used again with its count."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_PART = re.compile(r'([A-Za-z][A-Za-z0-9_-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,|$)')
_HASHES = {"MD5": "md5", "SHA-256": "sha256"}


def read_challenge(value: str) -> Mapping[str, str]:
    """The parameters of one ``WWW-Authenticate: Digest`` value, names in lower case; empty for another scheme."""
    scheme, _, rest = value.strip().partition(" ")
    if scheme.lower() != "digest":
        return {}
    return {
        match[1].lower(): re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else match[3]
        for match in _PART.finditer(rest)
    }


@dataclass
class Credentials:
    """A user's name and password, and the challenge they last answered."""

    user: str
    password: str = field(repr=False)
    algorithms: tuple[str, ...] = ("MD5",)
    _challenge: Mapping[str, str] = field(default_factory=dict, repr=False)
    _count: int = 0

    def take(self, challenges: Iterable[str]) -> bool:
        """Remember the strongest challenge this phone can answer; False when there is none."""
        offered = [parts for value in challenges if (parts := read_challenge(value)).get("nonce")]
        usable = [parts for parts in offered if self._rank(parts) >= 0]
        if not self.user or not usable:
            return False
        self._challenge, self._count = max(usable, key=self._rank), 0
        return True

    def _rank(self, parts: Mapping[str, str]) -> int:
        name = parts.get("algorithm", "MD5").upper()
        qop = [word.strip() for word in parts.get("qop", "auth").split(",")]
        return self.algorithms.index(name) if name in self.algorithms and "auth" in qop else -1

    def header(self, method: str, target: str, client_nonce: str = "") -> str:
        """The Authorization value; empty before any challenge."""
        if not self._challenge:
            return ""
        self._count += 1
        parts, count = self._challenge, f"{self._count:08x}"
        algorithm = parts.get("algorithm", "MD5").upper()
        cnonce = client_nonce or secrets.token_hex(8)
        realm, nonce = parts.get("realm", ""), parts["nonce"]

        def digest(text: str) -> str:
            return hashlib.new(_HASHES[algorithm], text.encode(), usedforsecurity=False).hexdigest()

        proof = digest(f"{self.user}:{realm}:{self.password}")
        request = digest(f"{method}:{target}")
        answer = {"username": self.user, "realm": realm, "nonce": nonce, "uri": target}
        if "qop" in parts:
            answer |= {"cnonce": cnonce, "response": digest(f"{proof}:{nonce}:{count}:{cnonce}:auth:{request}")}
        else:  # RFC 2069, which RFC 7616 section 3.4.6 still lets a server ask for
            answer |= {"response": digest(f"{proof}:{nonce}:{request}")}
        if "opaque" in parts:
            answer["opaque"] = parts["opaque"]
        quoted = ", ".join(f'{name}="{_escape(value)}"' for name, value in answer.items())
        plain = f", algorithm={algorithm}" + (f", qop=auth, nc={count}" if "qop" in parts else "")
        return f"Digest {quoted}{plain}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
