"""What happens when reads fail half-way, connections run out or a writer holds the database: nothing half, no hang."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import event

from provisioner.errors import StoreFailed
from provisioner.fleet.fleet import Fleet
from provisioner.model import Device, Mac, Scope
from provisioner.store import migrations
from provisioner.store import views as views_module
from provisioner.store.database import Store
from provisioner.store.engine import make_engine, may_pass, parse_url, writing
from provisioner.store.tokens import TokenBook
from provisioner.store.uploads import NOBODY, Place, UploadShelf
from provisioner.store.views import Views

MAC = Mac("0004f2aabb01")
NAME = "0004f2aabb01-phone.cfg"
STRANGER = "x" * 21 + "A"
"""What a token may look like."""


@pytest_asyncio.fixture
async def acme(fleet: Fleet) -> Fleet:
    await fleet.add_account("Acme")
    await fleet.add_site("Berlin", account="Acme", time_zone="Europe/Berlin")
    await fleet.add_device(MAC, vendor="poly", model="VVX 411", account="Acme", site="Berlin")
    return fleet


def expiry(views: Views, device: Device) -> object:
    return views.shared(device)[0]["sip.expiry"].value


class Faulty:
    """A reader whose first read of layers waits for a signal, or whose reads of layers fail."""

    def __init__(self, views: Views, monkeypatch: pytest.MonkeyPatch) -> None:
        self.healthy = True
        self.calls = 0
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()
        self.go_on.set()
        for name in ("layer", "layers"):
            monkeypatch.setattr(views._reader, name, self._around(getattr(views._reader, name)))

    def _around(self, read: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def around(*given: str) -> Any:
            self.calls += 1
            first = self.calls == 1
            rows = await read(*given)
            self.reached.set()
            if first:
                await self.go_on.wait()
            if not self.healthy:
                raise StoreFailed("the connection broke")
            return rows

        return around


@pytest.mark.asyncio
async def test_a_read_of_layers_that_fails_leaves_all_as_it_was_and_is_done_again(
    acme: Fleet, views: Views, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    device = await acme.device(MAC)
    await acme.set_layer(Scope.ACCOUNT, "Acme", {"sip.expiry": 100})
    assert await views.refresh()
    known, shared = views.generation, views.shared(device)
    await acme.set_layer(Scope.ACCOUNT, "Acme", {"sip.expiry": 200})
    faulty = Faulty(views, monkeypatch)
    faulty.healthy = False
    caplog.set_level(logging.WARNING)
    assert [await views.refresh() for _ in range(3)] == [False] * 3
    assert faulty.calls == 3
    assert caplog.text.count("changes cannot be read") == 1
    assert (views.generation, views.shared(device)) == (known, shared)
    with pytest.raises(StoreFailed):
        await views.boot_view(MAC)
    assert (views.generation, views.shared(device)) == (known, shared)
    faulty.healthy = True
    assert await views.refresh() and views.generation > known
    assert expiry(views, device) == 200


@pytest.mark.asyncio
async def test_a_reload_of_all_that_fails_leaves_all_as_it_was_and_is_done_again(
    acme: Fleet, store: Store, views: Views, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = await acme.device(MAC)
    await acme.set_layer(Scope.ACCOUNT, "Acme", {"sip.expiry": 100})
    await views.refresh()
    known, shared = views.generation, views.shared(device)
    await acme.set_layer(Scope.ACCOUNT, "Acme", {"sip.expiry": 200})
    async with store.writing() as connection:
        await connection.exec_driver_sql("DELETE FROM change")  # as when a worker is too far behind
    faulty = Faulty(views, monkeypatch)
    faulty.healthy = False
    assert not await views.refresh()
    assert (views.generation, views.shared(device)) == (known, shared)
    faulty.healthy = True
    assert await views.refresh() and views.generation > known
    assert expiry(views, device) == 200


@pytest.mark.asyncio
async def test_while_layers_are_read_the_old_ones_are_served_whole(
    acme: Fleet, views: Views, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = await acme.device(MAC)
    await acme.set_layer(Scope.ACCOUNT, "Acme", {"sip.expiry": 100})
    await views.refresh()
    known, shared = views.generation, views.shared(device)
    await acme.set_layer(Scope.ACCOUNT, "Acme", {"sip.expiry": 200})
    faulty = Faulty(views, monkeypatch)
    faulty.go_on.clear()
    first = asyncio.create_task(views.refresh())
    await faulty.reached.wait()
    assert views.shared(device) is shared and views.generation == known
    await acme.set_layer(Scope.ACCOUNT, "Acme", {"sip.expiry": 300})
    second = asyncio.create_task(views.boot_view(MAC))
    await asyncio.sleep(0.05)
    assert views.shared(device) is shared and views.generation == known
    faulty.go_on.set()
    await first
    view = await second
    assert view is not None and views.generation == view.revision
    assert expiry(views, device) == 300


@pytest.mark.asyncio
async def test_a_slow_reader_never_puts_older_layers_over_newer_ones(
    acme: Fleet, views: Views, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = await acme.device(MAC)
    await acme.set_layer(Scope.ACCOUNT, "Acme", {"sip.expiry": 100})
    faulty = Faulty(views, monkeypatch)
    faulty.go_on.clear()
    slow = asyncio.create_task(views.refresh())
    await faulty.reached.wait()
    await acme.set_layer(Scope.ACCOUNT, "Acme", {"sip.expiry": 200})
    fast = [asyncio.create_task(views.boot_view(MAC)) for _ in range(3)]
    await asyncio.wait(fast, timeout=0.3)
    faulty.go_on.set()
    await slow
    booted = [await one for one in fast]
    assert {one.revision for one in booted if one} == {views.generation}
    assert expiry(views, device) == 200


@pytest.mark.asyncio
async def test_a_view_carries_the_revision_its_rows_were_read_at(acme: Fleet, views: Views) -> None:
    before = await views.boot_view(MAC)
    await acme.set_layer(Scope.DEVICE, MAC, {"net.vlan": 7})
    after = await views.boot_view(MAC)
    assert before is not None and after is not None
    assert before.revision + 1 == after.revision == views.generation


@pytest.mark.asyncio
async def test_merged_layers_are_bounded_and_those_in_use_stay(
    acme: Fleet, views: Views, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views_module, "MERGED_KEPT", 3)
    device = await acme.device(MAC)
    sites = [await acme.add_site(f"Site {number}", account="Acme", time_zone="Asia/Tokyo") for number in range(5)]
    await views.refresh()
    used = views.shared(device)
    for site in sites:
        there = Device(MAC, "poly", "VVX 411", device.state, device.account, site.id)
        assert views.shared(there)[0]["time.zone"].value == "Asia/Tokyo"
        assert views.shared(device) is used
    assert len(views._merged) == 3


@contextmanager
def statements(store: Store) -> Iterator[list[str]]:
    """What goes over the store's pool."""
    sent: list[str] = []

    def listen(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        sent.append(statement.split(maxsplit=1)[0])

    event.listen(store.engine.sync_engine, "before_cursor_execute", listen)
    yield sent
    event.remove(store.engine.sync_engine, "before_cursor_execute", listen)


@asynccontextmanager
async def no_connection_free(store: Store) -> AsyncIterator[None]:
    pool: Any = store.engine.pool
    async with AsyncExitStack() as held:
        for _ in range(pool.size() + pool._max_overflow):
            await held.enter_async_context(store.engine.connect())
        yield


async def opened(fleet: Fleet, fetches: int = 1) -> str:
    await fleet.allow(MAC, token=True)
    token, _ = await fleet.open_token(MAC, now=100.0, window=60, fetches=fetches)
    return token


@pytest.mark.asyncio
async def test_a_word_that_opens_nothing_writes_nothing(acme: Fleet, store: Store) -> None:
    book, token = TokenBook(store), await opened(acme)
    with statements(store) as sent:
        assert await book.spend(STRANGER, 101.0) is None
        assert await book.spend(token, 99.0) is None
        assert await book.spend(token, 160.0) is None
    assert "UPDATE" not in sent and "BEGIN" not in sent
    with statements(store) as sent:
        assert await book.spend(token, 101.0) == MAC
    assert "UPDATE" in sent
    with statements(store) as sent:
        assert await book.spend(token, 101.0) is None
    assert "UPDATE" not in sent and "BEGIN" not in sent


@pytest.mark.asyncio
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_a_stranger_waits_for_no_writer_and_takes_no_connection(acme: Fleet, store: Store) -> None:
    book, token = TokenBook(store), await opened(acme)
    writer = sqlite3.connect(store.url.database or "", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    begin = time.perf_counter()
    async with no_connection_free(store):
        assert await book.spend(STRANGER, 101.0) is None
    assert time.perf_counter() - begin < 0.5
    writer.execute("ROLLBACK")
    writer.close()
    assert await book.spend(token, 101.0) == MAC


@pytest.mark.asyncio
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_a_token_is_found_by_its_index(acme: Fleet, store: Store) -> None:
    sent: list[str] = []
    book = TokenBook(store)
    await book.spend(STRANGER, 101.0)
    assert book._reader is not None
    book._reader.set_trace_callback(sent.append)
    await book.spend(STRANGER, 201.0)  # what was unknown a moment ago is not asked again
    [query] = sent
    [step] = [row[3] for row in book._reader.execute("EXPLAIN QUERY PLAN " + query)]
    assert step.startswith("SEARCH token USING INDEX")


@pytest.mark.asyncio
async def test_when_no_connection_comes_free_the_store_fails_soon(acme: Fleet, store: Store) -> None:
    book, shelf, token = TokenBook(store), UploadShelf(store), await opened(acme)
    for work in (book.spend(token, 101.0), shelf.put(MAC, NAME, "overrides", b"x"), shelf.get(MAC, NAME)):
        begin = time.perf_counter()
        async with no_connection_free(store):
            with pytest.raises(StoreFailed):
                await work
        assert time.perf_counter() - begin < 3.0
    assert await book.spend(token, 101.0) == MAC


class Rest(Generator[Any, Any, Any]):
    """What is left of a coroutine that was begun outside of a Task."""

    def __init__(self, work: Coroutine[Any, Any, Any], waits_for: object) -> None:
        self._work, self._first = work, [waits_for]

    def __await__(self) -> Generator[Any, Any, Any]:
        return self

    def send(self, value: Any) -> Any:
        return self._first.pop() if self._first else self._work.send(value)

    def throw(self, *error: Any) -> Any:
        return self._work.throw(*error)


def eagerly(work: Coroutine[Any, Any, Any]) -> asyncio.Future[Any]:
    """Begin the work outside of any Task, as the device edge does, and let one take over when it waits."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[Any] = loop.create_future()

    async def rest(waits_for: object) -> None:
        try:
            result.set_result(await Rest(work, waits_for))
        except (RuntimeError, StoreFailed) as error:
            result.set_exception(error)

    def begin() -> None:
        assert asyncio.current_task() is None
        try:
            rests.append(loop.create_task(rest(work.send(None))))
        except StopIteration as done:
            result.set_result(done.value)
        except (RuntimeError, StoreFailed) as error:
            result.set_exception(error)

    rests: list[asyncio.Task[None]] = []
    loop.call_soon(begin)
    return result


@pytest.mark.asyncio
async def test_the_edge_may_begin_them_outside_of_a_task(acme: Fleet, store: Store, views: Views) -> None:
    book, shelf, token = TokenBook(store), UploadShelf(store), await opened(acme, fetches=8)
    assert await eagerly(book.spend(token, 101.0)) == MAC
    assert await eagerly(book.spend(STRANGER, 101.0)) is None
    await eagerly(shelf.put(MAC, NAME, "overrides", b"first"))
    assert await eagerly(shelf.get(MAC, NAME)) == b"first"
    async with no_connection_free(store):
        waiting = [
            eagerly(book.spend(token, 101.0)),
            eagerly(shelf.put(MAC, NAME, "overrides", b"second")),
            eagerly(shelf.get(MAC, NAME)),
        ]
        await asyncio.sleep(0.1)
    assert (await waiting[0], await waiting[1], await waiting[2] in (b"first", b"second")) == (MAC, None, True)
    await acme.set_layer(Scope.ACCOUNT, "Acme", {"sip.expiry": 100})
    booted = await asyncio.gather(*(eagerly(views.boot_view(MAC)) for _ in range(5)))
    assert {one.revision for one in booted} == {views.generation}


@pytest.mark.asyncio
async def test_a_put_takes_away_what_a_crash_left_of_the_same_name(acme: Fleet, store: Store, tmp_path: Path) -> None:
    shelf, directory = UploadShelf(store), tmp_path / "uploads" / MAC
    await shelf.put(MAC, NAME, "overrides", b"first")
    await shelf.put(MAC, "0004f2aabb01-app.log", "log", b"other name")
    stem = Place(MAC, NOBODY, NAME).stem
    [first] = directory.glob(f"{stem}-*")
    [other] = set(directory.iterdir()) - {first}
    left, under_way = directory / f"{stem}-0123456789abcdef-1", directory / f"{stem}-0123456789abcdef-2"
    for path in (left, under_way):
        path.write_bytes(b"x")
    for path in (left, other):
        os.utime(path, (1000.0, 1000.0))
    await shelf.put(MAC, NAME, "overrides", b"second")
    assert not left.exists() and not first.exists()
    assert under_way.exists(), "another worker may be about to name it in a row"
    assert await shelf.get(MAC, NAME) == b"second"
    assert await shelf.get(MAC, "0004f2aabb01-app.log") == b"other name"


@pytest.mark.asyncio
async def test_a_put_that_is_durable_is_told_so_even_when_the_old_file_cannot_go(
    acme: Fleet, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = UploadShelf(store)
    await shelf.put(MAC, NAME, "overrides", b"first")

    def refuse(_path: Path, *, missing_ok: bool = False) -> None:
        raise PermissionError(missing_ok)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "unlink", refuse)
        await shelf.put(MAC, NAME, "overrides", b"second")
    assert await shelf.get(MAC, NAME) == b"second"


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_the_version_is_read_while_a_writer_holds_the_database(url: str, tmp_path: Path) -> None:
    path = tmp_path / "provisioner.db"
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE revision SET value = 1")
    begin = time.perf_counter()
    migrations.require_current(url)
    assert time.perf_counter() - begin < 2.0
    writer.execute("ROLLBACK")
    writer.close()


def test_asking_for_the_version_changes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "foreign.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE mine (a)")
    other.close()
    before = path.read_bytes()
    assert migrations.current(f"sqlite:///{path}") == ""
    assert path.read_bytes() == before


@pytest.mark.asyncio
async def test_writers_of_one_process_queue_and_the_last_waits_no_longer_than_its_turn(tmp_path: Path) -> None:
    """SQLite itself has a writer sleep up to 100 ms between two looks, and whoever looks first is served."""
    engine = make_engine(parse_url(f"sqlite:///{tmp_path / 'turns.db'}"))
    async with writing(engine) as connection:
        await connection.exec_driver_sql("CREATE TABLE t (id INTEGER)")
    served: list[int] = []

    async def write(number: int) -> None:
        async with writing(engine) as connection:
            await connection.exec_driver_sql("INSERT INTO t VALUES (?)", (number,))
            served.append(number)

    await asyncio.gather(*(write(number) for number in range(30)))
    assert served == list(range(30))
    await engine.dispose()


@pytest.mark.asyncio
async def test_a_writer_that_waits_for_itself_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisioner.store.engine.BUSY_TIMEOUT", 0.2)
    engine = make_engine(parse_url(f"sqlite:///{tmp_path / 'turns.db'}"))
    async with writing(engine):
        with pytest.raises(StoreFailed, match="another change of this process") as failed:
            async with writing(engine):
                pass
        assert may_pass(failed.value)
    async with writing(engine) as connection:
        await connection.exec_driver_sql("CREATE TABLE t (id INTEGER)")
    await engine.dispose()


@pytest.mark.asyncio
async def test_who_has_waited_for_his_turn_waits_for_other_processes_only_for_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisioner.store.engine.BUSY_TIMEOUT", 1.0)
    engine = make_engine(parse_url(f"sqlite:///{tmp_path / 'rest.db'}"))
    async with writing(engine) as connection:
        await connection.exec_driver_sql("CREATE TABLE one (it INTEGER)")

    async def write() -> None:
        async with writing(engine) as connection:
            await connection.exec_driver_sql("INSERT INTO one VALUES (1)")

    with closing(sqlite3.connect(tmp_path / "rest.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        failed = await asyncio.gather(write(), write(), return_exceptions=True)
        assert all(isinstance(one, StoreFailed) and may_pass(one) for one in failed)
        assert time.monotonic() - began < 1.7
        other.execute("ROLLBACK")
    await asyncio.gather(*(write() for _ in range(4)))
    async with writing(engine) as connection:
        assert (await connection.exec_driver_sql("PRAGMA busy_timeout")).scalar() == 1000
    await engine.dispose()
