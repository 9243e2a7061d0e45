"""What a call asks, changes and answers is one transaction on both databases; lists and jobs are read in it, too."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import insert

from provisioner.errors import Conflict, KeyReused, NotFound
from provisioner.fleet.device_search import DeviceQuery
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.jobs import Jobs, read_principal, written_principal
from provisioner.fleet.rebind import Rebinding
from provisioner.fleet.search import Search
from provisioner.job_states import JobState, RowState
from provisioner.licensing import LicenseKind, LicenseState
from provisioner.model import Mac
from provisioner.numbering import NumberState
from provisioner.rights import OPERATOR, Holding, Principal, Role, parts_of
from provisioner.store import jobs, schema
from provisioner.store.event_pages import EventFilter
from provisioner.store.joined import joined
from provisioner.store.repeats import Asked, Kept, find_repeat, forget_repeats, keep_answer
from provisioner.vendors import drivers

KNOWN = {one.manifest.name: one for one in drivers()}
FIRST, SECOND = Mac("0004f2000001"), Mac("0004f2000002")


@pytest.mark.asyncio
async def test_all_is_kept_together_and_what_was_refused_is_not_in_it(store):
    outside = Fleet(store, KNOWN)
    async with joined(store) as inside:
        desk = Fleet(inside, KNOWN)
        await desk.add_account("Acme")
        with pytest.raises(Conflict):
            await desk.add_account("Acme")
        await desk.add_account("Other")
        assert [one.name for one in await desk.accounts()] == ["Acme", "Other"]
        if store.engine.dialect.name == "postgresql":
            assert await outside.accounts() == []
    assert [one.name for one in await outside.accounts()] == ["Acme", "Other"]
    assert len(await outside.events(kind="account_added")) == 2


@pytest.mark.asyncio
async def test_what_is_let_out_takes_all_back(store):
    with pytest.raises(NotFound):
        async with joined(store) as inside:
            await Fleet(inside, KNOWN).add_account("Acme")
            raise NotFound("something else")
    assert await Fleet(store, KNOWN).accounts() == []


@pytest.mark.asyncio
async def test_an_error_of_the_database_itself_leaves_the_rest_standing(store):
    """PostgreSQL takes nothing more in a transaction after an error, unless that was in a savepoint."""
    async with joined(store) as inside:
        await Fleet(inside, KNOWN).add_account("Acme")
        with pytest.raises(Conflict):
            async with inside.writing() as connection:
                twice = [{"id": "same", "name": f"N{one}", "created": 1.0} for one in range(2)]
                await connection.execute(insert(schema.account), twice)
        await Fleet(inside, KNOWN).add_account("Other")
    assert [one.name for one in await Fleet(store, KNOWN).accounts()] == ["Acme", "Other"]


@pytest.mark.asyncio
async def test_whoever_comes_second_sees_what_the_first_did(store):
    found = []

    async def call() -> None:
        async with joined(store) as inside:
            desk = Fleet(inside, KNOWN)
            seen = len(await desk.accounts())
            await asyncio.sleep(0.02)
            await desk.add_account(f"A{seen}")
            found.append(seen)

    await asyncio.gather(*(call() for _ in range(4)))
    assert sorted(found) == [0, 1, 2, 3]


@pytest.mark.asyncio
async def test_an_answer_is_found_by_its_key_for_a_day(store):
    asked, kept = Asked("me", "key", "digest"), Kept(201, (("ETag", '"x"'),), b"line\nand line")
    async with joined(store) as inside:
        assert await find_repeat(inside.connection, store.box, asked, 100.0) is None
        await keep_answer(inside.connection, store.box, asked, kept, 100.0)
    async with store.writing() as connection:
        found = await find_repeat(connection, store.box, asked, 200.0)
        assert (found.status, tuple(map(tuple, found.headers)), found.body) == (201, kept.headers, kept.body)
        with pytest.raises(KeyReused):
            await find_repeat(connection, store.box, Asked("me", "key", "other"), 200.0)
        assert await find_repeat(connection, store.box, Asked("you", "key", "digest"), 200.0) is None
        assert await find_repeat(connection, store.box, asked, 100.0 + 86_400) is None
        await keep_answer(connection, store.box, asked, kept, 100.0 + 86_400)
        assert await forget_repeats(connection, 100.0 + 2 * 86_400) == 1


async def furnished(store):
    fleet = Fleet(store, KNOWN)
    mine, theirs = (await fleet.add_account("Acme")).id, (await fleet.add_account("Other")).id
    site = (await fleet.add_site("HQ", account=mine)).id
    for account, mac, number in ((mine, FIRST, "2001"), (theirs, SECOND, "2002")):
        user = (await fleet.add_user(f"User {number}", account=account)).id
        await fleet.add_extension(number, account=account, user=user)
        await fleet.add_device(mac, vendor="poly", model="VVX 411", account=account, site=site if mac is FIRST else "")
        await fleet.add_licenses(LicenseKind.USER, account=account, count=3)
        await fleet.assign_license(user)
        await fleet.add_numbers([f"+4930{number}", f"77{number}"], account=account)
    return mine, theirs, site


@pytest.mark.asyncio
async def test_pages_on_both_databases_and_only_what_is_within_reach(store):
    mine, _, site = await furnished(store)
    everything = Search(store, KNOWN)
    lists = [
        (everything.account_page, 2), (everything.site_page, 1), (everything.user_page, 2),
        (everything.extension_page, 2), (everything.license_page, 6), (everything.number_page, 4),
    ]  # fmt: skip
    for page, count in lists:
        whole = (await page(limit=100)).items
        assert len(whole) == count
        turned, after = [], ()
        while True:
            part = await page(after=after, limit=1)
            turned += part.items
            if part.next is None:
                break
            after = part.next
        assert turned == list(whole)
    assert len((await everything.license_page(state=LicenseState.ASSIGNED)).items) == 2
    assert len((await everything.number_page(state=NumberState.HELD)).items) == 0
    assert [one.device.mac for one in (await everything.device_page(DeviceQuery(text="2001"))).items] == []
    await Rebinding(store, KNOWN).rebind(FIRST, 1, extension="2001")
    found = await everything.device_page(DeviceQuery(text="user 2001"))
    assert [(one.device.mac, one.about.lines[0].number) for one in found.items] == [(FIRST, "2001")]
    assert len((await everything.event_page(EventFilter(mac=FIRST), limit=1)).items) == 1
    site_admin = Principal("s", parts_of(Holding(Role.SITE_ADMIN, mine, site), "s"), "s")
    limited = Search(store, KNOWN, principal=site_admin)
    assert [one.device.mac for one in (await limited.device_page(DeviceQuery())).items] == [FIRST]
    for page in (limited.account_page, limited.site_page, limited.user_page, limited.license_page, limited.number_page):
        assert {one.id if page == limited.account_page else one.account for one in (await page()).items} == {mine}
    standing = await limited.standing(FIRST)
    assert (standing.served, standing.wanted > 0, standing.refusal) == (None, True, None)
    with pytest.raises(NotFound):
        await limited.standing(SECOND)


@pytest.mark.asyncio
async def test_a_jobs_rows_are_counted_and_erased(store):
    desk = Jobs(store, KNOWN, actor="ada")
    job = await desk.begin_job("devices", [b"one", b"two", b"three"])
    async with store.writing() as connection:
        rows = await jobs.rows_of(connection, store.box, job.id, opened=True)
        assert [one.given for one in rows] == [b"one", b"two", b"three"]
        outcomes = [(1, RowState.FITS, {}), (2, RowState.REFUSED, {"why": "x"})]
        await jobs.write_outcomes(connection, job.id, outcomes)
        await jobs.write_progress(connection, job.id, outcomes, checking=True)
        counted = await jobs.find_job(connection, job.id)
        kept = await jobs.rows_of(connection, store.box, job.id, opened=True)
        assert [(one.state.value, one.given, one.result) for one in kept] == [
            ("fits", b"one", {}), ("refused", b"", {"why": "x"}), ("waiting", b"three", {}),
        ]  # fmt: skip
    assert (counted.checked, counted.done, counted.failed) == (2, 0, 1)
    async with store.writing() as connection:
        assert await jobs.move_job(connection, job.id, [JobState.CHECKING], JobState.REFUSED, 7.0)
        assert not await jobs.move_job(connection, job.id, [JobState.CHECKING], JobState.STOPPED, 8.0)
        assert await jobs.jobs_under_way(connection) == []
        kept = await jobs.rows_of(connection, store.box, job.id, opened=True)
        assert [one.given for one in kept] == [b"one", b"", b"three"]  # for whoever has the others applied
        assert await jobs.count_kept(connection, job.id) == 1
        await jobs.erase_rows(connection, 7.0)
        assert await jobs.count_kept(connection, job.id) == 1
        await jobs.erase_rows(connection, 7.5)
        assert [one.given for one in await jobs.rows_of(connection, store.box, job.id, opened=True)] == [b"", b"", b""]
        assert await jobs.forget_jobs(connection, 7.5) == 1
        assert await jobs.rows_of(connection, store.box, job.id) == []


def test_what_bounds_a_job_is_what_bounds_its_author():
    some = Principal(
        "s", parts_of(Holding(Role.SITE_ADMIN, "a", "b"), "s") + parts_of(Holding(Role.PARTNER, "c"), "s"), "i"
    )
    for one in (OPERATOR, some):
        again = read_principal(written_principal(one))
        assert (again.actor, again.parts, again.ident) == (one.actor, one.parts, one.ident)
