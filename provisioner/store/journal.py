"""What happened, for administrators to read: events, last fetches and their bodies, unknown devices."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator

from sqlalchemy import ColumnElement, insert, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.errors import StoreFailed
from provisioner.model import Event, ListenerKind, Mac, Proof
from provisioner.store import schema
from provisioner.store.audit import append
from provisioner.store.database import event_row
from provisioner.store.rows import Fetch, Seen, StoredEvent
from provisioner.store.secretbox import SecretBox


async def list_events(
    connection: AsyncConnection, *, limit: int, kind: str = "", mac: str = "", after: int = 0, named: bool = False
) -> list[StoredEvent]:
    """The newest events, oldest of them first; ``after`` is the id of the last one already known.

    ``named`` also takes refusals of nobody proven that name the Mac in their path or claim it in their subject.
    """
    event = schema.event.c
    query = select(event.id, event.at, event.kind, event.mac, event.severity, event.actor, event.details)
    query = query.where(event.id > after).order_by(event.id.desc()).limit(limit)
    query = query.where(event.kind == kind) if kind else query
    found = [await connection.execute(query.where(*whose)) for whose in _whose(mac, named)]
    rows = sorted((row for one in found for row in one), key=lambda row: row.id, reverse=True)[:limit]
    return [
        StoredEvent(row.id, row.at, row.kind, row.mac, row.severity, row.actor, json.loads(row.details))
        for row in reversed(rows)
    ]


def _whose(mac: str, named: bool) -> Iterator[tuple[ColumnElement[bool], ...]]:
    """One question an index, as an OR over the three would read all events; each event answers one of them only."""
    if not mac:
        yield ()
        return
    event = schema.event.c
    yield (event.mac == mac,)
    if named:  # the literal is the indexes' own condition
        yield event.named == mac, event.named != literal_column("''")
        yield event.claimed == mac, event.claimed != literal_column("''")


async def write_events(connection: AsyncConnection, events: Iterable[Event], *, audit: bool = False) -> None:
    """What happened, as part of a transaction; audit events are chained and stay, the others go when they are many."""
    rows = [event_row(one, audit=audit) for one in events]
    if rows and audit:
        await append(connection, rows)
    elif rows:
        await connection.execute(insert(schema.event), rows)


async def list_fetches(connection: AsyncConnection, mac: Mac) -> list[Fetch]:
    """The last fetch of each file, in the order they came."""
    table = schema.last_fetch
    rows = await connection.execute(select(table).where(table.c.mac == mac).order_by(table.c.at, table.c.file))
    return [
        Fetch(
            mac, row.file, row.at, row.status, row.size, row.digest, Proof(row.proof), ListenerKind(row.listener),
            row.tls_version, row.firmware,
        )
        for row in rows
    ]  # fmt: skip


async def read_body(connection: AsyncConnection, box: SecretBox, mac: Mac, file: str) -> bytes | None:
    """What a device got when it last fetched a file."""
    body = schema.last_body.c
    sealed = (
        await connection.execute(select(body.body).where(body.mac == mac, body.file == file))
    ).scalar_one_or_none()
    if sealed is None:
        return None
    try:
        return zlib.decompress(box.open(sealed, "last_body", mac, file))
    except zlib.error as error:
        raise StoreFailed(f"the last body of {file} for {mac} is damaged") from error


async def find_seen(connection: AsyncConnection, mac: Mac) -> Seen | None:
    """One unknown device."""
    row = (await connection.execute(select(schema.seen).where(schema.seen.c.mac == mac))).one_or_none()
    if row is None:
        return None
    return Seen(mac, row.vendor, row.model, row.address, row.first_at, row.last_at, row.times)


async def list_seen(connection: AsyncConnection, limit: int = 1000) -> list[Seen]:
    """Unknown devices, the latest first."""
    seen = schema.seen
    rows = await connection.execute(select(seen).order_by(seen.c.last_at.desc(), seen.c.mac).limit(limit))
    return [
        Seen(Mac(row.mac), row.vendor, row.model, row.address, row.first_at, row.last_at, row.times) for row in rows
    ]
