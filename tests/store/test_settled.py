"""What is told goes no further than to where no event can come any more."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import select

from provisioner.model import Event
from provisioner.store import schema, traps
from provisioner.store.database import Store
from provisioner.store.hook_queue import tell_on
from provisioner.store.journal import write_events
from provisioner.store.settled import settled

pytestmark = pytest.mark.asyncio
ON_POSTGRESQL = pytest.mark.parametrize("url", ["postgresql"], indirect=True)
"""Where two write at once."""


def alarm(kind: str, at: float) -> Event:
    return Event(kind, at, "", "alarm", "server", {})


async def tell(store: Store) -> list[str]:
    async with store.writing() as connection:
        await tell_on(connection)
        return [one.kind for one in await traps.next_alarms(connection)]


async def tails(store: Store) -> tuple[int, int]:
    async with store.reading() as connection:
        hooks = (await connection.execute(select(schema.hook_clock.c.tail))).scalar_one()
        return hooks, (await connection.execute(select(schema.trap_tail.c.event))).scalar_one()


async def test_what_is_there_is_told_once(store: Store) -> None:
    assert await tell(store) == []
    async with store.writing() as connection:
        await write_events(connection, [alarm("first", time.time())])
    assert await tell(store) == ["first"]
    assert await tell(store) == []


@ON_POSTGRESQL
async def test_an_older_event_that_is_seen_later_is_told_as_well(store: Store) -> None:
    await tell(store)
    before = await tails(store)
    async with store.writing() as slow:
        await write_events(slow, [alarm("older", time.time())])
        async with store.writing() as quick:
            await write_events(quick, [alarm("newer", time.time())])
        assert await tell(store) == []
        assert await tails(store) == before, "neither of them has gone past it"
    assert await tell(store) == ["older", "newer"]


@ON_POSTGRESQL
async def test_nobody_waits_for_ever_nor_for_a_clock_that_is_wrong(store: Store) -> None:
    await tell(store)
    now = time.time()
    async with store.writing() as slow:
        await write_events(slow, [alarm("hangs", now)])
        async with store.writing() as quick:
            await write_events(quick, [alarm("old", now - 60), alarm("ahead", now + 3600), alarm("young", now)])
        assert await tell(store) == ["old", "ahead"]
    async with store.reading() as connection:
        assert await settled(connection, 0) > 0
    assert await tell(store) == ["young"]
