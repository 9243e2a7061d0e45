"""How an import goes on: any rows, stops, faults, others who write beside it, and how far somebody reaches."""

from __future__ import annotations

import asyncio
import random

import pytest
import pytest_asyncio
from import_office import (
    KNOWN,
    MAC,
    ON_SQLITE,
    counted,
    full,
    make_fleet,
    outcomes,
    row,
    sheet,
    taken,
)  # fmt: skip
from sqlalchemy import select

from provisioner.errors import Conflict, Forbidden, Invalid, StoreFailed
from provisioner.fleet.fleet import Fleet
from provisioner.imports import imports as importing
from provisioner.imports.course import Course
from provisioner.imports.imports import Imports
from provisioner.imports.steps import Outcome
from provisioner.imports.writing import Writing
from provisioner.model import Mac
from provisioner.rights import Holding, Principal, Right, Role, parts_of
from provisioner.store import schema
from provisioner.store.database import Store


@pytest_asyncio.fixture
async def fleet(store: Store) -> Fleet:
    return await make_fleet(store)


@pytest.fixture
def desk(store: Store, fleet: Fleet) -> Imports:
    return Imports(store, KNOWN, actor="ann")


def _mixed(dice: random.Random) -> str:
    """Mostly what goes, sometimes anything: a few of each thing, so that rows meet."""
    user, email = dice.choice([("Ada", "ada@example.net"), ("Bob", ""), ("Cid", "cid@example.net"), ("Dot", "")])
    mac, model = dice.choice([(MAC, "VVX 411"), ("0004f2000002", "VVX 150"), ("001565000003", "T46S"), ("", "")])
    cells = {
        "site": {"Ada": "Berlin", "Bob": "Munich"}.get(user, ""),
        "user": user,
        "email": email if dice.random() < 0.5 else "",
        "extension": f"{ord(user[0])}{dice.randrange(3)}",
        "mac": mac,
        "model": model if dice.random() < 0.8 else "",
        "line": str(dice.randrange(1, 4)),
        "label": dice.choice(["", "", "A"]),
    }
    wild = {
        "site": ["", "Munich"], "user": ["", "Ada"], "email": ["bob@example.net"], "extension": ["", "911"],
        "secret": ["secret-1", "secret-2"], "mac": ["0004f2000009"], "model": ["VVX 4"], "line": ["13"], "label": ["B"],
    }  # fmt: skip
    if dice.random() < 0.4:
        name = dice.choice(sorted(wild))
        cells[name] = dice.choice(wild[name])
    if not cells["mac"]:
        cells["model"] = ""
    return row(**cells)


@pytest.mark.asyncio
@pytest.mark.parametrize("seed", range(3))
async def test_the_dry_run_of_any_rows_comes_true_and_once(desk, fleet, seed, monkeypatch):
    """Batches of three: what a row leaves is found by those behind it, whichever transaction they are in."""
    monkeypatch.setattr(importing, "WRITTEN", 3)
    monkeypatch.setattr(importing, "_LOOKED", 7)
    await fleet.add_device(Mac("0004f2000009"), vendor="poly", model="VVX 411", account="Other")
    dice = random.Random(seed)
    rows = [_mixed(dice) for _ in range(60)]
    first = await taken(desk, *rows)
    assert first.counts[Outcome.ADD] > 5
    assert first.counts[Outcome.REFUSED] > 5
    again = zip(outcomes(first), outcomes(await taken(desk, *rows)), strict=True)
    assert not [now for before, now in again if before is Outcome.ADD and now is Outcome.ADD]


@pytest.mark.asyncio
async def test_a_stop_leaves_whole_rows_and_the_next_run_finishes(desk, fleet):
    rows = [full(number) for number in range(230)]
    seen: list[int] = []

    def told(done: int, total: int) -> None:
        seen.append(done)
        assert total == 230

    found = await desk.apply_import(sheet(*rows), account="Acme", told=told, stop=lambda: len(seen) >= 2)
    done = found.counts[Outcome.ADD]
    assert (found.stopped, found.counts[Outcome.NOT_DONE]) == ("it was stopped", 230 - done)
    assert seen == sorted(seen)
    assert [(await counted(desk))[place] for place in (1, 2, 3, 4)] == [done] * 4
    assert 0 < done < 230
    again = await desk.apply_import(sheet(*rows), account="Acme")
    assert (again.counts[Outcome.SAME], again.counts[Outcome.ADD]) == (done, 230 - done)


@pytest.mark.asyncio
async def test_a_fault_in_the_middle_leaves_whole_rows(desk, fleet, monkeypatch):
    rows = [full(number) for number in range(120)]
    kept = Writing._lines
    batches: list[Writing] = []

    async def breaks(self):
        batches.append(self)
        if len(batches) == 2:
            raise ZeroDivisionError
        await kept(self)

    monkeypatch.setattr(Writing, "_lines", breaks)
    with pytest.raises(ZeroDivisionError):
        await desk.apply_import(sheet(*rows), account="Acme")
    assert (await counted(desk))[:5] == [1, 50, 50, 50, 50]
    again = await desk.apply_import(sheet(*rows), account="Acme")
    assert again.counts == {Outcome.ADD: 70, Outcome.SAME: 50}


@pytest.mark.asyncio
async def test_somebody_else_writes_at_the_same_time(desk, fleet):
    rows = [full(number) for number in range(150)]
    both = await asyncio.gather(*(desk.apply_import(sheet(*rows), account="Acme") for _ in range(2)))
    assert [set(outcomes(one)) <= {Outcome.ADD, Outcome.SAME} for one in both] == [True, True]
    assert sum(one.counts.get(Outcome.ADD, 0) for one in both) == 150
    assert (await counted(desk))[:5] == [1, 150, 150, 150, 150]


@pytest.mark.asyncio
@ON_SQLITE
async def test_a_database_that_fails_ends_it_with_what_was_done(desk, fleet, monkeypatch):
    kept = Course._batch
    turns = iter([kept, kept])

    async def fails(*given):
        if (turn := next(turns, None)) is None:
            raise StoreFailed("the database failed: disk I/O error")
        return await turn(*given)

    monkeypatch.setattr(Course, "_batch", fails)
    found = await desk.apply_import(sheet(*(full(number) for number in range(120))), account="Acme")
    assert (found.counts, found.stopped) == (
        {Outcome.ADD: 100, Outcome.NOT_DONE: 20},
        "the database failed: disk I/O error",
    )


@pytest.mark.asyncio
@ON_SQLITE
async def test_one_device_that_is_in_the_way_does_not_stop_the_others(desk, fleet, monkeypatch):
    kept = Course._batch

    async def conflicts(course, change, batch):
        if any(one.mac == MAC for one in batch):
            raise Conflict("something else has changed this at the same moment")
        return await kept(course, change, batch)

    monkeypatch.setattr(Course, "_batch", conflicts)
    found = await desk.apply_import(sheet(*(full(number) for number in range(5))), account="Acme")
    assert outcomes(found) == [Outcome.ADD, Outcome.REFUSED, Outcome.ADD, Outcome.ADD, Outcome.ADD]


@pytest.mark.asyncio
async def test_a_phone_that_is_in_use_is_told_to_fetch(desk, fleet, store):
    await taken(desk, full(1))
    async with store.writing() as connection:
        await connection.execute(schema.device.update().values(served=1))
    await taken(desk, full(1, label="New"), full(2))
    async with store.reading() as connection:
        asked = (await connection.execute(select(schema.resync.c.mac))).scalars().all()
    assert asked == [MAC]


@pytest.mark.asyncio
async def test_nothing_is_done_beyond_reach(store, fleet):
    acme, other = await fleet.accounts()
    await fleet.add_device(Mac(MAC), vendor="poly", model="VVX 411", account="Other")
    boss = Principal("bea", parts_of(Holding(Role.OWNER, acme.id), "bea"))
    desk = Imports(store, KNOWN, principal=boss)
    found = await desk.apply_import(sheet(full(2), full(1), full(3, account="Other")), account="Acme")
    assert [(one.outcome, one.column) for one in found.rows] == [
        (Outcome.ADD, ""), (Outcome.REFUSED, "mac"), (Outcome.REFUSED, "account"),
    ]  # fmt: skip
    assert (acme.name, other.name) == ("Acme", "Other")
    auditor = Principal("aud", parts_of(Holding(Role.AUDITOR, acme.id), "aud"))
    for attempt in (Imports.plan_import, Imports.apply_import):
        with pytest.raises(Forbidden) as told:
            await attempt(Imports(store, KNOWN, principal=auditor), sheet(full(4)), account="Acme")
        assert told.value.right in {one.value for one in Right}


@pytest.mark.asyncio
@ON_SQLITE
async def test_a_file_that_cannot_be_read_is_invalid(desk):
    with pytest.raises(Invalid):
        desk.read([b"\0"])
