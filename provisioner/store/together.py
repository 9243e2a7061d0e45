"""Many use-cases in one transaction: a thousand devices are durable at once, or none of them is.

Each use-case sees what the ones before it did. The whole counts as one revision.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.store.database import Change, Store


class Together(Store):
    """A Store whose readers and changes are all part of one transaction; it lives as long as that."""

    def __init__(self, store: Store, change: Change) -> None:
        self.url, self.box, self.uploads = store.url, store.box, store.uploads
        self.engine, self.lossy = store.engine, store.lossy
        self._change = change

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """What the transaction sees."""
        yield self._change.connection

    @asynccontextmanager
    async def changing(self, actor: str, at: float) -> AsyncIterator[Change]:  # noqa: ARG002  # the transaction has both
        """The one change; it is written when the transaction ends."""
        yield self._change


@asynccontextmanager
async def together(store: Store, actor: str, at: float) -> AsyncIterator[Together]:
    """Give the result to a Fleet; when one of its use-cases raises, end the transaction by letting that out."""
    async with store.changing(actor, at) as change:
        yield Together(store, change)
