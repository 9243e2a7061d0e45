"""Unknown addresses where a phone has booted, and whether those that come now do. Pure: ``now`` is given.

Anybody can shake hands, from as many addresses as he has; a boot needs a known device. So an address that has booted
goes before those that never have, and strangers count as phones that come home only while their handshakes become
boots.
"""

from __future__ import annotations

from math import exp
from typing import Final

_LATELY: Final = 10.0
"""s after which what was counted is worth a third."""
_A_FEW: Final = 4.0
"""Boots at new addresses, lately, that are no chance."""
_BECOME_BOOTS: Final = 0.1
"""Of the handshakes begun for unknown addresses: a phone may open several connections a boot."""


class Lately:
    """How many there were lately; what is long ago counts for less and less."""

    __slots__ = ("_sum", "_then")

    def __init__(self) -> None:
        self._sum, self._then = 0.0, 0.0

    def add(self, now: float) -> None:
        """One more."""
        self._sum, self._then = self.number(now) + 1.0, now

    def number(self, now: float) -> float:
        """How many."""
        return self._sum * exp((self._then - now) / _LATELY)


class Newcomers:
    """Addresses that have booted and are not known yet, the latest ``most`` of them."""

    __slots__ = ("_begun", "_booted", "_boots", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._booted: dict[str, None] = {}
        self._begun, self._boots = Lately(), Lately()

    def __contains__(self, network: str) -> bool:
        """Whether a phone has booted there."""
        return network in self._booted

    def __len__(self) -> int:
        """Addresses remembered."""
        return len(self._booted)

    def begun(self, now: float) -> None:
        """A handshake was begun for an address that had not booted."""
        self._begun.add(now)

    def booted(self, network: str, now: float) -> None:
        """A phone has booted there; one that boots again and again counts once."""
        if network in self._booted:
            return
        if len(self._booted) >= self._most:
            del self._booted[next(iter(self._booted))]
        self._booted[network] = None
        self._boots.add(now)

    def boot(self, now: float) -> bool:
        """Whether handshakes of new addresses become boots."""
        return self._boots.number(now) >= max(_A_FEW, self._begun.number(now) * _BECOME_BOOTS)
