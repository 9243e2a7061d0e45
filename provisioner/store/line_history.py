"""Revisions of lines: what was on a line before a change and is since, put down with the binding that begins or ends.

So it does not matter who binds: an administrator, a code, an import. Who and when is filled in as the change ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, and_, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.model import Mac
from provisioner.store import schema
from provisioner.store.hook_queue import UNBOUND
from provisioner.store.rows import Binding

_H: Final = schema.line_revision.c
_FREE: Final = {UNBOUND: True}
"""Whoever may bind a line writes its history; what is read of it is narrowed as the device is."""


@dataclass(frozen=True, slots=True)
class OnLine:
    """An extension on a line."""

    extension: str
    number: str
    label: str


@dataclass(frozen=True, slots=True)
class LineRevision:
    """One change of a line."""

    revision: int
    mac: Mac
    line: int
    at: float
    actor: str
    was: OnLine | None
    """None where nothing was on it."""
    now: OnLine | None


async def begun(connection: AsyncConnection, found: Iterable[Binding]) -> None:
    """Bindings that begin with the change that is under way."""
    rows = [
        {"mac": one.mac, "line": one.line, "extension": one.extension, "number": one.number, "label": one.label}
        for one in found
    ]
    await _put(connection, rows, ("extension", "number", "label"))


async def ended(connection: AsyncConnection, found: Iterable[Binding]) -> None:
    """Bindings that end with it."""
    rows = [
        {"mac": one.mac, "line": one.line, "was_extension": one.extension, "was_number": one.number,
         "was_label": one.label, "extension": None, "number": None, "label": None}
        for one in found
    ]  # fmt: skip
    await _put(connection, rows, ("extension", "number", "label"))


async def _put(connection: AsyncConnection, rows: Sequence[dict[str, Any]], told: Sequence[str]) -> None:
    """A line that the same change had before keeps what it was then."""
    if not rows:
        return
    revision = (await connection.execute(select(schema.revision.c.value))).scalar_one()
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    query = dialect.insert(schema.line_revision)
    query = query.on_conflict_do_update(
        index_elements=["revision", "mac", "line"], set_={name: query.excluded[name] for name in told}
    )
    await connection.execute(query.execution_options(**_FREE), [{**row, "revision": revision} for row in rows])


def _on(extension: str | None, number: str | None, label: str | None) -> OnLine | None:
    return None if extension is None else OnLine(extension, number or "", label or "")


def _read(row: Row[Any]) -> LineRevision:
    return LineRevision(
        row.revision, Mac(row.mac), row.line, row.at, row.actor,
        _on(row.was_extension, row.was_number, row.was_label), _on(row.extension, row.number, row.label),
    )  # fmt: skip


async def of_device(
    connection: AsyncConnection, mac: Mac, *, after: tuple[int, int] | None = None, limit: int = 100
) -> list[LineRevision]:
    """What was on a device's lines, the newest change first; ``after``: revision and line of the last one known."""
    query = select(schema.line_revision).where(_H.mac == mac)
    if after is not None:
        number, line = after
        query = query.where(or_(_H.revision < number, and_(_H.revision == number, _H.line > line)))
    rows = await connection.execute(query.order_by(_H.revision.desc(), _H.line).limit(limit))
    return [_read(row) for row in rows]


async def of_revision(
    connection: AsyncConnection, revision: int, macs: Iterable[str] = (), extensions: Iterable[str] = ()
) -> list[LineRevision]:
    """Lines of these devices, and of any device with these extensions, that one change has changed."""
    extensions = sorted(extensions)
    meant = or_(_H.mac.in_(sorted(macs)), _H.was_extension.in_(extensions), _H.extension.in_(extensions))
    query = select(schema.line_revision).where(_H.revision == revision, meant)
    return [_read(row) for row in await connection.execute(query.order_by(_H.mac, _H.line))]


async def since(connection: AsyncConnection, mac: Mac, line: int, revision: int) -> LineRevision | None:
    """The last change of a line after that one."""
    query = select(schema.line_revision).where(_H.mac == mac, _H.line == line, _H.revision > revision)
    row = (await connection.execute(query.order_by(_H.revision.desc()).limit(1))).first()
    return None if row is None else _read(row)


# --- both kinds of revisions ------------------------------------------------------------------------


async def stamp(connection: AsyncConnection, revision: int, actor: str, at: float) -> None:
    """Say who made the change that is under way, and when."""
    for table in (schema.layer_revision, schema.line_revision):
        query = update(table).where(table.c.revision == revision, table.c.actor == "")
        await connection.execute(query.values(actor=actor, at=at).execution_options(**_FREE))


async def forget_before(connection: AsyncConnection, at: float) -> int:
    """What is too old to be taken back; how many."""
    gone = [await connection.execute(delete(table).where(table.c.at < at)) for table in (
        schema.layer_revision, schema.line_revision,
    )]  # fmt: skip
    return sum(one.rowcount for one in gone)
