"""People are put on phones from the command line as by the API: one word, and everything follows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Run = Callable[..., Any]
MAC = "0004f2aabbcc"


def test_a_person_is_put_on_a_phone_and_taken_off(run: Run, asked: Run, office: None) -> None:
    run("device", "unbind", MAC, "1")
    told = asked("device", "assign", MAC, "2", "--user", "Ada Byron")
    assert (told["binding"]["number"], told["binding"]["line"], told["freed"]) == ("1001", 2, [])
    assert [one["line"] for one in asked("device", "bindings", MAC) if one["until"] is None] == [2]
    said = run("device", "release", MAC, "2").stdout
    assert "line 2 of 00:04:f2:aa:bb:cc is free" in said
    assert json.loads(run("device", "release", MAC, "2", "--json", code=1).stderr)["error"]["kind"] == "not_found"


def test_whoever_was_there_makes_way(run: Run, asked: Run, office: None) -> None:
    run("user", "add", "Bob", "--account", "Example Ltd")
    run("extension", "add", "1002", "--account", "Example Ltd", "--user", "Bob")
    said = run("device", "assign", MAC, "1", "--extension", "1002").stdout
    assert "extension 1002 is on line 1" in said
    assert "extension 1001 is off line 1" in said
    run("device", "assign", MAC, "1", code=1)
    run("device", "assign", MAC, "1", "--user", "Bob", "--extension", "1002", code=1)
