"""What a newcomer runs into: wrong usage, lost files, other spellings; each answer says what to do."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from provisioner.cli.main import cli
from provisioner.events import KINDS
from provisioner.model import Event, ListenerKind
from provisioner.run_directory import RunDirectory
from provisioner.store.database import event_row

Run = Callable[..., Result]
Asked = Callable[..., Any]
MAC = "0004f2aabbcc"


@pytest.mark.parametrize(
    "words",
    [
        ["frobnicate"],
        ["device", "add"],
        ["events", "--limit", "0"],
        ["--nonsense"],
        ["simulate", "storm", "--rate", "0"],
    ],
)
def test_wrong_usage_is_told_in_json_where_that_was_asked_for(run: Run, words: list[str]) -> None:
    result = run(*words, "--json", code=2)
    error = json.loads(result.stderr)["error"]
    assert error["kind"] == "usage"
    assert error["cause"]


def test_a_forgotten_key_of_a_layer_is_said(run: Run, office: None) -> None:
    assert "KEY is missing" in run("layer", "set", "account", "sip.expiry=600", code=2).stderr


def test_broken_json_is_called_so(run: Run, office: None) -> None:
    assert "not valid JSON" in run("layer", "set", "device", MAC, 'keys=[{"position": 2', code=1).stderr
    run("layer", "set", "device", MAC, "dialplan.rules=[2-8]xx")


def test_examples_of_the_settings_help_are_taken(run: Run, asked: Asked, office: None) -> None:
    listed = {one["name"]: one["help"] for one in asked("layer", "settings")}
    for name in ("keys", "dialplan.rules"):
        example = re.search(r"\[\{.*\}\]", listed[name])
        assert example
        run("layer", "set", "device", MAC, f"{name}={example[0]}")
    assert "udp, tcp, tls" in listed["sip.transport"]
    assert "60 to 86400" in listed["sip.expiry"]


def test_init_where_nothing_can_be_made_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["--data", "/proc/none", "init"])
    assert result.exit_code == 2
    assert "cannot make /proc/none" in result.stderr


def test_server_certificates_are_renewed_under_the_same_ca(run: Run, data: Path) -> None:
    tls = data / "tls"
    ca = (tls / "ca.pem").read_bytes()
    (tls / "server-ec.pem").unlink()
    (tls / "server-rsa.pem").write_text("nonsense")
    assert "renew-server" in run("doctor", code=1).stdout
    run("certs", "renew-server")
    assert (tls / "ca.pem").read_bytes() == ca
    assert {one["state"] for one in json.loads(run("doctor", "--json").stdout) if one["check"] == "certificates"} == {
        "ok"
    }
    first = (tls / "server-ec.pem").read_bytes()
    run("certs", "renew-server")
    assert (tls / "server-ec.pem").read_bytes() != first


def test_certificates_of_another_ca_are_not_replaced(run: Run, data: Path, tmp_path: Path) -> None:
    from provisioner.pki import make_server

    tls = data / "tls"
    other = make_server(tmp_path / "other", "other.example.net")
    shutil.copy(other.certificates[0], tls / "server-rsa.pem")
    assert "another CA" in run("certs", "renew-server", code=1).stderr
    assert (tls / "server-rsa.pem").read_bytes() == other.certificates[0].read_bytes()
    (tls / "ca-key.pem").unlink()
    assert "put both back" in run("certs", "renew-server", code=2).stderr


def test_postgresql_without_its_driver_says_what_to_install(
    run: Run, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisioner.store.engine.find_spec", lambda _name: None)
    (data / "provisioner.toml").write_text('[store]\nurl = "postgresql://127.0.0.1:1/none"\n')
    assert "provisioner[postgres]" in run("account", "list", code=2).stderr


def test_doctor_believes_the_lock_and_no_file(asked: Asked, data: Path) -> None:
    (data / "provisioner.toml").write_text("[device]\nport = 0\n[bootstrap]\nport = 0\n[admin]\nport = 0\n")
    server = RunDirectory(data)
    server.claim()
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        server.write_addresses({ListenerKind.DEVICE: bound})
    says = [one["says"] for one in asked("doctor") if one["check"] == "ports"]
    assert "a server runs on this installation" in says[0]
    server.forget()  # as after kill -9: the files stay, the lock does not
    says = [one["says"] for one in asked("doctor") if one["check"] == "ports"]
    assert "no server runs" in says[0]


def test_what_a_wider_scope_says_in_vain_is_explained(asked: Asked, run: Run, office: None) -> None:
    run("layer", "set", "account", "Example Ltd", "phonebook.url=http://example.net/book.xml", "language=xx-XX")
    notes = {one["name"]: one["note"] for one in asked("render", MAC, "--explain")}
    assert notes["phonebook.url"].startswith("not applied: ")
    assert notes["language"].startswith("not applied: ")
    assert notes["sip.expiry"] == ""
    assert "xx-XX" in run("layer", "set", "device", MAC, "language=xx-XX", code=1).stderr
    assert "xx-XX" in run("layer", "set", "vendor", "poly", "language=xx-XX", code=1).stderr
    assert "keys 1 to" in run("layer", "set", "device", MAC, 'keys=[{"position": 399}]', code=1).stderr


def test_models_are_found_as_people_write_them(asked: Asked, run: Run, office: None) -> None:
    assert [one["mac"] for one in asked("device", "list", "--model", "vvx411")] == [MAC]
    assert asked("device", "list", "--model", "SIP-T46S") == []
    assert "no model" in run("device", "list", "--model", "T999", code=1).stderr
    run("device", "list", "--vendor", "nobody", code=1)
    assert asked("layer", "set", "model", "yealink/sip-t46s", "net.vlan=7")[0]["key"] == "yealink/T46S"
    place = ["--vendor", "poly", "--model", "VVX 411", "--account", "Example Ltd"]
    assert "everybody" in run("device", "add", "ff:ff:ff:ff:ff:ff", *place, code=1).stderr


def test_a_site_list_shows_ids(asked: Asked, run: Run, office: None) -> None:
    assert asked("site", "list")[0]["id"] in run("site", "list").stdout


def test_digest_that_is_off_is_warned_of(run: Run, data: Path, office: None) -> None:
    assert "digest.enabled" in run("device", "allow", MAC, "--digest").stderr
    assert "digest.enabled" in run("device", "digest-secret", MAC).stderr
    (data / "provisioner.toml").write_text("[digest]\nenabled = true\n")
    assert run("device", "digest-secret", MAC).stderr == ""


def test_events_of_a_mac_find_who_came_in_its_name(asked: Asked, run: Run, data: Path, office: None) -> None:
    details = {"reason": "unknown issuer", "verdict": "untrusted", "path": f"{MAC.upper()}.cfg", "issuer": "CN=Evil"}
    row = event_row(Event("not_identified", 2000.0, severity="warning", actor="device", details=details), audit=False)
    with contextlib.closing(sqlite3.connect(data / "provisioner.db")) as database, database:
        columns = ", ".join(row)
        database.execute(f"INSERT INTO event ({columns}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))
    assert "not_identified" in {one["kind"] for one in asked("events", "--mac", MAC)}
    assert "not_identified" not in {one["kind"] for one in asked("events", "--mac", "0004f2000009")}
    assert "issued by CN=Evil" in run("events", "--mac", MAC).stdout


def test_events_of_an_unknown_kind_are_refused_with_the_kinds_there_are(
    run: Run, asked: Asked, data: Path, office: None
) -> None:
    refused = run("events", "--kind", "pin_mismach", code=2)
    assert "'pin_mismach' is no kind of event; did you mean pin_mismatch? Kinds: " in refused.stderr
    assert all(kind in refused.stderr for kind in KINDS) and "line_bound" in KINDS
    assert json.loads(run("events", "--kind", "x", "--json", code=2).stderr)["error"]["kind"] == "usage"
    assert asked("events", "--kind", "pin_mismatch") == []
    assert [one["kind"] for one in asked("events", "--kind", "line_bound")] == ["line_bound"]
    with contextlib.closing(sqlite3.connect(data / "provisioner.db")) as database, database:
        database.execute("UPDATE event SET kind = 'of_an_older_version' WHERE kind = 'line_bound'")
    assert len(asked("events", "--kind", "of_an_older_version")) == 1
