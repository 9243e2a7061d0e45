"""The demonstration as a user starts it: the table is true, the second call is quick, nothing is left running."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from provisioner.demo_cast import CAST
from provisioner.demo_table import Scene, show_scenes
from provisioner.model import ListenerKind
from provisioner.run_directory import read_addresses
from provisioner.simulator import BootReport, Step

pytestmark = pytest.mark.xdist_group("demo")  # one process plays it once for all of them

DEMO = [sys.executable, "-m", "provisioner", "--data"]


def processes_on(data: Path) -> list[int]:
    """Every process whose command line names this directory, our own children of the demo and their children."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue  # it has just ended
        if str(data).encode() in words:
            found.append(int(path.parent.name))
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "data"


@pytest.fixture(scope="module")
def rows(data: Path) -> list[dict[str, object]]:
    """What the first demonstration of this module says in JSON."""
    done = subprocess.run(
        [*DEMO, str(data), "demo", "--once", "--port", "0", "--json"],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    table: list[dict[str, object]] = json.loads(done.stdout)
    return table


def test_every_phone_of_the_cast_has_its_row(rows: list[dict[str, object]]) -> None:
    assert [row["phone"] for row in rows] == [part.title for part in CAST]
    assert all(row["as_it_should"] for row in rows)


def test_good_phones_register_their_own_number(rows: list[dict[str, object]]) -> None:
    told = {row["phone"]: [line["user"] for line in row["lines"]] for row in rows}  # type: ignore[attr-defined]  # JSON
    assert told == {part.title: [part.number] if part.number else [] for part in CAST}
    assert {row["verdict"] for row in rows[:4]} == {"unique, key pinned"}


def test_the_impostor_and_the_thief_get_nothing_of_worth(rows: list[dict[str, object]]) -> None:
    impostor, thief = rows[4:]
    assert (impostor["verdict"], impostor["refused"]) == ("untrusted", "not_identified")
    assert (thief["verdict"], thief["refused"]) == ("unique", "not_yours")
    statuses = {file["status"] for file in impostor["files"]}  # type: ignore[attr-defined]  # JSON
    assert statuses == {404}
    victim = CAST[0].mac
    taken = [file for file in thief["files"] if victim in file["path"] and file["status"] != 403]  # type: ignore[attr-defined]  # JSON
    assert taken == []


def test_nothing_is_left_running(rows: list[dict[str, object]], data: Path) -> None:
    assert processes_on(data) == []
    assert read_addresses(data) == {}


def test_the_second_time_says_the_same_on_the_same_inventory(rows: list[dict[str, object]], data: Path) -> None:
    done = subprocess.run(
        [*DEMO, str(data), "demo", "--once", "--port", "0", "--json"],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    again = json.loads(done.stdout)
    assert [(one["phone"], one["verdict"], one["lines"]) for one in again] == [
        (one["phone"], one["verdict"], one["lines"]) for one in rows
    ]


def test_a_row_that_is_not_as_it_should_is_exit_code_1(rows: list[dict[str, object]], data: Path) -> None:
    """A revoked phone must not come up, and the demonstration must not say that all is well."""
    subprocess.run([*DEMO, str(data), "device", "revoke", CAST[2].mac], check=True, timeout=60, capture_output=True)
    program = "import provisioner.demo as d; d.RECORD_PATIENCE = 1.0\nfrom provisioner.cli import main; main()"
    command = [sys.executable, "-c", program, "--data", str(data), "demo", "--once", "--port", "0", "--json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    finally:
        subprocess.run(
            [*DEMO, str(data), "device", "restore", CAST[2].mac], check=True, timeout=60, capture_output=True
        )
    assert done.returncode == 1, done.stdout + done.stderr
    assert [row["as_it_should"] for row in json.loads(done.stdout)] == [True, True, False, True, True, True]


@pytest.fixture
def serving(rows: list[dict[str, object]], data: Path) -> Iterator[subprocess.Popen[str]]:
    """A demonstration that goes on serving."""
    command = [*DEMO, str(data), "demo", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stderr is not None
        told = []
        for line in demo.stderr:
            told.append(line)
            if "Stop with Ctrl-C" in line:
                break
        assert "Stop with Ctrl-C" in told[-1], told
        yield demo
        if demo.poll() is None:
            demo.send_signal(signal.SIGTERM)
            demo.wait(60)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_it_serves_until_it_is_told_to_stop(serving: subprocess.Popen[str], data: Path, how: signal.Signals) -> None:
    addresses = read_addresses(data)
    assert set(addresses) == {"device", "bootstrap", "admin"}
    for address in addresses.values():
        socket.create_connection(address, 5).close()
    serving.send_signal(how)
    assert serving.wait(60) == 0
    assert processes_on(data) == []


def call(data: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*DEMO, str(data), *words], capture_output=True, text=True, timeout=60, check=False)


def test_a_simulated_phone_and_the_preview_agree_with_the_server(serving: subprocess.Popen[str], data: Path) -> None:
    part, port = CAST[0], read_addresses(data)[ListenerKind.DEVICE][1]
    burnt_in = data / "demo" / "phones" / part.mac
    phone = ["--vendor", part.vendor, "--model", part.model, "--url", f"https://localhost:{port}/"]
    own = ["--cert", f"{burnt_in}.pem", "--key", f"{burnt_in}.key"]
    good = call(data, "simulate", "boot", *phone, "--mac", part.mac, *own)
    assert good.returncode == 0, good.stdout + good.stderr
    assert "1001" in good.stdout
    assert call(data, "simulate", "boot", *phone, "--mac", part.mac).returncode == 1, "no certificate, no line"
    same = call(data, "diff", part.mac, "--json")
    assert same.returncode == 0, same.stdout
    assert {"unchanged"} <= {one["state"] for one in json.loads(same.stdout)}
    call(data, "layer", "set", "device", part.mac, "sip.expiry=777")
    changed = call(data, "diff", part.mac)
    call(data, "layer", "unset", "device", part.mac, "sip.expiry")
    assert changed.returncode == 1
    added = [line for line in changed.stdout.splitlines() if line.startswith("+") and "777" in line]
    assert len(added) == 1, changed.stdout
    running = call(data, "doctor", "--json")
    assert "a server runs on this installation" in running.stdout


def test_a_second_demonstration_leaves_the_first_ones_log_alone(serving: subprocess.Popen[str], data: Path) -> None:
    log = (data / "demo" / "server.log").read_bytes()
    assert log
    done = call(data, "demo", "--port", "0")
    assert done.returncode == 2
    assert "already runs" in done.stderr
    assert done.stderr.count("Error:") == 1
    assert (data / "demo" / "server.log").read_bytes().startswith(log)


def scenes() -> list[Scene]:
    steps = tuple(Step("GET", f"0004f2de0001-directory-{status}.xml", status, size) for status, size in SERVED)
    report = BootReport("poly", "VVX 411", CAST[0].mac, "", steps=steps, no_line_because="nothing came")
    return [Scene(CAST[0], report, "unique, key pinned")]


SERVED = ((404, 0), (200, 1464), (403, 7))


@pytest.mark.parametrize("columns", [80, 100, 120])
def test_each_status_stands_beside_its_file_in_any_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("provisioner.demo_table.console", lambda: Console(width=columns))
    show_scenes(scenes(), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    begin = next(line.index("file") for line in lines if "file" in line)
    end = next(line.index("status") for line in lines if "status" in line)
    beside: list[list[str]] = []
    for line in lines[lines.index(next(one for one in lines if "0004f2de0001" in one)) :]:
        if status := line[end : end + 6].strip():
            beside.append([status, ""])
        beside[-1][1] += line[begin:end].strip()
    assert beside == [[str(status), f"0004f2de0001-directory-{status}.xml"] for status, _ in SERVED]


def test_a_taken_port_is_told_and_leaves_nothing(rows: list[dict[str, object]], data: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = min(taken.getsockname()[1], 65533)
        started = time.monotonic()
        done = subprocess.run(
            [*DEMO, str(data), "demo", "--once", "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - started < 40
    assert processes_on(data) == []


def test_the_data_is_its_owners_alone(rows: list[dict[str, object]], data: Path) -> None:
    keys = [
        *data.rglob("*.key"),
        *data.rglob("*-key.pem"),
        *(data / "tls").glob("server-*.pem"),
        data / "provisioner.db",
    ]
    assert len(keys) > 10
    assert [path for path in keys if path.stat().st_mode & 0o077] == []
    assert data.stat().st_mode & 0o777 == 0o700
