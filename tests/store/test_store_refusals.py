"""The mailbox of refused certificates: grouped, counted, bounded; silent where it is expected; its issuer trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from provisioner import trust
from provisioner.certificates import to_der
from provisioner.errors import Conflict, Forbidden, Invalid, NotFound
from provisioner.fleet.refusals import Refusals
from provisioner.pki import Factory, make_factory
from provisioner.rights import Holding, Principal, parts_of
from provisioner.roles import Role
from provisioner.settings import Settings
from provisioner.store import schema
from provisioner.store.database import Store
from provisioner.store.refusals import Group, write_refusals

pytestmark = pytest.mark.asyncio


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Factory:
    return make_factory("poly", tmp_path_factory.mktemp("factory"))


@pytest.fixture(scope="module")
def chain(factory: Factory) -> tuple[bytes, ...]:
    leaf, _, above = factory.leaf("0004f2aabb01")
    return (*to_der(leaf), *to_der(above), *to_der(factory.root_pem.read_bytes()))


@pytest.fixture
def desk(store: Store, drivers: Any, settings: Settings) -> Refusals:
    return Refusals(store, drivers, settings, actor="ann")


def group(ident: str = "aa", at: float = 1.0, chain: tuple[bytes, ...] = (), **models: float) -> Group:
    named = {name.replace("_", " "): seen for name, seen in models.items()} or {"VVX 411": at}
    macs = {f"0004f2{int(at):06d}": at}
    return Group(ident, "untrusted", "CN=Somebody", f"why {at}", at, at, 1, chain, macs, {"192.0.2.1": at}, named)


async def test_batches_of_all_workers_add_up(store: Store, desk: Refusals, chain: tuple[bytes, ...]) -> None:
    await write_refusals(store, [group(at=5, chain=chain[:1]), group("bb", at=9)], most=10)
    await write_refusals(store, [group(at=7, chain=chain[:2])], most=10)
    await write_refusals(store, [group(at=6, chain=chain[:1])], most=10)
    last, first = await desk.refusals()
    assert (last.id, first.id, first.times, first.first_at, first.last_at) == ("bb", "aa", 3, 5, 7)
    assert first.chain == chain[:2], "the longest that came"
    assert [*first.macs] == ["0004f2000007", "0004f2000006", "0004f2000005"]


async def test_names_are_bounded_and_the_newest_stay(store: Store, desk: Refusals) -> None:
    for at in range(1, 31):
        await write_refusals(store, [group(at=at)], most=10)
    (found,) = await desk.refusals()
    assert len(found.macs) == 16 and "0004f2000030" in found.macs and "0004f2000001" not in found.macs


async def test_those_that_came_least_go_first_and_never_what_somebody_spoke_of(store: Store, desk: Refusals) -> None:
    await write_refusals(store, [group("said"), group("often"), group("once", at=3), group("new", at=9)], most=9)
    await desk.dismiss_refusal("said", note="a test")
    for at in (4, 5):
        await write_refusals(store, [group("often", at=at)], most=9)
    await write_refusals(store, [group("last", at=10)], most=3)
    assert {one.id for one in await desk.refusals(everything=True)} == {"said", "often", "last"}


async def test_what_is_expected_of_a_model_is_listed_again_with_another(store: Store, desk: Refusals) -> None:
    await write_refusals(store, [group(VVX_411=1.0)], most=9)
    quiet = await desk.expect_refusals("aa", models=["VVX 411"], note="they have the old CA")
    assert not quiet.open and quiet.silenced["VVX 411"].note == "they have the old CA"
    await write_refusals(store, [group(at=2, VVX_411=2.0)], most=9)
    assert await desk.refusals() == []
    await write_refusals(store, [group(at=3, VVX_150=3.0)], most=9)
    (again,) = await desk.refusals()
    assert again.open and again.times == 3 and again.silenced.keys() == {"VVX 411"}
    await desk.dismiss_refusal("aa")
    assert await desk.refusals() == []
    async with store.reading() as connection:
        told = (await connection.execute(select(schema.event.c.kind, schema.event.c.actor))).all()
    assert [tuple(one) for one in told] == [("refusal_expected", "ann")] * 2


async def test_what_makes_no_sense_is_refused(store: Store, desk: Refusals) -> None:
    await write_refusals(store, [group()], most=9)
    with pytest.raises(Invalid, match="no model"):
        await desk.expect_refusals("aa", models=["Toaster"], note="x")
    with pytest.raises(Invalid, match="at least one"):
        await desk.expect_refusals("aa", models=[], note="x")
    with pytest.raises(Invalid, match="note"):
        await desk.expect_refusals("aa", models=["VVX 411"], note=" ")
    with pytest.raises(NotFound):
        await desk.refusal("zz")


async def test_trusting_the_issuer_adds_the_cas_that_stand_above_the_leaf_and_no_others(
    store: Store, desk: Refusals, settings: Settings, chain: tuple[bytes, ...], tmp_path: Path
) -> None:
    elsewhere = to_der(make_factory("poly", tmp_path / "other").root_pem.read_bytes())
    await write_refusals(store, [group(chain=(chain[0], *elsewhere, *chain[1:]))], most=9)
    added = await desk.trust_issuer("aa")
    assert {ca.fingerprint for ca in added} <= {ca.fingerprint for ca in trust.load(settings.data).trusted}
    assert [ca.vendor for ca in added] == ["poly"] * (len(chain) - 1), "the vendor of the models that came with it"
    assert elsewhere[0] not in {ca.der for ca in trust.load(settings.data).trusted}
    with pytest.raises(Conflict, match="trusted already"):
        await desk.trust_issuer("aa", vendor="poly")
    async with store.reading() as connection:
        told = await connection.execute(select(schema.event.c.details).where(schema.event.c.kind == "issuer_trusted"))
        assert len(list(told)) == len(added)


async def test_a_leaf_alone_says_which_ca_to_get(store: Store, desk: Refusals, chain: tuple[bytes, ...]) -> None:
    await write_refusals(store, [group(chain=chain[:1]), group("bb", chain=(b"\x30junk",)), group("cc")], most=9)
    with pytest.raises(Conflict, match=r"get the certificate of its issuer, CN=Somebody"):
        await desk.trust_issuer("aa", vendor="poly")
    for ident in ("bb", "cc"):
        with pytest.raises(Conflict):
            await desk.trust_issuer(ident, vendor="poly")


async def test_a_vendor_that_nobody_can_tell_is_asked_for(
    store: Store, desk: Refusals, chain: tuple[bytes, ...]
) -> None:
    await write_refusals(store, [group(chain=chain, Toaster=1.0)], most=9)
    with pytest.raises(Invalid, match="whose CA"):
        await desk.trust_issuer("aa")
    with pytest.raises(Invalid, match="one of"):
        await desk.trust_issuer("aa", vendor="acme")


async def test_it_is_for_who_reaches_everything(store: Store, drivers: Any, settings: Settings) -> None:
    await write_refusals(store, [group()], most=9)
    who = Principal("bob", parts_of(Holding(Role.DEVICE_ADMIN, "somewhere"), "bob"))
    desk = Refusals(store, drivers, settings, principal=who)
    for call in (desk.refusals(), desk.refusal("aa"), desk.trust_issuer("aa"), desk.dismiss_refusal("aa")):
        with pytest.raises(Forbidden):
            await call
