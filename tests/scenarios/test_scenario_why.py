"""Phones that do not come up, at a real server, and what `provisioner why` says of each."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from house import House, administer, soon
from stage import add, boots_once, no_canary, no_traceback, phone, url

from provisioner import pki
from provisioner.cli.main import cli
from provisioner.model import Mac
from provisioner.simulator import Outcome

GOOD, THIEF, GONE, NEW, COPIED = "0004f2d00001", "0004f2d00002", "001565d00003", "001565d00004", "001565d00005"
LOOPER = "001565d00006"
_YEAR_2100, _YEAR_2000 = 4_102_444_800, 946_684_800


@pytest.fixture(scope="module")
def house(blank: House, room: Path) -> Iterator[House]:
    built = blank.copy(room, store_flush=0.1, diagnosis_loop_fetches=3)
    models = {GOOD: "VVX 411", THIEF: "VVX 411"}
    add(built, *((mac, "poly" if mac in models else "yealink", models.get(mac, "T46S"), f"90{mac[-4:]}")
                 for mac in (GOOD, THIEF, GONE, COPIED, LOOPER)))  # fmt: skip
    built.start()
    yield built
    built.stop()
    no_traceback(built)
    no_canary(built)


def why(house: House, whom: str, *more: str) -> dict[str, Any]:
    done = CliRunner(env=house.environment).invoke(cli, ["--data", str(house.data), "why", whom, "--json", *more])
    assert done.exit_code < 21, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.exit_code == found["exit"]
    return found


def until(house: House, whom: str, good: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The diagnosis, once the workers have written what it stands on."""
    assert soon(lambda: good(why(house, whom)), 25), why(house, whom)
    return why(house, whom)


def row(found: dict[str, Any]) -> int:
    return found["cause"]["row"] if found["cause"] else 0


def test_a_phone_that_comes_up_comes_up(house: House) -> None:
    assert boots_once(phone(house, "VVX 411", "poly", GOOD), url(house)).outcome is Outcome.REGISTERED
    found = until(house, GOOD, lambda one: one["outcome"] == "up" and "optional" in " ".join(one["notes"]))
    assert (found["exit"], found["cause"], found["refused_by"]) == (0, None, "none")


def test_the_impostor(house: House, tmp_path: Path) -> None:
    maker = pki.make_factory("nobody knows", tmp_path / "factory")
    leaf, key, chain = maker.leaf(Mac(COPIED))
    (tmp_path / "leaf.pem").write_bytes(leaf + chain)
    (tmp_path / "leaf.key").write_bytes(key)
    assert boots_once(phone(house, "T46S", "yealink", COPIED), url(house)).outcome is Outcome.REGISTERED
    until(house, COPIED, lambda one: one["outcome"] == "up")
    own = {"certificate": tmp_path / "leaf.pem", "key": tmp_path / "leaf.key"}
    assert boots_once(phone(house, "T46S", "yealink", COPIED, **own), url(house)).outcome is Outcome.REFUSED
    found = until(house, COPIED, lambda one: bool(one["also"]) and "record x-" in one["also"][0]["witnesses"][0])
    assert (found["outcome"], found["cause"], found["also"][0]["row"]) == ("up", None, 49)
    assert (found["broken"], found["exit"]) == (None, 0), "whoever takes its name does not make it a broken phone"
    assert any("somebody else" in note for note in found["notes"])


def test_the_phone_with_anothers_file(house: House) -> None:
    greedy = phone(house, "VVX 411", "poly", THIEF, ask_for=Mac(GOOD))
    assert boots_once(greedy, url(house)).outcome is Outcome.REFUSED
    found = until(house, THIEF, lambda one: bool(one["cause"]) and f"GET {GOOD}" in one["cause"]["seen"])
    assert (row(found), found["broken"], found["exit"]) == (57, "certificate_mac", 16)
    assert "403 (not_yours)" in found["cause"]["seen"]
    assert why(house, GOOD)["outcome"] == "up", "whose file it was is none the worse"


def test_the_revoked_one(house: House) -> None:
    assert boots_once(phone(house, "T46S", "yealink", GONE), url(house)).outcome is Outcome.REGISTERED
    administer(house, lambda fleet: fleet.revoke_device(Mac(GONE)))
    found = why(house, GONE)
    assert (row(found), found["broken"]) == (77, "http")
    assert found["cures"][0]["text"] == "When that is over, restore it."
    assert found["cures"][0]["how"] == f"provisioner device restore {GONE}"
    assert found["cause"]["witnesses"] == [f"inventory: device {GONE}"], "before it has come again, too"


def test_the_one_that_nobody_has_added(house: House) -> None:
    assert boots_once(phone(house, "T46S", "yealink", NEW), url(house)).outcome is Outcome.REFUSED
    found = until(house, NEW, lambda one: one["cause"] is not None)
    assert (row(found), found["exit"]) == (78, 17)
    assert found["vendor"] is not None


def test_the_one_that_never_came(house: House) -> None:
    found = why(house, "00:15:65:ff:ff:ff")
    assert (found["outcome"], found["exit"]) == ("undecided", 20)
    assert found["missing"][0]["how"] == "provisioner why 001565ffffff --switch"


@pytest.mark.parametrize(
    ("clock", "alert", "address"), [(_YEAR_2100, "45", "127.0.0.77"), (_YEAR_2000, "42", "127.0.0.78")]
)
def test_a_phone_with_a_wrong_clock_is_found_by_its_address(house: House, clock: int, alert: str, address: str) -> None:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{house.ports['device']}", "-bind", address,
               "-CAfile", str(house.ca), "-verify_return_error", "-attime", str(clock), "-tls1_2"]  # fmt: skip
    began = time.time()
    done = subprocess.run(command, input=b"", capture_output=True, timeout=20, check=False)
    assert done.returncode != 0
    found = until(house, address, lambda one: bool(one["cause"]) and f"alert {alert} " in one["cause"]["seen"])
    assert (row(found), found["who"], found["broken"]) == (25, "the PHONE refused the server", "time")
    assert found["mac"] == ""
    assert time.time() - began < 15


@pytest.mark.slow  # a record of good boots is written when the phone has been quiet for five seconds
def test_a_loop_is_seen_while_it_goes_on(house: House) -> None:
    for _ in range(3):
        assert boots_once(phone(house, "T46S", "yealink", LOOPER), url(house)).outcome is Outcome.REGISTERED
    found = until(house, LOOPER, lambda one: one["cause"] is not None)
    assert (row(found), found["exit"]) == (68, 18)


def test_all_of_them_in_a_few_sentences(house: House) -> None:
    done = CliRunner().invoke(cli, ["--data", str(house.data), "why", "--fleet"])
    assert done.exit_code == 0
    assert "The certificate names another phone than the file, VVX 411" in done.stdout
    rows = json.loads(CliRunner().invoke(cli, ["--data", str(house.data), "why", "--fleet", "--json"]).stdout)
    assert {49, 57, 78} <= {one["row"] for one in rows}
    assert f"    {Mac(THIEF).colons}\n" in done.stdout
    assert [one["who"] for one in rows if one["row"] == 57] == [[THIEF]]


@pytest.mark.parametrize("wrong", [[], ["--fleet", GOOD], ["nonsense"], ["not-a-mac.example"]])
def test_what_cannot_be_meant_is_said(house: House, wrong: list[str]) -> None:
    done = CliRunner().invoke(cli, ["--data", str(house.data), "why", *wrong])
    assert done.exit_code == 2
    assert done.stderr


def test_one_screen_for_people(house: House) -> None:
    done = CliRunner().invoke(cli, ["--data", str(house.data), "why", THIEF])
    assert done.exit_code == 16
    assert "the SERVER refused the phone" in done.stdout
    assert "BROKEN  certificate belongs to this MAC" in done.stdout
    assert len(done.stdout.splitlines()) <= 40
