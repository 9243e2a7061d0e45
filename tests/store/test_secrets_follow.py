"""An extension's SIP secret is a phone's for as long as it has the extension: rotated when another one gets it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import pytest_asyncio

from provisioner.errors import ExtensionHasPhone
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.rebind import Rebinding
from provisioner.licensing import Rotation
from provisioner.model import Mac
from provisioner.rights import Part, Principal, Reach, Right
from provisioner.store.database import Store
from provisioner.store.devices import write_device
from provisioner.store.resync import standings
from provisioner.store.views import Views

pytestmark = pytest.mark.asyncio
HALL, DESK, LAB = Mac("0004f2aabb01"), Mac("0004f2aabb02"), Mac("001565aabb03")
GIVEN = "dictated-by-the-pbx"


@dataclasses.dataclass
class Office:
    fleet: Fleet
    store: Store

    async def been_here(self, *macs: Mac) -> None:
        """They have fetched a configuration."""
        async with self.store.writing() as connection:
            for mac in macs:
                await write_device(connection, mac, {"served": 1, "served_at": 1.0})

    async def secret(self, number: str) -> str:
        return await self.fleet.reveal_secret(number, account="Acme")

    async def told(self, kind: str = "secret_rotated") -> list[dict[str, str]]:
        return [dict(one.details) for one in await self.fleet.events(kind=kind)]


@pytest_asyncio.fixture
async def office(fleet: Fleet, store: Store) -> Office:
    await fleet.add_account("Acme")
    await fleet.add_user("Ann", account="Acme")
    await fleet.add_extension("1001", account="Acme", user="Ann")
    await fleet.add_extension("1002", account="Acme", user="Ann", secret=GIVEN)
    for mac in (HALL, DESK):
        await fleet.add_device(mac, vendor="poly", model="VVX 411", account="Acme")
    await fleet.add_device(LAB, vendor="yealink", model="T46S", account="Acme")
    return Office(fleet, store)


async def test_the_first_phone_gets_the_secret_that_the_pbx_was_told(office: Office) -> None:
    before = await office.secret("1001")
    await office.fleet.bind(HALL, 1, extension="1001")
    assert await office.secret("1001") == before and await office.told() == []


async def test_another_phone_gets_another_secret_and_the_pbx_hears_of_it(office: Office, views: Views) -> None:
    before = await office.secret("1001")
    await office.fleet.bind(HALL, 1, extension="1001")
    await office.been_here(HALL)
    await office.fleet.bind(DESK, 1, extension="1001", replace=True)
    after = await office.secret("1001")
    assert after != before and len(after) == 20
    (told,) = await office.told()
    assert (told["number"], told["phone"], told["known_to"]) == ("1001", DESK, HALL)
    view = await views.boot_view(DESK)
    assert view is not None and view.lines[0].secret == after
    everything = repr(await office.fleet.events())
    assert before not in everything and after not in everything


async def test_an_unbound_phone_still_knows_it_whenever_the_next_one_comes(office: Office) -> None:
    before = await office.secret("1001")
    await office.fleet.bind(HALL, 1, extension="1001")
    await office.been_here(HALL)
    await office.fleet.unbind(HALL, 1)
    assert await office.secret("1001") == before, "nobody has it, and the PBX need not hear of anything yet"
    await office.fleet.bind(LAB, 2, extension="1001")
    assert await office.secret("1001") != before


async def test_the_same_phone_keeps_it_on_another_line_and_after_a_pause(office: Office) -> None:
    before = await office.secret("1001")
    await office.fleet.bind(HALL, 1, extension="1001")
    await office.been_here(HALL)
    await office.fleet.unbind(HALL, 1)
    await office.fleet.bind(HALL, 3, extension="1001")
    assert await office.secret("1001") == before
    await office.fleet.unbind(HALL, 3)
    await office.fleet.bind(DESK, 1, extension="1001")
    assert await office.secret("1001") != before, "the first one still knows it"


async def test_two_that_know_it_are_two_whichever_comes_back(office: Office) -> None:
    for mac in (HALL, DESK):
        await office.fleet.bind(mac, 1, extension="1001")
        await office.been_here(mac)
        await office.fleet.unbind(mac, 1)
    before = await office.secret("1001")
    await office.fleet.bind(DESK, 1, extension="1001")
    assert await office.secret("1001") == before, "it changed when the desk got it, so the hall does not know this one"
    await office.fleet.set_policy("Acme", rotation=Rotation.NEVER)
    for mac in (DESK, HALL):
        for one in await office.fleet.bindings(mac, active=True):
            await office.fleet.unbind(mac, one.line)
    await office.fleet.bind(HALL, 1, extension="1001")
    await office.fleet.unbind(HALL, 1)
    await office.fleet.set_policy("Acme", rotation=Rotation.MADE)
    await office.fleet.bind(DESK, 1, extension="1001")
    assert await office.secret("1001") != before, "several know it, so the desk is not alone with it"


async def test_a_phone_may_know_it_though_no_fetch_is_on_record(office: Office) -> None:
    """A second is enough to fetch and to be unbound in; what it has fetched is on record later, or never."""
    before = await office.secret("1001")
    await office.fleet.bind(HALL, 1, extension="1001")
    await office.fleet.unbind(HALL, 1)
    _, begun = await office.fleet.bound(DESK, 1, extension="1001")
    assert begun.rotated and await office.secret("1001") != before
    (told,) = await office.fleet.events(kind="secret_rotated")
    assert (told.severity, told.details["known_to"]) == ("warning", HALL)


@pytest.mark.parametrize(
    ("rotation", "number", "changes"),
    [
        (Rotation.MADE, "1001", True),
        (Rotation.MADE, "1002", False),
        (Rotation.ALL, "1002", True),
        (Rotation.NEVER, "1001", False),
    ],
)
async def test_the_policy_says_whose_secret_follows(
    office: Office, rotation: Rotation, number: str, changes: bool
) -> None:
    await office.fleet.set_policy("Acme", rotation=rotation)
    before = await office.secret(number)
    await office.fleet.bind(HALL, 1, extension=number)
    await office.been_here(HALL)
    await office.fleet.bind(DESK, 1, extension=number, replace=True)
    assert (await office.secret(number) != before) is changes
    assert len(await office.told()) == changes


async def test_a_secret_that_somebody_sets_is_theirs_until_it_is_made_here(office: Office) -> None:
    await office.fleet.set_secret("1001", secret=GIVEN)
    life = await office.fleet.secret_life("1001")
    assert (life.origin, life.at is not None) == ("given", True)
    await office.fleet.bind(HALL, 1, extension="1001")
    await office.been_here(HALL)
    await office.fleet.bind(DESK, 1, extension="1001", replace=True)
    assert await office.secret("1001") == GIVEN
    await office.fleet.set_secret("1001")
    made = await office.secret("1001")
    await office.been_here(DESK)
    await office.fleet.bind(LAB, 1, extension="1001", replace=True)
    assert await office.secret("1001") not in (made, GIVEN)


async def test_further_phones_of_the_extension_are_told_as_well(office: Office) -> None:
    await office.fleet.set_policy("Acme", phones=2)
    await office.fleet.bind(HALL, 1, extension="1001")
    await office.fleet.bind(DESK, 1, extension="1001")
    await office.been_here(HALL, DESK, LAB)
    before = await office.secret("1001")
    lines = Rebinding(office.store, office.fleet._drivers, actor="ann")
    done = await lines.rebind(LAB, 1, extension="1001", replace=True)
    assert done.exchanged and await office.secret("1001") != before
    assert {one.mac for one in done.freed} == {HALL}
    async with office.store.reading() as connection:
        assert {one.mac for one in await standings(connection, campaign=done.campaign)} == {HALL, DESK, LAB}


async def test_a_refused_bind_changes_no_secret(office: Office) -> None:
    await office.fleet.bind(HALL, 1, extension="1001")
    await office.been_here(HALL)
    before = await office.secret("1001")
    with pytest.raises(ExtensionHasPhone):
        await office.fleet.bind(DESK, 1, extension="1001")
    assert await office.secret("1001") == before and await office.told() == []


async def test_a_removed_phone_knew_it(office: Office) -> None:
    await office.fleet.bind(HALL, 1, extension="1001")
    await office.been_here(HALL)
    before = await office.secret("1001")
    await office.fleet.remove_device(HALL)
    await office.fleet.bind(DESK, 1, extension="1001")
    assert await office.secret("1001") != before


async def test_who_runs_one_site_has_the_secret_follow_without_a_right_to_change_it(
    office: Office, make_reach: Callable[[str], Principal]
) -> None:
    await office.fleet.bind(HALL, 1, extension="1001")
    await office.been_here(HALL)
    before = await office.secret("1001")
    place = await office.fleet.add_site("Berlin", account="Acme")
    for mac in (HALL, DESK):
        await office.fleet.move_device(mac, account="Acme", site="Berlin")
    local = Fleet(office.store, office.fleet._drivers, principal=make_reach(place.id))
    await local.bind(DESK, 1, extension="1001", replace=True)
    assert await office.secret("1001") != before


@pytest.fixture
def make_reach() -> Callable[[str], Principal]:
    def make(site: str) -> Principal:
        reach = Reach(sites=frozenset({site}))
        return Principal("site-admin", (Part(frozenset({Right.DEVICE_BIND}), reach),))

    return make
