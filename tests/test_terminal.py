"""What is printed into a file or a pipe: nothing is cut off, and nothing is filled up with blanks."""

from __future__ import annotations

import pytest

from provisioner.terminal import cell, show

LONG = "a sentence that goes on " * 14


def test_a_table_in_a_pipe_has_lines_as_long_as_what_they_say(capsys: pytest.CaptureFixture[str]) -> None:
    show([{"state": "ok", "says": "short"}, {"state": "fail", "says": LONG.strip()}], as_json=False)
    heading, rule, short, long = capsys.readouterr().out.splitlines()
    assert (heading.split(), short.split()) == (["state", "says"], ["ok", "short"])
    assert set(rule) == {"─"}
    assert len(rule) == len(heading) < 20
    assert len(short) < 20
    assert long.endswith(LONG.strip()), "and nothing is cut off"


def test_one_thing_in_a_pipe_has_none_either(capsys: pytest.CaptureFixture[str]) -> None:
    show({"state": "ok", "says": LONG.strip(), "more": "short"}, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    assert len(lines) == 3


def test_a_line_of_rules_in_the_data_is_not_taken_for_the_tables_own(capsys: pytest.CaptureFixture[str]) -> None:
    show([{"says": "──────────"}], as_json=False)
    assert "──────────" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    "column", ["at", "begun", "ended", "wipe_pending_since", "wipe_asked_at", "wipe_fetched_at", "failing since"]
)
def test_a_moment_is_written_as_people_read_it(column: str) -> None:
    assert cell(column, 1_796_000_000.5) == "2026-11-30 00:53:20Z"
    assert cell(column, None) == cell(column, 0.0) == "-"


@pytest.mark.parametrize("column", ["size", "missing", "format", "status"])
def test_any_other_number_stays_one(column: str) -> None:
    assert cell(column, 1_796_000_000) == "1796000000"
