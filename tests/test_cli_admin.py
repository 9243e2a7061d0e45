"""Administrators, keys and the audit log on the command line: what is printed once, and what a script reads."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

Run = Callable[..., Result]
Asked = Callable[..., Any]
ANN = "ann@example.net"


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("MEMORY", "8"), ("PASSES", "1"), ("LANES", "1")):
        monkeypatch.setenv(f"PROVISIONER_LOGIN_HASH_{name}", value)


def test_the_first_owner_gets_a_link_that_is_told_once(run: Run, asked: Asked, office: None) -> None:
    shown = run("admin", "create", ANN).stdout
    [link] = re.findall(r"^http://127\.0\.0\.1:\d+/login/link\?token=([\w-]{43})$", shown, re.MULTILINE)
    [one] = asked("admin", "list")
    assert one["administrator"]["email"] == ANN and one["roles"][0]["role"] == "owner"
    for told in (run("admin", "list").stdout, run("events", "--json").stdout, run("audit", "export").stdout):
        assert link not in told and "argon2" not in told
    again = asked("admin", "reset", ANN)
    assert again["login"] == ANN and link not in again["link"]


def test_the_address_is_told_to_scripts(run: Run, office: None) -> None:
    assert run("admin", "url").stdout == "http://127.0.0.1:8081/\n"


def test_a_password_from_stdin_is_checked_before_anything_is_made(run: Run, asked: Asked, office: None) -> None:
    assert "password" in run("admin", "create", ANN, "--password-stdin", text="short\n", code=1).stderr
    assert asked("admin", "list") == []
    told = run("admin", "create", ANN, "--password-stdin", text="correct horse battery\n").stdout
    assert told == f"{ANN} can sign in as owner\n"
    assert run("admin", "reset", ANN, "--password-stdin", text="another good password\n").stdout.startswith(ANN)


def test_the_last_owner_cannot_be_removed_or_demoted(run: Run, office: None) -> None:
    run("admin", "create", ANN)
    assert "last owner" in run("admin", "remove", ANN, code=1).stderr
    assert "last owner" in run("admin", "role", ANN, "owner", "--take", code=1).stderr
    run("admin", "create", "bob@example.net")
    run("admin", "remove", ANN)
    assert ANN not in run("admin", "list").stdout


def test_roles_and_grants(run: Run, asked: Asked, office: None) -> None:
    run("admin", "create", ANN, "--role", "technician", "--account", "Example Ltd")
    run("admin", "role", ANN, "site-admin", "--account", "Example Ltd", "--site", "Head Office")
    granted = asked("admin", "grant", ANN, "secret.reveal", "--for", "30m", "--account", "Example Ltd")
    assert granted["until"] - granted["since"] == 1800
    [one] = asked("admin", "list")
    assert [role["role"] for role in one["roles"]] == ["technician", "site-admin"]
    assert one["grants"][0]["right"] == "secret.reveal"
    assert asked("admin", "grant", ANN, "secret.reveal", "--end") == {"ended": 1}
    assert "30m" in run("admin", "grant", ANN, "secret.reveal", "--for", "soon", code=1).stderr
    assert "second factor" in run("admin", "totp-off", ANN, code=1).stderr


def test_a_key_is_told_once_and_ends_at_once(run: Run, asked: Asked, office: None) -> None:
    made = asked(
        "apikey", "create", "pbx", "--scope", "device.read", "--scope", "device.bind", "--account", "Example Ltd"
    )
    [listed] = asked("apikey", "list")
    assert made["key"].startswith(listed["prefix"]) and listed["scopes"] == ["device.bind", "device.read"]
    assert made["key"] not in run("apikey", "list", "--json").stdout + run("events", "--json").stdout
    assert "no right" in run("apikey", "create", "x", "--scope", "everything", code=2).stderr
    run("apikey", "revoke", "pbx")
    assert asked("apikey", "list")[0]["revoked"] is True
    assert "revoked already" in run("apikey", "revoke", "pbx", code=1).stderr


def test_the_audit_log_is_checked_and_exported(run: Run, asked: Asked, office: None, tmp_path: Path) -> None:
    told = asked("audit", "verify")
    assert told["faults"] == [] and told["rows"] == told["sealed"] > 3
    assert [one["kind"] for one in asked("audit", "list", "--limit", "2")] == ["emergency_missing", "line_bound"]
    assert {one["mac"] for one in asked("audit", "list", "--mac", "0004f2aabbcc")} == {"0004f2aabbcc"}
    assert asked("audit", "list", "--by", "nobody") == [] and "line_bound" in run("audit", "list").stdout
    path = tmp_path / "export.jsonl"
    run("audit", "export", "--output", str(path))
    assert asked("audit", "verify", "--file", str(path))["hash"] == told["hash"]
    assert json.loads(run("audit", "export").stdout.partition("\n")[0])["seq"] == 1


def test_whoever_edits_the_database_is_found_out(run: Run, office: None, data: Path) -> None:
    with sqlite3.connect(data / "provisioner.db") as database:
        database.execute("UPDATE event SET actor = 'eve' WHERE seq = 2")
    database.close()
    said = run("audit", "verify", code=1).stdout
    assert "is not what was written" in said and "- row 2 (" in said


def test_an_account_becomes_a_partners_customer(run: Run, asked: Asked, office: None) -> None:
    run("account", "add", "Child", "--partner", "Example Ltd")
    assert [one["name"] for one in asked("account", "children", "Example Ltd")] == ["Child"]
    asked("account", "set-partner", "Child")
    assert asked("account", "children", "Example Ltd") == []
