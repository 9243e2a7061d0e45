"""People are put on phones from the command line as by the API: one word, and everything follows."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from typing import Any

Run = Callable[..., Any]
MAC = "0004f2aabbcc"


def test_a_person_is_put_on_a_phone_and_taken_off(run: Run, asked: Run, office: None) -> None:
    run("device", "unbind", MAC, "1")
    told = asked("device", "rebind", MAC, "2", "--user", "Ada Byron")
    assert (told["binding"]["number"], told["binding"]["line"], told["freed"]) == ("1001", 2, [])
    assert [one["line"] for one in asked("device", "bindings", MAC) if one["until"] is None] == [2]
    said = run("device", "release", MAC, "2").stdout
    assert "line 2 of 00:04:f2:aa:bb:cc is free" in said
    assert json.loads(run("device", "release", MAC, "2", "--json", code=1).stderr)["error"]["kind"] == "not_found"


def test_whoever_was_there_makes_way(run: Run, asked: Run, office: None) -> None:
    run("user", "add", "Bob", "--account", "Example Ltd")
    run("extension", "add", "1002", "--account", "Example Ltd", "--user", "Bob")
    said = run("device", "rebind", MAC, "1", "--extension", "1002").stdout
    assert "extension 1002 is on line 1" in said
    assert "extension 1001 is off line 1" in said


def test_a_password_that_was_made_anew_is_told_with_whose_it_is_and_who_gets_it(
    run: Run, asked: Run, office: None
) -> None:
    """Two accounts have an extension 1001: the number alone would not say which password the PBX has to read."""
    run("account", "add", "Other Ltd")
    run("user", "add", "Bob", "--account", "Other Ltd")
    run("extension", "add", "1001", "--account", "Other Ltd", "--user", "Bob")
    first, second, third = "0004f2000001", "0004f2000002", "0004f2000003"
    for mac in (first, second, third):
        run("device", "add", mac, "--vendor", "poly", "--model", "VVX 411", "--account", "Other Ltd")
    assert asked("device", "bind", first, "1", "--extension", "1001")["exchanged"] is None
    run("device", "unbind", first, "1")
    told = asked("device", "bind", second, "1", "--extension", "1001")["exchanged"]
    assert (told["number"], told["account_name"], told["user"]) == ("1001", "Other Ltd", "Bob")
    assert told["phones"] == [second]
    run("policy", "set", "Other Ltd", "--phones", "2")
    run("device", "rebind", first, "1", "--extension", "1001")
    run("device", "unbind", second, "1")
    said = run("device", "rebind", third, "1", "--extension", "1001").stdout
    assert "the SIP password of extension 1001 (Bob, account Other Ltd) was made anew" in said
    assert "00:04:f2:00:00:03 and 00:04:f2:00:00:01 get it with the next fetch" in said
    [command] = re.findall(r"`provisioner (extension reveal [^`]*)`", said)
    assert run(*shlex.split(command)).stdout.strip()
    run("device", "unbind", third, "1")
    assert "was made anew" in " ".join(run("device", "bind", second, "2", "--extension", "1001").stdout.split())
