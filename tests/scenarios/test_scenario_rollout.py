"""A wide change on a running server: a few phones get it, the others their old bytes, before and after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from house import House, soon

from provisioner import settings
from provisioner.fleet.revisions import Revisions
from provisioner.model import Scope
from provisioner.rollout_states import RolloutState
from provisioner.store.database import Store
from provisioner.store.rollouts import Rollout
from provisioner.vendors import drivers

T = TypeVar("T")
KNOWN = {one.manifest.name: one for one in drivers()}
MODEL = KNOWN["poly"].manifest.models["VVX 411"]
NAMES = KNOWN["poly"].manifest.files[MODEL.dialect]
MACS = tuple(f"0004f2aacc{number:02x}" for number in range(6))


@pytest.fixture(scope="module")
def house(blank: House, room: Path) -> Iterator[House]:
    made = blank.copy(room, rollout_confirm=3, rollout_canary=30)
    for number, mac in enumerate(MACS):
        asyncio.run(made.add(mac, "poly", "VVX 411", f"10{number:02}"))
    made.start()
    yield made
    made.stop()


def administer(house: House, action: Callable[[Revisions], Awaitable[T]]) -> T:
    async def run() -> T:
        configured = settings.load(house.data, house.environment)
        async with Store.of(configured) as store:
            return await action(Revisions(store, KNOWN, configured, actor="test"))

    return asyncio.run(run())


def served(house: House) -> dict[str, bytes]:
    """Every phone's files, as it gets them now."""
    found = {}
    for mac in MACS:
        certificate = house.certificate("poly", mac)
        names = [name.format(mac=mac, MAC=mac.upper(), code=MODEL.code, part=MODEL.part_number) for name in NAMES]
        answers = [house.get(f"/{name}", certificate) for name in names]
        found[mac] = b"".join(body for status, _, body in answers if status == 200)
        assert found[mac]
        found[mac] = found[mac].replace(str(house.ports["device"]).encode(), b"PORT")  # another one after a restart
    return found


def now(house: House) -> Rollout:
    return administer(house, lambda desk: desk.rollouts(limit=1))[0]


@pytest.mark.slow  # a whole server, and one that is started again
def test_a_few_phones_get_it_and_the_others_their_old_bytes(house: House) -> None:
    before = served(house)
    assert soon(lambda: all_known(house))

    async def change(desk: Revisions) -> Rollout:
        found = await desk.change_layer(Scope.DEFAULTS, "", {"sip.expiry": 777}, confirm=6)
        assert found.rollout is not None
        return found.rollout

    one = administer(house, change)
    watched = soon(lambda: now(house).state is RolloutState.WATCHING, 20.0)
    assert watched, "the administration process takes it on by itself"
    first = served(house)
    canary = {mac for mac in MACS if first[mac] != before[mac]}
    assert 0 < len(canary) < 6
    assert all(b"777" in first[mac] for mac in canary)
    house.stop()
    house.start()
    assert served(house) == first, "bytes do not flap"
    administer(house, lambda desk: desk.revert_layer(Scope.DEFAULTS, "", one.revision))
    assert soon(lambda: served(house) == before)
    (reverted,) = [found for found in administer(house, lambda desk: desk.rollouts()) if found.id == one.id]
    assert reverted.state is RolloutState.REVERTED


def all_known(house: House) -> bool:
    """Whether it is written down that all have fetched their configuration."""

    async def served_yet(desk: Revisions) -> bool:
        async with desk._store.reading() as connection:
            found = await connection.exec_driver_sql("SELECT count(*) FROM device WHERE served IS NOT NULL")
            return int(found.scalar_one()) == len(MACS)

    return administer(house, served_yet)
