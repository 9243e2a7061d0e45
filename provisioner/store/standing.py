"""What a batch says of devices' standing: how far their configuration is, and at which addresses they were met."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import bindparam, delete, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from provisioner.store import schema
from provisioner.store.engine import writing

_PART: Final = 2000
"""Rows pruned in one transaction, so that no other writer waits for long."""


async def write_served(connection: AsyncConnection, served: Mapping[str, int]) -> None:
    """A device has its configuration up to this change; an older batch that comes late takes nothing back."""
    if not served:
        return
    device = schema.device.c
    older = device.served.is_(None) | (device.served < bindparam("upto"))
    query = update(schema.device).where(device.mac == bindparam("the_mac"), older).values(served=bindparam("upto"))
    await connection.execute(query, [{"the_mac": mac, "upto": upto} for mac, upto in sorted(served.items())])


def sighting_rows(sightings: Mapping[tuple[str, str], int]) -> list[dict[str, Any]]:
    """In the order of their key, as every worker writes them."""
    return [{"mac": mac, "address": address, "day": day} for (mac, address), day in sorted(sightings.items())]


async def prune_sightings(engine: AsyncEngine, oldest: int) -> None:
    """Forget those before a day, a part at a time."""
    sighting = schema.sighting
    key = tuple_(sighting.c.mac, sighting.c.address)
    old = select(sighting.c.mac, sighting.c.address).where(sighting.c.day < oldest).limit(_PART)
    while True:
        async with writing(engine) as connection:
            done = await connection.execute(delete(sighting).where(key.in_(old)))
        if done.rowcount < _PART:
            return
