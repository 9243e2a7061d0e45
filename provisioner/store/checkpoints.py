"""Moves what was committed out of SQLite's log into the database, beside those who write: no commit waits for it.

SQLite would have a commit that finds the log long do that itself, and wait for the disk as long as it takes. There is
still a length at which one does, for where nobody else is there to.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL

from provisioner.store.engine import is_sqlite, sqlite_path

_LONG: Final = 1024 * 1024
"""Bytes of a log that is worth it."""


class Checkpoints:
    """One of them in an installation; PostgreSQL needs none."""

    def __init__(self, url: URL) -> None:
        self._path: Path | None = sqlite_path(url) if is_sqlite(url) else None
        self._connection: sqlite3.Connection | None = None

    async def turn(self) -> bool:
        """Move what can be moved without anybody waiting; whether there was enough to."""
        if self._path is None or not self._is_long(self._path):
            return False
        await asyncio.to_thread(self._move, self._path)
        return True

    async def close(self) -> None:
        """Give the connection back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await asyncio.to_thread(connection.close)

    def _is_long(self, path: Path) -> bool:
        with suppress(OSError):
            return path.with_name(f"{path.name}-wal").stat().st_size >= _LONG
        return False

    def _move(self, path: Path) -> None:
        """PASSIVE: whoever reads or writes goes on; what they still need stays in the log."""
        if self._connection is None:
            self._connection = _opened(path)
        with suppress(sqlite3.OperationalError):  # somebody else does it right now, or the disk is full: next time
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def _opened(path: Path) -> sqlite3.Connection:
    """Never makes a database where there is none."""
    address = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(address, uri=True, isolation_level=None, timeout=0, check_same_thread=False)
