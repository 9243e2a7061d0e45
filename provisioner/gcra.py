"""A rate with a burst, one number a key: the generic cell rate algorithm. Pure: the caller brings the clock.

Each key has a theoretical arrival time (TAT): when it would be its turn if it kept to the rate exactly. Asking moves
it on by the cost; who is further ahead of the clock than the burst allows has to wait. Nothing is refilled and
nothing expires by itself: a key whose TAT has passed is worth as much as one that was never seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Final

_ROUNDING: Final = 1e-6
"""s: waits below it are errors of floating point."""
_LOOKED_AT: Final = 64
"""Oldest keys looked at when there is no room for a new one."""


class Gcra:
    """``rate`` a second, ``burst`` at once (both > 0), for up to ``keys`` keys; ``now`` never goes back."""

    __slots__ = ("_ahead", "_interval", "_keys", "_tat")

    def __init__(self, rate: float, burst: float, keys: int) -> None:
        self._interval = 1.0 / rate
        self._ahead = burst * self._interval
        self._keys = keys
        self._tat: dict[str, float] = {}

    def __len__(self) -> int:
        """Keys remembered."""
        return len(self._tat)

    @property
    def ahead(self) -> float:
        """How far a key may be ahead of the clock, seconds: its burst."""
        return self._ahead

    def take(self, key: str, now: float, cost: float = 1.0) -> float:
        """Take ``cost`` and return 0, or take nothing and return the seconds until it would be granted."""
        return self._take(key, now, cost * self._interval, self._ahead)

    def wait(self, key: str, now: float, cost: float = 1.0) -> float:
        """What ``take`` would return, taking nothing."""
        wait = self._turn(key, now) + cost * self._interval - self._ahead - now
        return wait if wait > _ROUNDING else 0.0

    def charge(self, key: str, now: float, cost: float = 1.0) -> None:
        """Take ``cost`` whether granted or not: it has happened already. No more than one burst is ever owed."""
        self._remember(key, min(self._turn(key, now) + cost * self._interval, now + 2 * self._ahead), now)

    def _take(self, key: str, now: float, time: float, ahead: float) -> float:
        """Several times in each request of each phone, so ``_turn`` and ``_remember`` are written out."""
        tats = self._tat
        tat = tats.get(key, now)
        turn = (tat if tat > now else now) + time
        wait = turn - ahead - now
        if wait > _ROUNDING:
            return wait
        if tats.pop(key, None) is None and len(tats) >= self._keys:
            self._make_room(now)
        tats[key] = turn
        return 0.0

    def _turn(self, key: str, now: float) -> float:
        tat = self._tat.get(key, now)
        return tat if tat > now else now

    def _remember(self, key: str, turn: float, now: float) -> None:
        """Last in the order of the dict, so that the first are those that have asked least recently."""
        tats = self._tat
        tats.pop(key, None)
        if len(tats) >= self._keys:
            self._make_room(now)
        tats[key] = turn

    def _make_room(self, now: float) -> None:
        """Forget keys that are worth no more than unknown ones; failing that, the one that has asked least recently."""
        oldest = list(islice(self._tat, _LOOKED_AT))
        spent = [key for key in oldest if self._tat[key] <= now]
        for key in spent or oldest[:1]:
            del self._tat[key]


class Ceilings(Gcra):
    """Ceilings of sites or accounts: rate and burst follow from the number of devices there.

    ``files`` of one boot, at least ``floor`` requests a second, ``own``: what one device may ask at once.
    """

    __slots__ = ("_files", "_floor", "_own", "_paces", "_sizes")

    def __init__(self, files: int, floor: float, own: int, keys: int) -> None:
        super().__init__(floor, 1.0, keys)
        self._files, self._floor, self._own = files, floor, own
        self._sizes: Mapping[str, int] = {}
        self._paces: dict[str, tuple[float, float]] = {}

    def learn(self, sizes: Mapping[str, int]) -> None:
        """Known devices of each; there is no ceiling for one whose size is not known yet."""
        self._sizes, self._paces = sizes, {}

    def take(self, key: str, now: float, cost: float = 1.0) -> float:
        """As Gcra, at the pace of this key."""
        interval, ahead = self._paces.get(key) or self._pace(key)
        return self._take(key, now, cost * interval, ahead)

    def charge(self, key: str, now: float, cost: float = 1.0) -> None:
        """As Gcra, at the pace of this key."""
        interval, ahead = self._paces.get(key) or self._pace(key)
        self._remember(key, min(self._turn(key, now) + cost * interval, now + 2.0 * ahead), now)

    def _pace(self, key: str) -> tuple[float, float]:
        """Interval and burst, in s: all devices boot within a minute, and twice at once.

        At once is also what each device may have for itself, and once more: at a small site that is the larger one,
        and the ceiling shall not bind a device before its own limit does, nor the others for its sake.
        """
        size = self._sizes.get(key)
        if size is None:
            return 0.0, 0.0
        interval = 1.0 / max(self._floor, size * self._files / 60.0)
        burst = max(2.0 * size * self._files, (size + 1.0) * self._own)
        pace = self._paces[key] = interval, burst * interval
        return pace
