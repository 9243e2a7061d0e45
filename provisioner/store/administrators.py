"""Rows of administrators: who there is, which roles they hold where, and what they were granted for a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Row, Select, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.roles import Right, Role
from provisioner.store import schema, schema_rights
from provisioner.store.people import new_id

_A: Final = schema_rights.administrator.c
_R: Final = schema_rights.administrator_role.c
_G: Final = schema_rights.administrator_grant.c
_C: Final = schema_rights.recovery_code.c


@dataclass(frozen=True, slots=True)
class Administrator:
    """Somebody who signs in."""

    id: str
    email: str
    name: str
    created: float
    last_at: float
    """When they signed in last; 0: never."""
    second_factor: bool


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an administrator is proven by."""

    administrator: Administrator
    password: str = field(repr=False)
    """Hashed; empty while none was set."""
    totp: bytes | None = field(repr=False)
    """Sealed seed."""
    totp_step: int


@dataclass(frozen=True, slots=True)
class HeldRole:
    """A role that somebody holds; empty fields do not restrict it."""

    id: str
    administrator: str
    role: Role
    account: str
    site: str
    user: str
    since: float
    actor: str


@dataclass(frozen=True, slots=True)
class Grant:
    """A right for a time."""

    id: str
    administrator: str
    right: Right
    account: str
    until: float
    since: float
    actor: str


def _administrator(row: Row[Any]) -> Administrator:
    return Administrator(row.id, row.email, row.name, row.created, row.last_at, row.totp is not None)


def _found(*where: Any) -> Select[*tuple[Any, ...]]:
    return select(schema_rights.administrator).where(*where)


async def find_administrator(connection: AsyncConnection, ref: str) -> Administrator | None:
    """By id or login."""
    row = (await connection.execute(_found(or_(_A.id == ref, _A.email == ref.lower())))).first()
    return None if row is None else _administrator(row)


async def read_credentials(connection: AsyncConnection, email: str) -> Credentials | None:
    """What a login is proven by."""
    row = (await connection.execute(_found(_A.email == email))).first()
    if row is None:
        return None
    return Credentials(_administrator(row), row.password, row.totp, row.totp_step)


async def list_administrators(connection: AsyncConnection) -> list[Administrator]:
    """All of them, by login."""
    return [_administrator(row) for row in await connection.execute(_found().order_by(_A.email))]


async def insert_administrator(connection: AsyncConnection, email: str, name: str, at: float) -> Administrator:
    """Somebody new, who cannot sign in before they have a password."""
    one = Administrator(new_id(), email, name, at, 0.0, second_factor=False)
    values = {"id": one.id, "email": email, "name": name, "created": at}
    await connection.execute(insert(schema_rights.administrator).values(values))
    return one


async def write_administrator(connection: AsyncConnection, ident: str, **values: object) -> None:
    """Change columns of one."""
    await connection.execute(update(schema_rights.administrator).where(_A.id == ident).values(values))


async def delete_administrator(connection: AsyncConnection, ident: str) -> None:
    """With roles, grants, sessions, links and keys, which hang on the row."""
    await connection.execute(delete(schema_rights.administrator).where(_A.id == ident))


async def use_step(connection: AsyncConnection, ident: str, step: int) -> bool:
    """Use a TOTP's step up: whether neither it nor a later one was used before."""
    query = update(schema_rights.administrator).where(_A.id == ident, _A.totp_step < step).values(totp_step=step)
    return (await connection.execute(query)).rowcount == 1


async def write_recovery(connection: AsyncConnection, ident: str, finders: Sequence[str]) -> None:
    """These codes and no others."""
    await connection.execute(delete(schema_rights.recovery_code).where(_C.administrator == ident))
    if finders:
        rows = [{"administrator": ident, "finder": one} for one in finders]
        await connection.execute(insert(schema_rights.recovery_code), rows)


async def use_recovery(connection: AsyncConnection, ident: str, finder: str) -> bool:
    """Use a recovery code up: whether it was there."""
    query = delete(schema_rights.recovery_code).where(_C.administrator == ident, _C.finder == finder)
    return (await connection.execute(query)).rowcount == 1


# --- roles and grants ---------------------------------------------------------------------------------


def _role(row: Row[Any]) -> HeldRole:
    return HeldRole(
        row.id,
        row.administrator,
        Role(row.role),
        row.account or "",
        row.site or "",
        row.user or "",
        row.since,
        row.actor,
    )


async def list_roles(connection: AsyncConnection, ident: str = "") -> list[HeldRole]:
    """Roles of one administrator or of all, the oldest first."""
    query = select(schema_rights.administrator_role).order_by(_R.since, _R.id)
    rows = await connection.execute(query.where(_R.administrator == ident) if ident else query)
    return [_role(row) for row in rows]


async def insert_role(connection: AsyncConnection, one: HeldRole) -> None:
    """A role more."""
    values = {name: getattr(one, name) or None for name in ("account", "site", "user")}
    values |= {"id": one.id, "administrator": one.administrator, "role": one.role.value}
    values |= {"since": one.since, "actor": one.actor}
    await connection.execute(insert(schema_rights.administrator_role).values(values))


async def delete_role(connection: AsyncConnection, ident: str) -> None:
    """A role less."""
    await connection.execute(delete(schema_rights.administrator_role).where(_R.id == ident))


async def count_owners(connection: AsyncConnection) -> int:
    """Administrators who own the whole installation."""
    query = select(func.count(func.distinct(_R.administrator)))
    query = query.where(_R.role == Role.OWNER.value, _R.account.is_(None), _R.site.is_(None))
    return int((await connection.execute(query)).scalar_one())


async def is_last_owner(connection: AsyncConnection, ident: str) -> bool:
    """Whether nobody else owns the whole installation."""
    query = select(_R.administrator).where(_R.role == Role.OWNER.value, _R.account.is_(None), _R.site.is_(None))
    return set((await connection.execute(query)).scalars()) == {ident}


async def list_grants(connection: AsyncConnection, now: float, ident: str = "") -> list[Grant]:
    """Grants that run."""
    query = select(schema_rights.administrator_grant).where(_G.until > now).order_by(_G.until, _G.id)
    rows = await connection.execute(query.where(_G.administrator == ident) if ident else query)
    return [
        Grant(row.id, row.administrator, Right(row.right), row.account or "", row.until, row.since, row.actor)
        for row in rows
    ]


async def insert_grant(connection: AsyncConnection, one: Grant) -> None:
    """A right for a time."""
    values = {name: getattr(one, name) for name in ("id", "administrator", "until", "since", "actor")}
    values |= {"right": one.right.value, "account": one.account or None}
    await connection.execute(insert(schema_rights.administrator_grant).values(values))


async def delete_grant(connection: AsyncConnection, ident: str) -> None:
    """End it."""
    await connection.execute(delete(schema_rights.administrator_grant).where(_G.id == ident))


async def forget_grants(connection: AsyncConnection, now: float) -> None:
    """Those that are over; the audit log knows them."""
    await connection.execute(delete(schema_rights.administrator_grant).where(_G.until <= now))


async def children_of(connection: AsyncConnection, parents: Sequence[str]) -> dict[str, frozenset[str]]:
    """All accounts below each of these, however deep."""
    account = schema.account.c
    rows = await connection.execute(select(account.id, account.parent).where(account.parent.is_not(None)))
    below: dict[str, list[str]] = {}
    for row in rows:
        below.setdefault(row.parent, []).append(row.id)
    return {parent: frozenset(_under(parent, below)) for parent in parents}


def _under(parent: str, below: dict[str, list[str]]) -> list[str]:
    found: list[str] = []
    todo = [parent]
    while todo:
        fresh = [one for one in below.get(todo.pop(), ()) if one not in found]
        found += fresh
        todo += fresh
    return found
