"""Whoever makes up tokens by the thousand keeps neither the database nor a phone with a true one waiting."""

from __future__ import annotations

import asyncio
import random
import string
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import pytest_asyncio
from sqlalchemy.event import listen, remove

from provisioner.errors import StoreFailed
from provisioner.fleet.fleet import Fleet
from provisioner.model import Mac
from provisioner.store import tokens
from provisioner.store.database import Store
from provisioner.store.engine import is_sqlite
from provisioner.store.tokens import TokenBook, new_token

pytestmark = pytest.mark.asyncio

MAC = Mac("0004f2aabb01")


@pytest_asyncio.fixture
async def acme(fleet: Fleet) -> Fleet:
    await fleet.add_account("Acme")
    await fleet.add_device(MAC, vendor="poly", model="VVX 411", account="Acme")
    await fleet.allow(MAC, token=True)
    return fleet


@contextmanager
def taken(store: Store) -> Iterator[list[int]]:
    """How many connections of the pool are out, each time one is taken."""
    counts: list[int] = []
    pool = store.engine.sync_engine.pool

    def note(*_: object) -> None:
        counts.append(pool.checkedout())  # type: ignore[attr-defined]  # a QueuePool

    listen(pool, "checkout", note)
    yield counts
    remove(pool, "checkout", note)


async def test_a_flood_of_made_up_tokens_leaves_most_of_the_pool_alone(acme: Fleet, store: Store) -> None:
    book, now = TokenBook(store), time.time()
    true, _ = await acme.open_token(MAC, now=now, fetches=1)
    flood = [asyncio.create_task(book.spend(new_token(), now)) for _ in range(200)]
    await asyncio.sleep(0)
    with taken(store) as out:
        spent = asyncio.create_task(book.spend(true, now))
        for _ in range(20):
            async with store.reading() as connection:  # StoreFailed if no connection came free
                await connection.exec_driver_sql("SELECT 1")
        assert await spent == MAC
        assert set(await asyncio.gather(*flood)) == {None}
    assert max(out) <= tokens.AT_ONCE + 1, "one is the administrator's"


async def test_what_was_unknown_a_moment_ago_is_not_asked_again(acme: Fleet, store: Store) -> None:
    book, made_up, now = TokenBook(store), new_token(), 1000.0
    asked = _counting(book)
    for turn in range(50):
        assert await book.spend(made_up, now + turn / 10) is None
    assert len(asked) == 1
    assert await book.spend(made_up, now + tokens.FORGOTTEN + 1) is None
    assert len(asked) == 2, "it is asked again in time"
    assert await book.spend(made_up, now - 5) is None
    assert len(asked) == 3, "a clock that was set back makes nobody wait"


async def test_a_token_that_is_opened_later_is_found_in_time(acme: Fleet, store: Store) -> None:
    book, now = TokenBook(store), 5000.0
    token, _ = await acme.open_token(MAC, now=now + 100, fetches=2)
    assert await book.spend(token, now + 99) is None
    assert await book.spend(token, now + 99 + tokens.FORGOTTEN) == MAC


async def test_a_spent_token_is_remembered_too(acme: Fleet, store: Store) -> None:
    book, now = TokenBook(store), time.time()
    token, _ = await acme.open_token(MAC, now=now, fetches=1)
    assert await book.spend(token, now) == MAC
    asked = _counting(book)
    assert [await book.spend(token, now + 1) for _ in range(5)] == [None] * 5
    assert len(asked) == 1


async def test_memory_stays_bounded_however_many_are_tried(acme: Fleet, store: Store) -> None:
    book = TokenBook(store)
    book._is_open = _never  # type: ignore[method-assign]  # no database for this many
    for _ in range(tokens.REMEMBERED + 500):
        await book.spend(new_token(), 1000.0)
    assert len(book._unknown) == tokens.REMEMBERED


async def test_words_that_no_token_can_be_reach_no_database(acme: Fleet, store: Store) -> None:
    """22 characters hold 132 bits and a token has 128: the last character is one of four (RFC 4648 section 5)."""
    book, luck = TokenBook(store), random.Random(1)
    asked = _counting(book)
    letters = string.ascii_letters + string.digits + "-_"
    impossible = ["", "A" * 21, "A" * 23, "A" * 21 + "B", "ä" * 22, "A" * 21 + "\n", "../" * 7 + "A"]
    impossible += ["".join(luck.choices(letters, k=21)) + one for one in letters if one not in "AQgw"]
    assert {await book.spend(one, 1000.0) for one in impossible} == {None}
    assert asked == []
    assert all([tokens._TOKEN.fullmatch(new_token()) for _ in range(1000)])


async def test_more_than_can_wait_are_told_at_once(acme: Fleet, store: Store) -> None:
    if is_sqlite(store.url):
        return  # its look-ups take no connection of the pool and are done at once
    book, now = TokenBook(store), time.time()
    flood = [asyncio.create_task(book.spend(new_token(), now)) for _ in range(tokens.WAITING + 50)]
    said = await asyncio.gather(*flood, return_exceptions=True)
    refused = [one for one in said if isinstance(one, StoreFailed)]
    assert 0 < len(refused) <= 50 and "token" in refused[0].cause
    assert {one for one in said if not isinstance(one, StoreFailed)} == {None}


async def _never(_finder: str, _now: float) -> bool:
    return False


def _counting(book: TokenBook) -> list[str]:
    """The finders that the database is asked for."""
    asked: list[str] = []
    ask: Callable[..., object] = book._is_open

    async def listening(finder: str, now: float) -> bool:
        asked.append(finder)
        return bool(await ask(finder, now))  # type: ignore[misc]  # a coroutine function

    book._is_open = listening  # type: ignore[method-assign]  # heard, not replaced
    return asked
