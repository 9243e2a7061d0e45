"""SQLite with one step a statement gives what the driver itself gives, and takes no more steps than it says."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given
from hypothesis import settings as quick
from hypothesis import strategies as some
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from provisioner.store.engine import make_engine, parse_url, reading, writing
from provisioner.store.one_hop import OneHop

MANY = 1234
"""Rows: more than come with a statement."""


@pytest_asyncio.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    made = make_engine(parse_url(f"sqlite:///{tmp_path / 'one.db'}"))
    async with writing(made) as connection:
        await connection.exec_driver_sql("CREATE TABLE t (id INTEGER PRIMARY KEY, word TEXT UNIQUE)")
        await connection.exec_driver_sql("INSERT INTO t VALUES (?, ?)", [(one, f"w{one}") for one in range(MANY)])
    yield made
    await made.dispose()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Work given to the driver's thread."""
    counted: list[object] = []
    plain = OneHop._execute

    async def counting(self: OneHop, work: Any, *args: Any, **options: Any) -> Any:
        counted.append(work)
        return await plain(self, work, *args, **options)  # type: ignore[no-untyped-call]  # aiosqlite has no types

    monkeypatch.setattr(OneHop, "_execute", counting)
    return counted


@pytest.mark.asyncio
async def test_a_statement_is_one_step(engine: AsyncEngine, steps: list[object]) -> None:
    async with writing(engine) as connection:
        begun = len(steps)
        assert (await connection.execute(text("SELECT word FROM t WHERE id = 7"))).scalar_one() == "w7"
        assert len(steps) - begun == 1
        assert (await connection.execute(text("UPDATE t SET word = 'x' WHERE id < 3 AND id > 1"))).rowcount == 1
        assert len(steps) - begun == 2
        found = await connection.execute(text("UPDATE t SET word = word || '!' WHERE id IN (4, 5) RETURNING word"))
        assert sorted(found.scalars()) == ["w4!", "w5!"]
        assert len(steps) - begun == 3


@pytest.mark.asyncio
async def test_a_long_result_comes_whole_and_as_a_stream(engine: AsyncEngine) -> None:
    wanted = [(one, f"w{one}") for one in range(MANY)]
    query = text("SELECT id, word FROM t ORDER BY id")
    async with reading(engine) as connection:
        assert [tuple(row) for row in await connection.execute(query)] == wanted
        streamed = await connection.stream(query.execution_options(yield_per=700))
        assert [tuple(row) async for row in streamed] == wanted
        half = await connection.stream(query)
        assert tuple(await anext(aiter(half))) == wanted[0]
        await half.close()
        assert len((await connection.execute(query)).all()) == MANY, "a stream that was left is in nobody's way"


@pytest.mark.asyncio
async def test_after_an_error_the_transaction_goes_on_and_nothing_is_left_open(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        with pytest.raises(IntegrityError, match="UNIQUE"):
            await connection.execute(text("INSERT INTO t (word) VALUES ('w1')"))
        with pytest.raises(OperationalError, match="no such table"):
            await connection.execute(text("SELECT * FROM nowhere"))
        await connection.execute(text("INSERT INTO t (id, word) VALUES (9999, 'kept')"))
    async with reading(engine) as connection:
        assert (await connection.execute(text("SELECT word FROM t WHERE id = 9999"))).scalar_one() == "kept"
    async with writing(engine) as connection:
        await connection.execute(text("DROP TABLE t"))  # locked while a cursor on it were open


_VALUES = some.one_of(some.none(), some.integers(-(2**62), 2**62), some.text(max_size=9), some.binary(max_size=9))


@pytest.mark.asyncio
@quick(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=some.lists(some.tuples(_VALUES, _VALUES), max_size=20), most=some.integers(0, 25))
async def test_it_gives_what_the_driver_gives(
    engine: AsyncEngine, rows: list[tuple[object, object]], most: int
) -> None:
    statements = ("DROP TABLE IF EXISTS u", "CREATE TABLE u (a, b)")
    query = "SELECT rowid, a, b FROM u ORDER BY rowid LIMIT ?"
    plain = sqlite3.connect(":memory:")
    async with writing(engine) as connection:
        for one in statements:
            plain.execute(one)
            await connection.exec_driver_sql(one)
        plain.executemany("INSERT INTO u VALUES (?, ?)", rows)
        if rows:
            await connection.exec_driver_sql("INSERT INTO u VALUES (?, ?)", rows)
        ours = await connection.exec_driver_sql(query, (most,))
        theirs = plain.execute(query, (most,))
        assert list(ours.keys()) == [column[0] for column in theirs.description]
        assert [tuple(row) for row in ours] == theirs.fetchall()
    plain.close()
