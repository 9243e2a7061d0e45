"""The panel "Why does it not come up?" on a device's page, and what phones suffer from on the first one."""

from __future__ import annotations

import time

import pytest
from console_house import OTHER, VVX, Browser, House

from provisioner.roles import Role
from provisioner.store.flights import FlightRow, write_flights

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
    assert len(panel.xpath(".//ol/li")) == 17
    fragment = await owner.get(f"/devices/{VVX}/why/live")
    assert "the SERVER refused the phone" in fragment.words
    first = await owner.get("/")
    assert "1 address: The phone's certificate comes from a CA that is not trusted here, VVX 411" in first.words


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
