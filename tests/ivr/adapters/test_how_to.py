"""The page about other systems names settings, files and answers that there are, and all of them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from ivr.adapters.fastagi import PORT, RESULT
from ivr.adapters.rest import LARGEST, OUTCOMES
from ivr.flow import Cause
from provisioner.contradictions import contradictions
from provisioner.contradictions_pbx import SYSTEMS
from provisioner.settings import knobs, load

PAGE = (Path(__file__).resolve().parents[3] / "docs/how-to/connect-a-pbx.md").read_text("utf-8")
KNOBS = dict(knobs())
CONFIGS = re.findall(r"\n\n((?:    .*\n)+)", PAGE)


def section(heading: str) -> str:
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_it_names_every_setting_of_theirs_and_no_other() -> None:
    named = set(re.findall(r"`((?:agi|hooks)\.[a-z_]+)`", PAGE))
    ours = {name for name in KNOBS if name.startswith(("agi.", "hooks."))}
    assert named == ours
    assert set(re.findall(r"`((?:ivr|tls|http|server)\.[a-z_]+)`", PAGE)) <= set(KNOBS)


def test_every_system_has_its_secrets_file_in_the_table() -> None:
    for system in SYSTEMS:
        assert f"| `{KNOBS[f'hooks.{system}'].default}` | `hooks.{system}` |" in PAGE


@pytest.mark.parametrize("config", [one for one in CONFIGS if re.match(r" *\[(agi|hooks)\]", one)])
def test_settings_to_copy_are_whole(config: str, tmp_path: Path) -> None:
    tomllib.loads(config)
    (tmp_path / "provisioner.toml").write_text(config, "utf-8")
    assert contradictions(load(tmp_path, {})) == ()


def test_every_answer_to_a_request_is_in_its_table() -> None:
    rows = section("Any other system")
    for status, kind, _ in OUTCOMES.values():
        assert re.search(rf"^\|[^|]*\b{status.value}\b[^|]*\|[^|]*:{kind}`[^|]*\|", rows, re.M), kind
    assert f"at most {LARGEST} bytes" in rows


def test_numbers_and_names() -> None:
    asterisk = section("Asterisk")
    assert f":{PORT}/" in asterisk
    assert RESULT in asterisk
    assert [cause for cause in Cause if f"`{cause}`" not in asterisk] == []
