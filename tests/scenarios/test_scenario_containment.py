"""One thing breaks while the server serves: that one thing fails with a clear event, and every other phone boots."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import sqlite3
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import House, ask
from stage import (
    add,
    administer,
    boots_once,
    certificate,
    no_canary,
    no_traceback,
    phone,
    secret_of,
    soon,
    url,
    workers,
)

from provisioner import shipped
from provisioner.errors import Invalid
from provisioner.model import ConfigLayer, Mac, Scope
from provisioner.simulator import Outcome
from provisioner.store.layer_rows import write_layer

VVX, T46S, OBI, ODD = "0004f2f00001", "001565f00002", "9cadeff00003", "001565f00004"
MODELS = {VVX: ("poly", "VVX 411"), T46S: ("yealink", "T46S"), OBI: ("poly", "OBi302"), ODD: ("yealink", "T46S")}
IMAGE = bytes(range(256)) * 4 * 1024 * 8
ROM = "T46S-66.86.0.77.rom"


def furnished(blank: House, room: Path, **settings: object) -> House:
    built = blank.copy(room, store_flush=0.2, **settings)
    add(built, *((mac, vendor, model, f"4{mac[-4:]}") for mac, (vendor, model) in MODELS.items()))
    (built.data / "firmware" / "yealink" / ROM).write_bytes(IMAGE)
    return built


@pytest.fixture(scope="module")
def house(blank: House, room: Path) -> Iterator[House]:
    built = furnished(blank, room)
    built.start()
    yield built
    built.stop()
    no_traceback(built)
    no_canary(built)


def boots_well(house: House, mac: str) -> bool:
    vendor, model = MODELS[mac]
    report = boots_once(phone(house, model, vendor, mac), url(house))
    return report.outcome is Outcome.REGISTERED and report.lines[0].secret == secret_of(mac, f"4{mac[-4:]}")


def get(house: House, mac: str, name: str = ".cfg", **request: object) -> tuple[int, bytes]:
    owner = certificate(house, MODELS[mac][0], mac)
    return house.get(f"/{mac}{name}", owner, **request)[::2]  # type: ignore[return-value, arg-type]  # as House.get


def failures(house: House, kind: str, mac: str) -> list[object]:
    return soon(lambda: administer(house, lambda fleet: fleet.events(kind=kind, mac=mac)))


# --- templates ------------------------------------------------------------------------------------

BROKEN = {
    "a syntax error": "{% if %}",
    "a value that is not there": "{{ nothing_of_this_name }}",
    "lines left out": "#!version:1.0.0.1\n",
    "a line that breaks out": "{{ 'a\nstatic.x = 1' }}",
    "no text": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("how", BROKEN)
def test_an_operators_broken_template_fails_its_vendor_alone(house: House, how: str) -> None:
    own = house.data / "templates" / "yealink" / "device.j2"
    broken = BROKEN[how]
    own.write_bytes(broken if isinstance(broken, bytes) else broken.encode())
    reload(house)
    since = time.time() - 0.1
    try:
        assert soon(lambda: get(house, T46S)[0] == 500, 10)
        assert get(house, T46S) == (500, b"")
        assert soon(lambda: [one for one in failures(house, "render_failed", T46S) if one.at >= since])
        assert boots_well(house, VVX)
        assert boots_well(house, OBI)
        assert boots_once(phone(house, "T46S", "yealink", T46S), url(house)).lines == ()
    finally:
        own.unlink()
        reload(house)
    assert soon(lambda: get(house, T46S)[0] == 200, 10)
    assert boots_well(house, T46S)


def reload(house: House) -> None:
    assert house.process is not None
    house.process.send_signal(signal.SIGHUP)


def test_an_operators_good_template_is_used(house: House) -> None:
    """The counter-proof: what broke above was read from there."""
    own = house.data / "templates" / "yealink" / "device.j2"
    source = (shipped.shipped("templates") / "yealink" / "device.j2").read_text()
    own.write_text(source + "\nstatic.own.parameter = 77\n")
    reload(house)
    assert soon(lambda: b"static.own.parameter = 77" in get(house, T46S)[1], 10)
    own.unlink()
    reload(house)
    assert soon(lambda: b"static.own.parameter" not in get(house, T46S)[1], 10)


# --- rows -------------------------------------------------------------------------------------------


def test_a_raw_parameter_out_of_bounds_is_refused_by_name_where_it_enters(house: House) -> None:
    for name, value in (
        ("account.1.label", "a\nstatic.x = 1"),
        ("a b", "1"),
        ("static.x = 1\nstatic.y", "1"),
        ("account.1.label", "x" * 100_000),
        ("", "1"),
    ):
        with pytest.raises(Invalid) as caught:
            administer(house, lambda fleet, raw=(name, value): fleet.set_layer(Scope.DEVICE, ODD, {}, dict([raw])))
        assert len(str(caught.value)) < 500
    for name, value in (("net.vlan", 4095), ("net.vlan", -1), ("poll.period", 10**12), ("sip.server", "a b")):
        with pytest.raises(Invalid, match=name):
            administer(house, lambda fleet, one=(name, value): fleet.set_layer(Scope.DEVICE, ODD, dict([one])))
    assert boots_well(house, ODD)


def test_one_that_is_in_the_database_all_the_same_fails_its_device_alone(house: House) -> None:
    async def smuggle(fleet):  # type: ignore[no-untyped-def]  # a Fleet
        async with fleet._change() as change:
            layer = ConfigLayer(Scope.DEVICE, ODD, {}, {"yealink:account.1.label": "a\nstatic.x = 1"})
            await write_layer(change.connection, fleet._store.box, layer)
            change.touch(Scope.DEVICE, Mac(ODD))

    administer(house, smuggle)
    assert soon(lambda: get(house, ODD)[0] == 500)
    assert get(house, ODD) == (500, b"")
    assert failures(house, "render_failed", ODD)
    assert boots_well(house, T46S)
    assert boots_well(house, VVX)


# --- database ---------------------------------------------------------------------------------------


def test_a_database_that_another_program_holds_stops_no_boot(house: House) -> None:
    before = workers(house)
    with contextlib.closing(sqlite3.connect(house.data / "provisioner.db", timeout=10)) as db:
        db.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        for mac in (VVX, T46S, OBI):
            assert boots_once(phone(house, MODELS[mac][1], MODELS[mac][0], mac, upload_log=False), url(house)).lines
        assert time.monotonic() - began < 5
        put = time.monotonic()
        status, body = get(house, VVX, "-phone.cfg", method="PUT", body=b"<a/>")
        assert (status, body) == (500, b"")
        assert time.monotonic() - put < 15, "the phone is not kept waiting for ever"
        db.rollback()
    assert get(house, VVX, "-phone.cfg", method="PUT", body=b"<a/>")[0] == 201
    assert len(list((house.data / "uploads" / VVX).iterdir())) == 1, "what could not be kept does not fill the disk"
    assert workers(house) == before


def test_a_database_of_garbage_fails_requests_and_nothing_else(blank: House, tmp_path: Path) -> None:
    house = furnished(blank, tmp_path)
    # A batch that is written while the file is swapped under it would damage what is put back: that is not the point.
    house.environment["PROVISIONER_STORE_FLUSH"] = "60"
    house.start()
    try:
        before = workers(house)
        assert get(house, T46S)[0] == 200
        path = house.data / "provisioner.db"
        with contextlib.closing(sqlite3.connect(path, timeout=10)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        good = path.read_bytes()
        overwrite(path, os.urandom(len(good)))
        seen = set()
        for _ in range(5):
            for mac, name in ((T46S, ".cfg"), (VVX, "-user.cfg"), (OBI, ".xml")):
                status, body = get(house, mac, name)
                seen.add(status)
                assert status == 500 or secret_of(mac, f"4{mac[-4:]}").encode() in body
        assert seen & {500}, "the damage reached the server"
        assert house.get("/health", None, kind="admin")[0] in (200, 503)
        overwrite(path, good)
        for suffix in ("-wal", "-shm"):
            if (side := path.with_name(path.name + suffix)).exists() and suffix == "-wal":
                overwrite(side, b"")
        assert soon(lambda: boots_well(house, T46S), 10)
        assert boots_well(house, VVX)
        assert workers(house) == before
    finally:
        house.stop()
    no_traceback(house)


def overwrite(path: Path, content: bytes) -> None:
    """The same file, other bytes."""
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()


# --- disk -----------------------------------------------------------------------------------------


def may_mount() -> bool:
    """Tried, because a container's root often may not."""
    with tempfile.TemporaryDirectory() as place:
        command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode == 0:
            subprocess.run(["umount", place], check=True)
    return done.returncode == 0


@contextlib.contextmanager
def own_disk(directory: Path) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs", directory], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


@contextlib.contextmanager
def full(house: House, data: Path) -> Iterator[None]:
    """No byte more fits: on a disk of its own by filling that, elsewhere by a limit on the worker's files."""
    if os.path.ismount(data.parent):
        with (data.parent / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(b"x" * 4096)
        yield
        (data.parent / "filler").unlink()
    else:
        (worker,) = workers(house)
        before = resource.prlimit(worker, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        yield
        resource.prlimit(worker, resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("disk", ["limit", "tmpfs"] if may_mount() else ["limit"])
def test_a_full_disk_boots_phones_and_keeps_what_they_sent_before(blank: House, tmp_path: Path, disk: str) -> None:
    with own_disk(tmp_path) if disk == "tmpfs" else contextlib.nullcontext():
        house = furnished(blank, tmp_path)
        house.start()
        try:
            (before,) = workers(house)
            old = b'<PHONE_CONFIG><OVERRIDES a="old"/></PHONE_CONFIG>'
            assert get(house, VVX, "-phone.cfg", method="PUT", body=old)[0] == 201
            owners = {mac: phone(house, MODELS[mac][1], MODELS[mac][0], mac, upload_log=False) for mac in MODELS}
            with full(house, house.data):
                for size in (1000, 200_000):
                    status, body = get(house, VVX, "-phone.cfg", method="PUT", body=b"n" * size)
                    assert (status, body) == (500, b"")
                assert get(house, VVX, "-phone.cfg") == (200, old)
                for mac in (VVX, T46S, OBI):
                    assert boots_once(owners[mac], url(house)).lines, mac
                time.sleep(1)  # a few batches of records cannot be written
                assert get(house, T46S)[0] == 200
            assert get(house, VVX, "-phone.cfg") == (200, old)
            new = b"<new/>"
            assert get(house, VVX, "-phone.cfg", method="PUT", body=new)[0] == 201
            assert get(house, VVX, "-phone.cfg") == (200, new)
            assert failures(house, "store_failed", VVX), "the event waited for the disk"
            assert len(list((house.data / "uploads" / VVX).iterdir())) == 1, "nothing half-written stays"
            assert workers(house) == [before]
        finally:
            house.stop()
        no_traceback(house)


# --- a worker --------------------------------------------------------------------------------------


def test_a_worker_killed_in_the_middle_of_a_transfer_is_replaced_and_the_phone_comes_again(house: House) -> None:
    owner = certificate(house, "yealink", T46S)
    (victim,) = workers(house)
    with (
        socket.create_connection(("127.0.0.1", house.ports["device"]), timeout=10) as raw,
        house.context(owner).wrap_socket(raw, server_hostname="localhost") as slow,
    ):
        slow.sendall(f"GET /{ROM} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        got = len(slow.recv(1000))
        os.kill(victim, signal.SIGKILL)
        with contextlib.suppress(ConnectionResetError, ssl.SSLEOFError):
            while data := slow.recv(65536):
                got += len(data)
    assert got < len(IMAGE)
    again = boots_once(phone(house, "T46S", "yealink", T46S, attempts=5, retry_delay=1.0), url(house))
    assert again.outcome is Outcome.REGISTERED
    with house.connection(owner) as kept:
        assert ask(kept, f"/{ROM}", Range="bytes=1000-")[::2] == (206, IMAGE[1000:])
    assert soon(lambda: len(workers(house)) == 1 and victim not in workers(house))
    assert "was killed by SIGKILL" in house.log()
