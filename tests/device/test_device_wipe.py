"""A real phone on a real server: what it was told is taken back by what it fetches next, and the server knows when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from house import OBI, T46S, VVX, House

from provisioner.fleet.fleet import Fleet
from provisioner.model import Mac
from provisioner.simulator import yealink as memory
from provisioner.vendors.poly import obi, sections
from provisioner.wiping import Wipe

FILES = {VVX: f"/{VVX}-user.cfg", T46S: f"/{T46S}.cfg", OBI: f"/{OBI.upper()}.xml"}


def read(mac: str, body: bytes, stored: dict[str, str]) -> dict[str, str]:
    """What the phone holds then; none of them forgets what its file leaves out."""
    if mac == T46S:
        pairs, _ = memory.read_config(body)
        return memory.settle(memory.last_wins([pairs]), stored, overwrite=False)
    told = obi.read(body) if mac == OBI else sections.read(body)
    return {name: value for name, value in {**stored, **told}.items() if value}


def do(house: House, work: Callable[[Fleet], Awaitable[Any]]) -> Any:
    async def call() -> Any:
        async with house.fleet() as fleet:
            return await work(fleet)

    return asyncio.run(call())


def settled(house: House, mac: str) -> Wipe:
    """The server writes what phones have fetched once a second."""
    deadline = time.monotonic() + 15
    while True:
        found: Wipe = do(house, lambda fleet: fleet.wipe(Mac(mac)))
        if not found.pending or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def fetch(house: House, mac: str) -> bytes:
    vendor = "yealink" if mac == T46S else "poly"
    agent = "OBi302" if mac == OBI else ""
    status, _, body = house.get(FILES[mac], house.certificate(vendor, mac), User_Agent=agent)
    assert status == 200
    return bytes(body)


def served(house: House, mac: str) -> None:
    """Until the server has it on record that the phone was here."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if any(one.status == 200 for one in do(house, lambda fleet: fleet.fetches(Mac(mac)))):
            return
        time.sleep(0.1)
    raise AssertionError("the fetch was not written down")


@pytest.mark.parametrize("mac", [VVX, T46S, OBI])
def test_a_phone_loses_its_line_with_what_it_fetches_next(house: House, mac: str) -> None:
    number = {VVX: "2001", T46S: "2002", OBI: "2003"}[mac]
    held = read(mac, fetch(house, mac), {})
    secret = do(house, lambda fleet: fleet.reveal_secret(number))
    assert secret in held.values()
    served(house, mac)
    do(house, lambda fleet: fleet.unbind(Mac(mac), 1))
    assert do(house, lambda fleet: fleet.wipe(Mac(mac))).pending
    deadline = time.monotonic() + 10
    while secret in held.values() and time.monotonic() < deadline:
        held = read(mac, fetch(house, mac), held)  # a worker hears of a change within a second
        time.sleep(0.1)
    assert secret not in held.values()
    found = settled(house, mac)
    assert (found.lines, found.pending) == ((1,), False)
    assert [one.details["lines"] for one in do(house, lambda fleet: fleet.events(kind="wipe_fetched", mac=mac))] == [
        "1"
    ]
    do(house, lambda fleet: fleet.wipe_device(Mac(mac)))
    before = do(house, lambda fleet: fleet.wipe(Mac(mac)))
    assert before.everything and before.pending
    time.sleep(1.2)
    fetch(house, mac)
    after = settled(house, mac)
    assert after.everything and not after.pending
    do(house, lambda fleet: fleet.bind(Mac(mac), 1, extension=number))
    time.sleep(1.2)
    back = read(mac, fetch(house, mac), held)
    assert do(house, lambda fleet: fleet.reveal_secret(number)) in back.values()
