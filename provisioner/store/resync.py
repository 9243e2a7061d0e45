"""Rows of devices that are to fetch again: taken by one UPDATE that says who may tell them, moved along the table.

Whoever takes a row holds it for the length of a lease, in which nobody else tells that device; a process that dies in
between leaves it to the next one. Every step is one UPDATE from the states in which the table lets it happen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Row, Update, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.model import Mac
from provisioner.resync_states import UNDER_WAY, Standing, State, Step, Way, sources, target
from provisioner.store import schema

_R: Final = schema.resync.c
_D: Final = schema.device.c
_F: Final = schema.last_fetch.c
_B: Final = schema.binding.c
_E: Final = schema.extension.c
_FEW: Final = 400
"""Macs in one IN list."""
_PART: Final = 2000
"""Rows written in one statement's list."""
TRIES: Final = 3
"""Attempts to tell a device; then it is left to its polling."""
_SERVED: Final = (200, 304)
_MISSED: Final = 404
_HAS: Final = func.coalesce(_D.served, -1) >= _R.upto


@dataclass(frozen=True, slots=True)
class Request:
    """A device that is to be told."""

    mac: Mac
    event: str
    upto: int
    due: float
    wave: int = 0
    force: bool = False
    patience: float = 0.0
    lease: float = 0.0
    """Until when nobody may tell it."""
    runs: str = ""
    """``auth user/number`` of lines that it runs now, blanks between them: the PBX knows it by those for a while."""


@dataclass(frozen=True, slots=True)
class Errand:
    """A device that the one who took it tells now."""

    mac: Mac
    event: str
    """The Event header of its NOTIFY."""
    campaign: str
    asked: float
    way: Way


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an errand."""

    result: str
    step: Step | None = None
    """NOTIFY when it was told."""
    due: float = 0.0
    """When to try again, where it was not."""
    way: Way | None = None
    """POLL where nobody shall try again."""
    counts: bool = True
    """Whether it was an attempt: a device in a call was not tried."""
    last: bool = False
    """Nobody can tell it, whoever has its flow."""


class Served(NamedTuple):
    """A file that a device has, as far as is recorded."""

    file: str
    digest: str
    proof: str
    listener: str
    firmware: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A device that may need its configuration."""

    mac: Mac
    vendor: str
    model: str
    place: str
    served: int
    changed: int
    """Of its own row; layers that it shares are reckoned with in the query."""
    files: list[Served] = field(default_factory=list)


async def hold(connection: AsyncConnection) -> None:
    """Wait for whoever changes many rows now: two of them, each with rows that the other needs, would wait for ever."""
    await connection.execute(select(schema.revision.c.value).with_for_update())


# --- who ------------------------------------------------------------------------------------------


def latest_shared() -> ColumnElement[int]:
    """The newest change of any layer that a device shares, as a scalar."""
    touched = schema.touched
    keys = (
        ("defaults", ""),
        ("vendor", _D.vendor),
        ("model", _D.vendor.op("||")("/").op("||")(_D.model)),
        ("account", _D.account),
        ("site", _D.site),
    )
    mine = or_(*((touched.c.scope == scope) & (touched.c.key == key) for scope, key in keys))
    query = select(func.coalesce(func.max(touched.c.revision), 0)).where(mine).correlate(schema.device)
    return query.scalar_subquery()


async def candidates(
    connection: AsyncConnection,
    now: float,
    window: float,
    *,
    mac: str = "",
    account: str = "",
    changed: bool = False,
    among: ColumnElement[bool] | None = None,
    on_way: bool = False,
    after: str = "",
    limit: int = 200,
) -> list[Candidate]:
    """A page of devices by Mac; with ``changed`` only those served before the last change; ``among``: no others.

    Without a Mac those are left out that are revoked, that have never fetched, or that are on their way already;
    ``on_way``: only these last.
    """
    query = select(_D.mac, _D.vendor, _D.model, _D.account, _D.site, _D.served, _D.changed).where(_D.mac > after)
    query = query.where(_D.revoked.is_(False))
    if mac:
        query = query.where(_D.mac == mac)
    else:
        waiting = select(_R.mac).where(_R.mac == _D.mac, _recent(now, window)).correlate(schema.device).exists()
        query = query.where(_D.served.is_not(None), waiting if on_way else ~waiting)
    if account:
        query = query.where(_D.account == account)
    query = query if among is None else query.where(among)
    if changed:
        served = func.coalesce(_D.served, -1)
        query = query.where(or_(_D.changed > served, latest_shared() > served))
    rows = await connection.execute(query.order_by(_D.mac).limit(limit))
    return [
        Candidate(Mac(mac), vendor, model, site or account, -1 if served is None else served, changed)
        for mac, vendor, model, account, site, served, changed in rows
    ]


async def on_their_way(
    connection: AsyncConnection, now: float, window: float, among: ColumnElement[bool], campaigns: Collection[str]
) -> list[Mac]:
    """Devices that ``candidates`` leaves out because somebody has asked them, but for those of these campaigns."""
    query = select(_D.mac).join(schema.resync, _R.mac == _D.mac).where(among, _R.campaign.not_in(campaigns))
    return [Mac(mac) for mac in (await connection.execute(query.where(_recent(now, window)))).scalars()]


def _recent(now: float, window: float) -> ColumnElement[bool]:
    return or_(_R.state == State.BOUND.value, (_R.state == State.NOTIFIED.value) & (_R.since > now - window))


async def add_files(connection: AsyncConnection, found: Sequence[Candidate]) -> None:
    """What each of them got last, and what it asked for in vain (with an empty digest)."""
    by_mac = {one.mac: one.files for one in found}
    columns = (_F.mac, _F.file, _F.digest, _F.proof, _F.listener, _F.firmware)
    for few in _few(sorted(by_mac)):
        query = select(*columns).where(_F.mac.in_(few), _F.status.in_((*_SERVED, _MISSED)))
        for mac, *values in await connection.execute(query.order_by(_F.mac, _F.file)):
            by_mac[mac].append(Served(*values))


async def activated(connection: AsyncConnection, since: float, limit: int = 200) -> list[Candidate]:
    """Devices that used a code since then, whose configuration nobody has told them of and that have not fetched it."""
    code = schema.activation_code.c
    told = select(_R.mac).where(_R.mac == code.used_by, _R.asked >= code.ended).exists()
    query = (
        select(_D.mac, _D.vendor, _D.model, _D.account, _D.site, _D.served, _D.changed)
        .join(schema.activation_code, code.used_by == _D.mac)
        .where(code.state == "used", code.expires >= since, code.ended >= since)
        .where(_D.changed > func.coalesce(_D.served, -1), ~told)
    )
    rows = await connection.execute(query.order_by(_D.mac).limit(limit))
    found = {
        row[0]: Candidate(Mac(row[0]), row[1], row[2], row[4] or row[3], -1 if row[5] is None else row[5], row[6])
        for row in rows
    }
    return list(found.values())


async def sizes(connection: AsyncConnection, places: Collection[str]) -> dict[str, int]:
    """How many devices stand at each site, or belong to an account and to no site."""
    place = func.coalesce(_D.site, _D.account)
    found: dict[str, int] = {}
    for few in _few(sorted(places)):
        query = select(place, func.count()).where(place.in_(few)).group_by(place)
        found |= {row[0]: row[1] for row in await connection.execute(query)}
    return found


# --- when -----------------------------------------------------------------------------------------


async def last_due(connection: AsyncConnection) -> float:
    """When the last turn comes of those that are waited for; 0 where none is."""
    query = select(func.max(_R.due)).where(_R.state == State.BOUND.value, _R.way != Way.POLL.value)
    return (await connection.execute(query)).scalar_one() or 0.0


async def ask(connection: AsyncConnection, campaign: str, requests: Sequence[Request], now: float) -> None:
    """Put these in the place of what was asked of the same devices."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    query = dialect.insert(schema.resync)
    others = {column.name: query.excluded[column.name] for column in _R if column.name != "mac"}
    query = query.on_conflict_do_update(index_elements=["mac"], set_=others)
    rows = [_row(one, campaign, now) for one in sorted(requests, key=lambda one: one.mac)]
    for start in range(0, len(rows), _PART):
        await connection.execute(query, rows[start : start + _PART])


def _row(one: Request, campaign: str, now: float) -> dict[str, Any]:
    return {
        "mac": one.mac, "campaign": campaign, "state": target(Step.ASK).value, "way": "", "event": one.event,
        "upto": one.upto, "force": one.force, "wave": one.wave, "asked": now, "due": one.due, "since": now,
        "lease": one.lease, "tries": 0, "result": "", "patience": one.patience, "runs": one.runs,
    }  # fmt: skip


def _open(now: float) -> tuple[ColumnElement[bool], ...]:
    """Rows whose turn has come and that nobody holds."""
    return _R.state == State.BOUND.value, _R.due <= now, _R.lease <= now, _R.tries < TRIES


async def due(connection: AsyncConnection, now: float, limit: int, *, polling: bool) -> list[Mac]:
    """Devices whose turn has come, the oldest turn first; ``polling``: those left to their polling too, behind them."""
    query = select(_R.mac).where(*_open(now))
    if not polling:
        query = query.where(_R.way != Way.POLL.value)
    last = _R.way == Way.POLL.value
    return [Mac(mac) for mac in (await connection.execute(query.order_by(last, _R.due).limit(limit))).scalars()]


async def take(connection: AsyncConnection, macs: Sequence[Mac], way: Way, now: float, lease: float) -> list[Errand]:
    """Those of them that the caller, and nobody else, is to tell now; one statement for up to 400 of them.

    One that has fetched meanwhile is nobody's errand: it must not restart for nothing.
    """
    has = select(_D.mac).where(_D.mac == _R.mac, _HAS).correlate(schema.resync).exists()
    found: list[Errand] = []
    for few in _few(macs):
        query = update(schema.resync).where(_R.mac.in_(few), *_open(now), or_(_R.force, ~has))
        query = query.values(lease=now + lease, way=way.value, tries=_R.tries + 1)
        rows = await connection.execute(query.returning(_R.mac, _R.event, _R.campaign, _R.asked))
        found += [Errand(Mac(mac), event, campaign, asked, way) for mac, event, campaign, asked in rows]
    return found


async def tell(connection: AsyncConnection, errand: Errand, outcome: Outcome, now: float) -> bool:
    """Write down what came of it; False where the device was asked anew meanwhile, which is then done again."""
    mine = update(schema.resync).where(_R.mac == errand.mac, _R.asked == errand.asked, _R.way == errand.way.value)
    values: dict[str, Any] = {"lease": 0.0, "result": outcome.result}
    if outcome.step is not None:
        mine = mine.where(_R.state.in_([one.value for one in sources(outcome.step)]))
        values |= {"state": target(outcome.step).value, "since": now}
    else:
        mine = mine.where(_R.state == State.BOUND.value)
        tries = _R.tries if outcome.counts else _R.tries - 1
        values |= {"due": outcome.due, "tries": TRIES if outcome.last else tries}
        values |= {"way": outcome.way.value} if outcome.way is not None else {}
    return bool((await connection.execute(mine.values(**values))).rowcount)


# --- what became of it ----------------------------------------------------------------------------


def _moved(step: Step, now: float) -> Update:
    allowed = [state.value for state in sources(step)]
    return update(schema.resync).where(_R.state.in_(allowed)).values(state=target(step).value, since=now, lease=0.0)


def _come(states: Collection[State]) -> ColumnElement[bool]:
    """Who has a configuration that is new enough; who was to fetch in any case must have done so since it was told."""
    has = select(_D.mac).where(_D.mac == _R.mac, _HAS).correlate(schema.resync).exists()
    again = select(_F.mac).where(_F.mac == _R.mac, _F.at > _R.since, _F.status.in_(_SERVED))
    since = again.correlate(schema.resync).exists()
    plain = ~_R.force & (_R.state != State.STUCK.value)
    among = _R.state.in_([one.value for one in states])
    return among & has & or_(plain, (_R.state != State.BOUND.value) & since)


async def find_fetched(connection: AsyncConnection, states: Collection[State], limit: int) -> list[Mac]:
    """Devices in one of these states that have what they need."""
    return [Mac(mac) for mac in (await connection.execute(select(_R.mac).where(_come(states)).limit(limit))).scalars()]


async def note_fetched(connection: AsyncConnection, macs: Sequence[Mac], now: float) -> None:
    """Those of them that are still where they were found."""
    for few in _few(sorted(macs)):
        await connection.execute(_moved(Step.FETCH, now).where(_R.mac.in_(few), _come(sources(Step.FETCH))))


async def note_registered(connection: AsyncConnection, mac: Mac, now: float) -> bool:
    """The PBX sees it."""
    return bool((await connection.execute(_moved(Step.REGISTER, now).where(_R.mac == mac))).rowcount)


async def note_unregistered(connection: AsyncConnection, mac: Mac, now: float) -> list[Standing]:
    """It has its configuration, and the PBX has not seen it for too long."""
    query = _moved(Step.GIVE_UP, now).where(_R.mac == mac, _R.state == State.FETCHED.value)
    rows = await connection.execute(query.values(result="not registered").returning(*_R))
    return [_standing(row) for row in rows]


async def fetched(connection: AsyncConnection, since: float, before: float, after: str, limit: int) -> list[Standing]:
    """Devices that came to their configuration between two times, by Mac: the PBX can be asked for them."""
    query = select(*_R).where(_R.state == State.FETCHED.value, _R.since >= since, _R.since <= before, _R.mac > after)
    return [_standing(row) for row in await connection.execute(query.order_by(_R.mac).limit(limit))]


async def postpone(connection: AsyncConnection, now: float) -> float:
    """Nobody was there to tell anyone: all turns come later by as much as the first is late; by how many seconds."""
    waiting = (_R.state == State.BOUND.value) & (_R.way == Way.NONE.value) & (_R.lease <= now)
    first = (await connection.execute(select(func.min(_R.due)).where(waiting))).scalar_one()
    late = 0.0 if first is None else max(0.0, now - first)
    if late:
        await connection.execute(update(schema.resync).where(waiting).values(due=_R.due + late))
    return late


async def leave_to_polling(connection: AsyncConnection, before: float, now: float) -> int:
    """Whose turn came before that time and whom nobody can tell asks by itself."""
    query = update(schema.resync).where(_R.state == State.BOUND.value, _R.lease <= now, _R.way != Way.POLL.value)
    ignored = (_R.due <= before) & (_R.lease <= before)
    query = query.where(or_(ignored, (_R.tries >= TRIES) & (_R.due <= now)))
    return (await connection.execute(query.values(way=Way.POLL.value))).rowcount


async def note_stuck(connection: AsyncConnection, now: float, window: float) -> list[Standing]:
    """Whose time is over: ``window`` s after it was told, or after it should have polled."""
    polled = (_R.state == State.BOUND.value) & (_R.way == Way.POLL.value) & (_R.due + _R.patience < now - window)
    told = (_R.state == State.NOTIFIED.value) & (_R.since < now - window)
    rows = await connection.execute(_moved(Step.GIVE_UP, now).where(or_(polled, told)).returning(*_R))
    return [_standing(row) for row in rows]


async def stop(connection: AsyncConnection, now: float, account: str = "", mac: str = "", *, campaign: str = "") -> int:
    """Nobody is told any more who has not been; how many that are."""
    query = _moved(Step.STOP, now)
    query = query.where(_R.campaign == campaign) if campaign else query
    if account:
        query = query.where(_R.mac.in_(select(_D.mac).where(_D.account == account)))
    return (await connection.execute(query.where(_R.mac == mac) if mac else query)).rowcount


async def forget(connection: AsyncConnection, before: float) -> int:
    """Remove what has been over since before a time."""
    over = _R.state.not_in([one.value for one in UNDER_WAY])
    return (await connection.execute(delete(schema.resync).where(over, _R.since < before))).rowcount


async def standings(
    connection: AsyncConnection, *, campaign: str = "", account: str = "", mac: str = "", limit: int = 1000
) -> list[Standing]:
    """Devices on their way and those that have arrived, in the order of their turns."""
    query = select(*_R).order_by(_R.due, _R.mac).limit(limit)
    if account:
        query = query.where(_R.mac.in_(select(_D.mac).where(_D.account == account)))
    query = query.where(_R.campaign == campaign) if campaign else query
    return [_standing(row) for row in await connection.execute(query.where(_R.mac == mac) if mac else query)]


async def counts(connection: AsyncConnection, campaign: str = "") -> Mapping[State, int]:
    """How many are in each state."""
    query = select(_R.state, func.count()).group_by(_R.state)
    rows = await connection.execute(query.where(_R.campaign == campaign) if campaign else query)
    return {State(state): number for state, number in rows}


async def lines(connection: AsyncConnection, mac: Mac) -> list[tuple[str, str]]:
    """Name and number of the extension on each line of a device, in their order; then of those that it still runs.

    What it ran when it was asked stands with its errand: such an extension may have been removed since.
    """
    fetched = select(func.max(_F.at)).where(_F.mac == mac, _F.status.in_(_SERVED)).scalar_subquery()
    query = select(_E.auth_user, _E.number).join(schema.binding, _B.extension == _E.id)
    query = query.where(_B.mac == mac, or_(_B.until.is_(None), (_B.since <= fetched) & (_B.until > fetched)))
    rows = await connection.execute(query.order_by(_B.until.is_not(None), _B.line))
    found = [(auth_user, number) for auth_user, number in rows]
    since = select(_R.runs).where(_R.mac == mac, _R.asked >= func.coalesce(fetched, 0.0))
    ran = (await connection.execute(since)).scalar_one_or_none() or ""
    pairs = [(one.partition("/")[0], one.partition("/")[2]) for one in ran.split()]
    return [*found, *(one for one in pairs if one not in found)]


def _standing(row: Row[Any]) -> Standing:
    return Standing(
        Mac(row.mac), row.campaign, State(row.state), Way(row.way), row.wave, row.due, row.since, row.tries,
        row.result, row.patience,
    )  # fmt: skip


def _few(macs: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(macs), _FEW):
        yield macs[start : start + _FEW]
