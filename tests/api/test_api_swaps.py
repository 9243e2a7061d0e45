"""Swap and wipe by the API: a dry run's plan is what is done, and how far a wipe is can be asked."""

from __future__ import annotations

import pytest
from api_house import ANY, OTHER, T46S, VVX, House

from provisioner.model import Mac

pytestmark = pytest.mark.asyncio


async def bound(house: House, mac: Mac, line: int, number: str) -> None:
    answer = await house.ask("PUT", f"/devices/{mac}/lines/{line}", {"extension": number})
    assert answer.status == 200, answer.body


async def test_a_dry_run_is_what_is_done(house: House) -> None:
    await bound(house, VVX, 1, "1001")
    await bound(house, VVX, 2, "1002")
    plan = await house.ask("POST", f"/devices/{VVX}/swap", {"new": T46S, "dry_run": True})
    assert plan.status == 200, plan.body
    assert (plan.json["done"], [one["to"] for one in plan.json["moves"]]) == (False, [1, 2])
    done = await house.ask("POST", f"/devices/{VVX}/swap", {"new": T46S, "plan": plan.json["plan"]})
    assert done.status == 200, done.body
    assert done.json["done"] and done.json["plan"] == plan.json["plan"]
    lines = (await house.get(f"/devices/{T46S}/lines"))["items"]
    assert [(one["number"], one["line"]) for one in lines] == [("1001", 1), ("1002", 2)]
    wipe = await house.get(f"/devices/{VVX}/wipe")
    assert (wipe["everything"], wipe["pending"], wipe["replaced_by"]) == (True, True, T46S)
    again = await house.ask("POST", f"/devices/{VVX}/swap", {"new": OTHER, "plan": "0" * 16})
    assert again.status == 409 and "belongs to another account" in again.json["cause"]


async def test_a_phone_with_lines_is_a_conflict_with_its_cure(house: House) -> None:
    await bound(house, VVX, 1, "1001")
    await bound(house, T46S, 1, "1002")
    refused = await house.ask("POST", f"/devices/{VVX}/swap", {"new": T46S})
    assert refused.status == 409
    assert "1002 on line 1" in refused.json["cause"] and "unbind it first" in refused.json["cause"]
    assert (await house.ask("POST", f"/devices/{VVX}/swap", {"new": "nonsense"})).status == 422


async def test_an_unbind_is_waited_for_and_a_wipe_begins_and_ends(house: House) -> None:
    await bound(house, VVX, 1, "1001")
    freed = await house.ask("DELETE", f"/devices/{VVX}/lines/1", headers=ANY)
    assert freed.status == 200
    wipe = await house.get(f"/devices/{VVX}/wipe")
    assert (wipe["lines"], wipe["pending"], wipe["fetched"]) == ([1], True, None) and wipe["since"]
    asked = await house.ask("POST", f"/devices/{VVX}/wipe")
    assert asked.status == 200 and asked.json["everything"]
    ended = await house.ask("DELETE", f"/devices/{VVX}/wipe")
    assert ended.status == 200 and not ended.json["everything"]
    assert (await house.ask("DELETE", f"/devices/{VVX}/wipe")).status == 404


async def test_another_phone_gets_another_secret_and_it_is_said(house: House) -> None:
    made = await house.ask("PUT", "/extensions/1001/secret", {})
    assert made.status == 204
    await bound(house, VVX, 1, "1001")
    before = await house.get("/extensions/1001/secret")
    told = await house.ask("PUT", f"/devices/{T46S}/lines/1", {"extension": "1001", "replace": True})
    assert told.status == 200
    anew = told.json["exchanged"]
    assert (anew["number"], anew["account_name"], anew["user"]) == ("1001", "Acme", "Ada") and anew["phones"]
    after = await house.get("/extensions/1001/secret")
    assert before["origin"] == after["origin"] == "made" and before["since"] < after["since"]
    assert set(after) == {"origin", "since"}


async def test_removal_ends_what_was_bound(house: House) -> None:
    await bound(house, VVX, 1, "1001")
    assert (await house.ask("DELETE", "/extensions/1001", headers=ANY)).status == 204
    assert (await house.get(f"/devices/{VVX}/wipe"))["lines"] == [1]
