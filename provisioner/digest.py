"""HTTP Digest (RFC 7616), qop=auth only, without memory: the nonce carries its own birth and an HMAC over it.

A nonce may be used again while it lives, because nothing is kept: TLS around it is what stops a listener's replay.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Outcome = Literal["ok", "stale", "bad"]

LIFE: Final = 300.0
"""s a nonce may be used: longer than any boot, short enough that a copied header is soon worthless."""
_LONGEST: Final = 4096
"""Characters of an Authorization header; a real one has 300."""
_SKEW: Final = 5.0
"""s a nonce may come from the future: sibling workers share the clock, a step of NTP may lie between."""

_HASHES: Final[Mapping[str, Callable[[bytes], Any]]] = MappingProxyType(
    {
        "MD5": lambda data: hashlib.md5(data, usedforsecurity=False),  # old phones know nothing else (RFC 7616, 3.4)
        "SHA-256": hashlib.sha256,
    }
)
_PART: Final = re.compile(
    r"""[ \t]*(?P<name>[A-Za-z0-9!#$%&'*+.^_`|~-]{1,32})[ \t]*=[ \t]*
        (?:"(?P<quoted>(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e])*)"|(?P<token>[A-Za-z0-9!#$%&'*+.^_`|~/:@-]{1,256}))
        [ \t]*(?:,|$)""",
    re.VERBOSE,
)
_ESCAPED: Final = re.compile(r"\\(.)")
_NEEDED: Final = frozenset({"username", "realm", "nonce", "uri", "response", "qop", "nc", "cnonce"})
_NONCE: Final = re.compile(r"([0-9a-f]{12})([0-9a-f]{40})")


@dataclass(frozen=True, slots=True)
class Claim:
    """What an Authorization header says; nothing of it is proven."""

    username: str
    realm: str
    nonce: str = field(repr=False)
    uri: str
    response: str = field(repr=False)
    algorithm: str
    nc: str
    cnonce: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Digest:
    """The challenges of one realm and the check of their answers; the same in every worker."""

    key: bytes = field(repr=False)
    realm: str = "provisioning"
    algorithms: tuple[str, ...] = ("MD5",)
    """Offered in this order; the first is what a client should prefer."""
    life: float = LIFE

    @classmethod
    def of(cls, master: bytes, algorithms: Sequence[str], realm: str = "provisioning") -> Digest:
        """From the installation's master key, from which this use has a key of its own."""
        derived = HKDF(hashes.SHA256(), 32, salt=None, info=b"provisioner http digest nonce").derive(master)
        unknown = [one for one in algorithms if one not in _HASHES]
        if unknown or not algorithms:
            raise ValueError(f"digest.algorithms must be some of {', '.join(_HASHES)}")
        return cls(derived, realm, tuple(algorithms))

    def challenge(self, now: float, *, stale: bool = False) -> list[str]:
        """One WWW-Authenticate value for each algorithm."""
        nonce = self._nonce(int(now))
        tail = ", stale=true" if stale else ""
        return [
            f'Digest realm="{self.realm}", qop="auth", algorithm={one}, nonce="{nonce}"{tail}'
            for one in self.algorithms
        ]

    def claim(self, header: str) -> Claim | None:
        """Read an Authorization header; None when it is not Digest, not well formed or lacks something."""
        scheme, _, rest = header.partition(" ")
        if scheme.lower() != "digest" or len(header) > _LONGEST:
            return None
        parts = _parts(rest)
        if parts is None or not parts.keys() >= _NEEDED or parts.get("userhash", "false").lower() != "false":
            return None
        if parts["qop"] != "auth" or not re.fullmatch(r"[0-9A-Fa-f]{8}", parts["nc"]):
            return None
        return Claim(
            parts["username"],
            parts["realm"],
            parts["nonce"],
            parts["uri"],
            parts["response"].lower(),
            parts.get("algorithm", "MD5").upper(),  # RFC 7616, 3.4: absent means MD5
            parts["nc"],
            parts["cnonce"],
        )

    def verify(self, claim: Claim, method: str, uri: str, secret: str, now: float) -> Outcome:
        """Whether the claim was made with the secret for this request. ``stale``: right, but with a nonce too old.

        An empty secret takes as long as a wrong one and is always bad: unknown users cannot be told apart.
        """
        hashed = _HASHES.get(claim.algorithm)
        if hashed is None or claim.algorithm not in self.algorithms:
            return "bad"
        right = hmac.compare_digest(_response(hashed, claim, method, secret).encode(), claim.response.encode())
        age = self._age(claim.nonce, now)
        if not right or not secret or age is None or claim.realm != self.realm or not _same(claim.uri, uri):
            return "bad"
        return "ok" if -_SKEW <= age <= self.life else "stale"

    def _nonce(self, born: int) -> str:
        stamp = f"{born:012x}"
        return stamp + hmac.digest(self.key, f"{stamp}:{self.realm}".encode(), "sha256").hex()[:40]

    def _age(self, nonce: str, now: float) -> float | None:
        """S since this server made the nonce; None when it did not."""
        found = _NONCE.fullmatch(nonce)
        if found is None:
            return None
        born = int(found[1], 16)
        return now - born if hmac.compare_digest(self._nonce(born), nonce) else None


def _parts(text: str) -> dict[str, str] | None:
    """The auth-params, names in lower case; None when one is malformed or stands twice."""
    parts: dict[str, str] = {}
    at = 0
    while at < len(text):
        found = _PART.match(text, at)
        if found is None:
            return None
        name, quoted = found["name"].lower(), found["quoted"]
        if name in parts:
            return None
        parts[name] = found["token"] if quoted is None else _ESCAPED.sub(r"\1", quoted)
        at = found.end()
    return parts


def _response(hashed: Callable[[bytes], Any], claim: Claim, method: str, secret: str) -> str:
    def digest(text: str) -> str:
        return str(hashed(text.encode("utf-8", "surrogateescape")).hexdigest())

    first = digest(f"{claim.username}:{claim.realm}:{secret}")
    second = digest(f"{method}:{claim.uri}")
    return digest(f"{first}:{claim.nonce}:{claim.nc}:{claim.cnonce}:auth:{second}")


def _same(claimed: str, target: str) -> bool:
    """The signed URI is the request's target; some clients sign the absolute form of it (RFC 7616, 3.4.6)."""
    if claimed == target:
        return True
    try:
        split = urlsplit(claimed)
    except ValueError:
        return False
    return (
        split.scheme in {"http", "https"} and (split.path or "/") + (f"?{split.query}" if split.query else "") == target
    )
