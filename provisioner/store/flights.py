"""Records of connections in rings: one a device, and one that all strangers share. What is full is written over.

Half of a device's ring is for good boots and half for trouble, so that a phone that polls each minute does not push out
why it failed yesterday. A ring is as large as it is: nothing has to be cleared away, whatever the number of phones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Table, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.flight import Flight, packed, unpacked
from provisioner.model import Mac
from provisioner.store import schema
from provisioner.store.database import Store
from provisioner.store.engine import is_sqlite, writing

STRANGERS: Final = ""
"""Who has not proven that he is a known device."""
_CHUNK: Final = 400
"""Values in one IN list."""
_GROUPS: Final = 500
"""Groups of troubles told at most."""
_LOOKED_AT: Final = 50_000
"""Records of trouble that are grouped, the newest."""
_MET: Final = 8
"""Addresses of a device that are looked at, the newest."""

_F: Final = schema.flight.c
_COLUMNS: Final = (_F.mac, _F.number, _F.at, _F.claimed, _F.address, _F.trouble, _F.label, _F.model, _F.body)


class FlightRow(NamedTuple):
    """A record to be written."""

    owner: str
    """The known device; empty for strangers."""
    claimed: str
    at: float
    address: str
    """As ``gate.address_key`` has it."""
    trouble: bool
    label: str
    model: str
    told: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trouble:
    """One and the same trouble of phones of one model."""

    label: str
    vendor: str
    model: str
    phones: int
    """Devices; of strangers addresses."""
    known: bool
    """They are devices that have been added."""
    first: float
    last: float


class _Place(NamedTuple):
    slot: int
    number: int


# --- writing ------------------------------------------------------------------------------------------


async def write_flights(store: Store, rows: Sequence[FlightRow], *, ring: int, strangers: int) -> None:
    """Put them down in one transaction; StoreFailed when it cannot be."""
    if not rows:
        return
    async with writing(store.lossy) as connection:
        heads = await _heads(connection, sorted({row.owner for row in rows}))
        values: dict[tuple[str, int], dict[str, Any]] = {}
        for row in rows:
            place = _next(heads[row.owner], row, strangers if row.owner == STRANGERS else ring)
            values[row.owner, place.slot] = _value(row, place)
        insert = (sqlite if is_sqlite(store.url) else postgresql).insert
        counts = [{"mac": owner, "good": one[0], "trouble": one[1]} for owner, one in sorted(heads.items())]
        await connection.execute(_upserting(insert, schema.flight_head, ("mac",)), counts)
        await connection.execute(
            _upserting(insert, schema.flight, ("mac", "slot")), [one for _, one in sorted(values.items())]
        )
        await _shrink(connection, sorted(heads), ring, strangers)


async def _heads(connection: AsyncConnection, owners: Sequence[str]) -> dict[str, list[int]]:
    """How many of each kind they have had. On PostgreSQL the rows stay locked, in the order all workers take them."""
    head = schema.flight_head
    if connection.dialect.name == "postgresql":
        fresh = postgresql.insert(head).on_conflict_do_nothing(index_elements=["mac"])
        await connection.execute(fresh, [{"mac": owner} for owner in owners])
    found = {owner: [0, 0] for owner in owners}
    for start in range(0, len(owners), _CHUNK):
        query = select(head).where(head.c.mac.in_(owners[start : start + _CHUNK])).order_by(head.c.mac)
        for owner, good, trouble in await connection.execute(query.with_for_update()):
            found[owner] = [good, trouble]
    return found


async def _shrink(connection: AsyncConnection, owners: Sequence[str], ring: int, strangers: int) -> None:
    """Rings may have been larger before."""
    devices = [one for one in owners if one != STRANGERS]
    for start in range(0, len(devices), _CHUNK):
        some = _F.mac.in_(devices[start : start + _CHUNK])
        await connection.execute(delete(schema.flight).where(some, _F.slot >= ring))
    if STRANGERS in owners:
        await connection.execute(delete(schema.flight).where(_F.mac == STRANGERS, _F.slot >= strangers))


def _next(head: list[int], row: FlightRow, size: int) -> _Place:
    """Where it goes; strangers have one ring for everything, for hardly anything of theirs is good."""
    head[row.trouble] += 1
    number, good = sum(head), size // 2
    if row.owner == STRANGERS:
        return _Place((number - 1) % size, number)
    if row.trouble:
        return _Place(good + (head[1] - 1) % (size - good), number)
    return _Place((head[0] - 1) % good, number)


def _value(row: FlightRow, place: _Place) -> dict[str, Any]:
    known = row.owner != STRANGERS
    return {
        "mac": row.owner,
        "slot": place.slot,
        "number": place.number,
        "at": row.at,
        "trouble": row.trouble,
        "label": row.label,
        "claimed": "" if known else row.claimed,
        "address": "" if known else row.address,
        "model": "" if known else row.model,
        "body": packed(row.told),
    }


def _upserting(insert: Any, table: Table, key: tuple[str, ...]) -> Any:
    query = insert(table)
    rest = {column.name: query.excluded[column.name] for column in table.c if column.name not in key}
    return query.on_conflict_do_update(index_elements=list(key), set_=rest)


# --- reading ------------------------------------------------------------------------------------------


async def of_device(connection: AsyncConnection, mac: Mac, limit: int = 40) -> list[Flight]:
    """A device's own records, and those of strangers who claim to be it; the newest first."""
    own = await _read(connection, _F.mac == mac, limit)
    claimed = await _read(connection, (_F.claimed == mac) & (_F.claimed != ""), limit)
    return sorted([*own, *claimed], key=lambda one: -one.at)[:limit]


async def at_addresses(connection: AsyncConnection, addresses: Collection[str], limit: int = 40) -> list[Flight]:
    """What strangers did there, the newest first: a phone that does not trust the server has shown nobody who it is.

    Addresses as ``gate.address_key`` has them.
    """
    keys = sorted({*addresses} - {""})[:_CHUNK]
    return await _read(connection, _F.address.in_(keys) & (_F.address != ""), limit) if keys else []


async def strangers(connection: AsyncConnection, limit: int = 40) -> list[Flight]:
    """What strangers did lately, the newest first."""
    return await _read(connection, _F.mac == STRANGERS, limit)


async def addresses_of(connection: AsyncConnection, mac: Mac) -> list[str]:
    """Where a device has been met lately, the newest first, as ``gate.address_key`` has it."""
    own = [one.place for one in await _read(connection, _F.mac == mac, _MET) if one.place]
    sighting = schema.sighting.c
    query = select(sighting.address).where(sighting.mac == mac).order_by(sighting.day.desc(), sighting.address)
    seen = (await connection.execute(query.limit(_MET))).scalars()
    return list(dict.fromkeys([*own, *seen]))[:_MET]


async def _read(connection: AsyncConnection, which: ColumnElement[bool], limit: int) -> list[Flight]:
    query = select(*_COLUMNS).where(which).order_by(_F.at.desc(), _F.number.desc()).limit(limit)
    return [_flight(row) for row in await connection.execute(query)]


def _flight(row: Any) -> Flight:
    told = unpacked(row.body)
    address = str(told.get("a", row.address))
    return Flight(row.mac, row.number, row.at, row.claimed or row.mac, address, row.trouble, row.label, row.model, told)


async def troubles(connection: AsyncConnection, since: float) -> list[Trouble]:
    """What went wrong since a time, grouped, what concerns most phones first; as far back as the rings go.

    Of a disaster the newest part is enough to know it by.
    """
    from provisioner.store.reach import within  # device workers load no administrator's code

    columns = (_F.label, _F.mac, _F.address, _F.model, _F.at)
    newest = select(*columns).where(_F.trouble, _F.at >= since).order_by(_F.at.desc()).limit(_LOOKED_AT)
    bad = within(connection, newest).subquery()
    one, device = bad.c, schema.device.c
    phones, places = func.count(func.distinct(one.mac)), func.count(func.distinct(one.address))
    of_known = (
        select(one.label, device.vendor, device.model, phones, func.min(one.at), func.max(one.at))
        .join_from(bad, schema.device, device.mac == one.mac)
        .group_by(one.label, device.vendor, device.model)
    )
    of_strangers = (
        select(one.label, one.model, places, func.min(one.at), func.max(one.at))
        .where(one.mac == STRANGERS)
        .group_by(one.label, one.model)
    )
    found = [
        Trouble(label, vendor, model, number, True, first, last)
        for label, vendor, model, number, first, last in await connection.execute(of_known)
    ]
    found += [
        Trouble(label, "", model, number, False, first, last)
        for label, model, number, first, last in await connection.execute(of_strangers)
    ]
    return sorted(found, key=lambda one: (-one.phones, one.label, one.model))[:_GROUPS]
