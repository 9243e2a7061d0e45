"""Sites, users and extensions say something else of themselves, on both databases; imports wait as jobs on both."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
import pytest_asyncio
from import_office import KNOWN, full, make_fleet, sheet
from sqlalchemy import select

from provisioner.errors import Conflict, Invalid
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.jobs import Jobs
from provisioner.fleet.search import Search
from provisioner.http.api.desks import Means
from provisioner.http.api.job_runner import JobRunner
from provisioner.imports.imports import Imports
from provisioner.job_states import JobState, RowState
from provisioner.model import Scope
from provisioner.places import Address, UserKind
from provisioner.store import schema
from provisioner.store.database import Store

HOME = Address("1 Example Road", "Bristol", postal_code="BS1 1AA", country="GB")


@pytest_asyncio.fixture
async def fleet(store: Store) -> Fleet:
    return await make_fleet(store)


@pytest.mark.asyncio
async def test_a_site_keeps_what_it_says(store: Store, fleet: Fleet) -> None:
    site = await fleet.add_site("HQ", account="Acme", time_zone="Europe/Berlin")
    said = {"address": HOME, "location": "2nd floor", "notify": ["a@example.net"], "networks": ["192.0.2.0/24"]}
    changed = await fleet.change_site(site.id, name="Bristol", time_zone="Europe/London", **said)  # type: ignore[arg-type]  # names of arguments
    await fleet.set_range("100-199", account="Acme", site="Bristol")
    found = await Search(store, KNOWN).site("Bristol")
    assert (found.address, found.location, found.notify, found.networks) == (
        HOME, "2nd floor", ("a@example.net",), ("192.0.2.0/24",),
    )  # fmt: skip
    assert (found.time_zone, found.range, changed.name) == ("Europe/London", "100-199", "Bristol")
    assert (await fleet.change_site("Bristol", time_zone="")).id == site.id
    assert (await fleet.layer(Scope.SITE, site.id)).values == {}
    await fleet.add_site("Other", account="Acme")
    with pytest.raises(Conflict):
        await fleet.change_site("Other", name="Bristol")
    with pytest.raises(Invalid):
        await fleet.change_site("Other", networks=["192.0.2.1/24"])
    assert str(HOME) == "1 Example Road, BS1 1AA Bristol, GB"


@pytest.mark.asyncio
async def test_who_changes_nothing_says_nothing(store: Store, fleet: Fleet) -> None:
    site = await fleet.add_site("HQ", account="Acme")
    await fleet.change_site(site.id, location="x")
    await fleet.change_site(site.id, location="x")
    kinds = [one.kind for one in await fleet.events()]
    assert (kinds.count("site_changed"), kinds.count("emergency_changed")) == (1, 1)


@pytest.mark.asyncio
async def test_users_and_extensions_say_something_else(store: Store, fleet: Fleet) -> None:
    lobby = await fleet.add_user("Hall", account="Acme", kind=UserKind.PLACE)
    assert (await fleet.change_user("Hall", name="Lobby")).kind is UserKind.PLACE
    assert [one.id for one in (await Search(store, KNOWN).user_page(kind=UserKind.PLACE)).items] == [lobby.id]
    await fleet.add_extension("100", account="Acme", user=lobby.id)
    changed = await fleet.change_extension("100", display_name="Lobby", auth_user="lobby.1")
    assert [changed] == await fleet.extensions("Acme")
    with pytest.raises(Invalid):
        await fleet.change_extension("100", auth_user="not good")
    with pytest.raises(Invalid):
        await fleet.change_user("Lobby")
    assert await fleet.lines_of("100") == []


@pytest.mark.asyncio
async def test_an_import_waits_as_a_job_and_comes_true(store: Store, fleet: Fleet) -> None:
    means = Means(store, KNOWN, *(cast(Any, None) for _ in range(6)))
    runner, jobs = JobRunner(means), Jobs(store, KNOWN)
    told = sheet(*(full(number) for number in range(60)), full(60, model="VVX 9"), full(61, mac="nonsense"))
    begun = await Imports(store, KNOWN).begin_import(told, account="Acme")
    assert (begun.state, begun.total, begun.failed) == (JobState.CHECKING, 62, 1)
    while await runner.turn():
        pass
    looked = await jobs.job(begun.id)
    assert (looked.state, looked.checked, looked.failed, looked.done) == (JobState.REFUSED, 62, 2, 0)
    assert await fleet.devices() == []
    await jobs.apply_job(begun.id)
    while await runner.turn():
        pass
    done = await jobs.job(begun.id)
    assert (done.state, done.done, done.failed, done.dry_run) == (JobState.DONE, 60, 2, False)
    assert len(await fleet.devices()) == 60
    refused = (await jobs.job_rows(begun.id, state=RowState.REFUSED)).items
    assert [(one.number, one.result["column"]) for one in refused] == [(61, "model"), (62, "mac")]
    async with store.reading() as connection:
        held = (
            await connection.execute(select(schema.job_row.c.given).where(schema.job_row.c.given.is_not(None)))
        ).all()
    assert held == []
    assert "s3cret" not in json.dumps([dict(one.result) for one in refused])
