"""A whole installation: a phone boots, and each of its files is in the page before anything of it is written down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from console_browser import browsing, too_wide, violations
from house import VVX, House
from playwright.async_api import expect

from provisioner import settings
from provisioner.administrators import Administrators
from provisioner.model import Mac, Scope
from provisioner.roles import Role
from provisioner.roster import Roster
from provisioner.simulator import Phone, boot, load_persona
from provisioner.store.database import Store

OWNER, PASSWORD = "owner@example.net", "seven green bottles"


def phone(house: House) -> Phone:
    certificate, key = house.certificate("poly", VVX)
    return Phone(
        persona=load_persona("poly", "VVX 411"), mac=Mac(VVX), certificate=certificate, key=key, trust=house.ca,
        check_name=False,
    )  # fmt: skip


async def fill(house: House) -> str:
    """An account with a person and a phone that is on no line; the session of its owner."""
    async with house.fleet() as fleet:
        account = (await fleet.add_account("Acme")).id
        ada = await fleet.add_user("Ada", account=account)
        await fleet.add_extension("1001", account=account, user=ada.id)
        await fleet.set_layer(Scope.DEFAULTS, "", {"sip.server": "pbx.example.net"})
        await fleet.add_device(Mac(VVX), vendor="poly", model="VVX 411", account=account)
    configured = settings.load(house.data)
    async with Store.of(configured) as store:
        roster, people = Roster(store, {}, configured), Administrators(store, configured)
        await roster.add_administrator(OWNER, role=Role.OWNER)
        await people.set_password((await roster.invite(OWNER)).link.partition("token=")[2], PASSWORD)
        return (await people.login(OWNER, PASSWORD)).token


@asynccontextmanager
async def installed(directory: Path) -> AsyncIterator[tuple[House, str]]:
    """What devices cause is written when the server ends."""
    house = House.build(directory, store_flush=60.0, login_hash_memory=8, login_hash_passes=1, login_hash_lanes=1)
    token = await fill(house)
    await asyncio.to_thread(house.start)
    try:
        yield house, token
    finally:
        await asyncio.to_thread(house.stop)


async def written(house: House) -> set[str]:
    """Files that the database knows it has fetched."""
    async with house.fleet() as fleet:
        return {one.file for one in await fleet.fetches(Mac(VVX))}


@pytest.mark.slow  # a server, a browser and a boot at the pace of a phone
@pytest.mark.asyncio
async def test_each_file_is_in_the_page_before_it_is_written(tmp_path: Path) -> None:
    async with installed(tmp_path) as (house, token):
        url = f"http://127.0.0.1:{house.ports['admin']}"
        async with browsing(url, token, viewport={"width": 360, "height": 740}, color_scheme="dark") as context:
            page = await context.new_page()
            await page.goto(f"{url}/devices/{VVX}")
            await page.get_by_label("Extension or person").fill("Ada")
            await page.keyboard.press("Enter")
            await expect(page.get_by_role("status").first).to_contain_text("1001 is on line 1 now")
            await asyncio.sleep(1)  # the feed is being listened to
            report = await boot(phone(house), f"https://localhost:{house.ports['device']}/")
            names = {step.path.rpartition("/")[2] for step in report.steps if step.status == 200}
            files = {name for name in names if name.endswith(".cfg")}
            assert len(files) >= 2
            for file in sorted(files):
                await expect(page.locator("#live")).to_contain_text(file)
            assert await written(house) == set(), "the page has it from the worker"
            await expect(page.locator("#live")).to_contain_text("accepted")
            for tab in ("", "/certificate", "/files", "/history"):
                await page.goto(f"{url}/devices/{VVX}{tab}")
                assert await violations(page) == [], tab
                assert await too_wide(page) == [], tab
            await page.goto(f"{url}/devices")
            assert await violations(page) == []
            assert await too_wide(page) == []
            await page.get_by_label(f"Tick {Mac(VVX).colons}").check()
            await page.get_by_label("With many devices").select_option("resync")
            await asyncio.sleep(2.5)  # the rows would have been fetched anew
            await page.get_by_role("button", name="Those that are ticked").press("Enter")
            await expect(page.get_by_role("heading", level=1)).to_have_text("Fetch again: 1 device")
            assert await violations(page) == []
            assert await too_wide(page) == []
    assert files <= await written(house), "what waited was written when the server ended"
    async with house.fleet() as fleet:
        (shown,) = await fleet.certificates(Mac(VVX))
    assert shown.pinned
    assert [one.subject.partition("=")[0] for one in shown.chain] == ["CN"] * 4
