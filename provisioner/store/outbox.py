"""Rows of the outbox: written in the transaction of the change they tell of, sent later, at least once.

Whoever sends takes a message by one UPDATE that says whether it won, and has it until the lease in ``next_at`` is over;
who dies with it in hand loses nothing, as the lease ends by itself. What is settled is settled by the attempt that had
it last. A payload is sealed and bound to its row, and erased by the statement with which nobody needs it any more.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Update, delete, exists, func, insert, null, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.errors import StoreFailed
from provisioner.outbox_states import OVER, UNSETTLED, MessageEvent, MessageState, sources, target
from provisioner.store import schema
from provisioner.store.database import Change
from provisioner.store.secretbox import SecretBox

_O: Final = schema.outbox.c
_EARLIER: Final = schema.outbox.alias("earlier").c
_PART: Final = 500
"""Rows changed by one statement of the clearance."""
_LONGEST: Final = 300
_STALE: Final = "what it tells was over before it was sent"


@dataclass(frozen=True, slots=True)
class Draft:
    """A message before it has a row."""

    kind: str
    """``channel.what``: mail.welcome."""
    account: str
    subject: str
    """Messages of one subject leave in their order; empty: it waits for none."""
    payload: Mapping[str, str] = field(repr=False)
    until: float
    """When nobody needs it any more."""
    about: str = ""
    title: str = ""
    """For administrators; no secret."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it is listed: everything but what it says."""

    id: int
    kind: str
    account: str
    subject: str
    version: int
    about: str
    title: str
    state: MessageState
    attempts: int
    created: float
    next_at: float
    until: float
    ended: float | None
    last_error: str


_ROW: Final = tuple(_O[name] for name in Message.__dataclass_fields__)


def _message(row: Row[Any]) -> Message:
    values = {name: row._mapping[name] for name in Message.__dataclass_fields__}
    return Message(**values | {"state": MessageState(row.state)})


def opened(box: SecretBox, ident: int, payload: bytes) -> Mapping[str, str]:
    """What the message says; StoreFailed when the row is damaged."""
    try:
        found: Mapping[str, str] = json.loads(box.open(payload, "outbox", str(ident), "payload"))
    except ValueError as error:
        raise StoreFailed(f"outbox {ident}: payload is damaged: {type(error).__name__}") from None
    return found


async def put(change: Change, box: SecretBox, draft: Draft) -> int:
    """Queue a message as part of this change: both are durable, or neither; its number."""
    values = {name: getattr(draft, name) for name in ("kind", "account", "subject", "about", "title", "until")}
    values |= {"version": change.revision, "created": change.at, "next_at": change.at}
    query = insert(schema.outbox).values(**values, state=MessageState.QUEUED.value).returning(_O.id)
    ident = int((await change.connection.execute(query)).scalar_one())
    sealed = box.seal(json.dumps(dict(draft.payload)).encode(), "outbox", str(ident), "payload")
    await change.connection.execute(update(schema.outbox).where(_O.id == ident).values(payload=sealed))
    return ident


def _ready(now: float) -> tuple[ColumnElement[bool], ...]:
    """Due, and no earlier message of its subject is on its way."""
    states = [state.value for state in UNSETTLED]
    same = (_EARLIER.subject == _O.subject) & (_EARLIER.id < _O.id) & _EARLIER.state.in_(states)
    ahead = exists(select(_EARLIER.id).where(same).correlate(schema.outbox))
    claimable = [state.value for state in sources(MessageEvent.CLAIM)]
    return _O.state.in_(claimable), _O.next_at <= now, _O.until > now, or_(_O.subject == "", ~ahead)


async def due(connection: AsyncConnection, kinds: Collection[str], now: float, limit: int) -> Sequence[int]:
    """Messages that may be taken now, those that wait longest first."""
    query = select(_O.id).where(_O.kind.in_(kinds), *_ready(now)).order_by(_O.next_at, _O.id).limit(limit)
    return (await connection.execute(query)).scalars().all()


async def claim(connection: AsyncConnection, ident: int, now: float, lease: float) -> tuple[Message, bytes] | None:
    """Take one until ``now + lease`` with its sealed payload; None when another was quicker."""
    taken = update(schema.outbox).where(_O.id == ident, *_ready(now))
    values = {"state": target(MessageEvent.CLAIM).value, "attempts": _O.attempts + 1, "next_at": now + lease}
    row = (await connection.execute(taken.values(values).returning(*_ROW, _O.payload))).first()
    return None if row is None else (_message(row), bytes(row.payload or b""))


def _moved(event: MessageEvent, ident: int) -> Update:
    """From wherever the table lets it happen to where that leads; erased where that is the end."""
    allowed = [state.value for state in sources(event)]
    state = target(event)
    moved = update(schema.outbox).where(_O.id == ident, _O.state.in_(allowed)).values(state=state.value)
    return moved.values(payload=null()) if state in OVER else moved


async def settle(connection: AsyncConnection, taken: Message, event: MessageEvent, at: float, error: str = "") -> bool:
    """Say what came of an attempt, ``at``: when it was, or for RETRY when the next one is; whether it still counted."""
    mine = _moved(event, taken.id).where(_O.state == taken.state.value, _O.attempts == taken.attempts)
    when = {"next_at": at} if event is MessageEvent.RETRY else {"ended": at}
    done = await connection.execute(mine.values(last_error=error[:_LONGEST], **when).returning(_O.id))
    return done.first() is not None


async def drop(connection: AsyncConnection, ident: int, at: float, why: str) -> bool:
    """Nobody shall get it; whether it was still to be sent."""
    query = _moved(MessageEvent.DROP, ident).values(ended=at, last_error=why[:_LONGEST])
    return (await connection.execute(query.returning(_O.id))).first() is not None


async def replay(connection: AsyncConnection, ident: int, at: float) -> bool:
    """Send one that was given up, with all its attempts anew; whether it was given up."""
    query = _moved(MessageEvent.REPLAY, ident).values(attempts=0, next_at=at, ended=null())
    return (await connection.execute(query.returning(_O.id))).first() is not None


async def replay_all(connection: AsyncConnection, kind: str, at: float, account: str = "") -> Sequence[int]:
    """The same for all of a kind (of an account) that are still of use; their numbers, in their order."""
    states = [state.value for state in sources(MessageEvent.REPLAY)]
    query = update(schema.outbox).where(_O.kind == kind, _O.state.in_(states), _O.until > at)
    query = query.where(_O.account == account) if account else query
    values = {"state": target(MessageEvent.REPLAY).value, "attempts": 0, "next_at": at, "ended": null()}
    return sorted((await connection.execute(query.values(values).returning(_O.id))).scalars().all())


async def clear(connection: AsyncConnection, now: float, keep: float) -> int:
    """Drop what nobody needs any more, and forget what was over ``keep`` s ago; how many were dropped."""
    waiting = [MessageState.QUEUED.value, MessageState.DEAD.value]
    stale = (_O.state.in_(waiting)) | ((_O.state == MessageState.SENDING.value) & (_O.next_at <= now))
    idents = select(_O.id).where(stale, _O.until <= now).limit(_PART)
    gone = update(schema.outbox).where(_O.id.in_(idents))
    gone = gone.values(state=MessageState.DROPPED.value, payload=null(), ended=now, last_error=_STALE)
    count = (await connection.execute(gone)).rowcount
    over = [state.value for state in OVER]
    old = select(_O.id).where(_O.state.in_(over), _O.ended < now - keep).limit(_PART)
    await connection.execute(delete(schema.outbox).where(_O.id.in_(old)))
    return count


async def find(connection: AsyncConnection, ident: int) -> Message | None:
    """One message."""
    row = (await connection.execute(select(*_ROW).where(_O.id == ident))).first()
    return None if row is None else _message(row)


async def listed(
    connection: AsyncConnection,
    state: MessageState | None = None,
    account: str = "",
    *,
    before: int = 0,
    limit: int = 1000,
) -> list[Message]:
    """Messages, the newest first."""
    query = select(*_ROW).order_by(_O.id.desc()).limit(limit)
    query = query.where(_O.id < before) if before else query
    query = query.where(_O.state == state.value) if state else query
    query = query.where(_O.account == account) if account else query
    return [_message(row) for row in await connection.execute(query)]


async def last_of(connection: AsyncConnection, subject: str) -> Message | None:
    """The newest message of a subject that was not dropped."""
    query = select(*_ROW).where(_O.subject == subject, _O.state != MessageState.DROPPED.value)
    row = (await connection.execute(query.order_by(_O.id.desc()).limit(1))).first()
    return None if row is None else _message(row)


async def newest(connection: AsyncConnection, subject: str, kind: str) -> Message | None:
    """The newest message of this kind about a subject, whatever became of it."""
    query = select(*_ROW).where(_O.subject == subject, _O.kind == kind).order_by(_O.id.desc()).limit(1)
    row = (await connection.execute(query)).first()
    return None if row is None else _message(row)


async def about(connection: AsyncConnection, refs: Sequence[str]) -> dict[str, Message]:
    """The newest message about each of these rows."""
    found: dict[str, Message] = {}
    for start in range(0, len(refs), _PART):
        newest = select(func.max(_O.id)).where(_O.about.in_(refs[start : start + _PART])).group_by(_O.about)
        rows = await connection.execute(select(*_ROW).where(_O.id.in_(newest)))
        found |= {one.about: one for one in map(_message, rows)}
    return found


async def drop_about(connection: AsyncConnection, ref: str, at: float, why: str) -> int:
    """Drop all that was to be told about a row and has not left; how many."""
    allowed = [state.value for state in sources(MessageEvent.DROP)]
    query = update(schema.outbox).where(_O.about == ref, _O.state.in_(allowed))
    values = {"state": target(MessageEvent.DROP).value, "payload": null(), "ended": at, "last_error": why[:_LONGEST]}
    return (await connection.execute(query.values(values))).rowcount


async def counted(connection: AsyncConnection) -> Mapping[str, int]:
    """How many messages are in each state that is not over."""
    open_states = [state.value for state in MessageState if state not in OVER]
    query = select(_O.state, func.count()).where(_O.state.in_(open_states)).group_by(_O.state)
    found = {state: int(number) for state, number in await connection.execute(query)}
    return {state: found.get(state, 0) for state in open_states}
