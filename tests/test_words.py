"""The product has one word for each thing: what people read in it says account and binding, and nothing beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OTHER_WORDS = re.compile(r"\b(customers?|tenants?|tenancy|subscribers?)\b", re.IGNORECASE)
"""For what is an Account or a User here."""
OF_BINDINGS = re.compile(
    r"device assign\b|\bassign(s|ed|ment)?\b[^.|`]{0,40}\b(phones?(?! number)|devices?|lines?)\b", re.IGNORECASE
)
"""Licenses and numbers are assigned to people; a phone's line is bound."""
KEPT = re.compile(r"extension\.assign|Action\.ASSIGN")
"""The action of an inbound hook has this name."""


def texts() -> Iterator[Path]:
    yield ROOT / "README.md"
    folders = {"provisioner": {".py", ".toml"}, "ivr": {".py"}, "docs": {".md"}, "templates": {".j2"}}
    for folder, kinds in folders.items():
        yield from sorted(one for one in (ROOT / folder).rglob("*") if one.suffix in kinds)


@pytest.mark.parametrize("pattern", [OTHER_WORDS, OF_BINDINGS], ids=["account", "binding"])
def test_no_other_word_stands_anywhere(pattern: re.Pattern[str]) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in texts()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if pattern.search(KEPT.sub("", line))
    ]
    assert found == []
