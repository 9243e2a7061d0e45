"""Where phones are and where help is sent to, as the pages say it."""

from __future__ import annotations

import time

import pytest
from console_house import Browser, House

from provisioner.model import FetchRecord, ListenerKind, Mac, Proof
from provisioner.presence_rules import Absent
from provisioner.settings import Settings
from provisioner.store import absences
from provisioner.store.records import Recorder

STRANGER = Mac("0004f20000ab")


@pytest.mark.asyncio
async def test_a_phone_is_shown_where_it_is_seen(house: House, owner: Browser) -> None:
    mac = Mac((await house.fleet.devices(account="Acme"))[0].mac)
    site = house.ids["Acme HQ"]
    await house.fleet.change_site(site, networks=["192.0.2.0/24"])
    recorder = Recorder(house.means.store, Settings(), lambda *_: None)
    how = (Proof.CERTIFICATE, ListenerKind.DEVICE, "TLSv1.3", "")
    recorder.fetch(FetchRecord(mac, "a.cfg", time.time(), 200, 5, "d", *how, address="192.0.2.7"))
    recorder.seen(STRANGER, "poly", "VVX 411", "192.0.2.8", time.time())
    await recorder.flush()
    async with house.means.store.writing() as connection:
        await absences.add(connection, [Absent(mac, site, time.time() - 300_000)])
    page = await owner.get(f"/devices/{mac}")
    now = " ".join(page.tree.xpath('//section[@aria-labelledby="l-now"]//dd//text()'))
    assert "192.0.2.7" in now and "seen at" in now, now
    assert "offline" in now and "3 d" in now, now
    listed = await owner.get(f"/devices?seen_at={site}")
    assert page.tree.xpath(f'//a[@href="/sites/{site}"]')
    assert len(listed.tree.xpath("//tbody/tr")) == 1
    assert (await owner.get(f"/sites/{site}")).tree.xpath(f'//a[@href="/devices?seen_at={site}"]')
    new = await owner.get(f"/devices/new?mac={STRANGER}")
    assert new.tree.xpath('//select[@name="site"]/option[@selected]/@value') == [site]
    assert new.tree.xpath('//select[@name="account"]/option[@selected]/@value') == [house.ids["Acme"]]


@pytest.mark.asyncio
async def test_a_user_gets_an_address_and_a_policy_asks_for_one(house: House, owner: Browser) -> None:
    page = f"/users/{house.ids['Ada']}"
    where = {"address.street": "Unter den Linden 1", "address.city": "Berlin", "address.country": "DE",
             "address.region": "", "address.postal_code": "", "location": "2nd floor"}  # fmt: skip
    assert "The address is saved" in (await owner.post(f"{page}/address", where)).said
    shown = await owner.get(page)
    assert shown.tree.xpath('//input[@name="address.city"]/@value') == ["Berlin"]
    wrong = await owner.post(f"{page}/address", {**where, "address.country": "de"})
    assert (wrong.status, "capital" in wrong.oops) == (422, True)
    policy = f"/policies/{house.ids['Acme']}"
    form = {**(await owner.get(policy)).fields(), "phones": "1", "emergency": "block", "networks": "site"}
    saved = await owner.post(policy, form)
    assert saved.status == 200, saved.words
    found = await house.fleet.policy(house.ids["Acme"])
    assert (found.emergency, found.networks) == ("block", "site")
