"""Programs that search the Internet for TLS servers and say so by their ClientHello, which no phone sends. Pure.

Only such are listed as bring one of their own making, byte by byte; one that has a library say it would be told by what
phones with the same library send. Each was read with this server's own eyes from the program that is named.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

LISTED: Final = "listed"
"""In `gate.scanners`: all of these."""
_VERSION: Final = slice(9, 11)
_SESSION: Final = 43
"""Where the length of the session id stands; the list of suites begins behind it (RFC 8446 section 4.1.2)."""

Shape = tuple[bytes, bytes]
"""Version and length of the list of suites: a look at five bytes instead of a fingerprint for each caller."""


class Scanner(NamedTuple):
    """One ClientHello."""

    fingerprint: str
    version: int
    suites: int
    source: str
    """Which program says it, and where that was seen."""

    @property
    def shape(self) -> Shape:
        """As ``shape_of`` reads it."""
        return self.version.to_bytes(2), (2 * self.suites).to_bytes(2)


_MASSCAN: Final = "masscan 1.3.2 (Debian 12, masscan 2:1.3.2+ds1-1): "
_NMAP: Final = "nmap 7.93 -sV (Debian 12, nmap-common 7.93+dfsg1-1, nmap-service-probes): "
KNOWN: Final = (
    Scanner("61fc70e49ade60ba", 0x0302, 20, _MASSCAN + "of its program, looks for certificates"),
    Scanner("d6c026fcb4d2d034", 0x0302, 51, _MASSCAN + "of its program, looks for Heartbleed"),
    Scanner("c4b96bf107571472", 0x0300, 12, _MASSCAN + "of its program, looks for SSL 3.0"),
    Scanner("d963f25fccbfee9b", 0x0300, 20, _NMAP + "probe SSLSessionReq"),
    Scanner("6495db954a5d0cca", 0x0303, 6, _NMAP + "probe TLSSessionReq"),
    Scanner("1003d296b136525f", 0x0303, 24, _NMAP + "probe TLS-PSK"),
)


def shape_of(first: bytes) -> Shape:
    """Of the first bytes of a ClientHello, however few there are."""
    suites = _SESSION + 1 + (first[_SESSION] if len(first) > _SESSION else 0)
    return bytes(first[_VERSION]), bytes(first[suites : suites + 2])


class Scanners:
    """Whom an operator does not want to hear."""

    def __init__(self, wanted: Iterable[str]) -> None:
        said = frozenset(one.lower() for one in wanted)
        listed = KNOWN if LISTED in said else ()
        self._own = said - {LISTED}
        self._fingerprints = self._own | {one.fingerprint for one in listed}
        self._shapes = frozenset(one.shape for one in listed)

    def suspects(self, first: bytes) -> bool:
        """Whether its fingerprint is worth taking."""
        return bool(self._own) or (bool(self._shapes) and shape_of(first) in self._shapes)

    def __contains__(self, fingerprint: object) -> bool:
        """Whether it is one of them."""
        return fingerprint in self._fingerprints
