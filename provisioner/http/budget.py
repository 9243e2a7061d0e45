"""What turning callers away may cost: a share of the CPU time while others wait, of all time while nobody does.

Each is booked soon after it has happened, and what is owed has an end: a flood that is over must not keep the gate from
taking in enough callers to be fair among.
"""

from __future__ import annotations

from time import monotonic, thread_time
from typing import Final

from provisioner.gate import Share

_AT_FIRST: Final = 0.003
"""s of CPU that may be saved up: a hundred callers."""
_OWED: Final = 0.005
"""s of CPU that are ever owed: paid back within 0.2 s, of CPU time in a storm."""
_CALLER_COST: Final = 30e-6
"""s of CPU for taking one caller in and turning it away, until it has been measured."""


class Rejections:
    """The budget of one listener of one worker."""

    __slots__ = ("_clock", "_contended", "_cost", "_cpu", "_share", "_wall", "booked")

    def __init__(self, share: float) -> None:
        self._share = Share(share, _AT_FIRST, _OWED)
        self._cost = _CALLER_COST
        self.booked = 0
        """Callers turned away that were charged."""
        self._clock = 0.0
        self._cpu, self._wall, self._contended = thread_time(), monotonic(), False

    def measured(self, seconds: float, callers: int) -> None:
        """Taking so many callers in has cost so much CPU; of one alone, what else was done is too large a part."""
        if callers > 1:
            self._cost += (seconds / callers - self._cost) / 16

    def left(self, turned_away: int, *, contended: bool) -> float:
        """What may be spent now, s of CPU; ``turned_away`` callers so far, ``contended``: somebody waits from now."""
        cpu, wall = thread_time(), monotonic()
        self._clock += cpu - self._cpu if self._contended else wall - self._wall
        self._cpu, self._wall, self._contended = cpu, wall, contended
        left = self._share.left(self._clock)
        if turned_away > self.booked:
            self._share.spend((turned_away - self.booked) * self._cost)
            self.booked = turned_away
            left = self._share.left(self._clock)
        return left
