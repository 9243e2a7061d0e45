"""Settings that cannot all be meant are refused at start, with the arithmetic that says so."""

import os
import re
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from house import soon

from provisioner import doctor, installation
from provisioner.contradictions import contradictions, files_wanted, fitted, require_consistent
from provisioner.doctor import State, examine
from provisioner.errors import Unusable
from provisioner.settings import Settings, load
from provisioner.vendors import drivers

MODELS = [model for driver in drivers() for model in driver.manifest.models.values()]


def test_the_defaults_agree_with_each_other():
    assert contradictions(Settings()) == ()


@pytest.mark.parametrize(
    ("given", "arithmetic"),
    [
        ({"server_workers": 0}, "server.workers = 0: 0 workers x any capacity = 0 phones"),
        ({"gate_queue": 0}, "gate.queue = 0 < gate.slots = 2"),
        ({"gate_queue": 0}, "300 x 4 s = 1200"),
        ({"gate_queue": 3, "gate_slots": 4}, "gate.queue = 3 < gate.slots = 4"),
        ({"gate_deadline": 12.0}, "gate.deadline = 12 s >= gate.patience = 10 s"),
        ({"gate_deadline": 12.0}, "left 2 s ago"),
        ({"gate_deadline": 12.0}, "0.4 x 10 s = 4 s leaves 6 s"),
        ({"gate_deadline": 10.0}, "gate.deadline = 10 s >= gate.patience = 10 s"),
        ({"gate_target": 4.0}, "gate.target = 4 s >= gate.deadline = 4 s"),
        ({"gate_target": 4.0}, "4 s / 8 = 0.5 s"),
        ({"admission_hold": 6.0}, "admission.hold = 6 s >= gate.patience - gate.deadline = 10 s - 4 s = 6 s"),
        ({"admission_hold": 6.0}, "first byte after 10 s"),
        ({"admission_retry_least": 60.0, "admission_retry_most": 50.0}, "60 s > admission.retry_most = 50 s"),
        ({"http_connections": 4000}, "http.connections = 4000 < gate.queue = 4096"),
        ({"http_connections": 4000}, "96 places of the queue are never taken"),
        ({"admission_requests_burst": 7}, "admission.requests_burst = 7 < admission.files = 8"),
        ({"admission_handshakes_burst": 7}, "2 x 8 = 16"),
        ({"upload_log": 3, "upload_budget": 2}, "upload.log = 3 bytes > upload.budget = 2 bytes"),
        ({"gate_names": ("other.example",), "server_name": "prov.example"}, "Add prov.example to gate.names"),
        ({"admission_answers": ("poly/vvx=p0",)}, "admission.answers has 'poly/vvx=p0'"),
        ({"recorder_ring": 6}, "recorder.ring = 6 / 2 = 3 records of good boots < diagnosis.loop_fetches = 6"),
        ({"diagnosis_loop_fetches": 11}, "Set recorder.ring to 2 x 11 = 22 at least"),
        ({"recorder_ring": 13, "diagnosis_loop_fetches": 7}, "13 / 2 = 6 records"),
        ({"switch_allow": ("10.0.0.1/8",)}, "switch.allow: 10.0.0.1/8 has host bits set"),
        ({"switch_networks": ("everything",)}, "switch.networks: 'everything' does not appear to be"),
        ({"webhook_allow": ("127.0.0.1/8",)}, "write it like 10.20.0.0/16"),
        ({"device_port": 8081}, "device.port and admin.port are both 8081 on 127.0.0.1"),
    ],
)
def test_a_contradiction_is_told_with_its_arithmetic(given, arithmetic):
    found = contradictions(Settings(**given))
    assert any(arithmetic in one for one in found), found


@pytest.mark.parametrize(
    "given",
    [
        {"gate_queue": 2},
        {"gate_deadline": 9.9, "admission_hold": 0.05},
        {"admission_hold": 5.9},
        {"admission_retry_least": 50.0, "admission_retry_most": 50.0},
        {"http_connections": 4096},
        {"gate_names": ("PROV.example", "b"), "server_name": "prov.Example"},
        {"gate_names": ("prov.example",), "server_name": "192.0.2.7"},
        {"device_port": 0, "admin_port": 0, "legacy_port": -1, "bootstrap_port": -1},
        {"device_port": 8081, "admin_host": "127.0.0.2"},
        {"server_workers": -1},
        {"recorder_ring": 12},
        {"recorder_ring": 6, "diagnosis_loop_fetches": 3},
        {"recorder_ring": 2, "recorder_enabled": False},
        {"upload_budget": 1024 * 1024},
    ],
)
def test_what_only_looks_close_is_accepted(given):
    assert contradictions(Settings(**given)) == ()


BOTH = {"legacy_port": -1, "bootstrap_port": 8080, "gate_queue": 4096}


@pytest.mark.parametrize(
    ("files", "given", "connections"),
    [
        (-1, {}, 20_000),
        (1_048_576, {}, 20_000),
        (40_200, {}, 20_000),
        (40_199, {}, 19_999),
        (20_200, {}, 10_000),
        (20_200, {"bootstrap_port": -1}, 20_000),
        (20_200, {"legacy_port": 4444}, 6_666),
        (8_392, {}, 4_096),
        (1024, {"http_connections": 300, "gate_queue": 200}, 300),
    ],
)
def test_no_more_connections_than_open_files(files, given, connections):
    """A number that only a storm can reach keeps no server from starting."""
    chosen = Settings(**(BOTH | given))
    assert contradictions(chosen, files) == ()
    assert fitted(chosen, files) == replace(chosen, http_connections=connections)
    assert (files_wanted(chosen) > files >= 0) is (connections < chosen.http_connections)


@pytest.mark.parametrize("files", [8_391, 1024, 100, 0])
def test_too_few_open_files_for_the_queue_are_told_with_their_number(files):
    (told,) = contradictions(Settings(**BOTH), files)
    assert f"{files} open files - 200 for the worker itself leave {max(files - 200, 0) // 2} connections" in told
    assert "Allow 8392 open files at least" in told and "it is 40200" in told
    with pytest.raises(Unusable, match="open files"):
        require_consistent(Settings(**BOTH), files)


def test_one_cause_is_told_once_and_several_all_at_once():
    """A deadline beyond the patience leaves nothing to hold an answer in: that sum is not told on top."""
    assert len(contradictions(Settings(gate_deadline=12.0))) == 1
    require_consistent(Settings())
    with pytest.raises(Unusable, match=r"^server\.workers = 0"):
        require_consistent(Settings(server_workers=0))
    with pytest.raises(Unusable) as refused:
        require_consistent(Settings(server_workers=0, gate_queue=0))
    assert refused.value.cause.startswith("2 contradictions in the settings:\n")
    assert "server.workers = 0" in refused.value.cause and "gate.queue = 0" in refused.value.cause


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[gate]\norder = "random"\n', "gate.order = 'random': must be one of adaptive, fifo, lifo"),
        ('[admission]\nmode = "off"\n', "admission.mode = 'off': must be one of observe, enforce"),
        ('[identity]\nexpired = "always"\n', "identity.expired = 'always': must be one of pinned, never"),
        ('[log]\nlevel = "loud"\n', "log.level = 'loud': must be one of debug, info, warning, error"),
    ],
)
def test_a_setting_with_words_takes_no_other(tmp_path, text, words):
    (tmp_path / "provisioner.toml").write_text(text)
    with pytest.raises(Unusable, match=re.escape(words)):
        load(tmp_path, {})


def test_a_word_may_be_written_in_capitals(tmp_path):
    assert load(tmp_path, {"PROVISIONER_LOG_LEVEL": "INFO"}).log_level == "info"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("contradictions") / "data"
    installation.init(place)
    return place


def test_the_server_refuses_to_start_and_opens_no_port(data):
    environment = {
        "PROVISIONER_GATE_DEADLINE": "20",
        "PROVISIONER_SERVER_WORKERS": "0",
        **{f"PROVISIONER_{kind}_PORT": "0" for kind in ("DEVICE", "BOOTSTRAP", "ADMIN")},
    }
    done = subprocess.run(
        [sys.executable, "-m", "provisioner", "--data", str(data), "serve"],
        env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "gate.deadline = 20 s >= gate.patience = 10 s" in done.stderr
    assert "server.workers = 0" in done.stderr
    assert "listening" not in done.stderr and "Traceback" not in done.stderr


def limited(data: Path, files: int, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {f"PROVISIONER_{kind}_PORT": "0" for kind in ("DEVICE", "BOOTSTRAP", "ADMIN")}
    return subprocess.run(
        ["prlimit", f"--nofile={files}:{files}", sys.executable, "-m", "provisioner", "--data", str(data), *words],
        env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.slow  # six seconds
def test_the_system_s_limit_is_heard_of_at_start_and_by_the_doctor(data, monkeypatch):
    done = limited(data, 2000, "serve")
    assert done.returncode == 2, done.stderr
    assert "2000 open files - 200 for the worker itself leave 900 connections" in done.stderr
    assert "2000 open files - 200" in limited(data, 2000, "doctor").stdout
    told = limited(data, 12_000, "doctor").stdout
    for words in (
        "12000 allowed to what is started from this shell",
        "can want 40200: it takes 5900 connections for each listener",
        "Allow 40200 (`ulimit -n` as root in the shell that starts it, LimitNOFILE in a systemd unit)",
    ):
        assert words in told
    monkeypatch.setenv("PROVISIONER_HTTP_CONNECTIONS", "5900")
    told = limited(data, 12_000, "doctor").stdout
    assert "12000 wanted by a worker" in told and "LimitNOFILE" not in told and "ulimit" not in told


def test_the_doctor_looks_at_the_server_that_runs_and_not_at_its_own_shell(data, monkeypatch):
    """Started by another shell, or by systemd, it may have more, or less."""
    with subprocess.Popen(["prlimit", "--nofile=3000:3000", "sleep", "60"]) as other:
        monkeypatch.setattr(doctor, "running_pid", lambda _data: str(other.pid))
        monkeypatch.setenv("PROVISIONER_HTTP_CONNECTIONS", "5000")
        monkeypatch.setenv("PROVISIONER_GATE_QUEUE", "500")
        try:
            assert soon(lambda: resource.prlimit(other.pid, resource.RLIMIT_NOFILE)[1] == 3000)
            told = [one.says for one in doctor.check_capacity(load(data)) if one.says.startswith("open files")]
        finally:
            other.kill()
    assert told[0].startswith(f"open files: 3000 allowed to the running server (pid {other.pid}), and a worker")
    monkeypatch.setattr(doctor, "running_pid", lambda _data: str(other.pid))  # it has just ended
    assert "this shell" in [one.says for one in doctor.check_capacity(load(data))][1]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("poly/vvxx=p2", ("poly has no family 'vvxx'", "Did you mean vvx?", "There are ata, ccx, ")),
        ("poly/VVX 411=p2", ("poly has no family 'VVX 411'", "There are ata, ccx, ")),
        ("poyl/*=", ("'poyl' is no vendor", "Did you mean poly?", "There are poly, yealink")),
        ("yealink/vvx=p2", ("yealink has no family 'vvx'", "There are classic, ")),
    ],
)
def test_an_answer_for_a_family_that_there_is_not_is_told_with_those_there_are(entry, words):
    given = Settings(admission_answers=("poly/vvx=p2", entry))
    (told,) = contradictions(given, models=MODELS)
    assert told.startswith(f"admission.answers has {entry!r}: ") and all(word in told for word in words), told
    assert contradictions(given) == (), "who knows no models says nothing of families"


def test_answers_for_families_that_there_are_are_fine():
    known = sorted({f"{one.vendor}/{one.family}=p2" for one in MODELS})
    assert len(known) > 10
    assert contradictions(Settings(admission_answers=(*known, "poly/*=", " yealink/* =p3")), models=MODELS) == ()


@pytest.mark.parametrize(
    ("entry", "cause"),
    [("poly/vvx=p0", "admission.answers has 'poly/vvx=p0'"), ("poly/vvxx=p2", "Did you mean vvx?")],
)
def test_answers_that_mean_nothing_keep_the_server_from_starting(data, entry, cause):
    environment = {"PROVISIONER_ADMISSION_ANSWERS": entry}
    done = subprocess.run(
        [sys.executable, "-m", "provisioner", "--data", str(data), "serve"],
        env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert cause in done.stderr
    assert "listening" not in done.stderr and "Traceback" not in done.stderr


def test_doctor_tells_each(data, monkeypatch):
    monkeypatch.setenv("PROVISIONER_GATE_QUEUE", "0")
    monkeypatch.setenv("PROVISIONER_ADMISSION_HOLD", "9")
    monkeypatch.setenv("PROVISIONER_ADMISSION_ANSWERS", "poly/vvxx=p2")
    told = [one.says for one in examine(data) if one.check == "settings" and one.state is State.FAIL]
    assert [one.partition(" ")[0] for one in told] == ["gate.queue", "admission.hold", "admission.answers"]
