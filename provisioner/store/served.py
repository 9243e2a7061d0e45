"""When a device is sent another configuration than it had: told from the batch that puts the fetch down anyway.

A storm in which nothing has changed tells nothing: only devices that were behind a change are looked at, and of those
only whose files are not the same as before. Without an endpoint that asks for it nothing is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.model import Event, Mac
from provisioner.store import schema
from provisioner.store.hook_queue import is_heard
from provisioner.store.resync import latest_shared
from provisioner.store.standing import Served

KIND: Final = "config_served"
_D: Final = schema.device.c
_F: Final = schema.last_fetch.c
_FEW: Final = 400


async def others_than_before(connection: AsyncConnection, served: Mapping[str, Served]) -> dict[str, Served]:
    """Devices that were sent a file that is another than the last one of its name; ask before these are written."""
    sent = {mac: one for mac, one in served.items() if one.files}
    if not sent or not await is_heard(connection, KIND):
        return {}
    had: dict[tuple[str, str], str] = {}
    for few in _few(sorted(sent)):
        rows = await connection.execute(select(_F.mac, _F.file, _F.digest).where(_F.mac.in_(few)))
        had |= {(mac, file): digest for mac, file, digest in rows}
    return {mac: one for mac, one in sent.items() if any(had.get((mac, file)) != sha for file, sha in one.files)}


async def told_current(connection: AsyncConnection, others: Mapping[str, Served]) -> list[Event]:
    """Those of them that have all that is wanted now, as events; ask once it is written how far they are."""
    found: list[Event] = []
    for few in _few(sorted(others)):
        upto = func.coalesce(_D.served, -1)
        query = select(_D.mac, _D.served).where(_D.mac.in_(few), _D.changed <= upto, latest_shared() <= upto)
        for mac, revision in await connection.execute(query.order_by(_D.mac)):
            one = others[mac]
            told = {"revision": str(revision), "files": ", ".join(file for file, _ in one.files)}
            found.append(Event(KIND, one.at or 0.0, Mac(mac), actor="device", details=told))
    return found


def _few(macs: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(macs), _FEW):
        yield macs[start : start + _FEW]
