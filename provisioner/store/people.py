"""Rows of accounts, sites, users and extensions: found by id or by the name people use, never more than asked."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, Select, Table, bindparam, case, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.places import Address, UserKind
from provisioner.store import schema
from provisioner.store.hook_queue import UNBOUND
from provisioner.store.rows import Account, Extension, Site, User

_TOGETHER: Final = 500
"""Ids in one question."""
_CALLED: Final = (
    (schema.account, "name"), (schema.site, "name"), (schema.user, "name"), (schema.extension, "number"),
)  # fmt: skip
_ALPHABET: Final = "23456789abcdefghjkmnpqrstuvwxyz"
_X: Final = schema.extension.c
_EXTENSION: Final = tuple(schema.extension.c[name] for name in Extension.__dataclass_fields__)
_MEANT: Final = select(*_EXTENSION).where(
    or_(schema.extension.c.id == bindparam("of"), schema.extension.c.number == bindparam("of"))
)
_MEANT_IN: Final = _MEANT.where(schema.extension.c.account == bindparam("of_account"))


def new_id() -> str:
    """A short id nobody mistypes: 12 of 31 characters, 59 bits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(12))


def _wanted(table: Table, ref: str, name: str, account: str = "") -> Select[*tuple[Any, ...]]:
    """Rows whose id or name is ``ref``, in one account when it is given."""
    query = select(table).where(or_(table.c.id == ref, table.c[name] == ref))
    return query.where(table.c.account == account) if account else query


async def find_accounts(connection: AsyncConnection, ref: str) -> list[Account]:
    """Accounts that ``ref`` can mean, by id or name."""
    rows = await connection.execute(_wanted(schema.account, ref, "name"))
    return [_account(row) for row in rows]


async def names_of(connection: AsyncConnection, idents: Collection[str]) -> dict[str, str]:
    """What people call these accounts, sites, users and extensions; an id that is none of them is left out."""
    found: dict[str, str] = {}
    asked = sorted(idents)
    for at in range(0, len(asked), _TOGETHER):
        some = asked[at : at + _TOGETHER]
        for table, column in _CALLED:
            rows = await connection.execute(select(table.c.id, table.c[column]).where(table.c.id.in_(some)))
            found.update((row[0], row[1]) for row in rows)
    return found


async def list_accounts(connection: AsyncConnection) -> list[Account]:
    """All accounts by name."""
    rows = await connection.execute(select(schema.account).order_by(schema.account.c.name))
    return [_account(row) for row in rows]


def _account(row: Row[Any]) -> Account:
    return Account(row.id, row.name, row.created, row.parent or "")


async def insert_account(connection: AsyncConnection, one: Account) -> None:
    """A new account."""
    values = {"id": one.id, "name": one.name, "created": one.created, "parent": one.parent or None}
    await connection.execute(insert(schema.account).values(values))


async def write_parent(connection: AsyncConnection, ident: str, parent: str) -> None:
    """Which account it is below; empty: none."""
    query = update(schema.account).where(schema.account.c.id == ident)
    await connection.execute(query.values(parent=parent or None))


async def rename_account(connection: AsyncConnection, ident: str, name: str) -> None:
    """Another name for it."""
    await connection.execute(update(schema.account).where(schema.account.c.id == ident).values(name=name))


async def contents(connection: AsyncConnection, account: str) -> Mapping[str, int]:
    """How many of what an account still has."""
    tables = {
        "sites": schema.site, "users": schema.user, "extensions": schema.extension, "devices": schema.device,
        "licenses": schema.license, "phone numbers": schema.phone_number, "switches": schema.switch,
    }  # fmt: skip
    counts = {
        word: (await connection.execute(_count(table, "account", account))).scalar_one()
        for word, table in tables.items()
    }
    counts["child accounts"] = (await connection.execute(_count(schema.account, "parent", account))).scalar_one()
    return {word: count for word, count in counts.items() if count}


def _count(table: Table, column: str, value: str) -> Select[int]:
    return select(func.count()).select_from(table).where(table.c[column] == value)


async def delete_row(connection: AsyncConnection, table: Table, ident: str) -> None:
    """Remove one row by id."""
    await connection.execute(delete(table).where(table.c.id == ident))


async def find_sites(connection: AsyncConnection, ref: str, account: str = "") -> list[Site]:
    """Sites that ``ref`` can mean, by id or name."""
    rows = await connection.execute(_wanted(schema.site, ref, "name", account))
    return [site_in(row) for row in rows]


def site_in(row: Row[Any]) -> Site:
    """A row of the table, without time zone and range, which stand elsewhere."""
    address = _address(row)
    notify, networks = tuple(row.notify.split()), tuple(row.networks.split())
    return Site(row.id, row.account, row.name, address=address, location=row.location, notify=notify, networks=networks)


def _address(row: Row[Any]) -> Address:
    return Address(row.street, row.city, row.region, row.postal_code, row.country)


async def write_site(connection: AsyncConnection, one: Site) -> None:
    """What a site says of itself."""
    address = {name: getattr(one.address, name) for name in Address.__dataclass_fields__}
    more = {"location": one.location, "notify": " ".join(one.notify), "networks": " ".join(one.networks)}
    query = update(schema.site).where(schema.site.c.id == one.id)
    await connection.execute(query.values(name=one.name, **address, **more))


async def list_sites(connection: AsyncConnection, account: str = "") -> list[Site]:
    """Sites by name, without their time zones."""
    query = select(schema.site).order_by(schema.site.c.name)
    rows = await connection.execute(query.where(schema.site.c.account == account) if account else query)
    return [site_in(row) for row in rows]


async def insert_site(connection: AsyncConnection, one: Site) -> None:
    """A new site."""
    await connection.execute(insert(schema.site).values(id=one.id, account=one.account, name=one.name))


async def devices_at(connection: AsyncConnection, site: str) -> int:
    """How many devices stand at a site."""
    return (await connection.execute(_count(schema.device, "site", site))).scalar_one()


async def find_users(connection: AsyncConnection, ref: str, account: str = "") -> list[User]:
    """Users that ``ref`` can mean, by id, name or e-mail address."""
    table = schema.user
    query = select(table).where(or_(table.c.id == ref, table.c.name == ref, (table.c.email == ref) & (ref != "")))
    rows = await connection.execute(query.where(table.c.account == account) if account else query)
    return [user_in(row) for row in rows]


def user_in(row: Row[Any]) -> User:
    """A row of the table."""
    return User(row.id, row.account, row.name, row.email, UserKind(row.kind), _address(row), row.location)


async def write_user(connection: AsyncConnection, one: User) -> None:
    """Another name, kind or address."""
    address = {name: getattr(one.address, name) for name in Address.__dataclass_fields__}
    query = update(schema.user).where(schema.user.c.id == one.id)
    await connection.execute(query.values(name=one.name, kind=one.kind.value, location=one.location, **address))


async def list_users(connection: AsyncConnection, account: str = "") -> list[User]:
    """Users by name."""
    query = select(schema.user).order_by(schema.user.c.name, schema.user.c.id)
    rows = await connection.execute(query.where(schema.user.c.account == account) if account else query)
    return [user_in(row) for row in rows]


async def insert_user(connection: AsyncConnection, one: User) -> None:
    """A new user."""
    values = {"id": one.id, "account": one.account, "name": one.name, "email": one.email, "kind": one.kind.value}
    await connection.execute(insert(schema.user).values(values))


async def write_email(connection: AsyncConnection, ident: str, email: str) -> None:
    """Another mail address of a user; empty: none."""
    await connection.execute(update(schema.user).where(schema.user.c.id == ident).values(email=email))


async def find_extensions(connection: AsyncConnection, ref: str, account: str = "") -> list[Extension]:
    """Extensions that ``ref`` can mean, by id or number."""
    asked = {"of": ref} | ({"of_account": account} if account else {})
    return [Extension(*row) for row in await connection.execute(_MEANT_IN if account else _MEANT, asked)]


async def list_extensions(connection: AsyncConnection, account: str = "", user: str = "") -> list[Extension]:
    """Extensions by number."""
    table = schema.extension
    query = select(*_EXTENSION).order_by(table.c.number, table.c.id)
    query = query.where(table.c.account == account) if account else query
    rows = await connection.execute(query.where(table.c.user == user) if user else query)
    return [Extension(*row) for row in rows]


MADE: Final = "made"
GIVEN: Final = "given"
SEVERAL: Final = "*"
_WHOLE: Final = {UNBOUND: True}
"""Whoever may bind an extension has its secret follow by that, also where they may not change the extension itself."""


class SecretLife(NamedTuple):
    """What is known of a SIP secret beside itself."""

    origin: str
    """MADE here, or GIVEN by whoever dictates it."""
    left: str
    """The phone that has had it and has the extension no more; SEVERAL of them, or none (empty)."""
    at: float | None
    """When it became what it is; None where that was before anybody kept it."""


def origin_of(secret: str) -> str:
    """Where a secret comes from that somebody gives, or leaves to be made."""
    return GIVEN if secret else MADE


async def insert_extension(
    connection: AsyncConnection, one: Extension, sealed: bytes, *, origin: str, at: float
) -> None:
    """A new extension with its sealed SIP secret."""
    values = {name: getattr(one, name) for name in Extension.__dataclass_fields__}
    about = {"secret": sealed, "secret_origin": origin, "secret_at": at}
    await connection.execute(insert(schema.extension).values(**values, **about))


async def write_extension(connection: AsyncConnection, one: Extension) -> None:
    """Whose it is, and what phones show and send for it."""
    query = update(schema.extension).where(schema.extension.c.id == one.id)
    await connection.execute(query.values(user=one.user, display_name=one.display_name, auth_user=one.auth_user))


async def write_secret(connection: AsyncConnection, ident: str, sealed: bytes, *, origin: str, at: float) -> None:
    """Another sealed SIP secret, which no phone has yet."""
    values = {"secret": sealed, "secret_origin": origin, "secret_left": "", "secret_at": at}
    await connection.execute(update(schema.extension).where(_X.id == ident).values(values))


async def rotate_secret(connection: AsyncConnection, ident: str, sealed: bytes, at: float) -> None:
    """The same for one that is made here because a phone still knows the last one."""
    values = {"secret": sealed, "secret_origin": MADE, "secret_left": "", "secret_at": at}
    query = update(schema.extension).where(_X.id == ident).values(values)
    await connection.execute(query.execution_options(**_WHOLE))


async def note_left(connection: AsyncConnection, ident: str, mac: str) -> None:
    """A phone that knows the secret has lost the extension; whether it is one or several is all that is kept."""
    left = case((_X.secret_left.in_(("", mac)), mac), else_=SEVERAL)
    query = update(schema.extension).where(_X.id == ident).values(secret_left=left)
    await connection.execute(query.execution_options(**_WHOLE))


async def note_back(connection: AsyncConnection, ident: str, mac: str) -> None:
    """It has the extension again."""
    query = update(schema.extension).where(_X.id == ident, _X.secret_left == mac).values(secret_left="")
    await connection.execute(query.execution_options(**_WHOLE))


async def secret_life(connection: AsyncConnection, ident: str) -> SecretLife:
    """Of an extension within reach."""
    query = select(_X.secret_origin, _X.secret_left, _X.secret_at).where(_X.id == ident)
    return SecretLife(*(await connection.execute(query)).one())


async def read_secret(connection: AsyncConnection, ident: str) -> bytes:
    """The sealed SIP secret."""
    query = select(schema.extension.c.secret).where(schema.extension.c.id == ident)
    return bytes((await connection.execute(query)).scalar_one())
