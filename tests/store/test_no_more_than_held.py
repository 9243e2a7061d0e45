"""What was proven too long ago, or is a key's, gives nobody more than it is: no key, no login, no deeds of others."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path

import pytest

from provisioner.administrators import Administrators
from provisioner.errors import Forbidden, NotSignedIn
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.search import Search
from provisioner.hooks.sources import Sources
from provisioner.keys_desk import ApiKeys
from provisioner.passwords import Passwords
from provisioner.rights import OPERATOR, Principal
from provisioner.roles import HOUSE, REVEALS, Right, Role
from provisioner.roster import Roster
from provisioner.settings import Settings
from provisioner.sign_in import Came
from provisioner.store.database import Store
from provisioner.store.event_pages import EventFilter

ANN, BOSS, WORD = "ann@example.net", "boss@example.net", "correct horse battery"


class Office:
    """An owner of everything, one of an account, and a clock."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.now = 1_800_000_000.0
        self.store, self.settings = store, settings
        self.passwords = Passwords(settings)
        self.people = Administrators(store, settings, passwords=self.passwords, clock=lambda: self.now)

    def roster(self, principal: Principal = OPERATOR) -> Roster:
        return Roster(self.store, {}, self.settings, clock=lambda: self.now, principal=principal)

    def keys(self, principal: Principal = OPERATOR) -> ApiKeys:
        return ApiKeys(self.store, {}, self.settings, clock=lambda: self.now, principal=principal)

    async def open(self, fleet: Fleet) -> None:
        for name in ("Acme", "Brum"):
            await fleet.add_account(name)
        for email, account in ((BOSS, ""), (ANN, "Acme")):
            await self.roster().add_administrator(email, role=Role.OWNER, account=account)
            await self.roster().set_password(email, WORD, await self.passwords.hash(WORD))

    async def login(self, email: str) -> str:
        return (await self.people.login(email, WORD, came=Came("192.0.2.1"))).token

    async def key(self, *scopes: Right, by: Principal = OPERATOR) -> Principal:
        return await self.people.by_token((await self.keys(by).make_key("one", scopes=scopes)).key)


@pytest.fixture
def office(store: Store, tmp_path: Path) -> Office:
    cheap = {"login_hash_memory": 8, "login_hash_passes": 1, "login_hash_lanes": 1, "login_reveal": 300.0}
    return Office(store, Settings(data=tmp_path, **cheap))


async def refused(asked: Awaitable[object], why: str) -> None:
    with pytest.raises(Forbidden, match=why):
        await asked


@pytest.mark.asyncio
async def test_a_session_left_open_makes_no_key_that_reveals(office: Office, fleet: Fleet) -> None:
    await office.open(fleet)
    token = await office.login(ANN)
    office.now += office.settings.login_reveal + 1
    desk = office.keys((await office.people.by_session(token)).doing(Right.APIKEY_WRITE))
    for right in REVEALS - HOUSE:
        await refused(desk.make_key("one", scopes=[right, Right.DEVICE_READ]), "sign in again")
    assert (await desk.make_key("one", scopes=[Right.DEVICE_READ])).about.scopes == ("device.read",)


@pytest.mark.asyncio
async def test_nobody_gets_by_the_proof_of_their_own(office: Office, fleet: Fleet) -> None:
    """A link to a password, and taking the second factor off, are for somebody else's login."""
    await office.open(fleet)
    for email in (ANN, BOSS):
        desk = office.roster((await office.people.by_session(await office.login(email))).doing(Right.ROLE_WRITE))
        for one in (desk.invite(email), desk.take_off_totp(email)):
            await refused(one, "one's own password")
    assert (await desk.invite(ANN)).administrator.email == ANN


@pytest.mark.asyncio
async def test_a_key_lets_nobody_in_and_gives_no_rights(office: Office, fleet: Fleet) -> None:
    await office.open(fleet)
    by = (await office.people.by_session(await office.login(ANN))).doing(Right.APIKEY_WRITE)
    for maker in (OPERATOR, by):
        desk = office.roster((await office.key(Right.ROLE_WRITE, by=maker)).doing(Right.ROLE_WRITE))
        for one in (
            desk.add_administrator("me@example.net", role=Role.OWNER, account="Acme"),
            desk.give_role(ANN, Role.TECHNICIAN, account="Acme"),
            desk.grant(ANN, Right.SECRET_REVEAL, seconds=600, account="Acme"),
            desk.invite(ANN),
            desk.take_off_totp(ANN),
        ):
            await refused(one, "a key lets nobody in")
    await office.roster().give_role(ANN, Role.TECHNICIAN, account="Acme")
    await desk.take_role(ANN, Role.TECHNICIAN, account="Acme")


@pytest.mark.asyncio
async def test_a_key_makes_no_source_that_outlives_it(office: Office, fleet: Fleet) -> None:
    await office.open(fleet)
    rules = 'version = 1\n[[rule]]\naction = "ignore"\n'
    key = (await office.key(Right.HOOK_WRITE)).doing(Right.HOOK_WRITE)
    desk = Sources(office.store, {}, office.settings, clock=lambda: office.now, principal=key)
    for one in (
        desk.add_source("crm", account="Acme", rules=rules),
        desk.change_source("crm", rules=rules),
        desk.rotate_source("crm"),
    ):
        await refused(one, "a key lets no system post")


@pytest.mark.asyncio
async def test_a_key_without_audit_read_sees_nobodys_deeds(office: Office, fleet: Fleet) -> None:
    """Also one that reaches everything: what devices did it sees, and all that is shared it may change."""
    await office.open(fleet)
    by = (await office.people.by_session(await office.login(ANN))).doing(Right.APIKEY_WRITE)
    for maker in (OPERATOR, by):
        for scopes, seen in (([Right.EVENT_READ], False), ([Right.EVENT_READ, Right.AUDIT_READ], True)):
            principal = (await office.key(*scopes, by=maker)).doing(Right.EVENT_READ)
            search = Search(office.store, {}, clock=lambda: office.now, principal=principal)
            assert bool((await search.event_page(EventFilter(audit=True), limit=9)).items) is seen
    key = (await office.key(Right.ACCOUNT_WRITE)).doing(Right.ACCOUNT_WRITE)
    await Fleet(office.store, {}, principal=key).set_parent("Brum", parent="Acme")


@pytest.mark.asyncio
async def test_no_role_signs_anybody_out_but_the_last_that_is_taken(office: Office, fleet: Fleet) -> None:
    await office.open(fleet)
    ann, boss = await office.login(ANN), await office.login(BOSS)
    desk = office.roster((await office.people.by_session(ann)).doing(Right.ROLE_WRITE))
    await desk.give_role(BOSS, Role.AUDITOR, account="Acme")
    await desk.take_role(BOSS, Role.AUDITOR, account="Acme")
    assert (await office.people.by_session(boss)).reach.everything
    await office.roster().take_role(ANN, Role.OWNER, account="Acme")
    with pytest.raises(NotSignedIn):
        await office.people.by_session(ann)
