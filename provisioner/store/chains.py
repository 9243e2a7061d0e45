"""The certificates that devices came with: each leaf once, the CAs above it once for all, for people to look at.

The device edge puts them down after a full handshake; they are written later, in a transaction of their own, and
nothing is decided by them. Only certificates that name a device which has been added are kept, the newest so many.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sqlalchemy import delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.certificates import fingerprint, to_der, to_pem
from provisioner.errors import StoreFailed
from provisioner.model import Count, Mac, PeerCert
from provisioner.settings import Settings
from provisioner.store import schema
from provisioner.store.database import Store
from provisioner.store.engine import is_sqlite, writing

_QUEUE: Final = 1000
"""Leaves waiting to be written, 5 KiB each with their chains; one that finds no room comes with the next handshake."""
_REMEMBERED: Final = 400_000
"""Leaves that a worker knows to be written: 64 bytes each."""
_ISSUERS: Final = 256
"""Chains of CAs: each vendor has a handful."""
_CHUNK: Final = 400
"""Values in one IN list."""
_SHOWN: Final = 3
"""Certificates of a device that are told, the newest."""

_L: Final = schema.leaf.c


@dataclass(frozen=True, slots=True)
class Chain:
    """A certificate that a device came with, and what stands above it."""

    at: float
    """When it first came."""
    ders: Sequence[bytes] = field(repr=False)
    """The device's own first, the anchor last."""


class _Waiting(NamedTuple):
    mac: Mac
    chain: tuple[bytes, ...]
    at: float


class Chains:
    """One a worker."""

    def __init__(self, store: Store, settings: Settings, count: Count, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._most = settings.store_certificates
        self._count = count
        self._clock = clock
        self._insert = (sqlite if is_sqlite(store.url) else postgresql).insert
        self._written: set[int] = set()
        self._waiting: dict[int, _Waiting] = {}

    def note(self, mac: Mac, cert: PeerCert) -> None:
        """A device has proven itself with this."""
        key = hash(cert.leaf)
        if key in self._written or key in self._waiting or len(cert.chain) < 2:
            return
        if len(self._waiting) >= _QUEUE:
            self._count("store_dropped", "certificate")
            return
        self._waiting[key] = _Waiting(mac, cert.chain, self._clock())

    async def flush(self) -> None:
        """Write what waits; what cannot be written comes again with the device's next handshake."""
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        try:
            async with writing(self._store.lossy) as connection:
                macs = await _known(connection, {one.mac for one in waiting.values()})
                mine = {key: one for key, one in waiting.items() if one.mac in macs}
                if await self._write(connection, list(mine.values())):
                    await self._trim(connection)
        except StoreFailed:
            self._count("store_flush_failed", "certificates")
            return
        if len(self._written) + len(mine) > _REMEMBERED:
            self._written.clear()
        self._written |= mine.keys()

    async def _write(self, connection: AsyncConnection, waiting: Sequence[_Waiting]) -> bool:
        """Whether any of them is new."""
        rows = {fingerprint(one.chain[0]): one for one in waiting}
        rows = {key: rows[key] for key in rows.keys() - await _stored(connection, sorted(rows))}
        if not rows:
            return False
        above = await self._issuers(connection, {one.chain[1:] for one in rows.values()})
        query = self._insert(schema.leaf).on_conflict_do_nothing(index_elements=["fingerprint"])
        values = [
            {"fingerprint": key, "mac": one.mac, "at": one.at, "issuers": above[one.chain[1:]], "der": one.chain[0]}
            for key, one in sorted(rows.items())
        ]
        await connection.execute(query, values)
        return True

    async def _issuers(
        self, connection: AsyncConnection, chains: set[tuple[bytes, ...]]
    ) -> Mapping[tuple[bytes, ...], str]:
        """By which name each chain of CAs is stored; empty for one beyond the bound."""
        named = {one: hashlib.sha256(b"".join(one)).hexdigest() for one in chains}
        table = schema.issuers
        known = set((await connection.execute(select(table.c.id).limit(_ISSUERS))).scalars())
        fresh = sorted((name, one) for one, name in named.items() if name not in known)
        fresh = fresh[: max(0, _ISSUERS - len(known))]
        if fresh:
            rows = [{"id": name, "pem": b"".join(map(to_pem, one)).decode("ascii")} for name, one in fresh]
            await connection.execute(self._insert(table).on_conflict_do_nothing(index_elements=["id"]), rows)
        stored = known | {name for name, _ in fresh}
        return {one: name if name in stored else "" for one, name in named.items()}

    async def _trim(self, connection: AsyncConnection) -> None:
        """The oldest go."""
        excess = (await connection.execute(select(func.count()).select_from(schema.leaf))).scalar_one() - self._most
        if excess > 0:
            oldest = select(_L.fingerprint).order_by(_L.at, _L.fingerprint).limit(excess)
            await connection.execute(delete(schema.leaf).where(_L.fingerprint.in_(oldest)))


async def _known(connection: AsyncConnection, macs: set[Mac]) -> set[str]:
    """Those that have been added."""
    return await _found(connection, schema.device.c.mac, sorted(macs))


async def _stored(connection: AsyncConnection, fingerprints: Sequence[str]) -> set[str]:
    return await _found(connection, _L.fingerprint, fingerprints)


async def _found(connection: AsyncConnection, column: Any, values: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(values), _CHUNK):
        rows = await connection.execute(select(column).where(column.in_(values[start : start + _CHUNK])))
        found |= set(rows.scalars())
    return found


async def chains_of(connection: AsyncConnection, mac: Mac) -> list[Chain]:
    """What a device came with, the newest first."""
    above = schema.issuers.c
    query = select(_L.at, _L.der, _L.issuers).where(_L.mac == mac).order_by(_L.at.desc(), _L.fingerprint)
    rows = (await connection.execute(query.limit(_SHOWN))).all()
    named = select(above.id, above.pem).where(above.id.in_({row.issuers for row in rows}))
    pems = {ident: pem for ident, pem in await connection.execute(named)}
    return [
        Chain(row.at, (row.der, *(to_der(pems[row.issuers].encode("ascii")) if row.issuers in pems else ())))
        for row in rows
    ]
