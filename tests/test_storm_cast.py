"""Who plays in a simulated storm is added a little at a time: nobody else's change waits long for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from provisioner import settings, storm_cast
from provisioner.fleet.fleet import Fleet
from provisioner.store.database import Store
from provisioner.store.together import Together

_PINS = [f"{number:064x}" for number in range(storm_cast.KEYS)]
_SLOW = 0.03
"""s that adding one phone takes here at least, however fast the machine is."""


@pytest.mark.asyncio
async def test_a_slow_machine_adds_fewer_phones_at_a_time_and_others_come_in_between(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured = settings.load(data, {})
    held: list[int] = []
    began = asyncio.Event()
    added, together = storm_cast._add, storm_cast.together

    async def slow(*given: object) -> None:
        held[-1] += 1
        await asyncio.sleep(_SLOW)
        await added(*given)  # type: ignore[arg-type]  # handed on as it came

    @asynccontextmanager
    async def counted(store: Store, actor: str, at: float) -> AsyncIterator[Together]:
        async with together(store, actor, at) as transaction:
            held.append(0)
            began.set()
            yield transaction

    async def somebody_else() -> int:
        async with Store.of(configured) as store:
            await began.wait()
            await Fleet(store, {}, actor="somebody").add_account("Example Ltd")
            return len(held)

    (data / "demo" / "storm").mkdir(parents=True)
    monkeypatch.setattr(storm_cast, "_TURN", 3 * _SLOW)
    monkeypatch.setattr(storm_cast, "_add", slow)
    monkeypatch.setattr(storm_cast, "together", counted)
    wanted = storm_cast.extras(16)
    own, turns = await asyncio.gather(storm_cast._enlist(configured, wanted, _PINS, lambda _: None), somebody_else())
    assert set(own) == {one.mac for one in wanted}
    assert sum(held) == len(wanted)
    assert max(held) <= 3, "a transaction went on after its time"
    assert turns < len(held), "somebody else had to wait until all were added"


@pytest.mark.asyncio
async def test_what_was_added_before_it_was_stopped_stays_and_is_used_again(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured = settings.load(data, {})
    wanted, added = storm_cast.extras(6), storm_cast._add

    async def stopped(fleet: Fleet, account: str, one: storm_cast.Extra, *others: object) -> None:
        if one.number == 4:
            raise KeyboardInterrupt
        await added(fleet, account, one, *others)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(storm_cast, "_TURN", 0.0)  # one at a time
    (data / "demo" / "storm").mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr(storm_cast, "_add", stopped)
        with pytest.raises(KeyboardInterrupt):
            await storm_cast._enlist(configured, wanted, _PINS, lambda _: None)
    async with Store.of(configured) as store:
        there = {one.mac for one in await Fleet(store, {}).devices()}
        assert there == {one.mac for one in wanted[:4]}
    own = await storm_cast._enlist(configured, wanted, _PINS, lambda _: None)
    assert set(own) == {one.mac for one in wanted}
