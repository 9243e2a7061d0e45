"""The schema's versions, run in order and each in one transaction; a crash half-way leaves the version before."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from provisioner.errors import StoreFailed, Unusable
from provisioner.store.engine import BUSY_TIMEOUT, is_sqlite, parse_url, read_only, reason, sqlite_path


def upgrade(url: str) -> str:
    """Bring the database to the newest version, making it when there is none; the version it has then."""
    parsed = parse_url(url)
    if is_sqlite(parsed):
        _make_file(sqlite_path(parsed))
    with _opened(parsed) as engine, engine.begin() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return head()


def current(url: str) -> str:
    """The version a database has; empty when it is none of ours yet."""
    parsed = parse_url(url)
    if is_sqlite(parsed) and not sqlite_path(parsed).is_file():
        return ""
    with _opened(parsed, writable=False) as engine, engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() or ""


def head() -> str:
    """The version this program needs."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def require_current(url: str) -> None:
    """Unusable, with what to do, unless the database has the version this program needs."""
    if (found := current(url)) != head():
        raise Unusable(
            f"the database has schema version {found or 'none'}, this program needs {head()}:"
            " run `provisioner db upgrade`"
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _opened(url: URL, *, writable: bool = True) -> Iterator[Engine]:
    """An engine for one question or migration, with the driver's errors said as the store's."""
    engine = _engine(url) if writable or not is_sqlite(url) else _reading_engine(url)
    try:
        yield engine
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise StoreFailed(f"the database failed: {reason(error)}") from error
    finally:
        engine.dispose()


def _engine(url: URL) -> Engine:
    if not is_sqlite(url):
        return create_engine(url, hide_parameters=True, poolclass=NullPool)
    plain = url.set(drivername="sqlite")
    args = {"timeout": BUSY_TIMEOUT, "isolation_level": None}
    engine = create_engine(plain, hide_parameters=True, poolclass=NullPool, connect_args=args)

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        for pragma in ("journal_mode = WAL", "synchronous = FULL"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _reading_engine(url: URL) -> Engine:
    """SQLite without a write, a lock or a change of journal: a question never waits for a writer."""
    plain = url.set(drivername="sqlite")
    return create_engine(plain, poolclass=NullPool, creator=lambda: read_only(url, BUSY_TIMEOUT))


def _make_file(path: Path) -> None:
    """An empty database that only its owner can read; SQLite gives its WAL the same rights."""
    if not path.parent.is_dir():
        raise Unusable(f"the directory {path.parent} is missing: make it, or correct store.url")
    if not path.exists():
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
