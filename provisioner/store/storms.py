"""The journal of storms: a row when a node's storm begins and one when it ends, written by its admin process alone."""

from __future__ import annotations

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from provisioner.model import Event
from provisioner.store import engine as engines
from provisioner.store import journal, schema
from provisioner.store.database import event_row

_LOOKED_AT = 20
"""Of each kind: nodes that share a database have theirs in between."""


class StormJournal:
    """Of the node with this name."""

    def __init__(self, engine: AsyncEngine, node: str) -> None:
        self._engine = engine
        self.node = node

    async def write(self, event: Event) -> None:
        """Append; the workers' next batch trims the journal to store.events."""
        async with engines.writing(self._engine) as connection:
            await connection.execute(insert(schema.event).values(**event_row(event, audit=False)))

    async def begun(self) -> float:
        """Unix time of this node's last begin that has no end yet; 0 where there is none."""
        async with engines.reading(self._engine) as connection:
            newest = {
                one.kind: one
                for kind in ("storm_began", "storm_ended")
                for one in await journal.list_events(connection, limit=_LOOKED_AT, kind=kind)
                if one.details.get("node") == self.node
            }
        began, ended = newest.get("storm_began"), newest.get("storm_ended")
        return 0.0 if began is None or (ended is not None and ended.id > began.id) else began.at
