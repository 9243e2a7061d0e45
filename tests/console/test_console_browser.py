"""The console in a real browser: by mouse, by keyboard, on a narrow screen, in light and dark, for every reader."""

from __future__ import annotations

import re

import pytest
from console_browser import browsing, too_wide, violations
from console_house import OTHER, OWNER, PASSWORD, T46S, VVX, House
from playwright.async_api import Page, expect

from provisioner.events import EventLog
from provisioner.model import Event, Mac
from provisioner.store.devices import write_pin
from provisioner.store.rows import Pin


def addresses(house: House) -> list[str]:
    acme, device = house.ids["Acme"], f"/devices/{OTHER}"
    return [
        "/", "/devices", "/devices?q=nobody", device, f"{device}/configuration", f"{device}/configuration?all=yes",
        f"{device}/files?name={OTHER}-lines.cfg", f"{device}/history", f"{device}/remove", "/devices/new",
        "/users", "/users/new", f"/users/new?user={house.ids['Ada']}", f"/users/new?extension={house.ids['1001']}",
        f"/users/{house.ids['Ada']}", "/extensions", f"/extensions/{house.ids['1001']}", "/accounts",
        f"/accounts/{acme}", "/codes", "/codes/new", "/layers", f"/layers/account?key={acme}", "/layers/defaults",
        "/models", "/models/poly/VVX 411", "/events", "/audit", "/server", "/me", "/me/second-factor",
    ]  # fmt: skip


async def full(house: House) -> None:
    """Something of everything, so that no page is empty."""
    from provisioner.activation.codes import Codes
    from provisioner.model import Scope

    fleet, means = house.fleet, house.means
    await Codes(means.store, means.drivers, means.settings, actor="test").issue("1001")
    await fleet.set_layer(Scope.DEFAULTS, "", {"sip.server": "pbx.example.net", "password.admin": "x" * 12})
    await fleet.set_layer(Scope.ACCOUNT, house.ids["Acme"], {"language": "de-DE"}, {"poly:voice.volume": "3"})
    await fleet.set_layer(Scope.DEVICE, OTHER, {"sip.expiry": 900})
    await fleet.bind(VVX, 1, extension="1001", label="Front desk")
    told: list[Event] = []
    EventLog(told.append).tell(Event("pin_mismatch", 1e9, OTHER, "alarm", "device", {"reason": "another key"}))
    async with means.store.changing("device", means.clock()) as change:
        change.audit("pin_forgotten", mac=OTHER, severity="alarm", forgot="0" * 64)
        await write_pin(change.connection, Pin(OTHER, "0123456789abcdef" * 4, "2046-11-17T00:00:00Z", means.clock()))


@pytest.mark.asyncio
@pytest.mark.slow
@pytest.mark.timeout(400)  # some fifty pages, each looked at by axe: a minute where nothing else runs
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_fits_every_reader_and_a_narrow_screen(house: House, scheme: str) -> None:
    await full(house)
    narrow = {"width": 360, "height": 740}
    async with browsing(house.url, await house.cookie(), color_scheme=scheme, viewport=narrow) as context:
        page = await context.new_page()
        for address in addresses(house):
            await page.goto(house.url + address)
            assert await too_wide(page) == [], address
            assert await violations(page) == [], address
        await page.set_viewport_size({"width": 1280, "height": 800})
        for address in addresses(house)[:5]:
            await page.goto(house.url + address)
            assert await violations(page) == [], address


@pytest.mark.slow  # every page in three sizes and two colours
@pytest.mark.asyncio
async def test_the_pages_of_strangers_fit_every_reader(house: House) -> None:
    link = (await house.roster.invite(OWNER)).link.partition("/login")[2]
    async with browsing(house.url, viewport={"width": 360, "height": 740}) as context:
        page = await context.new_page()
        for address in ("/login", "/login/forgot", f"/login{link}", "/login/link?token=none"):
            await page.goto(house.url + address)
            assert await violations(page) == [], address
            assert await too_wide(page) == [], address


@pytest.mark.asyncio
async def test_signing_in_and_the_wizard_by_mouse(house: House) -> None:
    async with browsing(house.url) as context:
        page = await context.new_page()
        await page.goto(house.url + "/users/new")
        await page.get_by_label("Mail address").fill(OWNER)
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("heading", name="A new user with a phone")).to_be_visible()
        await page.get_by_label("Account").select_option(label="Acme")
        await page.get_by_label("Name").fill("Grace Hopper")
        await page.get_by_role("button", name="Continue").click()
        await page.get_by_role("button", name="Suggest a free one").click()
        await expect(page.get_by_label("Extension")).to_have_value("1000")
        await page.get_by_role("button", name="Continue").click()
        assert await page.get_by_label("MAC", exact=True).count() == 0
        await page.get_by_label("Model of the phone").select_option("yealink/T46S")
        await page.get_by_role("button", name="Continue").click()
        await page.get_by_label("MAC", exact=True).fill(T46S.colons)
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("status")).to_contain_text("Grace Hopper has 1000 on line 1 of this phone")


async def pressed(page: Page, *keys: str) -> None:
    for key in keys:
        await page.keyboard.press(key)


async def focused(page: Page, name: str) -> None:
    """Go on with Tab until something with this name has the focus, as somebody without a mouse does."""
    for _ in range(60):
        await page.keyboard.press("Tab")
        told = await page.evaluate(
            "() => { const one = document.activeElement; return (one.labels?.[0]?.innerText || one.innerText || '') }"
        )
        if told.strip().startswith(name):
            return
    pytest.fail(f"Tab never comes to {name!r}")


@pytest.mark.asyncio
async def test_a_bind_by_keyboard_alone(house: House) -> None:
    async with browsing(house.url) as context:
        page = await context.new_page()
        await page.goto(house.url + "/login")
        await page.keyboard.type(OWNER)
        await pressed(page, "Tab")
        await page.keyboard.type(PASSWORD)
        await pressed(page, "Enter")
        await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        await pressed(page, "Tab")
        assert await page.evaluate("document.activeElement.innerText") == "Skip to the content"
        await focused(page, "Devices")
        await pressed(page, "Enter")
        await expect(page.get_by_role("heading", name="Devices")).to_be_visible()
        await focused(page, VVX.colons)
        await pressed(page, "Enter")
        await expect(page.get_by_role("heading", name=VVX.colons)).to_be_visible()
        await focused(page, "Extension or person")
        await page.keyboard.type("Ada")
        await pressed(page, "Enter")
        await expect(page.get_by_role("status").first).to_contain_text("1001 is on line 1 now")


@pytest.mark.asyncio
async def test_a_row_is_shown_anew_by_itself_and_keeps_the_focus(house: House) -> None:
    async with browsing(house.url, await house.cookie()) as context:
        page = await context.new_page()
        await page.goto(house.url + "/devices")
        row = page.locator(f'tr[data-mac="{VVX}"]')
        await expect(row).to_contain_text("unassigned")
        link = row.get_by_role("link")
        await link.focus()
        await house.fleet.bind(VVX, 1, extension="1001")
        await expect(row).to_contain_text("waiting")
        await expect(link).to_be_focused()


@pytest.mark.asyncio
async def test_two_browsers_edit_one_layer(house: House) -> None:
    address = f"{house.url}/layers/account?key={house.ids['Acme']}"
    async with browsing(house.url, await house.cookie()) as context:
        first, second = await context.new_page(), await context.new_page()
        for page, name, value in ((first, "language", "de-DE"), (second, "sip.expiry", "900")):
            await page.goto(address)
            await page.get_by_label("Name of setting 1").fill(name)
            await page.get_by_label("Value of setting 1").fill(value)
        await first.get_by_role("button", name="Look at what would change").click()
        await expect(first.get_by_role("heading", level=1)).to_have_text("2 phones may be concerned")
        await first.get_by_role("button", name=re.compile("^Save")).click()
        await expect(first.get_by_role("status")).to_contain_text("Saved")
        await second.get_by_role("button", name="Look at what would change").click()
        await expect(second.get_by_role("heading", level=1)).to_have_text("Somebody else has changed this layer")
        assert await violations(second) == []
        await second.get_by_role("button", name="Put mine on top of it").click()
        assert await violations(second) == []
        await second.get_by_role("button", name=re.compile("^Save")).click()
        await expect(second.get_by_role("status")).to_contain_text("Saved")
        assert await second.locator('[name="set:language"]').input_value() == "de-DE"
        assert await second.locator('[name="set:sip.expiry"]').input_value() == "900"


@pytest.mark.asyncio
async def test_without_javascript_it_works_too(house: House) -> None:
    async with browsing(house.url, await house.cookie(), java_script_enabled=False) as context:
        page = await context.new_page()
        await page.goto(f"{house.url}/devices/{VVX}")
        await page.get_by_label("Extension or person").fill("1002")
        await page.get_by_role("button", name="Bind and tell the phone").click()
        await expect(page.locator(".say")).to_contain_text("1002 is on line 1 now")
    assert (await house.fleet.bindings(Mac(VVX)))[0].number == "1002"
