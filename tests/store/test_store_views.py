"""One SELECT tells a boot everything, from a healthy database or not; what is shared follows within a second."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import event, text

from provisioner.errors import StoreFailed
from provisioner.fleet.fleet import Fleet
from provisioner.layers import merge
from provisioner.model import ConfigLayer, DeviceState, Mac, Scope
from provisioner.neutral import HostPort
from provisioner.store import views as views_module
from provisioner.store.database import CHANGES_KEPT, Store, key_path
from provisioner.store.engine import is_sqlite
from provisioner.store.records import Recorder
from provisioner.store.uploads import UploadShelf
from provisioner.store.views import Views

pytestmark = pytest.mark.asyncio

MAC = Mac("0004f2aabb01")
OTHER = Mac("0004f2aabb02")


@pytest_asyncio.fixture
async def acme(fleet: Fleet) -> Fleet:
    await fleet.add_account("Acme")
    await fleet.add_user("Ann", account="Acme")
    for number in ("100", "101", "102"):
        await fleet.add_extension(number, account="Acme", user="Ann", display_name="Zoë", secret=f"secret-{number}")
    await fleet.add_site("Berlin", account="Acme", time_zone="Europe/Berlin")
    for mac in (MAC, OTHER):
        await fleet.add_device(mac, vendor="poly", model="VVX 411", account="Acme", site="Berlin")
    return fleet


@contextmanager
def statements(store: Store, views: Views) -> Iterator[list[str]]:
    """What the boot path sends to the database."""
    sent: list[str] = []
    if is_sqlite(store.url):
        connection = views._reader._connection
        connection.set_trace_callback(sent.append)
        yield sent
        connection.set_trace_callback(None)
        return

    def listen(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        sent.append(statement)

    event.listen(store.engine.sync_engine, "before_cursor_execute", listen)
    yield sent
    event.remove(store.engine.sync_engine, "before_cursor_execute", listen)


async def test_one_select_tells_everything(
    acme: Fleet, store: Store, views: Views, make_recorder: Callable[[], Recorder]
) -> None:
    await acme.bind(MAC, 3, extension="100", label="Front")
    await acme.bind(MAC, 1, extension="101")
    await acme.bind(MAC, 2, extension="102")
    await acme.unbind(MAC, 2)
    await acme.set_layer(Scope.DEVICE, MAC, {"password.admin": "canary", "net.vlan": 7}, {"voice.gain": "3"})
    await acme.allow(MAC, digest=True)
    secret = await acme.set_digest(MAC)
    for name in ("0004f2aabb01-phone.cfg", "0004f2aabb01-calls.xml"):
        await UploadShelf(store).put(MAC, name, "overrides", b"x")
    recorder = make_recorder()
    recorder.pin(MAC, "ab" * 32, "2040-01-01T00:00:00Z")
    recorder.modern(MAC)
    await recorder.flush()
    await views.refresh()
    with statements(store, views) as sent:
        view = await views.boot_view(MAC)
    assert len(sent) == 1 and sent[0].startswith("SELECT")
    assert view is not None
    device = view.device
    assert (device.mac, device.vendor, device.model, device.state) == (MAC, "poly", "VVX 411", DeviceState.ASSIGNED)
    assert (device.pinned, device.seen_modern, device.allow_digest, device.allow_token) == (
        "ab" * 32,
        True,
        True,
        False,
    )
    assert device.digest_secret == secret
    assert [(one.number, one.extension, one.secret, one.label) for one in view.lines] == [
        (1, "101", "secret-101", ""),
        (3, "100", "secret-100", "Front"),
    ]
    assert view.layer == ConfigLayer(
        Scope.DEVICE, MAC, {"password.admin": "canary", "net.vlan": 7}, {"voice.gain": "3"}
    )
    assert view.uploads == {"0004f2aabb01-phone.cfg", "0004f2aabb01-calls.xml"}
    for told in (secret, "secret-100", "canary"):
        assert told not in repr(view)


async def test_a_device_never_boots_with_shared_layers_older_than_itself(acme: Fleet, views: Views) -> None:
    await acme.set_layer(Scope.ACCOUNT, "Acme", {"sip.server": "pbx.example.net"}, {})
    late = Mac("0004f2aabb03")
    await acme.add_device(late, vendor="poly", model="VVX 411", account="Acme")
    view = await views.boot_view(late)
    assert view is not None
    values, _ = views.shared(view.device)
    assert values["sip.server"].value == HostPort("pbx.example.net")


async def test_an_unknown_device_is_none_and_a_new_one_is_bare(acme: Fleet, views: Views) -> None:
    assert await views.boot_view(Mac("0004f2ffffff")) is None
    view = await views.boot_view(OTHER)
    assert view is not None
    assert (view.device.state, view.lines, view.layer, view.uploads) == (DeviceState.UNASSIGNED, (), None, frozenset())
    assert view.device.allow_expired and not view.device.pinned


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_the_select_reads_no_table_from_end_to_end(acme: Fleet, store: Store) -> None:
    async with store.reading() as connection:
        plan = await connection.exec_driver_sql("EXPLAIN QUERY PLAN " + views_module._SqliteReader._BOOT, {"mac": MAC})
        steps = [row[3] for row in plan]
    one_row_table = ("SCALAR SUBQUERY", "SCAN revision")
    assert [step for step in steps if not step.startswith(("SEARCH", "CORRELATED", *one_row_table))] == []


async def test_layers_of_all_scopes_meet_in_order(acme: Fleet, views: Views) -> None:
    [account] = await acme.accounts()
    [site] = await acme.sites()
    for scope, key, expiry in (
        (Scope.DEFAULTS, "", 100),
        (Scope.VENDOR, "poly", 200),
        (Scope.MODEL, "VVX 411", 300),
        (Scope.ACCOUNT, "Acme", 400),
        (Scope.SITE, "Berlin", 500),
        (Scope.VENDOR, "yealink", 900),
    ):
        await acme.set_layer(scope, key, {"sip.expiry": expiry})
    before = views.generation
    assert await views.refresh() and views.generation > before
    device = await acme.device(MAC)
    values, _ = views.shared(device)
    found = values["sip.expiry"]
    assert (found.value, found.scope, found.key) == (500, Scope.SITE, site.id)
    assert found.overrode == (
        (Scope.ACCOUNT, 400), (Scope.MODEL, 300), (Scope.VENDOR, 200), (Scope.DEFAULTS, 100),
    )  # fmt: skip
    assert values["time.zone"].value == "Europe/Berlin"
    assert views.shared(device) is views.shared(device)
    assert not await views.refresh()
    await acme.unset_layer(Scope.SITE, "Berlin", ["sip.expiry"])
    assert await views.refresh()
    assert views.shared(device)[0]["sip.expiry"].key == account.id


async def test_a_raw_parameter_in_a_mixed_layer_reaches_its_vendor_only(acme: Fleet, views: Views) -> None:
    await acme.add_device(Mac("805ec0000001"), vendor="yealink", model="T46S", account="Acme")
    await acme.set_layer(Scope.ACCOUNT, "Acme", {}, {"poly:voice.gain": "3", "yealink:account.1.x": "1"})
    await views.refresh()
    assert {name: one.value for name, one in views.shared(await acme.device(MAC))[1].items()} == {"voice.gain": "3"}
    yealink = views.shared(await acme.device(Mac("805ec0000001")))
    assert {name: one.value for name, one in yealink[1].items()} == {"account.1.x": "1"}


async def test_built_in_settings_lie_below_all(acme: Fleet, store: Store) -> None:
    views = Views(store, ConfigLayer(Scope.BUILT_IN, "", {"sip.expiry": 60, "language": "en-US"}))
    await views.open()
    await acme.set_layer(Scope.DEFAULTS, "", {"language": "de-DE"})
    await views.refresh()
    values, _ = views.shared(await acme.device(MAC))
    assert (values["sip.expiry"].scope, values["language"].value) == (Scope.BUILT_IN, "de-DE")
    assert values["language"].overrode == ((Scope.BUILT_IN, "en-US"),)
    await views.close()


async def test_every_change_of_an_administrator_moves_the_generation(acme: Fleet, views: Views) -> None:
    for change in (
        acme.revoke_device(MAC),
        acme.restore_device(MAC),
        acme.bind(MAC, 1, extension="100"),
        acme.set_secret("100"),
        acme.allow(MAC, token=True),
        acme.rename_account("Acme", name="Acme GmbH"),
    ):
        before = views.generation
        await change
        assert await views.refresh() and views.generation > before


async def test_a_worker_far_behind_loads_everything_again(acme: Fleet, store: Store, views: Views) -> None:
    await acme.set_layer(Scope.DEFAULTS, "", {"sip.expiry": 100})
    async with store.changing("test", 1.0) as change:
        await change.connection.execute(text("UPDATE revision SET value = value + :n"), {"n": CHANGES_KEPT})
        change.revision += CHANGES_KEPT
    assert await views.refresh()
    assert views.shared(await acme.device(MAC))[0]["sip.expiry"].value == 100


async def test_a_database_put_back_from_a_backup_is_followed_too(acme: Fleet, store: Store, views: Views) -> None:
    await acme.set_layer(Scope.DEFAULTS, "", {"sip.expiry": 100})
    await views.refresh()
    async with store.writing() as connection:
        for statement in ("UPDATE revision SET value = 1", "DELETE FROM change", "DELETE FROM layer"):
            await connection.execute(text(statement))
    assert await views.refresh()
    assert "sip.expiry" not in views.shared(await acme.device(MAC))[0]


CHILD = """
import asyncio, sys, time
from pathlib import Path
from provisioner.fleet.fleet import Fleet
from provisioner.model import Scope
from provisioner.store.database import Store
from provisioner.store.secretbox import SecretBox
async def main(url, key):
    async with Store(url, SecretBox.load(Path(key)), Path("/nowhere")) as store:
        await Fleet(store, {}).set_layer(Scope.DEFAULTS, "", {"sip.expiry": 4711})
    print(time.time())
asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_change_by_another_process_is_seen_within_a_second(
    acme: Fleet, url: str, views: Views, tmp_path: Path
) -> None:
    device = await acme.device(MAC)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, url, str(key_path(tmp_path)), stdout=subprocess.PIPE
    )
    reading = asyncio.create_task(child.communicate())
    await views.refresh()
    while "sip.expiry" not in views.shared(device)[0]:
        await asyncio.sleep(0.25)
        await views.refresh()
    seen = time.time()
    told, _ = await reading
    assert child.returncode == 0
    assert seen - float(told) < 1.0
    assert views.shared(device)[0]["sip.expiry"].value == 4711


DAMAGE = {
    "secret of a line": "UPDATE extension SET secret = X'00ff' WHERE number = '100'",
    "secret of another line": "UPDATE extension SET secret = (SELECT secret FROM extension WHERE number = '101')"
    " WHERE number = '100'",
    "layer": "UPDATE layer SET entries = '{broken' WHERE scope = 'device'",
    "raw parameters": "UPDATE layer SET raw = X'00' WHERE scope = 'device'",
    "line number": "UPDATE binding SET line = 'x' WHERE mac = '0004f2aabb01'",
    "digest secret": "UPDATE device SET digest_secret = 'text' WHERE mac = '0004f2aabb01'",
}


@pytest.mark.parametrize("what", DAMAGE)
async def test_a_damaged_row_fails_this_device_only(acme: Fleet, store: Store, views: Views, what: str) -> None:
    if not is_sqlite(store.url) and "= 'x'" in DAMAGE[what]:
        what = "layer"  # PostgreSQL's types allow no such damage
    await acme.bind(MAC, 1, extension="100")
    await acme.bind(OTHER, 1, extension="101")
    await acme.set_layer(Scope.DEVICE, MAC, {"net.vlan": 7}, {"voice.gain": "3"})
    statement = DAMAGE[what] if is_sqlite(store.url) else DAMAGE[what].replace("X'", "'\\x")
    async with store.writing() as connection:
        await connection.exec_driver_sql(statement)
    with pytest.raises(StoreFailed) as failed:
        await views.boot_view(MAC)
    assert "secret-10" not in failed.value.cause
    healthy = await views.boot_view(OTHER)
    assert healthy is not None and healthy.lines[0].secret == "secret-101"


async def test_a_damaged_shared_layer_fails_those_below_it(
    acme: Fleet, store: Store, views: Views, caplog: pytest.LogCaptureFixture
) -> None:
    await acme.set_layer(Scope.MODEL, "VVX 411", {"language": "de-DE"})
    await acme.add_device(Mac("0004f2aabb03"), vendor="poly", model="VVX 150", account="Acme")
    async with store.changing("test", 1.0) as change:
        await change.connection.exec_driver_sql("UPDATE layer SET entries = '[1' WHERE scope = 'model'")
        change.touch(Scope.MODEL, "poly/VVX 411")
    await views.refresh()
    assert "poly/VVX 411 is damaged" in caplog.text
    for _ in range(2):
        with pytest.raises(StoreFailed, match="VVX 411"):
            views.shared(await acme.device(MAC))
    views.shared(await acme.device(Mac("0004f2aabb03")))
    async with store.writing() as connection:
        await connection.exec_driver_sql("DELETE FROM layer WHERE scope = 'model'")
    await acme.set_layer(Scope.MODEL, "VVX 411", {"language": "fr-FR"})
    await views.refresh()
    assert views.shared(await acme.device(MAC))[0]["language"].value == "fr-FR"


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_reads_go_on_while_a_writer_holds_the_database(acme: Fleet, store: Store, views: Views) -> None:
    writer = sqlite3.connect(store.url.database or "", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE device SET firmware = 'half-way'")
    begin = time.perf_counter()
    view = await views.boot_view(MAC)
    assert view is not None and view.device.firmware == ""
    assert time.perf_counter() - begin < 1.0
    writer.execute("COMMIT")
    writer.close()
    view = await views.boot_view(MAC)
    assert view is not None and view.device.firmware == "half-way"


def overwrite_all_but_the_first_page(path: Path) -> None:
    blob = bytearray(path.read_bytes())
    blob[4096:] = b"\xff" * (len(blob) - 4096)
    path.write_bytes(blob)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_a_broken_page_is_the_stores_failure_and_refresh_survives_it(
    acme: Fleet, store: Store, views: Views, caplog: pytest.LogCaptureFixture
) -> None:
    path = Path(store.url.database or "")
    device = await acme.device(MAC)
    await acme.set_layer(Scope.DEFAULTS, "", {"sip.expiry": 100})
    await views.refresh()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    await views.close()
    await store.close()
    await asyncio.to_thread(overwrite_all_but_the_first_page, path)
    await views._reader.open()
    with pytest.raises(StoreFailed, match="malformed"):
        await views.boot_view(MAC)
    caplog.set_level(logging.WARNING)
    assert [await views.refresh() for _ in range(3)] == [False] * 3
    assert caplog.text.count("changes cannot be read") == 1
    assert views.shared(device)[0]["sip.expiry"].value == 100


async def test_a_view_that_was_not_opened_fails_clearly(acme: Fleet, store: Store) -> None:
    views = Views(store)
    if is_sqlite(store.url):
        with pytest.raises(StoreFailed, match="not open"):
            await views.boot_view(MAC)
    assert merge([]) == views.shared(await acme.device(MAC))
