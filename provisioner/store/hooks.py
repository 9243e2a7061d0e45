"""Rows of webhook endpoints and of what came of each attempt; secrets sealed, the log bounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, and_, delete, func, insert, null, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.outbox_states import OVER, MessageEvent, MessageState, sources, target
from provisioner.store import schema
from provisioner.store.hook_queue import kind_of
from provisioner.store.secretbox import SecretBox

_H: Final = schema.hook.c
_D: Final = schema.hook_delivery.c
_O: Final = schema.outbox.c
_PART: Final = 500


@dataclass(frozen=True, slots=True)
class Hook:
    """An endpoint, without its secret."""

    id: str
    account: str
    """Empty: of all accounts, and of what belongs to none."""
    name: str
    url: str
    events: str
    enabled: bool
    disabled_why: str
    before_until: float
    """Until when the secret before signs as well."""
    created: float
    failing_since: float | None
    failures: int
    last_at: float | None
    last_status: int
    author: str = ""
    """Who answers for it: whoever added or enabled it last."""
    administrator: str = ""
    """Id of the one by whose right it is called; empty: the machine's own."""
    api_key: str = ""
    """Id of the key of the API by which; empty: none."""
    orphaned: str = ""
    """Why that right is gone."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt."""

    id: int
    hook: str
    message: int
    type: str
    subject: str
    version: int
    attempt: int
    at: float
    status: int
    """Of the answer; 0 where there was none."""
    ms: int
    outcome: str
    """delivered, retry, failed or dropped."""
    error: str


_HOOK: Final = tuple(_H[name] for name in Hook.__dataclass_fields__)
_DELIVERY: Final = tuple(_D[name] for name in Delivery.__dataclass_fields__)


def _hook(row: Row[Any]) -> Hook:
    values = {name: row._mapping[name] for name in Hook.__dataclass_fields__}
    return Hook(**values | {"account": row.account or ""})


async def insert_hook(connection: AsyncConnection, one: Hook, sealed: bytes) -> None:
    """A new endpoint."""
    values = {name: getattr(one, name) for name in Hook.__dataclass_fields__}
    await connection.execute(insert(schema.hook).values(**values | {"account": one.account or None, "secret": sealed}))


async def find_hooks(connection: AsyncConnection, ref: str) -> list[Hook]:
    """Endpoints with this id or name."""
    rows = await connection.execute(select(*_HOOK).where(or_(_H.id == ref, _H.name == ref)).order_by(_H.id))
    return [_hook(row) for row in rows]


async def list_hooks(connection: AsyncConnection, account: str = "") -> list[Hook]:
    """Endpoints by name."""
    query = select(*_HOOK).order_by(_H.name, _H.id)
    query = query.where(_H.account == account) if account else query
    return [_hook(row) for row in await connection.execute(query)]


async def is_anybody(connection: AsyncConnection) -> bool:
    """Whether any endpoint is called."""
    return (await connection.execute(select(_H.id).where(_H.enabled == true()).limit(1))).first() is not None


async def write_hook(connection: AsyncConnection, ident: str, values: Mapping[str, object]) -> None:
    """Change what is given."""
    await connection.execute(update(schema.hook).where(_H.id == ident).values(dict(values)))


async def delete_hook(connection: AsyncConnection, ident: str) -> None:
    """Forget it, with its log and all that waited for it."""
    await connection.execute(delete(schema.outbox).where(_O.kind == kind_of(ident)))
    await connection.execute(delete(schema.hook_delivery).where(_D.hook == ident))
    await connection.execute(delete(schema.hook).where(_H.id == ident))


async def secrets_of(connection: AsyncConnection, box: SecretBox, ident: str, now: float) -> list[str]:
    """The secrets that sign now, the newest first."""
    row = (await connection.execute(select(_H.secret, _H.secret_before, _H.before_until).where(_H.id == ident))).one()
    found = [box.open(row.secret, "hook", ident, "secret")]
    if row.secret_before is not None and now < row.before_until:
        found.append(box.open(row.secret_before, "hook", ident, "secret_before"))
    return [one.decode() for one in found]


async def rotate_secret(connection: AsyncConnection, box: SecretBox, ident: str, fresh: str, until: float) -> None:
    """A new secret; the one before signs as well until then."""
    sealed = (await connection.execute(select(_H.secret).where(_H.id == ident))).scalar_one()
    before = box.seal(box.open(sealed, "hook", ident, "secret"), "hook", ident, "secret_before")
    values = {"secret": box.seal(fresh.encode(), "hook", ident, "secret"), "secret_before": before}
    await write_hook(connection, ident, values | {"before_until": until})


async def note_outcome(connection: AsyncConnection, ident: str, at: float, status: int, good: bool) -> None:
    """Count failures in a row; a success clears them. In one statement, as senders of an endpoint go side by side."""
    failing = {"failing_since": func.coalesce(_H.failing_since, at), "failures": _H.failures + 1}
    cleared = {"failing_since": null(), "failures": 0}
    values = (cleared if good else failing) | {"last_at": at, "last_status": status}
    await connection.execute(update(schema.hook).where(_H.id == ident).values(values))


# --- the log ---------------------------------------------------------------------------------------------------


async def add_delivery(connection: AsyncConnection, one: Delivery, account: str, keep: int) -> None:
    """One more attempt; the oldest beyond ``keep`` goes."""
    values = {name: getattr(one, name) for name in Delivery.__dataclass_fields__ if name != "id"}
    await connection.execute(insert(schema.hook_delivery).values(**values, account=account or None))
    mine = _D.hook == one.hook
    edge = select(_D.id).where(mine).order_by(_D.id.desc()).offset(keep).limit(1).scalar_subquery()
    await connection.execute(delete(schema.hook_delivery).where(mine, _D.id <= edge))


async def list_deliveries(
    connection: AsyncConnection, hook: str, *, before: int = 0, limit: int = 100, message: int = 0
) -> list[Delivery]:
    """Attempts, the newest first; ``before`` is the id of the last one of the page before."""
    query = select(*_DELIVERY).where(_D.hook == hook).order_by(_D.id.desc()).limit(limit)
    query = query.where(_D.id < before) if before else query
    query = query.where(_D.message == message) if message else query
    return [Delivery(*row) for row in await connection.execute(query)]


async def last_errors(connection: AsyncConnection, idents: Sequence[str]) -> dict[str, str]:
    """Why the last attempt of each of these failed; those whose last one succeeded, or that had none, are left out."""
    newest = select(func.max(_D.id)).where(_D.hook.in_(idents), _D.message != 0).group_by(_D.hook)
    rows = await connection.execute(select(_D.hook, _D.error).where(_D.id.in_(newest), _D.error != ""))
    return {row.hook: row.error for row in rows}


# --- what waits --------------------------------------------------------------------------------------------------


async def waiting(connection: AsyncConnection, now: float) -> list[Hook]:
    """Enabled endpoints for which something is due."""
    claimable = [state.value for state in sources(MessageEvent.CLAIM)]
    due = select(_O.kind).where(_O.state.in_(claimable), _O.next_at <= now, _O.until > now, _O.kind.like("hook.%"))
    kinds = set((await connection.execute(due.distinct())).scalars())
    if not kinds:
        return []
    found = [_hook(row) for row in await connection.execute(select(*_HOOK).where(_H.enabled == true()))]
    return [one for one in found if kind_of(one.id) in kinds]


async def count_states(connection: AsyncConnection, idents: Sequence[str]) -> dict[str, dict[str, int]]:
    """How many messages of each endpoint wait and how many were given up."""
    kinds = {kind_of(one): one for one in idents}
    query = select(_O.kind, _O.state, func.count()).where(_O.kind.in_(kinds)).group_by(_O.kind, _O.state)
    found: dict[str, dict[str, int]] = {one: {} for one in idents}
    for kind, state, number in await connection.execute(query):
        found[kinds[kind]][state] = number
    return found


async def replay_dead(connection: AsyncConnection, hook: str, at: float, message: int = 0) -> int:
    """Send again what was given up, all of it or one message; how many."""
    dead = and_(_O.kind == kind_of(hook), _O.state == MessageState.DEAD.value, _O.until > at)
    dead = and_(dead, _O.id == message) if message else dead
    query = update(schema.outbox).where(dead)
    values = {"state": target(MessageEvent.REPLAY).value, "attempts": 0, "next_at": at, "ended": null()}
    return (await connection.execute(query.values(values))).rowcount


async def forget_told(connection: AsyncConnection, until: float, settled: float) -> None:
    """Forget what was told so long ago that nobody waits for it, and messages that were settled so long ago."""
    old = select(schema.hook_event.c.version).where(schema.hook_event.c.at < until).limit(_PART)
    await connection.execute(delete(schema.hook_event).where(schema.hook_event.c.version.in_(old)))
    over = [state.value for state in OVER]
    done = select(_O.id).where(_O.kind.like("hook.%"), _O.state.in_(over), _O.ended < settled).limit(_PART)
    await connection.execute(delete(schema.outbox).where(_O.id.in_(done)))
