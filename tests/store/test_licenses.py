"""Licenses: bought, given to users, suspended, given back; the last one is one user's, however many ask for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from activation_office import DESK, HALL, Office

from provisioner.errors import Conflict, Invalid, NoLicense, NotFound
from provisioner.fleet.fleet import Fleet
from provisioner.licensing import LicenseKind, LicenseState
from provisioner.store import licenses
from provisioner.store.database import Store, key_path
from provisioner.store.rows import License
from provisioner.store.secretbox import SecretBox

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def office(store: Store, drivers: Mapping[str, Any], tmp_path: Path) -> Office:
    return await Office.opened(store, drivers, tmp_path)


@pytest_asyncio.fixture
async def doors(store: Store, tmp_path: Path) -> AsyncIterator[list[Store]]:
    """Five processes on the same database."""
    async with contextlib.AsyncExitStack() as opened:
        url = store.url.render_as_string(hide_password=False)
        made = [Store(url, SecretBox.load(key_path(tmp_path)), tmp_path / "uploads") for _ in range(4)]
        for one in made:
            await opened.enter_async_context(one)
        yield [store, *made]


async def totals(office: Office, account: str = "Acme") -> dict[str, tuple[int, int, int, int]]:
    found = await office.fleet.license_totals(account)
    return {one.kind.value: (one.total, one.available, one.assigned, one.suspended) for one in found}


async def people(office: Office, count: int) -> list[str]:
    account = (await office.fleet.license_totals("Acme"))[0].account
    return [(await office.fleet.add_user(f"User {number}", account=account)).id for number in range(count)]


# --- bought and given -----------------------------------------------------------------------------------


async def test_what_was_bought_is_counted_by_kind_and_account(office: Office) -> None:
    await office.fleet.add_licenses(LicenseKind.USER, account="Acme", count=3)
    await office.fleet.add_licenses(LicenseKind.LOBBY, account="Acme")
    await office.fleet.add_licenses(LicenseKind.USER, account="Beta")
    given = await office.fleet.assign_license("Ann")
    assert (given.state, given.kind) == (LicenseState.ASSIGNED, LicenseKind.USER)
    await office.fleet.suspend_license((await office.fleet.licenses("Acme", state=LicenseState.AVAILABLE))[0].id)
    assert await totals(office) == {"lobby": (1, 0, 0, 1), "user": (3, 2, 1, 0)}
    assert await totals(office, "Beta") == {"user": (1, 1, 0, 0)}
    [own] = await office.fleet.licenses(user="Ann")
    assert own == given
    assert await office.kinds("license_") == ["license_added"] * 3 + ["license_assigned", "license_suspended"]


@pytest.mark.parametrize("count", [0, -1, 10_001])
async def test_a_senseless_count_is_refused(office: Office, count: int) -> None:
    with pytest.raises(Invalid):
        await office.fleet.add_licenses(LicenseKind.USER, account="Acme", count=count)
    with pytest.raises(Invalid):
        await office.fleet.remove_licenses(LicenseKind.USER, account="Acme", count=count)


async def test_without_one_left_the_answer_says_what_became_of_them(office: Office) -> None:
    with pytest.raises(NoLicense, match="none was bought"):
        await office.fleet.assign_license("Ann")
    await office.fleet.add_licenses(LicenseKind.USER, account="Beta", count=5)
    [spare] = await office.fleet.add_licenses(LicenseKind.USER, account="Acme")
    await office.fleet.suspend_license(spare.id)
    with pytest.raises(NoLicense, match="of 1: 0 assigned, 1 suspended"):
        await office.fleet.assign_license("Ann")
    assert not await office.fleet.licenses("Acme", state=LicenseState.ASSIGNED), "another account's are not for Ann"


async def test_a_user_has_one_that_lets_them_have_a_phone(office: Office, store: Store) -> None:
    await office.fleet.add_licenses(LicenseKind.USER, account="Acme", count=2)
    await office.fleet.add_licenses(LicenseKind.LOBBY, account="Acme")
    await office.fleet.add_licenses(LicenseKind.TOLL_FREE, account="Acme", count=2)
    ann = (await office.fleet.assign_license("Ann")).user
    for kind in (LicenseKind.USER, LicenseKind.LOBBY):
        with pytest.raises(Conflict, match="already"):
            await office.fleet.assign_license("Ann", kind=kind)
    for _ in range(2):
        await office.fleet.assign_license("Ann", kind=LicenseKind.TOLL_FREE)
    account = (await office.fleet.licenses(user="Ann"))[0].account
    with pytest.raises(Conflict):  # by the database itself, whatever the program believes
        async with store.writing() as connection:
            await licenses.take_license(connection, account, LicenseKind.LOBBY, ann, 1.0)
    assert (await totals(office))["lobby"] == (1, 1, 0, 0)


# --- the last one ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [1, 2])
async def test_of_fifty_statements_at_once_as_many_win_as_there_are_left(
    office: Office, doors: list[Store], left: int
) -> None:
    """Without the lock that administrators' changes queue behind: the statement itself decides."""
    account = (await office.fleet.add_licenses(LicenseKind.USER, account="Acme", count=left))[0].account
    users, turns = await people(office, 50), [asyncio.Semaphore(3) for _ in doors]

    async def take(number: int) -> str | None:
        place = number % len(doors)
        async with turns[place], doors[place].writing() as connection:
            return await licenses.take_license(connection, account, LicenseKind.USER, users[number], 1.0)

    won = [one for one in await asyncio.gather(*(take(number) for number in range(50))) if one]
    assert len(won) == len(set(won)) == left
    assert (await totals(office))["user"] == (left, 0, left, 0)


async def test_of_fifty_administrators_at_once_one_gets_the_last(office: Office, doors: list[Store]) -> None:
    await office.fleet.add_licenses(LicenseKind.USER, account="Acme")
    users = await people(office, 50)
    desks = [Fleet(one, office.drivers, actor="bob", clock=office.clock) for one in doors]
    turns = [asyncio.Semaphore(3) for _ in doors]  # a process has four connections

    async def ask(number: int) -> License:
        async with turns[number % 5]:
            return await desks[number % 5].assign_license(users[number])

    heard = await asyncio.gather(*(ask(number) for number in range(50)), return_exceptions=True)
    won = [one for one in heard if not isinstance(one, Exception)]
    assert len(won) == 1 and {type(one) for one in heard if isinstance(one, Exception)} == {NoLicense}
    [told] = await office.fleet.events(kind="license_assigned")
    assert told.details["user"] == won[0].user


# --- taken back -----------------------------------------------------------------------------------------


async def test_a_license_is_meant_by_its_id_or_by_its_user(office: Office) -> None:
    await office.fleet.add_licenses(LicenseKind.USER, account="Acme")
    given = await office.fleet.assign_license("Ann")
    assert (await office.fleet.suspend_license("Ann")).state is LicenseState.SUSPENDED
    with pytest.raises(Conflict, match="suspended already"):
        await office.fleet.suspend_license(given.id)
    resumed = await office.fleet.resume_license(given.id)
    assert (resumed.state, resumed.user) == (LicenseState.ASSIGNED, given.user)
    with pytest.raises(NotFound):
        await office.fleet.suspend_license(given.id, account="Beta")
    assert (await office.fleet.unassign_license("Ann")).state is LicenseState.AVAILABLE
    with pytest.raises(NotFound, match="0 licenses"):
        await office.fleet.unassign_license("Ann")
    with pytest.raises(Conflict, match="nobody"):
        await office.fleet.unassign_license(given.id)
    with pytest.raises(NotFound, match="no user"):
        await office.fleet.unassign_license("Nobody")


async def test_whose_user_has_several_is_asked_which(office: Office) -> None:
    await office.fleet.add_licenses(LicenseKind.TOLL_FREE, account="Acme", count=2)
    made = {(await office.fleet.assign_license("Ann", kind=LicenseKind.TOLL_FREE)).id for _ in range(2)}
    with pytest.raises(Conflict) as refused:
        await office.fleet.suspend_license("Ann")
    assert all(one in refused.value.cause for one in made)


async def test_only_those_that_nobody_has_are_given_back(office: Office) -> None:
    made = await office.fleet.add_licenses(LicenseKind.USER, account="Acme", count=3)
    await office.fleet.assign_license("Ann")
    free = await office.fleet.licenses("Acme", state=LicenseState.AVAILABLE)
    await office.fleet.suspend_license(free[0].id)
    with pytest.raises(Conflict, match="has 1 available user license, not 2"):
        await office.fleet.remove_licenses(LicenseKind.USER, account="Acme", count=2)
    assert (await totals(office))["user"] == (3, 1, 1, 1), "nothing of it has happened"
    assert await office.fleet.remove_licenses(LicenseKind.USER, account="Acme") == 1
    assert {one.id for one in await office.fleet.licenses("Acme")} < {one.id for one in made}


async def test_a_user_who_goes_leaves_the_license_behind(office: Office) -> None:
    await office.fleet.add_licenses(LicenseKind.USER, account="Acme")
    await office.fleet.add_user("Cid", account="Acme")
    await office.fleet.assign_license("Cid")
    await office.fleet.remove_user("Cid")
    assert (await totals(office))["user"] == (1, 1, 0, 0)
    assert await office.kinds("license_") == ["license_added", "license_assigned", "license_unassigned"]


async def test_an_account_with_licenses_is_not_removed(office: Office) -> None:
    await office.fleet.add_account("Empty")
    await office.fleet.add_licenses(LicenseKind.USER, account="Empty", count=2)
    await office.fleet.set_policy("Empty", needs_license=True)
    with pytest.raises(Conflict, match="2 licenses"):
        await office.fleet.remove_account("Empty")
    await office.fleet.remove_licenses(LicenseKind.USER, account="Empty", count=2)
    await office.fleet.remove_account("Empty")


async def test_who_has_a_phone_keeps_the_license_that_it_needs(office: Office) -> None:
    """Or one license would do for everybody, one after the other."""
    await office.fleet.add_licenses(LicenseKind.USER, account="Acme")
    await office.fleet.assign_license("Ann")
    await office.fleet.bind(DESK, 1, extension="1001")
    await office.fleet.set_policy("Acme", needs_license=True)
    with pytest.raises(Conflict, match=f"1001 on line 1 of {DESK.colons}"):
        await office.fleet.unassign_license("Ann")
    await office.fleet.suspend_license("Ann")
    assert len(await office.fleet.bindings(DESK, active=True)) == 1, "a phone that is there goes on"
    with pytest.raises(NoLicense, match="suspended"):
        await office.fleet.bind(HALL, 1, extension="1002")
    await office.fleet.unbind(DESK, 1)
    await office.fleet.unassign_license("Ann")
    with pytest.raises(NoLicense, match="has no license"):
        await office.fleet.bind(HALL, 1, extension="1002")
