"""Lists a page at a time: each page begins behind the last row of the one before, so its cost is that of its rows.

Nothing is counted off from the beginning: a row that comes or goes meanwhile moves no other from one page to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Table, and_, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.codes import ActivationCode, CodeState
from provisioner.model import Device, Mac
from provisioner.store import people, schema
from provisioner.store.rows import Account, Extension, Site, User

_D: Final = schema.device.c
_B: Final = schema.binding.c
_E: Final = schema.extension.c
_U: Final = schema.user.c
_L: Final = schema.activation_code.c

Key = tuple[str | float, ...]
"""Where a page begins: the sort key of the row before it; empty for the first one."""


# --- pages ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """Which rows of a list: behind ``after``, so many at most."""

    after: Key = ()
    limit: int = 100


async def page_of(
    connection: AsyncConnection,
    query: Select[Any],
    keys: Sequence[ColumnElement[Any]],
    span: Span,
    *,
    down: bool = False,
) -> Sequence[Any]:
    """Rows in the order of ``keys``, which tell any two rows apart."""
    if span.after:
        here = tuple_(*keys) if len(keys) > 1 else keys[0]
        there = tuple_(*span.after) if len(keys) > 1 else span.after[0]
        query = query.where(here < there if down else here > there)
    query = query.order_by(*(one.desc() if down else one for one in keys)).limit(span.limit)
    rows: Sequence[Any] = (await connection.execute(query)).all()
    return rows


async def accounts_page(connection: AsyncConnection, span: Span, name: str = "", parent: str = "") -> list[Account]:
    """Accounts by id."""
    table = schema.account
    query = _of(select(table), table, name=name, parent=parent)
    rows = await page_of(connection, query, [table.c.id], span)
    return [Account(row.id, row.name, row.created, row.parent or "") for row in rows]


async def sites_page(connection: AsyncConnection, span: Span, account: str = "", name: str = "") -> list[Site]:
    """Sites by id, without their time zones."""
    table = schema.site
    query = _of(select(table), table, account=account, name=name)
    return [people.site_in(row) for row in await page_of(connection, query, [table.c.id], span)]


async def users_page(
    connection: AsyncConnection, span: Span, account: str = "", name: str = "", email: str = "", kind: str = ""
) -> list[User]:
    """Users by id."""
    query = _of(select(schema.user), schema.user, account=account, name=name, email=email, kind=kind)
    return [people.user_in(row) for row in await page_of(connection, query, [_U.id], span)]


async def extensions_page(
    connection: AsyncConnection, span: Span, account: str = "", user: str = "", number: str = ""
) -> list[Extension]:
    """Extensions by id, without their secrets."""
    columns = [_E[name] for name in Extension.__dataclass_fields__]
    query = _of(select(*columns), schema.extension, account=account, user=user, number=number)
    return [Extension(*row) for row in await page_of(connection, query, [_E.id], span)]


async def codes_page(
    connection: AsyncConnection, span: Span, now: float, account: str = "", state: CodeState | None = None
) -> list[ActivationCode]:
    """Activation codes without their digits, the newest first, in the states they are in now."""
    columns = [_L[name] for name in ActivationCode.__dataclass_fields__ if name != "number"]
    query: Select[Any] = select(*columns, _E.number).join(schema.extension, _E.id == _L.extension)
    query = _of(query, schema.activation_code, account=account)
    query = query.where(_in_state(state, now)) if state else query
    rows = await page_of(connection, query, [_L.created, _L.id], span, down=True)
    return [_code(row, now) for row in rows]


def _code(row: Any, now: float) -> ActivationCode:
    values = {name: getattr(row, name) for name in ActivationCode.__dataclass_fields__}
    one = ActivationCode(**{**values, "state": CodeState(row.state), "site": row.site or ""})
    return ActivationCode(**{**values, "state": one.state_at(now), "site": row.site or ""})


def _in_state(state: CodeState, now: float) -> ColumnElement[bool]:
    """Whose time is over has expired, whether anybody has written that down or not."""
    open_ones = [CodeState.ISSUED.value, CodeState.LOCKED.value]
    if state is CodeState.EXPIRED:
        return or_(_L.state == state.value, and_(_L.state.in_(open_ones), _L.expires <= now))
    plain = _L.state == state.value
    return and_(plain, _L.expires > now) if state.value in open_ones else plain


def _of(query: Select[Any], table: Table, **wanted: str) -> Select[Any]:
    for name, value in wanted.items():
        if value:
            query = query.where(table.c[name] == value)
    return query


# --- devices --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OnLine:
    """An extension on a line, for lists."""

    line: int
    extension: str
    number: str


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """What a list tells of a device beside itself."""

    lines: tuple[OnLine, ...] = ()
    last_fetch: float | None = None


async def whereabouts(connection: AsyncConnection, macs: Sequence[Mac]) -> dict[str, Whereabouts]:
    """Lines and last fetch of some devices."""
    lines: dict[str, list[OnLine]] = {}
    bound = select(_B.mac, _B.line, _B.extension, _E.number).join(schema.extension, _E.id == _B.extension)
    bound = bound.where(_B.mac.in_(macs), _B.until.is_(None)).order_by(_B.mac, _B.line)
    for row in await connection.execute(bound):
        lines.setdefault(row.mac, []).append(OnLine(row.line, row.extension, row.number))
    fetch = schema.last_fetch.c
    last = select(fetch.mac, func.max(fetch.at)).where(fetch.mac.in_(macs)).group_by(fetch.mac)
    came = {row[0]: float(row[1]) for row in await connection.execute(last)}
    return {mac: Whereabouts(tuple(lines.get(mac, ())), came.get(mac)) for mac in macs}


async def revisions(connection: AsyncConnection, device: Device) -> tuple[int | None, int]:
    """Up to which change the device has its configuration, and the last change that concerns it."""
    row = (await connection.execute(select(_D.served, _D.changed).where(_D.mac == device.mac))).one()
    shared = schema.touched.c
    query = select(func.max(shared.revision)).where(tuple_(shared.scope, shared.key).in_(_below(device)))
    last = (await connection.execute(query)).scalar_one()
    return row.served, max(row.changed, last or 0)


async def lacking_since(connection: AsyncConnection, device: Device, served: int) -> float | None:
    """When the first change of a layer or line was made that the device has not got; None where that is not kept."""
    layer, line = schema.layer_revision.c, schema.line_revision.c
    own = tuple_(layer.scope, layer.key).in_([*_below(device), ("device", device.mac)])
    layers = select(func.min(layer.at)).where(own, layer.revision > served, layer.at > 0)
    lines = select(func.min(line.at)).where(line.mac == device.mac, line.revision > served, line.at > 0)
    found = [(await connection.execute(one)).scalar_one() for one in (layers, lines)]
    return min((float(at) for at in found if at is not None), default=None)


def _below(device: Device) -> list[tuple[str, str]]:
    """The layers that it shares."""
    return [
        ("defaults", ""), ("vendor", device.vendor), ("model", f"{device.vendor}/{device.model}"),
        ("account", device.account), ("site", device.site),
    ]  # fmt: skip
