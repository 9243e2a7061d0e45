"""What a batch says of devices' standing: how far their configuration is, and at which addresses they were met."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Float, bindparam, case, cast, delete, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from provisioner.model import FetchRecord, Mac
from provisioner.store import schema
from provisioner.store.engine import reading, writing
from provisioner.store.wipes import note_fetched

ADDRESSES: Final = 3
"""At which a device counts, the newest: more would let one stolen phone make a known site of every network it can
reach, and an IPv6 /48 has 65,536. A phone that moves, or is given another prefix each day, does with three."""
_SENT: Final = 200
_MOST: Final = 400_000
"""Fingerprints kept of a day's sightings, two each; 64 bytes each."""
_PART: Final = 2000
"""Rows pruned in one transaction, so that no other writer waits for long."""
_FEW: Final = 400
"""Devices in one IN list."""


class Served(NamedTuple):
    """How far a device's configuration is."""

    upto: int
    """The change up to which it has it."""
    at: float | None
    """When it was sent; None where the device had it already."""
    files: tuple[tuple[str, str], ...] = ()
    """What was sent: names and digests."""

    def after(self, before: Served | None) -> Served:
        """The same, of a device that may have been sent it before it asked again."""
        if before is None:
            return self
        files = tuple({**dict(before.files), **dict(self.files)}.items())
        return self._replace(at=before.at if self.at is None else self.at, files=files)


def served(record: FetchRecord) -> Served:
    """What a fetch of a device's own configuration says."""
    if record.status != _SENT:
        return Served(record.revision, None)
    return Served(record.revision, record.at, ((record.file, record.digest),))


async def write_served(connection: AsyncConnection, served: Mapping[str, Served], now: float) -> None:
    """A device has its configuration up to this change; an older batch that comes late takes nothing back.

    One that was sent before a worker had heard of the device's last change is what its user of before has: it leaves
    the time as it was, and where there was none, at a time before everybody's.
    """
    if not served:
        return
    device = schema.device.c
    older = device.served.is_(None) | (device.served < bindparam("upto"))
    stale = func.coalesce(device.served_at, 0.0)
    sent = cast(bindparam("sent"), Float)  # PostgreSQL asks what type a parameter is that may be NULL
    at = case((sent.is_(None), device.served_at), (device.changed > bindparam("upto"), stale), else_=sent)
    query = update(schema.device).where(device.mac == bindparam("the_mac"), older)
    query = query.values(served=bindparam("upto"), served_at=at)
    rows = [{"the_mac": mac, "upto": one.upto, "sent": one.at} for mac, one in sorted(served.items())]
    await connection.execute(query, rows)
    await note_fetched(connection, served, now)


class Sightings:
    """What need not be written again today: a device's addresses, and any beyond the third."""

    def __init__(self) -> None:
        self._day = -1
        self._known: set[int] = set()

    def __len__(self) -> int:
        """Fingerprints remembered."""
        return len(self._known)

    def is_new(self, mac: Mac, address: str, day: int) -> bool:
        """Whether to write this one; ``note`` it then."""
        if day != self._day or len(self._known) >= _MOST:
            self._day, self._known = day, set()
        return hash((mac, address)) not in self._known and hash((mac, ADDRESSES)) not in self._known

    def note(self, mac: Mac, address: str) -> None:
        """It is being written; the fingerprint of a device and a number says that it has had so many."""
        number = next(one for one in range(1, ADDRESSES + 1) if hash((mac, one)) not in self._known)
        self._known |= {hash((mac, address)), hash((mac, number))}


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


async def trim_sightings(engine: AsyncEngine, macs: Collection[str]) -> int:
    """Leave each of these devices its newest addresses; how many sightings went.

    In a transaction of its own and in the order in which workers write, so that none waits for another in a circle.
    """
    old = await _superfluous(engine, sorted(macs)) if macs else []
    if old:
        row, key = schema.sighting.c, ("mac", "address", "day")
        same = [row[name] == bindparam(f"the_{name}") for name in key]
        async with writing(engine) as connection:
            await connection.execute(delete(schema.sighting).where(*same), sorted(old, key=lambda one: [*one.values()]))
    return len(old)


async def _superfluous(engine: AsyncEngine, macs: Sequence[str]) -> list[dict[str, Any]]:
    row = schema.sighting.c
    place = func.row_number().over(partition_by=row.mac, order_by=(row.day.desc(), row.address)).label("place")
    found: list[dict[str, Any]] = []
    async with reading(engine) as connection:
        for start in range(0, len(macs), _FEW):
            few = macs[start : start + _FEW]
            placed = select(row.mac, row.address, row.day, place).where(row.mac.in_(few)).subquery().c
            query = select(placed.mac, placed.address, placed.day).where(placed.place > ADDRESSES)
            rows = await connection.execute(query)
            found += [{"the_mac": mac, "the_address": address, "the_day": day} for mac, address, day in rows]
    return found


async def trim_all(engine: AsyncEngine) -> None:
    """What ``trim_sightings`` could not see: workers that write at the same moment, or a fault right after a batch."""
    mac = schema.sighting.c.mac
    crowded = select(mac).group_by(mac).having(func.count() > ADDRESSES).limit(_PART)
    while True:
        async with reading(engine) as connection:
            macs = (await connection.execute(crowded)).scalars().all()
        if not await trim_sightings(engine, macs) or len(macs) < _PART:
            return
