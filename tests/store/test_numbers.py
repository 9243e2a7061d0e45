"""Phone numbers and numbers for extensions: one is one's, a hold ends by itself, the lowest free is suggested once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from activation_office import Office

from provisioner.deeds import Deed
from provisioner.errors import Conflict, Invalid, NotFound
from provisioner.fleet.fleet import Fleet
from provisioner.numbering import NumberOrigin, NumberState
from provisioner.store import numbers
from provisioner.store.database import Store, key_path
from provisioner.store.rows import ExtensionHold
from provisioner.store.secretbox import SecretBox

pytestmark = pytest.mark.asyncio
LONDON = "+442071234567"


@pytest_asyncio.fixture
async def office(store: Store, drivers: Mapping[str, Any], tmp_path: Path) -> Office:
    return await Office.opened(store, drivers, tmp_path)


@pytest_asyncio.fixture
async def desks(office: Office, store: Store, tmp_path: Path) -> AsyncIterator[list[Fleet]]:
    """Five processes on the same database, each with somebody else at it."""
    async with contextlib.AsyncExitStack() as opened:
        url = store.url.render_as_string(hide_password=False)
        made = [Store(url, SecretBox.load(key_path(tmp_path)), tmp_path / "uploads") for _ in range(5)]
        for one in made:
            await opened.enter_async_context(one)
        yield [Fleet(one, office.drivers, actor=f"clerk {n}", clock=office.clock) for n, one in enumerate(made)]


def another(office: Office, actor: str = "bob") -> Fleet:
    return Fleet(office.store, office.drivers, actor=actor, clock=office.clock)


# --- the pool -------------------------------------------------------------------------------------------


async def test_a_number_is_added_assigned_and_freed(office: Office) -> None:
    [added] = await office.fleet.add_numbers(["+44 (20) 7123-4567"], account="Acme", site="Berlin")
    assert (added.number, added.state, added.origin) == (LONDON, NumberState.AVAILABLE, NumberOrigin.CLAIMED)
    given = await office.fleet.assign_number("+44 20 7123 4567", extension="1001", account="Acme")
    assert (given.state, given.id) == (NumberState.ASSIGNED, added.id) and given.extension
    assert [one.id for one in await office.fleet.numbers("Acme", extension="1001")] == [added.id]
    with pytest.raises(Conflict) as refused:
        await office.fleet.assign_number(LONDON, extension="1002", account="Acme")
    assert refused.value.cure and refused.value.cure.deed is Deed.UNASSIGN_NUMBER
    with pytest.raises(Conflict):
        await office.fleet.remove_number(LONDON)
    assert (await office.fleet.unassign_number(added.id)).state is NumberState.AVAILABLE
    with pytest.raises(Conflict, match="no extension"):
        await office.fleet.unassign_number(LONDON)
    await office.fleet.remove_number(LONDON)
    assert await office.fleet.numbers() == []
    assert await office.kinds("number_") == [
        "number_added", "number_assigned", "number_unassigned", "number_removed"
    ]  # fmt: skip


async def test_a_number_of_the_world_is_one_accounts_and_an_internal_one_is_one_of_each(office: Office) -> None:
    await office.fleet.add_numbers([LONDON, "4711"], account="Acme")
    with pytest.raises(Conflict, match="another account has it") as refused:
        await office.fleet.add_numbers(["5000", LONDON], account="Beta")
    assert "Acme" not in refused.value.cause
    assert await office.fleet.numbers("Beta") == [], "all of them or none"
    await office.fleet.add_numbers(["4711"], account="Beta")
    with pytest.raises(Conflict, match="has it already"):
        await office.fleet.add_numbers(["4711"], account="Acme")
    with pytest.raises(Conflict, match="may mean 2 numbers"):
        await office.fleet.hold_number("4711")
    with pytest.raises(NotFound):
        await office.fleet.assign_number(LONDON, extension="1001", account="Beta")


async def test_the_database_itself_holds_a_public_number_to_one_account(office: Office, store: Store) -> None:
    [one] = await office.fleet.add_numbers([LONDON], account="Acme")
    beta = next(account.id for account in await office.fleet.accounts() if account.name == "Beta")
    with pytest.raises(Conflict):
        async with store.writing() as connection:
            values = {name: getattr(one, name) for name in type(one).__dataclass_fields__}
            await numbers.insert_number(connection, type(one)(**values | {"id": "another", "account": beta}))


async def test_a_number_that_is_being_ported_can_have_its_extension_before_it_comes(office: Office) -> None:
    await office.fleet.add_numbers([LONDON], account="Acme", origin=NumberOrigin.PORTED, porting=True)
    assert (await office.fleet.assign_number(LONDON, extension="1001", account="Acme")).state is NumberState.PORTING
    arrived = await office.fleet.number_ported(LONDON)
    assert arrived.state is NumberState.ASSIGNED and arrived.extension
    with pytest.raises(Conflict, match="it is assigned"):
        await office.fleet.number_ported(LONDON)


async def test_a_hold_is_for_one_and_ends_by_itself(office: Office) -> None:
    await office.fleet.add_numbers([LONDON], account="Acme")
    held = await office.fleet.hold_number(LONDON, seconds=60)
    assert (held.state, held.held_by, held.until) == (NumberState.HELD, "ann", office.clock() + 60)
    for refused in (
        another(office).assign_number(LONDON, extension="1001", account="Acme"),
        another(office).hold_number(LONDON),
        office.fleet.remove_number(LONDON),
    ):
        with pytest.raises(Conflict, match="held by ann"):
            await refused
    office.clock.now += 60
    assert (await office.fleet.numbers(state=NumberState.AVAILABLE))[0].held_by == ""
    assert (await another(office).hold_number(LONDON)).held_by == "bob"
    assert (await office.fleet.release_number(LONDON)).state is NumberState.AVAILABLE
    with pytest.raises(Conflict, match="nobody holds"):
        await office.fleet.release_number(LONDON)
    await office.fleet.hold_number(LONDON)
    taken = await office.fleet.assign_number(LONDON, extension="1001", account="Acme")
    assert (taken.state, taken.held_by) == (NumberState.ASSIGNED, "")


@pytest.mark.parametrize("seconds", [0, 9.9, 86_401, float("nan"), float("inf")])
async def test_a_hold_without_end_is_refused(office: Office, seconds: float) -> None:
    with pytest.raises(Invalid):
        await office.fleet.suggest_extension(account="Acme", seconds=seconds)


async def test_of_fifty_extensions_at_once_one_gets_the_number(office: Office, store: Store) -> None:
    [one] = await office.fleet.add_numbers([LONDON], account="Acme")
    extensions = [
        (await office.fleet.add_extension(f"2{number:03}", account="Acme", user="Ann")).id for number in range(50)
    ]
    turns = asyncio.Semaphore(3)

    async def assign(extension: str) -> bool:
        async with turns, store.writing() as connection:
            return await numbers.assign_number(connection, one.id, extension, "ann", office.clock())

    assert (await asyncio.gather(*(assign(extension) for extension in extensions))).count(True) == 1


async def test_an_extension_that_goes_leaves_its_number_behind(office: Office) -> None:
    await office.fleet.add_numbers([LONDON], account="Acme")
    await office.fleet.assign_number(LONDON, extension="1003", account="Acme")
    await office.fleet.remove_extension("1003", account="Acme")
    [left] = await office.fleet.numbers("Acme")
    assert left.state is NumberState.AVAILABLE
    assert (await office.kinds("number_"))[-1] == "number_unassigned"
    await office.fleet.add_account("Empty")
    await office.fleet.add_numbers(["4711"], account="Empty")
    with pytest.raises(Conflict, match="1 phone number"):
        await office.fleet.remove_account("Empty")


# --- numbers for extensions -----------------------------------------------------------------------------


async def test_the_lowest_free_number_is_suggested_and_kept(office: Office) -> None:
    await office.fleet.set_range("1001-1006", account="Acme")
    first = await office.fleet.suggest_extension(account="Acme", seconds=60)
    assert (first.number, first.until) == ("1004", office.clock() + 60), "1001 to 1003 are Ann's"
    assert (await another(office).suggest_extension(account="Acme", seconds=60)).number == "1005"
    with pytest.raises(Conflict, match="kept for ann for 60 s"):
        await another(office).add_extension("1004", account="Acme", user="Ann")
    assert [one.number for one in await office.fleet.extension_holds("Acme")] == ["1004", "1005"]
    await office.fleet.add_extension("1004", account="Acme", user="Ann")
    assert [one.number for one in await office.fleet.extension_holds()] == ["1005"], "used up"
    office.clock.now += 60
    assert await office.fleet.extension_holds() == []
    assert (await office.fleet.suggest_extension(account="Acme")).number == "1005"
    assert (await office.fleet.suggest_extension(account="Acme")).number == "1006"
    with pytest.raises(Conflict, match="no number of 1001-1006 is free"):
        await office.fleet.suggest_extension(account="Acme")
    await another(office).release_extension("1005", account="Acme")
    assert (await office.fleet.suggest_extension(account="Acme")).number == "1005"
    with pytest.raises(NotFound):
        await office.fleet.release_extension("1001", account="Acme")


async def test_a_number_kept_before_may_be_added_when_the_time_is_over(office: Office) -> None:
    await office.fleet.set_range("2000-2001", account="Acme")
    await office.fleet.suggest_extension(account="Acme")
    office.clock.now += 600
    assert (await another(office).add_extension("2000", account="Acme", user="Ann")).number == "2000"


async def test_a_refusal_does_not_use_up_what_is_kept(office: Office) -> None:
    await office.fleet.set_range("2000-2001", account="Acme")
    await office.fleet.suggest_extension(account="Acme")
    with pytest.raises(Conflict):
        await another(office).add_extension("2000", account="Acme", user="Ann")
    with pytest.raises(Conflict):
        await another(office).add_extension("2000", account="Acme", user="Ann")


async def test_a_sites_range_goes_before_its_accounts(office: Office) -> None:
    with pytest.raises(Conflict) as refused:
        await office.fleet.suggest_extension(account="Acme")
    assert refused.value.cure and refused.value.cure.deed is Deed.SET_RANGE
    await office.fleet.set_range("3000-3999", account="Acme")
    await office.fleet.set_range("1000-1099", account="Acme", site="Berlin")
    assert (await office.fleet.suggest_extension(account="Acme", site="Berlin")).number == "1000"
    assert (await office.fleet.suggest_extension(account="Acme", site="Madrid")).number == "3000"
    await office.fleet.set_range("090-099", account="Acme", site="Berlin")
    assert (await office.fleet.suggest_extension(account="Acme", site="Berlin")).number == "090"
    assert {(one.low, one.high) for one in await office.fleet.ranges("Acme")} == {("3000", "3999"), ("090", "099")}
    await office.fleet.clear_range(account="Acme", site="Berlin")
    assert (await office.fleet.suggest_extension(account="Acme", site="Berlin")).number == "3001"
    with pytest.raises(NotFound):
        await office.fleet.clear_range(account="Acme", site="Berlin")
    assert await office.fleet.ranges("Beta") == []


async def test_another_accounts_extensions_and_holds_are_no_concern(office: Office) -> None:
    for account in ("Acme", "Beta"):
        await office.fleet.set_range("1002-1009", account=account)
    assert (await office.fleet.suggest_extension(account="Acme")).number == "1004"
    assert (await another(office).suggest_extension(account="Beta")).number == "1002"


async def test_emergency_numbers_are_neither_suggested_nor_added(office: Office) -> None:
    await office.fleet.set_range("110-113", account="Acme")
    assert [(await office.fleet.suggest_extension(account="Acme")).number for _ in range(2)] == ["111", "113"]
    with pytest.raises(Invalid, match="reserved"):
        await office.fleet.add_extension("911", account="Acme", user="Ann")
    await office.fleet.set_policy("Acme", reserved=["112"])
    assert (await office.fleet.add_extension("911", account="Acme", user="Ann")).number == "911"
    assert (await office.fleet.suggest_extension(account="Acme")).number == "110"


async def test_fifty_who_ask_at_once_are_told_fifty_numbers(office: Office, desks: list[Fleet]) -> None:
    await office.fleet.set_range("2000-2049", account="Acme")
    turns = [asyncio.Semaphore(3) for _ in desks]  # a process has four connections

    async def ask(number: int) -> ExtensionHold:
        async with turns[number % 5]:
            return await desks[number % 5].suggest_extension(account="Acme")

    told = await asyncio.gather(*(ask(number) for number in range(50)))
    assert sorted(one.number for one in told) == [str(number) for number in range(2000, 2050)]


async def test_of_fifty_who_take_a_hold_at_once_one_wins(office: Office, store: Store) -> None:
    """Without the lock that administrators' changes queue behind: the statement itself decides."""
    account = (await office.fleet.accounts())[0].id
    turns = asyncio.Semaphore(3)

    async def take(number: int) -> bool:
        hold = ExtensionHold(account, "2000", f"clerk {number}", office.clock() + 60)
        async with turns, store.writing() as connection:
            return await numbers.take_hold(connection, hold, office.clock())

    assert (await asyncio.gather(*(take(number) for number in range(50)))).count(True) == 1
