"""What devices are to forget: written with the change that makes it so, and over when the device has fetched it.

Whether the device has ever been here is not asked: fetches are put down later and by a batch that may be lost, so each
is waited for. Written down too late that it was fetched does no harm: the device gets the same once more.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import case, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner import wiping
from provisioner.model import Event, Mac
from provisioner.store import schema
from provisioner.store.journal import write_events
from provisioner.wiping import EVERYTHING, Wipe

_D: Final = schema.device.c
_B: Final = schema.binding.c
_COLUMNS: Final = (_D.emptied, _D.wipe_since, _D.wiped_at, _D.replaced_by)
_OVER: Final = {"wipe_since": None, "wipe_upto": None, "wiped_at": None}
_FEW: Final = 400


async def wipe_of(connection: AsyncConnection, mac: Mac) -> Wipe:
    """How far a device is; nothing of one that is not there."""
    row = (await connection.execute(select(*_COLUMNS).where(_D.mac == mac))).one_or_none()
    if row is None:
        return Wipe()
    lines, everything = wiping.read(row.emptied)
    return Wipe(lines, everything, row.wipe_since, row.wiped_at, row.replaced_by)


async def empty_line(connection: AsyncConnection, mac: Mac, line: int, at: float, revision: int) -> None:
    """Nobody is on the line any more."""
    found = await wipe_of(connection, mac)
    text = EVERYTHING if found.everything else wiping.written([*found.lines, line])
    await _ask(connection, mac, {"emptied": text}, at, revision)


async def empty_all(connection: AsyncConnection, mac: Mac, at: float, revision: int, replaced_by: str = "") -> None:
    """Everything goes."""
    await _ask(connection, mac, {"emptied": EVERYTHING, "replaced_by": replaced_by}, at, revision)


async def _ask(connection: AsyncConnection, mac: Mac, values: dict[str, Any], at: float, revision: int) -> None:
    asked = values | {"wipe_since": at, "wipe_upto": revision, "wiped_at": None}
    await connection.execute(update(schema.device).where(_D.mac == mac).values(asked))


async def fill_line(connection: AsyncConnection, mac: Mac, emptied: Collection[int], line: int) -> None:
    """Somebody is on one of the lines that are emptied: it is told who."""
    if line in emptied:
        await _write(connection, mac, wiping.written([one for one in emptied if one != line]))


async def end_all(connection: AsyncConnection, mac: Mac, line: int = 0) -> None:
    """Serve it as any other again; its lines of before stay empty, but for one that somebody is on now."""
    held = (await connection.execute(select(_B.line).where(_B.mac == mac, _B.until.is_(None)))).scalars().all()
    had = (await connection.execute(select(_B.line).where(_B.mac == mac).distinct())).scalars().all()
    await _write(connection, mac, wiping.written(set(had) - {*held, line}))


async def _write(connection: AsyncConnection, mac: Mac, emptied: str) -> None:
    values: dict[str, Any] = {"emptied": emptied, "replaced_by": ""}
    await connection.execute(update(schema.device).where(_D.mac == mac).values(values if emptied else values | _OVER))


async def note_fetched(connection: AsyncConnection, macs: Collection[str], now: float) -> None:
    """Those of them that have got what they were to forget: their wait is over, which is told."""
    wanted = sorted(macs)
    since = case((func.coalesce(_D.served_at, 0.0) >= _D.wipe_since, _D.served_at), else_=None)
    for start in range(0, len(wanted), _FEW):
        some = _D.mac.in_(wanted[start : start + _FEW])
        waits = (_D.wipe_upto.is_not(None), _D.wiped_at.is_(None), _D.served >= _D.wipe_upto)
        if (await connection.execute(select(_D.mac).where(some, *waits).limit(1))).first() is None:
            continue
        query = update(schema.device).where(some, *waits)
        query = query.values(wiped_at=func.coalesce(since, case((_D.wipe_since > now, _D.wipe_since), else_=now)))
        rows = await connection.execute(query.returning(_D.mac, _D.emptied, _D.wiped_at))
        await write_events(connection, [_fetched(row.mac, row.emptied, row.wiped_at) for row in rows])


def _fetched(mac: str, emptied: str, at: float) -> Event:
    lines = "all" if emptied == EVERYTHING else emptied
    return Event("wipe_fetched", at, mac, actor="device", details={"lines": lines})
