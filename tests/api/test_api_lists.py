"""Lists: page by page, whatever comes and goes meanwhile; found by anything; only the fields that are wanted."""

from __future__ import annotations

from typing import Any

import pytest
from api_house import OTHER, T46S, VVX, House

from provisioner.model import Mac


async def turned(house: House, path: str, **more: Any) -> list[Any]:
    """All rows of a list, by its cursors."""
    found, cursor = [], ""
    while True:
        page = await house.get(f"{path}{'&' if '?' in path else '?'}cursor={cursor}", **more)
        found += page["items"]
        if page["next"] is None:
            return found
        cursor = page["next"]


@pytest.mark.asyncio
async def test_a_page_begins_behind_the_one_before_whatever_comes_between(house: House) -> None:
    for number in range(30):
        mac = Mac(f"0004f21000{number:02x}")
        await house.fleet.add_device(mac, vendor="poly", model="VVX 411", account=house.ids["Acme"])
    first = await house.get("/devices?limit=10")
    macs = [one["mac"] for one in first["items"]]
    await house.fleet.add_device(Mac("0004f2000000"[:-1] + "3"), vendor="poly", model="VVX 411", account="Acme")
    await house.fleet.remove_device(Mac(macs[-1]))
    everything = await turned(house, "/devices?limit=7")
    later = await house.get(f"/devices?limit=500&cursor={first['next']}")
    assert later["items"][0]["mac"] > macs[-1]
    assert len(later["items"]) == 33 - 10
    assert len(everything) == 33


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "path", ["/accounts", "/sites", "/users", "/extensions", "/codes", "/events", "/licenses", "/numbers", "/devices"]
)
async def test_every_list_gives_each_row_once(house: House, path: str) -> None:
    for number in ("1001", "1002", "2001"):
        await house.ask("POST", "/codes", {"extension": number, "replace": True})
    await house.ask("POST", "/licenses", {"account": "Acme", "count": 5})
    await house.ask("POST", "/numbers", {"account": "Acme", "numbers": [f"55{one}" for one in range(10, 15)]})
    everything = (await house.get(f"{path}?limit=500"))["items"]
    assert len(everything) >= 2
    assert await turned(house, f"{path}?limit=1") == everything
    assert await turned(house, f"{path}?limit=2") == everything


@pytest.mark.asyncio
async def test_devices_are_found_by_anything_people_know(house: House) -> None:
    await house.ask("PUT", f"/devices/{VVX}/lines/2", {"user": "Ada", "label": "Front desk"})

    async def macs(query: str) -> list[str]:
        return [one["mac"] for one in (await house.get(f"/devices?{query}"))["items"]]

    assert await macs("q=1001") == [VVX]
    assert await macs("q=ada") == [VVX]
    assert await macs("q=ADA@example") == [VVX]
    assert await macs("q=Front%20desk") == [VVX]
    assert await macs("q=0001") == [VVX]
    assert await macs("q=00:15:65") == [T46S]
    assert await macs("q=%25") == []
    assert await macs("account=Other") == [OTHER]
    assert await macs("state=unassigned") == [T46S]
    assert await macs("vendor=yealink&model=t46s") == [T46S]
    assert await macs("site=Acme%20HQ") == [VVX]


@pytest.mark.asyncio
async def test_a_state_that_only_vendors_know_fills_pages_too(house: House) -> None:
    for number in range(12):
        mac = Mac(f"0004f22000{number:02x}")
        await house.fleet.add_device(mac, vendor="poly", model="VVX 411", account=house.ids["Acme"])
    async with house.means.store.writing() as connection:
        await connection.exec_driver_sql("UPDATE device SET firmware = '1.0.0.1' WHERE mac >= '0004f2200009'")
    old = await turned(house, "/devices?state=needs_firmware&limit=1")
    assert [one["mac"] for one in old] == ["0004f2200009", "0004f220000a", "0004f220000b"]
    young = await turned(house, "/devices?state=unassigned&limit=2")
    assert len(young) == 11
    assert not {one["mac"] for one in old} & {one["mac"] for one in young}


@pytest.mark.asyncio
async def test_only_the_fields_that_are_wanted(house: House) -> None:
    page = await house.get("/devices?fields=mac,model&limit=1")
    assert page["items"] == [{"mac": VVX, "model": "VVX 411"}]
    whole = await house.ask("GET", f"/devices/{VVX}")
    thin = await house.ask("GET", f"/devices/{VVX}?fields=state")
    assert thin.json == {"state": "unassigned"}
    assert thin.headers["ETag"] == whole.headers["ETag"]
    listed = await house.ask("GET", "/devices?limit=1")
    assert listed.headers["Link"].endswith('rel="next"')
