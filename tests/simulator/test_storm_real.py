"""`provisioner simulate storm` as a newcomer tries it: a demonstration's data, a real server, and the command."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from house import House, administer, soon

from provisioner import demo, settings, storm_cast
from provisioner.cli import cli
from provisioner.errors import Invalid, Unusable
from provisioner.model import Mac

ARGUMENTS = ("--phones", "60", "--sites", "6", "--spread", "1", "--capacity", "100")


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("storm") / "data")
    demo.prepare(house.data)
    house.start()
    try:
        yield house
    finally:
        house.stop()


def simulate(house: House, *arguments: str, expect: int = 0) -> Result:
    done = CliRunner().invoke(cli, ["--data", str(house.data), "simulate", "storm", *arguments])
    assert done.exit_code == expect, (done.output, done.exception)
    return done


def test_sixty_phones_come_back_and_the_next_storm_uses_them_again(staged: House, tmp_path: Path) -> None:
    done = simulate(staged, *ARGUMENTS, "--json", "--plots", str(tmp_path / "plots"))
    report = json.loads(done.stdout)
    assert (report["phones"], report["back"], report["wrong_bodies"]) == (60, 60, 0)
    assert done.stderr == ""  # nobody looks on
    assert report["t100"] >= report["t99"] >= report["t50"] > 0
    assert report["ideal"] == 1.0
    assert len(report["sites"]) == 6
    assert report["sites"][report["nat"]]["phones"] == 15
    assert (tmp_path / "plots" / "back.svg").is_file()
    cards = {path: path.stat().st_mtime_ns for path in (staged.data / "demo" / "storm").iterdir()}
    events = administer(staged, lambda fleet: fleet.events(limit=10_000))
    again = simulate(staged, "--phones", "40", "--sites", "2", "--spread", "0.5", "--no-retry")
    assert "40, 40 of them back" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in cards} == cards
    made = {one.kind for one in administer(staged, lambda fleet: fleet.events(limit=10_000, after=events[-1].id))}
    assert not made & {"device_added", "extension_added", "line_bound"}


def test_a_rate_and_a_closed_loop_against_the_server(staged: House) -> None:
    rate = json.loads(simulate(staged, "--phones", "20", "--rate", "10", "--seconds", "1", "--json").stdout)
    assert (rate["mode"], rate["phones"], rate["back"]) == ("rate", 10, 10)
    closed = json.loads(simulate(staged, "--phones", "20", "--together", "2", "--seconds", "1", "--json").stdout)
    assert closed["mode"] == "closed"
    assert closed["back"] == closed["phones"] > 2


def test_a_lost_key_makes_new_certificates_and_the_old_pin_is_forgotten(staged: House) -> None:
    simulate(staged, "--phones", "4", "--spread", "0")
    second = storm_cast.extras(2)[1].mac
    assert soon(lambda: administer(staged, lambda fleet: fleet.device(second)).pinned, 10)
    (staged.data / "demo" / "storm" / "key-01.pem").unlink()
    done = simulate(staged, "--phones", "4", "--spread", "0", "--no-retry")
    assert "4, 4 of them back" in done.stdout


def test_a_device_that_somebody_revoked_or_unbound_is_put_right(staged: House) -> None:
    simulate(staged, "--phones", "4", "--spread", "0")
    first, second = [one.mac for one in storm_cast.extras(2)]

    async def meddle(fleet: object) -> None:
        await fleet.revoke_device(first)  # type: ignore[attr-defined]  # a Fleet
        await fleet.unbind(second, 1)  # type: ignore[attr-defined]  # a Fleet

    administer(staged, meddle)
    assert "4, 4 of them back" in simulate(staged, "--phones", "4", "--spread", "0", "--no-retry").stdout


def test_ctrl_c_ends_it_with_all_its_processes(staged: House) -> None:
    command = [sys.executable, "-m", "provisioner", "--data", str(staged.data), "simulate", "storm"]
    process = subprocess.Popen(
        [*command, "--phones", "20", "--spread", "60"], stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 20
    while not (crowd := _children(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=10)
    assert process.returncode == 1
    assert told.strip() == b"Aborted!"
    assert crowd
    assert not any(Path(f"/proc/{pid}").exists() for pid in crowd)


def _children(pid: int) -> list[int]:
    found = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(one) for some in found for one in some]


def test_each_thing_that_is_missing_is_named_with_the_remedy(tmp_path: Path, data: Path) -> None:
    nothing = settings.load(data)
    call = storm_cast.Call(10, 3, 0)
    with pytest.raises(Unusable, match=r"no server runs.*provisioner demo"):
        asyncio.run(storm_cast.prepare(nothing, call, print))


def test_a_server_without_demo_factories_is_told_what_makes_them(data: Path) -> None:
    house = House(data)
    house.start()
    try:
        done = simulate(house, "--phones", "4", expect=2)
    finally:
        house.stop()
    assert "no demo factory for poly" in done.stderr
    assert "provisioner demo --data" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--phones", "0"), "phones: must be 1 to"),
        (("--spread", "-1"), "spread: must be 0 s"),
        (("--phones", "5", "--nat", "9"), "nat: must be 0 to 5"),
        (("--rate", "5", "--together", "2"), "choose one"),
        (("--heed", "nokia"), "'nokia' is none of poly, yealink"),
        (("--greedy", "--sites", "1"), "greedy: it takes"),
    ],
)
def test_options_that_make_no_sense_are_told_before_anything_is_made(
    staged: House, arguments: tuple[str, ...], told: str
) -> None:
    assert told in simulate(staged, *arguments, expect=1).stderr


def test_the_cast_is_always_the_same_and_all_different() -> None:
    few, many = storm_cast.extras(10), storm_cast.extras(storm_cast.MOST)
    assert many[:10] == few
    assert len({one.mac for one in many}) == len({one.extension for one in many}) == storm_cast.MOST
    assert all(Mac.parse(one.mac) == one.mac for one in many[-8:])
    with pytest.raises(Invalid):
        storm_cast.extras(storm_cast.MOST + 1)
