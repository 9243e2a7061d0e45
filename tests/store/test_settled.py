"""What is told goes no further than to where no event can come any more."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from sqlalchemy import select, text

from provisioner.fleet.search import Search
from provisioner.http.api.stream import _Listener
from provisioner.model import Event
from provisioner.store import schema, traps
from provisioner.store.database import Store
from provisioner.store.event_pages import EventFilter, last_event
from provisioner.store.hook_queue import tell_on
from provisioner.store.journal import write_events
from provisioner.store.settled import settled

if TYPE_CHECKING:
    from provisioner.http.api.routes import AnyCall

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
async def test_whoever_stays_open_is_waited_for_whatever_any_clock_says(store: Store) -> None:
    await tell(store)
    now = time.time()
    async with store.writing() as slow:
        await write_events(slow, [alarm("hangs", now - 3600)])
        async with store.writing() as quick:
            await write_events(quick, [alarm("old", now - 60), alarm("ahead", now + 3600), alarm("young", now)])
        before = await tails(store)
        for _ in range(3):
            assert await tell(store) == []
        assert await tails(store) == before
    assert await tell(store) == ["hangs", "old", "ahead", "young"]


@ON_POSTGRESQL
async def test_where_somebody_always_writes_all_is_told_a_look_later(store: Store) -> None:
    await tell(store)
    async with AsyncExitStack() as last:
        told = []
        for number in range(4):
            writing = AsyncExitStack()
            connection = await writing.enter_async_context(store.writing())
            await write_events(connection, [alarm(f"by {number}", time.time())])
            await last.aclose()
            last.push_async_callback(writing.aclose)
            told.append(await tell(store))
    assert told == [[], [], ["by 0"], ["by 1"]]
    assert await tell(store) == ["by 2", "by 3"]


@ON_POSTGRESQL
async def test_whoever_draws_a_number_before_it_is_anybody_is_seen(store: Store) -> None:
    """The database names a transaction for others with its first row, after it has drawn the number of that row."""
    await tell(store)
    async with store.engine.connect() as slow:
        await slow.execute(text("LOCK TABLE event IN ROW EXCLUSIVE MODE"))  # as the INSERT does that draws it
        await slow.execute(text("SELECT nextval(pg_get_serial_sequence('event', 'id'))"))
        async with store.writing() as quick:
            await write_events(quick, [alarm("newer", time.time())])
        assert await tell(store) == []
        await slow.rollback()
    assert await tell(store) == ["newer"]


@ON_POSTGRESQL
async def test_two_that_look_at_once_do_not_mislead_each_other(store: Store) -> None:
    async with store.writing() as slow:
        await write_events(slow, [alarm("hangs", time.time())])
        async with store.writing() as quick:
            await write_events(quick, [alarm("quick", time.time())])
        async with store.reading() as one, store.reading() as other:
            found = await asyncio.gather(*(settled(which, 0) for which in (one, other)))
    assert found == [0, 0]
    async with store.reading() as connection:
        assert await settled(connection, 0) > 1


@ON_POSTGRESQL
async def test_it_is_said_once_who_holds_all_up(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(100, 1000, 40))
    monkeypatch.setattr("provisioner.store.settled.monotonic", lambda: float(next(clock)))
    async with store.writing() as slow:
        await write_events(slow, [alarm("hangs", time.time())])
        async with store.writing() as quick:
            await write_events(quick, [alarm("quick", time.time())])
        async with store.reading() as connection:
            for _ in range(5):
                assert await settled(connection, 0) == 0
        who = "SELECT virtualtransaction FROM pg_locks WHERE pid = pg_backend_pid() LIMIT 1"
        name = (await slow.execute(text(who))).scalar_one()
    [said] = [one.getMessage() for one in caplog.records]
    assert "open for over 60 s" in said and said.endswith(name)


@ON_POSTGRESQL
async def test_the_live_feed_tells_what_shows_up_behind_a_thousand_others_and_nothing_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def follow() -> list[str]:
        async with store.reading() as connection:
            numbers = await last_event(connection), await settled(connection, 0)
        said = (await listener.news(*numbers)).decode()
        return re.findall(r"^event: (.+)$", said, re.MULTILINE)

    desks = SimpleNamespace(search=Search(store, {}), fleet=None)
    listener = _Listener(cast("AnyCall", SimpleNamespace(desks=desks)), EventFilter(), 0, 0.0)
    async with store.writing() as connection:
        await write_events(connection, [alarm("first", 1.0)])
    assert await follow() == ["first"]
    async with store.writing() as slow:
        await write_events(slow, [alarm("late", 2.0)])
        for part in range(3):
            many = [f"{part}-{number}" for number in range(333)]
            async with store.writing() as quick:
                await write_events(quick, [alarm(kind, 3.0) for kind in many])
            assert await follow() == many, "nobody waits for it"
    assert await follow() == ["late"]
    assert await follow() == []
    monkeypatch.setattr("provisioner.http.api.stream._WAITED", 200)
    async with store.writing() as slow:
        await write_events(slow, [alarm("too late", 2.0)])
        async with store.writing() as quick:
            await write_events(quick, [alarm(f"more {number}", 3.0) for number in range(500)])
        assert len(await follow()) == 500 and len(listener._told) <= 200
    assert await follow() == [], "what is kept for it has an end"
