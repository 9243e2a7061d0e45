"""How fast one may try to sign in, and what a password has to be: rules without a clock or a database. Pure.

Attempts are counted by where they come from and by whose login they name. Strangers who use up a login's attempts do
not lock its owner out: where somebody has signed in before they have attempts of their own, and a second factor that is
right counts from anywhere.
"""

from __future__ import annotations

import hashlib
import ipaddress
import unicodedata
from dataclasses import dataclass
from typing import Final

from provisioner.errors import Invalid

_LONGEST: Final = 128
"""Characters: a hash of a longer one costs more and is worth no more."""
_DISTINCT: Final = 5
_LOCAL: Final = 3
"""Characters of a login's name that make it worth looking for in a password."""


@dataclass(frozen=True, slots=True)
class Pace:
    """So many attempts at once, and one more each ``interval`` s."""

    attempts: int
    window: float
    """s in which all of them come back."""

    @property
    def interval(self) -> float:
        """From one attempt to the next in the long run, s."""
        return self.window / self.attempts

    @property
    def ahead(self) -> float:
        """How far a budget may be ahead of the clock, s: its burst."""
        return self.window

    def wait(self, turn: float, now: float) -> float:
        """How long until there is an attempt left, s."""
        return max(0.0, min(turn, now + 2 * self.ahead) + self.interval - self.ahead - now)


def place_of(address: str) -> str:
    """The neighbourhood of an address: itself for IPv4, its /64 for IPv6 (RFC 6177: no site gets less); else empty."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))


def login_of(email: str) -> str:
    """A login in its one spelling, made of characters that any database takes."""
    plain = email.encode("utf-8", "replace").decode().replace("\0", "?")
    return unicodedata.normalize("NFKC", plain).strip().lower()


def hidden(login: str) -> str:
    """A key for a login that may be nobody's: whoever reads the table learns no addresses that strangers tried."""
    return hashlib.sha256(login.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def spelled(password: str) -> str:
    """One spelling for what looks the same (NIST SP 800-63B section 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def check_password(password: str, login: str, least: int) -> None:
    """Invalid when a new password is too short, too long, or easy to guess from the login."""
    plain = spelled(password)
    if not least <= len(plain) <= _LONGEST:
        raise Invalid("password", f"must have {least} to {_LONGEST} characters; several words do well")
    if len(set(plain.lower())) < _DISTINCT:
        raise Invalid("password", f"must have at least {_DISTINCT} different characters")
    name = login.partition("@")[0]
    if len(name) >= _LOCAL and name in plain.lower():
        raise Invalid("password", "must not contain the name of the login")
