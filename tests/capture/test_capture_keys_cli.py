"""The way of an administrator: record, take frames, make a bundle; and of a technician with the lines on stdin."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from house import House
from over_tls import CANARIES, TLS_1_3, talked, tape_of
from wire import PHONE

from provisioner import settings
from provisioner.cli.main import cli
from provisioner.store.database import Store
from provisioner.store.key_recordings import Secret, sealed, write_secrets

WARNING = "Keep the frames as they were taken to yourself"


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House.build(tmp_path)
    asyncio.run(made.add(PHONE, "poly", "VVX 411"))
    return made


def does(data: Path, *words: str, given: str = "", code: int = 0) -> Result:
    done = CliRunner().invoke(cli, ["--data", str(data), *words], input=given)
    assert done.exit_code == code, done.output
    return done


def put(house: House, lines: list[str]) -> None:
    """As a worker would."""

    async def write() -> None:
        async with Store.of(settings.load(house.data)) as store:
            random = lines[0].split()[1]
            some = [Secret(random, time.time(), sealed(store.box, PHONE, random, lines))]
            assert await write_secrets(store, PHONE, some, most=9) == 1

    asyncio.run(write())


@pytest.mark.slow
def test_a_recording_and_what_is_made_of_it(house: House, tmp_path: Path) -> None:
    turns, log = talked(tmp_path, TLS_1_3)
    frames = str(tape_of(turns).save(tmp_path / "a.pcap"))
    plain = does(house.data, "capture", "bundle", PHONE, frames, "--into", str(tmp_path / "one"))
    assert "TLS secrets" not in plain.output
    assert "open some" not in does(house.data, "keylog", "take", PHONE, code=1).output
    assert "0 connections; deleted at" in does(house.data, "keylog", "open", PHONE, "--minutes", "2").output
    put(house, log.read_text("ascii").splitlines())
    assert "1 connection; deleted at" in does(house.data, "keylog", "show", PHONE).output
    made = does(house.data, "capture", "bundle", PHONE, frames, "--into", str(tmp_path / "two"))
    assert f"TLS secrets in {PHONE}.pcapng: of 1 connection" in made.output
    assert WARNING in made.output
    whole = b"".join(one.read_bytes() for one in (tmp_path / "two").iterdir())
    assert b"SERVER_TRAFFIC_SECRET_0" in whole
    assert not [one for one in CANARIES if one in whole]
    without = does(house.data, "capture", "bundle", PHONE, frames, "--no-keys", "--into", str(tmp_path / "three"))
    assert WARNING not in without.output
    kinds = [one["kind"] for one in json.loads(does(house.data, "--json", "events", "--mac", PHONE).stdout)]
    assert kinds.count("tls_secrets_taken") == 1
    assert "closed" in does(house.data, "keylog", "close", PHONE).output
    assert "1 connection" in does(house.data, "keylog", "delete", PHONE).output
    assert "no TLS secrets are recorded" in does(house.data, "keylog", "show").output


def test_on_a_laptop_they_come_by_stdin(tmp_path: Path) -> None:
    turns, log = talked(tmp_path, TLS_1_3)
    frames = str(tape_of(turns).save(tmp_path / "a.pcap"))
    words = ("--json", "capture", "bundle", PHONE, frames, "--keys-stdin", "--into")
    told = json.loads(does(tmp_path, *words, str(tmp_path / "one"), given=log.read_text("ascii")).stdout)
    assert told["keys"] == {"opened": 1, "sealed": {}}
    empty = does(tmp_path, *words, str(tmp_path / "two"), given="nothing\n", code=2)
    assert "no TLS secrets on stdin" in empty.output
    assert not (tmp_path / "two").exists()
