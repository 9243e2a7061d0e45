"""How anything is counted that anybody may ask of the core: messages by rate, calls by places, in bounded memory."""

from __future__ import annotations

from collections import Counter
from ipaddress import AddressValueError, IPv6Address
from itertools import islice
from typing import Final

SCANNERS: Final = (
    "friendly-scanner",
    "friendly-request",
    "sipvicious",
    "sipcli",
    "sip-scan",
    "sipscan",
    "sipptk",
    "sundayddr",
    "vaxsipuseragent",
    "vaxasip",
    "pplsip",
    "smap",
    "iwar",
    "sivus",
    "mr.sip",
)
"""Pieces of the User-Agents of programs that look for SIP servers, in lower case. Whoever lies is not known by it."""

_LOOKED_AT: Final = 64
"""Oldest keys looked at when there is no room for a new one."""


def source_of(address: str) -> str:
    """What counts as one source: an IPv4 address, an IPv6 /64 (RFC 6177: no site gets less)."""
    if ":" not in address:
        return address
    try:
        ip = IPv6Address(address.partition("%")[0])
    except AddressValueError:
        return address
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return f"{IPv6Address(int(ip) >> 64 << 64)}/64"


def is_scanner(user_agent: str, scanners: tuple[str, ...]) -> bool:
    """Whether somebody calls himself a scanner."""
    name = user_agent.lower()
    return any(one in name for one in scanners)


class Rates:
    """The generic cell rate algorithm for up to ``keys`` keys: one number each, the time at which its debt is paid.

    What costs more than one counts as so many; what costs more than a burst, as a burst.
    """

    __slots__ = ("_burst", "_interval", "_keys", "_paid")

    def __init__(self, rate: float, burst: int, keys: int) -> None:
        self._interval = 1.0 / rate
        self._burst = burst
        self._keys = keys
        self._paid: dict[str, float] = {}

    def __len__(self) -> int:
        """Keys remembered; never more than allowed."""
        return len(self._paid)

    def take(self, key: str, now: float, cost: int = 1) -> bool:
        """Whether so much more is granted now."""
        return self.wait(key, now, 0.0, cost) is not None

    def wait(self, key: str, now: float, most: float, cost: int = 1) -> float | None:
        """Seconds until so much more is granted, which is then taken; None when they are more than ``most``."""
        paid = max(self._paid.pop(key, now), now)
        cost = min(cost, self._burst)
        wait = paid - now - (self._burst - cost) * self._interval - 1e-9  # what floating point loses over a burst
        if len(self._paid) >= self._keys:
            self._make_room(now)
        self._paid[key] = paid + cost * self._interval if wait <= most else paid
        return max(0.0, wait) if wait <= most else None

    def give_back(self, key: str, cost: int = 1) -> None:
        """The last one was not his."""
        if key in self._paid:
            self._paid[key] -= min(cost, self._burst) * self._interval

    def _make_room(self, now: float) -> None:
        """Forget who owes nothing; failing that, who has asked least recently."""
        oldest = list(islice(self._paid, _LOOKED_AT))
        spent = [key for key in oldest if self._paid[key] <= now]
        for key in spent or oldest[:1]:
            del self._paid[key]


class Places:
    """The calls there is room for: in all, for a source and for a phone."""

    __slots__ = ("_all", "_mac", "_macs", "_source", "_sources", "_taken")

    def __init__(self, everybody: int, source: int, mac: int) -> None:
        self._all, self._source, self._mac = everybody, source, mac
        self._taken = 0
        self._sources: Counter[str] = Counter()
        self._macs: Counter[str] = Counter()

    def __len__(self) -> int:
        """Places taken."""
        return self._taken

    def take(self, source: str, mac: str) -> bool:
        """Whether there is room for one more call; an empty source has no limit of its own."""
        full = self._taken >= self._all or self._macs[mac] >= self._mac
        if full or (source and self._sources[source] >= self._source):
            return False
        self._taken += 1
        self._sources[source] += 1
        self._macs[mac] += 1
        return True

    def free(self, source: str, mac: str) -> None:
        """The call is over."""
        self._taken -= 1
        for counter, key in ((self._sources, source), (self._macs, mac)):
            counter[key] -= 1
            if counter[key] <= 0:
                del counter[key]
