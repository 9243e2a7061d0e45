"""Partners act on the accounts below theirs: a tree, and both names in the audit log."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.administrators import Administrators
from provisioner.errors import Conflict, Forbidden, NotFound, ProvisionerError
from provisioner.fleet.fleet import Fleet
from provisioner.principals import Principals
from provisioner.rights import Principal
from provisioner.roles import Right, Role
from provisioner.roster import Roster
from provisioner.settings import Settings
from provisioner.store.database import Store

PAT = "pat@partner.example.net"


class Trade:
    """A partner with one account below theirs, and a stranger."""

    def __init__(self, store: Store, settings: Settings, fleet: Fleet) -> None:
        self.store, self.fleet = store, fleet
        self.people: Principals = Administrators(store, settings)
        self.roster = Roster(store, {}, settings)

    async def open(self) -> None:
        for name in ("Partner", "Stranger"):
            await self.fleet.add_account(name)
        await self.fleet.add_child("Child", parent="Partner")
        await self.roster.add_administrator("root@example.net", role=Role.OWNER)
        await self.roster.add_administrator(PAT, role=Role.PARTNER, account="Partner")

    async def pat(self, right: Right) -> Fleet:
        principal: Principal = (await self.people.principal(PAT)).doing(right)
        return Fleet(self.store, self.fleet._drivers, principal=principal)


@pytest.fixture
def trade(store: Store, fleet: Fleet, tmp_path: Path) -> Trade:
    return Trade(store, Settings(data=tmp_path), fleet)


@pytest.mark.asyncio
async def test_a_partner_reaches_children_and_neither_their_own_account_nor_others(trade: Trade) -> None:
    await trade.open()
    await (await trade.pat(Right.SITE_WRITE)).add_site("Hall", account="Child")
    for account in ("Partner", "Stranger"):
        with pytest.raises(ProvisionerError):
            await (await trade.pat(Right.SITE_WRITE)).add_site("Hall", account=account)
    assert [one.name for one in await (await trade.pat(Right.PEOPLE_READ)).sites()] == ["Hall"]
    with pytest.raises(Forbidden):
        await trade.pat(Right.SECRET_REVEAL)


@pytest.mark.asyncio
async def test_both_names_are_in_the_audit_log(trade: Trade) -> None:
    await trade.open()
    await (await trade.pat(Right.SITE_WRITE)).add_site("Hall", account="Child")
    ids = {one.name: one.id for one in await trade.fleet.accounts()}
    told = (await trade.fleet.events(kind="site_added"))[-1]
    assert (told.actor, told.details["account"], told.details["partner"]) == (PAT, ids["Child"], ids["Partner"])
    await trade.fleet.add_site("Annex", account="Child")
    assert "partner" not in (await trade.fleet.events(kind="site_added"))[-1].details


@pytest.mark.asyncio
async def test_a_childs_child_is_reached_and_a_child_that_left_is_not(trade: Trade) -> None:
    await trade.open()
    await trade.fleet.add_child("Deep", parent="Child")
    names = {one.name for one in await (await trade.pat(Right.ACCOUNT_READ)).accounts()}
    assert names == {"Partner", "Child", "Deep"}
    assert {one.name for one in await trade.fleet.children("Partner")} == {"Child", "Deep"}
    await trade.fleet.set_parent("Child")
    names = {one.name for one in await (await trade.pat(Right.ACCOUNT_READ)).accounts()}
    assert names == {"Partner"}


@pytest.mark.asyncio
async def test_a_partner_adds_children_of_their_own_and_of_nobody_else(trade: Trade) -> None:
    await trade.open()
    made = await (await trade.pat(Right.ACCOUNT_WRITE)).add_child("Next", parent="Partner")
    await (await trade.pat(Right.SITE_WRITE)).add_site("Hall", account=made.id)
    for wrong in (
        (await trade.pat(Right.ACCOUNT_WRITE)).add_child("More", parent="Stranger"),
        (await trade.pat(Right.ACCOUNT_WRITE)).add_account("More"),
        (await trade.pat(Right.ACCOUNT_WRITE)).set_parent("Child"),
        (await trade.pat(Right.ACCOUNT_WRITE)).rename_account("Partner", name="More"),
    ):
        with pytest.raises((Forbidden, NotFound, Conflict)):
            await wrong
    assert {one.name for one in await trade.fleet.accounts()} == {"Partner", "Stranger", "Child", "Next"}


@pytest.mark.asyncio
async def test_nobody_is_below_their_own_child(trade: Trade) -> None:
    await trade.open()
    await trade.fleet.add_child("Deep", parent="Child")
    for parent in ("Partner", "Child", "Deep"):
        with pytest.raises(Conflict, match="below an account that is below it"):
            await trade.fleet.set_parent("Partner", parent=parent)
    with pytest.raises(Conflict, match="still has 1 child account"):
        await trade.fleet.remove_account("Partner")
    assert (await trade.fleet.set_parent("Deep", parent="Stranger")).parent
