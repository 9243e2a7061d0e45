"""The time of the profile listener ends by its own clock, and a port that is taken is tried again within it."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from spare_port import spare_port

from provisioner.app import certificate_files
from provisioner.profile_app import _AGAIN, ProfileHouse
from provisioner.settings import load
from provisioner.store import engine as engines
from provisioner.store.cards import Window, open_window, read_window

pytestmark = pytest.mark.asyncio
PORT = spare_port()


class Scene:
    """The house of the process, and the database that it looks at."""

    def __init__(self, data: Path) -> None:
        self.settings = load(data)
        self.engine = engines.make_engine(engines.parse_url(self.settings.database_url), lossy=True)
        self.house = ProfileHouse(self.settings, {}, certificate_files(self.settings), self.engine)

    async def opened(self, seconds: float) -> None:
        now = time.time()
        async with engines.writing(self.engine) as connection:
            await open_window(connection, Window(opened_at=now - 1, until=now + seconds, actor="ann"))

    async def window(self) -> Window:
        async with engines.reading(self.engine) as connection:
            return await read_window(connection)


@asynccontextmanager
async def scene(data: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setenv("PROVISIONER_PROFILE_PORT", str(PORT))
    made = Scene(data)
    try:
        yield made
    finally:
        await asyncio.sleep(0.1)  # asyncio loses a connection that comes in the very turn in which a server is closed
        await made.house.leave()
        await made.engine.dispose()


def reached() -> bool:
    try:
        socket.create_connection(("127.0.0.1", PORT), timeout=2).close()
    except ConnectionRefusedError:
        return False
    return True


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not await asyncio.to_thread(happened):  # noqa: ASYNC110  # another task does it, and sets no event
            await asyncio.sleep(0.02)


async def test_it_closes_by_its_own_clock_while_the_database_hangs(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(data, monkeypatch) as here:
        await here.opened(1.0)
        await here.house.look()
        assert (await here.window()).listening == f"127.0.0.1:{PORT}"
        with socket.create_connection(("127.0.0.1", PORT), timeout=5) as held:
            await asyncio.sleep(0.9)
            await until(lambda: not reached())  # and nobody looks at anything meanwhile
            assert await asyncio.to_thread(held.recv, 10) == b"", "who was inside is out, too"
        async with engines.writing(here.engine) as connection:
            await connection.exec_driver_sql("UPDATE profile_window SET until = until + 100")  # or a clock set back
        await here.house.look()
        assert not await asyncio.to_thread(reached), "one window is one opening"
        await here.house.look()
        assert (await here.window()).listening == ""


async def test_a_port_that_was_taken_is_had_within_the_same_window(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(data, monkeypatch) as here:
        with socket.create_server(("127.0.0.1", PORT)):
            await here.opened(60.0)
            await here.house.look()
            before = await here.window()
            assert "is taken by another program" in before.trouble
        await here.house.look()
        assert not await asyncio.to_thread(reached), "not with every look"
        here.house._try_at -= _AGAIN
        await here.house.look()
        after = await here.window()
        assert (after.number, after.listening, after.trouble) == (before.number, f"127.0.0.1:{PORT}", "")
        assert await asyncio.to_thread(reached)
