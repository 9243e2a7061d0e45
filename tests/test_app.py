"""The whole server as its own process: start and refusals to start, renewal, replacement, and a clean end."""

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from house import House, ask
from prometheus_client.parser import text_string_to_metric_families

from provisioner import app, installation, pki, ports, settings, shipped, trust
from provisioner.errors import Unusable
from provisioner.gate import Storm

VVX, T46S = "0004f2000001", "001565000002"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Made once: keys take their time."""
    return House.build(tmp_path_factory.mktemp("app"))


@pytest.fixture
def house(built: House, tmp_path: Path) -> Iterator[House]:
    """A copy of it for each test."""
    shutil.copytree(built.data, tmp_path / "data")
    copy = House(tmp_path / "data", {"PROVISIONER_SERVER_WORKERS": "2"}, built.factories)
    yield copy
    copy.stop()


def wait_for(what: Callable[[], object], seconds: float = 15.0) -> object:
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"still {found!r} after {seconds} s"
        time.sleep(0.05)
    return found


def health(house: House) -> tuple[int, dict[str, object]]:
    status, _, body = house.get("/health", None, kind="admin")
    return status, json.loads(body)


def workers(house: House) -> list[int]:
    with contextlib.suppress(OSError, http.client.HTTPException):
        found = health(house)[1]["workers"]
        assert isinstance(found, dict)
        return list(found["pids"])
    return []


def ready(house: House) -> list[int]:
    house.start()
    wait_for(lambda: len(workers(house)) == 2)
    return workers(house)


def children(house: House) -> list[int]:
    assert house.process is not None
    pid = house.process.pid
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def limits(pid: int) -> tuple[list[str], bool]:
    """Largest core dump, soft and hard, and whether as many files may be opened as the system grants."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    core = next(line for line in lines if line.startswith("Max core file size")).split()
    files = next(line for line in lines if line.startswith("Max open files")).split()
    return core[4:6], files[3] == files[4]


def certificate_seen(house: House) -> bytes:
    """The server certificate that a new caller is shown; whom it is signed by does not matter here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", house.ports["device"]), timeout=10) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as tls,
    ):
        shown = tls.getpeercert(binary_form=True)
    assert shown
    return shown


# --- serving --------------------------------------------------------------------------------------


def test_a_phone_is_served_and_counted_whoever_serves_it(house: House) -> None:
    phone = house.certificate("poly", VVX)
    before = ready(house)
    assert [limits(pid) for pid in before] == [(["0", "0"], True)] * 2
    for _ in range(6):
        assert house.get(f"/{VVX}-user.cfg", phone)[0] == 404  # nobody has added it
    wait_for(lambda: _counted(house).get(("provisioner_refusals_total", "unknown_device")) == 6)  # with the next beat
    os.kill(before[0], signal.SIGKILL)
    wait_for(lambda: len(workers(house)) == 2 and workers(house) != before)
    for _ in range(6):
        assert house.get(f"/{VVX}-user.cfg", phone)[0] == 404
    wait_for(lambda: _counted(house)["provisioner_refusals_total", "unknown_device"] == 12)
    wait_for(lambda: _counted(house)["provisioner_verdicts_total", "unique"] == 12)
    assert "was killed by SIGKILL" in house.log()


def _counted(house: House) -> dict[tuple[str, str | None], float]:
    families = text_string_to_metric_families(house.get("/metrics", None, kind="admin")[2].decode())
    return {(one.name, one.labels.get("reason")): one.value for family in families for one in family.samples}


def test_device_workers_load_no_admin_code() -> None:
    program = (
        "import sys, provisioner.app; print(sorted(one for one in sys.modules if 'admin' in one or 'fleet' in one))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


@pytest.mark.asyncio
async def test_in_a_storm_sites_are_learnt_seldom_instead_of_never(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_LEARN", 0.01)
    monkeypatch.setattr(app, "_LEARN_IN_STORM", 0.2)
    storm, learnt = Storm(1, 1, 1), [0]

    async def learn() -> None:
        learnt[0] += 1

    async with contextlib.AsyncExitStack() as stack:
        storm.on = True
        app._learning(stack, storm, learn, lambda *_: None)
        await asyncio.sleep(0.5)
        assert 1 <= learnt[0] <= 2
        storm.on = False
        await asyncio.sleep(0.5)
        assert learnt[0] > 10


def test_a_worker_that_stands_still_is_replaced(house: House) -> None:
    before = ready(house)
    os.kill(before[0], signal.SIGSTOP)
    wait_for(lambda: not alive(before[0]))
    wait_for(lambda: len(workers(house)) == 2 and before[0] not in workers(house))
    assert f"worker 1 (pid {before[0]}) stood still for more than 2 s" in house.log()


# --- renewal --------------------------------------------------------------------------------------


def test_a_new_certificate_is_shown_to_new_callers_and_nobody_is_dropped(house: House) -> None:
    before = ready(house)
    first = certificate_seen(house)
    with house.connection(house.certificate("poly", VVX)) as kept:
        assert ask(kept, f"/{VVX}-user.cfg")[0] == 404
        pki.make_server(house.data / "tls", "localhost")
        assert house.process is not None
        house.process.send_signal(signal.SIGHUP)
        wait_for(lambda: certificate_seen(house) != first)
        assert ask(kept, f"/{VVX}-user.cfg")[0] == 404
    wait_for(lambda: len(workers(house)) == 2 and not set(workers(house)) & set(before))
    wait_for(lambda: not [pid for pid in before if alive(pid)])
    assert health(house)[0] == 200


def test_a_broken_certificate_is_told_and_the_old_one_is_shown_on(house: House) -> None:
    before = ready(house)
    first = certificate_seen(house)
    (house.data / "tls" / "server-rsa.pem").write_text("-----BEGIN NOTHING-----\n")
    wait_for(lambda: "server-rsa.pem" in house.log())
    assert "What was served before is served on" in house.log()
    assert certificate_seen(house) == first
    assert workers(house) == before
    assert "Traceback" not in house.log()


def test_a_changed_template_is_taken_up(house: House) -> None:
    ready(house)
    source = shipped.shipped("templates") / "yealink" / "common.j2"
    own = house.data / "templates" / "yealink" / "common.j2"
    own.write_text(source.read_text() + "\nstatic.own.parameter = 1\n")
    wait_for(lambda: b"static.own.parameter = 1" in house.get("/yealink.cfg", None, kind="bootstrap")[2])


# --- the end ----------------------------------------------------------------------------------------


def test_sigterm_lets_a_slow_transfer_finish_and_leaves_nobody(house: House) -> None:
    image = os.urandom(1024) * 16 * 1024
    (house.data / "firmware" / "yealink" / "T46S-66.86.0.15.rom").write_bytes(image)
    ready(house)
    family = children(house)
    with socket.create_connection(("127.0.0.1", house.ports["bootstrap"]), timeout=10) as sock:
        sock.sendall(b"GET /T46S-66.86.0.15.rom HTTP/1.1\r\nHost: x\r\nUser-Agent: Yealink SIP-T46S 66.85.0.5\r\n\r\n")
        received = sock.recv(100)
        assert received.startswith(b"HTTP/1.1 200")
        assert house.process is not None
        house.process.terminate()
        wait_for(lambda: "draining" in house.log())
        with pytest.raises(ConnectionRefusedError):
            wait_for(lambda: socket.create_connection(("127.0.0.1", house.ports["bootstrap"])).close())
        while more := sock.recv(1 << 20):
            received += more
    assert received.partition(b"\r\n\r\n")[2] == image
    assert house.process.wait(15) == 0
    assert not [pid for pid in family if alive(pid)]
    assert not (house.data / "run" / "addresses.json").exists()


def test_when_the_control_process_is_killed_everybody_leaves_and_the_port_is_free_again(house: House) -> None:
    ready(house)
    family = children(house)
    assert house.process is not None
    house.process.kill()
    house.process.wait()
    wait_for(lambda: not [pid for pid in family if alive(pid)])
    house.start()
    wait_for(lambda: len(workers(house)) == 2)


# --- refusals to start --------------------------------------------------------------------------------


def refused(house: House, **environment: str) -> str:
    """Try to serve; what is said in the one line of the refusal."""
    command = [sys.executable, "-m", "provisioner", "serve", "--data", str(house.data)]
    ports = {f"PROVISIONER_{kind}_PORT": "0" for kind in ("DEVICE", "BOOTSTRAP", "ADMIN")}
    done = subprocess.run(
        command, env={**os.environ, **ports, **environment}, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr and "listening: " not in done.stderr
    (line,) = [one for one in done.stderr.splitlines() if " INFO " not in one]
    assert line.startswith("Error: ")
    assert not (house.data / "run" / "server.pid").exists()
    return line


def test_a_missing_key_file_is_one_line_and_exit_code_2(house: House) -> None:
    (house.data / "master.key").unlink()
    assert "master.key is missing: put the copy back" in refused(house)


def test_a_port_that_is_taken_is_one_line_and_exit_code_2(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = refused(house, PROVISIONER_DEVICE_PORT=port)
    assert f"device listener: 127.0.0.1 port {port} is taken by another program" in said
    assert "device.port" in said


def test_it_does_not_say_that_it_listens_before_it_will(house: House) -> None:
    settings = {"HOOKS_PORT": "0", "HOOKS_ON": "rest", "HOOKS_HOST": "127.0.0.1"}
    said = refused(house, **{f"PROVISIONER_{name}": value for name, value in settings.items()})
    assert "rest.tokens (hooks.rest) cannot be read" in said


def test_an_expired_server_certificate_is_one_line_and_exit_code_2(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pki, "SERVER_DAYS", -1)
    monkeypatch.setattr(pki, "_SLACK", timedelta(days=30))
    pki.make_server(house.data / "tls", "localhost")
    said = refused(house)
    assert "server-rsa.pem" in said
    assert "not now" in said
    assert "`provisioner certs renew-server` makes new ones" in said


def unusable(house: House, **changes: object) -> str:
    """What the same check says before anything is forked."""
    with pytest.raises(Unusable) as caught:
        app.prepare(settings.load(house.data, {}, **changes))
    return caught.value.cause


def test_a_key_file_that_others_can_read(house: House) -> None:
    (house.data / "master.key").chmod(0o644)
    assert "can be read by others (0644): run `chmod 600" in unusable(house)


def test_a_missing_server_certificate(house: House) -> None:
    (house.data / "tls" / "server-ec.pem").unlink()
    assert "server-ec.pem" in unusable(house)


def _parted(path: Path) -> tuple[bytes, bytes]:
    """A PEM file's certificates and its key."""
    blocks = path.read_bytes().replace(b"-----\n-----", b"-----\n\n-----").split(b"\n\n")
    certificates = [one for one in blocks if b"CERTIFICATE" in one]
    return b"\n".join(certificates) + b"\n", b"\n".join(one for one in blocks if one not in certificates) + b"\n"


@pytest.mark.parametrize("content", [None, b"", b"garbage", b"key only", b"certificate only", b"another key"])
def test_a_broken_server_certificate_names_the_command_that_mends_it(house: House, content: bytes | None) -> None:
    """And that command does."""
    broken, other = (house.data / "tls" / f"server-{key}.pem" for key in ("ec", "rsa"))
    certificates, key = _parted(broken)
    made = {b"key only": key, b"certificate only": certificates, b"another key": _parted(other)[1] + certificates}
    broken.unlink() if content is None else broken.write_bytes(made.get(content, content))
    said = unusable(house)
    assert "server-ec.pem" in said and "`provisioner certs renew-server`" in said
    installation.renew_server_certificates(settings.load(house.data, {}))
    app.prepare(settings.load(house.data, {}))


def test_a_forged_file_of_the_operators_trust(house: House) -> None:
    forged, other = sorted((house.data / "trust").glob("*.pem"))[:2]
    forged.write_bytes(other.read_bytes())
    assert forged.name in unusable(house)


def test_a_forged_file_of_the_shipped_catalogue(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certs = tmp_path / "certs"
    shutil.copytree(shipped.shipped("certs"), certs)
    monkeypatch.setattr(trust, "shipped", lambda _: certs)
    trust.load(house.data)
    forged, other = sorted(certs.glob("*.pem"))[:2]
    forged.write_bytes(other.read_bytes())
    assert forged.name in unusable(house)


def test_a_database_without_its_schema(house: House) -> None:
    (house.data / "provisioner.db").unlink()
    assert "provisioner db upgrade" in unusable(house)


def test_a_database_of_a_newer_program(house: House) -> None:
    with contextlib.closing(sqlite3.connect(house.data / "provisioner.db")) as connection:
        connection.execute("update alembic_version set version_num = '9999'")
        connection.commit()
    assert "9999" in unusable(house)


def test_a_database_that_does_not_answer(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
    said = unusable(house, store_url=f"postgresql://nobody@127.0.0.1:{port}/none")
    assert "is store.url right, and the database up?" in said


def test_a_digest_algorithm_that_nobody_knows(house: House) -> None:
    assert "digest.algorithms" in unusable(house, digest_algorithms=("CRC32",))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"server_host": "192.0.2.1"}, "is not an address of this machine; correct the setting server.host"),
        ({"server_host": "no such name"}, "correct server.host"),
        ({"admin_host": "192.0.2.1"}, "admin listener: 192.0.2.1 port 0 is not an address of this machine"),
    ],
)
def test_an_address_that_cannot_be_listened_on(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    free = {"device_port": 0, "bootstrap_port": 0, "admin_port": 0}
    with pytest.raises(Unusable) as caught:
        ports.bind(settings.load(tmp_path, {}, **free, **changes))
    assert words in caught.value.cause
