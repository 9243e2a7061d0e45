"""Events a page at a time: the newest first for who looks back, the oldest first for who follows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.model import Mac
from provisioner.store import schema
from provisioner.store.rows import StoredEvent

_V: Final = schema.event.c
_COLUMNS: Final = (_V.id, _V.at, _V.kind, _V.mac, _V.severity, _V.actor, _V.details)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are meant; an empty field does not restrict."""

    kind: str = ""
    mac: str = ""
    severity: str = ""
    actor: str = ""
    audit: bool | None = None
    since: float | None = None
    until: float | None = None


async def events_page(
    connection: AsyncConnection, wanted: EventFilter, *, before: int | None, limit: int
) -> list[StoredEvent]:
    """The newest first, behind the one with this id."""
    query = select(*_COLUMNS).where(*_wanted(wanted)).order_by(_V.id.desc()).limit(limit)
    query = query.where(_V.id < before) if before is not None else query
    return [_event(row) for row in await connection.execute(query)]


async def events_since(
    connection: AsyncConnection, wanted: EventFilter, *, after: int, limit: int
) -> list[StoredEvent]:
    """The oldest first, from the one behind this id on."""
    query = select(*_COLUMNS).where(_V.id > after, *_wanted(wanted))
    return [_event(row) for row in await connection.execute(query.order_by(_V.id).limit(limit))]


async def last_event(connection: AsyncConnection) -> int:
    """The newest event's id; 0 before the first."""
    return int((await connection.execute(select(func.max(_V.id)))).scalar_one() or 0)


async def last_refusal(connection: AsyncConnection, mac: Mac) -> StoredEvent | None:
    """The newest event of a device that tells a verdict on its certificate."""
    query = select(*_COLUMNS).where(_V.mac == mac, _V.details.contains('"verdict": '))
    row = (await connection.execute(query.order_by(_V.id.desc()).limit(1))).one_or_none()
    return None if row is None else _event(row)


def _wanted(wanted: EventFilter) -> list[ColumnElement[bool]]:
    named = {"kind": wanted.kind, "mac": wanted.mac, "severity": wanted.severity, "actor": wanted.actor}
    found: list[ColumnElement[bool]] = [_V[name] == value for name, value in named.items() if value]
    found += [_V.audit.is_(wanted.audit)] if wanted.audit is not None else []
    found += [_V.at >= wanted.since] if wanted.since is not None else []
    found += [_V.at < wanted.until] if wanted.until is not None else []
    return found


def _event(row: Any) -> StoredEvent:
    return StoredEvent(row.id, row.at, row.kind, row.mac, row.severity, row.actor, json.loads(row.details))
