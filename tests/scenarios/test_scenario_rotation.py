"""The master key is exchanged while phones boot: no worker is started anew, and nobody gets other bytes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from house import House, administer
from stage import add, certificate, no_canary, no_traceback, secret_of, soon, workers

from provisioner.cli.main import cli

PHONES = {"0004f2000001": "100", "0004f2000004": "101", "0004f2000007": "102"}


@pytest.fixture(scope="module")
def house(blank: House, room: Path) -> Iterator[House]:
    built = blank.copy(room, SERVER_WORKERS=2)
    add(built, *((mac, "poly", "VVX 411", number) for mac, number in PHONES.items()))
    for mac in PHONES:
        certificate(built, "poly", mac)
    built.start()
    yield built
    built.stop()


@pytest.mark.slow
def test_phones_boot_on_while_the_key_is_exchanged(house: House) -> None:
    def fetch(mac: str) -> tuple[int, bytes]:
        return house.get(f"/{mac}-user.cfg", certificate(house, "poly", mac))[::2]

    soon(lambda: len(workers(house)) == 2, 20)
    before, family, wrong = {mac: fetch(mac) for mac in PHONES}, workers(house), []
    assert all(status == 200 and secret_of(mac, PHONES[mac]).encode() in body for mac, (status, body) in before.items())
    for mac in PHONES:
        assert soon(lambda mac=mac: administer(house, lambda fleet: fleet.fetches(mac))), (
            "its body is sealed with the old key"
        )
    ended = threading.Event()

    def boot(mac: str) -> None:
        while not ended.is_set():
            if (got := fetch(mac)) != before[mac]:
                wrong.append((mac, got[0]))
            time.sleep(0.02)

    boots = [threading.Thread(target=boot, args=(mac,)) for mac in PHONES]
    old = (house.data / "master.key").read_text()
    for one in boots:
        one.start()
    done = CliRunner().invoke(cli, ["db", "rotate-key", "--data", str(house.data), "--json"])
    time.sleep(0.5)
    ended.set()
    for one in boots:
        one.join()
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["finished"] and told["new_key"] and told["unreadable"] == [] and told["resealed"] >= 2 * len(PHONES)
    assert wrong == []
    assert workers(house) == family, "nobody had to start anew"
    assert (house.data / "master.key").read_text() not in old
    assert old.strip() not in done.output + house.log()
    body = b"<overrides/>\n"
    phone = certificate(house, "poly", "0004f2000001")
    assert house.get("/0004f2000001-phone.cfg", phone, method="PUT", body=body)[0] in (200, 201, 204)
    assert house.get("/0004f2000001-phone.cfg", phone)[2] == body
    assert len(administer(house, lambda fleet: fleet.events(kind="key_rotated"))) == 1


def test_a_server_started_later_reads_it_all(house: House) -> None:
    house.stop()
    house.start()
    for mac, number in PHONES.items():
        status, _, body = house.get(f"/{mac}-user.cfg", certificate(house, "poly", mac))
        assert status == 200 and secret_of(mac, number).encode() in body
    no_traceback(house)
    no_canary(house)
