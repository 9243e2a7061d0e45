"""The fleet in numbers: one pass over the devices by their key; 1,000,000 of them take 2.5 s of one core.

An index on the time of a fetch would answer faster, and would be written in every boot: dearer where it matters.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Integer, cast, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.model import DeviceState
from provisioner.store import schema
from provisioner.store.devices import state_of
from provisioner.store.reach import within

_D = schema.device.c
_B = schema.binding.c
_F = schema.last_fetch.c


class Group(NamedTuple):
    """Devices of one vendor in one state."""

    vendor: str
    state: DeviceState
    """As the store knows it: NEEDS_FIRMWARE is the vendor's knowledge."""
    devices: int
    active: int
    """Those of them that have fetched something since the time asked for."""


async def take_census(connection: AsyncConnection, since: float) -> list[Group]:
    """All devices by vendor and state, and how many were active since."""
    bound = exists().where(_B.mac == _D.mac, _B.until.is_(None))
    active = exists().where(_F.mac == _D.mac, _F.at >= since)
    columns = (_D.vendor, _D.revoked, bound.label("bound"))
    inner = within(connection, select(*columns, cast(active, Integer).label("active"))).subquery()
    keys = (inner.c.vendor, inner.c.revoked, inner.c.bound)
    query = select(*keys, func.count().label("devices"), func.sum(inner.c.active).label("active")).group_by(*keys)
    groups: dict[tuple[str, DeviceState], Group] = {}
    for row in await connection.execute(query):
        key = row.vendor, state_of(row.revoked, row.bound)
        before = groups.get(key, Group(*key, 0, 0))
        groups[key] = Group(*key, before.devices + row.devices, before.active + int(row.active))
    return sorted(groups.values())
