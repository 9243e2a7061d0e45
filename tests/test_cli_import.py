"""`provisioner import`: the example files, what people and scripts are told, Ctrl-C, a kill, and the page about it."""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from provisioner.cli import imports as cli_import
from provisioner.imports.own import COLUMNS
from provisioner.imports.rows import MOST_BYTES, MOST_ROWS, Sheet

Run = Callable[..., Result]
Asked = Callable[..., Any]
ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples" / "import"
PAGE = ROOT / "docs" / "how-to" / "import.md"
ACCOUNT = ["--account", "Example Ltd"]
FILES = {
    "own.csv": ["own.csv"],
    "fusionpbx.csv": ["fusionpbx.csv"],
    "fusionpbx-devices.csv": ["fusionpbx-devices.csv", "fusionpbx-device-lines.csv"],
    "wazo-confd.json": ["wazo-confd.json"],
    "wazo-provd.json": ["wazo-provd.json"],
}


@pytest.fixture
def account(run: Run) -> None:
    run("account", "add", "Example Ltd")


def many(path: Path, rows: int) -> Path:
    lines = [
        f"Example Ltd,User {one},{2000 + one},00:04:f2:00:{one >> 8:02x}:{one & 255:02x},VVX 411" for one in range(rows)
    ]
    path.write_text("\n".join(["account,user,extension,mac,model", *lines, ""]), "utf-8")
    return path


@pytest.mark.parametrize("way", [["--dry-run"], []])
def test_an_account_that_there_is_none_of_is_told_once(run: Run, account: None, way: list[str]) -> None:
    said = run("import", str(EXAMPLES / "own.csv"), "--account", "Exmaple Ltd", *way, code=1)
    assert said.stdout == "" and said.stderr.count("there is no account 'Exmaple Ltd'") == 1


@pytest.mark.parametrize("name", FILES)
def test_every_example_is_taken_over_and_only_once(asked: Asked, account: None, name: str) -> None:
    files = [str(EXAMPLES / one) for one in FILES[name]]
    planned = asked("import", *files, *ACCOUNT, "--dry-run")
    assert asked("device", "list") == []
    done = asked("import", *files, *ACCOUNT)
    assert done == {**planned, "dry_run": False}
    assert done["counts"]["add"] == len(done["rows"]) - done["counts"].get("left out", 0)
    assert len(asked("device", "list")) == len({one["mac"] for one in done["rows"] if one["outcome"] == "add"} - {""})
    again = asked("import", *files, *ACCOUNT)
    assert again["counts"] == {"already so": done["counts"]["add"]} | {
        word: count for word, count in done["counts"].items() if word == "left out"
    }


def test_all_examples_are_tried() -> None:
    tried = {one for files in FILES.values() for one in files} | {"mistakes.csv", "README.md"}
    assert {one.name for one in EXAMPLES.iterdir()} == tried


def test_mistakes_are_named_and_the_rest_is_done(run: Run, asked: Asked, account: None, tmp_path: Path) -> None:
    results = tmp_path / "results.csv"
    told = run("import", str(EXAMPLES / "mistakes.csv"), *ACCOUNT, "--results", str(results), code=1).stdout
    assert "line 2     refused    mac: '00:04:F2:AA:BB:0G' is not a MAC address" in told
    assert "did you mean VVX 401, VVX 410, VVX 411?" in told
    assert "warning    00:15:65:aa:bb:04 begins like a device of Yealink" in told
    assert "8 rows: 2 added, 6 refused." in told
    assert [one["mac"] for one in asked("device", "list")] == ["0004f2aabb07", "001565aabb04"]
    rows = list(csv.DictReader(io.StringIO(results.read_text("utf-8-sig"))))
    assert [one["outcome"] for one in rows] == ["refused"] * 4 + ["add"] + ["refused"] * 2 + ["add"]


def test_results_hold_nothing_that_a_spreadsheet_calculates(run: Run, account: None, tmp_path: Path) -> None:
    file, results = tmp_path / "in.csv", tmp_path / "out.csv"
    file.write_text('account,user,extension\nExample Ltd,"=1+1",+1001\nExample Ltd,@x,-5 5\n', "utf-8")
    run("import", str(file), "--results", str(results), code=1)
    cells = [cell for row in csv.reader(io.StringIO(results.read_text("utf-8-sig"))) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    assert "user '=1+1', extension +1001" in cells


def test_no_secret_is_told(run: Run, asked: Asked, account: None, tmp_path: Path) -> None:
    results = tmp_path / "out.csv"
    told = [
        run("import", str(EXAMPLES / "own.csv"), *more).output
        for more in (["--dry-run"], ["--json"], ["--results", str(results)])
    ]
    told += [results.read_text("utf-8-sig"), str(asked("events", "--limit", "100"))]
    assert [one for one in told if "correct-horse-7" in one] == []
    assert run("extension", "reveal", "1001").stdout.strip().endswith("correct-horse-7")


def test_of_a_long_file_only_what_asks_for_eyes_is_listed(run: Run, account: None, tmp_path: Path) -> None:
    file = many(tmp_path / "many.csv", 130)
    file.write_text(f"{file.read_text('utf-8')}Example Ltd,Ada,10 01,,\n", "utf-8")
    told = run("import", str(file), "--dry-run", code=1).stdout
    assert told.splitlines()[0].startswith("line 132   refused    extension:")
    assert "31 more rows like these are not listed" in told
    assert "131 rows: 130 add, 1 refused.\nOf 130 there is a warning." in told


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"user\nAd\0a\n", "line 2, column 3: holds a NUL"),
        (b"usr\nAda\n", "did you mean 'user'?"),
        (b"x" * (MOST_BYTES + 1), "split it"),
    ],
    ids=["NUL", "title", "huge"],
)
def test_a_file_that_cannot_be_read_is_refused(
    run: Run, account: None, tmp_path: Path, content: bytes, told: str
) -> None:
    file = tmp_path / "in.csv"
    file.write_bytes(content)
    assert told in run("import", str(file), code=1).stderr
    assert "does not exist" in run("import", str(tmp_path / "none.csv"), code=2).stderr
    assert "--results" not in run("import", str(EXAMPLES / "own.csv"), "--results", str(tmp_path), code=2).stdout


def test_ctrl_c_ends_it_behind_a_whole_row(
    run: Run, asked: Asked, account: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = many(tmp_path / "many.csv", 160)

    @contextmanager
    def interrupting(_sheet: Sheet, _dry_run: bool) -> Iterator[Callable[[int, int], None]]:
        yield lambda done, _total: signal.raise_signal(signal.SIGINT) if done == 50 else None

    monkeypatch.setattr(cli_import, "_watched", interrupting)
    told = run("import", str(file), code=1).stdout
    assert "160 rows: 50 added, 110 not done." in told
    assert "It ended early: it was stopped." in told
    assert len(asked("device", "list")) == 50
    monkeypatch.undo()
    assert "110 added, 50 already so" in run("import", str(file)).stdout


def counted(data: Path) -> list[int]:
    with closing(sqlite3.connect(data / "provisioner.db")) as connection:
        return [
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ('"user"', "extension", "device", "binding")
        ]


@pytest.mark.slow  # a program that starts, is killed, and is finished by another
def test_a_kill_in_the_middle_leaves_whole_rows(run: Run, data: Path, account: None, tmp_path: Path) -> None:
    file = many(tmp_path / "many.csv", 400)
    command = [sys.executable, "-m", "provisioner", "--data", str(data), "import", str(file)]
    program = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT, env=dict(os.environ))
    until = time.monotonic() + 60
    while counted(data)[0] == 0 and time.monotonic() < until:
        time.sleep(0.02)
    program.kill()
    program.wait(20)
    there = counted(data)
    assert len(set(there)) == 1
    assert 0 < there[0] < 400
    assert f"{there[0]:,} already so" in run("import", str(file)).stdout
    assert counted(data) == [400] * 4


# --- the page ------------------------------------------------------------------------------------------


def test_the_page_shows_what_is_really_told(run: Run, account: None) -> None:
    blocks = re.findall(r"^```\n\$ provisioner (import \S+)(.*?)\n(.*?)```$", PAGE.read_text("utf-8"), re.M | re.S)
    assert len(blocks) >= 2
    for command, more, output in blocks:
        verb, file = command.split()
        words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', more)]
        answer = run(verb, str(ROOT / file), *words, code=1 if "refused" in output else 0).stdout
        assert [line.rstrip() for line in answer.splitlines()] == [line.rstrip() for line in output.splitlines()]


def test_the_page_names_all_columns_and_limits() -> None:
    page = PAGE.read_text("utf-8")
    assert [title for title in COLUMNS if f"| `{title.replace('_', ' ')}` |" not in page] == []
    for what in COLUMNS.values():
        assert what in page
    assert f"{MOST_ROWS:,} rows" in page
    assert f"{MOST_BYTES // 2**20} MB" in page
