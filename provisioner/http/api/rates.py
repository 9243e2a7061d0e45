"""How often one caller may ask: a rate and a burst for each, told with every answer.

The headers are those of draft-ietf-httpapi-ratelimit-headers: ``RateLimit-Policy`` says what is given, ``RateLimit``
what is left of it and in how many seconds one more is there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Final

from provisioner.errors import Throttled
from provisioner.gcra import Gcra

_CALLERS: Final = 20_000
"""Remembered at once."""


class Rates:
    """``rate`` calls a second and ``burst`` at once, for each caller."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._gcra = Gcra(rate, burst, _CALLERS)
        self.policy: Final = f'"default";q={burst};w={math.ceil(burst / rate)}'

    def admit(self, caller: str) -> None:
        """Take one call; Throttled when it comes too soon."""
        if wait := self._gcra.take(caller, self._clock()):
            raise Throttled("more calls than this caller is given", retry_after=math.ceil(wait))

    def headers(self, caller: str) -> Mapping[str, str]:
        """What is left to the caller."""
        now = self._clock()
        wait_for_all = self._gcra.wait(caller, now, self._burst)
        left = max(0, self._burst - math.ceil(wait_for_all * self._rate - 1e-6))
        next_one = 0 if left else math.ceil(self._gcra.wait(caller, now))
        return {"RateLimit-Policy": self.policy, "RateLimit": f'"default";r={left};t={next_one}'}
