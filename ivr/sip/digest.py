"""HTTP Digest for SIP (RFC 3261 section 22, RFC 7616, RFC 8760), both sides.

A challenge costs no memory: the nonce carries its own birth and an HMAC over it and over the address that it is sent
to. So an answer that was overheard is worth nothing from elsewhere, and who shows a nonce of his address receives what
is sent to it. Only who has shown the right secret is remembered, so that no answer counts twice; when that memory is
full, older nonces are stale and nothing is lost.
MD5 alone is the default: phones of ten years ago fail when SHA-256 is offered beside it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, Protocol

from ivr.sip.errors import SipError
from ivr.sip.uri import TCHAR

Verdict = Literal["ok", "missing", "stale", "wrong", "malformed"]

_LONGEST: Final = 2048
"""Characters of credentials or a challenge; real ones have 300."""
_SKEW: Final = 5.0
"""s a nonce may come from the future: processes share the clock, a step of NTP may lie between."""
_WINDOW: Final = 64
"""Counts below the highest that may still come: requests on UDP overtake each other, and none counts twice."""
_ALL: Final = (1 << _WINDOW) - 1
_NOBODY: Final = "no such user, and no secret either"
"""Worked with in place of an unknown user's secret, so that it takes as long."""


class _Hash(Protocol):
    def hexdigest(self) -> str: ...


def _md5(data: bytes) -> _Hash:
    return hashlib.md5(data, usedforsecurity=False)  # all that most phones know; the secrets are random


_HASHES: Final[Mapping[str, Callable[[bytes], _Hash]]] = MappingProxyType({"MD5": _md5, "SHA-256": hashlib.sha256})
_PART: Final = re.compile(
    rf"""[ \t]*+(?P<name>{TCHAR}{{1,32}}+)[ \t]*+=[ \t]*+
        (?:"(?P<quoted>[^"\\]*+(?:\\.[^"\\]*+)*+)"|(?P<token>[^\x00-\x20\x7f",;<>\\]++))
        [ \t]*+(?:,|$)""",
    re.VERBOSE | re.DOTALL,
)
_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)
_NEEDED: Final = frozenset({"username", "realm", "nonce", "uri", "response", "qop", "nc", "cnonce"})
_NC: Final = re.compile(r"[0-9A-Fa-f]{8}")
_NONCE: Final = re.compile(r"([0-9a-f]{12})[0-9a-f]{6}[0-9a-f]{32}")
_SHOWN: Final = re.compile(rb'nonce[ \t]{0,8}+=[ \t]{0,8}+"([0-9a-f]{50})"', re.IGNORECASE)
"""A nonce in a message that nobody has read."""
_SHOWS: Final = 3
"""Nonces looked at there."""
_NO_LINES: Final = re.compile(r'[^\x00-\x1f\x7f"\\]+')


@dataclass(frozen=True, slots=True)
class Answer:
    """What credentials are worth. ``user`` is who they say, ``ok`` alone means that it is so."""

    user: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class _Claim:
    """What an Authorization says; nothing of it is proven."""

    user: str
    realm: str
    nonce: str = field(repr=False)
    uri: str = field(repr=False)
    response: str = field(repr=False)
    algorithm: str = field(repr=False)
    qop: str = field(repr=False)
    nc: str = field(repr=False)
    cnonce: str = field(repr=False)


class Challenger:
    """The challenges of one realm and the check of their answers. ``now`` is the time of day in seconds."""

    __slots__ = ("_algorithms", "_count", "_key", "_life", "_realm", "_used")

    def __init__(
        self,
        key: bytes,
        realm: str,
        algorithms: tuple[str, ...] = ("MD5",),
        life: float = 300.0,
        remembered: int = 10_000,
    ) -> None:
        if not algorithms or not set(algorithms) <= _HASHES.keys():
            raise ValueError(f"digest algorithms are some of {', '.join(_HASHES)}")
        if not _NO_LINES.fullmatch(realm):
            raise ValueError("a realm is words without quotes")
        self._key = key
        self._realm = realm
        self._algorithms = tuple(algorithms)
        self._life = life
        self._count = 0
        self._used = _Used(remembered, life)

    def challenge(self, now: float, source: str, *, stale: bool = False) -> tuple[str, ...]:
        """One WWW-Authenticate value for each algorithm, in the order in which they were given; good for ``source``."""
        self._count = (self._count + 1) % (1 << 24)
        nonce = self._nonce(f"{int(now * 1000):012x}{self._count:06x}", source)
        tail = ", stale=true" if stale else ""
        return tuple(
            f'Digest realm="{self._realm}", nonce="{nonce}", algorithm={one}, qop="auth"{tail}'
            for one in self._algorithms
        )

    def shown(self, data: bytes, now: float, source: str) -> bool:
        """Whether unread bytes hold a nonce that was sent to this address: whoever sent them receives there."""
        shown = islice(_SHOWN.finditer(data), _SHOWS)
        return any(self._born(one[1].decode("ascii").lower(), now, source) is not None for one in shown)

    def verify(
        self,
        authorization: str,
        method: str,
        secret_of: Callable[[str], str | None],
        now: float,
        source: str,
        body: bytes = b"",
    ) -> Answer:
        """Judge one Authorization. ``missing``: none for us; ``stale``: right, but its nonce is used up, too old, or
        was sent to another address than ``source``: that of a phone whose NAT has moved it, or of who was overheard.

        ``wrong`` is said of a nonce alone that is ours and young: anybody can invent one, so that proves no guessing.
        Call it once for a request: an answer that was ok is stale when it comes again.
        """
        parts = _parts(authorization, "digest")
        if isinstance(parts, str):
            return Answer("", "malformed" if parts else "missing")
        claim = _claim(parts)
        if claim is None:
            return Answer("", "malformed")
        if claim.realm != self._realm or claim.algorithm not in self._algorithms:
            return Answer(claim.user, "missing")  # an answer to somebody else's challenge
        secret = secret_of(claim.user)
        right = _response(claim, method, secret or _NOBODY, body)
        if not hmac.compare_digest(right.encode(), claim.response.encode("utf-8", "replace")) or not secret:
            return Answer(claim.user, "missing" if self._born(claim.nonce, now, source) is None else "wrong")
        return Answer(claim.user, "ok" if self._fresh(claim, now, source) else "stale")

    def _fresh(self, claim: _Claim, now: float, source: str) -> bool:
        born = self._born(claim.nonce, now, source)
        return born is not None and self._used.take((claim.nonce, claim.user), int(claim.nc, 16), born, now)

    def _born(self, nonce: str, now: float, source: str) -> float | None:
        """When we made it; None when we did not, for somebody else, or too long ago."""
        found = _NONCE.fullmatch(nonce)
        if found is None or not hmac.compare_digest(self._nonce(nonce[:18], source), nonce):
            return None
        born = int(found[1], 16) / 1000
        return born if -_SKEW <= now - born <= self._life else None

    def _nonce(self, stamp: str, source: str) -> str:
        return stamp + hmac.digest(self._key, f"{stamp}:{source}:{self._realm}".encode(), "sha256").hex()[:32]


class _Counts(NamedTuple):
    """What was used of one nonce."""

    highest: int
    seen: int
    """Bit n: the count n below the highest."""
    born: float


class _Used:
    """The counts of each nonce that were used with the right secret (RFC 7616 section 3.4: one seen twice is a replay).

    They may come in another order than they were made; those ``_WINDOW`` below the highest come too late.
    """

    __slots__ = ("_counts", "_floor", "_life", "_most")

    def __init__(self, most: int, life: float) -> None:
        self._most = most
        self._life = life
        self._counts: dict[tuple[str, str], _Counts] = {}
        self._floor = 0.0
        """Birth of the youngest nonce that was forgotten: none so old is believed, unless it is remembered."""

    def take(self, key: tuple[str, str], count: int, born: float, now: float) -> bool:
        """Whether this count of this nonce was never used."""
        before = self._counts.pop(key, None)
        if before is None and born <= self._floor:
            return False
        known = before or _Counts(0, 1, born)  # 0 is no count: phones begin with 1
        after = _with(known, count)
        self._counts[key] = after or known
        self._forget(now)
        return after is not None

    def _forget(self, now: float) -> None:
        """Least recently used first; one that has outlived its life is of no use to anybody."""
        while len(self._counts) > self._most:
            born = self._counts.pop(next(iter(self._counts))).born
            if now - born <= self._life:
                self._floor = max(self._floor, born)


def _with(counts: _Counts, count: int) -> _Counts | None:
    """One count more; None when it was used, or may have been."""
    ahead = count - counts.highest
    if ahead > 0:
        seen = counts.seen << ahead if ahead < _WINDOW else 0  # never a shift by what a peer has said
        return _Counts(count, (seen | 1) & _ALL, counts.born)
    if -ahead >= _WINDOW or counts.seen >> -ahead & 1:
        return None
    return counts._replace(seen=counts.seen | 1 << -ahead)


def authorize(
    challenge: str, method: str, uri: str, user: str, secret: str, cnonce: str, nc: int = 1, body: bytes = b""
) -> str:
    """The Authorization that answers one challenge; SipError 0 when it asks for what we cannot do: try the next."""
    parts = _parts(challenge, "digest")
    if isinstance(parts, str) or not parts.keys() >= {"realm", "nonce"}:
        raise SipError(0, "a challenge that is not Digest")
    algorithm = parts.get("algorithm", "MD5").upper()
    offered = [one.strip() for one in parts.get("qop", "").lower().split(",")]
    if algorithm not in _HASHES or not {"", "auth", "auth-int"} & set(offered):
        raise SipError(0, "a challenge with an algorithm or a protection that is not ours")
    qop = next((one for one in ("auth", "auth-int") if one in offered), "")
    claim = _Claim(user, parts["realm"], parts["nonce"], uri, "", algorithm, qop, f"{nc:08x}", cnonce)
    said = {"username": user, "realm": claim.realm, "nonce": claim.nonce, "uri": uri}
    said["response"] = _response(claim, method, secret, body)
    said |= {"cnonce": cnonce} if qop else {}
    said |= {"opaque": parts["opaque"]} if "opaque" in parts else {}
    text = ", ".join(f"{name}={_quote(value)}" for name, value in said.items())
    return f"Digest {text}, algorithm={algorithm}" + (f", qop={qop}, nc={claim.nc}" if qop else "")


def _parts(text: str, scheme: str) -> dict[str, str] | str:
    """The parameters, names in lower case; as a word what is wrong instead, '' when it is another scheme."""
    found, _, rest = text.strip(" \t").partition(" ")
    if found.lower() != scheme:
        return ""
    if len(text) > _LONGEST:
        return "too long"
    parts: dict[str, str] = {}
    at = 0
    while at < len(rest):
        part = _PART.match(rest, at)
        if part is None or (name := part["name"].lower()) in parts:
            return "not name=value"
        parts[name] = part["token"] if part["quoted"] is None else _PAIR.sub(r"\1", part["quoted"])
        at = part.end()
    return parts


def _claim(parts: Mapping[str, str]) -> _Claim | None:
    """None when something is missing, or stands for what we never offered."""
    if not parts.keys() >= _NEEDED or parts.get("userhash", "false").lower() != "false":
        return None
    qop = parts["qop"].lower()
    if qop not in {"auth", "auth-int"} or not _NC.fullmatch(parts["nc"]):
        return None
    return _Claim(
        parts["username"],
        parts["realm"],
        parts["nonce"],
        parts["uri"],
        parts["response"].lower(),
        parts.get("algorithm", "MD5").upper(),  # RFC 7616 section 3.4: absent means MD5
        qop,
        parts["nc"],
        parts["cnonce"],
    )


def _response(claim: _Claim, method: str, secret: str, body: bytes) -> str:
    """RFC 7616 section 3.4.1, and without a qop RFC 2069."""
    hashed = _HASHES[claim.algorithm]

    def digest(text: str) -> str:
        return hashed(text.encode("utf-8", "replace")).hexdigest()

    entity = f":{hashed(body).hexdigest()}" if claim.qop == "auth-int" else ""
    first = digest(f"{claim.user}:{claim.realm}:{secret}")
    second = digest(f"{method}:{claim.uri}{entity}")
    middle = f"{claim.nc}:{claim.cnonce}:{claim.qop}:" if claim.qop else ""
    return digest(f"{first}:{claim.nonce}:{middle}{second}")


def _quote(text: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
