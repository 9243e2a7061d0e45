"""What was committed comes into the database beside those who write: nobody waits, and nothing is seen too early."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from provisioner.store.checkpoints import Checkpoints
from provisioner.store.database import Store
from provisioner.store.engine import parse_url, sqlite_path

pytestmark = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


async def write(store: Store, times: int) -> None:
    """Commits of a quarter of a megabyte each."""
    for _ in range(times):
        async with store.writing() as connection:
            await connection.execute(text("INSERT INTO pile VALUES (:big)"), {"big": b"x" * 262_144})


async def piled(store: Store) -> Path:
    async with store.writing() as connection:
        await connection.exec_driver_sql("CREATE TABLE pile (big BLOB)")
    return sqlite_path(store.url)


def in_the_file(path: Path) -> int:
    """Rows that are in the database itself, looked at in a copy without the log.

    Another process makes the copy: whoever closes the file here would drop SQLite's locks on it with that.
    """
    copy = path.with_name("copy.db")
    subprocess.run(["cp", path, copy], check=True)
    with closing(sqlite3.connect(copy)) as plain:
        try:
            return int(plain.execute("SELECT count(*) FROM pile").fetchone()[0])
        except sqlite3.OperationalError:
            return 0  # not even the table


@pytest.mark.asyncio
async def test_a_long_log_is_moved_and_a_short_one_left(store: Store) -> None:
    path = await piled(store)
    checkpoints = Checkpoints(store.url)
    assert await checkpoints.turn() is False
    await write(store, 6)
    assert in_the_file(path) == 0
    assert await checkpoints.turn() is True
    assert in_the_file(path) == 6
    await checkpoints.close()


@pytest.mark.asyncio
async def test_nobody_waits_for_it_and_nobody_holds_it_up(store: Store) -> None:
    path = await piled(store)
    checkpoints = Checkpoints(store.url)
    await write(store, 6)
    async with store.reading() as connection:
        before = (await connection.execute(text("SELECT count(*) FROM pile"))).scalar_one()
        await write(store, 6)
        async with store.writing() as writer:
            await writer.execute(text("INSERT INTO pile VALUES ('last')"))
            await checkpoints.turn()
        assert (await connection.execute(text("SELECT count(*) FROM pile"))).scalar_one() == before == 6
        assert (await connection.execute(text("PRAGMA integrity_check"))).scalar_one() == "ok"
    await checkpoints.turn()
    assert in_the_file(path) == 13  # what the reader did not see yet had stayed in the log
    await checkpoints.close()


@pytest.mark.asyncio
async def test_a_commit_moves_it_only_where_nobody_else_does(store: Store) -> None:
    async with store.writing() as connection:
        found = (await connection.exec_driver_sql("PRAGMA wal_autocheckpoint")).scalar_one()
    assert found == 8192


@pytest.mark.asyncio
async def test_another_database_has_none(store: Store, tmp_path: Path) -> None:
    assert await Checkpoints(parse_url("postgresql://127.0.0.1/x")).turn() is False
    assert await Checkpoints(parse_url(f"sqlite:///{tmp_path}/none.db")).turn() is False
    assert not (tmp_path / "none.db").exists()
