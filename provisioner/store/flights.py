"""Records of connections in rings: one a device, and one that all strangers share. What is full is written over.

Half of a device's ring is for good boots and half for trouble, so that a phone that polls each minute does not push out
why it failed yesterday. A ring is as large as it is: nothing has to be cleared away, whatever the number of phones.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, Table, delete, exists, func, literal, literal_column, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.flight import Flight, packed, unpacked
from provisioner.model import Mac
from provisioner.store import schema
from provisioner.store.database import Store
from provisioner.store.engine import is_sqlite, writing
from provisioner.store.rows import StoredEvent

STRANGERS: Final = ""
"""Who has not proven that he is a known device."""
_CHUNK: Final = 400
"""Values in one IN list."""
_GROUPS: Final = 500
"""Groups of troubles told at most."""
_LOOKED_AT: Final = 50_000
"""Records of trouble that are grouped, the newest."""
_CLAIMS: Final = 10
"""Records of strangers who claim to be a device: whoever asks for its files all day shall not push out its own."""
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
    told: Mapping[str, Any] | bytes
    """Or as ``packed`` already, where one that cannot be shall not cost the others."""


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
    who: frozenset[str] = frozenset()
    """Whose: one phone may have several troubles."""


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
        "body": row.told if isinstance(row.told, bytes) else packed(row.told),
    }


def _upserting(insert: Any, table: Table, key: tuple[str, ...]) -> Any:
    query = insert(table)
    rest = {column.name: query.excluded[column.name] for column in table.c if column.name not in key}
    return query.on_conflict_do_update(index_elements=list(key), set_=rest)


# --- reading ------------------------------------------------------------------------------------------


async def of_device(connection: AsyncConnection, mac: Mac, limit: int = 40) -> list[Flight]:
    """A device's own records, and some of those of strangers who claim to be it; the newest first."""
    own = await proven_of(connection, mac, limit)
    claimed = await _read(connection, _is_claimed(mac), min(limit, _CLAIMS))
    newest = sorted(claimed, key=lambda one: -one.at)[: max(limit - len(own), limit // 4)]
    return sorted([*own[: limit - len(newest)], *newest], key=lambda one: -one.at)


async def proven_of(connection: AsyncConnection, mac: Mac, limit: int = 40) -> list[Flight]:
    """A device's own records, the newest first."""
    return await _read(connection, _F.mac == mac, limit)


def _is_claimed(mac: Mac) -> ColumnElement[bool]:
    return (_F.claimed == mac) & (_F.claimed != "")


async def claims_of(connection: AsyncConnection, mac: Mac) -> list[Flight]:
    """What strangers did who claim to be a device, the newest first, whatever this connection is narrowed to.

    For a diagnosis of a device that the caller has been shown to reach, and for nothing else: where they came from,
    what they presented and which names they asked for is left out where the connection is narrowed.
    """
    from provisioner.store.reach import beyond, is_limited  # device workers load no administrator's code

    query = _newest(_is_claimed(mac), _CLAIMS)
    if not is_limited(connection):
        return [_flight(row) for row in await connection.execute(query)]
    found = [_flight(row) for row in await connection.execute(beyond(query))]
    return [replace(one, address="", told=_bare(one.told)) for one in found]


async def refusals_of_claims(connection: AsyncConnection, mac: Mac, limit: int) -> list[StoredEvent]:
    """The newest refusals of strangers who named a device or claimed to be it, as ``claims_of`` where it is narrowed.

    Where nothing is out of reach the journal has them.
    """
    from provisioner.store.reach import beyond, is_limited  # as above

    if not is_limited(connection):
        return []
    event = schema.event.c
    columns = (event.id, event.at, event.kind, event.mac, event.severity, event.actor, event.details)
    newest = select(*columns).where(event.mac == "").order_by(event.id.desc()).limit(limit)
    found: dict[int, StoredEvent] = {}
    for name in (event.named, event.claimed):  # the literal is the indexes' own condition
        for row in await connection.execute(beyond(newest.where(name == mac, name != literal_column("''")))):
            told = {key: text for key, text in json.loads(row.details).items() if key in _PUBLIC}
            path = {"path": told["path"]} if mac in told.get("path", "").lower() else {"path": ""}
            found[row.id] = StoredEvent(row.id, row.at, row.kind, row.mac, row.severity, row.actor, {**told, **path})
    return [found[ident] for ident in sorted(found)]


_PUBLIC: Final = frozenset({"verdict", "verdict_why", "vendor", "tls", "path"})
_PRIVATE: Final = frozenset({"a", "ak", "p", "c", "n", "u", "ho"})


def _bare(told: Mapping[str, Any]) -> dict[str, Any]:
    """Without what tells who or where somebody is."""
    kept = {name: one for name, one in told.items() if name not in _PRIVATE}
    if hello := kept.get("h"):
        kept["h"] = [*hello[:3], None]
    return kept


async def at_addresses(connection: AsyncConnection, addresses: Collection[str], limit: int = 40) -> list[Flight]:
    """What strangers did there, the newest first: a phone that does not trust the server has shown nobody who it is.

    Addresses as ``gate.address_key`` has them.
    """
    keys = sorted({*addresses} - {""})[:_CHUNK]
    return await _read(connection, _F.address.in_(keys) & (_F.address != ""), limit) if keys else []


async def nameless_at(
    connection: AsyncConnection, addresses: Collection[str], since: float, limit: int
) -> list[Flight]:
    """Whoever got into trouble there since then, named nobody and asked for nothing, the newest first."""
    query = _nameless(addresses, since, limit)
    return [] if query is None else [one for one in map(_flight, await connection.execute(query)) if _is_mute(one)]


async def anybody_left(connection: AsyncConnection, addresses: Collection[str], since: float, limit: int) -> bool:
    """Whether one of them left by himself who is beyond what this connection is narrowed to; nothing else of him.

    For a diagnosis of a device that the caller has been shown to reach: these are its addresses.
    """
    from provisioner.store.reach import beyond, is_limited  # device workers load no administrator's code

    query = _nameless(addresses, since, limit)
    if query is None or not is_limited(connection):
        return False
    found = map(_flight, await connection.execute(beyond(query)))
    return any(_is_mute(one) and "h" in one.told and one.label.startswith(_LEFT) for one in found)


_LEFT: Final = ("alert_", "left", "no_request", "reset", "truncated")
"""What it comes to where the other side ends it."""


def _nameless(addresses: Collection[str], since: float, limit: int) -> Select[Any] | None:
    """None where there is no address to look at."""
    keys = sorted({*addresses} - {""})[:_CHUNK]
    there = _F.address.in_(keys) & (_F.address != "") & (_F.claimed == "")
    # By its label: `trouble` would lead to the index of all troubles of the whole fleet.
    return _newest(there & (_F.label != "ok") & (_F.at > since), limit) if keys else None


def _is_mute(one: Flight) -> bool:
    return not one.told.get("r")


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
    return [_flight(row) for row in await connection.execute(_newest(which, limit))]


def _newest(which: ColumnElement[bool], limit: int) -> Select[Any]:
    return select(*_COLUMNS).where(which).order_by(_F.at.desc(), _F.number.desc()).limit(limit)


def _flight(row: Any) -> Flight:
    told = unpacked(row.body)
    address = str(told.get("a", row.address))
    return Flight(row.mac, row.number, row.at, row.claimed or row.mac, address, row.trouble, row.label, row.model, told)


async def troubles(connection: AsyncConnection, since: float) -> list[Trouble]:
    """What went wrong since a time, grouped, what concerns most phones first; as far back as the rings go.

    Of a disaster the newest part is enough to know it by. A device that has been well since is not in trouble.
    """
    from provisioner.store.reach import within  # device workers load no administrator's code

    columns = (_F.label, _F.mac, _F.address, _F.model, _F.at)
    newest = select(*columns).where(_F.trouble, _F.at >= since).order_by(_F.at.desc()).limit(_LOOKED_AT)
    bad = within(connection, newest).subquery()
    one, device, later = bad.c, schema.device.c, schema.flight.alias("later")
    # Its ring is small, and read by the device: what this costs is bound by how many are in trouble.
    well = exists(select(later.c.mac).where(later.c.mac == one.mac, ~later.c.trouble, later.c.at > one.at))
    first, last = func.min(one.at), func.max(one.at)
    of_known = (
        select(one.label, device.vendor, device.model, one.mac, first, last)
        .join_from(bad, schema.device, device.mac == one.mac)
        .where(one.mac != STRANGERS, ~well)  # of strangers, who share one ring, it would read all for each of them
        .group_by(one.label, device.vendor, device.model, one.mac)
    )
    of_strangers = (
        select(one.label, literal(""), one.model, one.address, first, last)
        .where(one.mac == STRANGERS)
        .group_by(one.label, one.model, one.address)
    )
    found = _by_label(await connection.execute(of_known), known=True)
    found += _by_label(await connection.execute(of_strangers), known=False)
    return sorted(found, key=lambda one: (-one.phones, one.label, one.model))[:_GROUPS]


def _by_label(rows: Iterable[Any], *, known: bool) -> list[Trouble]:
    groups: dict[tuple[str, str, str], list[Any]] = {}
    for label, vendor, model, *rest in rows:
        groups.setdefault((label, vendor, model), []).append(rest)
    return [
        Trouble(
            *key, len({who for who, _, _ in same}), known, min(at for _, at, _ in same), max(at for _, _, at in same),
            frozenset(who for who, _, _ in same),
        )
        for key, same in groups.items()
    ]  # fmt: skip
