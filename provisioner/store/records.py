"""What devices cause is written in batches and may be lost by contract: bounded in memory, counted when dropped.

The device edge only puts things down here; ``flush`` writes them once a second in one transaction. A database that is
locked or full keeps nobody waiting: the batch is kept within its bounds and tried again.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import Insert, Table, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.errors import Conflict, StoreFailed
from provisioner.model import Count, Event, FetchRecord, Mac, Scope
from provisioner.settings import MIB, Settings
from provisioner.store import schema, standing
from provisioner.store.database import Store, event_row
from provisioner.store.engine import bulk_of, in_bulk, is_sqlite, may_pass, writing
from provisioner.store.served import others_than_before, told_current
from provisioner.store.sources import kept, kept_rows
from provisioner.store.standing import Sightings, prune_sightings, sighting_rows, trim_all, trim_sightings, write_served

T = TypeVar("T")

_BODIES: Final = 16 * MIB
"""Bodies waiting for a batch: two seconds of a storm. Beyond it the fetch is recorded without its body."""
_EVENTS: Final = 1000
"""Events waiting for a batch: a thousand different refusals a second tell nobody more. Alarms are never turned away."""
_DAY: Final = 86_400.0
"""s"""
_CHUNK: Final = 400
"""Values in one IN list; SQLite takes 32,766 parameters, PostgreSQL plans short lists better."""


@dataclass(slots=True)
class _Seen:
    vendor: str
    model: str
    address: str
    first: float
    last: float
    times: int = 1


@dataclass(slots=True)
class _Pin:
    spki: str
    not_after: str
    at: float


@dataclass(slots=True)
class _Batch:
    """What waits to be written, each thing once."""

    fetches: dict[tuple[str, str], FetchRecord] = field(default_factory=dict)
    bodies: dict[tuple[str, str], FetchRecord] = field(default_factory=dict)
    body_bytes: int = 0
    seen: dict[str, _Seen] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    pins: dict[str, _Pin] = field(default_factory=dict)
    modern: dict[str, None] = field(default_factory=dict)
    served: dict[str, standing.Served] = field(default_factory=dict)
    """By device."""
    sightings: dict[tuple[str, str], int] = field(default_factory=dict)
    """Device and address -> day."""

    def size(self) -> int:
        small = len(self.events) + len(self.pins) + len(self.modern) + len(self.sightings)
        return len(self.fetches) + len(self.seen) + small

    def told(self) -> int:
        """Events that are no alarms."""
        return sum(event.severity != "alarm" for event in self.events)


class Teller(Protocol):
    """Whoever is told at once what waits for the batch."""

    def fetched(self, record: FetchRecord) -> None:
        """A device asked for a file."""

    def happened(self, event: Event) -> None:
        """Something happened."""


class Recorder:
    """One a worker."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        count: Count,
        clock: Callable[[], float] = time.time,
        teller: Teller | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._teller = teller
        self._queue, self._seen, self._events = settings.store_queue, settings.store_seen, settings.store_events
        self._memory = settings.gate_memory
        self._sighted = Sightings()
        self._count = count
        self._batch = _Batch()
        self._insert = (sqlite if is_sqlite(store.url) else postgresql).insert
        self._keep_fetch = bulk_of(self._upserting(schema.last_fetch, ("mac", "file")), store.url)
        self._keep_told = bulk_of(kept(), store.url)

    def waiting(self) -> int:
        """Records not written yet."""
        return self._batch.size()

    def fetch(self, record: FetchRecord) -> None:
        """A file that a known device asked for; only the last fetch of each file is kept."""
        if self._teller is not None:
            self._teller.fetched(record)
        self._put_fetch(record)

    def _put_fetch(self, record: FetchRecord) -> None:
        batch, key = self._batch, (record.mac, record.file)
        if key not in batch.fetches and self._full("fetch"):
            return
        batch.fetches[key] = record
        if record.revision >= 0:
            batch.served[record.mac] = standing.served(record).after(batch.served.get(record.mac))
        if not record.body:
            return
        before = batch.bodies.get(key)
        growth = len(record.body) - (len(before.body) if before else 0)
        if batch.body_bytes + growth > _BODIES:
            self._count("store_dropped", "body")
            return
        batch.bodies[key] = record
        batch.body_bytes += growth

    def seen(self, mac: Mac, vendor: str, model: str, address: str, at: float) -> None:
        """A good certificate of a device that nobody has added."""
        found = self._batch.seen.get(mac)
        if found is not None:
            found.vendor, found.model, found.address, found.last = vendor, model or found.model, address, at
            found.times += 1
        elif len(self._batch.seen) >= self._seen:
            self._count("store_dropped", "seen")
        elif not self._full("seen"):
            self._batch.seen[mac] = _Seen(vendor, model, address, at, at)

    def event(self, event: Event) -> None:
        """Something that happened at the device edge."""
        if self._teller is not None:
            self._teller.happened(event)
        self._put_event(event)

    def _put_event(self, event: Event) -> None:
        batch = self._batch
        if event.severity == "alarm" or len(batch.events) < _EVENTS or batch.told() < _EVENTS:
            batch.events.append(event)
        else:
            self._count("store_dropped", "event")

    def pin(self, mac: Mac, spki: str, not_after: str) -> None:
        """The first unique certificate of a device; a different one meanwhile wins nothing and raises an alarm."""
        found = self._batch.pins.get(mac)
        if found is not None and found.spki != spki:
            self.event(_mismatch(mac, spki, found.spki, self._clock()))
        elif found is None:  # never dropped: they are at most as many as there are devices
            self._batch.pins[mac] = _Pin(spki, not_after, self._clock())

    def pinned(self, mac: Mac) -> str:
        """The key that waits to be pinned to a device; empty when none does."""
        found = self._batch.pins.get(mac)
        return found.spki if found is not None else ""

    def modern(self, mac: Mac) -> None:
        """The device spoke TLS 1.2 or newer."""
        self._batch.modern[mac] = None

    def sighted(self, address: str, mac: Mac) -> None:
        """A known device has proven itself at this address (as ``gate.address_key`` has it).

        Written once a day, and at most three addresses of a device a day.
        """
        day = int(self._clock() // _DAY)
        if not self._sighted.is_new(mac, address, day):
            return
        if len(self._batch.sightings) >= self._queue:
            self._count("store_dropped", "sighting")
            return
        self._sighted.note(mac, address)
        self._batch.sightings[mac, address] = day

    async def prune(self) -> None:
        """Forget sightings older than gate.memory days or beyond three a device; every hour or so, not in a storm."""
        oldest = int((self._clock() - self._memory * _DAY) // _DAY)
        await prune_sightings(self._store.lossy, oldest)
        await trim_all(self._store.lossy)

    def _full(self, what: str) -> bool:
        if len(self._batch.fetches) + len(self._batch.seen) < self._queue:
            return False
        self._count("store_dropped", what)
        return True

    async def flush(self) -> None:
        """Write what waits in one transaction; on trouble keep what still fits and count."""
        batch, self._batch = self._batch, _Batch()
        if not batch.size():
            return
        try:
            await self._write_or_retry(batch)
            await self._trim(batch)
        except StoreFailed as error:
            self._count("store_flush_failed", "later" if may_pass(error) else "dropped")
            if may_pass(error):
                self._keep(batch)
        except UnicodeError:  # text that no database takes; the edge should have refused it
            self._count("store_flush_failed", "dropped")

    async def _trim(self, batch: _Batch) -> None:
        """Nobody waits for it, and the next batch or ``prune`` does what failed: nothing is to be written twice."""
        try:
            await trim_sightings(self._store.lossy, {mac for mac, _ in batch.sightings})
        except (StoreFailed, Conflict):
            self._count("background", "trim")

    async def _write_or_retry(self, batch: _Batch) -> None:
        try:
            await self._write(batch)
        except Conflict:  # PostgreSQL: a device was removed while its pin was written; now it is seen to be gone
            try:
                await self._write(batch)
            except Conflict as error:
                raise StoreFailed(error.cause) from error

    def _keep(self, older: _Batch) -> None:
        """Put a batch that could not be written before what came meanwhile, within the bounds."""
        newer, self._batch = self._batch, older
        for event in newer.events:
            self._put_event(event)
        for mac, pin in newer.pins.items():
            self.pin(Mac(mac), pin.spki, pin.not_after)
        for mac in newer.modern:
            self.modern(Mac(mac))
        for mac, one in newer.seen.items():
            self.seen(Mac(mac), one.vendor, one.model, one.address, one.last)
        for key, record in newer.fetches.items():
            self._put_fetch(newer.bodies.get(key, record))
            self._put_fetch(record)
        older.served |= {mac: one.after(older.served.get(mac)) for mac, one in newer.served.items()}
        for sighting in list(newer.sightings.items())[: max(self._queue - len(older.sightings), 0)]:
            older.sightings.update([sighting])

    async def _write(self, batch: _Batch) -> None:
        await self._pin(batch)
        async with writing(self._store.lossy) as connection:
            others = await others_than_before(connection, batch.served)
            await self._write_fetches(connection, batch)
            await self._write_bodies(connection, batch.bodies)
            await self._write_seen(connection, batch.seen)
            await _write_modern(connection, batch.modern)
            await write_served(connection, batch.served, self._clock())
            await self._upsert(connection, schema.sighting, ("mac", "address"), sighting_rows(batch.sightings))
            await self._write_events(connection, [*batch.events, *await told_current(connection, others)])

    async def _pin(self, batch: _Batch) -> None:
        """On disk before the rest: with a pin the number of changes goes up, and a crash must not give one out twice.

        Workers of other machines would take what an administrator changes then for something that they have seen.
        """
        if not batch.pins:
            return
        async with writing(self._store.engine) as connection:
            events = await self._write_pins(connection, batch.pins)
        batch.events += events
        batch.pins.clear()  # whatever becomes of the rest, they are not to be tried again

    async def _write_fetches(self, connection: AsyncConnection, batch: _Batch) -> None:
        rows = [_fetch_row(record) for _, record in sorted(batch.fetches.items())]
        await in_bulk(connection, self._keep_fetch, rows)
        await in_bulk(connection, self._keep_told, kept_rows(list(batch.fetches.values())))

    async def _write_bodies(self, connection: AsyncConnection, bodies: Mapping[tuple[str, str], FetchRecord]) -> None:
        """Compress and seal only what is not stored yet: in a storm nearly every file is the one of last time."""
        body = schema.last_body.c
        stored: dict[tuple[str, str], str] = {}
        for macs in _chunks(sorted({mac for mac, _ in bodies})):
            found = await connection.execute(select(body.mac, body.file, body.digest).where(body.mac.in_(macs)))
            stored |= {(row.mac, row.file): row.digest for row in found}
        rows = [
            {"mac": one.mac, "file": one.file, "digest": one.digest, "body": self._packed(one)}
            for key, one in sorted(bodies.items())
            if stored.get(key) != one.digest
        ]
        await self._upsert(connection, schema.last_body, ("mac", "file"), rows)

    def _packed(self, one: FetchRecord) -> bytes:
        return self._store.box.seal(zlib.compress(one.body, 1), "last_body", one.mac, one.file)

    async def _write_pins(self, connection: AsyncConnection, pins: Mapping[str, _Pin]) -> list[Event]:
        """Pin where there is a device and no pin yet; what that made of each attempt, as events."""
        events = []
        pin, device = schema.pin.c, schema.device.c
        for macs in _chunks(sorted(pins)):
            known = (await connection.execute(select(device.mac).where(device.mac.in_(macs)))).scalars().all()
            had = select(pin.mac, pin.spki).where(pin.mac.in_(macs))
            before = {row.mac for row in await connection.execute(had)}
            rows = [
                {"mac": mac, "spki": pins[mac].spki, "not_after": pins[mac].not_after, "at": pins[mac].at}
                for mac in sorted(set(known) - before)
            ]
            if rows:
                await connection.execute(self._insert(schema.pin).on_conflict_do_nothing(index_elements=["mac"]), rows)
                await _tell_workers(connection, [row["mac"] for row in rows])
            after = {row.mac: row.spki for row in await connection.execute(had)}
            events += [
                _pinned(mac, pins[mac])
                if spki == pins[mac].spki
                else _mismatch(mac, pins[mac].spki, spki, pins[mac].at)
                for mac, spki in after.items()
                if mac not in before or spki != pins[mac].spki
            ]
        return events

    async def _write_seen(self, connection: AsyncConnection, batch: Mapping[str, _Seen]) -> None:
        if not batch:
            return
        table = schema.seen
        query = self._insert(table)
        newest = {name: query.excluded[name] for name in ("vendor", "model", "address", "last_at")}
        # An updater names no model; what the phone itself has said of it before stays.
        newest["model"] = func.coalesce(func.nullif(query.excluded.model, ""), table.c.model)
        query = query.on_conflict_do_update(
            index_elements=["mac"], set_={**newest, "times": table.c.times + query.excluded.times}
        )
        await connection.execute(query, [_seen_row(mac, one) for mac, one in sorted(batch.items())])
        excess = (await connection.execute(select(func.count()).select_from(table))).scalar_one() - self._seen
        if excess > 0:
            oldest = select(table.c.mac).order_by(table.c.last_at, table.c.mac).limit(excess)
            await connection.execute(delete(table).where(table.c.mac.in_(oldest)))

    async def _write_events(self, connection: AsyncConnection, events: list[Event]) -> None:
        """Append; the oldest of the devices' events go. No flood hides alarms, nor what administrators did."""
        if not events:
            return
        event = schema.event.c
        await connection.execute(insert(schema.event), [event_row(one, audit=False) for one in events])
        newest = (await connection.execute(select(func.max(event.id)))).scalar_one()
        old = delete(schema.event).where(
            event.audit.is_(False), event.severity != "alarm", event.id <= newest - self._events
        )
        await connection.execute(old)

    async def _upsert(
        self, connection: AsyncConnection, table: Table, key: tuple[str, ...], rows: list[dict[str, Any]]
    ) -> None:
        if rows:
            await connection.execute(self._upserting(table, key), rows)

    def _upserting(self, table: Table, key: tuple[str, ...]) -> Insert:
        query = self._insert(table)
        others = {column.name: query.excluded[column.name] for column in table.c if column.name not in key}
        upsert: Insert = query.on_conflict_do_update(index_elements=list(key), set_=others)
        return upsert


async def _tell_workers(connection: AsyncConnection, macs: Iterable[str]) -> None:
    """A pin counts on connections that are open already: each worker looks at its devices again."""
    revision = schema.revision.c.value
    number = (
        await connection.execute(update(schema.revision).values(value=revision + 1).returning(revision))
    ).scalar_one()
    rows = [{"revision": number, "scope": Scope.DEVICE.value, "key": mac} for mac in macs]
    await connection.execute(insert(schema.change), rows)


async def _write_modern(connection: AsyncConnection, macs: Iterable[str]) -> None:
    device = schema.device.c
    for some in _chunks(sorted(macs)):
        query = update(schema.device).where(device.mac.in_(some), device.seen_modern.is_(False))
        await connection.execute(query.values(seen_modern=True))


def _chunks(items: list[T]) -> Iterator[list[T]]:
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))


def _fetch_row(one: FetchRecord) -> dict[str, Any]:
    """Plain values only: SQLite's driver looks for an adapter for each that is of a class of ours."""
    return {
        "mac": str(one.mac),
        "file": one.file,
        "at": one.at,
        "status": one.status,
        "size": one.size,
        "digest": one.digest,
        "proof": one.proof.value,
        "listener": one.listener.value,
        "tls_version": one.tls_version,
        "firmware": one.firmware,
    }


def _seen_row(mac: str, one: _Seen) -> dict[str, Any]:
    return {
        "mac": mac,
        "vendor": one.vendor,
        "model": one.model,
        "address": one.address,
        "first_at": one.first,
        "last_at": one.last,
        "times": one.times,
    }


def _pinned(mac: str, pin: _Pin) -> Event:
    details = {"spki": pin.spki, "not_after": pin.not_after}
    return Event("pin_set", pin.at, mac, actor="server", details=details)


def _mismatch(mac: str, came: str, pinned: str, at: float) -> Event:
    details = {"came": came, "pinned": pinned, "reason": "a second unique key for a device that has one"}
    return Event("pin_mismatch", at, mac, "alarm", "server", details)
