"""Licenses, numbers and policies on the command line: what a newcomer types, and what a script reads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NoReturn

import pytest
from click.testing import Result

from provisioner.fleet.fleet import Fleet

Run = Callable[..., Result]
Asked = Callable[..., Any]
ACCOUNT = ["--account", "Example Ltd"]
LONDON = "+442071234567"


@pytest.fixture
def person(run: Run, office: None) -> None:
    """1002 has no phone yet; 1001 of the office has."""
    run("extension", "add", "1002", *ACCOUNT, "--user", "Ada Byron")


def test_a_row_is_shown_with_its_own_names_and_nobody_elses_are_looked_up(
    run: Run, person: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("license", "add", *ACCOUNT)
    run("number", "add", LONDON, *ACCOUNT)
    asked: list[Collection[str]] = []
    names = Fleet.names

    async def noted(desk: Fleet, idents: Collection[str]) -> Mapping[str, str]:
        asked.append(idents)
        return await names(desk, idents)

    async def everybody(*_: object, **__: object) -> NoReturn:
        pytest.fail("an account may have a million of them")

    monkeypatch.setattr(Fleet, "names", noted)
    for each in ("users", "extensions", "sites", "accounts"):
        monkeypatch.setattr(Fleet, each, everybody)
    shown = run("license", "assign", "Ada Byron").stdout + run("number", "assign", LONDON, "--extension", "1001").stdout
    assert "Ada Byron" in shown and "1001" in shown and shown.count("Example Ltd") == 2
    assert [len(one) for one in asked] == [2, 2], "account and user, account and extension"


def test_a_license_is_bought_assigned_suspended_and_given_back(run: Run, asked: Asked, person: None) -> None:
    run("policy", "set", "Example Ltd", "--license")
    assert '"kind": "no_license"' in run("code", "issue", "1002", "--json", code=1).stderr
    assert "none was bought" in run("license", "assign", "Ada Byron", code=1).stderr
    assert len(asked("license", "add", *ACCOUNT, "--count", "2")) == 2
    given = asked("license", "assign", "Ada Byron")
    assert (given["state"], given["kind"]) == ("assigned", "user")
    assert "Ada Byron" in run("license", "list", *ACCOUNT, "--state", "assigned").stdout
    run("code", "issue", "1002")
    assert asked("license", "suspend", "Ada Byron")["state"] == "suspended"
    assert asked("license", "totals", *ACCOUNT) == [
        {"account": given["account"], "kind": "user", "total": 2, "available": 1, "assigned": 0, "suspended": 1}
    ]
    assert asked("license", "resume", given["id"])["state"] == "assigned"
    assert "unbind that first" in run("license", "unassign", "Ada Byron", code=1).stderr
    run("policy", "set", "Example Ltd", "--no-license")
    assert asked("license", "unassign", "Ada Byron")["state"] == "available"
    assert "removed 2" in run("license", "remove", *ACCOUNT, "--count", "2").stdout
    assert asked("license", "list") == []


def test_a_number_is_added_and_assigned(run: Run, asked: Asked, person: None) -> None:
    run("policy", "set", "Example Ltd", "--number")
    assert '"kind": "no_number"' in run("code", "issue", "1002", "--json", code=1).stderr
    added = asked("number", "add", "+44 20 7123 4567", "4711", *ACCOUNT, "--site", "Head Office")
    assert [(one["number"], one["state"]) for one in added] == [(LONDON, "available"), ("4711", "available")]
    run("number", "add", "+49 30 123456", *ACCOUNT, "--origin", "ported", "--porting")
    assert asked("number", "hold", "4711")["state"] == "held"
    assert asked("number", "release", "4711")["state"] == "available"
    assert asked("number", "assign", LONDON, "--extension", "1002")["state"] == "assigned"
    assert asked("number", "ported", "+49 30 123456")["state"] == "available"
    run("code", "issue", "1002")
    [listed] = asked("number", "list", "--extension", "1002")
    assert listed["number"] == LONDON
    assert "1002" in run("number", "list", "--state", "assigned").stdout
    run("number", "unassign", LONDON)
    run("number", "remove", LONDON)
    assert {one["number"] for one in asked("number", "list", *ACCOUNT)} == {"4711", "+4930123456"}


def test_an_extension_is_suggested_kept_and_added(run: Run, asked: Asked, person: None) -> None:
    assert "extension range" in run("extension", "suggest", *ACCOUNT, code=1).stderr
    assert asked("extension", "range", "1000-1999", *ACCOUNT)["low"] == "1000"
    run("extension", "range", "2000-2099", *ACCOUNT, "--site", "Head Office")
    assert run("extension", "suggest", *ACCOUNT).stdout == "1000\n"
    assert run("extension", "suggest", *ACCOUNT).stdout == "1003\n", "1001 and 1002 are there, 1000 is kept"
    assert asked("extension", "suggest", *ACCOUNT, "--site", "Head Office", "--hold", "60")["number"] == "2000"
    assert [one["number"] for one in asked("extension", "held")] == ["1000", "1003", "2000"]
    run("extension", "release", "1003", *ACCOUNT)
    run("extension", "add", "1000", *ACCOUNT, "--user", "Ada Byron")
    assert [one["number"] for one in asked("extension", "held")] == ["2000"]
    assert len(asked("extension", "ranges")) == 2
    run("extension", "range", "none", *ACCOUNT)
    assert "extension range" in run("extension", "suggest", *ACCOUNT, code=1).stderr
    assert "reserved" in run("extension", "add", "911", *ACCOUNT, "--user", "Ada Byron", code=1).stderr


def test_the_policy_of_phones(run: Run, asked: Asked, person: None) -> None:
    shown = asked("policy", "show", "Example Ltd")
    assert (shown["needs_license"], shown["needs_number"], shown["phones"]) == (False, False, 1)
    run("device", "add", "00:04:F2:AA:BB:DD", "--vendor", "poly", "--model", "VVX 411", *ACCOUNT)
    bind = ["device", "bind", "0004f2aabbdd", "1", "--extension", "1001"]
    assert '"kind": "extension_has_phone"' in run(*bind, "--json", code=1).stderr
    assert asked("policy", "set", "Example Ltd", "--phones", "2", "--reserved", "112, 911")["reserved"] == [
        "112",
        "911",
    ]
    assert asked(*bind)["slot"] == 2
    assert "until 1 are left" in run("policy", "set", "Example Ltd", "--phones", "1", code=1).stderr
    run("device", "unbind", "0004f2aabbdd", "1")
    run("policy", "set", "Example Ltd", "--phones", "1", "--reserved", "")
    assert asked(*bind, "--replace")["slot"] == 1
    assert asked("policy", "show", "Example Ltd")["reserved"] == []


@pytest.mark.parametrize(
    "words",
    [
        ["license", "add"],
        ["license", "add", *ACCOUNT, "--kind", "nonsense"],
        ["license", "list", "--state", "lost"],
        ["number", "add", *ACCOUNT],
        ["number", "list", "--state", "lost"],
        ["policy", "set", "Example Ltd", "--phones", "many"],
        ["extension", "suggest"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(run: Run, person: None, words: list[str]) -> None:
    assert "Usage:" in run(*words, code=2).stderr


@pytest.mark.parametrize(
    "words",
    [
        ["license", "add", *ACCOUNT, "--count", "0"],
        ["license", "assign", "Nobody"],
        ["number", "add", "nonsense", *ACCOUNT],
        ["number", "assign", LONDON, "--extension", "1002"],
        ["extension", "range", "20-10", *ACCOUNT],
        ["extension", "range", "none", *ACCOUNT],
        ["policy", "set", "Example Ltd", "--phones", "11"],
        ["policy", "set", "Example Ltd"],
        ["policy", "show", "Nobody"],
    ],
    ids=" ".join,
)
def test_refusals_are_exit_code_1(run: Run, person: None, words: list[str]) -> None:
    refused = run(*words, code=1)
    assert refused.stdout == "" and refused.stderr.count("\n") == 1
