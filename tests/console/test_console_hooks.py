"""Webhooks in the console: an endpoint made on its page is really called, what failed is sent again; who posts here."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from console_browser import browsing, violations
from console_house import VVX, Browser, House, serving
from console_things import NOUNS, RULES, everything, posted, sources
from hook_receiver import Receiver, receiving
from playwright.async_api import Page, expect

from provisioner.hooks.hooks import Hooks, HookState
from provisioner.hooks.post import HookPost
from provisioner.hooks.senders import HookSenders
from provisioner.hooks.signing import Scheme, prove
from provisioner.hooks.sources import MadeSource
from provisioner.hooks.wire import Wire
from provisioner.http.console import application
from provisioner.roles import MATRIX, Right, Role

pytestmark = pytest.mark.asyncio
LOCAL = {"webhook_allow": ("127.0.0.0/8",), "webhook_tries": 2, "webhook_retry_first": 0.01, "webhook_timeout": 5.0}


@pytest_asyncio.fixture
async def house(console_data: Path, tmp_path: Path) -> AsyncIterator[House]:
    """One that may call receivers on this machine."""
    data = Path(shutil.copytree(console_data, tmp_path / "data"))
    async with serving(data, **LOCAL) as made:
        made.ids = json.loads((data / "ids.json").read_text())
        yield made


async def sent(house: House) -> None:
    """Whatever is due is sent, until nothing waits any more."""
    means = house.means
    post = HookPost(means.store, means.settings, Wire(means.settings), means.clock)
    senders = HookSenders(means.store, means.settings, post, lambda *_: None, clock=means.clock)
    for _ in range(200):
        await senders.turn()
        await asyncio.gather(*senders._running.values())
        if not sum(one.waiting for one in await hooks_of(house)):
            return
        await asyncio.sleep(0.02)
    pytest.fail("something still waits")


async def hooks_of(house: House) -> list[HookState]:
    return await Hooks(house.means.store, house.means.drivers, house.means.settings).hooks()


# --- out ------------------------------------------------------------------------------------------


async def made_on_the_page(page: Page, house: House, receiver: Receiver) -> str:
    """The secret that was shown."""
    await page.goto(f"{house.url}/webhooks")
    await page.get_by_role("link", name="Add an endpoint").click()
    await page.get_by_label("Address").fill("https://10.0.0.1/hook")
    await page.get_by_label("device.*").check()
    await page.get_by_role("button", name="Add and show its secret").click()
    await expect(page.get_by_role("alert")).to_be_visible()  # a network that is not ours; what was typed stays
    await expect(page.get_by_label("device.*")).to_be_checked()
    await page.get_by_label("Address").fill(receiver.url())
    await page.get_by_label("Name").fill("Warehouse")
    await page.get_by_label("What happens in").select_option(label="Acme")
    await page.get_by_role("button", name="Add and show its secret").click()
    secret = (await page.get_by_role("region", name="Secret").inner_text()).strip()
    assert await violations(page) == []
    await page.get_by_role("link", name="Go to the endpoint").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Warehouse")
    assert secret not in await page.content()
    return secret


@pytest.mark.slow
async def test_an_endpoint_made_on_its_page_is_called_and_what_failed_is_sent_again(house: House) -> None:
    async with receiving() as receiver, browsing(house.url, await house.cookie()) as context:
        page = await context.new_page()
        secret = await made_on_the_page(page, house, receiver)
        await page.get_by_role("button", name="Send a test").click()
        await expect(page.get_by_role("status")).to_contain_text("A ping is on its way")
        await sent(house)
        (ping,) = receiver.got
        prove(Scheme.STANDARD, [secret], ping.headers, ping.body, house.means.clock(), 300)
        assert ping.json["type"] == "ping"

        receiver.always = 500
        await house.fleet.revoke_device(VVX)
        await sent(house)
        await page.reload()
        log = page.get_by_role("region", name="Attempts")
        await expect(log.get_by_role("row").nth(1)).to_contain_text("device.revoked")
        await expect(log.get_by_role("row").nth(1)).to_contain_text("2 of 2")
        await expect(log.get_by_role("row").nth(1)).to_contain_text("failed")
        await expect(log.get_by_role("row").nth(2)).to_contain_text("retry")
        await expect(log.get_by_role("row").nth(3)).to_contain_text("delivered")
        waits = page.get_by_role("region", name="Messages that were given up or wait")
        await expect(waits.get_by_role("row").nth(1)).to_contain_text("dead")
        assert await violations(page) == []

        receiver.always = 204
        await waits.get_by_role("button", name="send again").click()
        await expect(page.get_by_role("status").first).to_contain_text("1 message is sent again")
        await expect(waits.get_by_role("row").nth(1)).to_contain_text("queued")
        await sent(house)
        assert [one.json["type"] for one in receiver.got[1:]] == ["device.revoked"] * 3
        assert len({one.headers["webhook-id"] for one in receiver.got[1:]}) == 1
        await page.reload()
        await expect(waits).to_have_count(0)
        await expect(log.get_by_role("row").nth(1)).to_contain_text("delivered")


async def test_an_endpoint_is_changed_disabled_and_removed(house: House) -> None:
    owner = await house.browser()
    form = {"url": "https://hooks.example.net/a", "name": "One", "account": "", "family": ["code.*"]}
    wrong = await owner.post("/webhooks/new", form)
    assert (wrong.status, "is no type of event" in wrong.oops) == (422, True)
    made = await owner.post("/webhooks/new", form | {"family": ["device.*"], "events": "binding.created"})
    address = made.tree.xpath('//a[@class="button go"]/@href')[0]
    page = await owner.get(address)
    assert page.tree.xpath('//input[@name="family"][@checked]/@value') == ["device.*"]
    change = {**page.fields(), "url": "https://hooks.example.net/b", "name": "Two", "events": ""}
    assert "Saved" in (await owner.post(f"{address}/change", change)).said
    stale = await owner.post(f"{address}/change", change | {"name": "Three"})
    assert (stale.status, stale.tree.xpath('//input[@name="name"]/@value')) == (412, ["Three"])
    again = await owner.post(f"{address}/change", {**stale.fields(), "url": "ftp://x", "name": "Three", "events": ""})
    assert again.status == 422
    assert "not called any more" in (await owner.post(f"{address}/disable")).said
    off = await owner.post(f"{address}/test")
    assert (off.status, "enable it first" in off.said) == (409, True)
    assert "What has waited goes out now" in (await owner.post(f"{address}/enable")).said
    assert "the secret before signs as well" in (await owner.post(f"{address}/secret")).words
    for message in ("77", "9" * 30, "x"):
        assert (await owner.post(f"{address}/replay", {"message": message})).status in {404, 422}
    assert "Nothing was given up" in (await owner.post(f"{address}/replay")).said
    assert (await owner.get(f"{address}?message=77")).status == 200
    assert "This cannot be taken back" in (await owner.get(f"{address}/remove")).words
    assert "Two is removed" in (await owner.post(f"{address}/remove")).said
    assert (await owner.get(address)).status == 404


# --- in -------------------------------------------------------------------------------------------


async def source_by_page(house: House, owner: Browser) -> tuple[MadeSource, str]:
    form = {"name": "pbx", "account": house.ids["Acme"], "scheme": "standard", "rules": "not = = toml", "secret": ""}
    wrong = await owner.post("/inbound/new", form)
    assert (wrong.status, "neither TOML nor JSON" in wrong.oops) == (422, True)
    made = await owner.post("/inbound/new", form | {"rules": RULES})
    secret = made.tree.xpath("//pre")[0].text_content()
    assert f"{house.url}/hooks/in/pbx" in made.words
    found = await sources(house).source("pbx")
    return MadeSource(found, secret), f"/inbound/{found.id}"


async def test_a_system_posts_what_cannot_be_is_parked_and_tried_again(house: House) -> None:
    owner = await house.browser()
    made, page = await source_by_page(house, owner)
    tried = await owner.post(f"{page}/try", {"body": '{"type": "assign", "mac": "1", "extension": "1001"}'})
    assert "extension.assign" in tried.said and "1001" in tried.said
    assert (await owner.post(f"{page}/try", {"body": "{"})).status == 422
    number = await posted(house, made, type="assign", mac=str(VVX), extension="1003")
    assert ">1<" in (await owner.get("/inbound")).text
    listed = await owner.get(f"/inbound/messages?source={made.about.id}&state=parked")
    assert "parked" in listed.words and "1003" in listed.words
    one = await owner.get(f"/inbound/messages/{number}")
    assert "extension.assign" in one.words and str(VVX) in one.tree.xpath("//pre")[0].text_content()
    still = await owner.post(f"/inbound/messages/{number}/replay")
    assert "parked" in still.said
    user = await house.fleet.add_user("Cy", account=house.ids["Acme"])
    await house.fleet.add_extension("1003", account=house.ids["Acme"], user=user.id)
    assert "It is applied" in (await owner.post(f"/inbound/messages/{number}/replay")).said
    assert [one.number for one in await house.fleet.bindings(VVX, active=True)] == ["1003"]
    assert (await owner.post(f"/inbound/messages/{number}/drop")).status == 409
    second = await posted(house, made, id="m2", type="assign", mac="zz", extension="1003")
    assert "put aside" in (await owner.post(f"/inbound/messages/{second}/drop")).said
    for missing in ("0", "999", "x", "9" * 40, "²"):
        assert (await owner.get(f"/inbound/messages/{missing}")).status == 404


async def test_a_system_has_other_rules_a_new_secret_and_goes(house: House) -> None:
    owner = await house.browser()
    made, page = await source_by_page(house, owner)
    form = (await owner.get(page)).tree.xpath(f'//form[@action="{page}/rules"]')[0]
    version = form.xpath('.//input[@name="version"]/@value')[0]
    wrong = await owner.post(f"{page}/rules", {"version": version, "rules": "[[rules]]"})
    assert (wrong.status, "[[rules]]" in wrong.tree.xpath('//textarea[@name="rules"]')[0].text_content()) == (422, True)
    saved = await owner.post(f"{page}/rules", {"version": version, "rules": RULES.replace('"assign"', '"given"')})
    assert "Saved" in saved.said
    assert (await owner.post(f"{page}/rules", {"version": version, "rules": RULES})).status == 412
    fresh = (await owner.post(f"{page}/secret")).tree.xpath("//pre")[0].text_content()
    assert fresh != made.secret
    assert "may not post any more" in (await owner.post(f"{page}/disable")).said
    assert "may post again" in (await owner.post(f"{page}/enable")).said
    assert "pbx is removed" in (await owner.post(f"{page}/remove")).said
    assert (await owner.get(page)).status == 404


# --- who may --------------------------------------------------------------------------------------


async def test_an_auditor_sees_all_of_it_and_can_change_nothing(house: House) -> None:
    things = await everything(house)
    auditor = await house.browser(await house.add("a@example.net", Role.AUDITOR, account=house.ids["Acme"]))
    reads, csrf = MATRIX[Role.AUDITOR].keys(), await auditor.csrf()
    for page in application.pages():
        if page.method == "POST" and isinstance(page.allowed, Right) and page.allowed not in reads:
            address = page.path.format(**things)
            assert (await auditor.post(address, {"key": things["account"], "csrf": csrf})).status == 403, address
    assert [page.path for noun in NOUNS for page in noun if page.method == "POST" and page.allowed in reads] == []
    for page in (page for noun in NOUNS for page in noun if page.method == "GET"):
        found = await auditor.get(page.path.format(**things))
        assert found.status == (200 if page.allowed in reads else 403), page.path
        assert found.tree.xpath("//main//form[@method='post']") == [], (page.path, "what may not be done is not shown")
    assert (await house.fleet.policy(things["account"])).phones == 1
