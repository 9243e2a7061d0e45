"""How a database is opened: SQLite with WAL, one writer at a time and fsync on commit; PostgreSQL as it comes.

A transaction that may write begins as BEGIN IMMEDIATE, so SQLite never finds out half-way that it cannot.
Errors of the driver leave this room as StoreFailed or Conflict, without the parameters of the statement.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import CompoundSelect, Connection, Insert, Select, Update, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from provisioner.errors import Conflict, StoreFailed, Unusable
from provisioner.store import one_hop

BUSY_TIMEOUT: Final = 5.0
"""s a writer waits for the one before it; an administrator's write takes milliseconds."""
_READING: Final = "provisioner_reading"
_PATIENCE: Final = "provisioner_patience"
_SOON: Final = 0.5
"""s in the queue of the own process that do not count: to shorten the rest costs two statements."""
_READ_TIMEOUT: Final = 0.05
"""s a read on the caller's thread may wait: only while another process recovers the database after a crash."""
_POOL_TIMEOUT: Final = 1.0
"""s to wait for a connection: a device that is told to come again does better than one that hangs."""
_LOG: Final = 8192
"""Pages (32 MiB) of SQLite's log at which a commit moves it into the database itself, and waits for the disk: only
where nobody does it beside, as ``checkpoints`` does. SQLite's own is 1,000, which one in fifty changes would meet."""
_CONNECTIONS: Final = 4
"""Connections an engine keeps: SQLite has one writer at a time, and a PostgreSQL worker needs few."""


def parse_url(url: str) -> URL:
    """The store's address; Unusable when it is none or names a database that is not supported."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise Unusable(f"store.url is no database URL: {error}") from error
    if parsed.get_backend_name() == "sqlite":
        return parsed.set(drivername="sqlite+aiosqlite")
    if parsed.get_backend_name() == "postgresql":
        if find_spec("psycopg") is None:
            raise Unusable("PostgreSQL needs the extra: pip install 'provisioner[postgres]'")
        return parsed.set(drivername="postgresql+psycopg")
    raise Unusable(f"store.url names {parsed.get_backend_name()}: only sqlite and postgresql are known")


def is_sqlite(url: URL) -> bool:
    """Whether the embedded database is meant."""
    return url.get_backend_name() == "sqlite"


def make_engine(url: URL, *, lossy: bool = False) -> AsyncEngine:
    """The engine for one purpose; a lossy one may lose its last second on power failure, never its consistency."""
    if is_sqlite(url):
        engine = create_async_engine(
            url,
            hide_parameters=True,
            pool_size=_CONNECTIONS,
            max_overflow=0,
            pool_timeout=_POOL_TIMEOUT,
            connect_args={"timeout": BUSY_TIMEOUT, "isolation_level": None, "async_creator_fn": one_hop.connect},
        )
        _tune_sqlite(engine, "NORMAL" if lossy else "FULL")
        return engine
    options = "-c synchronous_commit=off" if lossy else "-c synchronous_commit=on"
    return create_async_engine(
        url,
        hide_parameters=True,
        pool_size=_CONNECTIONS,
        max_overflow=_CONNECTIONS,
        pool_timeout=_POOL_TIMEOUT,
        connect_args={"options": options, "connect_timeout": 5},
    )


def _tune_sqlite(engine: AsyncEngine, synchronous: str) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        pragmas = ("journal_mode = WAL", f"synchronous = {synchronous}", "foreign_keys = ON")
        for pragma in (*pragmas, f"wal_autocheckpoint = {_LOG}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if _PATIENCE in options:
            _begin_within(connection, options[_PATIENCE])
        else:
            connection.exec_driver_sql("BEGIN" if options.get(_READING, False) else "BEGIN IMMEDIATE")


def _begin_within(connection: Connection, seconds: float) -> None:
    """Who has waited in this process waits for other processes only for what is left."""
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {BUSY_TIMEOUT * 1000:.0f}")


def read_only(url: URL, timeout: float = _READ_TIMEOUT) -> sqlite3.Connection:
    """A plain connection to the embedded database that cannot write, nor wait for a writer; for any thread."""
    address = f"{sqlite_path(url).absolute().as_uri()}?mode=ro"
    return sqlite3.connect(address, uri=True, isolation_level=None, timeout=timeout, check_same_thread=False)


def plain_sql(statement: Select[Any] | CompoundSelect[Any] | Insert | Update) -> str:
    """SQL text for such a connection; its parameters keep their names."""
    return str(statement.compile(dialect=sqlite.dialect(paramstyle="named")))


Bulk = str | Insert | Update
"""A statement to run for many rows; text where nothing has to be done to their values."""


def bulk_of(statement: Insert | Update, url: URL) -> Bulk:
    """SQLite takes rows of plain text and numbers as they are: that spares SQLAlchemy's pass over them, 10 µs a row."""
    return plain_sql(statement) if is_sqlite(url) else statement


async def in_bulk(connection: AsyncConnection, statement: Bulk, rows: Sequence[Mapping[str, Any]]) -> None:
    """Run a statement once for each row."""
    if not rows:
        return
    if isinstance(statement, str):
        await connection.exec_driver_sql(statement, rows)
    else:
        await connection.execute(statement, rows)


@asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One transaction that is kept when the block ends and dropped when it raises."""
    with failing_clearly():
        async with _turn(engine) as waited:
            late = waited > _SOON
            patient = engine.execution_options(**{_PATIENCE: max(BUSY_TIMEOUT - waited, 0.0)}) if late else engine
            async with patient.begin() as connection:
                yield connection


_TURNS: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Lock]]] = WeakKeyDictionary()
"""By database. Writers of one process queue here: SQLite has them sleep and look again, up to 100 ms at a time."""


@asynccontextmanager
async def _turn(engine: AsyncEngine) -> AsyncIterator[float]:
    """First come, first served, and nobody has a connection who cannot use it yet; how many s that took."""
    if not is_sqlite(engine.url):
        yield 0.0
        return
    came = monotonic()
    locks = _TURNS.setdefault(asyncio.get_running_loop(), {})
    lock = locks.setdefault(str(engine.url), asyncio.Lock())
    try:
        async with asyncio.timeout(BUSY_TIMEOUT):
            await lock.acquire()
    except TimeoutError as error:
        raise StoreFailed("the database failed: it is locked by another change of this process") from error
    try:
        yield monotonic() - came
    finally:
        lock.release()


def is_writing(engine: AsyncEngine) -> bool:
    """Whether a writer of this process has its turn: who can wait is not to stand in others' way then."""
    lock = _TURNS.get(asyncio.get_running_loop(), {}).get(str(engine.url))
    return lock is not None and lock.locked()


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Reads that wait for no writer: on SQLite one consistent view.

    On PostgreSQL each statement sees what was committed when it began, so a row may go between two of them.
    """
    with failing_clearly():
        async with engine.connect() as plain:
            connection = await plain.execution_options(**{_READING: True})
            yield connection


@contextmanager
def failing_clearly() -> Iterator[None]:
    """Turn the driver's errors into the store's."""
    try:
        yield
    except IntegrityError as error:
        raise Conflict(f"something else has changed this at the same moment: {reason(error)}") from error
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise StoreFailed(f"the database failed: {reason(error)}") from error


_TOO_MUCH: Final = "54"
"""PostgreSQL's class of errors that a value is too large for: the same value always will be."""


def may_pass(error: StoreFailed) -> bool:
    """Whether the same write may succeed later: locked, full or away, rather than refused."""
    cause = error.__cause__
    if str(getattr(getattr(cause, "orig", None), "sqlstate", "")).startswith(_TOO_MUCH):
        return False
    return isinstance(cause, (OperationalError, InterfaceError, NoConnection, TimeoutError))


def reason(error: Exception) -> str:
    """What the driver said, first line only and without the statement and its values."""
    said = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return (str(said).strip().splitlines() or [type(said).__name__])[0][:200]


def sqlite_path(url: URL) -> Path:
    """Where the embedded database lies; Unusable for one in memory, which would be forgotten."""
    if not url.database or url.database == ":memory:":
        raise Unusable("store.url names a database in memory: give the path of a file")
    return Path(url.database)
