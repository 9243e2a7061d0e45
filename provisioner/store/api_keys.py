"""Rows of keys of the API: found by a hash of the key, which is shown once and stored nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, bindparam, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.store import schema_rights
from provisioner.store.sign_in import finder_of

_K: Final = schema_rights.api_key.c


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is listed: everything but the key."""

    id: str
    name: str
    prefix: str
    """How it begins, to know it again."""
    scopes: tuple[str, ...]
    """Rights."""
    accounts: tuple[str, ...]
    """Ids; empty: wherever its maker reaches."""
    administrator: str
    """Whose it is; empty: made on the machine itself, and nobody's."""
    created: float
    expires: float | None
    used: float | None
    revoked: bool
    actor: str


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        row.id, row.name, row.prefix, tuple(row.scopes.split()), tuple(row.accounts.split()), row.administrator or "",
        row.created, row.expires, row.used, row.revoked, row.actor,
    )  # fmt: skip


async def insert_key(connection: AsyncConnection, text: str, one: ApiKey) -> None:
    """A key more."""
    values = {name: getattr(one, name) for name in ApiKey.__dataclass_fields__}
    values |= {"scopes": " ".join(one.scopes), "accounts": " ".join(one.accounts)}
    values |= {"administrator": one.administrator or None, "finder": finder_of(text)}
    await connection.execute(insert(schema_rights.api_key).values(values))


async def find_key(connection: AsyncConnection, text: str) -> ApiKey | None:
    """The key with this text, revoked and expired ones as well."""
    row = (await connection.execute(select(schema_rights.api_key).where(_K.finder == finder_of(text)))).first()
    return None if row is None else _key(row)


async def keys_named(connection: AsyncConnection, ref: str) -> list[ApiKey]:
    """By id, or how it begins, or name."""
    query = select(schema_rights.api_key).where(or_(_K.id == ref, _K.prefix == ref, _K.name == ref))
    return [_key(row) for row in await connection.execute(query.order_by(_K.created, _K.id))]


async def key_with(connection: AsyncConnection, ident: str) -> ApiKey | None:
    """The key with this id."""
    row = (await connection.execute(select(schema_rights.api_key).where(_K.id == ident))).one_or_none()
    return None if row is None else _key(row)


async def list_keys(connection: AsyncConnection) -> list[ApiKey]:
    """All of them, the newest first."""
    query = select(schema_rights.api_key).order_by(_K.created.desc(), _K.id)
    return [_key(row) for row in await connection.execute(query)]


async def revoke_key(connection: AsyncConnection, ident: str) -> bool:
    """Whether it could be used until now."""
    query = update(schema_rights.api_key).where(_K.id == ident, _K.revoked.is_(False)).values(revoked=True)
    return (await connection.execute(query)).rowcount == 1


async def note_used(connection: AsyncConnection, used: Mapping[str, float]) -> None:
    """When each was used last."""
    query = update(schema_rights.api_key).where(_K.id == bindparam("the_id")).values(used=bindparam("at"))
    await connection.execute(query, [{"the_id": ident, "at": at} for ident, at in sorted(used.items())])
