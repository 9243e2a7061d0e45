"""A source acts as whoever answers for it could by now, and not at all once nobody does; that is told once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from posting_system import MAC, RULES, World
from sqlalchemy import text

from provisioner.errors import NobodyAnswers
from provisioner.hooks.post import HookPost
from provisioner.hooks.senders import HookSenders
from provisioner.hooks.wire import Wire
from provisioner.keys_desk import ApiKeys
from provisioner.model import Mac
from provisioner.principals import Principals
from provisioner.rights import OPERATOR, Principal
from provisioner.roles import Right, Role
from provisioner.roster import Roster
from provisioner.settings import Settings
from provisioner.store.database import Store
from provisioner.store.hook_inbox import InboxState, Source

pytestmark = pytest.mark.asyncio
ON_SQLITE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
ANN, BOSS = "ann@example.net", "boss@example.net"
GONE = f"{ANN}, by whose right it posts, was removed"
LESS = f"{ANN} may let no system post there any more"


class House(World):
    """Ann owns Acme and has added the source of its PBX; the boss owns everything."""

    @property
    def people(self) -> Principals:
        return Principals(self.store, self.settings, clock=self.clock)

    @property
    def roster(self) -> Roster:
        return Roster(self.store, {}, self.settings, actor="root", clock=self.clock)

    async def who(self, email: str) -> Principal:
        return (await self.people.principal(email)).doing(Right.HOOK_WRITE)

    async def source(self) -> Source:
        return await self.sources().source("pbx")

    async def events(self, kind: str) -> list[tuple[str, str]]:
        found = await self.fleet.events(kind=kind)
        return [(one.severity, one.details.get("reason", "")) for one in found]

    async def look(self) -> int:
        post = HookPost(self.store, self.settings, Wire(self.settings), self.clock)
        senders = HookSenders(self.store, self.settings, post, lambda _metric, _label: None, clock=self.clock)
        return await senders.look_for_orphans()


@pytest_asyncio.fixture
async def house(store: Store, drivers: Any, tmp_path: Path) -> House:
    found = House(store, Settings(data=tmp_path), drivers)
    fleet = found.fleet
    found.account = (await fleet.add_account("Acme")).id
    await fleet.add_user("Ada", account="Acme")
    await fleet.add_extension("1001", account="Acme", user="Ada")
    await fleet.add_device(MAC, vendor="poly", model="VVX 411", account="Acme")
    await found.roster.add_administrator(BOSS, role=Role.OWNER)
    await found.roster.add_administrator(ANN, role=Role.OWNER, account="Acme")
    desk = found.sources(principal=await found.who(ANN), actor="")
    found.made = await desk.add_source("pbx", account="Acme", rules=RULES)
    return found


async def assign(house: House) -> tuple[InboxState, str]:
    return await house.state("assign", mac=MAC, line=1, extension="1001")


async def test_it_acts_by_the_right_of_who_added_it(house: House) -> None:
    made = await house.source()
    ann = await house.who(ANN)
    assert (made.author, made.administrator, made.api_key, made.orphaned) == (ANN, ann.ident, "", "")
    assert (await assign(house))[0] is InboxState.APPLIED
    [bound] = await house.fleet.events(kind="line_bound")
    assert bound.actor == "hook/pbx"


@pytest.mark.parametrize("how", ["removed", "less"])
async def test_it_is_listened_to_no_more_once_its_author_is_gone_or_has_lost_the_right(house: House, how: str) -> None:
    if how == "removed":
        await house.roster.remove_administrator(ANN)
    else:
        await house.roster.give_role(ANN, Role.DEVICE_ADMIN, account="Acme")
        await house.roster.take_role(ANN, Role.OWNER, account="Acme")
    why = GONE if how == "removed" else LESS
    for _ in range(3):
        with pytest.raises(NobodyAnswers) as refused:
            await assign(house)
        assert refused.value.cause == f"the source pbx is not listened to: {why}"
    assert await house.lines() == {} and await house.inbox().posted() == [], "nothing of it is kept"
    assert await house.events("hook_source_orphaned") == [("alarm", why)], "told once"
    assert (await house.source()).orphaned == why


async def test_that_is_seen_without_a_post_and_ends_with_the_right(house: House) -> None:
    assert await house.look() == 0
    await house.roster.give_role(ANN, Role.AUDITOR, account="Acme")
    await house.roster.take_role(ANN, Role.OWNER, account="Acme")
    assert (await house.look(), await house.look()) == (1, 0)
    assert await house.events("hook_source_orphaned") == [("alarm", LESS)]
    await house.roster.give_role(ANN, Role.OWNER, account="Acme")
    assert (await assign(house))[0] is InboxState.APPLIED
    assert (await house.source()).orphaned == "" and len(await house.events("hook_source_answered_for")) == 1
    assert await house.look() == 0


@ON_SQLITE
@pytest.mark.parametrize("how", ["rules", "enabled", "secret"])
async def test_who_gives_it_rules_or_a_secret_or_lets_it_post_answers_for_it(house: House, how: str) -> None:
    await house.roster.remove_administrator(ANN)
    assert await house.look() == 1
    desk = house.sources(principal=await house.who(BOSS), actor="")
    await desk.change_source("pbx", enabled=False)
    assert (await house.source()).author == ANN, "whoever stops it answers for nothing"
    await house.sources().change_source("pbx", enabled=True)
    await desk.change_source("pbx", enabled=False)
    if how == "rules":
        await desk.change_source("pbx", rules=RULES, enabled=True)
    elif how == "secret":
        house.made = await desk.rotate_source("pbx")
        assert (await house.source()).author == BOSS
    await desk.change_source("pbx", enabled=True)
    assert ((await house.source()).author, (await house.source()).orphaned) == (BOSS, "")
    assert (await assign(house))[0] is InboxState.APPLIED
    await house.roster.add_administrator("new@example.net", role=Role.OWNER)
    await house.roster.remove_administrator(BOSS)
    with pytest.raises(NobodyAnswers):
        await assign(house)


@ON_SQLITE
async def test_a_message_that_was_kept_is_parked_when_its_source_has_lost_its_author(house: House) -> None:
    parked = (await house.post("assign", mac=MAC, line=99, extension="1001")).message
    assert parked.state is InboxState.PARKED
    await house.roster.remove_administrator(ANN)
    again = await house.inbox().replay_posted(parked.id)
    assert (again.state, again.why) == (InboxState.PARKED, GONE)


@ON_SQLITE
async def test_what_its_author_may_do_no_more_it_may_not_either(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner has every right today; were it not so, a source could still do no more than they."""
    from provisioner import roles

    row = {right: how for right, how in roles.MATRIX[Role.OWNER].items() if right is not Right.DEVICE_BIND}
    monkeypatch.setattr("provisioner.rights.MATRIX", {**roles.MATRIX, Role.OWNER: row})
    state, why = await assign(house)
    assert state is InboxState.PARKED and "has no right device.bind there any more" in why
    fresh = Mac("0004f2aabb77")
    assert (await house.state("shipped", mac=fresh, model="VVX 411"))[0] is InboxState.APPLIED
    assert await house.lines() == {}


@ON_SQLITE
async def test_the_machines_own_source_needs_nobody(house: House) -> None:
    await house.sources(principal=OPERATOR).change_source("pbx", rules=RULES)
    one = await house.source()
    assert (one.author, one.administrator) == ("ann", "")
    await house.roster.remove_administrator(ANN)
    assert (await assign(house))[0] is InboxState.APPLIED and await house.look() == 0


@ON_SQLITE
async def test_a_key_that_lets_it_post_does_not_answer_for_it(house: House) -> None:
    keys = ApiKeys(house.store, {}, house.settings, clock=house.clock, principal=await house.people.principal(BOSS))
    made = await keys.make_key("script", scopes=[Right.HOOK_WRITE, Right.HOOK_READ], days=1)
    key = (await house.people.by_token(made.key)).doing(Right.HOOK_WRITE)
    await house.sources(principal=key, actor="").change_source("pbx", enabled=True)
    assert (await house.source()).author == ANN


async def test_an_installation_from_before_learns_who_added_its_sources_from_its_audit_log(
    house: House,
) -> None:
    from importlib import import_module

    step = import_module("provisioner.store.migrations.versions.v0024_answering")
    async with house.store.writing() as connection:
        await connection.execute(text("UPDATE hook_source SET author = '', administrator = ''"))
        await connection.run_sync(step.learn)
    assert ((await house.source()).author, (await house.source()).administrator) == (ANN, (await house.who(ANN)).ident)
