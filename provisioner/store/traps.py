"""Alarms become messages of the outbox, one for each receiver of traps; how far that has come stands in the database.

Events are numbered; those up to the tail have been told. Whoever tells holds the row of the tail, so two never do.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.store import outbox, schema
from provisioner.store.database import Change, Store
from provisioner.store.outbox import Message
from provisioner.store.resync import hold
from provisioner.store.settled import settled

_E: Final = schema.event.c
_T: Final = schema.trap_tail.c
_BATCH: Final = 200
_KEEP: Final = 14 * 86_400.0
"""s in which a receiver may be away; what is older is of no use to who watches."""
_ROW: Final = 1
KIND: Final = "trap.alarm"
_SUBJECT: Final = "trap/"
_ABOUT: Final = "event:"
_COLUMNS: Final = (_E.id, _E.at, _E.kind, _E.mac, _E.account, _E.details)


@dataclass(frozen=True, slots=True)
class Alarm:
    """An event that is told."""

    id: int
    at: float
    kind: str
    mac: str
    account: str
    details: dict[str, str]


async def untold(connection: AsyncConnection) -> bool:
    """Whether there may be something; asked before anything is locked."""
    tail = (await connection.execute(select(_T.event))).scalar_one_or_none()
    if tail is None:
        return True
    return bool(tail < ((await connection.execute(select(func.max(_E.id)))).scalar_one() or 0))


async def next_alarms(connection: AsyncConnection) -> list[Alarm]:
    """The next of them, and the tail moved behind; the first call only says that it begins from here."""
    await hold(connection)
    tail = (await connection.execute(select(_T.event).with_for_update())).scalar_one_or_none()
    if tail is None:
        newest = (await connection.execute(select(func.max(_E.id)))).scalar_one() or 0
        await connection.execute(insert(schema.trap_tail).values(id=_ROW, event=newest))
        return []
    newest = await settled(connection, tail)
    query = select(*_COLUMNS).where(_E.id > tail, _E.id <= newest, _E.severity == "alarm").order_by(_E.id).limit(_BATCH)
    found = [_alarm(row) for row in await connection.execute(query)]
    reached = found[-1].id if len(found) == _BATCH else newest
    await connection.execute(update(schema.trap_tail).where(_T.id == _ROW).values(event=reached))
    return found


def _alarm(row: Any) -> Alarm:
    return Alarm(row.id, row.at, row.kind, row.mac, row.account, json.loads(row.details))


async def queue(store: Store, change: Change, alarms: Sequence[Alarm], receivers: Sequence[str]) -> None:
    """A message for each alarm and receiver, as part of this change; what it says stands in its event."""
    for alarm in alarms:
        for name in receivers:
            draft = outbox.Draft(
                KIND, alarm.account, f"{_SUBJECT}{name}", {}, alarm.at + _KEEP, about=f"{_ABOUT}{alarm.id}",
                title=f"{alarm.kind} to {name}",
            )  # fmt: skip
            await outbox.put(change, store.box, draft)


def receiver_of(message: Message) -> str:
    """Who is to be told, as the settings have it."""
    return message.subject.removeprefix(_SUBJECT)


async def alarm_of(connection: AsyncConnection, message: Message) -> Alarm | None:
    """What is to be told; None where it is forgotten."""
    ident = int(message.about.removeprefix(_ABOUT))
    row = (await connection.execute(select(*_COLUMNS).where(_E.id == ident))).first()
    return None if row is None else _alarm(row)
