"""Phones that are not heard of are told once, and once more when they are back; a site without power as a whole."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import func, select

from provisioner.fleet.fleet import Fleet
from provisioner.model import Event, FetchRecord, ListenerKind, Mac, Proof, Scope
from provisioner.resync.presence import Presence
from provisioner.settings import Settings
from provisioner.store import absences, schema
from provisioner.store.database import Store
from provisioner.store.journal import write_events
from provisioner.store.records import Recorder
from provisioner.store.views import Views

DAY = 86_400.0
NOW = 1_800_000_000.0
AWAY = 201_600.0
PHONES = [Mac(f"0004f2aabb{number:02x}") for number in range(1, 16)]
ONE, TWO, *REST = PHONES


class Town:
    """Phones at one site, a clock, and whoever looks after them."""

    def __init__(self, store: Store, views: Views, drivers: Any, tmp_path: Path, **chosen: Any) -> None:
        self.store, self.now = store, NOW
        self.settings = Settings(data=tmp_path, presence_singly=3, **chosen)
        self.fleet = Fleet(store, drivers, clock=lambda: self.now)
        self.views, self.drivers = views, drivers
        self.presence = self.another()
        self.recorder = Recorder(store, self.settings, lambda *_: None, lambda: self.now)

    def another(self) -> Presence:
        return Presence(self.store, self.views, self.drivers, self.settings, lambda: self.now)

    async def furnish(self) -> None:
        await self.fleet.add_account("Acme")
        self.site = (await self.fleet.add_site("Berlin", account="Acme")).id
        await self.fleet.add_user("Ann", account="Acme")
        for number, mac in enumerate(PHONES):
            await self.fleet.add_device(mac, vendor="poly", model="VVX 411", account="Acme", site="Berlin")
            await self.fleet.add_extension(f"{2000 + number}", account="Acme", user="Ann")
            await self.fleet.bind(mac, 1, extension=f"{2000 + number}", resync=False)
        await self.fetch(*PHONES)
        await self.presence.turn()  # it listens from now on

    async def fetch(self, *macs: Mac) -> None:
        for mac in macs:
            how = (Proof.CERTIFICATE, ListenerKind.DEVICE, "TLSv1.3", "")
            self.recorder.fetch(FetchRecord(mac, "user.cfg", self.now, 200, 5, "d", *how, revision=1 << 30))
        await self.recorder.flush()

    async def pass_by(self, seconds: float) -> None:
        """Time, with a server that listens all the while."""
        self.now += seconds
        async with self.store.writing() as connection:
            known = await absences.read_watch(connection)
            assert known is not None
            await absences.write_watch(connection, known[0], self.now)

    async def told(self, *kinds: str) -> Counter[str]:
        wanted = kinds or ("device_offline", "device_lost", "device_back", "site_dark", "site_back")
        return Counter(one.kind for one in await self.fleet.events(limit=1000) if one.kind in wanted)


@pytest_asyncio.fixture
async def town(store: Store, views: Views, drivers: Any, tmp_path: Path) -> AsyncIterator[Town]:
    found = Town(store, views, drivers, tmp_path)
    await found.furnish()
    yield found


@pytest.mark.asyncio
async def test_a_phone_is_offline_once_until_it_comes_back(town: Town) -> None:
    await town.pass_by(AWAY - 1)
    await town.fetch(*REST)
    await town.presence.turn()
    assert await town.told() == {}, "nobody has missed two polls yet"
    await town.pass_by(DAY)
    for _ in range(3):
        await town.presence.turn()
        await town.pass_by(120.0)
    assert await town.told() == {"device_offline": 2}
    [first, _] = [one for one in await town.fleet.events(limit=1000) if one.kind == "device_offline"]
    assert (first.mac, first.actor, first.details["place"]) == (ONE, "server", town.site)
    assert first.details["seen"].startswith("2027-01-15T")
    seen = await town.fleet.seen_at(ONE)
    assert seen.away is not None and (seen.away.state, seen.away.seen) == ("offline", NOW)
    await town.fetch(ONE)
    await town.presence.turn()
    await town.presence.turn()
    assert await town.told() == {"device_offline": 2, "device_back": 1}
    assert (await town.fleet.seen_at(ONE)).away is None
    await town.pass_by(AWAY)
    await town.fetch(TWO, *REST)
    await town.presence.turn()
    assert await town.told() == {"device_offline": 3, "device_back": 2}, "it can be told anew"


@pytest.mark.asyncio
async def test_an_offline_phone_is_lost_later_and_comes_back_from_that_too(town: Town) -> None:
    for _ in range(32):
        await town.pass_by(DAY)
        await town.fetch(TWO, *REST)
        await town.presence.turn()
    assert await town.told() == {"device_offline": 1, "device_lost": 1}
    await town.fetch(ONE)
    await town.presence.turn()
    [back] = await town.fleet.events(kind="device_back")
    assert (back.mac, back.details["was"]) == (ONE, "lost")


@pytest.mark.asyncio
async def test_what_counts_as_a_sign(town: Town) -> None:
    await town.pass_by(AWAY + DAY)
    await town.fetch(*REST)
    async with town.store.writing() as connection:
        await write_events(connection, [Event("registration_seen", town.now, ONE, actor="hook/pbx")])
    await town.fleet.unbind(TWO, 1, resync=False)
    await town.presence.turn()
    assert await town.told() == {}, "one has registered, the other has no line any more"


@pytest.mark.asyncio
async def test_a_site_without_power_is_told_as_a_whole(town: Town) -> None:
    await town.pass_by(AWAY + 1)
    await town.presence.turn()
    assert await town.told() == {"device_offline": 3, "site_dark": 1}
    [dark] = await town.fleet.events(kind="site_dark")
    assert (dark.details["site"], dark.details["away"]) == (town.site, "15")
    async with town.store.reading() as connection:
        assert (await connection.execute(select(func.count()).select_from(schema.absence))).scalar_one() == 15
    await town.fetch(*PHONES[2:])
    await town.presence.turn()
    assert await town.told("device_back", "site_back") == {"device_back": 1, "site_back": 1}
    [bright] = await town.fleet.events(kind="site_back")
    assert bright.details["away"] == "2"


@pytest.mark.asyncio
async def test_who_could_not_reach_the_server_is_not_away(town: Town) -> None:
    town.now += AWAY + DAY  # it was switched off all the while
    await town.presence.turn()
    await town.pass_by(AWAY - 60)
    await town.presence.turn()
    assert await town.told() == {}
    await town.pass_by(120.0)
    await town.presence.turn()
    assert (await town.told())["device_offline"] == 3


@pytest.mark.asyncio
async def test_a_phone_that_does_not_poll_is_not_missed_and_one_that_polls_seldom_has_its_time(town: Town) -> None:
    await town.fleet.set_layer(Scope.DEVICE, ONE, {"poll.enabled": False})
    await town.fleet.set_layer(Scope.DEVICE, TWO, {"poll.period": 604_800})
    await town.pass_by(AWAY + DAY)
    await town.fetch(*REST)
    await town.presence.turn()
    assert await town.told() == {}
    await town.pass_by(12 * DAY)
    await town.fetch(*REST)
    await town.presence.turn()
    assert [one.mac for one in await town.fleet.events(kind="device_offline")] == [TWO]


@pytest.mark.asyncio
async def test_what_another_process_has_told_makes_no_site_dark(town: Town) -> None:
    """Both have found the same phones; whoever comes second counts none of them again."""
    found = [absences.Silent(mac, "", town.site, NOW, False) for mac in (ONE, TWO)]
    first, second = town.another(), town.another()
    told = await asyncio.gather(first._tell_away(found, town.now), second._tell_away(found, town.now))
    assert sorted(told) == [0, 2]
    assert await town.told() == {"device_offline": 2}


@pytest.mark.asyncio
async def test_two_processes_tell_nothing_twice_and_a_turn_is_a_slice(
    store: Store, views: Views, drivers: Any, tmp_path: Path
) -> None:
    town = Town(store, views, drivers, tmp_path, presence_pace=2.0)  # four devices a turn
    await town.furnish()
    await town.pass_by(AWAY + DAY)
    first, second = town.another(), town.another()
    told = []
    for _ in range(5):
        told.append(await first.turn())
        assert await second.turn() == 0
    assert told == [4, 4, 4, 3, 0]
    assert await town.told() == {"device_offline": 3, "site_dark": 1}


@pytest.mark.asyncio
async def test_it_can_be_switched_off(store: Store, views: Views, drivers: Any, tmp_path: Path) -> None:
    town = Town(store, views, drivers, tmp_path, presence_offline=0.0)
    await town.furnish()
    town.now += 90 * DAY
    assert await town.presence.turn() == 0 and await town.told() == {}
