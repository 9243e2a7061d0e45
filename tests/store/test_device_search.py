"""Devices are found by anything that people know of them, page by page, each once and none left out."""

from __future__ import annotations

import random
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import insert, text

from provisioner.errors import Invalid
from provisioner.fleet.device_search import DeviceQuery
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.search import Search
from provisioner.model import DeviceState
from provisioner.rights import Holding, Principal, parts_of
from provisioner.roles import Role
from provisioner.store import device_pages, schema
from provisioner.store.database import Store
from provisioner.store.device_pages import Order, Place
from provisioner.store.engine import is_sqlite

pytestmark = pytest.mark.asyncio

FIRMWARES = ("", "5.8.0.1", "5.9.4.3247", "6.4.0.10", "6.4.3.5814", "10.1.0.1")


@pytest_asyncio.fixture
async def street(store: Store, fleet: Fleet) -> Search:
    """Forty devices of two accounts; every third has a line, every seventh is revoked."""
    drawn = random.Random(7)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("device", "user", "extension", "binding")}
    for name in ("Acme", "Brum & Sons"):
        account = (await fleet.add_account(name)).id
        site = (await fleet.add_site(f"{name} Harbour", account=account)).id
        for number in range(20):
            mac = f"{drawn.randrange(16**12):012x}"
            vendor, model = (("poly", "VVX 411"), ("poly", "VVX 150"), ("yealink", "T46S"))[number % 3]
            one = {"mac": mac, "vendor": vendor, "model": model, "account": account, "created": 1.0, "site": None}
            one |= {"firmware": FIRMWARES[number // 3 % len(FIRMWARES)], "revoked": number % 7 == 6}
            rows["device"].append(one | ({"site": site} if number % 2 else {}))
            if number % 3 == 0 and not one["revoked"]:
                ident = f"{account[:6]}{number}"
                told = {"id": ident, "account": account}
                rows["user"].append(told | {"name": f"Person {number} of {name}", "email": f"p{ident}@example.net"})
                rows["extension"].append(
                    told | {"number": f"{number + 200}", "user": ident, "auth_user": ident, "secret": b"x"}
                )
                begun = {"mac": mac, "line": 1, "extension": ident, "since": 1.0, "actor": "ann", "cause": "bind"}
                rows["binding"].append(begun | {"label": f"Desk {number}"})
    async with store.writing() as connection:
        for name, values in rows.items():
            await connection.execute(insert(schema.metadata.tables[name]), values)
    return Search(store, fleet._drivers)


async def walked(search: Search, query: DeviceQuery, limit: int = 7) -> list[Any]:
    """All pages."""
    found: list[Any] = []
    after = ""
    while True:
        page = await search.device_page(query, after=after, limit=limit)
        assert len(page.items) <= limit
        found += [one.device for one in page.items]
        if page.next is None:
            assert len({one.mac for one in found}) == len(found)
            return found
        (after,) = map(str, page.next)


def key(one: Any, order: Order) -> tuple[str, ...]:
    place = Place.of(one)
    return {
        Order.MAC: (place.mac,),
        Order.MODEL: (place.vendor, place.model, place.firmware, place.mac),
        Order.FIRMWARE: (place.firmware, place.mac),
    }[order]


async def test_every_order_tells_every_device_once(street: Search) -> None:
    for order in Order:
        for limit in (3, 40, 500):
            found = await walked(street, DeviceQuery(sort=order), limit)
            assert len(found) == 40
            assert [key(one, order) for one in found] == sorted(key(one, order) for one in found)


@pytest.mark.parametrize("window", [2, 1000])
async def test_states_are_found_however_small_the_window(
    street: Search, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_pages, "_WINDOW", window)
    everything = await walked(street, DeviceQuery())
    acme = (await _accounts(street))["Acme"]
    for state in DeviceState:
        fits = [one for one in everything if one.state is state]
        assert fits, state
        assert {one.mac for one in await walked(street, DeviceQuery(state=state))} == {one.mac for one in fits}
        poly = await walked(street, DeviceQuery(account="Acme", vendor="poly", state=state), 3)
        expected = {one.mac for one in fits if one.vendor == "poly" and one.account == acme}
        assert {one.mac for one in poly} == expected, state


async def test_a_page_ends_after_so_many_windows_and_tells_where_to_go_on(
    street: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_pages, "_WINDOW", 2)
    monkeypatch.setattr(device_pages, "_WINDOWS", 2)
    query = DeviceQuery(state=DeviceState.NEEDS_FIRMWARE)
    first = await street.device_page(query, limit=10)
    assert len(first.items) <= 4
    assert first.next is not None
    assert len(await walked(street, query, 10)) == len([
        one for one in await walked(street, DeviceQuery()) if one.state is DeviceState.NEEDS_FIRMWARE
    ])  # fmt: skip


async def test_anything_finds_it(store: Store, street: Search) -> None:
    devices = await walked(street, DeviceQuery())
    lined = next(one for one in devices if one.state is DeviceState.ASSIGNED)
    (found,) = [one for one in (await street.device_page(DeviceQuery(text=lined.mac))).items]
    async with store.writing() as connection:
        seen = {"mac": lined.mac, "day": 20_000}
        await connection.execute(insert(schema.sighting), [seen | {"address": "192.0.2.7"}])
        await connection.execute(insert(schema.sighting), [seen | {"address": "2001:db8:1:2::/64"}])
    user = next(one for one in await _users(store) if one[0] == found.about.lines[0].extension)
    for words in (
        lined.mac, lined.mac.colons.upper(), lined.mac[:8], lined.mac[-4:], lined.mac[-5:], user[1], user[2],
        "192.0.2.7", "2001:db8:1:2:aaaa::1", f"  {user[1].lower()}  ", user[3],
    ):  # fmt: skip
        assert lined.mac in {one.mac for one in await walked(street, DeviceQuery(text=words))}, words


async def _users(store: Store) -> list[Any]:
    """Extension, name and mail address of its user, label."""
    query = text(
        'SELECT e.id, u.name, u.email, b.label FROM extension e JOIN "user" u ON u.id = e."user" '
        "JOIN binding b ON b.extension = e.id"
    )
    async with store.reading() as connection:
        return list((await connection.execute(query)).all())


async def test_a_word_means_many(street: Search) -> None:
    everything, acme = await walked(street, DeviceQuery()), (await _accounts(street))["Acme"]
    for words, fits in {
        "brum": lambda one: one.account != acme,
        "Acme Harbour": lambda one: bool(one.site) and one.account == acme,
        "vvx": lambda one: one.model.startswith("VVX"),
        "VVX-411": lambda one: one.model == "VVX 411",
        "T46": lambda one: one.model == "T46S",
        "yealink": lambda one: one.vendor == "yealink",
        "6.4": lambda one: one.firmware.startswith("6.4"),
        "6.4.3.5814": lambda one: one.firmware == "6.4.3.5814",
        "5.9": lambda one: one.firmware.startswith("5.9"),
        "5.9.": lambda one: one.firmware.startswith("5.9."),
        "revoked": lambda one: one.state is DeviceState.REVOKED,
        "needs firmware": lambda one: one.state is DeviceState.NEEDS_FIRMWARE,
    }.items():
        found = {one.mac for one in await walked(street, DeviceQuery(text=words))}
        assert found == {one.mac for one in everything if fits(one)}, words
        assert found, words
    for words in ("nobody", "zz", "%", "_", "6.4%", "<script>", "9" * 60, "é", "wiping"):
        assert await walked(street, DeviceQuery(text=words)) == [], words


async def _accounts(search: Search) -> dict[str, str]:
    return {one.name: one.id for one in (await search.account_page()).items}


async def test_what_is_out_of_reach_is_found_by_nothing(store: Store, street: Search) -> None:
    ids = await _accounts(street)
    principal = Principal("eve", parts_of(Holding(Role.OWNER, ids["Acme"]), "eve"))
    mine = Search(store, street._drivers, principal=principal)
    own = {one.mac for one in await walked(street, DeviceQuery(account="Acme"))}
    words = ["", "brum", "vvx", "yealink", "6.4", "person", "revoked", "unassigned", "needs firmware", "0", "Desk 3"]
    for one in words:
        for order in (None, Order.FIRMWARE):
            assert {it.mac for it in await walked(mine, DeviceQuery(text=one, sort=order))} <= own, one


async def test_a_vendor_alone_is_read_in_the_order_of_its_index(street: Search) -> None:
    found = await walked(street, DeviceQuery(vendor="poly"))
    assert [key(one, Order.MODEL) for one in found] == sorted(key(one, Order.MODEL) for one in found)
    assert {one.vendor for one in found} == {"poly"}
    with pytest.raises(Invalid):
        await street.device_page(DeviceQuery(model="nonsense"))
    with pytest.raises(Invalid):
        await street.device_page(DeviceQuery(), limit=501)


async def test_a_place_that_nobody_gave_out_does_no_harm(street: Search) -> None:
    for after in ("nonsense", "a|b", "a|b|c", "ffffffffffff", "0|poly|VVX 411|5|6|7", "||||", "é"):
        for order in Order:
            page = await street.device_page(DeviceQuery(sort=order), after=after)
            assert len(page.items) <= 40


async def test_the_indexes_are_used(store: Store, street: Search) -> None:
    """What is dear at a million devices is seen in the plan already."""
    if not is_sqlite(store.url):
        return
    plans = {
        "SELECT mac FROM device ORDER BY vendor, model, firmware, mac LIMIT 5": "ix_device_kind",
        "SELECT mac FROM device WHERE vendor = 'poly' AND model = 'x' ORDER BY vendor, model, firmware, mac LIMIT 5":
            "ix_device_kind",
        "SELECT mac FROM device WHERE firmware >= '6' AND firmware < '7' ORDER BY firmware, mac LIMIT 5":
            "ix_device_firmware",
        "SELECT mac FROM device WHERE account = 'a' ORDER BY vendor, model, firmware, mac LIMIT 5": "ix_device_place",
        "SELECT mac FROM device WHERE revoked = 1 ORDER BY mac LIMIT 5": "ix_device_revoked",
        "SELECT mac FROM device WHERE account = 'a' AND revoked = 1 ORDER BY mac LIMIT 5": "ix_device_gone",
        "SELECT mac FROM device WHERE wipe_since IS NOT NULL AND wiped_at IS NULL ORDER BY mac": "ix_device_wiping",
    }  # fmt: skip
    async with store.reading() as connection:
        for query, index in plans.items():
            plan = [row[3] for row in await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")]
            assert any(index in step for step in plan), (query, plan)
            assert not [step for step in plan if "TEMP B-TREE" in step], (query, plan)
