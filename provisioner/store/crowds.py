"""How many devices are where: counted in the background, on a connection of its own, and swapped in as a whole.

A million sightings are counted on another thread (SQLite, 0.7 to 1.5 s of a core) or fetched in parts (PostgreSQL):
the loop goes on. A device counts at the few addresses that ``standing`` leaves it, a revoked or removed one nowhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, Final

from sqlalchemy import Select, func, select

from provisioner.store import schema
from provisioner.store.database import Store
from provisioner.store.engine import BUSY_TIMEOUT, failing_clearly, is_sqlite, plain_sql, read_only, reading

WEIGHTS_AGE: Final = 60.0
"""s between counts of sightings, which are of days."""
POPULATIONS_AGE: Final = 5.0
"""s between counts of devices, and only after a change: a new site of fifty phones installs at once."""
_PART: Final = 1000
"""Rows taken from PostgreSQL at a time."""

_S: Final = schema.sighting.c
_D: Final = schema.device.c
_WELCOME: Final = select(_D.mac).where(_D.revoked.is_(False))
_WEIGHTS: Final = select(_S.address, func.count()).where(_S.mac.in_(_WELCOME)).group_by(_S.address)
"""A list instead of a join: that would look up a million devices, one after another, in the order of addresses."""
_SITES: Final = select(_D.site, func.count()).where(_D.site.is_not(None)).group_by(_D.site)
_ACCOUNTS: Final = select(_D.account, func.count()).group_by(_D.account)


class Crowds:
    """Known devices by address, by site and by account, as last counted."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._weighed = self._counted = float("-inf")
        self._generation = -1
        self.weights: Mapping[str, int] = {}
        self.sites: Mapping[str, int] = {}
        self.accounts: Mapping[str, int] = {}

    async def learn(self, generation: int) -> None:
        """Count what is due; StoreFailed leaves what was known."""
        now = self._clock()
        if generation != self._generation and now - self._counted >= POPULATIONS_AGE:
            self._counted = now
            self.sites, self.accounts = await self._count(_SITES), await self._count(_ACCOUNTS)
            self._generation = generation
        if now - self._weighed >= WEIGHTS_AGE:
            self._weighed = now
            self.weights = await self._count(_WEIGHTS)

    async def _count(self, query: Select[Any]) -> Mapping[str, int]:
        with failing_clearly():
            if is_sqlite(self._store.url):
                return await asyncio.to_thread(self._count_here, plain_sql(query))
            async with reading(self._store.engine) as connection:
                rows = await connection.stream(query.execution_options(yield_per=_PART))
                return {row[0]: row[1] async for part in rows.partitions() for row in part}

    def _count_here(self, sql: str) -> Mapping[str, int]:
        with closing(read_only(self._store.url, BUSY_TIMEOUT)) as connection:
            return dict(connection.execute(sql))
