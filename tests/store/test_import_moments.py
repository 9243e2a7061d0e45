"""Somebody else binds the same line or extension in between: a row says so, its neighbours are done, none is twice."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio
from import_office import KNOWN, MAC, full, make_fleet, outcomes, sheet
from sqlalchemy import func, select

from provisioner.errors import ProvisionerError
from provisioner.fleet.fleet import Fleet
from provisioner.imports.imports import Imports
from provisioner.imports.steps import Outcome
from provisioner.imports.writing import Writing
from provisioner.model import Mac
from provisioner.store import schema
from provisioner.store.database import Store

pytestmark = pytest.mark.asyncio
PHONES = [Mac(f"0004f2{number:06x}") for number in range(1, 9)]


@pytest_asyncio.fixture
async def fleet(store: Store) -> Fleet:
    made = await make_fleet(store)
    for number, mac in enumerate(PHONES, 1):
        user = await made.add_user(f"User {number}", account="Acme", email=f"u{number}@example.net")
        await made.add_extension(str(1000 + number), account="Acme", user=user.id)
        await made.add_device(mac, vendor="poly", model="VVX 411", account="Acme")
    return made


def rows() -> list[str]:
    return [full(number, secret="", site="") for number in range(1, 9)]


async def twice(store: Store) -> list[tuple[object, ...]]:
    """Lines and extensions that are held twice."""
    b, found = schema.binding.c, []
    async with store.reading() as connection:
        for columns in ((b.mac, b.line), (b.extension, b.slot)):
            query = select(*columns).where(b.until.is_(None)).group_by(*columns).having(func.count() > 1)
            found += [tuple(row) for row in await connection.execute(query)]
    return found


async def test_others_bind_while_rows_are_written(store: Store, fleet: Fleet) -> None:
    """Each phone's line 1 is wanted for another extension by somebody else at the same time."""
    desk = Imports(store, KNOWN, actor="ann")
    other = Fleet(store, KNOWN, actor="bea")

    async def quick() -> int:
        won = 0
        for number, mac in enumerate(PHONES[:4]):
            try:
                await other.bind(mac, 1, extension=str(1008 - number))
                won += 1
            except ProvisionerError:
                pass
            await asyncio.sleep(0)
        return won

    found, won = await asyncio.gather(desk.apply_import(sheet(*rows()), account="Acme"), quick())
    assert await twice(store) == []
    told = outcomes(found)
    assert set(told) <= {Outcome.ADD, Outcome.CHANGE, Outcome.REFUSED}
    bound = [one for mac in PHONES for one in await fleet.bindings(mac, active=True)]
    assert len(bound) == won + sum(one is not Outcome.REFUSED for one in told)
    assert all(one.why for one in found.rows if one.outcome is Outcome.REFUSED)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_whoever_was_quicker_costs_one_row(store: Store, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database itself refuses what was planned: as if the line had been read before the other one bound it."""
    kept = Writing._lines

    async def late(self: Writing) -> None:
        values = {"mac": PHONES[3], "line": 1, "since": 1.0, "actor": "bea", "cause": "bind"}
        [extension] = [one.extension for one in self._binds() if one.binding.mac == PHONES[3]] or [None]
        if extension is not None:
            await self._change.connection.execute(
                schema.binding.insert().values(**values, extension=extension.id, slot=1)
            )
        await kept(self)

    monkeypatch.setattr(Writing, "_lines", late)
    found = await Imports(store, KNOWN, actor="ann").apply_import(sheet(*rows()), account="Acme")
    told = outcomes(found)
    assert [number for number, one in enumerate(told) if one is Outcome.REFUSED] == [3]
    assert "at the same moment" in found.rows[3].why
    assert await twice(store) == []
    assert [len(await fleet.bindings(mac, active=True)) for mac in PHONES] == [1, 1, 1, 0, 1, 1, 1, 1]


async def test_a_line_may_have_had_another_at_this_very_moment(store: Store, fleet: Fleet) -> None:
    """A clock that stands still, as it does within a transaction: a binding's key is when it began."""
    still = Fleet(store, KNOWN, actor="bea", clock=lambda: 1000.0)
    await still.bind(PHONES[0], 1, extension="1001")
    await still.unbind(PHONES[0], 1)
    desk = Imports(store, KNOWN, actor="ann", clock=lambda: 1000.0)
    found = await desk.apply_import(sheet(full(1, secret="", site="")), account="Acme")
    assert outcomes(found) == [Outcome.ADD]
    again = await desk.apply_import(sheet(full(1, secret="", site="", label="Desk")), account="Acme")
    assert outcomes(again) == [Outcome.CHANGE]
    assert [one.label for one in await fleet.bindings(Mac(MAC))] == ["", "", "Desk"]
    assert await twice(store) == []
