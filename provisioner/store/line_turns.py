"""Rows of phones whose lines have changed: asked for apart from campaigns, and given their turns a moment later.

Until it has its turn nobody may take such a row: its lease never ends by itself. So all that is bound to a phone in
one go is one errand, and whoever gives the turns keeps them within the budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import bindparam, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.model import Mac
from provisioner.resync_states import State, Way
from provisioner.store import schema

APART: Final = -1
"""The wave of such a row."""
UNPLANNED: Final = 1e18
"""Its lease until it has its turn."""
_SERVED: Final = (200, 304)
_D: Final = schema.device.c
_R: Final = schema.resync.c
_B: Final = schema.binding.c
_F: Final = schema.last_fetch.c


async def has_been_served(connection: AsyncConnection, mac: Mac, since: float) -> bool:
    """Whether it has ever got its configuration, or was offered activation since then while nobody had added it."""
    served = (await connection.execute(select(_D.served).where(_D.mac == mac))).scalar_one_or_none()
    if served is not None:
        return True
    event = schema.event.c
    query = select(event.id).where(event.mac == mac, event.kind == "activation_offered", event.at >= since)
    return (await connection.execute(query.limit(1))).first() is not None


async def runs_lines(connection: AsyncConnection, mac: Mac) -> bool:
    """Whether the configuration that it fetched last has a line; otherwise it waits for activation."""
    query = select(func.max(_F.at)).where(_F.mac == mac, _F.status.in_(_SERVED))
    fetched = (await connection.execute(query)).scalar_one()
    if fetched is None:
        return False
    then = select(_B.line).where(_B.mac == mac, _B.since <= fetched, or_(_B.until.is_(None), _B.until > fetched))
    return (await connection.execute(then.limit(1))).first() is not None


async def unplanned(connection: AsyncConnection, now: float, limit: int) -> list[Mac]:
    """Who has no turn yet and has settled, the first first."""
    query = select(_R.mac).where(_R.state == State.BOUND.value, _R.due <= now, _R.lease == UNPLANNED)
    return [Mac(mac) for mac in (await connection.execute(query.order_by(_R.due, _R.mac).limit(limit))).scalars()]


async def plan(connection: AsyncConnection, turns: Mapping[Mac, float]) -> None:
    """Give them their turns."""
    query = update(schema.resync).where(_R.mac == bindparam("the_mac"), _R.lease == UNPLANNED)
    query = query.values(due=bindparam("turn"), lease=0.0)
    await connection.execute(query, [{"the_mac": str(mac), "turn": turn} for mac, turn in sorted(turns.items())])


async def make_room(connection: AsyncConnection, now: float, seconds: float) -> None:
    """What campaigns have yet to tell comes so much later."""
    later = (_R.state == State.BOUND.value) & (_R.way == Way.NONE.value) & (_R.wave != APART) & (_R.due > now)
    await connection.execute(update(schema.resync).where(later).values(due=_R.due + seconds))
