"""The panel "Why does it not come up?" on a device's page, and what phones suffer from on the first one."""

from __future__ import annotations

import re
import time
from itertools import pairwise

import pytest
from console_house import OTHER, VVX, Browser, House

from provisioner.model import Mac
from provisioner.roles import Role
from provisioner.store.devices import write_pin
from provisioner.store.flights import FlightRow, write_flights
from provisioner.store.rows import Pin

REFUSED = {"a": "192.0.2.7", "p": 1, "l": "device", "e": 0.2, "t": ["TLSv1.3", "TLS_AES_128_GCM_SHA256", 0],
           "i": ["untrusted", "", "its issuer is <unknown>", ""], "n": 2,
           "c": [["CN=x", "CN=Evil", 0, 2e9, "RSA", 2048, "sha256"]],
           "r": [[0.1, "GET", f"{VVX}.cfg", 1, 404, 0, "", "not_identified", "", 0, 0]]}  # fmt: skip


async def refuse(house: House) -> None:
    row = FlightRow("", VVX, time.time() - 5, "192.0.2.7", True, "verdict_untrusted", "VVX 411", REFUSED)
    await write_flights(house.means.store, [row], ring=20, strangers=20)


@pytest.mark.asyncio
async def test_the_panel_says_who_refused_whom_and_shows_the_ladder(house: House, owner: Browser) -> None:
    await refuse(house)
    page = await owner.get(f"/devices/{VVX}")
    panel = page.tree.xpath('//section[@aria-labelledby="d-why"]')[0]
    said = " ".join(panel.text_content().split())
    assert "not trusted here [49]: the SERVER refused the phone" in said
    assert "its issuer is <unknown>" in said, "text, not markup"
    assert "broken server trusts phone" in said
    steps = [" ".join(one.text_content().split()) for one in panel.xpath(".//ol/li")]
    assert [one for one in steps if "power ... " in one], "rungs of which the same is known are one line"
    told = [" ".join(one.xpath("./span")[-1].text_content().split()) for one in panel.xpath(".//ol/li")]
    assert all(one != other for one, other in pairwise(told)) and len(steps) < 17, told
    fragment = await owner.get(f"/devices/{VVX}/why/live")
    assert "the SERVER refused the phone" in fragment.words
    first = await owner.get("/")
    assert "1 address: The phone's certificate comes from a CA that is not trusted here, VVX 411" in first.words
    troubles = first.tree.xpath('//section[@aria-labelledby="o-troubles"]')[0]
    assert "192.0.2.7" in troubles.text_content() and not troubles.xpath(".//a")


@pytest.mark.asyncio
async def test_what_phones_suffer_from_leads_to_each_of_them(house: House, owner: Browser) -> None:
    for number in range(8):
        await house.fleet.add_device(Mac(f"0004f20000a{number}"), vendor="poly", model="VVX 411", account="Acme")
    rows = [
        FlightRow(f"0004f20000a{number}", "", time.time() - 5, "192.0.2.7", True, "not_yours", "VVX 411", REFUSED)
        for number in range(8)
    ]
    await write_flights(house.means.store, rows, ring=20, strangers=20)
    troubles = (await owner.get("/")).tree.xpath('//section[@aria-labelledby="o-troubles"]')[0]
    assert troubles.xpath(".//a/@href") == [f"/devices/0004f20000a{number}" for number in range(8)]
    assert troubles.xpath(".//summary/text()") == ["2 more"] and len(troubles.xpath(".//details//a")) == 2


@pytest.mark.asyncio
async def test_what_helps_is_told_in_words_of_the_console(house: House, owner: Browser) -> None:
    lineless = (await owner.get(f"/devices/{VVX}/why/live")).tree
    assert f"/devices/{VVX}" in lineless.xpath("//h3[text()='What helps']/following::a/@href"), "a line is bound there"
    await house.fleet.bind(Mac(VVX), 1, extension="1001")
    unknown = (await owner.get(f"/devices/{VVX}/why/live")).tree
    assert f"/devices/{VVX}/switch-port" in unknown.xpath("//a/@href"), "who could tell more is a link away"
    assert "Somebody takes frames where the phone is." in " ".join(unknown.text_content().split())
    await refuse(house)
    refused = (await owner.get(f"/devices/{VVX}/why/live")).tree
    assert "/certificates/refused" in refused.xpath("//h3[text()='What helps']/following::a/@href")
    for panel in (lineless, unknown, refused):
        assert not re.search(r"provisioner |`|\s--[a-z]", panel.text_content())
    await house.add("tech@example.net", Role.TECHNICIAN, account=house.ids["Acme"])
    technician = (await (await house.browser("tech@example.net")).get(f"/devices/{VVX}/why/live")).tree
    assert "/certificates/refused" not in technician.xpath("//a/@href"), "no link that leads to a refusal"


@pytest.mark.asyncio
async def test_only_who_may_see_a_diagnosis_sees_it(house: House, owner: Browser) -> None:
    await house.add("desk@example.net", Role.AUDITOR, account=house.ids["Acme"])
    auditor = await house.browser("desk@example.net")
    page = await auditor.get(f"/devices/{VVX}")
    assert page.status == 200
    assert not page.tree.xpath('//section[@aria-labelledby="d-why"]')
    assert (await auditor.get(f"/devices/{VVX}/why/live")).status == 403
    await house.add("tech@example.net", Role.TECHNICIAN, account=house.ids["Acme"])
    technician = await house.browser("tech@example.net")
    assert (await technician.get(f"/devices/{VVX}/why/live")).status == 200
    assert (await technician.get(f"/devices/{OTHER}/why/live")).status == 404


@pytest.mark.asyncio
async def test_the_boot_shows_what_was_refused_too(house: House, owner: Browser) -> None:
    at = time.time() - 60
    asked = [
        [0.1, "GET", f"{OTHER}.cfg", 1, 403, 0, "", "not_yours", "", 0, 0],
        [0.2, "GET", "000000000000.cfg", 1, 200, 96, "", "", "", 0, 0],
        [0.3, "PUT", f"{OTHER}-app.log", 0, 403, 0, "", "not_yours", "", 0, 0],
    ]
    good = {**REFUSED, "i": ["unique", "poly", "", VVX], "r": asked}
    await write_flights(
        house.means.store,
        [FlightRow(VVX, "", at, "192.0.2.7", True, "not_yours", "VVX 411", good)],
        ring=9,
        strangers=9,
    )
    page = await owner.get(f"/devices/{VVX}/live")
    rows = page.tree.xpath('//section[@aria-labelledby="l-boot"]//tbody/tr')
    told = [[" ".join(cell.text_content().split()) for cell in row.xpath("./td")[1:]] for row in rows]
    assert told == [
        [f"PUT {OTHER}-app.log", "403", "0 B", "not yours"],
        [f"{OTHER}.cfg", "403", "0 B", "not yours"],
    ]
    await house.add("desk@example.net", Role.AUDITOR, account=house.ids["Acme"])
    auditor = await (await house.browser("desk@example.net")).get(f"/devices/{VVX}/live")
    assert OTHER not in auditor.words, "who may not see its connections sees no more of them here"


@pytest.mark.asyncio
async def test_the_other_key_is_offered_where_one_came(house: House, owner: Browser) -> None:
    async def offered() -> bool:
        page = await owner.get(f"/devices/{VVX}")
        assert page.tree.xpath(f'//form[@action="/devices/{VVX}/pin/forget"]')
        return bool(page.tree.xpath(f'//form[@action="/devices/{VVX}/pin/accept"]'))

    async with house.means.store.changing("server", time.time()) as change:
        await write_pin(change.connection, Pin(Mac(VVX), "0" * 64, "2046-11-17T00:00:00Z", time.time()))
    assert not await offered()
    async with house.means.store.changing("server", time.time()) as change:
        change.audit("pin_mismatch", mac=VVX, severity="alarm", came="f" * 64, pinned="0" * 64)
    assert await offered()
