"""Rows of phones that are away, and the look for those that are not heard of: a slice of the devices at a time, by Mac.

A phone is heard of when it fetches any file, answers a NOTIFY, is seen by the PBX after it was told to fetch, or when
another system says that it has registered. Each step is one statement that says whom it has moved, so two processes
tell nothing twice.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Column, ColumnElement, Select, delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.model import Mac
from provisioner.presence_rules import Absent, Away
from provisioner.resync_states import State
from provisioner.store import schema

_A: Final = schema.absence.c
_B: Final = schema.binding.c
_D: Final = schema.device.c
_E: Final = schema.event.c
_F: Final = schema.last_fetch.c
_R: Final = schema.resync.c
_W: Final = schema.watch.c
_FEW: Final = 100
"""Places in one question."""
_ANSWERED: Final = (State.NOTIFIED.value, State.FETCHED.value, State.REGISTERED.value)


class Silent(NamedTuple):
    """A phone with a line that was not heard of since a time."""

    mac: Mac
    account: str
    place: str
    heard: float
    registers: bool
    """Another system has said of it that it registers."""


# --- since when anybody listens ---------------------------------------------------------------------------


async def read_watch(connection: AsyncConnection) -> tuple[float, float] | None:
    """Since when without a break, and when that was last known; None before the first time."""
    row = (await connection.execute(select(_W.since, _W.beat).where(_W.id == 1))).one_or_none()
    return None if row is None else (row.since, row.beat)


async def write_watch(connection: AsyncConnection, since: float, beat: float) -> None:
    """It was listening until now."""
    done = await connection.execute(update(schema.watch).where(_W.id == 1).values(since=since, beat=beat))
    if not done.rowcount:
        await connection.execute(insert(schema.watch).values(id=1, since=since, beat=beat))


# --- who is not heard of -------------------------------------------------------------------------------------


async def end_of_slice(connection: AsyncConnection, after: str, count: int, *, away: bool = False) -> str:
    """The last Mac of the next so many devices, or of those that are away; empty where there are fewer."""
    mac = _A.mac if away else _D.mac
    query = select(mac).where(mac > after).order_by(mac).offset(count - 1).limit(1)
    return (await connection.execute(query)).scalar_one_or_none() or ""


async def silent(connection: AsyncConnection, before: float, after: str, upto: str, limit: int) -> list[Silent]:
    """Phones of a slice of which nothing was heard since ``before`` and that are not known to be away."""
    bound = select(_B.mac).where(_B.mac == _D.mac, _B.until.is_(None))
    known = select(_A.mac).where(_A.mac == _D.mac)
    query = select(_D.mac, _D.account, _D.site, *_times()).where(_D.mac > after, _D.served.is_not(None))
    query = query.where(_D.revoked.is_(False), bound.correlate(schema.device).exists())
    query = query.where(~bound.where(_B.since >= before).correlate(schema.device).exists())
    query = query.where(~_heard(_D.mac, before), ~known.correlate(schema.device).exists())
    query = query.where(_D.mac <= upto) if upto else query
    return [_silent(row) for row in await connection.execute(query.order_by(_D.mac).limit(limit))]


def _heard(mac: Column[Any], since: ColumnElement[float] | float) -> ColumnElement[bool]:
    fetched, answered, registered = _signs(mac)
    return or_(
        fetched.where(_F.at > since).exists(),
        answered.where(_R.since > since).exists(),
        registered.where(_E.at > since).exists(),
    )


def _signs(mac: Column[Any]) -> tuple[Select[Any], Select[Any], Select[Any]]:
    """Fetches, answers and registrations of a device, by the index that each table has."""
    return (
        select(_F.at).where(_F.mac == mac).correlate(mac.table),
        select(_R.since).where(_R.mac == mac, _R.state.in_(_ANSWERED)).correlate(mac.table),
        select(_E.at).where(_E.mac == mac, _E.kind == "registration_seen").correlate(mac.table),
    )


def _times() -> list[ColumnElement[Any]]:
    """When each of it was last, and when its first line became somebody's."""
    fetched, answered, registered = _signs(_D.mac)
    line = select(func.max(_B.since)).where(_B.mac == _D.mac, _B.until.is_(None)).correlate(schema.device)
    return [
        fetched.with_only_columns(func.max(_F.at)).scalar_subquery().label("fetched"),
        answered.with_only_columns(func.max(_R.since)).scalar_subquery().label("answered"),
        registered.with_only_columns(func.max(_E.at)).scalar_subquery().label("registered"),
        line.scalar_subquery().label("bound"),
    ]


def _silent(row: Any) -> Silent:
    heard = max(at or 0.0 for at in (row.fetched, row.answered, row.registered, row.bound))
    return Silent(Mac(row.mac), row.account, row.site or row.account, heard, row.registered is not None)


# --- who is away ---------------------------------------------------------------------------------------------


async def add(connection: AsyncConnection, found: Sequence[Absent]) -> list[Mac]:
    """They are away; those of them that nobody had noted yet."""
    if not found:
        return []
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    rows = [
        {"mac": one.mac, "place": one.place, "state": one.state.value, "seen": one.seen, "singly": one.singly}
        for one in sorted(found, key=lambda one: one.mac)
    ]
    query = dialect.insert(schema.absence).values(rows).on_conflict_do_nothing(index_elements=["mac"])
    return [Mac(mac) for mac in (await connection.execute(query.returning(_A.mac))).scalars()]


async def hold(connection: AsyncConnection) -> None:
    """Until this transaction ends no other process counts who is away, or moves anybody."""
    if connection.dialect.name != "sqlite":  # there whoever writes is alone
        await connection.execute(select(_W.id).where(_W.id == 1).with_for_update())


async def tell_with_site(connection: AsyncConnection, macs: Collection[Mac]) -> None:
    """They were not told by themselves."""
    await connection.execute(update(schema.absence).where(_A.mac.in_(sorted(macs))).values(singly=False))


async def back(connection: AsyncConnection, after: str, upto: str, limit: int) -> list[Absent]:
    """Of a slice those that were heard of since, or have no line any more, or are revoked."""
    query = select(schema.absence).where(_A.mac > after)
    query = query.where(_A.mac <= upto) if upto else query
    query = query.where(or_(_heard(_A.mac, _A.seen), ~_is_expected()))
    return [_absent(row) for row in await connection.execute(query.order_by(_A.mac).limit(limit))]


def _is_expected() -> ColumnElement[bool]:
    bound = select(_B.mac).where(_B.mac == _D.mac, _B.until.is_(None)).correlate(schema.device)
    query = select(_D.mac).where(_D.mac == _A.mac, _D.revoked.is_(False), bound.exists())
    return query.correlate(schema.absence).exists()


async def remove(connection: AsyncConnection, macs: Collection[Mac]) -> list[Mac]:
    """They are not away any more; those that were, and whether that is because they were heard of."""
    query = delete(schema.absence).where(_A.mac.in_(sorted(macs))).returning(_A.mac)
    return [Mac(mac) for mac in (await connection.execute(query)).scalars()]


async def heard_again(connection: AsyncConnection, macs: Collection[Mac]) -> set[Mac]:
    """Those of them that have given a sign since they were noted; the others are only expected no more."""
    query = select(_A.mac).where(_A.mac.in_(sorted(macs)), _heard(_A.mac, _A.seen), _is_expected())
    return {Mac(mac) for mac in (await connection.execute(query)).scalars()}


async def lose(connection: AsyncConnection, before: float, limit: int) -> list[Absent]:
    """Offline phones that were heard of before a time last; from now on they are lost, each told by itself."""
    some = select(_A.mac).where(_A.state == Away.OFFLINE.value, _A.seen <= before).order_by(_A.seen).limit(limit)
    query = update(schema.absence).where(_A.mac.in_(some), _A.state == Away.OFFLINE.value)
    rows = await connection.execute(query.values(state=Away.LOST.value, singly=True).returning(*_A))
    return [_absent(row) for row in rows]


async def is_any_lost(connection: AsyncConnection, before: float) -> bool:
    """Whether ``lose`` would find any; asked before anything is locked."""
    query = select(_A.mac).where(_A.state == Away.OFFLINE.value, _A.seen <= before).limit(1)
    return (await connection.execute(query)).first() is not None


async def counts(connection: AsyncConnection, places: Collection[str], most: int) -> dict[str, int]:
    """How many are away at each of these places; none is counted further than to ``most``."""
    wanted, found = sorted(set(places)), dict[str, int]()
    for start in range(0, len(wanted), _FEW):
        some = wanted[start : start + _FEW]
        query = select(*(_counted(place, most) for place in some))
        found |= dict(zip(some, map(int, (await connection.execute(query)).one()), strict=True))
    return found


def _counted(place: str, most: int) -> ColumnElement[int]:
    rows = select(_A.mac).where(_A.place == place).limit(most).subquery()
    return select(func.count()).select_from(rows).scalar_subquery()


async def absence_of(connection: AsyncConnection, mac: Mac) -> Absent | None:
    """Whether and since when one is away."""
    row = (await connection.execute(select(schema.absence).where(_A.mac == mac))).one_or_none()
    return None if row is None else _absent(row)


async def accounts_of(connection: AsyncConnection, places: Collection[str]) -> dict[str, str]:
    """The account of each of these sites; an account is no site."""
    query = select(schema.site.c.id, schema.site.c.account).where(schema.site.c.id.in_(sorted(set(places))))
    return {site: account for site, account in await connection.execute(query)}


def _absent(row: Any) -> Absent:
    return Absent(Mac(row.mac), row.place, row.seen, Away(row.state), bool(row.singly))
