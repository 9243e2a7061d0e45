"""Rows of phone numbers, ranges and holds: whoever takes one does so by one statement that says whether it won."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Row, delete, exists, false, func, insert, or_, select, true, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.numbering import NumberOrigin, NumberRange, NumberState, number_state
from provisioner.store import schema
from provisioner.store.people import new_id
from provisioner.store.rows import ExtensionHold, ExtensionRange, PhoneNumber

_N: Final = schema.phone_number.c
_H: Final = schema.extension_hold.c
_R: Final = schema.extension_range.c
_E: Final = schema.extension.c


def _number(row: Row[Any], now: float) -> PhoneNumber:
    held = row.held_until > now and row.extension is None
    state = number_state(porting=row.porting, has_extension=row.extension is not None, held=held)
    return PhoneNumber(
        row.id, row.number, row.account, row.site or "", state, NumberOrigin(row.origin), row.extension or "",
        row.holder if held else "", row.held_until if held else 0.0, row.since,
    )  # fmt: skip


async def insert_number(connection: AsyncConnection, one: PhoneNumber) -> None:
    """A new number of an account's pool, which nobody has."""
    values = {"id": one.id, "number": one.number, "account": one.account, "site": one.site or None}
    porting = one.state is NumberState.PORTING
    query = insert(schema.phone_number).values(**values, origin=one.origin.value, porting=porting, since=one.since)
    await connection.execute(query)


async def find_numbers(connection: AsyncConnection, ref: str, account: str, now: float) -> list[PhoneNumber]:
    """Numbers that ``ref`` can mean, by id or number, in one account when it is given."""
    query = select(schema.phone_number).where(or_(_N.id == ref, _N.number == ref))
    rows = await connection.execute(query.where(_N.account == account) if account else query)
    return [_number(row, now) for row in rows]


async def list_numbers(
    connection: AsyncConnection, now: float, account: str = "", *, site: str = "", extension: str = ""
) -> list[PhoneNumber]:
    """Numbers in their order."""
    query = select(schema.phone_number).order_by(_N.number, _N.id)
    for column, value in ((_N.account, account), (_N.site, site), (_N.extension, extension)):
        query = query.where(column == value) if value else query
    return [_number(row, now) for row in await connection.execute(query)]


async def has_number(connection: AsyncConnection, extension: str) -> bool:
    """Whether somebody from outside reaches it: it has a number that is not still being ported."""
    query = select(exists().where(_N.extension == extension, _N.porting.is_(false())))
    return bool((await connection.execute(query)).scalar_one())


async def assign_number(connection: AsyncConnection, ident: str, extension: str, actor: str, now: float) -> bool:
    """Give an extension a number that has none and that nobody else holds; whether this call was the one that did."""
    free = _N.extension.is_(None) & ((_N.held_until <= now) | (_N.holder == actor))
    query = update(schema.phone_number).where(_N.id == ident, free)
    return (await connection.execute(query.values(extension=extension, **_NOT_HELD, since=now))).rowcount == 1


_NOT_HELD: Final = {"holder": "", "held_until": 0.0}


async def free_number(connection: AsyncConnection, ident: str, now: float) -> bool:
    """Take it from its extension; whether one had it."""
    query = update(schema.phone_number).where(_N.id == ident, _N.extension.is_not(None))
    return (await connection.execute(query.values(extension=None, since=now))).rowcount == 1


async def hold_number(connection: AsyncConnection, ident: str, actor: str, until: float, now: float) -> bool:
    """Keep it for somebody, or for longer; whether it was free for that."""
    free = _N.extension.is_(None) & _N.porting.is_(false()) & ((_N.held_until <= now) | (_N.holder == actor))
    query = update(schema.phone_number).where(_N.id == ident, free)
    return (await connection.execute(query.values(holder=actor, held_until=until))).rowcount == 1


async def release_number(connection: AsyncConnection, ident: str, now: float) -> bool:
    """End its hold; whether it was held."""
    query = update(schema.phone_number).where(_N.id == ident, _N.held_until > now, _N.extension.is_(None))
    return (await connection.execute(query.values(**_NOT_HELD))).rowcount == 1


async def end_porting(connection: AsyncConnection, ident: str, now: float) -> bool:
    """It has come; whether it was on its way."""
    query = update(schema.phone_number).where(_N.id == ident, _N.porting.is_(true()))
    return (await connection.execute(query.values(porting=False, since=now))).rowcount == 1


async def delete_number(connection: AsyncConnection, ident: str) -> None:
    """Remove it from the pool."""
    await connection.execute(delete(schema.phone_number).where(_N.id == ident))


# --- numbers for extensions ---------------------------------------------------------------------------


async def list_ranges(connection: AsyncConnection, account: str = "") -> list[ExtensionRange]:
    """Ranges; an account's own comes before those of its sites."""
    query = select(_R.account, _R.site, _R.low, _R.high).order_by(_R.account, _R.site.is_not(None), _R.low)
    rows = await connection.execute(query.where(_R.account == account) if account else query)
    return [ExtensionRange(row.account, row.site or "", row.low, row.high) for row in rows]


async def ranges_of(connection: AsyncConnection, sites: Sequence[str]) -> dict[str, str]:
    """Of sites that have one of their own, as people write it."""
    rows = await connection.execute(select(_R.site, _R.low, _R.high).where(_R.site.in_(sites)))
    return {row.site: f"{row.low}-{row.high}" for row in rows}


async def write_range(connection: AsyncConnection, one: ExtensionRange) -> None:
    """In the place of the one that there was."""
    await delete_range(connection, one.account, one.site)
    values = {"id": new_id(), "account": one.account, "site": one.site or None, "low": one.low, "high": one.high}
    await connection.execute(insert(schema.extension_range).values(values))


async def delete_range(connection: AsyncConnection, account: str, site: str) -> bool:
    """Whether there was one."""
    query = delete(schema.extension_range).where(_R.account == account, _R.site.is_not_distinct_from(site or None))
    return (await connection.execute(query)).rowcount > 0


async def taken_of(connection: AsyncConnection, account: str, span: NumberRange, now: float) -> set[str]:
    """Numbers of a range that extensions of the account have, or that somebody holds."""
    within = [
        select(table.number).where(
            table.account == account, func.length(table.number) == len(span.low), table.number.between(*_ends(span))
        )
        for table in (_E, _H)
    ]
    query = within[0].union(within[1].where(_H.until > now))
    return set((await connection.execute(query)).scalars())


def _ends(span: NumberRange) -> tuple[str, str]:
    """Text of one length is in the order of its numbers, whatever the database's collation."""
    return span.low, span.high


async def take_hold(connection: AsyncConnection, one: ExtensionHold, now: float) -> bool:
    """Keep a number for somebody, or for longer; whether nobody else holds it."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    query = dialect.insert(schema.extension_hold).values(
        account=one.account, number=one.number, actor=one.actor, until=one.until
    )
    free = (_H.until <= now) | (_H.actor == one.actor)
    values = {"actor": one.actor, "until": one.until}
    query = query.on_conflict_do_update(index_elements=["account", "number"], set_=values, where=free)
    return (await connection.execute(query.returning(_H.number))).first() is not None


async def end_hold(connection: AsyncConnection, account: str, number: str) -> ExtensionHold | None:
    """Keep it no longer; the hold that there was, which may have been over."""
    query = delete(schema.extension_hold).where(_H.account == account, _H.number == number)
    found = (await connection.execute(query.returning(*_H))).first()
    return None if found is None else ExtensionHold(*found)


async def forget_holds(connection: AsyncConnection, now: float) -> None:
    """Remove those that are over."""
    await connection.execute(delete(schema.extension_hold).where(_H.until <= now))


async def list_holds(connection: AsyncConnection, now: float, account: str = "") -> list[ExtensionHold]:
    """Numbers that are kept for somebody."""
    query = select(*_H).where(_H.until > now).order_by(_H.account, _H.number)
    rows = await connection.execute(query.where(_H.account == account) if account else query)
    return [ExtensionHold(*row) for row in rows]
