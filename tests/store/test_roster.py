"""Who may sign in and as what: the last owner stays, and nobody gives what is not theirs to give."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.administrators import Administrators
from provisioner.errors import Conflict, Forbidden, Invalid, NotFound, NotSignedIn, ProvisionerError
from provisioner.fleet.fleet import Fleet
from provisioner.keys_desk import ApiKeys
from provisioner.rights import Principal
from provisioner.roles import Right, Role
from provisioner.roster import Roster
from provisioner.settings import Settings
from provisioner.store.database import Store

CHEAP = {"login_hash_memory": 8, "login_hash_passes": 1, "login_hash_lanes": 1}


class Office:
    """Two accounts, and whoever works there."""

    def __init__(self, store: Store, settings: Settings, fleet: Fleet) -> None:
        self.store, self.settings, self.fleet = store, settings, fleet
        self.now = 1_800_000_000.0
        self.people = Administrators(store, settings, clock=lambda: self.now)
        self.root = self.roster()

    def roster(self, principal: Principal | None = None) -> Roster:
        known = {} if principal is None else {"principal": principal}
        return Roster(self.store, {}, self.settings, clock=lambda: self.now, **known)

    def keys(self, principal: Principal | None = None) -> ApiKeys:
        known = {} if principal is None else {"principal": principal}
        return ApiKeys(self.store, {}, self.settings, clock=lambda: self.now, **known)

    async def open(self) -> None:
        for name in ("Acme", "Brum"):
            await self.fleet.add_account(name)
            await self.fleet.add_site("Hall", account=name)
            await self.fleet.add_user("Joe", account=name)
        await self.root.add_administrator("root@example.net", role=Role.OWNER)
        await self.root.add_administrator("ann@example.net", role=Role.OWNER, account="Acme")
        await self.root.add_administrator("bob@example.net", role=Role.OWNER, account="Brum")

    async def doing(self, email: str, right: Right = Right.ROLE_WRITE) -> Principal:
        return (await self.people.principal(email)).doing(right)


@pytest.fixture
def office(store: Store, fleet: Fleet, tmp_path: Path) -> Office:
    return Office(store, Settings(data=tmp_path, **CHEAP), fleet)


@pytest.mark.asyncio
async def test_the_last_owner_stays(office: Office) -> None:
    await office.open()
    for refused in (
        office.root.remove_administrator("root@example.net"),
        office.root.take_role("root@example.net", Role.OWNER),
    ):
        with pytest.raises(Conflict, match="last owner"):
            await refused
    assert (await office.people.principal("root@example.net")).reach.everything
    await office.root.give_role("ann@example.net", Role.OWNER)
    await office.root.take_role("root@example.net", Role.OWNER)
    await office.root.remove_administrator("root@example.net")
    with pytest.raises(Conflict, match="last owner"):
        await office.root.remove_administrator("ann@example.net")


@pytest.mark.asyncio
async def test_roles_are_by_account_and_count_at_once(office: Office) -> None:
    await office.open()
    await office.root.give_role("ann@example.net", Role.SITE_ADMIN, account="Brum", site="Hall")
    brum = (await office.fleet.accounts())[1].id
    ann = await office.people.principal("ann@example.net")
    assert ann.doing(Right.DEVICE_BIND).reach.partly == {brum}
    assert not ann.may_in(Right.DEVICE_BIND, brum)
    with pytest.raises(Conflict):
        await office.root.give_role("ann@example.net", Role.SITE_ADMIN, account="Brum", site="Hall")
    await office.root.take_role("ann@example.net", Role.SITE_ADMIN, account="Brum", site="Hall")
    assert not (await office.people.principal("ann@example.net")).reach.names(brum)
    with pytest.raises(NotFound):
        await office.root.take_role("ann@example.net", Role.SITE_ADMIN, account="Brum", site="Hall")


@pytest.mark.parametrize(
    ("role", "given", "field"),
    [
        (Role.SITE_ADMIN, {"account": "Acme"}, "site"),
        (Role.EMPLOYEE, {"account": "Acme"}, "user"),
        (Role.PARTNER, {}, "account"),
        (Role.DEALER, {}, "account"),
        (Role.AUDITOR, {"site": "Hall"}, "site"),
    ],
)
@pytest.mark.asyncio
async def test_a_role_says_what_it_needs(office: Office, role: Role, given: dict[str, str], field: str) -> None:
    await office.open()
    with pytest.raises((Invalid, Conflict)) as told:
        await office.root.add_administrator("new@example.net", role=role, **given)
    assert getattr(told.value, "field", field) == field
    with pytest.raises(NotFound):
        await office.root.administrator("new@example.net")


@pytest.mark.asyncio
async def test_an_owner_of_an_account_gives_roles_there_and_nowhere_else(office: Office) -> None:
    await office.open()
    mine = office.roster(await office.doing("ann@example.net"))
    await mine.add_administrator("new@example.net", role=Role.TECHNICIAN, account="Acme")
    assert [one.administrator.email for one in await mine.administrators()] == ["ann@example.net", "new@example.net"]
    for role, account in ((Role.OWNER, ""), (Role.OWNER, "Brum"), (Role.AUDITOR, "Brum")):
        with pytest.raises((Forbidden, NotFound)):
            await mine.give_role("new@example.net", role, account=account)
    for refused in (
        mine.remove_administrator("bob@example.net"),
        mine.remove_administrator("root@example.net"),
        mine.invite("bob@example.net"),
        mine.take_off_totp("root@example.net"),
    ):
        with pytest.raises((Forbidden, NotFound)):
            await refused
    await office.root.give_role("new@example.net", Role.AUDITOR, account="Brum")
    with pytest.raises(Forbidden):
        await mine.invite("new@example.net")
    assert len((await mine.administrator("new@example.net")).roles) == 1
    with pytest.raises(Forbidden):
        await mine.set_password("new@example.net", "a good password", "hash")


@pytest.mark.parametrize("role", [one for one in Role if one is not Role.OWNER])
@pytest.mark.asyncio
async def test_nobody_but_an_owner_gives_roles(office: Office, role: Role) -> None:
    await office.open()
    place = {"account": "Acme", "site": "Hall", "user": "Joe"}
    await office.root.add_administrator("new@example.net", role=role, **place)
    with pytest.raises(Forbidden):
        await office.doing("new@example.net")
    desk = office.roster(await office.people.principal("new@example.net"))
    with pytest.raises(ProvisionerError):
        await desk.give_role("new@example.net", Role.OWNER, account="Acme")


@pytest.mark.asyncio
async def test_a_grant_runs_for_its_time(office: Office) -> None:
    await office.open()
    await office.root.add_administrator("tec@example.net", role=Role.TECHNICIAN, account="Acme")
    acme = (await office.fleet.accounts())[0].id
    assert not (await office.people.principal("tec@example.net")).may(Right.SECRET_REVEAL)
    await office.root.grant("tec@example.net", Right.SECRET_REVEAL, seconds=1800, account="Acme")
    assert (await office.doing("tec@example.net", Right.SECRET_REVEAL)).reach.accounts == {acme}
    office.now += 1800
    assert not (await office.people.principal("tec@example.net")).may(Right.SECRET_REVEAL)
    await office.root.grant("tec@example.net", Right.SECRET_REVEAL, seconds=1800)
    assert (await office.doing("tec@example.net", Right.SECRET_REVEAL)).reach.accounts == {acme}
    assert await office.root.end_grants("tec@example.net") == 1
    assert not (await office.people.principal("tec@example.net")).may(Right.SECRET_REVEAL)
    for wrong in (
        office.root.grant("tec@example.net", Right.POLICY_WRITE, seconds=1800),
        office.root.grant("tec@example.net", Right.SECRET_REVEAL, seconds=1e6),
        office.root.grant("tec@example.net", Right.SECRET_REVEAL, seconds=1800, account="Brum"),
        office.root.grant("bob@example.net", Right.SECRET_REVEAL, seconds=1800),
    ):
        with pytest.raises((Invalid, Conflict)):
            await wrong


@pytest.mark.asyncio
async def test_all_of_it_is_audited_and_no_link_is(office: Office) -> None:
    await office.open()
    link = (await office.root.invite("ann@example.net")).link
    told = await office.fleet.events(limit=100)
    kinds = [one.kind for one in told]
    assert kinds.count("administrator_added") == kinds.count("role_given") == 3
    assert "login_link_made" in kinds
    assert link.partition("token=")[2] not in repr(told)


# --- keys of the API -------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_key_does_what_it_says_until_it_is_over(office: Office) -> None:
    await office.open()
    acme = (await office.fleet.accounts())[0].id
    made = await office.keys().make_key("pbx", scopes=[Right.DEVICE_READ, Right.DEVICE_BIND], accounts=["Acme"], days=1)
    assert made.key not in repr(made) and made.key.startswith(made.about.prefix)
    who = await office.people.by_token(made.key)
    assert who.rights == {Right.DEVICE_READ, Right.DEVICE_BIND}
    assert who.reach.accounts == {acme}
    assert who.actor == f"key pbx ({made.about.prefix})"
    office.now += 86_400
    for text in (made.key, made.key[:-1], "", "prov_guess"):
        with pytest.raises(NotSignedIn):
            await office.people.by_token(text)
    endless = await office.keys().make_key("crm", scopes=[Right.DEVICE_READ])
    assert (await office.people.by_token(endless.key)).reach.accounts is None
    await office.keys().revoke_key("crm")
    with pytest.raises(NotSignedIn):
        await office.people.by_token(endless.key)
    with pytest.raises(Conflict):
        await office.keys().revoke_key("crm")


@pytest.mark.asyncio
async def test_a_key_never_does_more_than_its_maker_may_now(office: Office) -> None:
    await office.open()
    ann = office.keys(await office.doing("ann@example.net", Right.APIKEY_WRITE))
    made = await ann.make_key("mine", scopes=[Right.DEVICE_READ, Right.DEVICE_BIND])
    assert (await office.people.by_token(made.key)).may(Right.DEVICE_BIND)
    for scopes, accounts in (([Right.SERVER_WRITE], []), ([Right.DEVICE_READ], ["Brum"]), ([], [])):
        with pytest.raises((Forbidden, NotFound, Invalid)):
            await ann.make_key("more", scopes=scopes, accounts=accounts)
    await office.root.give_role("ann@example.net", Role.AUDITOR, account="Acme")
    await office.root.take_role("ann@example.net", Role.OWNER, account="Acme")
    assert (await office.people.by_token(made.key)).rights == {Right.DEVICE_READ}
    await office.root.remove_administrator("ann@example.net")
    with pytest.raises(NotSignedIn):
        await office.people.by_token(made.key)


@pytest.mark.asyncio
async def test_a_key_makes_no_keys(office: Office) -> None:
    """One for an account and a day would make one for all of them and a year."""
    await office.open()
    made = await office.keys().make_key(
        "robot", scopes=[Right.APIKEY_WRITE, Right.DEVICE_READ], accounts=["Acme"], days=1
    )
    robot = office.keys((await office.people.by_token(made.key)).doing(Right.APIKEY_WRITE))
    with pytest.raises(Forbidden, match="makes no keys"):
        await robot.make_key("next", scopes=[Right.DEVICE_READ])


@pytest.mark.asyncio
async def test_everybody_sees_their_own_keys(office: Office) -> None:
    await office.open()
    ann = office.keys(await office.doing("ann@example.net", Right.APIKEY_WRITE))
    bob = office.keys(await office.doing("bob@example.net", Right.APIKEY_WRITE))
    made = await ann.make_key("mine", scopes=[Right.DEVICE_READ])
    await office.keys().make_key("roots", scopes=[Right.DEVICE_READ])
    assert [one.name for one in await ann.keys()] == ["mine"]
    assert await bob.keys() == []
    assert {one.name for one in await office.keys().keys()} == {"mine", "roots"}
    for ref in (made.about.id, "mine", made.about.prefix):
        with pytest.raises(NotFound):
            await bob.revoke_key(ref)
    assert made.key not in repr(await office.fleet.events(limit=100))


@pytest.mark.asyncio
async def test_the_last_use_is_noted_in_batches(office: Office) -> None:
    await office.open()
    made = await office.keys().make_key("pbx", scopes=[Right.DEVICE_READ])
    for _ in range(5):
        await office.people.by_token(made.key)
    assert (await office.keys().keys())[0].used is None
    assert await office.people.flush() == 1
    assert (await office.keys().keys())[0].used == office.now
    assert await office.people.flush() == 0
