"""Rows of budgets of wrong codes: the total's is held first, so attempts take turns and none sees another half done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.activation_budget import HOUR, TOTAL, Standing
from provisioner.store import schema

_B: Final = schema.activation_budget.c


async def hold(connection: AsyncConnection) -> None:
    """Wait for the attempt before this one; until the transaction ends nobody else reads or writes these rows."""
    total = update(schema.activation_budget).where(_B.key == TOTAL).values(locks=_B.locks)
    if not (await connection.execute(total)).rowcount:  # an operator has emptied the table
        await connection.execute(insert(schema.activation_budget).values(_row(TOTAL, Standing())))


async def read_budgets(connection: AsyncConnection, keys: Sequence[str]) -> dict[str, Standing]:
    """How they stand; one that has no row is untouched."""
    found = dict.fromkeys(keys, Standing())
    rows = await connection.execute(select(schema.activation_budget).where(_B.key.in_(keys)))
    return found | {row.key: Standing(row.turn, row.locked_until, row.locks, row.told) for row in rows}


async def write_budgets(connection: AsyncConnection, standings: Mapping[str, Standing]) -> None:
    """Put these in the place of what was; only under ``hold``."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    query = dialect.insert(schema.activation_budget)
    others = {column.name: query.excluded[column.name] for column in _B if column.name != "key"}
    query = query.on_conflict_do_update(index_elements=["key"], set_=others)
    await connection.execute(query, [_row(*one) for one in sorted(standings.items())])


async def clear_budgets(connection: AsyncConnection, keys: Sequence[str]) -> int:
    """As if nothing wrong had come from these; how many had a row."""
    query = delete(schema.activation_budget).where(_B.key.in_(keys), _B.key != TOTAL)
    return (await connection.execute(query)).rowcount


async def forget_budgets(connection: AsyncConnection, now: float, memory: float) -> int:
    """Remove those that say nothing any more: paid off, and no lock for ``memory`` s that the next could double."""
    spent = (_B.turn <= now) & (_B.locked_until < now - memory) & (_B.told < now - HOUR)
    return (await connection.execute(delete(schema.activation_budget).where(spent, _B.key != TOTAL))).rowcount


def _row(key: str, one: Standing) -> dict[str, object]:
    return {"key": key, "turn": one.turn, "locked_until": one.locked_until, "locks": one.locks, "told": one.told}
