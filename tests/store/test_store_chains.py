"""Certificates of devices: each once, with the CAs above it; bounded, and in nobody's way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import func, select

from provisioner.certificates import fingerprint, to_der
from provisioner.errors import NotFound
from provisioner.fleet.fleet import Fleet
from provisioner.model import Mac, PeerCert
from provisioner.pki import Factory, make_factory
from provisioner.rights import Holding, Principal, parts_of
from provisioner.roles import Role
from provisioner.settings import Settings
from provisioner.store import schema
from provisioner.store.chains import Chains, chains_of
from provisioner.store.database import Store

pytestmark = pytest.mark.asyncio

MAC, OTHER, STRANGER = Mac("0004f2aabb01"), Mac("0004f2aabb02"), Mac("0004f2aabb03")


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Factory:
    return make_factory("poly", tmp_path_factory.mktemp("factory"))


@pytest.fixture(scope="module")
def came(factory: Factory) -> Callable[[Mac], PeerCert]:
    """What a device comes with in a full handshake."""
    made: dict[str, PeerCert] = {}

    def make(mac: Mac, fresh: str = "") -> PeerCert:
        if mac + fresh not in made:
            leaf, _, above = factory.leaf(mac, curve=ec.SECP256R1())
            chain = (*to_der(leaf), *to_der(above), *to_der(factory.root_pem.read_bytes()))
            made[mac + fresh] = PeerCert(chain[0], chain)
        return made[mac + fresh]

    return make


@pytest_asyncio.fixture
async def acme(fleet: Fleet) -> Fleet:
    account = await fleet.add_account("Acme")
    for mac in (MAC, OTHER):
        await fleet.add_device(mac, vendor="poly", model="VVX 411", account=account.id)
    return fleet


@pytest.fixture
def make(store: Store, tmp_path: Path, counted: Counter[tuple[str, str]]) -> Callable[..., Chains]:
    def made(now: float = 1000.0, **chosen: int) -> Chains:
        def count(name: str, label: str) -> None:
            counted[name, label] += 1

        return Chains(store, Settings(data=tmp_path, **chosen), count, lambda: now)

    return made


async def rows(store: Store, table: Any) -> int:
    async with store.reading() as connection:
        return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())


async def test_a_leaf_is_kept_once_and_its_cas_once_for_all(acme: Fleet, store: Store, make: Any, came: Any) -> None:
    for worker in (make(now=1.0), make(now=2.0)):
        for mac in (MAC, OTHER, MAC):
            worker.note(mac, came(mac))
        await worker.flush()
        await worker.flush()
    assert (await rows(store, schema.leaf), await rows(store, schema.issuers)) == (2, 1)
    async with store.reading() as connection:
        (kept,) = await chains_of(connection, MAC)
    assert (kept.at, tuple(kept.ders)) == (1.0, came(MAC).chain)
    (shown,) = await acme.certificates(MAC)
    assert [one.fingerprint for one in shown.chain] == [fingerprint(der) for der in came(MAC).chain]
    assert shown.chain[0].issuer == shown.chain[1].subject
    assert not shown.pinned


async def test_only_devices_that_were_added_and_those_once_they_are(
    acme: Fleet, store: Store, make: Any, came: Any
) -> None:
    worker = make()
    worker.note(STRANGER, came(STRANGER))
    await worker.flush()
    assert await rows(store, schema.leaf) == 0
    await acme.add_device(STRANGER, vendor="poly", model="VVX 411", account="Acme")
    worker.note(STRANGER, came(STRANGER))
    await worker.flush()
    assert len(await acme.certificates(STRANGER)) == 1
    await acme.remove_device(STRANGER)
    assert await rows(store, schema.leaf) == 0


async def test_a_second_certificate_stands_beside_the_first(acme: Fleet, make: Any, came: Any) -> None:
    for now, fresh in ((1.0, ""), (2.0, "again")):
        worker = make(now=now)
        worker.note(MAC, came(MAC, fresh))
        await worker.flush()
    assert [one.at for one in await acme.certificates(MAC)] == [2.0, 1.0]


async def test_the_oldest_go_and_a_flood_waits_for_another_handshake(
    acme: Fleet, store: Store, make: Any, came: Any, counted: Counter[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        mac = Mac(f"0004f2cc00{number:02x}")
        await acme.add_device(mac, vendor="poly", model="VVX 411", account="Acme")
        worker = make(now=float(number), store_certificates=10)
        worker.note(mac, PeerCert(bytes([number]), (bytes([number]), *came(MAC).chain[1:])))
        await worker.flush()
    async with store.reading() as connection:
        kept = (await connection.execute(select(schema.leaf.c.at).order_by(schema.leaf.c.at))).scalars().all()
    assert kept == [float(number) for number in range(2, 12)]
    monkeypatch.setattr("provisioner.store.chains._QUEUE", 1)
    worker = make()
    for mac in (MAC, OTHER):
        worker.note(mac, came(mac))
    assert counted["store_dropped", "certificate"] == 1
    await worker.flush()
    worker.note(OTHER, came(OTHER))
    await worker.flush()
    assert len(await acme.certificates(OTHER)) == 1


async def test_a_chain_beyond_the_bound_leaves_the_leaf_alone(
    acme: Fleet, store: Store, make: Any, came: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisioner.store.chains._ISSUERS", 0)
    worker = make()
    worker.note(MAC, came(MAC))
    await worker.flush()
    (shown,) = await acme.certificates(MAC)
    assert len(shown.chain) == 1
    assert await rows(store, schema.issuers) == 0


async def test_a_database_that_fails_costs_nothing_but_the_certificate(
    acme: Fleet, store: Store, make: Any, came: Any, counted: Counter[tuple[str, str]]
) -> None:
    worker = make()
    worker.note(MAC, came(MAC))
    async with store.writing() as connection:
        await connection.execute(schema.leaf.delete())
        await connection.exec_driver_sql("ALTER TABLE leaf RENAME TO leaf_away")
    await worker.flush()
    assert counted["store_flush_failed", "certificates"] == 1
    async with store.writing() as connection:
        await connection.exec_driver_sql("ALTER TABLE leaf_away RENAME TO leaf")
    worker.note(MAC, came(MAC))
    await worker.flush()
    assert len(await acme.certificates(MAC)) == 1


async def test_what_is_no_certificate_any_more_is_left_out(acme: Fleet, make: Any) -> None:
    worker = make()
    worker.note(MAC, PeerCert(b"\x30\x03abc", (b"\x30\x03abc", b"\x30\x03def")))
    await worker.flush()
    assert await acme.certificates(MAC) == []


async def test_they_are_seen_by_who_sees_the_device(acme: Fleet, store: Store, make: Any, came: Any) -> None:
    other = await acme.add_account("Other")
    worker = make()
    worker.note(MAC, came(MAC))
    await worker.flush()
    mine = (await acme.device(MAC)).account
    own, foreign = (
        Fleet(store, acme._drivers, principal=Principal("eve", parts_of(Holding(Role.OWNER, account), "eve")))
        for account in (mine, other.id)
    )
    assert len((await own.certificates(MAC))[0].chain) > 1, "the CAs are everybody's"
    with pytest.raises(NotFound):
        await foreign.certificates(MAC)
