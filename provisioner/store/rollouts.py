"""Rows of rollouts: every step is one UPDATE from the states in which the table lets it happen, so it happens once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, and_, case, delete, func, insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.model import ConfigLayer, Mac, Scope
from provisioner.resync_states import State, Way
from provisioner.rollout_states import PARTS, RolloutState, RolloutStep, Tally, part_of, sources, target
from provisioner.store import schema
from provisioner.store.hook_queue import UNBOUND
from provisioner.store.secretbox import SecretBox
from provisioner.store.values import pack_layer, unpack_layer

_R: Final = schema.rollout.c
_D: Final = schema.device.c
_Q: Final = schema.resync.c
_FREE: Final = {UNBOUND: True}
_COUNTED: Final = 10_000
"""Phones whose places in the order are worked out one by one."""
AGAIN: Final = -1
"""``differ`` of a step whose phones are all asked, whatever they have."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """A change of a layer on its way to phones."""

    id: str
    scope: Scope
    key: str
    revision: int
    """The change of the layer."""
    state: RolloutState
    share: int
    """Of the phones, in parts of 10,000, that get the new value."""
    step: int
    phones: int
    """For which the layer was when it began."""
    actor: str
    begun: float
    since: float
    """When its step began, or it came into its last state."""
    campaign: str
    """The resync of its step."""
    why: str
    """Why it was halted."""
    ended: float | None
    differ: int = 0
    """Phones of its step that were to get other files when they were asked, whoever asked them; AGAIN: see there."""

    @property
    def percent(self) -> float:
        """The share as people say it."""
        return self.share * 100 / PARTS


_COLUMNS: Final = tuple(_R[name] for name in Rollout.__dataclass_fields__)


def _read(row: Row[Any]) -> Rollout:
    values = {name: getattr(row, name) for name in Rollout.__dataclass_fields__}
    return Rollout(**{**values, "scope": Scope(row.scope), "state": RolloutState(row.state)})


# --- whom a layer is for ------------------------------------------------------------------------------


def meant(scope: Scope, key: str) -> ColumnElement[bool]:
    """Devices that the layer is one of, without those that get nothing any more."""
    return and_(_D.revoked.is_(False), *_below(scope, key))


def _below(scope: Scope, key: str) -> tuple[ColumnElement[bool], ...]:
    match scope:
        case Scope.VENDOR:
            return (_D.vendor == key,)
        case Scope.MODEL:
            vendor, _, model = key.partition("/")
            return _D.vendor == vendor, _D.model == model
        case Scope.ACCOUNT:
            return (_D.account == key,)
        case Scope.SITE:
            return (_D.site == key,)
        case Scope.DEVICE:
            return (_D.mac == key,)
        case _:
            return ()


async def count_phones(connection: AsyncConnection, scope: Scope, key: str) -> int:
    """How many phones the layer is for; both questions are answered from indexes, however many there are."""
    every = select(func.count(_D.mac)).where(*_below(scope, key))
    revoked = select(func.count(_D.mac)).where(_D.revoked, *_below(scope, key))
    counts = [int((await connection.execute(query)).scalar_one()) for query in (every, revoked)]
    return counts[0] - counts[1]


async def count_models(connection: AsyncConnection, scope: Scope, key: str) -> list[tuple[str, str, int]]:
    """Vendor and model of those phones, and how many there are of each, the most first."""
    query = select(_D.vendor, _D.model, func.count().label("phones")).where(meant(scope, key))
    rows = await connection.execute(query.group_by(_D.vendor, _D.model))
    return sorted(((row[0], row[1], row[2]) for row in rows), key=lambda one: (-one[2], one[0], one[1]))


async def some_phones(
    connection: AsyncConnection, scope: Scope, key: str, vendor: str, model: str, limit: int
) -> list[Mac]:
    """A few of one model; first those that have been here."""
    query = select(_D.mac).where(meant(scope, key), _D.vendor == vendor, _D.model == model)
    query = query.order_by(_D.served.is_(None), _D.mac).limit(limit)
    return [Mac(mac) for mac in (await connection.execute(query)).scalars()]


async def live_phones(connection: AsyncConnection, scope: Scope, key: str, limit: int) -> list[Mac]:
    """Phones that have fetched a configuration before: only they can come back, or fail to."""
    query = select(_D.mac).where(meant(scope, key), _D.served.is_not(None)).limit(limit)
    return [Mac(mac) for mac in (await connection.execute(query)).scalars()]


async def count_reached(connection: AsyncConnection, one: Rollout) -> int:
    """How many phones get the new value: one by one where they are few, else reckoned from the share."""
    if one.share >= PARTS:
        return await count_phones(connection, one.scope, one.key)
    if one.phones > _COUNTED:
        return round(one.phones * one.share / PARTS)
    macs = (await connection.execute(select(_D.mac).where(meant(one.scope, one.key)))).scalars()
    return sum(part_of(mac, one.revision) < one.share for mac in macs)


async def count_places(connection: AsyncConnection, scope: Scope, key: str) -> list[tuple[str, str, str, int]]:
    """Account, site, model and how many phones of a layer there are; the most first."""
    query = select(_D.account, func.coalesce(_D.site, ""), _D.model, func.count()).where(meant(scope, key))
    rows = await connection.execute(query.group_by(_D.account, func.coalesce(_D.site, ""), _D.model))
    return sorted(((row[0], row[1], row[2], row[3]) for row in rows), key=lambda one: (-one[3], *one[:3]))


async def phones_at(
    connection: AsyncConnection, scope: Scope, key: str, at: tuple[str, str, str], limit: int
) -> list[Mac]:
    """The first phones of a layer in an account, at a site (empty: at none), of a model."""
    account, site, model = at
    query = select(_D.mac).where(meant(scope, key), _D.account == account, func.coalesce(_D.site, "") == site)
    query = query.where(_D.model == model).order_by(_D.mac).limit(limit)
    return [Mac(mac) for mac in (await connection.execute(query)).scalars()]


# --- rollouts -----------------------------------------------------------------------------------------


async def insert_rollout(connection: AsyncConnection, box: SecretBox, one: Rollout, former: ConfigLayer) -> None:
    """Begin; the former value is kept while anybody may get it."""
    values = {name: getattr(one, name) for name in Rollout.__dataclass_fields__}
    values |= {"scope": one.scope.value, "state": one.state.value}
    if one.share < PARTS and (former.values or former.raw):
        values |= dict(zip(("entries", "raw"), pack_layer(former, box), strict=True))
    await connection.execute(insert(schema.rollout).values(values))


async def open_rollout(connection: AsyncConnection, scope: Scope, key: str) -> Rollout | None:
    """The one that is under way for a layer."""
    query = select(*_COLUMNS).where(_R.scope == scope.value, _R.key == key, _R.ended.is_(None))
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _read(row)


async def find_rollout(connection: AsyncConnection, ident: str) -> Rollout | None:
    """One of them."""
    row = (await connection.execute(select(*_COLUMNS).where(_R.id == ident))).one_or_none()
    return None if row is None else _read(row)


async def former_layer(connection: AsyncConnection, box: SecretBox, one: Rollout) -> ConfigLayer:
    """What the layer said before."""
    row = (await connection.execute(select(_R.entries, _R.raw).where(_R.id == one.id))).one()
    if row.entries is None:
        return ConfigLayer(one.scope, one.key)
    return unpack_layer(one.scope, one.key, row.entries, row.raw, box)


async def list_rollouts(
    connection: AsyncConnection,
    *,
    under_way: bool = False,
    place: tuple[Scope, str] | None = None,
    after: tuple[float, str] | None = None,
    limit: int = 100,
) -> list[Rollout]:
    """The newest first."""
    query: Select[Any] = select(*_COLUMNS).order_by(_R.begun.desc(), _R.id.desc()).limit(limit)
    query = query.where(_R.ended.is_(None)) if under_way else query
    query = query.where(_R.scope == place[0].value, _R.key == place[1]) if place else query
    query = query.where(tuple_(_R.begun, _R.id) < tuple_(*after)) if after else query
    return [_read(row) for row in await connection.execute(query)]


def _as_read(one: Rollout) -> tuple[ColumnElement[bool], ...]:
    """It is where it was when it was read: an administrator is quicker than who has looked at it for a while."""
    return _R.id == one.id, _R.state == one.state.value, _R.share == one.share, _R.step == one.step


async def take(connection: AsyncConnection, one: Rollout, now: float, lease: float) -> bool:
    """Whether the caller, and nobody else, works on it for a while; not where it has been moved since."""
    mine = update(schema.rollout).where(*_as_read(one), _R.ended.is_(None), _R.lease <= now)
    return bool((await connection.execute(mine.values(lease=now + lease))).rowcount)


async def give_back(connection: AsyncConnection, ident: str) -> None:
    """Somebody else may work on it at once."""
    await connection.execute(update(schema.rollout).where(_R.id == ident).values(lease=0.0))


async def move(
    connection: AsyncConnection, one: Rollout, step: RolloutStep, at: float, values: Mapping[str, object] | None = None
) -> bool:
    """A step of the table, unless somebody has moved it since it was read."""
    if one.state not in sources(step):
        return False
    query = update(schema.rollout).where(*_as_read(one))
    new: dict[str, object] = {"state": target(step).value, "since": at, "lease": 0.0, **(values or {})}
    if target(step).over:
        new |= {"ended": at, "entries": None, "raw": None}
    return bool((await connection.execute(query.values(new))).rowcount)


async def forget(connection: AsyncConnection, scope: Scope, key: str) -> None:
    """The layer belongs to nothing any more."""
    query = delete(schema.rollout).where(_R.scope == scope.value, _R.key == key)
    await connection.execute(query.execution_options(**_FREE))


async def forget_before(connection: AsyncConnection, at: float) -> int:
    """Those that ended before a time; how many."""
    return (await connection.execute(delete(schema.rollout).where(_R.ended < at))).rowcount


# --- what became of a step's phones -----------------------------------------------------------------


def _sums(now: float, wait: float) -> Sequence[ColumnElement[int]]:
    told, bound, stuck = (_Q.state == one.value for one in (State.NOTIFIED, State.BOUND, State.STUCK))
    polls, late = _Q.way == Way.POLL.value, _Q.since < now - wait
    lost = _Q.result == "not registered"
    back = _Q.state.in_([State.FETCHED.value, State.REGISTERED.value])
    missing = or_(and_(told, late), and_(stuck, or_(~polls, lost)))
    silent = or_(and_(bound, polls), and_(stuck, polls, ~lost), _Q.state == State.STOPPED.value)
    waiting = or_(and_(told, ~late), and_(bound, ~polls))
    return [func.coalesce(func.sum(case((one, 1), else_=0)), 0) for one in (back, missing, waiting, silent)]


async def tally(connection: AsyncConnection, one: Rollout, now: float, wait: float) -> Tally:
    """Where the phones of its step are; some may be somebody else's, who has asked them before or since."""
    if not one.campaign:
        return Tally()
    row = (await connection.execute(select(*_sums(now, wait)).where(_Q.campaign == one.campaign))).one()
    back, missing, waiting, silent = (int(number) for number in row)
    elsewhere = max(0, one.differ - back - missing - waiting - silent)
    return Tally(back, missing, waiting, silent, elsewhere)


async def last_turn(connection: AsyncConnection, campaign: str) -> float:
    """When the last turn comes of its phones that somebody may still tell; 0 where there is none."""
    query = select(func.max(_Q.due)).where(
        _Q.campaign == campaign, _Q.state == State.BOUND.value, _Q.way != Way.POLL.value
    )
    return (await connection.execute(query)).scalar_one() or 0.0
