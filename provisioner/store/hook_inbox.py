"""Rows of systems that post to this server, and of what they have posted: as it came, sealed, each message once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Row, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.errors import Conflict
from provisioner.store import schema
from provisioner.store.secretbox import SecretBox

_S: Final = schema.hook_source.c
_I: Final = schema.hook_inbox.c
_L: Final = schema.hook_latest.c
_PART: Final = 500
_WHY: Final = 300


class InboxState(StrEnum):
    """Where a message is."""

    NEW = "new"
    """Stored, and not yet looked at."""
    APPLIED = "applied"
    IGNORED = "ignored"
    """Older than what was applied, or of no interest."""
    PARKED = "parked"
    """Needs a look."""
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Source:
    """A system that posts, without its secret."""

    id: str
    name: str
    account: str
    scheme: str
    rules: str
    enabled: bool
    before_until: float
    created: float
    last_at: float | None
    author: str = ""
    """Who answers for it: whoever added it, gave it rules or a secret, or let it post last."""
    administrator: str = ""
    """Id of the one with whose rights it acts; empty: the machine's own."""
    api_key: str = ""
    """Id of the key of the API by which; empty: none."""
    orphaned: str = ""
    """Why that right is gone."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message, without what it says."""

    id: int
    source: str
    account: str
    ident: str
    state: InboxState
    action: str
    subject: str
    received: float
    occurred: float
    ended: float | None
    why: str


_SOURCE: Final = tuple(_S[name] for name in Source.__dataclass_fields__)
_RECEIVED: Final = tuple(_I[name] for name in Received.__dataclass_fields__)


def _received(row: Row[Any]) -> Received:
    values = {name: row._mapping[name] for name in Received.__dataclass_fields__}
    return Received(**values | {"state": InboxState(row.state)})


# --- sources -----------------------------------------------------------------------------------------------------


async def insert_source(connection: AsyncConnection, one: Source, sealed: bytes) -> None:
    """A new source."""
    values = {name: getattr(one, name) for name in Source.__dataclass_fields__}
    await connection.execute(insert(schema.hook_source).values(**values, secret=sealed))


async def find_source(connection: AsyncConnection, ref: str) -> Source | None:
    """The source with this id or name; a name is one source's."""
    row = (await connection.execute(select(*_SOURCE).where(or_(_S.id == ref, _S.name == ref)).order_by(_S.id))).first()
    return None if row is None else Source(*row)


async def list_sources(connection: AsyncConnection, account: str = "") -> list[Source]:
    """Sources by name."""
    query = select(*_SOURCE).order_by(_S.name)
    query = query.where(_S.account == account) if account else query
    return [Source(*row) for row in await connection.execute(query)]


async def write_source(connection: AsyncConnection, ident: str, values: Mapping[str, object]) -> None:
    """Change what is given."""
    await connection.execute(update(schema.hook_source).where(_S.id == ident).values(dict(values)))


async def delete_source(connection: AsyncConnection, ident: str) -> None:
    """Forget it with all that it has posted."""
    await connection.execute(delete(schema.hook_inbox).where(_I.source == ident))
    await connection.execute(delete(schema.hook_source).where(_S.id == ident))


async def source_secrets(connection: AsyncConnection, box: SecretBox, ident: str, now: float) -> list[str]:
    """The secrets that count now, the newest first."""
    row = (await connection.execute(select(_S.secret, _S.secret_before, _S.before_until).where(_S.id == ident))).one()
    found = [box.open(row.secret, "hook_source", ident, "secret")]
    if row.secret_before is not None and now < row.before_until:
        found.append(box.open(row.secret_before, "hook_source", ident, "secret_before"))
    return [one.decode() for one in found]


async def rotate_source(connection: AsyncConnection, box: SecretBox, ident: str, fresh: str, until: float) -> None:
    """A new secret; the one before is taken as well until then."""
    sealed = (await connection.execute(select(_S.secret).where(_S.id == ident))).scalar_one()
    before = box.seal(box.open(sealed, "hook_source", ident, "secret"), "hook_source", ident, "secret_before")
    values = {"secret": box.seal(fresh.encode(), "hook_source", ident, "secret"), "secret_before": before}
    await write_source(connection, ident, values | {"before_until": until})


# --- messages ----------------------------------------------------------------------------------------------------


def seal_body(box: SecretBox, source: str, ident: str, body: bytes) -> bytes:
    """Bound to its message."""
    return box.seal(body, "hook_inbox", f"{source}/{ident}", "body")


async def find_ident(connection: AsyncConnection, source: str, ident: str) -> Received | None:
    """The message that a source calls so."""
    row = (await connection.execute(select(*_RECEIVED).where(_I.source == source, _I.ident == ident))).first()
    return None if row is None else _received(row)


async def insert_message(
    connection: AsyncConnection, box: SecretBox, source: Source, ident: str, body: bytes, at: float
) -> int:
    """A new message; Conflict when the source has posted it already."""
    values: dict[str, object] = {"source": source.id, "account": source.account, "ident": ident}
    values |= {"state": InboxState.NEW.value, "received": at, "occurred": at}
    query = insert(schema.hook_inbox).values(**values, body=seal_body(box, source.id, ident, body))
    return int((await connection.execute(query.returning(_I.id))).scalar_one())


async def find_message(connection: AsyncConnection, ident: int) -> Received | None:
    """One message."""
    row = (await connection.execute(select(*_RECEIVED).where(_I.id == ident))).first()
    return None if row is None else _received(row)


async def read_message(connection: AsyncConnection, box: SecretBox, one: Received) -> bytes:
    """What it says, as it came."""
    sealed = (await connection.execute(select(_I.body).where(_I.id == one.id))).scalar_one()
    return box.open(sealed, "hook_inbox", f"{one.source}/{one.ident}", "body")


async def list_messages(
    connection: AsyncConnection,
    *,
    source: str = "",
    state: InboxState | None = None,
    account: str = "",
    before: int = 0,
    limit: int = 200,
) -> list[Received]:
    """Messages, the newest first."""
    query = select(*_RECEIVED).order_by(_I.id.desc()).limit(limit)
    query = query.where(_I.id < before) if before else query
    query = query.where(_I.source == source) if source else query
    query = query.where(_I.account == account) if account else query
    query = query.where(_I.state == state.value) if state else query
    return [_received(row) for row in await connection.execute(query)]


async def left_over(connection: AsyncConnection, before: float) -> list[int]:
    """Messages that were stored before then and that nobody has looked at: whoever had them died of something."""
    query = select(_I.id).where(_I.state == InboxState.NEW.value, _I.received < before).order_by(_I.id).limit(_PART)
    return list((await connection.execute(query)).scalars())


async def move_message(
    connection: AsyncConnection, ident: int, sources: Collection[InboxState], state: InboxState, **values: object
) -> Received | None:
    """One statement that says whether it won; the message as it is then."""
    query = update(schema.hook_inbox).where(_I.id == ident, _I.state.in_([one.value for one in sources]))
    row = (await connection.execute(query.values(state=state.value, **values).returning(*_RECEIVED))).first()
    return None if row is None else _received(row)


async def settle_message(
    connection: AsyncConnection, ident: int, state: InboxState, at: float, why: str, **values: object
) -> Received:
    """What came of a new message."""
    why = why[:_WHY]
    found = await move_message(connection, ident, [InboxState.NEW], state, ended=at, why=why, **values)
    if found is None:
        raise Conflict(f"message {ident} was looked at by somebody else at the same moment")
    return found


async def is_newest(connection: AsyncConnection, account: str, subject: str, occurred: float) -> bool:
    """Whether nothing newer about this subject was applied; notes it as the newest where that is so."""
    mine = (_L.account == account) & (_L.subject == subject)
    known = (await connection.execute(select(_L.occurred).where(mine))).scalar_one_or_none()
    if known is None:
        values = {"account": account, "subject": subject, "occurred": occurred}
        await connection.execute(insert(schema.hook_latest).values(**values))
        return True
    moved = update(schema.hook_latest).where(mine, _L.occurred <= occurred).values(occurred=occurred)
    return (await connection.execute(moved)).rowcount == 1


async def forget_messages(connection: AsyncConnection, before: float) -> int:
    """Forget what came before then; what needs a look as well, and when things happened."""
    old = select(_I.id).where(_I.received < before, _I.state != InboxState.NEW.value).limit(_PART)
    done = await connection.execute(delete(schema.hook_inbox).where(_I.id.in_(old)))
    await connection.execute(delete(schema.hook_latest).where(_L.occurred < before))
    return done.rowcount
