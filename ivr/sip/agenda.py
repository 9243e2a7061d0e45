"""Who wants to be woken when: one time for each, kept in a heap that never outgrows twice what is alive."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from itertools import count
from typing import Final, Generic, TypeVar

T = TypeVar("T", bound=Hashable)

_SLACK: Final = 64
"""Outdated entries that are not worth a clearing."""


class Agenda(Generic[T]):
    """Wake times; setting one again replaces it. Entries that were replaced stay in the heap until they come up."""

    __slots__ = ("_heap", "_order", "_wake")

    def __init__(self) -> None:
        self._wake: dict[T, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, T]] = []
        self._order = count()

    def __len__(self) -> int:
        """How many want to be woken."""
        return len(self._wake)

    def set(self, who: T, when: float | None) -> None:
        """Wake ``who`` at ``when`` and at no other time; None: not at all."""
        if when is None:
            self._wake.pop(who, None)
            return
        place = (when, next(self._order))
        self._wake[who] = place
        heapq.heappush(self._heap, (*place, who))
        if len(self._heap) > 2 * len(self._wake) + _SLACK:
            self._heap = [(*at, one) for one, at in self._wake.items()]
            heapq.heapify(self._heap)

    def next(self) -> float | None:
        """The earliest wake time."""
        while self._heap and self._outdated():
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop(self, now: float) -> T | None:
        """The first whose time has come; it is woken once."""
        when = self.next()
        if when is None or when > now:
            return None
        who = heapq.heappop(self._heap)[2]
        del self._wake[who]
        return who

    def _outdated(self) -> bool:
        when, order, who = self._heap[0]
        return self._wake.get(who) != (when, order)
