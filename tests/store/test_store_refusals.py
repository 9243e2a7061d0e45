"""The mailbox of refused certificates: grouped, counted, bounded; silent where it is expected; its issuer trusted."""

from __future__ import annotations

import asyncio
import fcntl
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from provisioner import trust
from provisioner.certificates import fingerprint, issuers_of, read, signer_of, to_der
from provisioner.errors import Conflict, Forbidden, Invalid, NotFound
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.refusals import Refusals
from provisioner.pki import Factory, make_factory
from provisioner.rights import OPERATOR, Holding, Principal, parts_of
from provisioner.roles import Role
from provisioner.settings import Settings
from provisioner.store import schema
from provisioner.store.database import Store
from provisioner.store.refusals import Group, group_key, write_refusals

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
    await write_refusals(store, [group(at=5, chain=chain[:2]), group("bb", at=9)], most=10)
    await write_refusals(store, [group(at=7, chain=chain)], most=10)
    await write_refusals(store, [group(at=6, chain=chain[:2])], most=10)
    last, first = await desk.refusals()
    assert (last.id, first.id, first.times, first.first_at, first.last_at) == ("bb", "aa", 3, 5, 7)
    assert first.chain == chain, "the longest that came"
    assert [*first.macs] == ["0004f2000007", "0004f2000006", "0004f2000005"]


async def test_names_are_bounded_and_the_newest_stay(store: Store, desk: Refusals) -> None:
    for at in range(1, 31):
        await write_refusals(store, [group(at=at)], most=10)
    (found,) = await desk.refusals()
    assert len(found.macs) == 16 and "0004f2000030" in found.macs and "0004f2000001" not in found.macs


async def kept(desk: Refusals) -> set[str]:
    return {one.id for one in await desk.refusals(everything=True)}


async def test_what_was_away_longest_goes_first_and_never_what_somebody_spoke_of(store: Store, desk: Refusals) -> None:
    await write_refusals(store, [group("said"), group("often"), group("once", at=6), group("new", at=9)], most=9)
    await desk.dismiss_refusal("said", note="a test")
    for at in (4, 5):
        await write_refusals(store, [group("often", at=at)], most=9)
    await write_refusals(store, [group("last", at=10)], most=3)
    assert await kept(desk) == {"said", "new", "last"}, "how often it came says nothing"


async def test_invented_issuers_that_come_twice_do_not_shut_out_who_comes_for_the_first_time(
    store: Store, desk: Refusals
) -> None:
    for at in (100, 101):
        await write_refusals(store, [group(f"made-up {number}", at=at) for number in range(5)], most=5)
    await write_refusals(store, [group("honest", at=50)], most=5)
    assert "honest" in await kept(desk), "an older stranger's goes first, whatever the clocks say"
    await write_refusals(store, [group("again", at=102)], most=5)
    assert "again" in await kept(desk)


async def test_groups_with_the_mac_of_a_known_device_go_last(store: Store, desk: Refusals, drivers: Any) -> None:
    fleet = Fleet(store, drivers, actor="ann")
    await fleet.add_account("Acme")
    await fleet.add_device("0004f2000001", vendor="poly", model="VVX 411", account="Acme")
    await write_refusals(store, [group("ours", at=1), group("strange", at=2), group("stranger", at=3)], most=9)
    for at in range(4, 10):
        await write_refusals(store, [group(f"made-up {at}", at=at)], most=3)
    assert await kept(desk) == {"ours", "made-up 8", "made-up 9"}
    await write_refusals(store, [group("new", at=10)], most=1)
    assert await kept(desk) == {"ours"}


async def test_a_stranger_with_a_ca_of_the_same_name_makes_a_group_of_his_own(
    store: Store, desk: Refusals, settings: Settings, chain: tuple[bytes, ...], tmp_path: Path
) -> None:
    false = make_factory("poly", tmp_path / "false")
    leaf, _, above = false.leaf("0004f2aabb01")
    forged = (*to_der(leaf), *to_der(above), *to_der(false.root_pem.read_bytes()), chain[-1])
    honest = chain[:2]
    name = read(honest[0]).issuer
    assert name == read(forged[0]).issuer and len(forged) > len(honest)
    keys = [group_key("untrusted", name, one) for one in (honest, chain, forged, honest[:1], (honest[0], forged[1]))]
    assert keys[0] == keys[1] and keys[3] == keys[4], "neither a name nor a certificate that only came along"
    assert len(set(keys)) == 3
    await write_refusals(store, [group(chain=honest)], most=9)
    for other in (forged, (honest[0], *forged)):
        await write_refusals(store, [group(at=2, chain=other)], most=9)
    together = group(chain=honest)
    together.add(group(at=2, chain=forged))
    assert (await desk.refusal("aa")).chain == together.chain == honest
    with pytest.raises(Conflict, match="not, or no longer"):
        await desk.trust_issuer("aa", fingerprints=shown(forged[1:3]), vendor="poly")
    assert not added_here(settings)


async def test_only_what_is_named_by_its_fingerprint_and_still_stored_is_trusted(
    store: Store, desk: Refusals, settings: Settings, chain: tuple[bytes, ...]
) -> None:
    await write_refusals(store, [group(chain=chain)], most=9)
    with pytest.raises(Invalid, match=rf"(?s){shown(chain[1:])[0]}.*by another way"):
        await desk.trust_issuer("aa", vendor="poly")
    with pytest.raises(Invalid, match="64 hex digits"):
        await desk.trust_issuer("aa", fingerprints=[shown(chain[1:])[0][:16]], vendor="poly")
    with pytest.raises(Conflict, match="came with it, too"):
        await desk.trust_issuer("aa", fingerprints=shown(chain[1:2]), vendor="poly")
    with pytest.raises(Conflict, match="no longer"):
        await desk.trust_issuer("aa", fingerprints=[*shown(chain[1:]), "ab" * 32], vendor="poly")
    assert not added_here(settings)
    colons = [":".join(re.findall("..", one.upper())) for one in shown(chain[1:])]
    assert {ca.der for ca in await desk.trust_issuer("aa", fingerprints=colons)} == set(chain[1:])


async def test_the_list_of_cas_is_written_outside_of_the_stores_turn(
    store: Store, desk: Refusals, settings: Settings, chain: tuple[bytes, ...]
) -> None:
    await write_refusals(store, [group(chain=chain)], most=9)
    (settings.data / "trust").mkdir(parents=True)
    with (settings.data / "trust" / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waits = asyncio.create_task(desk.trust_issuer("aa", fingerprints=shown(chain[1:])))
        await asyncio.sleep(0.2)
        async with asyncio.timeout(1):
            await desk.dismiss_refusal("aa")
        assert not waits.done()
    assert len(await waits) == len(chain) - 1


async def test_a_key_of_the_api_trusts_no_ca(
    store: Store, drivers: Any, settings: Settings, chain: tuple[bytes, ...]
) -> None:
    await write_refusals(store, [group(chain=chain)], most=9)
    desk = Refusals(store, drivers, settings, principal=replace(OPERATOR, is_key=True))
    with pytest.raises(Forbidden, match="sign in"):
        await desk.trust_issuer("aa", fingerprints=shown(chain[1:]), vendor="poly")
    assert not added_here(settings)


async def test_a_chain_of_very_many_costs_no_more_than_one_of_eight(chain: tuple[bytes, ...]) -> None:
    for padding, signed in ((6, True), (8, False)):
        padded = (chain[0], *[chain[-1]] * padding, *chain[1:])
        assert bool(signer_of(padded)) is bool(issuers_of(padded[0], padded[1:])) is signed


def shown(ders: tuple[bytes, ...]) -> list[str]:
    return [fingerprint(der) for der in ders]


def added_here(settings: Settings) -> list[trust.Ca]:
    return [ca for ca in trust.load(settings.data).trusted if ca.origin == "operator"]


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
    added = await desk.trust_issuer("aa", fingerprints=shown(chain[1:]))
    assert {ca.fingerprint for ca in added} <= {ca.fingerprint for ca in trust.load(settings.data).trusted}
    assert [ca.vendor for ca in added] == ["poly"] * (len(chain) - 1), "the vendor of the models that came with it"
    assert elsewhere[0] not in {ca.der for ca in trust.load(settings.data).trusted}
    with pytest.raises(Conflict, match="trusted already"):
        await desk.trust_issuer("aa", fingerprints=shown(chain[1:]), vendor="poly")
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
        await desk.trust_issuer("aa", fingerprints=shown(chain[1:]))
    with pytest.raises(Invalid, match="one of"):
        await desk.trust_issuer("aa", fingerprints=shown(chain[1:]), vendor="acme")


async def test_it_is_for_who_reaches_everything(store: Store, drivers: Any, settings: Settings) -> None:
    await write_refusals(store, [group()], most=9)
    who = Principal("bob", parts_of(Holding(Role.DEVICE_ADMIN, "somewhere"), "bob"))
    desk = Refusals(store, drivers, settings, principal=who)
    for call in (desk.refusals(), desk.refusal("aa"), desk.trust_issuer("aa"), desk.dismiss_refusal("aa")):
        with pytest.raises(Forbidden):
            await call
