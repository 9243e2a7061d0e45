"""The schema's versions, run in order and each in one transaction; a crash half-way leaves the version before."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Engine, column, create_engine, event, inspect, select, table
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from provisioner.errors import StoreFailed, Unusable
from provisioner.store.engine import BUSY_TIMEOUT, is_sqlite, parse_url, read_only, reason, sqlite_path

if TYPE_CHECKING:
    from alembic.config import Config

_VERSIONS: Final = Path(__file__).with_name("versions")
_STAMP: Final = table("alembic_version", column("version_num"))
"""Alembic's own table; Alembic itself is loaded by who upgrades: whoever only asks has no use for its weight."""


def upgrade(url: str) -> str:
    """Bring the database to the newest version, making it when there is none; the version it has then."""
    parsed = parse_url(url)
    if is_sqlite(parsed):
        _make_file(sqlite_path(parsed))
    from alembic import command

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
        if not inspect(connection).has_table(_STAMP.name):
            return ""
        return str(connection.execute(select(_STAMP.c.version_num)).scalar() or "")


def head() -> str:
    """The version this program needs: the highest number that a file of a version begins with."""
    return max(file.name[1:5] for file in _VERSIONS.glob("v[0-9]*_*.py"))


def require_current(url: str) -> None:
    """Unusable, with what to do, unless the database has the version this program needs."""
    if (found := current(url)) != head():
        raise Unusable(
            f"the database has schema version {found or 'none'}, this program needs {head()}:"
            " run `provisioner db upgrade`"
        )


def _config() -> Config:
    from alembic.config import Config

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
