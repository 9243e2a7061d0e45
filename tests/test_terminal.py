"""What is printed into a file or a pipe: nothing is cut off, and nothing is filled up with blanks."""

from __future__ import annotations

import pytest

from provisioner.terminal import cell, show, some_of

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


def test_of_many_names_the_first_are_told_and_how_many_there_are_beside() -> None:
    assert some_of(["0004f2aabbcc", "192.0.2.7"]) == "00:04:f2:aa:bb:cc, 192.0.2.7"
    told = some_of([f"192.0.2.{number}" for number in range(10)])
    assert told.endswith("192.0.2.5 and 4 more (--json names them all)")


def somebody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 80 columns."""
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)


def test_what_is_copied_stays_in_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    somebody_reads(monkeypatch)
    ident = "0123456789abcdef" * 3
    show([{"id": ident, "issuer": "CN=Some CA of a maker, O=Maker Inc., C=US " * 3}], as_json=False)
    told = capsys.readouterr().out
    assert ident in told
    assert max(map(len, told.splitlines())) <= 80


def test_a_table_that_would_be_slices_is_told_row_by_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    somebody_reads(monkeypatch)
    row = {"record": "0004f2aabbcc-17", "at": 0.5, "mac": "0004f2aabbcc", "address": "192.0.2.117", "what": "not_yours",
           "seen": "hello sni prov.example.net; tls done TLSv1.3"}  # fmt: skip
    show([row, {**row, "record": "0004f2aabbcc-18"}], as_json=False)
    first, second = capsys.readouterr().out.rstrip("\n").split("\n\n")
    assert first.splitlines()[0].split() == ["record", "0004f2aabbcc-17"]
    assert second.splitlines()[0].split() == ["record", "0004f2aabbcc-18"]
    assert "hello sni prov.example.net; tls done TLSv1.3" in first, "in one piece"


def test_long_things_of_one_stand_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    show(
        {"chain": ["CN=Leaf, until 2030-01-01, RSA 2048", "CN=Root, until 2040-01-01"], "macs": ["a", "b"]},
        as_json=False,
    )
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["chain  CN=Leaf, until 2030-01-01, RSA 2048", "CN=Root, until 2040-01-01", "macs   a, b"]
