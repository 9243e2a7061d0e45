"""How far the events are settled: up to which number none can come any more. What is told goes no further.

A number is drawn when an event is written and seen when its transaction ends. Where several write at once, an older one
may therefore be seen after a newer one; whoever reads on behind the newest would never tell it.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.store import schema

_E: Final = schema.event.c
_PATIENCE: Final = 10.0
"""s that an event waits for older ones while somebody writes all the time; no transaction of the server is as long."""
_WRITERS: Final = text(
    "SELECT count(*) FROM pg_locks WHERE locktype = 'relation' AND relation = 'event'::regclass"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND mode = 'RowExclusiveLock' AND pid IS DISTINCT FROM pg_backend_pid()"
)
"""Whoever has written an event holds this lock from before its number was drawn until the end of the transaction."""
_NOW: Final = text("SELECT extract(epoch FROM clock_timestamp())")


async def settled(connection: AsyncConnection, tail: int) -> int:
    """The number up to which all events behind ``tail`` can be seen by the next question."""
    newest = (await connection.execute(select(func.max(_E.id)))).scalar_one() or 0
    if connection.dialect.name == "sqlite" or newest <= tail:  # in SQLite one writes at a time
        return int(newest)
    if not (await connection.execute(_WRITERS)).scalar_one():
        return int(newest)
    now = float((await connection.execute(_NOW)).scalar_one())
    # What seems to come from the future has a clock that is wrong: nobody waits for it.
    young = select(func.min(_E.id)).where(
        _E.id > tail, _E.id <= newest, _E.at.between(now - _PATIENCE, now + _PATIENCE)
    )
    first = (await connection.execute(young)).scalar_one()
    if first is None:
        return int(newest)
    # Not merely the number before it: that may be one that is still to be seen.
    before = select(func.max(_E.id)).where(_E.id > tail, _E.id < first)
    return int((await connection.execute(before)).scalar_one() or tail)
