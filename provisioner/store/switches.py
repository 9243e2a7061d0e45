"""Rows of switches; what opens them is sealed, and read by who asks a switch alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.model import Mac
from provisioner.store import schema
from provisioner.store.secretbox import SecretBox

_S: Final = schema.switch.c
_D: Final = schema.device.c


@dataclass(frozen=True, slots=True)
class Switch:
    """A switch, without what opens it."""

    id: str
    account: str
    site: str
    """Empty: of the whole account."""
    name: str
    address: str
    port: int
    rule: str
    ports: str
    """PoE ports that an administrator has confirmed, as JSON."""
    writable: bool
    """Whether it has a second credential."""
    created: float


_PLAIN: Final = ("id", "account", "name", "address", "port", "rule", "ports", "created")
_COLUMNS: Final = (*(_S[name] for name in _PLAIN), _S.site, _S.write.is_not(None).label("writable"))


def _switch(row: Row[Any]) -> Switch:
    values = {name: getattr(row, name) for name in _PLAIN}
    return Switch(**values, site=row.site or "", writable=bool(row.writable))


async def insert_switch(connection: AsyncConnection, one: Switch, read: bytes, write: bytes | None) -> None:
    """A new switch; what opens it comes sealed."""
    values = {name: getattr(one, name) for name in _PLAIN} | {"site": one.site or None, "read": read, "write": write}
    await connection.execute(insert(schema.switch).values(values))


async def find_switches(connection: AsyncConnection, ref: str, account: str = "") -> list[Switch]:
    """Switches with this id or name."""
    query = select(*_COLUMNS).where(or_(_S.id == ref, _S.name == ref)).order_by(_S.id)
    query = query.where(_S.account == account) if account else query
    return [_switch(row) for row in await connection.execute(query)]


async def list_switches(
    connection: AsyncConnection, account: str = "", site: str = "", *, after: tuple[str, str] = ("", ""), limit: int = 0
) -> list[Switch]:
    """By name; of a site also those of its whole account where ``account`` is given with it."""
    query = select(*_COLUMNS).order_by(_S.name, _S.id)
    query = query.where(_S.account == account) if account else query
    query = query.where(or_(_S.site == site, _S.site.is_(None))) if site else query
    if after != ("", ""):
        query = query.where(or_(_S.name > after[0], (_S.name == after[0]) & (_S.id > after[1])))
    return [_switch(row) for row in await connection.execute(query.limit(limit) if limit else query)]


async def switches_for(connection: AsyncConnection, mac: Mac) -> list[Switch]:
    """Where a device may be plugged in: at its site, or wherever its account has switches if it has no site."""
    found = (await connection.execute(select(_D.account, _D.site).where(_D.mac == mac))).first()
    return [] if found is None else await list_switches(connection, found.account, found.site or "")


async def count_at(connection: AsyncConnection, site: str) -> int:
    """How many a site has."""
    return int((await connection.execute(select(func.count()).where(_S.site == site))).scalar_one())


async def write_switch(connection: AsyncConnection, ident: str, values: Mapping[str, object]) -> None:
    """Change what is given."""
    await connection.execute(update(schema.switch).where(_S.id == ident).values(dict(values)))


async def delete_switch(connection: AsyncConnection, ident: str) -> None:
    """Forget it."""
    await connection.execute(delete(schema.switch).where(_S.id == ident))


async def sealed_of(connection: AsyncConnection, idents: Sequence[str]) -> dict[str, tuple[bytes, bytes | None]]:
    """What opens them, sealed as it is kept: to read, and to change (None: nothing)."""
    rows = await connection.execute(select(_S.id, _S.read, _S.write).where(_S.id.in_(idents)))
    return {row.id: (row.read, row.write) for row in rows}


def seal(box: SecretBox, secret: bytes, ident: str, column: str) -> bytes:
    """As it is kept."""
    return box.seal(secret, "switch", ident, column)


def opened(box: SecretBox, sealed: bytes, ident: str, column: str) -> bytes:
    """The same back."""
    return box.open(sealed, "switch", ident, column)
