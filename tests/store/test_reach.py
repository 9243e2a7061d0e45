"""What is out of reach does not exist: every public use-case is called with what is somebody else's."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from sqlalchemy import delete, exists, func, insert, select, text, union, update
from two_houses import (
    CALLED,
    House,
    all_desks,
    answer,
    build,
    fleet_drivers,
    made,
    public,
    snapshot,
    wishes,
)

import provisioner
from provisioner.errors import Forbidden, NotFound, ProvisionerError
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.jobs import Jobs
from provisioner.imports.imports import Imports
from provisioner.model import Event, Mac, Scope
from provisioner.rights import Holding, Principal, parts_of
from provisioner.roles import Right, Role
from provisioner.settings import Settings
from provisioner.store import schema
from provisioner.store.database import Store
from provisioner.store.joined import joined
from provisioner.store.journal import write_events
from provisioner.store.reach import Limited


class Undo(Exception):
    """Take back whatever a call has done."""


class Street(NamedTuple):
    store: Store
    settings: Settings
    drivers: Any
    own: House
    other: House

    def owner(self) -> Principal:
        """Who may do everything, in one's own account alone."""
        return Principal("ann@example.net", parts_of(Holding(Role.OWNER, self.own.given["account"]), "ann@example.net"))

    def fleet(self, principal: Principal) -> Fleet:
        return Fleet(self.store, self.drivers, principal=principal)


@pytest_asyncio.fixture
async def street(store: Store, fleet: Fleet, tmp_path: Path) -> AsyncIterator[Street]:
    settings = Settings(data=tmp_path, switch_allow=("127.0.0.0/8",))
    own = await build(fleet, settings, store, "Acme", 2)
    other = await build(fleet, settings, store, "Brum", 7)
    async with store.writing() as connection:
        seen = [Event("pin_set", 5.0, one.mac, actor="server") for one in (own, other)]
        await write_events(connection, seen)
    yield Street(store, settings, fleet_drivers(fleet), own, other)


async def call_all(street: Street, principal: Principal, foreign: set[str]) -> tuple[int, int]:
    """Call every use-case with what is the other's; how many calls answered, and how many were refused."""
    before, answered, refused = await snapshot(street.store, foreign), 0, 0
    for kind in CALLED:
        for name, function in public(kind):
            for wish in wishes(name, function, street.own, street.other, street.settings):
                with suppress(Undo):
                    async with joined(street.store) as whole:
                        desk = made(kind, whole, street.drivers, street.settings, principal)
                        try:
                            told = await answer(getattr(desk, name)(**wish))
                        except ProvisionerError as error:
                            assert error.status in {403, 404, 409, 422}, (name, error)
                            refused += 1
                            raise Undo from error
                        answered += 1
                        given = repr(wish)
                        assert not [mark for mark in foreign if mark in told and mark not in given], (name, wish, told)
                        assert await snapshot(whole, foreign) == before, (name, wish)
                        raise Undo
    return answered, refused


@pytest.mark.slow  # hundreds of calls, each taken back: every use-case with every wrong argument
@pytest.mark.asyncio
async def test_an_owner_reads_and_changes_nothing_of_another_account(street: Street) -> None:
    answered, refused = await call_all(street, street.owner(), street.other.marks)
    assert answered > 25 and refused > 150


@pytest.mark.slow  # hundreds of calls, each taken back: every use-case with every wrong argument
@pytest.mark.asyncio
async def test_whoever_runs_a_site_reads_and_changes_nothing_of_another(street: Street, fleet: Fleet) -> None:
    """Of the same account, whose people and numbers belong to no site."""
    account = street.own.given["account"]
    site = await fleet.add_site("Annex", account=account)
    holding = Holding(Role.SITE_ADMIN, account, site.id)
    principal = Principal("eve@example.net", parts_of(holding, "eve@example.net"))
    empty = House("Annex", {**street.own.given, "site": site.id, "mac": Mac("0004f2eeeeee"), "key": site.id})
    answered, refused = await call_all(
        street._replace(own=empty, other=street.own), principal, street.own.places - {street.own.given["number"]}
    )
    assert answered > 25 and refused > 150


@pytest.mark.asyncio
async def test_the_test_can_fail(street: Street) -> None:
    """The machine itself reaches all of it."""
    found = Fleet(street.store, street.drivers)
    for told in (await found.accounts(), await found.devices(), await found.users(), await found.events(limit=500)):
        assert any(mark in repr(told) for mark in street.other.marks)
    assert await found.remove_device(street.other.mac) is None


def test_every_class_of_use_cases_is_called() -> None:
    for module in pkgutil.walk_packages(provisioner.__path__, "provisioner."):
        if not module.name.startswith(("provisioner.__main__", "provisioner.store.migrations")):
            importlib.import_module(module.name)
    elsewhere = Jobs, Imports  # a job is its author's, an import has files for arguments: see their own tests
    called = {base for desk in (*CALLED, *elsewhere) for base in desk.__mro__}
    assert {one.__name__ for one in all_desks() - called} == set()


def test_no_use_case_speaks_past_the_narrowing() -> None:
    """Words for the driver are not looked at, so only what opens connections and writes for workers has any."""
    found = {path.name for path in Path(provisioner.__path__[0]).rglob("*.py") if "exec_driver_sql" in path.read_text()}
    assert found - {path.name for path in Path(provisioner.__path__[0]).rglob("migrations/**/*.py")} <= {
        "engine.py",
        "joined.py",
    }


# --- what the narrowing does -------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_what_cannot_be_narrowed_is_not_run(street: Street) -> None:
    device = schema.device
    async with Limited(street.store, street.owner()).writing() as connection:
        for statement in (
            text("SELECT * FROM device"),
            select(exists().where(device.c.mac != "")),
            select(func.count()).select_from(select(device).subquery()),
            select(schema.administrator),
            select(device.c.mac).union(select(device.c.mac)).order_by("mac"),
        ):
            with pytest.raises(Forbidden):
                await connection.execute(statement)


@pytest.mark.asyncio
async def test_statements_of_every_kind_see_ones_own_rows_alone(street: Street) -> None:
    device, binding, pin = schema.device, schema.binding, schema.pin
    later = device.alias("later")
    own = {street.own.given["mac"], Mac("0004f2002002")}
    async with Limited(street.store, street.owner()).writing() as connection:
        for query in (
            select(device.c.mac),
            select(later.c.mac),
            select(device.c.mac).outerjoin(pin, pin.c.mac == device.c.mac),
            union(select(device.c.mac), select(later.c.mac)),
        ):
            assert set((await connection.execute(query)).scalars()) == own
        joined_ = select(binding.c.mac).join(schema.extension, schema.extension.c.id == binding.c.extension)
        assert set((await connection.execute(joined_)).scalars()) == {street.own.given["mac"]}
        everything = update(device).values(firmware="1")
        assert (await connection.execute(everything)).rowcount == 2
        assert (await connection.execute(delete(schema.token))).rowcount == 1


@pytest.mark.asyncio
async def test_no_row_is_written_for_somebody_else_or_given_away(street: Street) -> None:
    other = street.other.given
    rows = (
        insert(schema.site).values(id="x", account=other["account"], name="x"),
        insert(schema.device).values(mac="x", vendor="poly", model="x", account=other["account"], created=1.0),
        insert(schema.pin).values(mac=other["mac"], spki="x", not_after="x", at=1.0),
        insert(schema.layer).values(scope=Scope.DEFAULTS.value, key=""),
        insert(schema.layer).values(scope=Scope.ACCOUNT.value, key=other["account"]),
        insert(schema.layer).values(scope=Scope.SITE.value, key=other["site"]),
        insert(schema.layer).values(scope=Scope.DEVICE.value, key=other["mac"]),
        insert(schema.account).values(id="x", name="x", created=1.0),
        update(schema.device).values(account=other["account"]),
        update(schema.device).values(account=other["account"], site=other["site"]),
    )
    async with Limited(street.store, street.owner()).writing() as connection:
        for statement in rows:
            with pytest.raises(Forbidden):
                await connection.execute(statement)
        with pytest.raises(Forbidden):
            pins = [{"mac": mac, "spki": "x", "not_after": "x", "at": 1.0} for mac in (street.own.mac, other["mac"])]
            await connection.execute(insert(schema.pin), pins)


@pytest.mark.asyncio
async def test_a_connection_is_as_before_when_the_use_case_is_over(street: Street) -> None:
    async with joined(street.store) as whole:
        assert len(await Fleet(whole, street.drivers, principal=street.owner()).devices()) == 2
        assert len(await Fleet(whole, street.drivers).devices()) == 4
        assert (await whole.connection.execute(text("SELECT count(*) FROM device"))).scalar_one() == 4


@pytest.mark.asyncio
async def test_an_employee_has_their_own_phone_alone(street: Street) -> None:
    given = street.own.given
    who = Principal("joe", parts_of(Holding(Role.EMPLOYEE, given["account"], user=given["user"]), "joe"))
    desk = street.fleet(who.doing(Right.DEVICE_READ))
    assert [one.mac for one in await desk.devices()] == [street.own.mac]
    assert [one.name for one in await desk.users()] == ["Acme-user"]
    with pytest.raises(NotFound):
        await desk.device(Mac("0004f2002002"))


@pytest.mark.asyncio
async def test_deeds_are_read_with_the_right_to_and_device_events_without(street: Street) -> None:
    account = street.own.given["account"]
    for role, audited in (
        (Role.OWNER, True),
        (Role.AUDITOR, True),
        (Role.DEVICE_ADMIN, False),
        (Role.TECHNICIAN, False),
    ):
        for where in (account, ""):
            who = Principal("x@example.net", parts_of(Holding(role, where), "x@example.net"))
            kinds = {one.kind for one in await street.fleet(who.doing(Right.EVENT_READ)).events(limit=500)}
            assert "pin_set" in kinds
            assert ("device_added" in kinds) is audited


@pytest.mark.asyncio
async def test_ones_own_deeds_are_read_by_whoever_did_them(street: Street) -> None:
    who = Principal("eve", parts_of(Holding(Role.DEVICE_ADMIN, street.own.given["account"]), "eve"))
    await street.fleet(who.doing(Right.SITE_WRITE)).add_site("Shed", account=street.own.given["account"])
    told = await street.fleet(who.doing(Right.AUDIT_READ)).events(limit=500)
    assert [(one.kind, one.actor) for one in told] == [("site_added", "eve")]
