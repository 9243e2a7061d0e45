"""Rows of power cycles: every step is one UPDATE from the states in which the table lets it happen, by its owner.

An owner that dies leaves a lease that ends; whoever looks then takes the row and brings power back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Float, Row, Text, Update, delete, func, insert, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.cycle_states import ENDS, MAY_BE_OFF, CycleState, CycleStep, sources, target
from provisioner.model import Mac
from provisioner.store import schema

_C: Final = schema.power_cycle.c
_P: Final = schema.power_policy.c
_D: Final = schema.device.c
_OFF: Final = [state.value for state in MAY_BE_OFF]
_FEW: Final = 400
MINUTE: Final = 60.0
"""s: "unplug it for one full minute" is what a phone is reset by."""


@dataclass(frozen=True, slots=True)
class PowerCycle:
    """A port that is switched off for a while, from the wish to the end."""

    id: int
    mac: Mac
    account: str
    switch: str
    """Id; empty until it is known."""
    port: str
    interface: int
    poe: str
    """group.port"""
    object: str
    """What is switched off: the name of the object without its index."""
    was: int
    """What it said before, and is to say again."""
    seconds: float
    state: CycleState
    actor: str
    cause: str
    """asked, or resync."""
    asked_at: float
    off_at: float | None
    owner: str
    lease: float
    ended: float | None
    result: str


_COLUMNS: Final = tuple(_C[name] for name in PowerCycle.__dataclass_fields__)


def _cycle(row: Row[Any]) -> PowerCycle:
    values = {name: row._mapping[name] for name in PowerCycle.__dataclass_fields__}
    return PowerCycle(**values | {"mac": Mac(row.mac), "state": CycleState(row.state)})


@dataclass(frozen=True, slots=True)
class Wish:
    """A power cycle that somebody wants."""

    mac: Mac
    account: str
    seconds: float
    actor: str
    at: float
    cause: str = "asked"
    owner: str = ""
    """Who does it at once, rather than the server; it has until ``lease`` to begin."""
    lease: float = 0.0


async def ask(connection: AsyncConnection, wish: Wish) -> int:
    """Write the wish down; its number."""
    values = {
        "mac": wish.mac, "account": wish.account, "seconds": wish.seconds, "actor": wish.actor, "cause": wish.cause,
        "asked_at": wish.at, "state": CycleState.ASKED.value, "owner": wish.owner, "lease": wish.lease,
    }  # fmt: skip
    return int((await connection.execute(insert(schema.power_cycle).values(values).returning(_C.id))).scalar_one())


async def find(connection: AsyncConnection, ident: int) -> PowerCycle | None:
    """One of them."""
    row = (await connection.execute(select(*_COLUMNS).where(_C.id == ident))).first()
    return None if row is None else _cycle(row)


async def listed(
    connection: AsyncConnection, *, mac: str = "", switch: str = "", before: int = 0, limit: int = 100
) -> list[PowerCycle]:
    """The newest first; ``before`` is the id of the last one of the page before."""
    query = select(*_COLUMNS).order_by(_C.id.desc()).limit(limit)
    query = query.where(_C.mac == mac) if mac else query
    query = query.where(_C.switch == switch) if switch else query
    return [_cycle(row) for row in await connection.execute(query.where(_C.id < before) if before else query)]


async def open_of(connection: AsyncConnection, *, mac: str = "", switch: str = "") -> PowerCycle | None:
    """One that has not ended."""
    query = select(*_COLUMNS).where(_C.ended.is_(None), _C.mac == mac if mac else _C.switch == switch).limit(1)
    row = (await connection.execute(query)).first()
    return None if row is None else _cycle(row)


async def waiting(connection: AsyncConnection, now: float, limit: int = 100) -> list[int]:
    """Wishes that nobody has taken, and those whose owner has died before anything was switched off."""
    states = [one.value for one in sources(CycleStep.TAKE)]
    query = select(_C.id).where(_C.state.in_(states), _C.lease < now)
    query = query.order_by(_C.cause == "resync", _C.id).limit(limit)  # whoever asked in person first
    return list((await connection.execute(query)).scalars())


async def maybe_off(connection: AsyncConnection) -> list[PowerCycle]:
    """All whose port may be off at this moment."""
    return [
        _cycle(row) for row in await connection.execute(select(*_COLUMNS).where(_C.state.in_(_OFF)).order_by(_C.id))
    ]


async def end_lease(connection: AsyncConnection, one: PowerCycle) -> None:
    """Its owner is known to be dead: nobody need wait for the end of the lease."""
    await connection.execute(update(schema.power_cycle).where(_C.id == one.id, _C.owner == one.owner).values(lease=0.0))


def _stepped(ident: int, step: CycleStep, owner: str) -> Update:
    query = update(schema.power_cycle).where(_C.id == ident, _C.state.in_([one.value for one in sources(step)]))
    values: dict[str, object] = {"state": target(step).value}
    return query.where(_C.owner == owner).values(values) if owner else query.values(values)


async def take(connection: AsyncConnection, ident: int, owner: str, now: float, lease: float) -> PowerCycle | None:
    """Be its owner, where nobody is any more; None where somebody was quicker. Its state stays if power may be off."""
    free = or_(_C.owner.in_(("", owner)), _C.lease < now)
    values = {"owner": owner, "lease": now + lease}
    wish = _stepped(ident, CycleStep.TAKE, "").where(free).values(values).returning(*_COLUMNS)
    row = (await connection.execute(wish)).first()
    if row is None:
        orphan = update(schema.power_cycle).where(_C.id == ident, _C.state.in_(_OFF), _C.lease < now).values(values)
        row = (await connection.execute(orphan.returning(*_COLUMNS))).first()
    return None if row is None else _cycle(row)


async def move(
    connection: AsyncConnection, ident: int, step: CycleStep, owner: str, values: Mapping[str, object]
) -> bool:
    """One step by its owner; False where it is not theirs any more, or the table does not let it happen."""
    return bool((await connection.execute(_stepped(ident, step, owner).values(dict(values)))).rowcount)


async def lately(connection: AsyncConnection, switch: str, since: float) -> int:
    """How many ports of a switch were switched off."""
    query = select(func.count()).where(_C.switch == switch, _C.off_at >= since)
    return int((await connection.execute(query)).scalar_one())


async def forget(connection: AsyncConnection, before: float) -> int:
    """Remove what ended so long ago."""
    over = _C.state.in_([state.value for state in ENDS])
    return (await connection.execute(delete(schema.power_cycle).where(over, _C.ended < before))).rowcount


# --- sites at which it may happen by itself -------------------------------------------------------------------------


async def allowed(connection: AsyncConnection, site: str) -> bool:
    """Whether a phone there that nobody reaches may be switched off by itself."""
    return (await connection.execute(select(_P.site).where(_P.site == site))).first() is not None


async def allow(connection: AsyncConnection, site: str, account: str, actor: str, at: float) -> None:
    """From now on."""
    await disallow(connection, site)
    await connection.execute(insert(schema.power_policy).values(site=site, account=account, actor=actor, at=at))


async def disallow(connection: AsyncConnection, site: str) -> None:
    """No more."""
    await connection.execute(delete(schema.power_policy).where(_P.site == site))


AT_ONCE: Final = 20
"""Wishes that the server itself has open, of all sites. Where more phones are stuck at once, they are not what is
wrong: the server or the network is, and taking their power would only take their calls."""


async def wish_for(connection: AsyncConnection, macs: Collection[Mac], seconds: float, actor: str, at: float) -> int:
    """Phones that nobody could reach, at sites where that is allowed, have their power cut for a while; how many."""
    if not macs or len(macs) > AT_ONCE:
        return 0
    own = select(func.count()).select_from(schema.power_cycle).where(_C.ended.is_(None), _C.cause == "resync")
    room = AT_ONCE - int((await connection.execute(own)).scalar_one())
    busy = select(_C.mac).where(_C.ended.is_(None), _C.mac.in_(sorted(macs)))
    values = {
        "mac": _D.mac, "account": _D.account, "seconds": literal(seconds, Float), "actor": literal(actor, Text),
        "cause": literal("resync", Text), "asked_at": literal(at, Float),
        "state": literal(CycleState.ASKED.value, Text), "owner": literal("", Text), "lease": literal(0.0, Float),
    }  # fmt: skip
    some = select(*values.values()).where(
        _D.mac.in_(sorted(macs)), _D.site.in_(select(_P.site)), _D.mac.not_in(busy), _D.revoked.is_(False)
    )
    chosen = some.order_by(_D.mac).limit(max(0, room))
    query = insert(schema.power_cycle).from_select([*values], chosen).returning(_C.id)
    return len((await connection.execute(query)).all())
