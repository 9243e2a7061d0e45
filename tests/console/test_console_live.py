"""A whole installation: a phone is bound by its MAC in a browser, boots, and its row turns online by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from console_browser import browsing
from house import VVX, House
from playwright.async_api import expect

from provisioner import settings
from provisioner.demo.owner import owner_link
from provisioner.model import Mac, Scope
from provisioner.simulator import Phone, boot, load_persona

PASSWORD = "seven green bottles"
QUIET = 10
"""s without a fetch after which a phone counts as online here."""


def phone(house: House) -> Phone:
    certificate, key = house.certificate("poly", VVX)
    return Phone(
        persona=load_persona("poly", "VVX 411"), mac=Mac(VVX), certificate=certificate, key=key, trust=house.ca,
        check_name=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_phone_that_is_bound_turns_online_before_the_eyes(tmp_path: Path) -> None:
    house = House.build(tmp_path, activation_no_reboot_hint_after=QUIET, store_flush=0.1)
    async with house.fleet() as fleet:
        account = (await fleet.add_account("Acme")).id
        ada = await fleet.add_user("Ada", account=account)
        await fleet.add_extension("1001", account=account, user=ada.id)
        await fleet.set_layer(Scope.DEFAULTS, "", {"sip.server": "pbx.example.net"})
        await fleet.add_device(Mac(VVX), vendor="poly", model="VVX 411", account=account)
    await asyncio.to_thread(house.start)
    try:
        await bound_and_booted(house)
    finally:
        await asyncio.to_thread(house.stop)


async def bound_and_booted(house: House) -> None:
    url = f"http://127.0.0.1:{house.ports['admin']}"
    link = await owner_link(settings.load(house.data), url)
    async with browsing(url) as context:
        page, beside = await context.new_page(), await context.new_page()
        await page.goto(link)
        await page.get_by_label("New password").fill(PASSWORD)
        await page.get_by_label("The same again").fill(PASSWORD)
        await page.get_by_role("button", name="Set and sign in").click()
        await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        await page.goto(f"{url}/devices/{VVX}")
        await page.get_by_label("Extension or person").fill("Ada")
        await page.get_by_role("button", name="Bind and tell the phone").click()
        await expect(page.get_by_role("status").first).to_contain_text("1001 is on line 1 now")
        await beside.goto(f"{url}/devices")
        row = beside.locator(f'tr[data-mac="{VVX}"]')
        await expect(row).to_contain_text("waiting")
        report = await boot(phone(house), f"https://localhost:{house.ports['device']}/")
        assert report.lines, report
        await expect(row).to_contain_text("activating")
        names = {step.path.rpartition("/")[2] for step in report.steps if step.status == 200 and step.method == "GET"}
        live = page.locator("#live")
        for name in sorted(names):
            await expect(live).to_contain_text(name)
        await expect(live).to_contain_text("accepted")
        await expect(row).to_contain_text("online", timeout=2_000 * QUIET)
