"""Every type that is told outside has a source in the program, and the page says which; nothing else is listed."""

from __future__ import annotations

import re
from pathlib import Path

from provisioner.events import KINDS
from provisioner.hook_events import CHANGE, OUTWARD, TYPES, checked, source_of
from provisioner.store.hook_queue import DEVICES

ROOT = Path(__file__).resolve().parent.parent
CATALOGUES = {"events.py", "hook_events.py", "hook_queue.py"}
PAGE = (ROOT / "docs" / "reference" / "events.md").read_text("utf-8")
NOT_BUILT = ("order", "inventory", "request", "readiness")
"""Families of parts that are not there."""


def told() -> dict[str, tuple[str, ...]]:
    """Type -> the other cells of its row."""
    table = PAGE.partition("## Told to other systems")[2]
    rows = re.findall(r"^\| `([a-z]+\.[a-z_]+)` \| (.+) \| (.+) \| (.+) \|$", table, re.MULTILINE)
    return {row[0]: row[1:] for row in rows}


def test_the_page_lists_exactly_what_can_be_told() -> None:
    assert set(told()) == set(TYPES)
    assert not [one for one in TYPES if one.partition(".")[0] in NOT_BUILT]


def test_each_row_says_where_it_comes_from() -> None:
    for outside, (kinds, says, source) in told().items():
        mine = [kind for kind, one in OUTWARD.items() if one == outside]
        assert re.findall(r"`([a-z_]+)`", kinds) == mine
        assert says == KINDS[mine[0]]
        assert source == "; ".join(dict.fromkeys(source_of(kind) for kind in mine))


def test_every_kind_is_made_somewhere() -> None:
    """By name, outside of the lists of names; refusals are named by their errors."""
    code = [path for path in (ROOT / "provisioner").rglob("*.py") if path.name not in CATALOGUES]
    made = {kind for path in code for kind in re.findall(r"\"([a-z_]+)\"", path.read_text("utf-8"))}
    assert [kind for kind in OUTWARD if kind not in made] == []


def test_what_devices_cause_is_taken_from_their_events_and_all_else_from_the_change() -> None:
    assert set(DEVICES) <= set(OUTWARD)
    assert [kind for kind in DEVICES if source_of(kind) == CHANGE] == []
    assert {"config.served", "device.offline", "device.lost", "emergency.location_missing"} <= TYPES
    assert checked(["device.offline", "emergency.*"]) == "device.offline emergency.*"
