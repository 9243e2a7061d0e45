"""Token URLs: only a keyed hash is stored, and one UPDATE says whether a fetch was still allowed.

Anybody can send words that look like a token. So what cannot be one is refused at once, what was none a moment ago is
remembered, a read that holds up nobody comes before the UPDATE, and few may use the connections at the same time.
"""

from __future__ import annotations

import asyncio
import math
import re
import secrets
import sqlite3
import weakref
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import ColumnElement, Float, bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.errors import StoreFailed
from provisioner.model import Mac
from provisioner.store import schema
from provisioner.store.database import Store
from provisioner.store.engine import failing_clearly, is_sqlite, plain_sql, read_only, reading
from provisioner.store.rows import Token

_T: Final = schema.token.c
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{21}[AQgw]")
"""22 characters hold 132 bits and a token has 128, so the last one is one of four (RFC 4648 section 5)."""
AT_ONCE: Final = 2
"""Connections of the pool that tokens may hold, of the four that are kept: the rest is for uploads and first files."""
WAITING: Final = 256
"""Look-ups that may wait for one of those; at half a millisecond each the last waits less than a tenth of a second."""
FORGOTTEN: Final = 10.0
"""s an unknown or used up token is remembered: a token whose time begins meanwhile works so much later at most."""
REMEMBERED: Final = 4096
"""Such tokens a worker; the oldest go first."""


def _open_at(now: ColumnElement[float] | float) -> ColumnElement[bool]:
    return _T.revoked.is_(False) & (_T.opens <= now) & (now < _T.closes) & (_T.spent < _T.budget)


_FOUND: Final = select(_T.id).where(_T.finder == bindparam("finder"), _open_at(bindparam("now", type_=Float)))
_FOUND_SQL: Final = plain_sql(_FOUND)


def new_token() -> str:
    """128 random bits as 22 characters that every phone takes in a URL."""
    return secrets.token_urlsafe(16)


class TokenBook:
    """The device edge's side of tokens."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._unknown: OrderedDict[str, float] = OrderedDict()
        """When each was none."""
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._reader: sqlite3.Connection | None = None
        """SQLite's, as Views has one: opened by the first look and closed when nobody holds the book any more."""

    async def spend(self, token: str, now: float) -> Mac | None:
        """Take one fetch from the token's budget: the Mac it opens, or None; durable when it returns."""
        if not _TOKEN.fullmatch(token) or 0 <= now - self._unknown.get(token, -math.inf) < FORGOTTEN:
            return None
        mac = await self._spend(token, now)
        if mac is None:
            self._remember(token, now)
        return mac

    def _remember(self, token: str, now: float) -> None:
        self._unknown.pop(token, None)
        self._unknown[token] = now
        if len(self._unknown) > REMEMBERED:
            self._unknown.popitem(last=False)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One of the few that may use the pool; StoreFailed at once where too many wait already."""
        if self._waiting >= WAITING:
            raise StoreFailed(f"{self._waiting} token look-ups wait for the database already")
        self._waiting += 1
        try:
            async with self._turns:
                yield
        finally:
            self._waiting -= 1

    async def _spend(self, token: str, now: float) -> Mac | None:
        await asyncio.sleep(0)  # a request may be begun outside of a Task, which waiting for a connection needs
        for finder in self._store.box.finders(token):
            if await self._is_open(finder, now):
                return await self._take(finder, now)
        return None

    async def _take(self, finder: str, now: float) -> Mac | None:
        query = update(schema.token).where(_T.finder == finder, _open_at(now))
        query = query.values(spent=_T.spent + 1)
        async with self._turn(), self._store.writing() as connection:
            mac = (await connection.execute(query.returning(_T.mac))).scalar_one_or_none()
        return None if mac is None else Mac(mac)

    async def _is_open(self, finder: str, now: float) -> bool:
        """Whether there may be something to spend; takes no lock, and on SQLite no connection of the pool."""
        values = {"finder": finder, "now": now}
        with failing_clearly():
            if is_sqlite(self._store.url):
                return self._connected().execute(_FOUND_SQL, values).fetchone() is not None
            engine = self._store.engine.execution_options(isolation_level="AUTOCOMMIT")
            async with self._turn(), reading(engine) as connection:
                return (await connection.execute(_FOUND, values)).first() is not None

    def _connected(self) -> sqlite3.Connection:
        if self._reader is None:
            self._reader = read_only(self._store.url)
            weakref.finalize(self, self._reader.close)
        return self._reader


async def insert_token(connection: AsyncConnection, one: Token, finder: str) -> None:
    """A new token, by its keyed hash."""
    values = {"id": one.id, "finder": finder, "mac": one.mac, "opens": one.opened, "closes": one.expires}
    await connection.execute(insert(schema.token).values(**values, budget=one.budget))


async def list_tokens(connection: AsyncConnection, mac: Mac) -> list[Token]:
    """The tokens of a device, oldest first."""
    columns = (_T.id, _T.opens, _T.closes, _T.budget, _T.spent, _T.revoked)
    rows = await connection.execute(select(*columns).where(_T.mac == mac).order_by(_T.opens, _T.id))
    return [Token(row.id, mac, row.opens, row.closes, row.budget, row.spent, bool(row.revoked)) for row in rows]


async def count_open_before(connection: AsyncConnection, opened: float, now: float) -> tuple[int, float]:
    """How many tokens opened until then still work, and until when the last of them does."""
    query = select(func.count(), func.coalesce(func.max(_T.closes), 0.0)).where(_open_at(now), _T.opens <= opened)
    count, until = (await connection.execute(query)).one()
    return count, until


async def revoke_open_before(connection: AsyncConnection, opened: float, now: float) -> int:
    """Close the tokens that were opened until then and still work."""
    query = update(schema.token).where(_open_at(now), _T.opens <= opened).values(revoked=True)
    return (await connection.execute(query)).rowcount


async def revoke_tokens(connection: AsyncConnection, mac: Mac) -> int:
    """Close all tokens of a device; how many were open."""
    query = update(schema.token).where(_T.mac == mac, _T.revoked.is_(False)).values(revoked=True)
    return (await connection.execute(query)).rowcount
