"""Imports on both databases: what a row makes and changes, by the words of the dry run before it."""

from __future__ import annotations

import pytest
import pytest_asyncio
from import_office import KNOWN, MAC, ON_SQLITE, counted, full, make_fleet, one_of, outcomes, row, sheet, taken

from provisioner.fleet.fleet import Fleet
from provisioner.imports.imports import Imports
from provisioner.imports.steps import Outcome
from provisioner.model import Mac
from provisioner.store.database import Store


@pytest_asyncio.fixture
async def fleet(store: Store) -> Fleet:
    return await make_fleet(store)


@pytest.fixture
def desk(store: Store, fleet: Fleet) -> Imports:
    return Imports(store, KNOWN, actor="ann")


@pytest.mark.asyncio
async def test_a_row_makes_all_that_it_names(desk, fleet):
    found = await taken(
        desk, full(1, label="Ada"), full(1, extension="1101", line="2", secret="", user="Bob", email="")
    )
    assert outcomes(found) == [Outcome.ADD, Outcome.ADD]
    assert found.rows[0].does == (
        "site 'Berlin'",
        "user 'User 1'",
        "extension 1001",
        "device 00:04:f2:00:00:01 (VVX 411)",
        "1001 on line 1 of 00:04:f2:00:00:01",
    )
    device = await fleet.device(Mac(MAC))
    [site] = await fleet.sites("Acme")
    assert (device.site, device.model, site.name) == (site.id, "VVX 411", "Berlin")
    assert [(one.line, one.number, one.label, one.actor, one.cause) for one in await fleet.bindings(Mac(MAC))] == [
        (1, "1001", "Ada", "ann", "import"),
        (2, "1101", "", "ann", "import"),
    ]
    assert await fleet.reveal_secret("1001") == "s3cret-0001"
    assert len(await fleet.reveal_secret("1101")) == 20
    kinds = [one.kind for one in await fleet.events()]
    assert {"site_added", "user_added", "extension_added", "device_added", "line_bound"} <= set(kinds)


@pytest.mark.asyncio
@ON_SQLITE
async def test_secrets_stand_nowhere(desk, fleet):
    found = await taken(desk, full(1), full(2, secret="tiny"))
    assert "s3cret" not in repr(found) + repr(sheet(full(1))) + str(await fleet.events())
    assert "tiny" not in repr(found)


@pytest.mark.asyncio
async def test_run_again_everything_is_already_so(desk, fleet):
    rows = [full(number) for number in range(120)]
    assert set(outcomes(await taken(desk, *rows))) == {Outcome.ADD}
    before = await counted(desk)
    assert set(outcomes(await taken(desk, *rows))) == {Outcome.SAME}
    assert await counted(desk) == before
    assert [before[place] for place in range(5)] == [1, 120, 120, 120, 120]


@pytest.mark.asyncio
async def test_what_differs_is_changed(desk, fleet):
    await taken(desk, full(1, email=""))
    found = await taken(desk, full(1, site="Munich", model="VVX 450", secret="another-9", label="New"))
    assert outcomes(found) == [Outcome.ADD]
    assert found.rows[0].does == (
        "site 'Munich'",
        "mail address of user 'User 1'",
        "secret of extension 1001",
        "model of device 00:04:f2:00:00:01: VVX 411 becomes VVX 450",
        "device 00:04:f2:00:00:01 to site 'Munich'",
        "label of line 1 of 00:04:f2:00:00:01",
    )
    assert outcomes(await taken(desk, full(1, site="Munich", model="VVX 450", secret="another-9", label="Newer"))) == [
        Outcome.CHANGE
    ]
    device, [binding] = await fleet.device(Mac(MAC)), await fleet.bindings(Mac(MAC), active=True)
    places = {one.id: one.name for one in await fleet.sites("Acme")}
    assert (device.model, places[device.site], binding.label) == ("VVX 450", "Munich", "Newer")
    assert await fleet.reveal_secret("1001") == "another-9"
    [user] = await fleet.users("Acme")
    assert user.email == "u1@example.net"


@pytest.mark.asyncio
@ON_SQLITE
async def test_what_no_use_case_changes_stays_with_a_word(desk, fleet):
    await taken(desk, full(1, display_name="Ada"))
    found = await taken(desk, full(1, display_name="Grace", auth_user="x7"))
    assert outcomes(found) == [Outcome.SAME]
    assert found.rows[0].warnings == (
        "the display name of extension 1001 stays 'Ada'",
        "the auth user of extension 1001 stays '1001'",
    )


@pytest.mark.asyncio
async def test_people_of_one_name_are_told_apart_by_their_address(desk, fleet):
    await taken(
        desk,
        row(user="Jo Smith", email="jo@example.net", extension="1001"),
        row(user="Jo Smith", email="jo2@example.net", extension="1002"),
    )
    assert len(await fleet.users("Acme")) == 2
    assert (await one_of(desk, user="Jo Smith", extension="1003")).why.startswith("2 users are called")
    assert (await one_of(desk, email="jo2@example.net", extension="1002")).outcome is Outcome.SAME
    wrong = await one_of(desk, user="Jo", email="jo@example.net")
    assert (wrong.column, "has the address" in wrong.why) == ("email", True)


@pytest.mark.asyncio
@ON_SQLITE
async def test_rows_that_contradict_each_other_are_not_both_done(desk, fleet):
    found = await taken(
        desk, full(1), full(1, model="VVX 450"), full(2), full(2, site="Munich"), full(3), full(3, secret="another-9"),
        full(4, label="A"), full(4, label="B"), full(5),
        full(6, extension="1005", secret=""),
    )  # fmt: skip
    assert [one.column for one in found.rows if one.outcome is Outcome.REFUSED] == [
        "model", "site", "secret", "label", "extension",
    ]  # fmt: skip
    assert "line 2 says 'VVX 411' for 00:04:f2:00:00:01" in found.rows[1].why
    assert "another-9" not in found.rows[5].why
    assert "s3cret" not in found.rows[5].why


@pytest.mark.asyncio
@ON_SQLITE
async def test_a_mac_of_another_maker_is_a_warning(desk, fleet):
    found = await one_of(desk, mac="001565000001", vendor="poly", model="VVX 411")
    assert (found.outcome, found.warnings) == (
        Outcome.ADD,
        ("00:15:65:00:00:01 begins like a device of Yealink, not of Poly (Polycom, OBi)",),
    )


@pytest.mark.asyncio
async def test_accounts_are_found_by_name_or_id_and_never_made(desk, fleet):
    other = next(one for one in await fleet.accounts() if one.name == "Other")
    found = await taken(
        desk, row(account=other.id, user="A"), row(account="Nobody", user="B"), row(account="Other", user="A")
    )
    assert outcomes(found) == [Outcome.ADD, Outcome.REFUSED, Outcome.SAME]
    assert len(await fleet.accounts()) == 2
    lost = await desk.plan_import(sheet(row(user="A")))
    assert (lost.rows[0].column, "for all of it" in lost.rows[0].why) == ("account", True)
