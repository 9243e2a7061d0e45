"""The Store: database, keys and upload directory of one installation, and the frame of an administrator's change."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sqlalchemy import delete, insert, select, update
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from provisioner.audit_chain import Head
from provisioner.errors import Unusable
from provisioner.model import Event, Scope
from provisioner.settings import Settings
from provisioner.store import audit, line_history, schema
from provisioner.store import engine as engines
from provisioner.store.naming import macs_named
from provisioner.store.secretbox import SecretBox

CHANGES_KEPT: Final = 10_000
"""Changes a worker can be behind before it loads all shared layers again."""
_TRIM: Final = 50
"""Changes between two looks at whether some are older than that."""
_TOGETHER: Final = 400
"""Devices that one statement dates."""


def key_path(data: Path) -> Path:
    """Where an installation's master key lies."""
    return data / "master.key"


class Store:
    """Opened once a process, after the fork; closing it is the opener's duty."""

    def __init__(self, url: str, box: SecretBox, uploads: Path) -> None:
        self.url: URL = engines.parse_url(url)
        self.box = box
        self.uploads = uploads
        self.engine: AsyncEngine = engines.make_engine(self.url)
        self.lossy: AsyncEngine = engines.make_engine(self.url, lossy=True)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The store that the settings name; Unusable when key or database is missing."""
        url = engines.parse_url(settings.database_url)
        if engines.is_sqlite(url) and not engines.sqlite_path(url).is_file():
            raise Unusable(
                f"the database {url.database} is missing: run `provisioner init` or `provisioner db upgrade`"
            )
        return cls(settings.database_url, SecretBox.load(key_path(settings.data)), settings.data / "uploads")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Give all connections back."""
        await self.engine.dispose()
        await self.lossy.dispose()

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A consistent view for an administrator's question."""
        return engines.reading(self.engine)

    def writing(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A durable transaction of the device edge (tokens, uploads): no audit, no change of configuration."""
        return engines.writing(self.engine)

    @asynccontextmanager
    async def changing(self, actor: str, at: float) -> AsyncIterator[Change]:
        """An administrator's change: rows, change notice and audit event in one transaction, durable on return.

        Counting up the revision first makes such transactions queue, so what one has looked up stays true.
        """
        async with self.writing() as connection, change_on(connection, actor, at, self.box) as change:
            yield change
        if change.head is not None:
            audit.write_file(self.uploads.with_name(audit.FILE), change.head)
        await follow_up(change.later)


async def follow_up(later: Sequence[Callable[[], None]]) -> None:
    """What was to be done on disk once a transaction is durable."""
    for one in later:
        await asyncio.to_thread(one)


@dataclass(slots=True)
class Change:
    """What an administrator's transaction collects while it runs."""

    connection: AsyncConnection
    revision: int
    actor: str
    at: float
    box: SecretBox | None = None
    """What the end of the audit log is sealed with."""
    partner: Callable[[str], str] = audit.nobody
    """In whose name ``actor`` acts on an account; empty where it is their own."""
    head: Head | None = None
    """Where the audit log ends after this change."""
    later: list[Callable[[], None]] = field(default_factory=list)
    """What is to be done on disk once the change is durable; nothing of it where it is taken back."""
    _touched: dict[tuple[str, str], None] = field(default_factory=dict)
    _events: list[Event] = field(default_factory=list)

    def touch(self, scope: Scope, key: str) -> None:
        """Workers shall look at this scope again."""
        self._touched[scope.value, key] = None

    def audit(self, kind: str, *, mac: str = "", severity: str = "info", **details: str) -> None:
        """Say who did what; never a secret."""
        self._events.append(Event(kind, self.at, mac, severity, self.actor, details))

    def mark(self) -> tuple[int, int, int]:
        """How much it has collected so far."""
        return len(self._touched), len(self._events), len(self.later)

    def back_to(self, mark: tuple[int, int, int]) -> None:
        """Forget what was collected since: it was taken back."""
        for key in list(self._touched)[mark[0] :]:
            del self._touched[key]
        del self._events[mark[1] :]
        del self.later[mark[2] :]

    async def finish(self) -> None:
        """Write the notices; part of the transaction."""
        touched = self._touched or {(Scope.DEVICE.value, ""): None}
        rows = [{"revision": self.revision, "scope": scope, "key": key} for scope, key in touched]
        await self.connection.execute(insert(schema.change), rows)
        if self.revision % _TRIM == 0:
            old = schema.change.c.revision <= self.revision - CHANGES_KEPT
            await self.connection.execute(delete(schema.change).where(old))
        await self._date(touched)
        if self._touched:
            await line_history.stamp(self.connection, self.revision, self.actor, self.at)
        if self._events:
            told = [event_row(one, audit=True) for one in self._events]
            self.head = await audit.append(self.connection, told, self.box, self.partner)

    async def _date(self, touched: Iterable[tuple[str, str]]) -> None:
        """Note when each device and each shared layer was changed last: who was served before is not up to date."""
        macs = sorted(key for scope, key in touched if scope == Scope.DEVICE.value and key)
        mac = schema.device.c.mac
        for start in range(0, len(macs), _TOGETHER):
            some = mac.in_(macs[start : start + _TOGETHER])
            if self.connection.dialect.name == "postgresql":  # in the order in which batches take them
                await self.connection.execute(select(mac).where(some).order_by(mac).with_for_update(key_share=True))
            await self.connection.execute(update(schema.device).where(some).values(changed=self.revision))
        for scope, key in touched:
            if scope == Scope.DEVICE.value:
                continue
            table = schema.touched.c
            where = (table.scope == scope) & (table.key == key)
            done = await self.connection.execute(update(schema.touched).where(where).values(revision=self.revision))
            if not done.rowcount:
                values = {"scope": scope, "key": key, "revision": self.revision}
                await self.connection.execute(insert(schema.touched).values(values))


@asynccontextmanager
async def change_on(
    connection: AsyncConnection, actor: str, at: float, box: SecretBox | None = None
) -> AsyncIterator[Change]:
    """The same as part of a transaction that is under way; what was looked up before may have changed meanwhile."""
    count = update(schema.revision).values(value=schema.revision.c.value + 1)
    number = (await connection.execute(count.returning(schema.revision.c.value))).scalar_one()
    change = Change(connection, number, actor, at, box)
    yield change
    await change.finish()


def event_row(event: Event, *, audit: bool) -> Mapping[str, object]:
    """An Event as the table takes it; PostgreSQL's text holds no NUL."""
    named, claimed = ("", "") if event.mac or audit else macs_named(event.details)
    return {
        "at": event.at,
        "kind": event.kind,
        "mac": event.mac,
        "severity": event.severity,
        "actor": event.actor,
        "audit": audit,
        "details": json.dumps(dict(event.details), sort_keys=True),
        "named": named,
        "claimed": claimed,
        "account": event.details.get("account", "") if audit else "",
    }
