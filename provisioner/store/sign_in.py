"""Rows of signing in: sessions, one-time links, places and budgets; a token is only ever stored as its hash.

Whatever is one-time or counted is one statement that says whether it won, so attempts at the same moment cannot share
what is left. Budgets are numbers in the database: a restart forgets none.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, case, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.sign_in_rules import Pace
from provisioner.store import schema_rights

_S: Final = schema_rights.session.c
_L: Final = schema_rights.login_link.c
_B: Final = schema_rights.login_budget.c
_P: Final = schema_rights.login_place.c


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in somewhere."""

    id: str
    administrator: str
    created: float
    seen: float
    expires: float
    factors: int
    """1: the password; 2: a code as well."""
    address: str
    agent: str
    proved: float = 0.0
    """When the password was given in it last."""


def finder_of(token: str) -> str:
    """What a random token of 256 bits is found by; nobody guesses it back."""
    return hashlib.sha256(token.encode()).hexdigest()


def _session(row: Row[Any]) -> Session:
    return Session(
        row.id, row.administrator, row.created, row.seen, row.expires, row.factors, row.address, row.agent, row.proved
    )


async def insert_session(connection: AsyncConnection, token: str, one: Session) -> None:
    """Somebody has signed in."""
    values = {name: getattr(one, name) for name in Session.__dataclass_fields__}
    await connection.execute(insert(schema_rights.session).values(**values, finder=finder_of(token)))


async def find_session(connection: AsyncConnection, token: str, now: float, idle: float) -> Session | None:
    """The session of a token, unless it is over."""
    query = select(schema_rights.session).where(_S.finder == finder_of(token), _S.expires > now, _S.seen > now - idle)
    row = (await connection.execute(query)).first()
    return None if row is None else _session(row)


async def list_sessions(connection: AsyncConnection, administrator: str, now: float, idle: float) -> list[Session]:
    """Where somebody is signed in, the latest first."""
    query = select(schema_rights.session).where(_S.administrator == administrator, _S.expires > now)
    rows = await connection.execute(query.where(_S.seen > now - idle).order_by(_S.seen.desc(), _S.id))
    return [_session(row) for row in rows]


async def touch_session(connection: AsyncConnection, ident: str, now: float) -> None:
    """It was used."""
    await connection.execute(update(schema_rights.session).where(_S.id == ident, _S.seen < now).values(seen=now))


async def renew_session(connection: AsyncConnection, old: str, new: str, now: float) -> bool:
    """The same session under another token, after whoever has it was proven; whether it was there."""
    query = update(schema_rights.session).where(_S.finder == finder_of(old))
    return (await connection.execute(query.values(finder=finder_of(new), proved=now))).rowcount == 1


async def end_session(connection: AsyncConnection, token: str) -> str:
    """End one; whose it was, empty when there was none."""
    query = delete(schema_rights.session).where(_S.finder == finder_of(token)).returning(_S.administrator)
    return str((await connection.execute(query)).scalar_one_or_none() or "")


async def end_sessions(connection: AsyncConnection, administrator: str, *, but: str = "") -> int:
    """End all of somebody's, or all but the one with this token; how many."""
    query = delete(schema_rights.session).where(_S.administrator == administrator)
    query = query.where(_S.finder != finder_of(but)) if but else query
    return (await connection.execute(query)).rowcount


# --- links --------------------------------------------------------------------------------------------


async def insert_link(connection: AsyncConnection, token: str, administrator: str, expires: float, actor: str) -> None:
    """A link that lets somebody set a password; the one before is worth nothing from now on."""
    await connection.execute(delete(schema_rights.login_link).where(_L.administrator == administrator))
    values = {"finder": finder_of(token), "administrator": administrator, "expires": expires, "actor": actor}
    await connection.execute(insert(schema_rights.login_link).values(values))


async def find_link(connection: AsyncConnection, token: str, now: float) -> str:
    """Whose it is; empty when it is nobody's any more."""
    query = select(_L.administrator).where(_L.finder == finder_of(token), _L.expires > now)
    return str((await connection.execute(query)).scalar_one_or_none() or "")


async def use_link(connection: AsyncConnection, token: str, now: float) -> str:
    """Use it up; whose it was, empty when it was none."""
    query = delete(schema_rights.login_link).where(_L.finder == finder_of(token), _L.expires > now)
    return str((await connection.execute(query.returning(_L.administrator))).scalar_one_or_none() or "")


# --- budgets and places -------------------------------------------------------------------------------


async def take(connection: AsyncConnection, key: str, pace: Pace, now: float) -> bool:
    """Take one attempt; whether there was one left. GCRA (as in ``gcra``) in one statement."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    latest = now + 2 * pace.ahead  # a clock that was put back makes nobody wait for ever
    held = case((_B.turn > latest, now), (_B.turn > now, _B.turn), else_=now)
    query = dialect.insert(schema_rights.login_budget).values(key=key, turn=now + pace.interval)
    query = query.on_conflict_do_update(
        index_elements=["key"],
        set_={"turn": held + pace.interval},
        where=held + pace.interval - pace.ahead <= now + _ROUNDING,
    )
    return (await connection.execute(query.returning(_B.turn))).first() is not None


_ROUNDING: Final = 1e-6


async def give_back(connection: AsyncConnection, key: str, pace: Pace) -> None:
    """An attempt that was right costs nothing."""
    await connection.execute(
        update(schema_rights.login_budget).where(_B.key == key).values(turn=_B.turn - pace.interval)
    )


async def turn_of(connection: AsyncConnection, key: str) -> float:
    """When it is a budget's turn; 0 where nothing is known of it."""
    return float((await connection.execute(select(_B.turn).where(_B.key == key))).scalar_one_or_none() or 0.0)


async def is_known(connection: AsyncConnection, administrator: str, place: str) -> bool:
    """Whether somebody has signed in from there before."""
    query = select(_P.at).where(_P.administrator == administrator, _P.place == place)
    return (await connection.execute(query)).first() is not None


async def note_place(connection: AsyncConnection, administrator: str, place: str, now: float, keep: int) -> None:
    """Remember it, and forget those that were used least lately beyond ``keep``."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    query = dialect.insert(schema_rights.login_place).values(administrator=administrator, place=place, at=now)
    await connection.execute(query.on_conflict_do_update(index_elements=["administrator", "place"], set_={"at": now}))
    newest = select(_P.place).where(_P.administrator == administrator).order_by(_P.at.desc(), _P.place).limit(keep)
    places = (await connection.execute(newest)).scalars().all()
    old = delete(schema_rights.login_place).where(_P.administrator == administrator, _P.place.not_in(places))
    await connection.execute(old)


async def tidy(connection: AsyncConnection, now: float, idle: float) -> int:
    """Forget what says nothing any more; how many sessions, links and budgets."""
    count = 0
    for query in (
        delete(schema_rights.session).where((_S.expires <= now) | (_S.seen <= now - idle)),
        delete(schema_rights.login_link).where(_L.expires <= now),
        delete(schema_rights.login_budget).where(_B.turn <= now),
    ):
        count += (await connection.execute(query)).rowcount
    return count
