"""Addresses for emergencies, and from where phones come, on the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Run = Callable[..., Any]
MAC = "0004f2aabbcc"
HOME = ["--street", "1 Example Road", "--city", "Bristol", "--country", "GB"]


def test_a_policy_asks_for_addresses_and_networks(run: Run, asked: Run, office: None) -> None:
    shown = asked("policy", "show", "Example Ltd")
    assert (shown["emergency"], shown["networks"]) == ("warn", "anywhere")
    changed = asked("policy", "set", "Example Ltd", "--emergency", "block", "--networks", "site")
    assert (changed["emergency"], changed["networks"], changed["rotation"]) == ("block", "site", "made")
    run("extension", "add", "1002", "--account", "Example Ltd", "--user", "Ada Byron")
    refused = run("device", "bind", MAC, "2", "--extension", "1002", code=1).stderr
    assert "neither its site nor the user of extension 1002 has an address" in refused
    told = asked("user", "change", "Ada Byron", *HOME, "--location", "2nd floor")
    assert (told["address"]["city"], told["location"]) == ("Bristol", "2nd floor")
    run("device", "bind", MAC, "2", "--extension", "1002")
    assert [one["kind"] for one in asked("events", "--kind", "emergency_missing")] == ["emergency_missing"]
    assert "seen_at" not in asked("device", "show", MAC), "it has come from nowhere yet"
