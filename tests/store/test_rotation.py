"""A new master key: everything sealed is sealed again, nobody waits, and a crash at any point loses nothing."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from provisioner.errors import StoreFailed
from provisioner.fleet.fleet import Fleet
from provisioner.model import FetchRecord, ListenerKind, Mac, Proof, Scope
from provisioner.store import database
from provisioner.store.database import Store
from provisioner.store.layer_rows import list_layers
from provisioner.store.records import Recorder
from provisioner.store.rotation import Rotated, Rotation
from provisioner.store.secretbox import SecretBox
from provisioner.store.tokens import TokenBook
from provisioner.store.uploads import UploadShelf
from provisioner.store.views import Views

MAC = Mac("0004f2aabb01")
NUMBERS = [str(number) for number in range(200, 230)]  # none of those that accounts keep for calls to others
FILES = [f"{number:03}.cfg" for number in range(450)]  # more than two batches
FILE = f"{MAC}-phone.cfg"
SENT = {"Ann": b"what Ann's phone sent", "Eve": b"what it sent when it was Eve's"}
"""Under one name."""


@pytest_asyncio.fixture
async def full(fleet: Fleet, store: Store, make_recorder: Callable[..., Recorder]) -> Fleet:
    """Something of every kind that is sealed."""
    await fleet.add_account("Acme")
    await fleet.add_user("Ann", account="Acme")
    for number in NUMBERS:
        await fleet.add_extension(number, account="Acme", user="Ann", secret=f"sip-{number}")
    await fleet.add_device(MAC, vendor="poly", model="VVX 411", account="Acme")
    await fleet.bind(MAC, 1, extension=NUMBERS[0])
    await fleet.allow(MAC, token=True, digest=True)
    await fleet.set_layer(Scope.ACCOUNT, "Acme", {"password.admin": "adm1n", "sip.expiry": 600})
    await fleet.set_layer(Scope.DEVICE, MAC, {"password.user": "us3r"}, raw={"some.parameter": "raw-value"})
    recorder = make_recorder()
    for file in FILES:
        recorder.fetch(fetched(file, 1.0))
    await recorder.flush()
    await fleet.add_user("Eve", account="Acme")
    await fleet.add_extension("240", account="Acme", user="Eve", secret="sip-240")
    await sends(store, recorder, SENT["Ann"])
    await fleet.unbind(MAC, 1)
    await fleet.bind(MAC, 1, extension="240")
    await sends(store, recorder, SENT["Eve"])
    return fleet


def fetched(file: str, at: float) -> FetchRecord:
    proof, listener = Proof.CERTIFICATE, ListenerKind.DEVICE
    return FetchRecord(MAC, file, at, 200, 3, "d", proof, listener, "", "", body=f"body of {file}".encode())


async def sends(store: Store, recorder: Recorder, body: bytes) -> None:
    """The phone runs what it is bound to now, and sends a file: it is its present user's."""
    recorder.fetch(fetched(FILES[0], time.time()))
    await recorder.flush()
    await UploadShelf(store).put(MAC, FILE, "overrides", body)


async def uploaded(store: Store) -> dict[str, bytes | None]:
    """What everybody has sent, by name."""
    async with store.reading() as connection:
        rows = (await connection.execute(text('SELECT id, name FROM "user"'))).all()
    return {name: await UploadShelf(store).get(MAC, FILE, owner) for owner, name in rows}


async def secrets(store: Store) -> dict[str, object]:
    """All that is sealed, opened."""
    fleet = Fleet(store, {})
    views = Views(store)
    await views.open()
    view = await views.boot_view(MAC)
    await views.close()
    assert view is not None
    told: dict[str, object] = {"digest": view.device.digest_secret, "line": view.lines[0].secret}
    told |= {number: await fleet.reveal_secret(number) for number in NUMBERS}
    told |= {file: await fleet.last_body(MAC, file) for file in FILES}
    told["layers"] = [view.layer.values if view.layer else None, view.layer.raw if view.layer else None]
    told["240"] = await fleet.reveal_secret("240")
    told["uploads"] = await uploaded(store)
    return told


def reopened(store: Store, tmp_path: Path) -> Store:
    """As a process sees it that starts now."""
    url = store.url.render_as_string(hide_password=False)
    return Store(url, SecretBox.load(database.key_path(tmp_path)), tmp_path / "uploads")


async def rotate(store: Store, **how: bool) -> Rotated:
    return await Rotation(store, "ann", settle=0.0).run(**how)


@pytest.mark.asyncio
async def test_everything_is_sealed_again_and_the_old_key_goes(full: Fleet, store: Store, tmp_path: Path) -> None:
    path = database.key_path(tmp_path)
    digest = await full.set_digest(MAC)
    old, before = path.read_text(), await secrets(store)
    old_box = SecretBox([bytes.fromhex(old.strip())])
    told = await rotate(store)
    assert told.new_key and told.finished and told.unreadable == [] and told.tokens == 0
    assert told.resealed == len(NUMBERS) + 1 + len(FILES) + 1 + 2 * 2 + len(SENT), "layers and their revisions"
    assert before["uploads"] == SENT, "each has their own, though it has one name"
    assert len(path.read_text().split()) == 1 and path.read_text() != old
    async with reopened(store, tmp_path) as fresh:
        assert await secrets(fresh) == before
        async with fresh.reading() as connection:
            for query in (
                "SELECT id, secret, 'extension', id, 'secret' FROM extension",
                "SELECT mac, digest_secret, 'device', mac, 'digest_secret' FROM device",
                "SELECT mac, body, 'last_body', mac, file FROM last_body",
                "SELECT key, raw, 'layer', scope || '/' || key, 'raw' FROM layer WHERE raw IS NOT NULL",
            ):
                rows = (await connection.execute(text(query))).all()
                assert rows
                for _, sealed, table, row, field in rows:
                    assert fresh.box.is_current(sealed)
                    with pytest.raises(StoreFailed, match="not in the key file"):
                        old_box.open(sealed, table, row, field)
    files = list((tmp_path / "uploads" / MAC).iterdir())
    assert len(files) == len(SENT), "nothing of the old key is left behind"
    for file in files:
        with pytest.raises(StoreFailed, match="not in the key file"):
            old_box.open(file.read_bytes(), "upload", MAC, FILE)
    assert digest
    kinds = [one.kind for one in await full.events() if one.kind.startswith("key_")]
    assert kinds == ["key_rotation_begun", "key_rotated"]


@pytest.mark.asyncio
async def test_who_was_there_before_goes_on_reading_and_writing(full: Fleet, store: Store, tmp_path: Path) -> None:
    """A worker with the old key in memory, while all is sealed again and after."""
    async with reopened(store, tmp_path) as worker:
        wrong: list[object] = []
        writer, ended = Fleet(worker, {}), asyncio.Event()
        before = await secrets(worker)
        changed: dict[str, str] = {}

        async def work() -> None:
            turn = 0
            while not ended.is_set():
                number = NUMBERS[turn % len(NUMBERS)]
                await writer.set_secret(number, secret=f"renewed-{turn}")
                changed[number] = f"renewed-{turn}"
                await UploadShelf(worker).put(MAC, FILE, "overrides", b"upload %d" % turn)
                if await uploaded(worker) != SENT | {"Eve": b"upload %d" % turn}:
                    wrong.append(turn)
                turn += 1
                await asyncio.sleep(0)

        working = asyncio.create_task(work())
        told = await Rotation(store, "ann", settle=0.5).run()
        assert told.finished
        for _ in range(3):
            await asyncio.sleep(0.05)
        ended.set()
        await working
        assert wrong == [] and len(changed) > 2
        after = await secrets(worker)
    async with reopened(store, tmp_path) as fresh:
        assert await secrets(fresh) == after
        assert {number: after[number] for number in changed} == changed
        assert {number: after[number] for number in NUMBERS if number not in changed} == {
            number: before[number] for number in NUMBERS if number not in changed
        }


@pytest.mark.asyncio
async def test_an_open_token_keeps_the_old_key_until_it_is_over_or_revoked(
    full: Fleet, store: Store, tmp_path: Path
) -> None:
    now = time.time()
    token, _ = await full.open_token(MAC, now=now - 90, window=3600, fetches=5)
    told = await rotate(store)
    assert told.new_key and not told.finished and told.tokens == 1
    assert told.tokens_until == pytest.approx(now - 90 + 3600)
    async with reopened(store, tmp_path) as fresh:
        assert len(fresh.box) == 2
        assert await TokenBook(fresh).spend(token, now) == MAC
    again = await rotate(store)
    assert not again.new_key and not again.finished and again.resealed == 0
    last = await rotate(store, revoke_tokens=True)
    assert last.finished and len(database.key_path(tmp_path).read_text().split()) == 1
    async with reopened(store, tmp_path) as fresh:
        assert await TokenBook(fresh).spend(token, now) is None
    kinds = [one.kind for one in await full.events() if one.kind.startswith(("key_", "tokens_"))]
    assert kinds == [
        "key_rotation_begun",
        "key_rotation_resumed",
        "key_rotation_resumed",
        "tokens_revoked",
        "key_rotated",
    ]


@pytest.mark.asyncio
async def test_what_no_key_opens_is_told_and_left(full: Fleet, store: Store, tmp_path: Path) -> None:
    async with store.writing() as connection:
        moved = "UPDATE last_body SET body = (SELECT body FROM last_body WHERE file = '001.cfg') WHERE file = '002.cfg'"
        await connection.execute(text(moved))
    async with store.reading() as connection:
        query = 'SELECT file FROM upload JOIN "user" ON owner = id WHERE "user".name = \'Ann\''
        gone = (await connection.execute(text(query))).scalar_one()
    (tmp_path / "uploads" / MAC / gone).unlink()
    told = await rotate(store)
    assert told.finished
    assert len(told.unreadable) == 2
    [left] = (tmp_path / "uploads" / MAC).iterdir()
    assert store.box.is_current(left.read_bytes()), "one that is gone keeps nobody else's from being sealed again"
    assert "002.cfg" in " ".join(told.unreadable) and FILE in " ".join(told.unreadable)
    assert "body of" not in " ".join(told.unreadable)


ROTATOR = """
import asyncio, sys
from pathlib import Path
from typing import Any
from provisioner.store.database import Store
from provisioner.store.rotation import Rotation
from provisioner.store.secretbox import SecretBox

async def main(url, key, uploads):
    async with Store(url, SecretBox.load(Path(key)), Path(uploads)) as store:
        print("ready", flush=True)
        while True:
            await Rotation(store, "ann", settle=0.0).run()
            print("rotated", flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.asyncio
async def test_kill_9_at_any_point_leaves_all_of_it_readable(full: Fleet, store: Store, tmp_path: Path) -> None:
    before = await secrets(store)
    url = store.url.render_as_string(hide_password=False)
    path, luck = database.key_path(tmp_path), random.Random(4712)
    unfinished = rotated = 0
    for _ in range(10):
        child = subprocess.Popen(  # noqa: ASYNC220  # nothing else runs on this loop
            [sys.executable, "-c", ROTATOR, url, str(path), str(tmp_path / "uploads")], stdout=subprocess.PIPE
        )
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        await asyncio.sleep(luck.uniform(0, 0.3))
        child.send_signal(signal.SIGKILL)
        rotated += child.communicate()[0].count(b"rotated")
        assert child.returncode == -signal.SIGKILL
        unfinished += len(path.read_text().split()) > 1
        async with reopened(store, tmp_path) as fresh:
            assert await secrets(fresh) == before
    assert unfinished > 2, "the signal never came in the middle"
    told = await rotate(store)
    assert told.finished and told.unreadable == []
    assert len(path.read_text().split()) == 1
    async with reopened(store, tmp_path) as fresh:
        assert await secrets(fresh) == before


@pytest.mark.asyncio
async def test_what_is_changed_between_reading_and_sealing_again_is_kept(full: Fleet, store: Store) -> None:
    class Late(Rotation):
        """An administrator is faster than each batch."""

        async def _reseal_rows(self, one: Any, rows: Any) -> None:
            await full.set_secret(NUMBERS[1], secret="changed-meanwhile")
            await super()._reseal_rows(one, rows)

        async def _reseal_uploads(self, rows: Any) -> None:
            await UploadShelf(store).put(MAC, FILE, "overrides", b"sent meanwhile")
            await super()._reseal_uploads(rows)

        async def _reseal_layers(self, spot: Any, rows: Any) -> None:
            await full.set_layer(Scope.ACCOUNT, "Acme", {"password.admin": "chang3d"})
            await super()._reseal_layers(spot, rows)

    assert (await Late(store, "ann", settle=0.0).run()).finished
    assert await full.reveal_secret(NUMBERS[1]) == "changed-meanwhile"
    assert await uploaded(store) == SENT | {"Eve": b"sent meanwhile"}
    async with store.reading() as connection:
        layers = await list_layers(connection, store.box)
    assert [one.values["password.admin"] for one in layers if one.scope is Scope.ACCOUNT] == ["chang3d"]


@pytest.mark.asyncio
async def test_what_a_phone_sends_while_its_file_is_sealed_again_is_kept(
    full: Fleet, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    get, late = UploadShelf.get, [b"sent meanwhile"]

    async def overtaken(shelf: UploadShelf, mac: Mac, name: str, owner: str = "") -> bytes | None:
        body = await get(shelf, mac, name, owner)
        while late and body == SENT["Eve"]:
            await shelf.put(MAC, FILE, "overrides", late.pop())
        return body

    with monkeypatch.context() as patched:
        patched.setattr(UploadShelf, "get", overtaken)
        assert (await rotate(store)).finished
    assert not late and await uploaded(store) == SENT | {"Eve": b"sent meanwhile"}
    assert len(list((tmp_path / "uploads" / MAC).iterdir())) == len(SENT)


@pytest.mark.asyncio
async def test_owners_of_one_name_may_lie_in_two_batches(
    fleet: Fleet, store: Store, tmp_path: Path, make_recorder: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisioner.store.rotation._BATCH", 1)
    await fleet.add_account("Acme")
    await fleet.add_device(MAC, vendor="poly", model="VVX 411", account="Acme")
    for number, (name, body) in enumerate(SENT.items(), 240):
        await fleet.add_user(name, account="Acme")
        await fleet.add_extension(str(number), account="Acme", user=name)
        await fleet.bind(MAC, 1, extension=str(number))
        await sends(store, make_recorder(), body)
        await fleet.unbind(MAC, 1)
    assert (await rotate(store)).finished
    async with reopened(store, tmp_path) as fresh:
        assert await uploaded(fresh) == SENT
