"""How far the events are settled: up to which number none can come any more. What is told goes no further.

A number is drawn when an event is written and seen when its transaction ends. Where several write at once, an older one
may therefore be seen after a newer one; whoever reads on behind the newest would never tell it. So whoever writes while
the newest is looked up is waited for, by who they are and however long they take: no clock can let them be passed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from time import monotonic
from typing import Final

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.store import schema

log: Final = logging.getLogger("provisioner.server")

_E: Final = schema.event.c
_WRITERS: Final = text(
    "SELECT DISTINCT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND relation = 'event'::regclass"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND mode = 'RowExclusiveLock' AND pid IS DISTINCT FROM pg_backend_pid()"
)
"""Whoever has written an event holds this lock from before its number was drawn until the end of the transaction. No
name of a transaction is given twice before the database is started anew, which ends them all."""
_LONG: Final = 60.0
"""s after which it is said who holds up all that is told; no transaction of the server is as long."""
_LATE: Final = (
    "webhooks and alarms wait for a transaction that has written an event and is open for over %.0f s: end it. "
    "pg_locks has it as virtualtransaction %s"
)


@dataclass(slots=True)
class Tide:
    """What one process has seen of one database, look by look: the newest, and right after it who writes. Pure."""

    reached: int = 0
    """Nothing up to here is still to be seen."""
    looks: int = 0
    """That were taken in."""
    _newest: int = 0
    _writers: frozenset[str] = frozenset()
    """Whose everything is that is older than that newest and was not to be seen at that look."""
    _since: float = 0.0
    _told: bool = False

    def rise(self, began: int, newest: int, writers: frozenset[str], now: float) -> frozenset[str]:
        """Take in a look that began after so many others; who holds all up for long, told once.

        Where somebody else has looked meanwhile, that one knows better who writes.
        """
        if began != self.looks:
            return frozenset()
        self.looks += 1
        if staying := self._writers & writers:
            late = not self._told and now - self._since >= _LONG
            self._told |= late
            return staying if late else frozenset()
        self.reached = max(self.reached, self._newest if writers else newest)
        self._newest, self._writers, self._since, self._told = newest, writers, now, False
        return frozenset()


_TIDES: Final[dict[str, Tide]] = {}
"""By database."""


async def settled(connection: AsyncConnection, tail: int) -> int:
    """The number up to which all events behind ``tail`` can be seen by the next question."""
    tide = _TIDES.setdefault(str(connection.engine.url), Tide())
    began = tide.looks
    newest = int((await connection.execute(select(func.max(_E.id)))).scalar_one() or 0)
    if connection.dialect.name == "sqlite" or newest <= tail:  # in SQLite one writes at a time
        return newest
    writers = frozenset((await connection.execute(_WRITERS)).scalars())
    for one in tide.rise(began, newest, writers, monotonic()):
        log.warning(_LATE, _LONG, one)
    return max(tail, min(tide.reached, newest))
