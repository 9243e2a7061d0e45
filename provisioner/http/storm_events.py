"""A node's storms as events: one when storm mode begins on its first worker, one when it has ended on its last.

They are put down here and written apart from the watch, so a slow database makes nobody blind. Bounded: a storm that
begins within a minute of another one's begin is only counted, and no more than a few dozen events wait.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Mapping
from typing import Final, Protocol

from provisioner.model import Event

_APART: Final = 60.0
"""s between two begins that are told."""
_WAITING: Final = 32
"""Events kept while the database takes none; the oldest go first."""
_SAME: Final = 60.0
"""s by which the begin of a storm that was met under way may be told differently than when it was seen."""


class Journal(Protocol):
    """Where they are written."""

    @property
    def node(self) -> str:
        """Whose storms these are."""

    def write(self, event: Event) -> Awaitable[None]:
        """Append one."""

    def begun(self) -> Awaitable[float]:
        """Unix time of the last begin that has no end yet; 0 where there is none."""


class StormEvents:
    """Of one node; all times but ``at`` are on a clock that does not jump."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._waiting: deque[tuple[Event, bool]] = deque(maxlen=_WAITING)
        self._told = -math.inf
        self._open = False
        self._untold = 0

    def began(self, now: float, at: float, details: Mapping[str, str], *, met: bool) -> None:
        """Storm mode is on; ``met``: it was on before anybody looked, so its begin may have been told already."""
        if now - self._told < _APART:
            self._untold += 1
            return
        self._told, self._open = now, True
        told = self._named(details) | ({"untold_before": str(self._untold)} if self._untold else {})
        self._untold = 0
        self._put(Event("storm_began", at, severity="warning", actor="server", details=told), met=met)

    def ended(self, at: float, details: Mapping[str, str]) -> None:
        """Storm mode is over on all workers; told where its begin was."""
        if self._open:
            self._open = False
            self._put(Event("storm_ended", at, actor="server", details=self._named(details)))

    async def deliver(self) -> None:
        """Write what waits; StoreFailed when it has to wait on."""
        while self._waiting:
            event, met = first = self._waiting[0]
            if not (met and abs(await self._journal.begun() - event.at) <= _SAME):
                await self._journal.write(event)
            if self._waiting and self._waiting[0] is first:  # a full queue may have dropped it meanwhile
                self._waiting.popleft()

    def _named(self, details: Mapping[str, str]) -> dict[str, str]:
        return {"node": self._journal.node, **details}

    def _put(self, event: Event, *, met: bool = False) -> None:
        self._waiting.append((event, met))
