"""A phone is replaced and wiped in the console: what is lost is read before, and only that is done."""

from __future__ import annotations

import pytest
from console_house import OTHER, T46S, VVX, Browser, House

pytestmark = pytest.mark.asyncio


async def test_the_difference_is_shown_and_then_done(house: House, owner: Browser) -> None:
    await house.fleet.bind(VVX, 1, extension="1001")
    page = await owner.get(f"/devices/{VVX}/swap")
    assert page.status == 200 and "Another phone in its place" in page.words
    shown = await owner.get(f"/devices/{VVX}/swap?new={T46S}")
    assert shown.status == 200 and "Put 00:15:65:00:00:02 in its place" in shown.words
    assert "1001" in shown.words
    fields = {one.get("name"): one.get("value") for one in shown.tree.xpath('//main//form[@method="post"]//input')}
    done = await owner.post(f"/devices/{VVX}/swap", {name: fields[name] for name in ("plan", "new", "vendor", "model")})
    assert done.url == f"{house.url}/devices/{T46S}"
    assert "has taken the place of 00:04:f2:00:00:01" in done.said
    assert [one.number for one in await house.fleet.bindings(T46S, active=True)] == ["1001"]
    wiped = await owner.get(f"/devices/{VVX}/wipe")
    assert "Its place was taken by 00:15:65:00:00:02" in wiped.words


async def test_nothing_is_done_that_was_not_looked_at(house: House, owner: Browser) -> None:
    await house.fleet.bind(VVX, 1, extension="1001")
    assert (await owner.post(f"/devices/{VVX}/swap", {"new": T46S})).status == 422
    stale = await owner.post(f"/devices/{VVX}/swap", {"new": T46S, "plan": "0" * 16})
    assert stale.status == 409 and "has changed since it was looked at" in stale.text
    for wrong in ("", "nonsense", OTHER.replace("9", "8"), VVX):
        page = await owner.get(f"/devices/{VVX}/swap?new={wrong}")
        assert page.status in (200, 404, 422), page.status
        assert "<script" not in page.text.partition("<main")[2]
    assert [one.number for one in await house.fleet.bindings(VVX, active=True)] == ["1001"]


async def test_a_wipe_asks_first_and_can_be_ended(house: House, owner: Browser) -> None:
    await house.fleet.bind(VVX, 1, extension="1001")
    page = await owner.get(f"/devices/{VVX}/wipe")
    assert "Wipe this device?" in page.words and "and free its lines: 1001" in page.words
    assert (await owner.post(f"/devices/{VVX}/wipe")).status == 409
    done = await owner.post(f"/devices/{VVX}/wipe", {"unbind": "yes"})
    assert done.url == f"{house.url}/devices/{VVX}/wipe" and "what it fetches next" in done.said
    assert (await house.fleet.wipe(VVX)).everything
    ended = await owner.post(f"/devices/{VVX}/wipe/end")
    assert "served as any other again" in ended.said
    assert not (await house.fleet.wipe(VVX)).everything
