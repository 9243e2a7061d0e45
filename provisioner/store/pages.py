"""Lists a page at a time: each page begins behind the last row of the one before, so its cost is that of its rows.

Nothing is counted off from the beginning: a row that comes or goes meanwhile moves no other from one page to the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Table, and_, func, or_, select, tuple_, union
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.codes import ActivationCode, CodeState
from provisioner.model import Device, Mac
from provisioner.store import devices, schema
from provisioner.store.devices import DeviceFilter
from provisioner.store.rows import Account, Extension, Site, User

_D: Final = schema.device.c
_B: Final = schema.binding.c
_E: Final = schema.extension.c
_U: Final = schema.user.c
_L: Final = schema.activation_code.c
_LINED: Final = select(_B.mac).join(schema.extension, _E.id == _B.extension).where(_B.until.is_(None))
"""Devices with an extension on a line."""

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


async def accounts_page(connection: AsyncConnection, span: Span, name: str = "") -> list[Account]:
    """Accounts by id."""
    table = schema.account
    query = select(table)
    query = query.where(table.c.name == name) if name else query
    rows = await page_of(connection, query, [table.c.id], span)
    return [Account(row.id, row.name, row.created, row.parent or "") for row in rows]


async def sites_page(connection: AsyncConnection, span: Span, account: str = "", name: str = "") -> list[Site]:
    """Sites by id, without their time zones."""
    table = schema.site
    query = _of(select(table), table, account=account, name=name)
    return [Site(row.id, row.account, row.name) for row in await page_of(connection, query, [table.c.id], span)]


async def users_page(
    connection: AsyncConnection, span: Span, account: str = "", name: str = "", email: str = ""
) -> list[User]:
    """Users by id."""
    query = _of(select(schema.user), schema.user, account=account, name=name, email=email)
    return [User(row.id, row.account, row.name, row.email) for row in await page_of(connection, query, [_U.id], span)]


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


async def devices_page(
    connection: AsyncConnection,
    wanted: DeviceFilter,
    meant: ColumnElement[bool] | None = None,
    models: Sequence[str] | None = None,
) -> list[Device]:
    """Devices by Mac; ``meant`` says which by their text, ``models`` are the only ones that count."""
    query = devices.device_query(wanted)
    query = query.where(_D.model.in_(models)) if models is not None else query
    query = query if meant is None else query.where(meant)
    return devices.devices_in(await connection.execute(query))


async def meaning(connection: AsyncConnection, text: str) -> ColumnElement[bool] | None:
    """Which devices a text means: the first of these that finds any. A number or the beginning of a user's name or
    address; the beginning of a Mac; its end, or a label, for which all devices are looked at.
    """
    if not text:
        return None
    for meant in (_named(text), *_begun(text)):
        if await devices_page(connection, DeviceFilter(limit=1), meant):
            return meant
    return _otherwise(text)


def _named(text: str) -> ColumnElement[bool]:
    """One question each, so that each has its index."""
    beginning = text.lower()
    people = or_(
        func.lower(_U.name).startswith(beginning, autoescape=True),
        func.lower(_U.email).startswith(beginning, autoescape=True),
    )
    held = _LINED.join(schema.user, _U.id == _E.user).where(people)
    return _D.mac.in_(union(_LINED.where(_E.number == text), held))


def _begun(text: str) -> Iterator[ColumnElement[bool]]:
    if digits := _digits(text):
        yield and_(_D.mac >= digits, _D.mac < digits + "g")


def _otherwise(text: str) -> ColumnElement[bool]:
    labelled = _D.mac.in_(select(_B.mac).where(_B.label == text, _B.until.is_(None)))
    digits = _digits(text)
    return or_(func.substr(_D.mac, 13 - len(digits)) == digits, labelled) if digits else labelled


def _digits(text: str) -> str:
    """Part of a Mac, however it is written; empty when it is none."""
    plain = "".join(letter for letter in text.lower() if letter not in ":-. ")
    return plain if len(plain) <= 12 and set(plain) <= set("0123456789abcdef") else ""


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
    below = [
        ("defaults", ""), ("vendor", device.vendor), ("model", f"{device.vendor}/{device.model}"),
        ("account", device.account), ("site", device.site),
    ]  # fmt: skip
    query = select(func.max(shared.revision)).where(tuple_(shared.scope, shared.key).in_(below))
    last = (await connection.execute(query)).scalar_one()
    return row.served, max(row.changed, last or 0)
