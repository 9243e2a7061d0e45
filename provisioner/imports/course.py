"""How rows of an import are looked at, and how they are written: what was planned for one is there for those behind it.

Each batch is planned and written in one transaction, so what is killed leaves whole rows; what is already so is not
written again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from provisioner.errors import Conflict, StoreFailed
from provisioner.imports.plan import Planner, Said
from provisioner.imports.reading import Reading
from provisioner.imports.rows import Row
from provisioner.imports.steps import Outcome, Planned, groups
from provisioner.imports.world import World
from provisioner.imports.writing import Writing
from provisioner.store.database import Change, Store
from provisioner.store.engine import may_pass
from provisioner.vendor import VendorDriver

WRITTEN: Final = 50
"""Rows of a transaction: whoever writes beside it waits a tenth of a second."""
PAUSE: Final = 0.01
"""s between two transactions, in which others have their turn."""
_TRIES: Final = 3


@dataclass(slots=True)
class Course:
    """What an import knows on its way; ``store`` is as narrow as the reach of whoever imports."""

    store: Store
    drivers: Mapping[str, VendorDriver]
    actor: str
    clock: Callable[[], float]
    said: Said = field(default_factory=Said)
    _world: World = field(default_factory=World)
    _reading: Reading | None = None

    async def look(self, rows: Sequence[Row]) -> list[Planned]:
        """What would become of rows; nothing is written."""
        reading = self._reading = self._reading or Reading(self.store.box)
        async with self.store.reading() as connection:
            await reading.read(connection, rows, self._world)
        planner = Planner(self.drivers, self.actor, self.clock(), self.said)
        return [planner.plan(row, self._world) for row in rows]

    async def write(self, batch: Sequence[Row]) -> list[Planned]:
        """A batch as a whole; where somebody else is quicker it is planned anew, in the end device by device."""
        for left in range(_TRIES, 0, -1):
            try:
                async with self.store.changing(self.actor, self.clock()) as change:
                    return await self._batch(change, batch)
            except Conflict as error:
                if left == 1 and len(groups(batch)) == 1:
                    return [Planned(one.line, one.file, Outcome.REFUSED, why=error.cause, mac=one.mac) for one in batch]
            except StoreFailed as error:
                if left == 1 or not may_pass(error):
                    raise
                await asyncio.sleep(PAUSE)
        done = {id(row): one for rows in groups(batch) for row, one in zip(rows, await self.write(rows), strict=True)}
        return [done[id(row)] for row in batch]

    async def _batch(self, change: Change, batch: Sequence[Row]) -> list[Planned]:
        world = World()
        await Reading(self.store.box).read(change.connection, batch, world)
        planner = Planner(self.drivers, self.actor, change.at, self.said)
        planned = [planner.plan(row, world) for row in batch]
        steps = [step for one in planned for step in one.steps]
        await Writing(change, self.store.box, self.drivers, steps).write()
        return planned
