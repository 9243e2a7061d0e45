"""A phone is replaced and wiped from the command line; what is lost is said before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Run = Callable[..., Any]
MAC, NEW = "0004f2aabbcc", "0004f2aabbdd"


def test_a_phone_takes_the_place_of_another_one(run: Run, asked: Run, office: None) -> None:
    place = ["--vendor", "poly", "--model", "VVX 150"]
    told = asked("device", "swap", MAC, NEW, "--dry-run", *place)
    assert [(one["number"], one["line"], one["to"]) for one in told["moves"]] == [("1001", 1, 1)]
    assert len(told["plan"]) == 16 and "layer" not in told
    assert run("device", "show", NEW, code=1).exit_code == 1, "nothing has happened yet"
    said = run("device", "swap", MAC, NEW, *place).stdout
    assert "00:04:f2:aa:bb:dd has taken the place of 00:04:f2:aa:bb:cc" in said
    assert "extension 1001: line 1 -> line 1" in said
    shown = asked("device", "show", MAC)
    assert (shown["forgets"], shown["replaced_by"]) == ("everything", NEW)
    assert run("device", "swap", MAC, NEW, code=1).stderr.count("is wiped") == 0
    said = run("device", "wipe", MAC, "--end").stdout
    assert "is served as any other again" in said


def test_losses_need_a_yes(run: Run, office: None) -> None:
    for number in ("1002", "1003"):
        run("extension", "add", number, "--account", "Example Ltd", "--user", "Ada Byron")
        run("device", "bind", MAC, number[-1], "--extension", number)
    run("device", "add", NEW, "--vendor", "poly", "--model", "VVX 150", "--account", "Example Ltd")
    refused = run("device", "swap", MAC, NEW, code=1).stderr
    assert "something would be lost: line 1003, line 3: VVX 150 has 2 lines" in refused
    said = run("device", "swap", MAC, NEW, "--yes").stdout
    assert "lost: line 1003, line 3" in said


def test_a_wipe_says_what_it_waits_for(run: Run, asked: Run, office: None) -> None:
    assert "wipe 0004f2aabbcc --unbind` does both" in run("device", "wipe", MAC, code=1).stderr
    assert "waits for it to fetch" in run("device", "wipe", MAC, "--unbind").stdout
    assert asked("device", "show", MAC)["forgets"] == "everything"
    assert run("device", "wipe", NEW, code=1).exit_code == 1


def test_an_extension_and_a_user_go_with_their_lines(run: Run, asked: Run, office: None) -> None:
    assert asked("extension", "secret", "1001")["origin"] == "given"
    assert "hold" in run("user", "remove", "Ada Byron", code=1).stderr
    said = run("user", "remove", "Ada Byron", "--extensions").stdout
    assert "line 1 of 00:04:f2:aa:bb:cc is free" in said
    assert asked("device", "show", MAC)["forgets"] == "line 1"


def test_the_policy_has_secrets_follow_or_not(run: Run, asked: Run, office: None) -> None:
    assert asked("policy", "show", "Example Ltd")["rotation"] == "made"
    assert asked("policy", "set", "Example Ltd", "--rotation", "all")["rotation"] == "all"
