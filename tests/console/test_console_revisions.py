"""Mistakes in the console: looked at before, rolled out to a few first, taken back by one click, never overwritten."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from console_browser import browsing, too_wide, violations
from console_house import T46S, VVX, Browser, House, serving
from playwright.async_api import Page, expect

from provisioner.fleet.rebind import Rebinding
from provisioner.model import Scope

pytestmark = pytest.mark.asyncio
NARROW = {"width": 360, "height": 740}


@pytest_asyncio.fixture
async def strict(console_data: Path, tmp_path: Path) -> AsyncIterator[House]:
    """Where more than one phone is many, and all have been here."""
    data = Path(shutil.copytree(console_data, tmp_path / "strict"))
    async with serving(data, rollout_confirm=1) as made:
        made.ids = json.loads((data / "ids.json").read_text())
        async with made.means.store.writing() as connection:
            await connection.exec_driver_sql("UPDATE device SET served = 0")
        yield made


def layer_of(house: House, part: str = "") -> str:
    return f"{house.url}/layers/account{part}?key={house.ids['Acme']}"


async def typed(page: Page, address: str, name: str, value: str) -> None:
    await page.goto(address)
    await page.get_by_label("Name of setting 1").fill(name)
    await page.get_by_label("Value of setting 1").fill(value)


async def fits(page: Page) -> None:
    assert await violations(page) == []
    assert await too_wide(page) == []


@pytest.mark.slow
async def test_a_change_of_many_phones_is_looked_at_rolled_out_and_taken_back(strict: House) -> None:
    async with browsing(strict.url, await strict.cookie(), viewport=NARROW) as context:
        page = await context.new_page()
        await typed(page, layer_of(strict), "language", "de-DE")
        await page.get_by_role("button", name="Look at what would change").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("2 phones may be concerned")
        await expect(page.get_by_role("region", name="Models")).to_contain_text("VVX 411")
        await expect(page.get_by_text("These are many phones.")).to_be_visible()
        await fits(page)
        await page.get_by_label("Percent of the phones that get it first").fill("1")
        await page.get_by_role("button", name="Save for 2 phones").click()
        await expect(page.get_by_role("status")).to_contain_text("1 of 2 phones get it first (asked: 1 %)")
        await expect(page.get_by_role("heading", name="A change of it is under way")).to_be_visible()
        await fits(page)
        await page.goto(strict.url + "/rollouts")
        await expect(page.get_by_role("heading", name="Account Acme", exact=True)).to_be_visible()
        await expect(page.get_by_text("1 of 2 phones get revision")).to_be_visible()
        await page.get_by_role("button", name="Halt").click()
        await expect(page.get_by_role("status")).to_contain_text("No further phone gets revision")
        await expect(page.get_by_text("Halted by owner@example.net.")).to_be_visible()
        await fits(page)
        await page.get_by_role("button", name="Revert").click()
        await expect(page.get_by_role("status")).to_contain_text("is taken back as revision")
        assert (await strict.fleet.layer(Scope.ACCOUNT, strict.ids["Acme"])).values == {}
        await page.goto(strict.url + "/rollouts")
        await expect(page.get_by_role("region", name="Changes that are over")).to_contain_text("reverted")


async def test_a_revert_is_one_click(house: House) -> None:
    await house.fleet.set_layer(Scope.ACCOUNT, house.ids["Acme"], {"sip.expiry": 600})
    await house.fleet.set_layer(Scope.ACCOUNT, house.ids["Acme"], {"sip.expiry": 60})
    async with browsing(house.url, await house.cookie(), viewport=NARROW) as context:
        page = await context.new_page()
        await page.goto(layer_of(house))
        await page.get_by_role("link", name="What it said before, to be taken back").click()
        await expect(page.locator("tbody tr").first).to_contain_text("sip.expiry: 600 → 60")
        await fits(page)
        await page.get_by_role("button", name=re.compile("^Revert revision")).first.click()
        await expect(page.get_by_role("status")).to_contain_text("is taken back")
        assert await page.locator('[name="set:sip.expiry"]').input_value() == "600"
        await page.goto(layer_of(house, "/history"))
        await expect(page.locator("tbody tr").first).to_contain_text("took back")
        await page.get_by_role("button", name=re.compile("^Revert revision")).nth(1).click()
        await expect(page.get_by_role("alert")).to_contain_text("is taken back already")


@pytest.mark.slow
async def test_two_browsers_that_edit_one_layer_see_both_values(house: House) -> None:
    await house.fleet.set_layer(Scope.ACCOUNT, house.ids["Acme"], {"sip.expiry": 600})
    async with browsing(house.url, await house.cookie()) as one, browsing(house.url, await house.cookie()) as other:
        first, second = await one.new_page(), await other.new_page()
        for page, value in ((first, "900"), (second, "1200")):
            await page.goto(layer_of(house))
            await page.locator('[name="set:sip.expiry"]').fill(value)
        await second.get_by_role("button", name="Look at what would change").click()
        await expect(second.get_by_role("heading", level=1)).to_have_text("2 phones may be concerned")
        await first.get_by_role("button", name="Look at what would change").click()
        await first.get_by_role("button", name=re.compile("^Save")).click()
        await expect(first.get_by_role("status")).to_contain_text("Saved")
        await second.get_by_role("button", name=re.compile("^Save")).click()
        await expect(second.get_by_role("heading", level=1)).to_have_text("Somebody else has changed this layer")
        await expect(second.get_by_role("region", name="As it is now")).to_contain_text("900")
        await expect(second.get_by_role("region", name="What you have sent")).to_contain_text("1200")
        assert await violations(second) == []
        assert (await house.fleet.layer(Scope.ACCOUNT, house.ids["Acme"])).values == {"sip.expiry": 900}
        await second.get_by_role("button", name="Put mine on top of it").click()
        await second.get_by_role("button", name=re.compile("^Save")).click()
        await expect(second.get_by_role("status")).to_contain_text("Saved")
    assert (await house.fleet.layer(Scope.ACCOUNT, house.ids["Acme"])).values == {"sip.expiry": 1200}


async def test_a_line_goes_back_to_who_had_it(house: House) -> None:
    lines = Rebinding(house.means.store, house.means.drivers, actor="test")
    await lines.rebind(VVX, 1, extension="1001")
    await lines.rebind(T46S, 2, extension="1001", replace=True)
    async with browsing(house.url, await house.cookie(), viewport=NARROW) as context:
        page = await context.new_page()
        await page.goto(f"{house.url}/devices/{T46S}/history")
        await page.get_by_role("link", name="Each change of its lines, to be taken back").click()
        await fits(page)
        await page.get_by_role("button", name=re.compile("^Revert revision")).first.click()
        await expect(page.get_by_role("status")).to_contain_text(f"line 1 of {VVX.colons} has 1001")
    assert [one.number for one in await house.fleet.bindings(VVX, active=True)] == ["1001"]
    assert await house.fleet.bindings(T46S, active=True) == []


# --- without a browser ----------------------------------------------------------------------------


async def test_a_wide_revert_shows_the_number_and_the_difference_first(strict: House) -> None:
    owner = await strict.browser()
    key = strict.ids["Acme"]
    await strict.fleet.set_layer(Scope.ACCOUNT, key, {"language": "de-DE"})
    page = await owner.get(f"/layers/account/history?key={key}")
    form = page.fields()
    asked = await owner.post("/layers/account/revert", form)
    assert "2 phones are concerned" in asked.words
    assert any("German" in one.text_content() for one in asked.tree.find_class("cut"))
    assert (await strict.fleet.layer(Scope.ACCOUNT, key)).values == {"language": "de-DE"}
    done = await owner.post("/layers/account/revert", {**asked.fields(), "canary": "100"})
    assert "All 2 phones are told, in waves." in done.said
    assert (await strict.fleet.layer(Scope.ACCOUNT, key)).values == {}
    wrong = await owner.post("/layers/account/revert", {"key": key, "revision": "soon"})
    assert wrong.status == 422


async def test_what_was_typed_stays_when_the_percentage_is_nonsense(strict: House) -> None:
    owner: Browser = await strict.browser()
    page = await owner.get(f"/layers/account?key={strict.ids['Acme']}")
    looked = await owner.post(
        "/layers/account/preview", {**page.fields(), "new-name": "language", "new-value": "fr-FR"}
    )
    refused = await owner.post("/layers/account/save", {**looked.fields(), "canary": "some"})
    assert (refused.status, "canary" in refused.said) == (422, True)
    assert "fr-FR" in refused.tree.xpath("//input/@value")
    unasked = await owner.post("/layers/account/save", {**looked.fields(), "confirm": ""})
    assert (unasked.status, "concerns 2 phones" in unasked.said) == (409, True)
    assert (await strict.fleet.layer(Scope.ACCOUNT, strict.ids["Acme"])).values == {}
