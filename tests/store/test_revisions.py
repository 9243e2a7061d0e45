"""What layers and lines were, and taking it back: who, when, before and after; what stands in the way is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import select

from provisioner.errors import Conflict, NotFound, WideChange
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.rebind import Rebinding
from provisioner.fleet.revisions import Revisions
from provisioner.model import ConfigLayer, Mac, Scope
from provisioner.rights import Holding, Principal, Role, parts_of
from provisioner.settings import Settings
from provisioner.store import layer_rows, schema
from provisioner.store.database import Store
from provisioner.store.rotation import Rotation
from provisioner.vendors import drivers

pytestmark = pytest.mark.asyncio
ON_ONE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
"""What no statement of a database decides."""
KNOWN = {one.manifest.name: one for one in drivers()}
ONE, TWO = Mac("0004f2aabb01"), Mac("0004f2aabb02")
SECRET = "canary-Secret-Zq7!"


@pytest_asyncio.fixture
async def fleet(store: Store) -> Fleet:
    """Acme with two phones and two extensions, Other with nothing."""
    made = Fleet(store, KNOWN, actor="ann")
    for name in ("Acme", "Other"):
        await made.add_account(name)
    await made.add_user("Ann", account="Acme")
    for mac, number in ((ONE, "1001"), (TWO, "1002")):
        await made.add_device(mac, vendor="poly", model="VVX 411", account="Acme")
        await made.add_extension(number, account="Acme", user="Ann")
    return made


@pytest.fixture
def desk(store: Store, fleet: Fleet, tmp_path: Path) -> Revisions:
    del fleet
    return Revisions(store, KNOWN, Settings(data=tmp_path), actor="ben")


@pytest.fixture
def lines(store: Store, fleet: Fleet) -> Rebinding:
    del fleet
    return Rebinding(store, KNOWN, actor="ann")


@ON_ONE
async def test_each_change_is_kept_with_who_when_before_and_after(desk: Revisions, fleet: Fleet) -> None:
    await fleet.set_layer(Scope.ACCOUNT, "Acme", {"sip.expiry": 600, "language": "de-DE"})
    changed = await desk.change_layer(Scope.ACCOUNT, "Acme", {"sip.expiry": 900}, unset=["language"])
    newest, first = await desk.layer_revisions(Scope.ACCOUNT, "Acme")
    assert (newest.revision, newest.actor, newest.names) == (changed.revision, "ben", ("language", "sip.expiry"))
    assert newest.was.values == {"sip.expiry": 600, "language": "de-DE"}
    assert newest.now.values == {"sip.expiry": 900}
    assert (first.actor, first.was.values) == ("ann", {})
    assert first.at > 0
    events = [event.kind for event in await fleet.events(limit=2)]
    assert events == ["layer_set", "layer_unset"]
    assert await desk.layer_revisions(Scope.ACCOUNT, "Acme", before=newest.revision, limit=1) == [first]
    same = await desk.change_layer(Scope.ACCOUNT, "Acme", {"sip.expiry": 900})
    assert same.revision not in {one.revision for one in await desk.layer_revisions(Scope.ACCOUNT, "Acme")}


async def test_one_change_is_taken_back_and_the_others_stay(desk: Revisions, fleet: Fleet) -> None:
    await fleet.set_layer(Scope.ACCOUNT, "Acme", {"sip.expiry": 600})
    wrong = await desk.change_layer(Scope.ACCOUNT, "Acme", {"sip.expiry": 60, "net.cdp": False}, {"poly:voice.x": "1"})
    await fleet.set_layer(Scope.ACCOUNT, "Acme", {"language": "de-DE"})
    back = await desk.revert_layer(Scope.ACCOUNT, "Acme", wrong.revision)
    layer = await desk.layer(Scope.ACCOUNT, "Acme")
    assert (layer.values, layer.raw) == ({"sip.expiry": 600, "language": "de-DE"}, {})
    newest = (await desk.layer_revisions(Scope.ACCOUNT, "Acme"))[0]
    assert (newest.revision, newest.reverts) == (back.revision, wrong.revision)
    (event,) = await fleet.events(kind="layer_reverted")
    assert (event.actor, event.details["reverted"]) == ("ben", str(wrong.revision))
    again = await desk.revert_layer(Scope.ACCOUNT, "Acme", back.revision)
    assert (await desk.layer(Scope.ACCOUNT, "Acme")).values["sip.expiry"] == 60
    with pytest.raises(NotFound, match="no revision"):
        await desk.revert_layer(Scope.ACCOUNT, "Other", again.revision)


@ON_ONE
async def test_what_was_changed_again_is_not_taken_back(desk: Revisions, fleet: Fleet) -> None:
    first = await desk.change_layer(Scope.ACCOUNT, "Acme", {"sip.expiry": 600, "language": "de-DE"})
    second = await desk.change_layer(Scope.ACCOUNT, "Acme", {"sip.expiry": 900})
    with pytest.raises(Conflict, match=f"sip.expiry was changed again .* by revision {second.revision} of ben"):
        await desk.revert_layer(Scope.ACCOUNT, "Acme", first.revision)
    with pytest.raises(Conflict, match="changed again"):
        await desk.rehearse_revert(Scope.ACCOUNT, "Acme", first.revision)
    assert (await desk.layer(Scope.ACCOUNT, "Acme")).values == {"sip.expiry": 900, "language": "de-DE"}
    await desk.revert_layer(Scope.ACCOUNT, "Acme", second.revision)
    await desk.revert_layer(Scope.ACCOUNT, "Acme", first.revision)
    assert (await desk.layer(Scope.ACCOUNT, "Acme")).values == {}
    del fleet


@ON_ONE
async def test_a_value_that_the_model_cannot_do_any_more_stands_in_the_way(desk: Revisions, fleet: Fleet) -> None:
    key = [{"position": 12, "kind": "line"}]
    await fleet.set_layer(Scope.DEVICE, ONE, {"keys": key})
    gone = await desk.change_layer(Scope.DEVICE, ONE, unset=["keys"])
    await fleet.set_model(ONE, model="VVX 150")
    with pytest.raises(Conflict, match="not possible any more"):
        await desk.revert_layer(Scope.DEVICE, ONE, gone.revision)


async def test_secrets_are_sealed_hidden_and_come_back(desk: Revisions, fleet: Fleet, store: Store) -> None:
    await fleet.set_layer(Scope.DEFAULTS, "", {"password.admin": SECRET}, {"poly:voice.secret": SECRET + "raw"})
    changed = await desk.change_layer(Scope.DEFAULTS, "", {"password.admin": "another-one-9"})
    told = repr(await desk.layer_revisions(Scope.DEFAULTS, "")) + repr(await fleet.events(limit=50))
    async with store.reading() as connection:
        rows = repr((await connection.execute(select(schema.layer_revision))).all())
    assert SECRET not in told + rows
    assert "another-one-9" not in told + rows
    await desk.revert_layer(Scope.DEFAULTS, "", changed.revision)
    assert await said(store) == SECRET
    await Rotation(store, "ann", settle=0.0).run()
    (newest, *_) = await desk.layer_revisions(Scope.DEFAULTS, "")
    await desk.revert_layer(Scope.DEFAULTS, "", newest.revision)
    assert await said(store) == "another-one-9", "what a rotation has sealed anew still opens"


async def said(store: Store) -> object:
    async with store.reading() as connection:
        layer = await layer_rows.read_layer(connection, store.box, Scope.DEFAULTS, "")
    assert layer is not None
    return layer.values["password.admin"]


@ON_ONE
async def test_many_phones_are_asked_about_here_too(store: Store, fleet: Fleet, tmp_path: Path) -> None:
    few = Revisions(store, KNOWN, Settings(data=tmp_path, rollout_confirm=1), actor="ben")
    found = await few.change_layer(Scope.ACCOUNT, "Acme", {"sip.expiry": 60}, confirm=2)
    with pytest.raises(WideChange, match="concerns 2 phones"):
        await few.revert_layer(Scope.ACCOUNT, "Acme", found.revision)
    await few.revert_layer(Scope.ACCOUNT, "Acme", found.revision, confirm=2)
    assert (await fleet.layer(Scope.ACCOUNT, "Acme")).values == {}


@ON_ONE
async def test_a_layer_goes_with_what_it_belongs_to(desk: Revisions, fleet: Fleet, store: Store) -> None:
    site = await fleet.add_site("HQ", account="Acme", time_zone="Europe/Berlin")
    assert [one.names for one in await desk.layer_revisions(Scope.SITE, site.id)] == [("time.zone",)]
    await fleet.set_layer(Scope.DEVICE, TWO, {"sip.expiry": 60})
    await fleet.remove_site(site.id)
    await fleet.remove_device(TWO)
    async with store.reading() as connection:
        left = (await connection.execute(select(schema.layer_revision.c.key))).scalars().all()
    assert not {site.id, str(TWO)} & set(left)


async def test_two_writes_of_one_change_are_one_revision(store: Store, fleet: Fleet, desk: Revisions) -> None:
    del fleet
    async with store.changing("cleo", 5.0) as change:
        for value in (60, 120):
            layer = ConfigLayer(Scope.DEFAULTS, "", {"sip.expiry": value})
            await layer_rows.write_layer(change.connection, store.box, layer)
            change.touch(Scope.DEFAULTS, "")
    (only,) = await desk.layer_revisions(Scope.DEFAULTS, "")
    assert (only.was.values, only.now.values, only.actor, only.at) == ({}, {"sip.expiry": 120}, "cleo", 5.0)


# --- lines ----------------------------------------------------------------------------------------


@ON_ONE
async def test_a_bind_is_taken_back(desk: Revisions, lines: Rebinding, fleet: Fleet) -> None:
    await lines.rebind(ONE, 1, extension="1001", label="Desk")
    await lines.rebind(ONE, 1, extension="1002")
    newest, first = await desk.line_revisions(ONE)
    assert (newest.was and newest.was.label, newest.now and newest.now.number, newest.actor) == ("Desk", "1002", "ann")
    assert (first.was, first.now and first.now.number) == (None, "1001")
    assert await desk.line_revisions(ONE, after=(newest.revision, 1), limit=1) == [first]
    await desk.revert_lines(ONE, newest.revision)
    (bound,) = await fleet.bindings(ONE, active=True)
    assert (bound.number, bound.label, bound.actor) == ("1001", "Desk", "ben")
    (event,) = await fleet.events(kind="lines_reverted")
    assert event.details["reverted"] == str(newest.revision)
    await desk.revert_lines(ONE, (await desk.line_revisions(ONE))[0].revision)
    assert [one.number for one in await fleet.bindings(ONE, active=True)] == ["1002"]


async def test_an_extension_that_was_moved_goes_back_where_it_was(
    desk: Revisions, lines: Rebinding, fleet: Fleet
) -> None:
    await lines.rebind(ONE, 1, extension="1001")
    await lines.rebind(TWO, 3, extension="1001", replace=True)
    moved = (await desk.line_revisions(TWO))[0]
    found = await desk.revert_lines(TWO, moved.revision)
    assert {(one.mac, one.line) for one in found.lines} == {(ONE, 1), (TWO, 3)}
    assert found.exchanged == ["1001"], "the second phone knows what it had"
    assert [one.number for one in await fleet.bindings(ONE, active=True)] == ["1001"]
    assert await fleet.bindings(TWO, active=True) == []


@ON_ONE
async def test_who_was_freed_is_bound_again(desk: Revisions, lines: Rebinding, fleet: Fleet) -> None:
    await lines.rebind(ONE, 1, extension="1001")
    await lines.release(ONE, 1)
    await desk.revert_lines(ONE, (await desk.line_revisions(ONE))[0].revision)
    assert [one.number for one in await fleet.bindings(ONE, active=True)] == ["1001"]


@ON_ONE
async def test_what_stands_in_the_way_of_a_line_is_named(desk: Revisions, lines: Rebinding, fleet: Fleet) -> None:
    await lines.rebind(ONE, 1, extension="1001")
    bound = (await desk.line_revisions(ONE))[0]
    await lines.release(ONE, 1)
    freed = (await desk.line_revisions(ONE))[0]
    with pytest.raises(Conflict, match=f"line 1 of {ONE.colons} has nothing now, .* by revision {freed.revision}"):
        await desk.revert_lines(ONE, bound.revision)
    await lines.rebind(TWO, 2, extension="1001")
    with pytest.raises(Conflict, match=f"1001 is on line 2 of {TWO.colons}"):
        await desk.revert_lines(ONE, freed.revision)
    await lines.release(TWO, 2)
    await fleet.remove_extension("1001")
    with pytest.raises(Conflict, match=r"extension 1001, .*, was removed since"):
        await desk.revert_lines(ONE, freed.revision)
    assert await fleet.bindings(ONE, active=True) == []
    with pytest.raises(NotFound, match="changed no line"):
        await desk.revert_lines(TWO, bound.revision)


@ON_ONE
async def test_a_phone_that_is_gone_stands_in_the_way(desk: Revisions, lines: Rebinding, fleet: Fleet) -> None:
    await lines.rebind(ONE, 1, extension="1001")
    await lines.rebind(TWO, 1, extension="1001", replace=True)
    moved = (await desk.line_revisions(TWO))[0]
    await fleet.remove_device(ONE)
    with pytest.raises(Conflict, match=f"device {ONE.colons} was removed since"):
        await desk.revert_lines(TWO, moved.revision)
    assert [one.number for one in await fleet.bindings(TWO, active=True)] == ["1001"]


async def test_history_ends_where_reach_ends(store: Store, fleet: Fleet, lines: Rebinding, tmp_path: Path) -> None:
    await lines.rebind(ONE, 1, extension="1001")
    await fleet.set_layer(Scope.ACCOUNT, "Acme", {"sip.expiry": 60})
    await fleet.set_layer(Scope.DEFAULTS, "", {"sip.expiry": 60})
    ids = {one.name: one.id for one in await fleet.accounts()}

    def at(account: str) -> Revisions:
        who = Principal("eve", parts_of(Holding(Role.DEVICE_ADMIN, ids[account]), "eve"))
        return Revisions(store, KNOWN, Settings(data=tmp_path), principal=who)

    with pytest.raises(NotFound):
        await at("Other").line_revisions(ONE)
    with pytest.raises(NotFound):
        await at("Other").layer_revisions(Scope.ACCOUNT, ids["Acme"])
    assert await at("Other").layer_revisions(Scope.DEFAULTS, "") == [], "who cannot change it is not told who did"
    mine = at("Acme")
    (change,) = await mine.layer_revisions(Scope.ACCOUNT, ids["Acme"])
    await mine.revert_layer(Scope.ACCOUNT, ids["Acme"], change.revision)
    (bound,) = await mine.line_revisions(ONE)
    await mine.revert_lines(ONE, bound.revision)
    assert await fleet.bindings(ONE, active=True) == []
