"""The window of the profile listener and the cards that it writes: bounded, merged, audited, for few."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from provisioner.capability import Card
from provisioner.errors import Conflict, Forbidden, Invalid
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.profiling import Profiling
from provisioner.model import Mac
from provisioner.rights import Holding, Principal, Right, Role, parts_of
from provisioner.settings import Settings
from provisioner.store import cards, schema
from provisioner.store.database import Store

NOW = 1_800_000_000.0
MAC = Mac("0004f2aabbcc")


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def desk(store: Store, fleet: Fleet, clock: Clock, **chosen: Any) -> Profiling:
    settings = Settings(**({"profile_port": 0} | chosen))
    drivers: Mapping[str, Any] = fleet._drivers
    return Profiling(store, drivers, settings, actor="ann", clock=clock)


@pytest.mark.asyncio
async def test_it_is_closed_until_somebody_opens_it_and_after_its_time(store: Store, fleet: Fleet) -> None:
    clock = Clock()
    one = desk(store, fleet, clock)
    assert not (await one.profile_window()).is_open(clock.now)
    assert not await one.close_profile()
    window = await one.open_profile(10, ask="digest")
    assert (window.number, window.until, window.actor, window.ask) == (1, NOW + 600, "ann", "digest")
    assert window.is_open(NOW + 599)
    assert not window.is_open(NOW + 600)
    clock.now += 60
    assert (await one.open_profile(5)).number == 2
    clock.now += 1
    assert await one.close_profile()
    assert not (await one.profile_window()).is_open(clock.now)
    assert not await one.close_profile()
    async with store.reading() as connection:
        query = select(schema.event.c.kind, schema.event.c.actor).where(schema.event.c.kind.like("profile%"))
        told = [tuple(row) for row in await connection.execute(query.order_by(schema.event.c.id))]
    assert told == [("profile_opened", "ann"), ("profile_opened", "ann"), ("profile_closed", "ann")]


@pytest.mark.asyncio
async def test_what_cannot_be_opened(store: Store, fleet: Fleet) -> None:
    one = desk(store, fleet, Clock(), profile_minutes=20)
    for minutes in (0, -1, 20.1, float("inf"), float("nan")):
        with pytest.raises(Invalid, match="minutes"):
            await one.open_profile(minutes)
    with pytest.raises(Invalid, match="ask"):
        await one.open_profile(5, ask="basic")
    with pytest.raises(Conflict, match=r"profile\.port"):
        await desk(store, fleet, Clock(), profile_port=-1).open_profile(5)


@pytest.mark.asyncio
async def test_it_is_for_who_reaches_every_account(store: Store, fleet: Fleet) -> None:
    account = await fleet.add_account("Acme")

    def as_(role: Role, where: str) -> Principal:
        return Principal("bob", parts_of(Holding(role, where), "bob"))

    assert as_(Role.TECHNICIAN, "").may(Right.PROFILE)
    assert as_(Role.OWNER, "").may(Right.PROFILE)
    assert not as_(Role.OWNER, account.id).may(Right.PROFILE)
    assert not as_(Role.AUDITOR, "").may(Right.PROFILE)
    small = Profiling(store, fleet._drivers, Settings(profile_port=0), principal=as_(Role.OWNER, account.id))
    for call in (small.profile_window(), small.open_profile(5), small.close_profile(), small.capability_cards()):
        with pytest.raises(Forbidden):
            await call


def card(number: int, mac: str = "", at: float = NOW, **told: object) -> Card:
    return Card(f"{number:020x}", mac, bool(mac), "poly", "", "10.0.0.1", at, at, 1, told)


@pytest.mark.asyncio
async def test_cards_add_up_and_are_bounded(store: Store, fleet: Fleet) -> None:
    one = desk(store, fleet, Clock())
    await cards.write_cards(store.lossy, [card(1, MAC, versions=[0x0303]), card(2, files=["a"])], 10)
    await cards.write_cards(store.lossy, [replace(card(1, MAC, NOW + 5, versions=[0x0301]), model="VVX 411")], 10)
    found = await one.capability_cards(mac=MAC)
    assert [(each.mac, each.model, each.first, each.last, each.times) for each in found] == [
        (MAC, "VVX 411", NOW, NOW + 5, 2)
    ]
    assert found[0].told["versions"] == [0x0301, 0x0303]
    assert len(await one.capability_cards()) == 2
    await cards.write_cards(store.lossy, [card(number, at=NOW + number) for number in range(10, 40)], 10)
    left = await one.capability_cards()
    assert [each.id for each in left] == [f"{number:020x}" for number in range(39, 29, -1)]
    assert await one.capability_cards(mac=MAC) == []
    assert len(await one.capability_cards(limit=3)) == 3
