"""SQLite statements in one step of the driver's thread each: begun, read and ended there, instead of four steps.

Each step is a change of threads and costs more than a short statement. What has more rows than a step brings stays open
and is read on as it is asked for, so a long result is never in memory as a whole.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import aiosqlite

_ROWS: Final = 500
"""Rows that come with the statement itself."""
_Row = tuple[Any, ...]


class _Outcome(NamedTuple):
    """What a statement has left; ``open`` is the driver's cursor where there may be further rows."""

    description: Sequence[Any] | None
    rows: list[_Row]
    rowcount: int
    lastrowid: int | None
    open: sqlite3.Cursor | None


class OneHop(aiosqlite.Connection):
    """A connection whose cursors work like the driver's own, with fewer steps."""

    def cursor(self) -> OneHopCursor:  # type: ignore[override]  # SQLAlchemy enters what it gets; nobody awaits it
        """A cursor that costs nothing until it is used."""
        return OneHopCursor(self)

    async def step(self, work: partial[Any]) -> Any:
        """One piece of work in the driver's thread."""
        return await self._execute(work)  # type: ignore[no-untyped-call]  # aiosqlite has no types for it

    @property
    def plain(self) -> sqlite3.Connection:
        """For work in the driver's thread only."""
        return self._conn


class OneHopCursor:
    """As much of a cursor as SQLAlchemy asks for."""

    arraysize = 1

    def __init__(self, connection: OneHop) -> None:
        self._connection = connection
        self._outcome = _Outcome(None, [], -1, None, None)

    async def __aenter__(self) -> Self:
        """Nothing has to be done."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What is left is dropped."""
        await self.close()

    @property
    def description(self) -> Sequence[Any] | None:
        """Columns; None where the statement has no rows to give."""
        return self._outcome.description

    @property
    def rowcount(self) -> int:
        """Rows changed; -1 where the driver does not say."""
        return self._outcome.rowcount

    @property
    def lastrowid(self) -> int | None:
        """Of the row that was added last."""
        return self._outcome.lastrowid

    async def execute(self, sql: str, parameters: Iterable[Any] = ()) -> Self:
        """Run a statement and take its first rows."""
        await self._run(sqlite3.Cursor.execute, sql, parameters)
        return self

    async def executemany(self, sql: str, parameters: Iterable[Iterable[Any]]) -> Self:
        """Run a statement for each of the parameters."""
        await self._run(sqlite3.Cursor.executemany, sql, parameters)
        return self

    async def _run(self, how: Any, sql: str, parameters: Any) -> None:
        await self.close()
        self._outcome = await self._connection.step(partial(_begin, self._connection.plain, how, sql, parameters))

    async def fetchall(self) -> list[_Row]:
        """All rows that have not been given yet."""
        outcome, rows = self._outcome, self._taken()
        if outcome.open is not None:
            rows += await self._connection.step(partial(_finish, outcome.open))
            self._outcome = self._outcome._replace(open=None)
        return rows

    async def fetchmany(self, size: int = _ROWS) -> list[_Row]:
        """Some of them; none at the end."""
        outcome = self._outcome
        if len(outcome.rows) < size and outcome.open is not None:
            more = await self._connection.step(partial(outcome.open.fetchmany, size - len(outcome.rows)))
            outcome.rows.extend(more)
        rows = outcome.rows[:size]
        del outcome.rows[:size]
        return rows

    async def fetchone(self) -> _Row | None:
        """The next one."""
        rows = await self.fetchmany(1)
        return rows[0] if rows else None

    async def __aiter__(self) -> AsyncIterator[_Row]:
        """One after the other, fetched by many."""
        while rows := await self.fetchmany():
            for row in rows:
                yield row

    async def close(self) -> None:
        """Drop what has not been given; a step only where something is open."""
        outcome, self._outcome = self._outcome, self._outcome._replace(rows=[], open=None)
        if outcome.open is not None:
            await self._connection.step(partial(outcome.open.close))

    def _taken(self) -> list[_Row]:
        rows = self._outcome.rows
        self._outcome = self._outcome._replace(rows=[])
        return rows


def connect(database: str, **options: Any) -> OneHop:
    """A connection to await, as SQLAlchemy's dialect wants it from ``async_creator_fn``."""
    connection = OneHop(partial(sqlite3.connect, database, **options), _ROWS)
    connection._thread.daemon = True  # as SQLAlchemy does: a process that is told to leave waits for no reader
    return connection


def _begin(connection: sqlite3.Connection, how: Any, sql: str, parameters: Any) -> _Outcome:
    """In the driver's thread."""
    cursor = connection.cursor()
    try:
        how(cursor, sql, parameters)
        rows = cursor.fetchmany(_ROWS) if cursor.description else []
    except BaseException:
        cursor.close()
        raise
    outcome = _Outcome(cursor.description, rows, cursor.rowcount, cursor.lastrowid, cursor)
    if len(rows) == _ROWS:
        return outcome
    cursor.close()
    return outcome._replace(open=None)


def _finish(cursor: sqlite3.Cursor) -> list[_Row]:
    """In the driver's thread."""
    rows = cursor.fetchall()
    cursor.close()
    return rows
