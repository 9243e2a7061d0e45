"""Mistakes taken back from the command line: what was, reverting it, and changes that many phones get."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
MAC, SECOND = "0004f2aabbcc", "0004f2aabbdd"
ACCOUNT = "Example Ltd"


@pytest.fixture
def strict(run: Run, office: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two phones, and more than one is many."""
    del office
    run("device", "add", SECOND, "--vendor", "poly", "--model", "VVX 411", "--account", ACCOUNT)
    monkeypatch.setenv("PROVISIONER_ROLLOUT_CONFIRM", "1")


def test_a_layer_is_taken_back_by_revision(run: Run, asked: Run, office: None) -> None:
    run("layer", "set", "account", ACCOUNT, "sip.expiry=600")
    run("layer", "set", "account", ACCOUNT, "sip.expiry=60", "password.admin=hunter2222")
    newest, first = asked("layer", "history", "account", ACCOUNT)
    assert newest["before"] == {"sip.expiry": 600}
    assert newest["after"] == {"sip.expiry": 60, "password.admin": "********"}
    assert "600" in run("layer", "history", "account", ACCOUNT).stdout
    refused = run("layer", "revert", "account", ACCOUNT, str(first["revision"]), "--json", code=1)
    assert f"by revision {newest['revision']}" in json.loads(refused.stderr)["error"]["cause"]
    said = run("layer", "revert", "account", ACCOUNT, str(newest["revision"])).stdout
    assert f"revision {newest['revision']} is taken back" in said
    again = run("layer", "revert", "account", ACCOUNT, str(newest["revision"]), code=1).stderr
    assert f"revision {newest['revision']} is taken back already: {newest['revision'] + 1} of " in again
    assert asked("layer", "show", "account", ACCOUNT)[0]["values"] == {"sip.expiry": 600}
    run("layer", "set", "defaults", "language=de-DE")
    (only,) = asked("layer", "history", "defaults")
    assert asked("layer", "revert", "defaults", str(only["revision"]))["reverted"] == only["revision"]
    for words in (("defaults",), ("defaults", ACCOUNT, "3"), ("account", "3"), ("account", ACCOUNT, "soon")):
        run("layer", "revert", *words, code=2)


def test_a_script_says_that_many_phones_are_meant(run: Run, asked: Run, strict: None) -> None:
    refused = json.loads(run("layer", "set", "account", ACCOUNT, "language=de-DE", "--json", code=1).stderr)["error"]
    assert refused["kind"] == "wide_change"
    assert "concerns 2 phones; of 2 that were looked at 2 would get other files: say --yes" in refused["cause"]
    assert asked("layer", "show", "account", ACCOUNT)[0]["values"] == {}
    listed = run("layer", "set", "account", ACCOUNT, "language=de-DE", code=1).stderr
    assert "Example Ltd / Head Office: 1 x VVX 411: 00:04:f2:aa:bb:cc" in listed, "whom it concerns"
    assert "Example Ltd: 1 x VVX 411: 00:04:f2:aa:bb:dd" in listed
    said = run("layer", "set", "account", ACCOUNT, "language=de-DE", "--yes", "--canary", "20").stderr
    assert "nobody gets it first: fewer than two of its phones have ever fetched anything" in said
    said = run("layer", "set", "account", ACCOUNT, "language=de-DE", "--yes", "--canary", "20").stderr
    assert "it says what it said before" in said
    run("layer", "unset", "account", ACCOUNT, "language", code=1)
    run("layer", "unset", "account", ACCOUNT, "language", "--yes")


def test_a_rollout_is_seen_promoted_halted_and_taken_back(run: Run, asked: Run, strict: None, data: Path) -> None:
    served(data)
    said = run("layer", "set", "account", ACCOUNT, "language=de-DE", "--yes", "--canary", "1").stderr
    assert "1 of 2 phones get it first (asked: 1 %)" in said, "a phone is not divided"
    (one,) = asked("layer", "rollouts")
    assert one["reached"] == 1
    assert (one["state"], one["phones"], one["back"]) == ("telling", 2, 0)
    assert "telling" in run("layer", "rollouts").stdout
    run("layer", "set", "account", ACCOUNT, "sip.expiry=60", "--yes", code=1)
    assert asked("layer", "halt", one["id"])["state"] == "halted"
    run("layer", "halt", one["id"], code=1)
    assert "2 of 2 phones get revision" in run("layer", "promote", one["id"], "--everybody").stdout
    run("layer", "revert", "account", ACCOUNT, str(one["revision"]), code=1)
    told = run("layer", "revert", "account", ACCOUNT, str(one["revision"]), "--yes").stdout
    assert "all 2 phones are told, in waves" in told
    assert [found["state"] for found in asked("layer", "rollouts", "--all")] == ["telling", "reverted"]


def test_a_change_taken_back_on_its_way_is_told_to_those_who_have_it(run: Run, strict: None, data: Path) -> None:
    served(data)
    said = run("layer", "set", "account", ACCOUNT, "language=de-DE", "--yes", "--canary", "1").stderr
    revision = re.findall(r"revision (\d+)", said)[0]
    told = run("layer", "revert", "account", ACCOUNT, revision).stdout
    assert "of 2 phones only those are told that have got the change, 1 at most" in told
    assert "all 2 phones" not in told


def served(data: Path) -> None:
    """Both have been here once."""
    with sqlite3.connect(data / "provisioner.db") as connection:
        connection.execute("UPDATE device SET served = 0")
    connection.close()


def test_lines_are_put_back(run: Run, asked: Run, office: None) -> None:
    run("device", "release", MAC, "1")
    newest, *_ = asked("device", "line-history", MAC)
    assert (newest["was"]["number"], newest["now"]) == ("1001", None)
    assert "1001" in run("device", "line-history", MAC).stdout
    said = run("device", "revert", MAC, str(newest["revision"])).stdout
    assert "line 1 of 00:04:f2:aa:bb:cc: 1001" in said
    run("device", "revert", MAC, str(newest["revision"]), code=1)
