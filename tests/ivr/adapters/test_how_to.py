"""The page about other systems names settings and answers that there are, and all answers."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from ivr.adapters import AttemptsSettings, FastAgiSettings, HttapiSettings, TwimlSettings
from ivr.adapters.fastagi import PORT, RESULT
from ivr.adapters.rest import LARGEST, OUTCOMES
from ivr.flow import Cause

PAGE = (Path(__file__).resolve().parents[3] / "docs/how-to/connect-a-pbx.md").read_text("utf-8")
SECTIONS = {
    "Asterisk": FastAgiSettings,
    "Twilio, Telnyx, SignalWire": TwimlSettings,
    "FreeSWITCH": HttapiSettings,
}


def section(heading: str) -> str:
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_settings_in_its_tables_exist() -> None:
    for heading, settings in SECTIONS.items():
        rows = section(heading).partition("| setting | is |")[2].partition("\n\n")[0]
        named = set(re.findall(r"^\| `(\w+)` \|", rows, re.M))
        assert len(named) >= 5
        assert named <= {field.name for field in fields(settings)}
    assert "`vouched`" in section("Any other system")
    assert "vouched" in {field.name for field in fields(AttemptsSettings)}


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
