"""From where a device came last and at which site that is; where help is sent to; what a policy asks of both."""

from __future__ import annotations

import time

import pytest
from api_house import ANY, T46S, VVX, House

from provisioner.model import FetchRecord, ListenerKind, Mac, Proof
from provisioner.presence_rules import Absent
from provisioner.settings import Settings
from provisioner.store import absences
from provisioner.store.records import Recorder

HOME = {"street": "1 Example Road", "city": "Bristol", "region": "", "postal_code": "BS1 1AA", "country": "GB"}


async def came(house: House, mac: Mac, address: str) -> None:
    recorder = Recorder(house.means.store, Settings(), lambda *_: None)
    how = (Proof.CERTIFICATE, ListenerKind.DEVICE, "TLSv1.3", "")
    recorder.fetch(FetchRecord(mac, "a.cfg", time.time(), 200, 5, "d", *how, address=address))
    await recorder.flush()


@pytest.mark.asyncio
async def test_a_device_is_seen_at_a_site(house: House) -> None:
    site = house.ids["Acme site"]
    before = await house.get(f"/devices/{VVX}/status")
    assert (before["seen"], before["away"]) == ({"address": None, "site": None}, None)
    answer = await house.ask("PATCH", f"/sites/{site}", {"networks": ["192.0.2.0/24", "2001:db8::/32"]}, headers=ANY)
    assert answer.status == 200
    await came(house, VVX, "192.0.2.7")
    await came(house, T46S, "203.0.113.5")
    assert (await house.get(f"/devices/{VVX}/status"))["seen"] == {"address": "192.0.2.7", "site": site}
    assert (await house.get(f"/devices/{T46S}/status"))["seen"] == {"address": "203.0.113.5", "site": None}
    for asked in (f"seen_at={site}", "q=192.0.2.0/24", "q=192.0.2.7/31", f"seen_at={site}&q=VVX"):
        assert [one["mac"] for one in (await house.get(f"/devices?{asked}"))["items"]] == [VVX], asked
    assert (await house.get(f"/devices?seen_at={site}&q=T46S"))["items"] == []
    await came(house, VVX, "2001:db8::9")
    assert [one["mac"] for one in (await house.get(f"/devices?seen_at={site}"))["items"]] == [VVX]
    await house.ask("PATCH", f"/sites/{site}", {"networks": []}, headers=ANY)
    assert (await house.get(f"/devices?seen_at={site}"))["items"] == []
    assert (await house.ask("GET", "/devices?seen_at=nowhere")).status == 404


@pytest.mark.asyncio
async def test_a_phone_that_nobody_has_added_has_a_site_to_go_to(house: House) -> None:
    site = house.ids["Acme site"]
    await house.ask("PATCH", f"/sites/{site}", {"networks": ["192.0.2.0/24"]}, headers=ANY)
    recorder = Recorder(house.means.store, Settings(), lambda *_: None)
    recorder.seen(Mac("0004f20000aa"), "poly", "VVX 411", "192.0.2.9", 1.0)
    recorder.seen(Mac("0004f20000ab"), "poly", "VVX 411", "203.0.113.9", 1.0)
    await recorder.flush()
    found = (await house.get("/seen-devices"))["items"]
    assert [(one["mac"][-2:], one["site"]) for one in found] == [("aa", site), ("ab", None)]


@pytest.mark.asyncio
async def test_a_device_that_is_away_says_since_when(house: House) -> None:
    async with house.means.store.writing() as connection:
        await absences.add(connection, [Absent(VVX, house.ids["Acme site"], 1_800_000_000.0)])
    told = (await house.get(f"/devices/{VVX}/status"))["away"]
    assert (told["state"], told["since"][:10]) == ("offline", "2027-01-15")


@pytest.mark.asyncio
async def test_a_user_may_have_an_address_of_their_own(house: House) -> None:
    user = f"/users/{house.ids['Ada']}"
    assert ((await house.get(user))["address"], (await house.get(user))["location"]) == (None, "")
    told = await house.ask("PATCH", user, {"address": HOME, "location": "2nd floor"}, headers=ANY)
    assert (told.status, told.json["address"], told.json["location"]) == (200, HOME, "2nd floor")
    assert told.json == await house.get(user)
    left = await house.ask("PATCH", user, {"address": dict.fromkeys(HOME, "")}, headers=ANY)
    assert (left.json["address"], left.json["location"]) == (None, "2nd floor")
    wrong = await house.ask("PATCH", user, {"address": {**HOME, "city": ""}}, headers=ANY)
    assert (wrong.status, wrong.json["errors"][0]["field"]) == (422, "address.city")
    kinds = [one["kind"] for one in (await house.get("/events?limit=50"))["items"]]
    assert kinds.count("emergency_changed") == 2


@pytest.mark.asyncio
async def test_a_policy_refuses_a_line_without_an_address(house: House) -> None:
    policy = "/accounts/Acme/policy"
    shown = await house.get(policy)
    assert (shown["emergency"], shown["networks"]) == ("warn", "anywhere")
    told = await house.ask("PATCH", policy, {"emergency": "block", "networks": "site"}, headers=ANY)
    assert (told.status, told.json["emergency"], told.json["networks"]) == (200, "block", "site")
    refused = await house.ask("PUT", f"/devices/{VVX}/lines/1", {"extension": "1001"})
    assert refused.status == 409 and "has an address" in refused.json["cause"]
    await house.ask("PATCH", "/users/Ada", {"address": HOME}, headers=ANY)
    assert (await house.ask("PUT", f"/devices/{VVX}/lines/1", {"extension": "1001"})).status == 200
    assert (await house.ask("PATCH", policy, {"emergency": "perhaps"}, headers=ANY)).status == 422
