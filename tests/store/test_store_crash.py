"""What an administrator was told is saved survives kill -9 and a full disk, on real files in real processes."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from provisioner.store.database import key_path
from provisioner.store.secretbox import SecretBox

WRITER = """
import asyncio, itertools, sys
from pathlib import Path
from provisioner.fleet.fleet import Fleet
from provisioner.model import Event, Scope, Mac
from provisioner.settings import Settings
from provisioner.store.database import Store
from provisioner.store.records import Recorder
from provisioner.store.secretbox import SecretBox

async def main(url, key, start):
    async with Store(url, SecretBox.load(Path(key)), Path("/nowhere")) as store:
        fleet = Fleet(store, {})
        recorder = Recorder(store, Settings(), lambda name, label: None)
        print("ready", flush=True)
        for number in itertools.count(int(start)):
            name = f"account-{number}"
            await fleet.add_account(name)
            print("account", name, flush=True)
            values = {"sip.expiry": 600 + number % 1000, "password.admin": f"p{number}"}
            await fleet.set_layer(Scope.ACCOUNT, name, values)
            print("layer", name, flush=True)
            recorder.event(Event("noise", 1.0))
            await recorder.flush()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_to_kill_9(url: str, box: SecretBox, tmp_path: Path) -> None:
    acknowledged: set[tuple[str, str]] = set()
    luck = random.Random(4711)
    for turn in range(12):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, url, str(key_path(tmp_path)), str(turn * 100_000)], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        told = b"".join(child.stdout.readline() for _ in range(luck.randint(2, 12)))
        time.sleep(luck.uniform(0, 0.02))
        child.send_signal(signal.SIGKILL)
        told += child.communicate()[0]
        assert child.returncode == -signal.SIGKILL, "it must die by the signal, not before"
        whole = told[: told.rfind(b"\n") + 1].decode()  # a torn last line was not read by anybody
        acknowledged |= {(kind, name) for kind, name in map(str.split, whole.splitlines()[1:])}
    assert len(acknowledged) > 50
    kept = _kept(url, tmp_path)
    assert acknowledged - kept["rows"] == set()
    assert kept["events"] == kept["expected"]
    assert kept["integrity"] in {"ok", ""}


READER = """
import asyncio, json, sys
from pathlib import Path
from sqlalchemy import text
from provisioner.fleet.fleet import Fleet
from provisioner.model import Scope
from provisioner.store.database import Store
from provisioner.store.secretbox import SecretBox

async def main(url, key):
    async with Store(url, SecretBox.load(Path(key)), Path("/nowhere")) as store:
        fleet = Fleet(store, {})
        names = {one.id: one.name for one in await fleet.accounts()}
        async with store.reading() as connection:
            layers = [row[0] for row in await connection.execute(text("SELECT key FROM layer"))]
            audit = (await connection.execute(text("SELECT count(*) FROM event WHERE audit"))).scalar_one()
            revision = (await connection.execute(text("SELECT value FROM revision"))).scalar_one()
            integrity = ""
            if url.startswith("sqlite"):
                integrity = (await connection.execute(text("PRAGMA integrity_check"))).scalar_one()
        for key in layers[:20]:
            await fleet.layer(Scope.ACCOUNT, key)
    rows = [["account", name] for name in names.values()] + [["layer", names[key]] for key in layers]
    print(json.dumps({"rows": rows, "audit": audit, "revision": revision, "integrity": integrity}))

asyncio.run(main(*sys.argv[1:]))
"""


def _kept(url: str, tmp_path: Path) -> dict[str, object]:
    """Read by a fresh process; every change has left exactly one audit event and one revision."""
    done = subprocess.run(
        [sys.executable, "-c", READER, url, str(key_path(tmp_path))], check=True, capture_output=True, timeout=60
    )
    told = json.loads(done.stdout)
    rows = {(kind, name) for kind, name in told["rows"]}
    return {
        "rows": rows,
        "events": (told["audit"], told["revision"]),
        "expected": (len(rows), len(rows)),
        "integrity": told["integrity"],
    }


FULL = """
import asyncio, json, resource, sys
from collections import Counter
from pathlib import Path
from provisioner.errors import StoreFailed
from provisioner.fleet.fleet import Fleet
from provisioner.model import Event, FetchRecord, ListenerKind, Mac, Model, Proof
from provisioner.settings import Settings
from provisioner.store.database import Store
from provisioner.store.records import Recorder
from provisioner.store.secretbox import SecretBox
from provisioner.store.uploads import UploadShelf
from provisioner.store.views import Views

async def main(url, key, data):
    told, counted, mac = {}, Counter(), Mac("0004f2aabb01")
    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    def count(name, label):
        counted[name + ":" + label] += 1
    async with Store(url, SecretBox.load(Path(key)), Path(data) / "uploads") as store:
        fleet, views, shelf = Fleet(store, {}), Views(store), UploadShelf(store)
        recorder = Recorder(store, Settings(), count)
        await views.open()
        await fleet.add_account("Acme")
        async with store.changing("test", 1.0) as change:
            await change.connection.exec_driver_sql(
                "INSERT INTO device (mac, vendor, model, account, created)"
                " SELECT '0004f2aabb01', 'poly', 'x', id, 1 FROM account")
        await shelf.put(mac, "phone.cfg", "overrides", b"old")
        recorder.event(Event("x", 1.0))
        await recorder.flush()
        wal = Path(url.partition("///")[2] + "-wal").stat().st_size
        limit(wal)
        proof, listener = Proof.CERTIFICATE, ListenerKind.DEVICE
        recorder.fetch(FetchRecord(mac, "a.cfg", 1.0, 200, 3, "d", proof, listener, "", "", body=b"abc"))
        for _ in range(3):
            await recorder.flush()
        told["flush"], told["waiting"] = dict(counted), recorder.waiting()
        for number in range(3):
            try:
                await fleet.add_account(f"Beta {number}")
            except StoreFailed as error:
                told["admin"] = error.cause
        try:
            await shelf.put(mac, "phone.cfg", "overrides", b"x" * (wal + 1))
        except StoreFailed as error:
            told["upload"] = error.cause
        told["old upload"] = (await shelf.get(mac, "phone.cfg")).decode()
        told["files"] = len(list((Path(data) / "uploads" / mac).iterdir()))
        told["refresh"] = [await views.refresh(), await views.refresh()]
        told["read"] = (await views.boot_view(mac)).device.model
        limit(resource.RLIM_INFINITY)
        await recorder.flush()
        told["waiting after"], told["fetches"] = recorder.waiting(), len(await fleet.fetches(mac))
        await fleet.add_account("Gamma")
        told["accounts"] = [one.name for one in await fleet.accounts()]
        await views.close()
    print(json.dumps(told))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_full_disk_refuses_writes_clearly_and_serves_reads(url: str, box: SecretBox, tmp_path: Path) -> None:
    """The kernel refuses to let any file grow, as a full disk does, and later lets it again."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FULL, url, str(key_path(tmp_path)), str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["flush"] == {"store_flush_failed:later": 3}
    assert told["waiting"] == 1
    assert "the database failed" in told["admin"]
    assert "cannot be written" in told["upload"]
    assert (told["old upload"], told["files"]) == ("old", 1)
    assert told["read"] == "x"
    assert told["refresh"] == [True, False]
    assert (told["waiting after"], told["fetches"]) == (0, 1)
    assert told["accounts"] == ["Acme", "Gamma"]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_an_administrators_commit_is_synced_before_it_is_told(url: str, box: SecretBox, tmp_path: Path) -> None:
    """strace is not everywhere, but SQLite says what it was asked for on each of the engine's connections."""
    probe = """
import asyncio, sys
from pathlib import Path
from provisioner.store.database import Store
from provisioner.store.secretbox import SecretBox
async def main(url, key):
    async with Store(url, SecretBox.load(Path(key)), Path("/nowhere")) as store:
        for engine in (store.engine, store.lossy):
            async with engine.connect() as connection:
                for name in ("synchronous", "journal_mode", "foreign_keys", "busy_timeout"):
                    print((await connection.exec_driver_sql("PRAGMA " + name)).scalar_one(), end=" ")
asyncio.run(main(*sys.argv[1:]))
"""
    done = subprocess.run(
        [sys.executable, "-c", probe, url, str(key_path(tmp_path))], check=True, capture_output=True, timeout=60
    )
    assert done.stdout.decode().split() == ["2", "wal", "1", "5000", "1", "wal", "1", "5000"]
