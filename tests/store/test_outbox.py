"""The outbox: with the change or not at all, in order, taken by one, given up and sent again, erased when over."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from outbox_rows import NOW, SAID, claim, due, message, payload, queue, settle, taken
from sqlalchemy import text, update

from provisioner.errors import Conflict, NotFound, StoreFailed
from provisioner.fleet.fleet import Fleet
from provisioner.outbox_desk import OutboxDesk
from provisioner.outbox_states import MessageEvent, MessageState
from provisioner.store import outbox, schema
from provisioner.store.database import Store
from provisioner.store.outbox import Draft
from provisioner.store.rotation import Rotation

pytestmark = pytest.mark.asyncio


async def test_a_message_is_there_with_the_change_it_tells_of_or_not_at_all(store: Store) -> None:
    async def fails() -> None:
        async with store.changing("ann", NOW) as change:
            await outbox.put(change, store.box, Draft("mail.test", "acme", "", SAID, NOW + 1000))
            raise Conflict("the change is refused")

    with pytest.raises(Conflict, match="refused"):
        await fails()
    assert await due(store) == []
    ident = await queue(store)
    assert await due(store) == [ident]
    one = await message(store, ident)
    assert (one.state, one.attempts, one.version) == (MessageState.QUEUED, 0, 1)


async def test_what_it_says_is_sealed_and_bound_to_its_row(store: Store) -> None:
    first, second = await queue(store), await queue(store)
    one, other = await payload(store, first), await payload(store, second)
    assert one and other and b"123456789012" not in one
    assert outbox.opened(store.box, first, one) == SAID
    with pytest.raises(StoreFailed, match="moved here"):
        outbox.opened(store.box, first, other)
    assert "123456789012" not in repr(Draft("mail.test", "acme", "", SAID, 1.0))


async def test_of_many_who_want_it_one_gets_it(store: Store) -> None:
    ident = await queue(store)
    won = await asyncio.gather(*(claim(store, ident) for _ in range(8)))
    assert next(one for one in won if one is not None)[0].attempts == 1
    assert sum(one is not None for one in won) == 1
    assert await due(store) == [] and await due(store, NOW + 59) == []
    again = await claim(store, ident, NOW + 60)
    assert again is not None and again[0].attempts == 2


async def test_messages_of_one_subject_leave_in_their_order(store: Store) -> None:
    first, second = await queue(store, "extension/a"), await queue(store, "extension/a")
    other, free = await queue(store, "extension/b"), await queue(store)
    assert await due(store) == [first, other, free]
    assert await claim(store, second) is None
    held = await taken(store, first)
    assert second not in await due(store)
    await settle(store, held, MessageEvent.RETRY, NOW + 500, "later")
    assert second not in await due(store, NOW + 499), "one that waits for its next attempt is still ahead"
    held = await taken(store, first, NOW + 500)
    await settle(store, held, MessageEvent.BURY, NOW + 500, "no such mailbox")
    assert second in await due(store, NOW + 500), "one that was given up is in nobody's way"


async def test_only_the_attempt_that_has_it_settles_it(store: Store) -> None:
    ident = await queue(store)
    late = await taken(store, ident)
    now = await taken(store, ident, NOW + 60)
    assert not await settle(store, late, MessageEvent.RETRY, NOW + 61, "too late")
    assert await settle(store, now, MessageEvent.SEND, NOW + 62)
    assert not await settle(store, now, MessageEvent.BURY, NOW + 63)
    one = await message(store, ident)
    assert (one.state, one.attempts, one.ended, one.last_error) == (MessageState.SENT, 2, NOW + 62, "")
    assert await payload(store, ident) is None


async def test_one_that_was_given_up_is_sent_again_when_an_administrator_says_so(store: Store, fleet: Fleet) -> None:
    desk = OutboxDesk(store, {}, actor="ann", clock=lambda: NOW + 10)
    ident = await queue(store)
    await settle(store, await taken(store, ident), MessageEvent.BURY, NOW, "no such mailbox")
    assert await payload(store, ident) is not None
    assert await due(store, NOW + 900) == []
    again = await desk.replay(ident)
    assert (again.state, again.attempts) == (MessageState.QUEUED, 0)
    assert await due(store, NOW + 10) == [ident]
    with pytest.raises(Conflict, match="queued: replay is not possible"):
        await desk.replay(ident)
    assert (await desk.drop(ident)).state is MessageState.DROPPED
    assert await payload(store, ident) is None
    with pytest.raises(Conflict, match="dropped: drop"):
        await desk.drop(ident)
    with pytest.raises(NotFound):
        await desk.drop(ident + 1)
    with pytest.raises(NotFound):
        await desk.message(ident + 1)
    kinds = [one.kind for one in await fleet.events()]
    assert kinds == ["message_replayed", "message_dropped"]


async def test_what_is_over_is_neither_sent_nor_sent_again(store: Store) -> None:
    ident, dead = await queue(store), await queue(store)
    await settle(store, await taken(store, dead), MessageEvent.BURY, NOW, "refused")
    assert await due(store, NOW + 1000) == [] and await claim(store, ident, NOW + 1000) is None
    with pytest.raises(Conflict, match="is over"):
        await OutboxDesk(store, {}, clock=lambda: NOW + 1000).replay(dead)


async def test_the_clearance_erases_what_nobody_needs_and_forgets_what_was_over_for_long(store: Store) -> None:
    async def clear(now: float) -> int:
        async with store.writing() as connection:
            return await outbox.clear(connection, now, 100.0)

    waiting, dead, held, sent = [await queue(store) for _ in range(4)]
    later = await queue(store, until=NOW + 9000)
    await settle(store, await taken(store, dead), MessageEvent.BURY, NOW, "refused")
    await taken(store, held, NOW + 990)
    await settle(store, await taken(store, sent), MessageEvent.SEND, NOW)
    assert await clear(NOW + 50) == 0
    assert await clear(NOW + 1000) == 2, "one that somebody has in hand is left to them"
    assert [(await message(store, one)).state.value for one in (waiting, dead, held)] == [
        "dropped",
        "dropped",
        "sending",
    ]
    assert await payload(store, dead) is None and await payload(store, later) is not None
    with pytest.raises(NotFound):
        await message(store, sent)
    assert await clear(NOW + 1101) == 1
    assert [one.id for one in await OutboxDesk(store, {}).messages()] == [later, held]


async def test_the_list_is_of_a_state_and_an_account(store: Store, fleet: Fleet) -> None:
    account = (await fleet.add_account("Acme")).id
    first, second = await queue(store), await queue(store)
    async with store.writing() as connection:
        await connection.execute(update(schema.outbox).where(schema.outbox.c.id == second).values(account=account))
    await settle(store, await taken(store, first), MessageEvent.BURY, NOW, "refused")
    desk = OutboxDesk(store, {})
    assert [one.id for one in await desk.messages(state=MessageState.DEAD)] == [first]
    assert [one.id for one in await desk.messages(account="Acme")] == [second]
    async with store.reading() as connection:
        assert await outbox.counted(connection) == {"queued": 1, "sending": 0, "dead": 1}


async def test_a_new_master_key_takes_waiting_messages_along(store: Store, tmp_path: Path) -> None:
    waiting, sent = await queue(store), await queue(store)
    await settle(store, await taken(store, sent), MessageEvent.SEND, NOW)
    before = await payload(store, waiting)
    done = await Rotation(store, "ann", settle=0.0).run()
    after = await payload(store, waiting)
    assert done.finished and done.unreadable == []
    assert before and after and not store.box.is_current(before) and store.box.is_current(after)
    assert outbox.opened(store.box, waiting, after) == SAID


async def test_no_digits_lie_in_the_database_after_a_message_was_sent(store: Store) -> None:
    ident = await queue(store, title="code for extension 1001")
    await settle(store, await taken(store, ident), MessageEvent.SEND, NOW)
    async with store.reading() as connection:
        row = (await connection.execute(text("SELECT * FROM outbox"))).one()
    assert row.payload is None and "123456789012" not in str(row)
