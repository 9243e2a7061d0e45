"""Devices that come again and again, by the index of good connections alone: no record is opened for it."""

from __future__ import annotations

from typing import Final

from sqlalchemy import func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.model import Mac
from provisioner.store import schema

_F: Final = schema.flight.c
_GOOD: Final = _F.trouble.is_(False)


async def frequent(connection: AsyncConnection, since: float, least: int, limit: int) -> list[Mac]:
    """Known devices with at least so many records of good boots since a time, the most first."""
    times = func.count()
    query = select(_F.mac).where(_GOOD, _F.at >= since, _F.mac != literal_column("''")).group_by(_F.mac)
    rows = await connection.execute(query.having(times >= least).order_by(times.desc(), _F.mac).limit(limit))
    return [Mac(one) for one in rows.scalars()]


async def pins_ending(connection: AsyncConnection, begin: str, end: str) -> tuple[int, str]:
    """How many pinned certificates end between two stamps, and the first of these ends."""
    pin = schema.pin.c
    query = select(func.count(), func.min(pin.not_after)).where(pin.not_after >= begin, pin.not_after < end)
    number, first = (await connection.execute(query)).one()
    return int(number), first or ""
