"""The demonstration as a user starts it: the table is true, the second call is quick, nothing is left running."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from provisioner.demo import demo
from provisioner.demo.cast import CAST, NEWCOMERS, SIP_SERVER
from provisioner.demo.table import Scene, show_scenes
from provisioner.errors import Unusable
from provisioner.model import ListenerKind
from provisioner.run_directory import read_addresses
from provisioner.simulator import BootReport, RegisteredLine, Step
from provisioner.simulator.caller_story import CallStory

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
    impostor, thief = rows[4:6]
    assert (impostor["verdict"], impostor["refused"]) == ("untrusted", "not_identified")
    assert (thief["verdict"], thief["refused"]) == ("unique", "not_yours")
    statuses = {file["status"] for file in impostor["files"]}  # type: ignore[attr-defined]  # JSON
    assert statuses == {404}
    victim = CAST[0].mac
    taken = [file for file in thief["files"] if victim in file["path"] and file["status"] != 403]  # type: ignore[attr-defined]  # JSON
    assert taken == []


def test_a_phone_that_is_nobodys_calls_keys_its_code_and_boots_as_its_owners(rows: list[dict[str, Any]]) -> None:
    part, row = CAST[6], rows[6]
    assert part.waits and row["verdict"] == "unique, key pinned, activated"
    call = row["call"]
    assert [one["call"] for one in rows[:6]] == [None] * 6
    assert call["registered_as"] == part.mac, "before the call it is known by its Mac alone"
    assert call["shown"][0].startswith("Activate") and call["dialled"] == "2288"
    assert re.fullmatch(r"[*]{10}[0-9]{2}", call["keys"]), "digits are masked"
    assert call["check_sync"].startswith("check-sync")
    first, second = ({one["path"]: one["bytes"] for one in files} for files in (call["files"], row["files"]))
    own = f"{part.mac}.cfg"
    assert first[own] and second[own] and first[own] != second[own], "another configuration than before the call"


def test_nothing_is_left_running(rows: list[dict[str, object]], data: Path) -> None:
    assert processes_on(data) == []
    assert read_addresses(data) == {}


@pytest.mark.slow  # a whole demonstration
def test_the_second_time_says_the_same_on_the_same_inventory(rows: list[dict[str, object]], data: Path) -> None:
    """The phone that was activated is nobody's again, and a code that an earlier demonstration left is no hindrance."""
    left = [*DEMO, str(data), "code", "issue", CAST[6].number, "--replace"]
    subprocess.run(left, check=True, timeout=60, capture_output=True)
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


@pytest.mark.slow  # a whole demonstration
def test_a_row_that_is_not_as_it_should_is_exit_code_1(rows: list[dict[str, object]], data: Path) -> None:
    """A revoked phone must not come up, and the demonstration must not say that all is well."""
    subprocess.run([*DEMO, str(data), "device", "revoke", CAST[2].mac], check=True, timeout=60, capture_output=True)
    program = (
        "import provisioner.demo.demo as d; d.RECORD_PATIENCE = 1.0\nfrom provisioner.cli.main import main; main()"
    )
    command = [sys.executable, "-c", program, "--data", str(data), "demo", "--once", "--port", "0", "--json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    finally:
        subprocess.run(
            [*DEMO, str(data), "device", "restore", CAST[2].mac], check=True, timeout=60, capture_output=True
        )
    assert done.returncode == 1, done.stdout + done.stderr
    assert [row["as_it_should"] for row in json.loads(done.stdout)] == [True, True, False, True, True, True, True]


@pytest.mark.slow  # a demonstration of its own, up to the middle of its call
def test_ctrl_c_in_the_middle_of_the_call_ends_it_and_leaves_nothing(rows: list[dict[str, object]], data: Path) -> None:
    command = [*DEMO, str(data), "demo", "--once", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stderr is not None
        for line in demo.stderr:
            if "activating" in line:
                break
        time.sleep(1.5)
        demo.send_signal(signal.SIGINT)
        began = time.monotonic()
        assert demo.wait(60) == 130
    assert time.monotonic() - began < 12, "nobody waits for a call whose phone is gone"
    assert processes_on(data) == []


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


# --- one that goes on serving -------------------------------------------------------------------------


@contextmanager
def demonstration(data: Path) -> Iterator[subprocess.Popen[str]]:
    """It runs and serves; ended, where nobody else has ended it."""
    command = [*DEMO, str(data), "demo", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stderr is not None
        told = []
        try:
            for line in demo.stderr:
                told.append(line)
                if "Stop with Ctrl-C" in line:
                    break
            assert "Stop with Ctrl-C" in told[-1], told
            yield demo
        finally:
            if demo.poll() is None:
                demo.send_signal(signal.SIGTERM)
                demo.wait(60)


def stopped(demo: subprocess.Popen[str], data: Path, how: signal.Signals) -> None:
    addresses = dict(read_addresses(data))
    assert set(addresses) == {"device", "bootstrap", "admin", "ivr", "ivr-tcp"}
    del addresses[ListenerKind.IVR]  # datagrams
    for address in addresses.values():
        socket.create_connection(address, 5).close()
    demo.send_signal(how)
    assert demo.wait(60) == 0
    assert processes_on(data) == []


@pytest.mark.slow  # the same by SIGTERM is the end of the module's own demonstration
def test_it_serves_until_ctrl_c(rows: list[dict[str, object]], data: Path) -> None:
    with demonstration(data) as demo:
        stopped(demo, data, signal.SIGINT)


@pytest.fixture(scope="module")
def serving(rows: list[dict[str, object]], data: Path) -> Iterator[subprocess.Popen[str]]:
    """One for all that follow; the last of them ends it."""
    with demonstration(data) as demo:
        yield demo


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


@pytest.mark.slow  # a whole call, and the wait until the phone is told to fetch again
def test_a_newcomer_activates_a_phone_with_the_two_commands_that_are_shown(
    serving: subprocess.Popen[str], data: Path
) -> None:
    issued = call(data, "code", "issue", NEWCOMERS.number)
    assert issued.returncode == 0, issued.stderr
    code = issued.stdout.splitlines()[0]
    heard = data / "heard.wav"
    words = ["--mac", NEWCOMERS.mac, "--code", code, "--barge-in", "--hang-up-after-success", "--save", str(heard)]
    done = call(data, "simulate", "call", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"it is somebody's: line 1 as {NEWCOMERS.number}" in done.stdout
    assert heard.stat().st_size > 8000
    again = call(data, "simulate", "call", *words)
    assert again.returncode == 1 and "already" in again.stdout, "nobody keys a second code into somebody's phone"


def test_it_serves_until_it_is_told_to_stop(serving: subprocess.Popen[str], data: Path) -> None:
    stopped(serving, data, signal.SIGTERM)


# --- what it shows ------------------------------------------------------------------------------------


def scenes() -> list[Scene]:
    steps = tuple(Step("GET", f"0004f2de0001-directory-{status}.xml", status, size) for status, size in SERVED)
    report = BootReport("poly", "VVX 411", CAST[0].mac, "", steps=steps, no_line_because="nothing came")
    return [Scene(CAST[0], report, "unique, key pinned")]


SERVED = ((404, 0), (200, 1464), (403, 7))


def activation(**differs: Any) -> Scene:
    """The activation scene as it should be, but for ``differs``: of the story, or ``verdict``."""
    part = CAST[6]
    lines = [
        RegisteredLine(1, one, one, f"{host}:5061", "tls")
        for one, host in ((part.mac, "localhost"), (part.number, SIP_SERVER))
    ]
    first, second = (BootReport("yealink", "T54W", part.mac, "", lines=(one,)) for one in lines)
    told = {"first": first, "second": second, "check_sync": "check-sync", **differs}
    verdict = told.pop("verdict", "unique, key pinned, activated")
    story = CallStory("yealink", "T54W", part.mac, "", **told)
    return Scene(part, second, verdict, story=story)


def test_an_activation_is_as_it_should_only_with_all_its_parts() -> None:
    assert activation().as_it_should
    assert not activation(reason="the code was not accepted").as_it_should
    assert not activation(check_sync="").as_it_should, "nobody told it to fetch again"
    assert not activation(verdict="unique, key pinned").as_it_should, "the server wrote down no activation"
    assert not activation(first=activation().report).as_it_should, "it was its owner's before it called"
    assert not replace(activation(), story=None).as_it_should
    assert activation(reason="all lines are busy").outcome == "all lines are busy"


@pytest.mark.parametrize("columns", [80, 100, 120])
def test_each_status_stands_beside_its_file_in_any_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("provisioner.demo.table.console", lambda: Console(width=columns))
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


def test_of_a_port_that_is_taken_it_says_both_words_that_choose_another(tmp_path: Path) -> None:
    """``make run`` gives --port, which goes before the setting that the server names."""
    log = tmp_path / "server.log"
    log.write_text("Error: device listener: 127.0.0.1 port 8443 is taken by another program; choose device.port\n")
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
        with pytest.raises(Unusable, match=r"device\.port; here --port says which \(`make run PORT=\.\.\.`\)"):
            demo._listening(tmp_path, ended, log)
