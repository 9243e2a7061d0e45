"""Token URLs: only a keyed hash is stored, and one UPDATE says whether a fetch was still allowed."""

from __future__ import annotations

import re
import secrets
from typing import Final

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.model import Mac
from provisioner.store import schema
from provisioner.store.database import Store
from provisioner.store.rows import Token

_T: Final = schema.token.c
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{22}")


def new_token() -> str:
    """128 random bits as 22 characters that every phone takes in a URL."""
    return secrets.token_urlsafe(16)


class TokenBook:
    """The device edge's side of tokens."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def spend(self, token: str, now: float) -> Mac | None:
        """Take one fetch from the token's budget: the Mac it opens, or None; durable when it returns."""
        if not _TOKEN.fullmatch(token):
            return None
        query = (
            update(schema.token)
            .where(_T.finder.in_(self._store.box.finders(token)), _T.revoked.is_(False))
            .where(_T.opens <= now, now < _T.closes, _T.spent < _T.budget)
            .values(spent=_T.spent + 1)
            .returning(_T.mac)
        )
        async with self._store.writing() as connection:
            mac = (await connection.execute(query)).scalar_one_or_none()
        return None if mac is None else Mac(mac)


async def insert_token(connection: AsyncConnection, one: Token, finder: str) -> None:
    """A new token, by its keyed hash."""
    values = {"id": one.id, "finder": finder, "mac": one.mac, "opens": one.opened, "closes": one.expires}
    await connection.execute(insert(schema.token).values(**values, budget=one.budget))


async def list_tokens(connection: AsyncConnection, mac: Mac) -> list[Token]:
    """The tokens of a device, oldest first."""
    columns = (_T.id, _T.opens, _T.closes, _T.budget, _T.spent, _T.revoked)
    rows = await connection.execute(select(*columns).where(_T.mac == mac).order_by(_T.opens, _T.id))
    return [Token(row.id, mac, row.opens, row.closes, row.budget, row.spent, bool(row.revoked)) for row in rows]


async def revoke_tokens(connection: AsyncConnection, mac: Mac) -> int:
    """Close all tokens of a device; how many were open."""
    query = update(schema.token).where(_T.mac == mac, _T.revoked.is_(False)).values(revoked=True)
    return (await connection.execute(query)).rowcount
