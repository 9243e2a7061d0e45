"""Wrong usage ends with 2 and says how it is right; what cannot be written says so; what is so already is no error."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from provisioner.capability import Card
from provisioner.http.console.overview import Duty
from provisioner.settings import load
from provisioner.store import cards
from provisioner.store import engine as engines

Run = Callable[..., Result]
Asked = Callable[..., Any]
MAC = "0004f2aabbcc"
ROWS = Path(__file__).parents[1] / "examples" / "import" / "own.csv"


# --- files that cannot be written -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "option"),
    [(["audit", "export"], "--output"), (["import", str(ROWS), "--account", "Example Ltd", "--dry-run"], "--results")],
)
def test_a_file_that_cannot_be_written_is_named_with_the_option(
    run: Run, office: None, tmp_path: Path, words: list[str], option: str
) -> None:
    nowhere = str(tmp_path / "no" / "x")
    told = run(*words, option, nowhere, code=2).stderr
    assert told == f"Error: {nowhere} cannot be written (No such file or directory); name another file with {option}\n"


# --- a person on a phone ----------------------------------------------------------------------------------------


def test_a_person_is_bound_by_name_and_once_more_is_no_error(run: Run, asked: Asked, office: None) -> None:
    run("device", "unbind", MAC, "1")
    first = asked("device", "bind", MAC, "1", "--user", "Ada Byron")
    assert (first["number"], first["line"]) == ("1001", 1)
    assert {**asked("device", "bind", MAC, "1", "--user", "Ada Byron"), "exchanged": None} == first
    assert len(asked("device", "bindings", MAC)) == 2  # the one that ended, and this one
    run("device", "bind", MAC, "1", "--extension", "1001", "--label", "Ada", code=1)  # that would be another line key
    run("device", "bind", MAC, "2", "--extension", "1001", code=1)


@pytest.mark.parametrize("verb", ["bind", "rebind"])
@pytest.mark.parametrize("whose", [[], ["--user", "Ada Byron", "--extension", "1001"]])
def test_whose_line_it_is_has_to_be_said_once(run: Run, office: None, verb: str, whose: list[str]) -> None:
    assert "either --extension NUMBER or --user NAME" in run("device", verb, MAC, "1", *whose, code=2).stderr


# --- wrong usage ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["why", "zz"], "'zz' is neither a MAC nor an IP address"),
        (["why", MAC, "--hours", "5"], "--hours is how far back --fleet looks"),
        (["why", MAC, "--seconds", "60"], "--seconds is how long --live captures"),
        (["profile", "open", "--minutes", "0"], "0"),
        (["flights", "strangers", "--address", "zz"], "'zz' is no IP address"),
        (["events", "--kind", "nonsense"], "is no kind of event"),
    ],
)
def test_wrong_usage_is_2_wherever_it_is_noticed(run: Run, office: None, words: list[str], why: str) -> None:
    assert why in run(*words, code=2).stderr
    error = json.loads(run(*words, "--json", code=2).stderr)["error"]
    assert error["kind"] == "usage" and why in error["cause"]


# --- alarms by SNMP ---------------------------------------------------------------------------------------------


def test_a_trap_is_tried_as_the_settings_have_it(run: Run, asked: Asked, data: Path) -> None:
    assert "trap.receivers is empty" in run("trap", "test", code=1).stderr
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noc:
        noc.bind(("127.0.0.1", 0))
        there = f"trap://127.0.0.1:{noc.getsockname()[1]}"
        (data / "provisioner.toml").write_text(f'[trap]\nreceivers = ["inform://127.0.0.1:9", "{there}"]\n')
        (data / "trap.community").write_text("noc-reads")
        (data / "trap.community").chmod(0o600)
        told = {one["receiver"]: one for one in asked("trap", "test", code=1)}
        assert "trap.keys is missing" in told["inform://127.0.0.1:9"]["says"]
        assert told[there]["told"] is True
        assert b"noc-reads" in noc.recv(2000)
        assert "nobody confirms" in run("trap", "test", there).stdout
    assert "'x' is not in trap.receivers: inform://127.0.0.1:9" in run("trap", "test", "x", code=1).stderr


# --- cards of what phones can do --------------------------------------------------------------------------------


def test_a_card_is_found_by_its_address_and_who_has_none_is_told_so(run: Run, asked: Asked, data: Path) -> None:
    assert "there is no profile listener" in run("profile", "show").stdout
    assert run("profile", "cards", MAC).stdout == "no phone has come yet\n"
    engine = engines.make_engine(engines.parse_url(load(data).database_url), lossy=True)
    card = Card("c" * 20, "", False, "", "", "10.0.0.9", 5.0, 6.0, 1, {"refused": "unknown_ca"})

    async def seen() -> None:
        await cards.write_cards(engine, [card], 10)
        await engine.dispose()

    asyncio.run(seen())
    told = run("profile", "cards", MAC).stdout
    assert "no card of 0004f2aabbcc; a phone that refuses our certificate shows no MAC" in told
    assert [one["address"] for one in asked("profile", "cards", "10.0.0.9")] == ["10.0.0.9"]
    assert asked("profile", "cards", "10.0.0.8") == []


# --- names instead of ids ---------------------------------------------------------------------------------------


def test_tables_say_the_names_that_were_typed(run: Run, asked: Asked, data: Path, office: None) -> None:
    account, extension = asked("account", "list")[0]["id"], asked("extension", "list")[0]["id"]
    place = ["--vendor", "yealink", "--model", "T46S", "--account", "Example Ltd", "--site", "Head Office"]
    told = [run("device", "add", "001565aabbcc", *place).stdout, run("device", "revoke", MAC).stdout]
    run("device", "restore", MAC)
    told += [run("device", "bindings", MAC).stdout, run("device", "bind", MAC, "1", "--user", "Ada Byron").stdout]
    file = data / "provisioner.toml"
    file.write_text(
        f'{file.read_text()}\n[switch]\nallow = ["127.0.0.0/8"]\n'
        if "[switch]" not in file.read_text()
        else file.read_text().replace("\n[switch]\n", '\n[switch]\nallow = ["127.0.0.0/8"]\n')
    )
    run("switch", "add", "hq", "127.0.0.1", "--account", "Example Ltd", "--community", "public")
    told += [run("switch", *words).stdout for words in (["list"], ["show", "hq"], ["set", "hq", "--port", "162"])]
    for text in told:
        assert account not in text and extension not in text, text
    assert all("Example Ltd" in text for text in (*told[:2], *told[-3:]))
    assert asked("switch", "show", "hq")["account"] == account, "a script gets the id"


def test_one_of_a_thing_is_told_in_the_singular() -> None:
    assert Duty(1, ("phone waits", "phones wait"), "/", "").what == "phone waits"
    assert Duty(2, ("phone waits", "phones wait"), "/", "").what == "phones wait"
