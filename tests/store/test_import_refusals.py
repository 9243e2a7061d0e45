"""An import refuses what the use-cases refuse: each rule is broken once by a row and once by its use-case."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from import_office import ADD, BIND, KNOWN, MAC, ON_SQLITE, make_fleet, one_of, row, sheet, taken

from provisioner.errors import ProvisionerError
from provisioner.fleet.fleet import Fleet
from provisioner.imports.imports import Imports
from provisioner.imports.steps import Outcome
from provisioner.licensing import EmergencyRule, LicenseKind
from provisioner.model import Mac, Scope
from provisioner.places import Address
from provisioner.store.database import Store


@pytest_asyncio.fixture
async def fleet(store: Store) -> Fleet:
    return await make_fleet(store)


@pytest.fixture
def desk(store: Store, fleet: Fleet) -> Imports:
    return Imports(store, KNOWN, actor="ann")


Attempt = Callable[[Fleet], Awaitable[object]]


async def _with_extension(fleet: Fleet) -> None:
    await fleet.add_user("Ada", account="Acme")
    await fleet.add_extension("1001", account="Acme", user="Ada")


async def _policy(fleet: Fleet, **asked: Any) -> None:
    await _with_extension(fleet)
    await fleet.add_device(Mac(MAC), vendor="poly", model="VVX 411", account="Acme")
    await fleet.set_policy("Acme", **asked)


async def _bound(fleet: Fleet) -> None:
    await _with_extension(fleet)
    for mac in (MAC, "0004f2000002"):
        await fleet.add_device(Mac(mac), vendor="poly", model="VVX 411", account="Acme")
    await fleet.bind(Mac(MAC), 1, extension="1001")


async def _elsewhere(fleet: Fleet) -> None:
    await fleet.add_device(Mac(MAC), vendor="poly", model="VVX 411", account="Other")


async def _held(fleet: Fleet, actor: str) -> None:
    await fleet.set_range("1001-1001", account="Acme")
    await Fleet(fleet._store, KNOWN, actor=actor).suggest_extension(account="Acme")


async def _nothing(_fleet: Fleet) -> None:
    return None


REFUSALS: dict[str, tuple[Attempt, dict[str, str], str, Attempt]] = {
    "reserved": (
        _nothing, {"user": "Ada", "extension": "911"}, "extension",
        lambda fleet: _add(fleet, "911"),
    ),
    "held": (
        lambda fleet: _held(fleet, "bob"),
        {"user": "Ada", "extension": "1001"}, "extension",
        lambda fleet: _add(fleet, "1001"),
    ),
    "another's extension": (
        _with_extension, {"user": "Bob", "extension": "1001"}, "extension",
        lambda fleet: _add(fleet, "1001"),
    ),
    "another account's device": (
        _elsewhere, ADD, "mac",
        lambda fleet: fleet.add_device(Mac(MAC), vendor="poly", model="VVX 411", account="Acme"),
    ),
    "no such model": (
        _nothing, {**ADD, "model": "VVX 4"}, "model",
        lambda fleet: fleet.add_device(Mac(MAC), vendor="poly", model="VVX 4", account="Acme"),
    ),
    "no such vendor": (
        _nothing, {**ADD, "vendor": "acme"}, "vendor",
        lambda fleet: fleet.add_device(Mac(MAC), vendor="acme", model="VVX 411", account="Acme"),
    ),
    "no such line": (
        _bound, {**BIND, "line": "13"}, "line",
        lambda fleet: fleet.bind(Mac(MAC), 13, extension="1001"),
    ),
    "has its phone": (
        _bound, {**BIND, "mac": "0004f2000002"}, "extension",
        lambda fleet: fleet.bind(Mac("0004f2000002"), 1, extension="1001"),
    ),
    "twice on a phone": (
        _bound, {**BIND, "line": "2"}, "line",
        lambda fleet: fleet.bind(Mac(MAC), 2, extension="1001"),
    ),
    "line taken": (
        _bound, {**BIND, "extension": "1002"}, "line",
        lambda fleet: _bind_another(fleet),
    ),
    "no license": (
        lambda fleet: _policy(fleet, needs_license=True), BIND, "extension",
        lambda fleet: fleet.bind(Mac(MAC), 1, extension="1001"),
    ),
    "no number": (
        lambda fleet: _policy(fleet, needs_number=True), BIND, "extension",
        lambda fleet: fleet.bind(Mac(MAC), 1, extension="1001"),
    ),
    "no address": (
        lambda fleet: _policy(fleet, emergency=EmergencyRule.BLOCK), BIND, "extension",
        lambda fleet: fleet.bind(Mac(MAC), 1, extension="1001"),
    ),
    "a site without an address": (
        lambda fleet: _at_home(fleet), {"mac": MAC, "site": "Nowhere"}, "site",
        lambda fleet: fleet.move_device(Mac(MAC), account="Acme", site="Nowhere"),
    ),
    "too few lines": (
        lambda fleet: _many_lines(fleet), {"mac": MAC, "vendor": "poly", "model": "VVX 150"}, "model",
        lambda fleet: fleet.set_model(Mac(MAC), model="VVX 150"),
    ),
    "a setting it cannot do": (
        lambda fleet: _with_keys(fleet), {"mac": MAC, "vendor": "poly", "model": "VVX 150"}, "model",
        lambda fleet: fleet.set_model(Mac(MAC), model="VVX 150"),
    ),
    "another vendor": (_bound, {"mac": MAC, "vendor": "yealink", "model": "T46S"}, "vendor", _bound),
}  # fmt: skip


async def _add(fleet: Fleet, number: str) -> object:
    user = await fleet.add_user("Bob", account="Acme")
    return await fleet.add_extension(number, account="Acme", user=user.id)


async def _at_home(fleet: Fleet) -> None:
    await _policy(fleet, emergency=EmergencyRule.BLOCK)
    for name in ("Home", "Nowhere"):
        await fleet.add_site(name, account="Acme")
    await fleet.change_site("Home", address=Address("1 Example Road", "Bristol", country="GB"))
    await fleet.move_device(Mac(MAC), account="Acme", site="Home")
    await fleet.bind(Mac(MAC), 1, extension="1001")


async def _bind_another(fleet: Fleet) -> object:
    await fleet.add_extension("1002", account="Acme", user="Ada")
    return await fleet.bind(Mac(MAC), 1, extension="1002")


async def _many_lines(fleet: Fleet) -> None:
    await _with_extension(fleet)
    await fleet.add_device(Mac(MAC), vendor="poly", model="VVX 411", account="Acme")
    await fleet.bind(Mac(MAC), 5, extension="1001")


async def _with_keys(fleet: Fleet) -> None:
    await fleet.add_device(Mac(MAC), vendor="poly", model="VVX 411", account="Acme")
    await fleet.set_layer(Scope.DEVICE, MAC, {"line.4.sip.server": "pbx.example.net"})


@pytest.mark.asyncio
@ON_SQLITE
@pytest.mark.parametrize("case", REFUSALS)
async def test_a_row_is_refused_where_the_use_case_refuses(desk, fleet, case):
    prepare, cells, column, use_case = REFUSALS[case]
    await prepare(fleet)
    found = await one_of(desk, **cells)
    assert (found.outcome, found.column, found.does) == (Outcome.REFUSED, column, ())
    with pytest.raises(ProvisionerError):
        await use_case(fleet)


@pytest.mark.asyncio
@ON_SQLITE
async def test_nobody_is_told_whose_a_device_is(desk, fleet):
    await _elsewhere(fleet)
    found = await one_of(desk, **ADD)
    assert found.why == "00:04:f2:00:00:01 belongs to another account"


@pytest.mark.asyncio
async def test_own_holds_are_used_up(desk, fleet):
    await _held(fleet, "ann")
    assert (await one_of(desk, user="Ada", extension="1001")).outcome is Outcome.ADD
    assert await fleet.extension_holds("Acme") == []


@pytest.mark.asyncio
async def test_what_a_policy_asks_for_may_be_there(desk, fleet):
    await _policy(fleet, needs_license=True, needs_number=True)
    await fleet.add_licenses(LicenseKind.USER, account="Acme", count=1)
    await fleet.assign_license("Ada")
    await fleet.add_numbers(["+442071234567"], account="Acme")
    await fleet.assign_number("+442071234567", extension="1001")
    assert (await one_of(desk, **BIND)).outcome is Outcome.ADD
    await fleet.set_policy("Acme", phones=2)
    assert (await one_of(desk, **{**BIND, **ADD, "mac": "0004f2000002"})).outcome is Outcome.ADD
    slots = [one.slot for mac in (MAC, "0004f2000002") for one in await fleet.bindings(Mac(mac))]
    assert slots == [1, 2]


@pytest.mark.asyncio
async def test_an_address_lets_a_line_be_imported_and_a_lack_of_one_is_told(desk, fleet):
    await _at_home(fleet)
    assert (await one_of(desk, user="Ada", extension="1005", mac=MAC, line="2")).outcome is Outcome.ADD
    assert await fleet.events(kind="emergency_missing") == []
    moved = await one_of(desk, mac=MAC, site="Nowhere")
    assert moved.outcome is Outcome.REFUSED and "1001" in moved.why
    [ada] = [one for one in await fleet.users("Acme") if one.name == "Ada"]
    await fleet.change_user(ada.id, address=Address("2 Example Road", "Bristol", country="GB"))
    assert (await one_of(desk, mac=MAC, site="Nowhere")).outcome is Outcome.CHANGE
    await fleet.set_policy("Acme", emergency=EmergencyRule.WARN)
    await one_of(desk, **{**ADD, "mac": "0004f2000009", "user": "Eve", "extension": "1009", "site": "Nowhere"})
    [told] = await fleet.events(kind="emergency_missing")
    assert (told.mac, told.details["number"], told.details["line"]) == ("0004f2000009", "1009", "1")


@pytest.mark.asyncio
async def test_a_dry_run_tells_of_each_line_that_help_would_not_find(desk, fleet):
    await _at_home(fleet)
    await fleet.set_policy("Acme", emergency=EmergencyRule.WARN)
    rows = [
        {"mac": MAC, "site": "Nowhere"},
        {**ADD, "mac": "0004f2000009", "user": "Eve", "extension": "1009", "site": "Nowhere"},
        {**ADD, "mac": "0004f200000a", "user": "Fay", "extension": "1010", "site": ""},
        {**ADD, "mac": "0004f200000b", "user": "Gus", "extension": "1011", "site": "Home"},
    ]
    planned = (await desk.plan_import(sheet(*(row(**one) for one in rows)), account="Acme")).rows
    lost = "nobody could be sent there in an emergency: neither the site of {} nor the user of {} has an address"
    assert [one.warnings for one in planned] == [
        ("nobody could be sent to 00:04:f2:00:00:01 there in an emergency, and it has 1001: "
         "give site 'Nowhere' an address first",),
        (lost.format("00:04:f2:00:00:09", "1009"),),
        (lost.format("00:04:f2:00:00:0a", "1010"),),
        (),
    ]  # fmt: skip
    assert await fleet.events(kind="emergency_missing") == []
    done = (await taken(desk, *(row(**one) for one in rows))).rows
    assert [one.warnings for one in done] == [one.warnings for one in planned]
    told = await fleet.events(kind="emergency_missing", limit=9)
    assert sorted(one.details["number"] for one in told) == ["1001", "1009", "1010"]
