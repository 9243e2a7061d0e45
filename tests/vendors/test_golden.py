"""Every golden file: the driver gives exactly the bytes that stand below the rule."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from regenerate import GOLDEN, cases, produce, read

from provisioner.vendors import drivers

BY_NAME = {one.manifest.name: one for one in drivers()}


def test_every_vendor_has_cases() -> None:
    assert {path.relative_to(GOLDEN).parts[0] for path in cases()} == set(BY_NAME)


@pytest.mark.parametrize("path", cases(), ids=lambda path: path.relative_to(GOLDEN).with_suffix("").as_posix())
def test_the_output_is_the_golden_one(path: Path) -> None:
    case = read(path)
    assert case.expected, "no rule of ten dashes, or nothing below it"
    assert produce(case, BY_NAME) == case.expected


@pytest.mark.parametrize("vendor", sorted(BY_NAME))
def test_every_dialect_and_family_has_a_case(vendor: str) -> None:
    rows = BY_NAME[vendor].manifest.models
    shown = {
        (rows[name].dialect, rows[name].family)
        for path in cases()
        if path.relative_to(GOLDEN).parts[0] == vendor and (name := tomllib.loads(read(path).head)["model"])
    }
    assert {(model.dialect, model.family) for model in rows.values()} - shown == set()
