"""The pages of the office for every reader: narrow, light and dark, by keyboard; what others wrote stays text there."""

from __future__ import annotations

import json

import pytest
from console_browser import browsing, too_wide, violations
from console_house import Browser, House
from console_things import HOOK_URL, NOUNS, RULES, everything, posted, sources
from playwright.async_api import Page, expect
from test_console_text import CORPUS, assert_harmless

from provisioner.fleet.jobs import Jobs
from provisioner.hooks.hooks import Hooks
from provisioner.http.api.job_runner import JobRunner
from provisioner.keys_desk import ApiKeys
from provisioner.licensing import LicenseKind
from provisioner.model import Event
from provisioner.rights import Right, Role
from provisioner.store.hooks import Delivery, add_delivery
from provisioner.store.journal import write_events

FIELDS = ("name", "url", "events", "account", "email", "role", "site", "user", "kind", "count", "numbers", "extension",
          "body", "rules", "days", "scope", "phones", "message", "right")  # fmt: skip


async def addresses(house: House) -> list[str]:
    """Each page of these nouns, about something that is there."""
    names = await everything(house)
    return [page.path.format(**names) for noun in NOUNS for page in noun if page.method == "GET"]


async def full(house: House) -> None:
    """Something in the tables that are empty otherwise."""
    means, acme = house.means, house.ids["Acme"]
    await house.fleet.add_child("Small shop", parent=acme)
    hook = (await Hooks(means.store, means.drivers, means.settings).hooks())[0].about
    refused = {"verdict": "untrusted", "subject": "CN=somebody", "issuer": "CN=nobody", "address": "192.0.2.1"}
    failed = Delivery(0, hook.id, 7, "device.added", "device:1", 3, 1, means.clock(), 500, 12, "retry", "answers 500")
    async with means.store.writing() as connection:
        await write_events(connection, [Event("not_identified", means.clock(), severity="warning", details=refused)])
        await add_delivery(connection, failed, acme, 10)
    await house.fleet.revoke_device((await house.fleet.devices())[0].mac)
    while await JobRunner(means).turn():
        pass


@pytest.mark.slow  # a score of pages in two colours
@pytest.mark.asyncio
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_of_the_office_fits_every_reader(house: House, scheme: str) -> None:
    pages = await addresses(house)
    await full(house)
    narrow = {"width": 360, "height": 740}
    async with browsing(house.url, await house.cookie(), color_scheme=scheme, viewport=narrow) as context:
        page = await context.new_page()
        for address in pages:
            await page.goto(house.url + address)
            assert await too_wide(page) == [], address
            assert await violations(page) == [], address


async def focused(page: Page, name: str) -> None:
    """Tab until something of this name has the focus."""
    for _ in range(40):
        await page.keyboard.press("Tab")
        told = await page.evaluate(
            "() => { const one = document.activeElement; return (one.labels?.[0]?.innerText || one.innerText || '') }"
        )
        if told.strip() == name:
            return
    pytest.fail(f"Tab never comes to {name!r}")


@pytest.mark.asyncio
async def test_the_menu_opens_by_keyboard_on_a_narrow_screen(house: House) -> None:
    async with browsing(house.url, await house.cookie(), viewport={"width": 360, "height": 740}) as context:
        page = await context.new_page()
        await page.goto(f"{house.url}/me")
        menu = page.get_by_role("navigation", name="Pages")
        await expect(menu.get_by_role("link", name="Jobs")).to_be_hidden()
        await focused(page, "Menu")
        await page.keyboard.press("Space")
        await expect(menu.get_by_role("list", name="Records").get_by_role("link")).to_have_text(
            ["Events", "Jobs", "Audit log"]
        )
        assert await violations(page) == [] and await too_wide(page) == []
        await focused(page, "Jobs")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
        await page.get_by_label("Menu").check()
        await expect(menu.get_by_role("link", name="Jobs")).to_have_attribute("aria-current", "page")


# --- what others wrote ----------------------------------------------------------------------------


async def strange(house: House, number: int, text: str) -> None:
    """One text wherever these pages show somebody else's."""
    means, acme, fleet = house.means, house.ids["Acme"], house.fleet
    desk = (means.store, means.drivers, means.settings)
    name = f"{text[:60]} {number}"
    hook = (await Hooks(*desk, actor=name).add_hook(HOOK_URL, account=acme, name=name)).about
    await ApiKeys(*desk, actor=name).make_key(name, scopes=[Right.DEVICE_READ])
    await house.roster.add_administrator(f"x{number}@example.net", role=Role.AUDITOR, account=acme, name=name)
    user = await fleet.add_user(name, account=acme)
    await fleet.add_licenses(LicenseKind.USER, account=acme)
    await fleet.assign_license(user.id)
    row = json.dumps({"mac": "0004f2000001", "account": name}).encode()
    await Jobs(means.store, means.drivers, actor=name).begin_job("moves", [row], account=acme)
    delivery = Delivery(0, hook.id, 7, "device.added", text, 3, 1, means.clock(), 500, 12, "retry", text)
    async with means.store.writing() as connection:
        await add_delivery(connection, delivery, acme, 10)
        refused = Event("not_identified", means.clock(), details={"subject": text, "issuer": text, "verdict_why": text})
        await write_events(connection, [refused])


@pytest.mark.asyncio
async def test_what_others_have_written_stays_text_in_the_office(house: House, owner: Browser) -> None:
    names = await everything(house)
    made = await sources(house).rotate_source("pbx")
    rules = RULES + "".join(f"# {text}\n" for text in CORPUS)
    await sources(house).change_source("pbx", rules=rules)
    numbers_of = [await posted(house, made, id=f"m{n}", type="assign", mac=text, extension=text)
                  for n, text in enumerate(CORPUS)]  # fmt: skip
    for number, text in enumerate(CORPUS):
        await strange(house, number, text)
    while await JobRunner(house.means).turn():
        pass
    found = [one.about.id for one in await Hooks(house.means.store, house.means.drivers, house.means.settings).hooks()]
    made_jobs = (await Jobs(house.means.store, house.means.drivers).job_page()).items
    pages = [page.path.format(**names) for noun in NOUNS for page in noun if page.method == "GET"]
    pages += [f"/webhooks/{one}" for one in found] + [f"/jobs/{one.id}" for one in made_jobs]
    pages += [f"/inbound/messages/{one}" for one in numbers_of]
    seen = ""
    for path in pages:
        shown = await owner.get(path)
        assert shown.status == 200, path
        assert_harmless(shown, path)
        seen += shown.words
    for text in CORPUS:
        assert seen.count(text[:40]) >= 5, "it is shown, as it is"


@pytest.mark.asyncio
async def test_what_is_typed_into_the_office_comes_back_as_text(house: House, owner: Browser) -> None:
    names, text = await everything(house), "".join(CORPUS[:4])
    csrf = {"csrf": await owner.csrf()}
    for noun in NOUNS:
        for page in noun:
            address = page.path.format(**names)
            if page.method == "GET":
                shown = await owner.get(
                    f"{address}?account={'%3Cb%3E'}&state=x&kind=x&rows=x&cursor=x&source=x&message=x"
                )
            elif page.files:
                shown = await owner.send_parts(address, {"text": text, "account": text, "format": text} | csrf)
            elif "remove" in address or address.endswith(("/revoke", "/free", "/drop", "/secret", "/link", "/rules")):
                continue
            else:
                shown = await owner.post(address, dict.fromkeys(FIELDS, text) | csrf)
            assert shown.status < 500, address
            assert_harmless(shown, address)
