"""Switches in the store: sealed, sealed anew, within reach, one owner a power cycle, and a site's own permission."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import select, update

from provisioner.cycle_states import CycleState, CycleStep
from provisioner.errors import Conflict, Forbidden, Invalid, NotFound
from provisioner.fleet.fleet import Fleet
from provisioner.model import Mac
from provisioner.resync.errands import Errands
from provisioner.rights import Holding, Principal, Right, parts_of
from provisioner.roles import Role
from provisioner.settings import Settings
from provisioner.store import power_cycles as cycles
from provisioner.store import resync, schema
from provisioner.store.database import Store
from provisioner.store.power_cycles import Wish
from provisioner.store.rotation import Rotation
from provisioner.switches.credentials import Auth, Community, Privacy, User
from provisioner.switches.doors import StoreDoors
from provisioner.switches.switches import Switches

MAC = Mac("0004f2aabb01")
READ = User("ann", Auth.SHA256, "read-key-1", Privacy.AES, "read-key-2")
WRITE = Community("write-word-3")


@pytest_asyncio.fixture
async def desk(fleet: Fleet, store: Store, settings: Settings) -> Switches:
    """Two accounts; a switch and a phone at a site of the first."""
    for name in ("Acme", "Brum"):
        await fleet.add_account(name)
        await fleet.add_site(f"{name} HQ", account=name)
    await fleet.add_device(MAC, vendor="poly", model="VVX 411", account="Acme", site="Acme HQ")
    made = Switches(store, {}, settings, actor="ann")
    await made.add_switch("sw1", account="Acme", site="Acme HQ", address="203.0.113.1", read=READ, write=WRITE)
    return made


def limited(desk: Switches, role: Role, account: str, site: str = "") -> Switches:
    who = Principal("eve", parts_of(Holding(role, account, site), "eve"))
    return Switches(desk._store, {}, desk._settings, principal=who)


@pytest.mark.asyncio
async def test_what_opens_a_switch_is_sealed_and_told_nobody(desk: Switches, store: Store) -> None:
    async with store.reading() as connection:
        (row,) = (await connection.execute(select(schema.switch))).all()
    assert not [word for word in ("read-key-1", "read-key-2", "write-word-3", "ann") if word in repr(row)]
    (one,) = await desk.switches()
    assert (one.name, one.writable, one.rule, one.port) == ("sw1", True, "auto", 161)
    assert "key" not in repr(one)
    assert await StoreDoors(store, desk._settings).credentials(one) == (READ, WRITE)


@pytest.mark.asyncio
async def test_a_new_master_key_opens_it(desk: Switches, store: Store, tmp_path: Path) -> None:
    told = await Rotation(store, "ann", settle=0.0).run()
    assert told.finished
    assert told.unreadable == []
    (one,) = await desk.switches()
    assert await StoreDoors(store, desk._settings).credentials(one) == (READ, WRITE)


@pytest.mark.asyncio
async def test_what_is_changed_is_changed_and_the_rest_stays(desk: Switches, store: Store) -> None:
    await desk.change_switch("sw1", name="desk", address="switch.example.net", port=1161)
    await desk.change_switch("desk", write=User("eve", Auth.SHA, "write-key-4"))
    await desk.confirm_port("desk", 7, "1.7")
    one = await desk.switch("desk")
    assert (one.address, one.port, one.ports) == ("switch.example.net", 1161, '{"7": "1.7"}')
    read, write = await StoreDoors(store, desk._settings).credentials(one)
    assert (read, write) == (READ, User("eve", Auth.SHA, "write-key-4"))
    assert not (await desk.change_switch("desk", forget_write=True)).writable
    with pytest.raises(Conflict, match="confirmed for interface 7"):
        await desk.confirm_port("desk", 8, "1.7")
    assert (await desk.confirm_port("desk", 7, "")).ports == "{}"
    with pytest.raises(NotFound):
        await desk.confirm_port("desk", 7, "")
    await desk.remove_switch("desk")
    with pytest.raises(NotFound):
        await desk.switch("desk")


@pytest.mark.asyncio
async def test_what_cannot_be_a_switch_is_refused_by_its_field(desk: Switches) -> None:
    with pytest.raises(Conflict, match="a switch 'sw1' already"):
        await desk.add_switch("sw1", account="Acme", address="203.0.113.2", read=READ)
    for address in ("", "a b", "x" * 254, "[::1]", "http://x"):
        with pytest.raises(Invalid, match="address"):
            await desk.add_switch("sw2", account="Acme", address=address, read=READ)
    with pytest.raises(Invalid, match="port"):
        await desk.add_switch("sw2", account="Acme", address="203.0.113.2", read=READ, port=0)
    with pytest.raises(Invalid, match="is the community that reads"):
        await desk.add_switch("sw2", account="Acme", address="203.0.113.2", read=WRITE, write=WRITE)
    with pytest.raises(NotFound):
        await desk.add_switch("sw2", account="Acme", site="Brum HQ", address="203.0.113.2", read=READ)
    with pytest.raises(Invalid, match="seconds"):
        await desk.power_cycle(MAC, seconds=1.0)


@pytest.mark.asyncio
async def test_a_switch_of_another_account_or_site_does_not_exist(desk: Switches, store: Store, fleet: Fleet) -> None:
    accounts = {one.name: one.id for one in await fleet.accounts()}
    sites = {one.name: one.id for one in await fleet.sites()}
    annex = await fleet.add_site("Annex", account="Acme")
    theirs = limited(desk, Role.OWNER, accounts["Brum"])
    elsewhere = limited(desk, Role.SITE_ADMIN, accounts["Acme"], annex.id)
    await desk.power_cycle(MAC)
    for other in (theirs, elsewhere):
        assert await other.switches() == []
        assert await other.cycles() == []
        for call in (other.switch("sw1"), other.remove_switch("sw1"), other.find_port(MAC), other.cycle(1)):
            with pytest.raises(NotFound):
                await call
        with pytest.raises(NotFound):
            await other.power_cycle(MAC)
        with pytest.raises(NotFound):
            await other.allow_power("Acme HQ", allowed=True)
    with pytest.raises((NotFound, Forbidden)):
        await theirs.add_switch("mine", account="Acme", address="203.0.113.3", read=READ)
    here = limited(desk, Role.SITE_ADMIN, accounts["Acme"], sites["Acme HQ"])
    for address in ("203.0.113.77", "hq.example.net", "127.0.0.1"):
        with pytest.raises(Invalid, match=r"switch\.networks"):
            await here.add_switch("far", account="Acme", site="Acme HQ", address=address, read=READ)
        with pytest.raises(Invalid, match=r"switch\.networks"):
            await here.change_switch("sw1", address=address)
    with pytest.raises(Invalid, match=r"switch\.networks"):
        await here.change_switch("sw1", port=1161)
    here._settings = replace(here._settings, switch_networks=("203.0.113.0/24",))
    assert (await here.change_switch("sw1", address="203.0.113.77", port=1161)).address == "203.0.113.77"
    assert [one.name for one in await here.switches()] == ["sw1"]
    assert len(await here.cycles()) == 1
    await desk.add_switch("core", account="Acme", address="203.0.113.4", read=READ)
    assert [one.name for one in await elsewhere.switches()] == ["core"], "of the whole account: it may be asked"
    with pytest.raises((NotFound, Forbidden)):
        await elsewhere.remove_switch("core")


def test_technicians_see_and_are_granted_the_power() -> None:
    who = Principal("eve", parts_of(Holding(Role.TECHNICIAN, "a"), "eve"))
    assert who.may(Right.SWITCH_READ)
    assert not who.may(Right.SWITCH_WRITE)
    assert not who.may(Right.POWER_CYCLE)


@pytest.mark.asyncio
async def test_an_account_and_a_site_with_a_switch_are_not_empty(desk: Switches, fleet: Fleet) -> None:
    await fleet.remove_device(MAC)
    with pytest.raises(Conflict, match="still has a switch"):
        await fleet.remove_site("Acme HQ")
    await desk.change_switch("sw1", port=162)
    with pytest.raises(Conflict, match="1 switch"):
        await fleet.remove_account("Acme")
    await desk.remove_switch("sw1")
    await fleet.remove_site("Acme HQ")
    await fleet.remove_account("Acme")


# --- power cycles -------------------------------------------------------------------------------------------------


async def wished(store: Store, mac: Mac = MAC) -> int:
    async with store.writing() as connection:
        return await cycles.ask(connection, Wish(mac, "a", 60.0, "ann", 10.0))


@pytest.mark.asyncio
async def test_of_many_who_take_one_has_it(desk: Switches, store: Store) -> None:
    ident = await wished(store)

    async def take(owner: str) -> bool:
        async with store.writing() as connection:
            return await cycles.take(connection, ident, owner, 20.0, 60.0) is not None

    assert sum(await asyncio.gather(*(take(f"p{number}") for number in range(20)))) == 1
    async with store.reading() as connection:
        assert await cycles.waiting(connection, 20.0) == []
        assert await cycles.waiting(connection, 81.0) == [ident], "its owner has died"


@pytest.mark.asyncio
async def test_a_step_is_its_owners_and_the_tables(desk: Switches, store: Store) -> None:
    ident = await wished(store)
    async with store.writing() as connection:
        await cycles.take(connection, ident, "me", 20.0, 60.0)
        assert not await cycles.move(connection, ident, CycleStep.CUT, "you", {})
        assert not await cycles.move(connection, ident, CycleStep.FINISH, "me", {})
        assert await cycles.move(connection, ident, CycleStep.CUT, "me", {"switch": "s", "off_at": 21.0, "lease": 50.0})
        assert await cycles.take(connection, ident, "you", 49.0, 60.0) is None
        stolen = await cycles.take(connection, ident, "you", 51.0, 60.0)
        assert stolen is not None
        assert stolen.state is CycleState.CUTTING, "it may be off: what comes next is to restore"
        assert not await cycles.move(connection, ident, CycleStep.DARK, "me", {})
        assert await cycles.move(connection, ident, CycleStep.RESTORE, "you", {})
        assert await cycles.lately(connection, "s", 20.0) == 1
        assert [one.id for one in await cycles.maybe_off(connection)] == [ident]


@pytest.mark.asyncio
async def test_the_database_holds_a_switch_to_one_dark_port(desk: Switches, store: Store) -> None:
    first, second = await wished(store), await wished(store, Mac("0004f2aabb02"))
    async with store.writing() as connection:
        for ident in (first, second):
            await cycles.take(connection, ident, "me", 20.0, 60.0)
        await cycles.move(connection, first, CycleStep.CUT, "me", {"switch": "s"})
    with pytest.raises(Conflict):
        async with store.writing() as connection:
            await cycles.move(connection, second, CycleStep.CUT, "me", {"switch": "s"})


@pytest.mark.asyncio
async def test_a_resync_takes_power_only_where_it_was_allowed(desk: Switches, store: Store) -> None:
    async def stuck() -> int:
        async with store.writing() as connection:
            return await cycles.wish_for(connection, [MAC, Mac("0004f2ffffff")], 60.0, "server", 5.0)

    assert not await desk.power_allowed("Acme HQ")
    assert await stuck() == 0
    assert await desk.allow_power("Acme HQ", allowed=True)
    assert await stuck() == 1
    assert await stuck() == 0, "one at a time"
    (one,) = await desk.cycles(mac=MAC)
    assert (one.state, one.cause, one.actor) == (CycleState.ASKED, "resync", "server")
    await desk.allow_power("Acme HQ", allowed=False)
    assert not await desk.power_allowed("Acme HQ")


@pytest.mark.asyncio
async def test_of_many_that_are_stuck_at_once_none_loses_its_power(desk: Switches, store: Store) -> None:
    """They are not what is wrong; and of few no more than so many at a time."""
    await desk.allow_power("Acme HQ", allowed=True)
    others = [Mac(f"0004f2cc{number:04x}") for number in range(cycles.AT_ONCE)]
    async with store.writing() as connection:
        assert await cycles.wish_for(connection, [MAC, *others], 60.0, "server", 5.0) == 0
        for mac in others:
            await cycles.ask(connection, cycles.Wish(mac, "a", 60.0, "server", 5.0, "resync"))
        assert await cycles.wish_for(connection, [MAC], 60.0, "server", 5.0) == 0, "so many are waiting already"
        await connection.execute(
            update(schema.power_cycle).where(schema.power_cycle.c.mac == others[0]).values(ended=6.0)
        )
        assert await cycles.wish_for(connection, [MAC], 60.0, "server", 5.0) == 1


@pytest.mark.asyncio
async def test_a_phone_that_is_stuck_after_a_resync_has_its_power_taken(
    desk: Switches, store: Store, settings: Settings
) -> None:
    """By the hook in the campaigns' own turn, with the alarm that tells of it."""
    await desk.allow_power("Acme HQ", allowed=True)
    async with store.writing() as connection:
        await resync.ask(connection, "campaign", [resync.Request(MAC, "check-sync", 1, 1.0)], 1.0)
        await connection.execute(update(schema.resync).values(state="notified", since=1.0))
    await Errands(store, {}, settings, clock=lambda: 1e6).settle()
    (one,) = await desk.cycles(mac=MAC)
    assert (one.cause, one.seconds, one.state) == ("resync", 60.0, CycleState.ASKED)


@pytest.mark.asyncio
async def test_power_cycles_stay_with_the_account_in_which_they_were(desk: Switches, fleet: Fleet) -> None:
    accounts = {one.name: one.id for one in await fleet.accounts()}
    asked = await desk.power_cycle(MAC)
    with pytest.raises(Conflict, match=f"power cycle {asked.id} of .* has not ended"):
        await fleet.move_device(MAC, account="Brum")
    async with desk._store.writing() as connection:
        await cycles.move(connection, asked.id, CycleStep.REFUSE, "", {"ended": 5.0})
    await fleet.move_device(MAC, account="Brum")
    assert [one.id for one in await limited(desk, Role.OWNER, accounts["Acme"]).cycles(mac=MAC)] == [asked.id]
    assert await limited(desk, Role.OWNER, accounts["Brum"]).cycles(mac=MAC) == []
