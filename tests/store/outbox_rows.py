"""Messages of the outbox for tests: queued, taken and settled as the sender does it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from provisioner.outbox_desk import OutboxDesk
from provisioner.outbox_states import MessageEvent
from provisioner.store import outbox, schema
from provisioner.store.database import Store
from provisioner.store.outbox import Draft, Message

NOW = 1_800_000_000.0
KINDS = ["mail.test"]
SAID = {"code": "123456789012", "to": "ann@example.net"}


async def queue(store: Store, subject: str = "", at: float = NOW, **given: Any) -> int:
    async with store.changing("ann", at) as change:
        values = {"payload": SAID, "until": at + 1000, **given}
        return await outbox.put(change, store.box, Draft("mail.test", "acme", subject, **values))


async def due(store: Store, now: float = NOW) -> list[int]:
    async with store.reading() as connection:
        return list(await outbox.due(connection, KINDS, now, 100))


async def claim(store: Store, ident: int, now: float = NOW) -> tuple[Message, bytes] | None:
    async with store.writing() as connection:
        return await outbox.claim(connection, ident, now, 60.0)


async def taken(store: Store, ident: int, now: float = NOW) -> Message:
    found = await claim(store, ident, now)
    assert found is not None
    return found[0]


async def settle(store: Store, message: Message, event: MessageEvent, at: float = NOW, error: str = "") -> bool:
    async with store.writing() as connection:
        return await outbox.settle(connection, message, event, at, error)


async def payload(store: Store, ident: int) -> bytes | None:
    async with store.reading() as connection:
        return (await connection.execute(select(schema.outbox.c.payload).where(schema.outbox.c.id == ident))).scalar()


async def message(store: Store, ident: int) -> Message:
    return await OutboxDesk(store, {}).message(ident)
