"""An endpoint outlives who added it: that is seen, told as an alarm, and ends it where a setting says so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import pytest_asyncio
from sqlalchemy import event

from provisioner.fleet.fleet import Fleet
from provisioner.hooks.hooks import Hooks
from provisioner.hooks.post import HookPost
from provisioner.hooks.senders import HookSenders
from provisioner.hooks.wire import Wire
from provisioner.keys_desk import ApiKeys
from provisioner.model import Event, Mac
from provisioner.principals import Principals
from provisioner.rights import OPERATOR, Principal
from provisioner.roles import Right, Role
from provisioner.roster import Roster
from provisioner.settings import Settings
from provisioner.store.database import Store
from provisioner.store.journal import write_events

pytestmark = pytest.mark.asyncio
ON_SQLITE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
ANN = "ann@example.net"
URL = "https://hooks.example.net/in"


class Yard:
    """Ann owns Acme, and others own everything; a clock, and the process that sends."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.now = 1_800_000_000.0
        self.store, self.settings = store, settings
        self.people = Principals(store, settings, clock=self.clock)
        self.roster = Roster(store, {}, settings, actor="root", clock=self.clock)
        self.senders = self.sending(settings)

    def clock(self) -> float:
        return self.now

    def sending(self, settings: Settings) -> HookSenders:
        post = HookPost(self.store, settings, Wire(settings), self.clock)
        return HookSenders(self.store, settings, post, lambda _metric, _label: None, clock=self.clock)

    def hooks(self, principal: Principal = OPERATOR) -> Hooks:
        return Hooks(self.store, {}, self.settings, clock=self.clock, principal=principal)

    async def ann(self) -> Principal:
        return (await self.people.principal(ANN)).doing(Right.HOOK_WRITE)

    async def key(self, days: float = 30.0) -> tuple[Principal, str]:
        ann = await self.people.principal(ANN)
        desk = ApiKeys(self.store, {}, self.settings, clock=self.clock, principal=ann)
        made = await desk.make_key("script", scopes=[Right.HOOK_WRITE, Right.HOOK_READ], days=days)
        return (await self.people.by_token(made.key)).doing(Right.HOOK_WRITE), made.about.id

    async def orphaned(self) -> str:
        """What stands with the only endpoint after a look."""
        await self.senders.look_for_orphans()
        [one] = await self.hooks().hooks()
        return one.about.orphaned

    async def alarms(self) -> list[str]:
        found = await Fleet(self.store, {}).events(kind="hook_orphaned")
        return [one.severity for one in found]


@pytest_asyncio.fixture
async def yard(store: Store, settings: Settings) -> Yard:
    found = Yard(store, settings)
    await Fleet(store, {}).add_account("Acme")
    await found.roster.add_administrator("boss@example.net", role=Role.OWNER)
    await found.roster.add_administrator(ANN, role=Role.OWNER, account="Acme")
    return found


async def test_the_endpoint_of_a_key_that_was_revoked_is_an_orphan(yard: Yard) -> None:
    principal, ident = await yard.key()
    await yard.hooks(principal).add_hook(URL, account="Acme")
    assert await yard.orphaned() == ""
    await ApiKeys(yard.store, {}, yard.settings, clock=yard.clock).revoke_key(ident)
    assert "key script" in (why := await yard.orphaned())
    assert why.endswith("is revoked")
    assert await yard.orphaned() == why
    assert await yard.alarms() == ["alarm"], "told once"
    [one] = await yard.hooks().hooks()
    assert one.about.enabled, "whoever hears of things through it goes on doing so"


async def test_the_endpoint_of_a_key_that_has_expired_is_an_orphan(yard: Yard) -> None:
    principal, _ = await yard.key(days=1.0)
    await yard.hooks(principal).add_hook(URL, account="Acme")
    yard.now += 86_399.0
    assert await yard.orphaned() == ""
    yard.now += 2.0
    assert (await yard.orphaned()).endswith("has expired")


async def test_it_is_an_orphan_without_its_authors_right_and_none_with_it(yard: Yard) -> None:
    await yard.hooks(await yard.ann()).add_hook(URL, account="Acme")
    await yard.roster.give_role(ANN, Role.AUDITOR, account="Acme")
    await yard.roster.take_role(ANN, Role.OWNER, account="Acme")
    assert await yard.orphaned() == f"{ANN} may not have endpoints called there any more"
    await yard.roster.give_role(ANN, Role.OWNER, account="Acme")
    assert await yard.orphaned() == ""
    await yard.roster.remove_administrator(ANN)
    assert (await yard.orphaned()).endswith("was removed")
    assert await yard.alarms() == ["alarm", "alarm"]


async def test_who_enables_it_answers_for_it(yard: Yard) -> None:
    principal, ident = await yard.key()
    made = await yard.hooks(principal).add_hook(URL, account="Acme")
    await ApiKeys(yard.store, {}, yard.settings, clock=yard.clock).revoke_key(ident)
    assert await yard.orphaned()
    taken = await yard.hooks(await yard.ann()).enable_hook(made.about.id)
    assert (taken.about.author, taken.about.api_key, taken.about.orphaned) == (ANN, "", "")
    assert await yard.orphaned() == ""
    assert len(await Fleet(yard.store, {}).events(kind="hook_answered_for")) == 1


async def test_a_key_that_changes_the_address_answers_for_it(yard: Yard) -> None:
    """Else an endpoint of somebody else's could be led to one's own, for ever."""
    made = await yard.hooks().add_hook(URL, account="Acme")
    principal, ident = await yard.key()
    await yard.hooks(principal).change_hook(made.about.id, name="other")
    assert (await yard.hooks().hook(made.about.id)).about.api_key == ""
    await yard.hooks(principal).change_hook(made.about.id, url="https://elsewhere.example.net/")
    assert (await yard.hooks().hook(made.about.id)).about.api_key == ident


@ON_SQLITE
async def test_a_setting_ends_orphans(yard: Yard) -> None:
    await yard.hooks(await yard.ann()).add_hook(URL, account="Acme")
    await yard.roster.remove_administrator(ANN)
    await yard.sending(replace(yard.settings, webhook_orphans=False)).look_for_orphans()
    [one] = await yard.hooks().hooks()
    assert not one.about.enabled
    assert one.about.disabled_why == one.about.orphaned != ""


@ON_SQLITE
async def test_the_machines_own_endpoint_is_nobodys_orphan(yard: Yard) -> None:
    await yard.hooks().add_hook(URL)
    assert await yard.orphaned() == ""


# --- without any endpoint --------------------------------------------------------------------------------------


@asynccontextmanager
async def counting(store: Store) -> AsyncIterator[list[str]]:
    said: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA", "SET", "show", "select pg_catalog")):
            said.append(statement)

    event.listen(store.engine.sync_engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(store.engine.sync_engine, "before_cursor_execute", note)


async def a_minute(yard: Yard) -> None:
    for _ in range(60):
        await yard.senders.turn()
        await yard.senders.tail()
        yard.now += 1.0


async def test_a_minute_without_endpoints_asks_six_times(yard: Yard) -> None:
    async with counting(yard.store) as said:
        await a_minute(yard)
    assert 1 <= len(said) <= 7, said


async def test_a_change_from_here_wakes_it_at_once(yard: Yard) -> None:
    await a_minute(yard)
    await yard.senders.turn()
    made = await yard.hooks().add_hook(URL, account="Acme", events=["device.*"])
    await Fleet(yard.store, {}).add_account("Brum")
    async with yard.store.writing() as connection:
        await write_events(connection, [Event("unknown_device", yard.now, "", details={"mac": Mac("0004f2aabb01")})])
    assert await yard.senders.tail() == 0, "it is of no account, and the endpoint of one"
    await yard.hooks().add_hook(URL, name="all", events=["device.*"])
    async with yard.store.writing() as connection:
        await write_events(connection, [Event("unknown_device", yard.now, "", details={"mac": Mac("0004f2aabb01")})])
    assert await yard.senders.tail() == 1
    await yard.hooks().disable_hook("all")
    await yard.hooks().remove_hook(made.about.id)
    async with counting(yard.store) as said:
        await a_minute(yard)
    assert len(said) <= 8, said
