"""Rows of licenses: one row is one license, and the last one is taken by the one UPDATE that says whether it won."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, delete, false, func, insert, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.licensing import SEATS, LicenseKind, LicenseState, license_state
from provisioner.store import schema
from provisioner.store.people import new_id
from provisioner.store.rows import License, LicenseTotal

_L: Final = schema.license.c
_COLUMNS: Final = (_L.id, _L.account, _L.kind, _L.user, _L.suspended, _L.since)
_BY_STATE: Final = {
    LicenseState.AVAILABLE: _L.user.is_(None) & _L.suspended.is_(false()),
    LicenseState.ASSIGNED: _L.user.is_not(None) & _L.suspended.is_(false()),
    LicenseState.SUSPENDED: _L.suspended.is_(true()),
}


def _selected() -> Select[Any]:
    return select(*_COLUMNS)


def _license(row: Row[Any]) -> License:
    state = license_state(has_user=row.user is not None, suspended=row.suspended)
    return License(row.id, row.account, LicenseKind(row.kind), state, row.user or "", row.since)


async def insert_licenses(
    connection: AsyncConnection, account: str, kind: LicenseKind, count: int, at: float
) -> list[License]:
    """So many new ones that nobody has."""
    made = [License(new_id(), account, kind, LicenseState.AVAILABLE, "", at) for _ in range(count)]
    rows = [{"id": one.id, "account": account, "kind": kind.value, "since": at} for one in made]
    await connection.execute(insert(schema.license), rows)
    return made


async def find_licenses(connection: AsyncConnection, ident: str, account: str = "") -> list[License]:
    """The one with this id, in one account when it is given."""
    query = _selected().where(_L.id == ident)
    rows = await connection.execute(query.where(_L.account == account) if account else query)
    return [_license(row) for row in rows]


async def list_licenses(
    connection: AsyncConnection,
    account: str = "",
    *,
    kind: LicenseKind | None = None,
    state: LicenseState | None = None,
    user: str = "",
) -> list[License]:
    """Licenses by account and kind."""
    query = _selected().order_by(_L.account, _L.kind, _L.since, _L.id)
    for column, value in ((_L.account, account), (_L.kind, kind.value if kind else ""), (_L.user, user)):
        query = query.where(column == value) if value else query
    rows = await connection.execute(query if state is None else query.where(_BY_STATE[state]))
    return [_license(row) for row in rows]


async def seats_of(connection: AsyncConnection, user: str) -> list[License]:
    """What lets a user have a phone, one at most; it may be suspended."""
    query = _selected().where(_L.user == user, _L.kind.in_(sorted(SEATS)))
    return [_license(row) for row in await connection.execute(query)]


async def take_license(
    connection: AsyncConnection, account: str, kind: LicenseKind, user: str, at: float
) -> str | None:
    """Give a user one that nobody has; its id, or None when there is none left.

    Whoever comes at the same moment waits for this row and then takes the next one, or none.
    """
    spare = schema.license.alias("spare")
    free = select(spare.c.id).where(
        spare.c.account == account, spare.c.kind == kind.value, spare.c.user.is_(None), spare.c.suspended.is_(false())
    )
    chosen = free.order_by(spare.c.id).limit(1).with_for_update().scalar_subquery()
    query = update(schema.license).where(_L.id == chosen, _L.user.is_(None))
    found = (await connection.execute(query.values(user=user, since=at).returning(_L.id))).first()
    return None if found is None else str(found.id)


async def free_license(connection: AsyncConnection, ident: str, at: float) -> bool:
    """Take it from whoever has it; whether somebody had it."""
    query = update(schema.license).where(_L.id == ident, _L.user.is_not(None)).values(user=None, since=at)
    return (await connection.execute(query)).rowcount == 1


async def suspend_license(connection: AsyncConnection, ident: str, *, suspended: bool, at: float) -> bool:
    """Suspend or resume it; whether that was a change."""
    query = update(schema.license).where(_L.id == ident, _L.suspended.is_(false() if suspended else true()))
    return (await connection.execute(query.values(suspended=suspended, since=at))).rowcount == 1


async def delete_licenses(connection: AsyncConnection, account: str, kind: LicenseKind, count: int) -> int:
    """Remove so many of those that nobody has; how many that were."""
    free = select(_L.id).where(_L.account == account, _L.kind == kind.value, _BY_STATE[LicenseState.AVAILABLE])
    idents: Sequence[str] = (await connection.execute(free.order_by(_L.id).limit(count))).scalars().all()
    for start in range(0, len(idents), 400):
        query = delete(schema.license).where(_L.id.in_(idents[start : start + 400]))
        await connection.execute(query)
    return len(idents)


async def license_totals(connection: AsyncConnection, account: str = "") -> list[LicenseTotal]:
    """How many there are, by account and kind."""
    states = [_count(_BY_STATE[one]).label(one.value) for one in LicenseState]
    query = select(_L.account, _L.kind, func.count().label("total"), *states)
    query = query.group_by(_L.account, _L.kind).order_by(_L.account, _L.kind)
    rows = await connection.execute(query.where(_L.account == account) if account else query)
    return [
        LicenseTotal(row.account, LicenseKind(row.kind), row.total, row.available, row.assigned, row.suspended)
        for row in rows
    ]


def _count(where: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count().filter(where)
