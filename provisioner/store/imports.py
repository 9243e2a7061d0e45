"""Rows of many accounts, people and devices at once: what an import asks and what it writes, a batch a statement."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Table, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.licensing import SEATS, AccountPolicy, LicenseState, license_state
from provisioner.model import Device, Mac
from provisioner.store import line_history, schema
from provisioner.store.devices import MOMENT, DeviceFilter, device_query, devices_in
from provisioner.store.hook_queue import UNBOUND
from provisioner.store.people import site_in, user_in
from provisioner.store.policies import policy_of
from provisioner.store.rows import Account, Binding, Extension, ExtensionHold, Site, User

_CHUNK: Final = 500
"""Values of one question."""
_A: Final = schema.account.c
_S: Final = schema.site.c
_U: Final = schema.user.c
_E: Final = schema.extension.c
_D: Final = schema.device.c
_B: Final = schema.binding.c
_H: Final = schema.extension_hold.c
_L: Final = schema.license.c
_N: Final = schema.phone_number.c
_EXTENSION: Final = tuple(_E[name] for name in Extension.__dataclass_fields__)
_BINDING: Final = (
    _B.mac, _B.line, _B.extension, _E.number, _B.label, _B.since, _B.until, _B.actor, _B.cause, _B.slot,
)  # fmt: skip


def _chunks(values: Collection[str]) -> Iterator[Sequence[str]]:
    wanted = sorted(values)
    return (wanted[start : start + _CHUNK] for start in range(0, len(wanted), _CHUNK))


async def _asked(
    connection: AsyncConnection, query: Select[Any], values: Collection[str], *columns: ColumnElement[str]
) -> list[Any]:
    """Rows in which one of the columns has one of the values."""
    found: list[Any] = []
    for some in _chunks(values):
        where = or_(*(column.in_(some) for column in columns))
        found += (await connection.execute(query.where(where))).all()
    return found


async def accounts_called(connection: AsyncConnection, refs: Collection[str]) -> list[Account]:
    """Accounts by id or name."""
    rows = await _asked(connection, select(schema.account), refs, _A.id, _A.name)
    return [Account(row.id, row.name, row.created, row.parent or "") for row in rows]


async def policies(connection: AsyncConnection, accounts: Collection[str]) -> dict[str, AccountPolicy]:
    """The policy of each."""
    return {one: await policy_of(connection, one) for one in sorted(accounts)}


async def sites_called(connection: AsyncConnection, account: str, names: Collection[str]) -> list[Site]:
    """Sites of an account by name."""
    query = select(schema.site).where(_S.account == account)
    return [site_in(row) for row in await _asked(connection, query, names, _S.name)]


async def users_called(connection: AsyncConnection, account: str, names: Collection[str]) -> list[User]:
    """Users of an account by name or address."""
    query = select(schema.user).where(_U.account == account)
    return [user_in(row) for row in await _asked(connection, query, names, _U.name, _U.email)]


async def users_with(connection: AsyncConnection, idents: Collection[str]) -> list[User]:
    """Users by id."""
    return [user_in(row) for row in await _asked(connection, select(schema.user), idents, _U.id)]


async def extensions_called(connection: AsyncConnection, account: str, numbers: Collection[str]) -> list[Extension]:
    """Extensions of an account by number."""
    query = select(*_EXTENSION).where(_E.account == account)
    return [Extension(*row) for row in await _asked(connection, query, numbers, _E.number)]


async def sealed_secrets(connection: AsyncConnection, idents: Collection[str]) -> dict[str, bytes]:
    """Sealed SIP secrets of extensions."""
    rows = await _asked(connection, select(_E.id, _E.secret), idents, _E.id)
    return {row.id: bytes(row.secret) for row in rows}


async def devices_with(connection: AsyncConnection, macs: Collection[Mac]) -> dict[Mac, Device]:
    """Devices within reach."""
    rows = await _asked(connection, device_query(DeviceFilter(limit=_CHUNK)), macs, _D.mac)
    return {one.mac: one for one in devices_in(rows)}


async def taken(connection: AsyncConnection, macs: Collection[Mac]) -> set[Mac]:
    """Which of them are somebody's, in reach or not; a Mac is one device's in the whole world."""
    query = select(_D.mac).execution_options(**{UNBOUND: True})
    return {Mac(row.mac) for row in await _asked(connection, query, macs, _D.mac)}


async def bindings_of(connection: AsyncConnection, macs: Collection[Mac], extensions: Collection[str]) -> list[Binding]:
    """What is on these devices and where these extensions are, the longest first."""
    query = select(*_BINDING).join(schema.extension, _E.id == _B.extension).where(_B.until.is_(None))
    rows = [
        *await _asked(connection, query, macs, _B.mac),
        *await _asked(connection, query, extensions, _B.extension),
    ]
    found = {(row.mac, row.line): Binding(Mac(row.mac), *row[1:]) for row in rows}
    return sorted(found.values(), key=lambda one: (one.since, one.slot))


async def holds_of(connection: AsyncConnection, account: str, numbers: Collection[str]) -> list[ExtensionHold]:
    """Numbers of an account that are or were kept for somebody."""
    rows = await _asked(connection, select(*_H).where(_H.account == account), numbers, _H.number)
    return [ExtensionHold(*row) for row in rows]


async def seats(connection: AsyncConnection, users: Collection[str]) -> dict[str, LicenseState]:
    """What lets users have a phone, where something does."""
    query = select(_L.user, _L.suspended).where(_L.kind.in_(sorted(SEATS)))
    rows = await _asked(connection, query, users, _L.user)
    return {row.user: license_state(has_user=True, suspended=row.suspended) for row in rows}


async def with_number(connection: AsyncConnection, extensions: Collection[str]) -> set[str]:
    """Which of them have a phone number that has come."""
    query = select(_N.extension).where(_N.porting.is_(False))
    return {row.extension for row in await _asked(connection, query, extensions, _N.extension)}


async def may_fetch(connection: AsyncConnection, macs: Collection[Mac]) -> list[Mac]:
    """Which of them have ever come for a configuration or been offered activation; the others need not be asked."""
    event = schema.event.c
    offered = select(event.mac).where(event.kind == "activation_offered")
    rows = await _asked(connection, select(_D.mac).where(_D.served.is_not(None)), macs, _D.mac)
    rows += await _asked(connection, offered, macs, event.mac)
    return sorted({Mac(row.mac) for row in rows})


# --- what is written ------------------------------------------------------------------------------------


async def _insert(connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        await connection.execute(insert(table), rows)


async def insert_sites(connection: AsyncConnection, found: Iterable[Site]) -> None:
    """New sites, without time zones."""
    await _insert(connection, schema.site, [{"id": one.id, "account": one.account, "name": one.name} for one in found])


async def insert_users(connection: AsyncConnection, found: Iterable[User]) -> None:
    """New users."""
    rows = [{"id": one.id, "account": one.account, "name": one.name, "email": one.email} for one in found]
    await _insert(connection, schema.user, rows)


async def insert_extensions(
    connection: AsyncConnection, found: Iterable[tuple[Extension, bytes, str]], at: float
) -> None:
    """New extensions with their sealed secrets, and whether those were made here or given."""
    names = Extension.__dataclass_fields__
    rows = [
        {**{name: getattr(one, name) for name in names}, "secret": sealed, "secret_origin": origin, "secret_at": at}
        for one, sealed, origin in found
    ]
    await _insert(connection, schema.extension, rows)


async def left_behind(connection: AsyncConnection, extensions: Collection[str]) -> set[str]:
    """Those whose secret a phone knows that has them no more."""
    return {row.id for row in await _asked(connection, select(_E.id).where(_E.secret_left != ""), extensions, _E.id)}


async def emptied(connection: AsyncConnection, macs: Collection[Mac]) -> set[Mac]:
    """Devices that are to forget something."""
    return {Mac(row.mac) for row in await _asked(connection, select(_D.mac).where(_D.emptied != ""), macs, _D.mac)}


async def located_sites(connection: AsyncConnection, idents: Collection[str]) -> set[str]:
    """Sites with an address for emergencies, also those that whoever asks may not look at."""
    return await _located(connection, select(_S.id.label("id")).where(_S.street != ""), idents, _S.id)


async def located_users(connection: AsyncConnection, idents: Collection[str]) -> set[str]:
    """Users with an address of their own."""
    return await _located(connection, select(_U.id.label("id")).where(_U.street != ""), idents, _U.id)


async def located_extensions(connection: AsyncConnection, idents: Collection[str]) -> set[str]:
    """Extensions of such users."""
    query = select(_E.id.label("id")).join(schema.user, _U.id == _E.user).where(_U.street != "")
    return await _located(connection, query, idents, _E.id)


async def _located(
    connection: AsyncConnection, query: Select[Any], idents: Collection[str], column: ColumnElement[str]
) -> set[str]:
    free = query.execution_options(**{UNBOUND: True})
    return {row.id for row in await _asked(connection, free, idents, column)}


async def end_holds(connection: AsyncConnection, found: Iterable[Extension]) -> None:
    """What was kept is used up."""
    numbers: dict[str, set[str]] = {}
    for one in found:
        numbers.setdefault(one.account, set()).add(one.number)
    for account, taken in numbers.items():
        for some in _chunks(taken):
            await connection.execute(delete(schema.extension_hold).where(_H.account == account, _H.number.in_(some)))


async def insert_devices(connection: AsyncConnection, found: Sequence[Device], at: float) -> None:
    """New devices; they are no longer merely seen."""
    rows = [
        {"mac": one.mac, "vendor": one.vendor, "model": one.model, "account": one.account, "site": one.site or None,
         "created": at}
        for one in found
    ]  # fmt: skip
    await _insert(connection, schema.device, rows)
    for some in _chunks([one.mac for one in found]):
        await connection.execute(delete(schema.seen).where(schema.seen.c.mac.in_(some)))


async def insert_bindings(connection: AsyncConnection, found: Iterable[Binding]) -> None:
    """Bindings begin; Conflict, and none does, where somebody else has one of the lines or extensions by now."""
    names = [name for name in Binding.__dataclass_fields__ if name != "number"]
    begun = list(found)
    since = await _since(connection, begun)
    rows = [{**{name: getattr(one, name) for name in names}, "since": since[one.mac, one.line]} for one in begun]
    await _insert(connection, schema.binding, rows)
    await line_history.begun(connection, begun)


async def _since(connection: AsyncConnection, found: Sequence[Binding]) -> dict[tuple[Mac, int], float]:
    """When each begins: right after another that its line had at this very moment, as in ``devices``."""
    at = {(one.mac, one.line): one.since for one in found}
    query = select(_B.mac, _B.line, func.max(_B.since).label("last")).group_by(_B.mac, _B.line)
    query = query.where(_B.since >= min(at.values(), default=0.0))
    for row in await _asked(connection, query, {one.mac for one in found}, _B.mac):
        line = Mac(row.mac), row.line
        if line in at and at[line] <= row.last <= at[line] + MOMENT:
            at[line] = math.nextafter(row.last, math.inf)
    return at


async def place_device(connection: AsyncConnection, one: Device) -> None:
    """Its site and model."""
    query = update(schema.device).where(_D.mac == one.mac)
    await connection.execute(query.values(site=one.site or None, model=one.model))
