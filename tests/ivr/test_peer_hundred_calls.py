"""A hundred phones of sipp call at once, and one core is enough to take every digit of each of them."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from house import House, administer

from provisioner import settings
from provisioner.activation.codes import Codes
from provisioner.activation_secret import PURPOSE, issue
from provisioner.model import Mac, Scope
from provisioner.store.database import Store, key_path
from provisioner.store.secretbox import SecretBox
from provisioner.vendors import drivers
from tests.ivr.answering import NUMBER
from tests.ivr.sipp_calls import sipp
from tests.spare_port import spare_port

OFFICES = ("127.0.0.1", "127.0.0.2")
PHONES = 50
"""Behind each office's address; more calls at once are not taken from one."""
RATE = 15
"""Calls begun a second from an office."""


class Person(NamedTuple):
    """Whose code is keyed into which phone."""

    mac: str
    number: str
    code: str


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    built = House.build(tmp_path, ivr_port=0, store_flush=0.1, server_drain=1)
    yield built
    built.stop()


def furnish(house: House) -> list[Person]:
    """A phone and a code for each extension; no two codes are alike, so no digit can be wrong unnoticed."""

    async def fill(fleet):
        account = (await fleet.add_account("Acme")).id
        await fleet.set_layer(Scope.ACCOUNT, account, {"activation": True})
        configured, found = settings.load(house.data), []
        async with Store.of(configured) as store:
            codes = Codes(store, {one.manifest.name: one for one in drivers(house.data / "templates")}, configured)
            for index in range(PHONES * len(OFFICES)):
                mac, number = Mac(f"001565{index:06x}"), str(1000 + index)
                await fleet.add_device(mac, vendor="yealink", model="T46S", account=account)
                user = await fleet.add_user(f"Person {number}", account=account)
                await fleet.add_extension(number, account=account, user=user.id, display_name="", secret="s" * 20)
                found.append(Person(mac, number, (await codes.issue(number, account=account)).code))
        return found

    return administer(house, fill)


def confine(house: House) -> None:
    """Keep the process that answers calls, with all its threads, on one core."""
    pid = int(re.findall(r"ivr 1 \(pid (\d+)\) started", house.log())[-1])
    core = {min(os.sched_getaffinity(0))}
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), core)


def written(house: House, people: list[Person], file: Path) -> Path:
    """What sipp reads for each call: name, proof and code."""
    key = SecretBox.load(key_path(house.data)).derived(PURPOSE)[0]
    lines = ["SEQUENTIAL"]
    for one in people:
        name, secret = issue(key, Mac(one.mac), time.time(), 86_400, b"")
        lines.append(f"{one.mac};[authentication username={name} password={secret}];{one.code}")
    file.write_text("\n".join([*lines, ""]))
    return file


async def office(house: House, address: str, phones: Path, folder: Path) -> str:
    """All calls of one address; what sipp says when not each of them went as written."""
    there, ports = f"127.0.0.1:{house.ports['ivr']}", (str(spare_port(address)), str(spare_port(address)))
    words = f"-m {PHONES} -l {PHONES} -r {RATE} -s {NUMBER} -timeout 90s".split()
    words += ["-inf", str(phones), "-i", address, "-mi", address, "-p", ports[0], "-mp", ports[1]]
    return await sipp("code_by_event", there, folder, *words, patience=110)


async def most_at_once(house: House, calling: asyncio.Future[list[str]]) -> int:
    """The largest number of calls that the server has told of while they were made."""
    most = 0
    while not calling.done():
        told = (await asyncio.to_thread(house.get, "/metrics", None, kind="admin"))[2].decode()
        found = re.search(r"^provisioner_ivr_calls_now ([0-9.]+)$", told, re.MULTILINE)
        most = max(most, int(float(found[1])) if found else 0)
        await asyncio.sleep(0.1)
    return most


def owners(house: House, people: list[Person]) -> dict[str, list[str]]:
    """Who holds the first line of each phone now."""

    async def read(fleet):
        numbers = {one.id: one.number for one in await fleet.extensions()}
        lines = {one.mac: await fleet.bindings(Mac(one.mac), active=True) for one in people}
        return {mac: [numbers[line.extension] for line in bound] for mac, bound in lines.items()}

    return administer(house, read)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_hundred_at_once_are_understood_to_the_last_digit(house: House, tmp_path: Path) -> None:
    """Keyed by RFC 4733 from sipp's raw socket: it needs root, or cap_net_raw on the program."""
    people = furnish(house)
    house.start()
    confine(house)

    async def calls() -> tuple[list[str], int]:
        offices = []
        for number, address in enumerate(OFFICES):
            folder = tmp_path / address
            folder.mkdir()
            mine = people[number * PHONES : (number + 1) * PHONES]
            offices.append(office(house, address, written(house, mine, folder / "phones.csv"), folder))
        calling = asyncio.ensure_future(asyncio.gather(*offices))
        most = await most_at_once(house, calling)
        return await calling, most

    said, most = asyncio.run(calls())
    assert said == ["", ""]
    assert most == len(people)
    assert owners(house, people) == {one.mac: [one.number] for one in people}
