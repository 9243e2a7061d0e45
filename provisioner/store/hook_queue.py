"""What happened is put down for each webhook that asks for it, in the transaction that made it happen.

Whoever tells something counts the clock up and holds its row until the transaction ends: the messages of one subject
are in the order in which things became so. Without an endpoint nothing is written.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, func, insert, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.hook_events import OUTWARD, Told, data_of, subject_of, wants
from provisioner.outbox_states import MessageState
from provisioner.store import schema
from provisioner.store.settled import settled

UNBOUND: Final = "provisioner_unbound"
"""Option of a statement that runs whole on a connection which is narrowed to some accounts: who hears of a change does
not depend on how far whoever made it can see."""
KEEP: Final = 14 * 86_400.0
"""s that a message waits at most, as a dead letter too."""
DEVICES: Final = (
    "unknown_device", "not_identified", "pin_mismatch", "registration_seen", "resync_stuck", "code_failed",
    "code_locked", "wipe_fetched", "config_served", "device_offline", "device_lost", "device_back",
)  # fmt: skip
"""Kinds that devices cause; they are no administrator's deeds, and stand in no audit log."""
_NOBODYS: Final = frozenset({"unknown_device"})
"""Told although they are of no account; a stranger's refusal is not."""
_BATCH: Final = 200
_FREE: Final = {UNBOUND: True}
_CLOCK: Final = schema.hook_clock.c

Rows = Sequence[Mapping[str, Any]]
"""Events as the table has them, with their accounts."""


def kind_of(hook: str) -> str:
    """The outbox's kind of messages to an endpoint: each endpoint has its own senders."""
    return f"hook.{hook}"


async def tell(connection: AsyncConnection, rows: Rows) -> int:
    """Put down for each endpoint what it asks for; how many messages."""
    told = [row for row in rows if row["kind"] in OUTWARD]
    if not told:
        return 0
    hook = schema.hook.c
    query = select(hook.id, hook.account, hook.events).where(hook.enabled == true()).execution_options(**_FREE)
    hooks = (await connection.execute(query)).all()
    heard = [(row, [one for one in hooks if _hears(one, row)]) for row in told] if hooks else []
    heard = [(row, ones) for row, ones in heard if ones]
    if not heard:
        return 0
    last = await count_up(connection, len(heard))
    events = [_event(row, last - len(heard) + number) for number, (row, _) in enumerate(heard, 1)]
    await write_told(connection, events)
    messages = [
        message_to(hook.id, hook.account or "", one)
        for one, (_, ones) in zip(events, heard, strict=True)
        for hook in ones
    ]
    await connection.execute(insert(schema.outbox).execution_options(**_FREE), messages)
    return len(messages)


async def is_heard(connection: AsyncConnection, kind: str) -> bool:
    """Whether any endpoint asks for this kind: what devices cause by the thousand is written down for those alone."""
    hook = schema.hook.c
    query = select(hook.events).where(hook.enabled == true()).execution_options(**_FREE)
    return any(wants(one, OUTWARD[kind]) for one in (await connection.execute(query)).scalars())


def _hears(hook: Any, row: Mapping[str, Any]) -> bool:
    mine = hook.account is None or hook.account == row["account"]
    return mine and wants(hook.events, OUTWARD[row["kind"]])


async def count_up(connection: AsyncConnection, number: int) -> int:
    """The last of so many new versions; nobody else tells anything until this transaction ends."""
    counted = update(schema.hook_clock).values(version=_CLOCK.version + number).returning(_CLOCK.version)
    return int((await connection.execute(counted.execution_options(**_FREE))).scalar_one())


async def write_told(connection: AsyncConnection, events: Sequence[Told]) -> None:
    """What is told, once for all who hear it."""
    await connection.execute(insert(schema.hook_event).execution_options(**_FREE), [_row(one) for one in events])


def _event(row: Mapping[str, Any], version: int) -> Told:
    details = json.loads(row["details"])
    subject = subject_of(row["mac"], row["account"], details)
    data = data_of(row["mac"], details)
    stamp = secrets.token_hex(4)
    return Told(version, OUTWARD[row["kind"]], row["at"], subject, row["account"], row["actor"], data, stamp)


def _row(one: Told) -> dict[str, object]:
    return {
        "version": one.version, "type": one.type, "at": one.at, "subject": one.subject, "account": one.account,
        "actor": one.actor, "data": json.dumps(dict(one.data), sort_keys=True), "stamp": one.stamp,
    }  # fmt: skip


def message_to(hook: str, account: str, one: Told) -> dict[str, object]:
    """A row of the outbox; what it says stands beside it, once for all endpoints."""
    return {
        "kind": kind_of(hook), "account": account, "subject": f"{hook}/{one.subject}", "version": one.version,
        "about": f"hook:{hook}", "title": one.type, "state": MessageState.QUEUED.value, "created": one.at,
        "next_at": one.at, "until": one.at + KEEP,
    }  # fmt: skip


async def read_told(connection: AsyncConnection, version: int) -> Told | None:
    """What a message says."""
    event = schema.hook_event
    row = (await connection.execute(select(event).where(event.c.version == version))).first()
    if row is None:
        return None
    return Told(row.version, row.type, row.at, row.subject, row.account, row.actor, json.loads(row.data), row.stamp)


# --- what devices cause -----------------------------------------------------------------------------------------


async def begin_tail(connection: AsyncConnection) -> None:
    """The first endpoint hears of what happens from now on."""
    hook = schema.hook.c
    enabled = select(hook.id).where(hook.enabled == true()).limit(1).execution_options(**_FREE)
    if (await connection.execute(enabled)).first() is None:
        newest = select(func.coalesce(func.max(schema.event.c.id), 0)).scalar_subquery()
        await connection.execute(update(schema.hook_clock).values(tail=newest).execution_options(**_FREE))


async def untold(connection: AsyncConnection) -> bool:
    """Whether anything has happened since; asked before anything is locked."""
    hook, event = schema.hook.c, schema.event.c
    if (await connection.execute(select(hook.id).where(hook.enabled == true()).limit(1))).first() is None:
        return False
    newest = (await connection.execute(select(func.max(event.id)))).scalar_one() or 0
    return bool(newest > (await connection.execute(select(_CLOCK.tail))).scalar_one())


async def tell_on(connection: AsyncConnection) -> int:
    """Tell of the next events of devices, a batch; how many messages that made."""
    event = schema.event.c
    tail = (
        await connection.execute(update(schema.hook_clock).values(tail=_CLOCK.tail).returning(_CLOCK.tail))
    ).scalar_one()
    newest = await settled(connection, tail)
    account = func.coalesce(schema.device.c.account, "").label("account")
    columns = (event.id, event.at, event.kind, event.mac, event.actor, event.details, account)
    joined = schema.event.outerjoin(schema.device, schema.device.c.mac == event.mac)
    query = select(*columns).select_from(joined).where(event.id > tail, event.id <= newest, *_caused())
    found = (await connection.execute(query.order_by(event.id).limit(_BATCH))).all()
    reached = found[-1].id if len(found) == _BATCH else newest
    await connection.execute(update(schema.hook_clock).values(tail=reached))
    rows = [dict(row._mapping) for row in found]
    return await tell(connection, [row for row in rows if row["account"] or row["kind"] in _NOBODYS])


def _caused() -> Iterator[ColumnElement[bool]]:
    event = schema.event.c
    yield event.audit.is_(False)
    yield or_(*(event.kind == one for one in DEVICES))
