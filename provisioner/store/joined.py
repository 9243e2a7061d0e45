"""One transaction for a call of the administration: what it asks first, what it changes and what it answered.

Each use-case in it is a savepoint: one that raises has changed nothing, and the others stand. All of them are durable
together when the transaction ends, or none is. Whoever changes waits for whoever changed before: what was looked up
stays true to the end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.audit_chain import Head
from provisioner.store import schema
from provisioner.store.audit import FILE, write_file
from provisioner.store.database import Change, Store, change_on, follow_up
from provisioner.store.engine import failing_clearly, is_sqlite


class Joined(Store):
    """A Store whose readers and changes are all part of one transaction; it lives as long as that."""

    def __init__(self, store: Store, connection: AsyncConnection) -> None:
        self.url, self.box, self.uploads = store.url, store.box, store.uploads
        self.engine, self.lossy = store.engine, store.lossy
        self.connection = connection
        self.head: Head | None = None
        """Where the audit log ends when all of it is kept."""
        self.later: list[Callable[[], None]] = []
        """What is to be done on disk when all of it is kept."""
        self._numbers = count()

    async def close(self) -> None:
        """Nothing is this one's own."""

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """What the transaction sees."""
        with failing_clearly():
            yield self.connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A part that is kept or dropped by itself.

        In plain words to the database: on a connection that is narrowed to some accounts each statement is looked at.
        """
        name = f"part_{id(self)}_{next(self._numbers)}"
        with failing_clearly():
            await self.connection.exec_driver_sql(f"SAVEPOINT {name}")
            try:
                yield self.connection
            except Exception:  # not a cancellation: that ends the connection, and with it the whole transaction
                await self.connection.exec_driver_sql(f"ROLLBACK TO SAVEPOINT {name}")
                await self.connection.exec_driver_sql(f"RELEASE SAVEPOINT {name}")
                raise
            await self.connection.exec_driver_sql(f"RELEASE SAVEPOINT {name}")

    @asynccontextmanager
    async def changing(self, actor: str, at: float) -> AsyncIterator[Change]:
        """A change with its notice and audit event, kept or dropped as a whole."""
        async with self.writing() as connection, change_on(connection, actor, at, self.box) as change:
            yield change
        self.head = change.head or self.head
        self.later += change.later


class Batch(Joined):
    """The same where all changes are one: one revision and one notice. One that is refused leaves nothing in it."""

    def __init__(self, store: Store, change: Change) -> None:
        super().__init__(store, change.connection)
        self._change = change

    @asynccontextmanager
    async def changing(self, actor: str, at: float) -> AsyncIterator[Change]:  # noqa: ARG002  # the change has both
        """A part of the one change."""
        before, kept = self._change.mark(), False
        try:
            async with self.writing():
                yield self._change
            kept = True
        finally:
            if not kept:
                self._change.back_to(before)


@asynccontextmanager
async def joined(store: Store) -> AsyncIterator[Joined]:
    """Begin such a transaction; what is raised in it and let out takes all of it back."""
    async with store.writing() as connection:
        if not is_sqlite(store.url):  # PostgreSQL: changes queue on this row; SQLite has one writer anyway
            await connection.execute(select(schema.revision.c.value).with_for_update())
        whole = Joined(store, connection)
        yield whole
    if whole.head is not None:
        write_file(store.uploads.with_name(FILE), whole.head)
    await follow_up(whole.later)
