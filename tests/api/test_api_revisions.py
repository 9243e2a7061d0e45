"""Changes of layers and lines over the API: looked at, confirmed, rolled out, and taken back by their revision."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from api_house import ANY, OTHER, T46S, VVX, House, serving

pytestmark = pytest.mark.asyncio
PATH = "/layers/account/Acme"


@pytest_asyncio.fixture
async def strict(furnished: Path, tmp_path: Path) -> AsyncIterator[House]:
    """Where more than one phone is many."""
    data = Path(shutil.copytree(furnished, tmp_path / "strict"))
    async with serving(data, rollout_confirm=1) as made:
        made.ids = json.loads((data / "ids.json").read_text())
        yield made


async def change(house: House, **said: Any) -> Any:
    answer = await house.ask("PATCH", PATH, said, headers=ANY)
    assert answer.status == 200, answer.body
    return answer.json


async def test_a_change_is_one_revision_with_before_and_after(house: House) -> None:
    await change(house, values={"sip.expiry": 600, "password.admin": "canary-Secret-Zq7!"})
    await change(house, values={"language": "de-DE"}, unset=["sip.expiry"])
    page = await house.get(f"{PATH}/revisions?limit=1")
    (newest,) = page["items"]
    assert newest["before"] == {"values": {"sip.expiry": 600}, "raw": {}}
    assert newest["after"] == {"values": {"language": "de-DE"}, "raw": {}}
    assert newest["actor"] == "administrator"
    (first,) = (await house.get(f"{PATH}/revisions?cursor={page['next']}"))["items"]
    assert first["after"]["values"]["password.admin"] == "********"
    assert await house.get(f"{PATH}/revisions/{first['revision']}") == first


async def test_a_change_is_taken_back_once(house: House) -> None:
    await change(house, values={"sip.expiry": 600})
    await change(house, values={"sip.expiry": 900})
    newest, first = (await house.get(f"{PATH}/revisions"))["items"]
    refused = await house.ask("POST", f"{PATH}/revisions/{first['revision']}/revert", {})
    assert refused.status == 409
    assert f"by revision {newest['revision']}" in refused.json["cause"]
    looked = await house.ask("POST", f"{PATH}/revisions/{newest['revision']}/preview")
    assert (looked.json["phones"], looked.json["asks"]) == (2, False)
    done = await house.ask("POST", f"{PATH}/revisions/{newest['revision']}/revert", {})
    assert (done.status, done.json["phones"], done.json["rollout"]) == (200, 2, None)
    assert (await house.get(PATH))["values"] == {"sip.expiry": 600}
    again = (await house.get(f"{PATH}/revisions/{done.json['revision']}"))["reverts"]
    assert again == newest["revision"]
    stale = await house.ask(
        "POST", f"{PATH}/revisions/{done.json['revision']}/revert", {}, headers={"If-Match": '"another"'}
    )
    assert stale.status == 412


async def test_what_phones_would_get_is_told_by_model_before_anything_is_kept(house: House) -> None:
    answer = await house.ask("POST", f"{PATH}/preview", {"values": {"language": "de-DE", "sip.expiry": 900}})
    assert answer.status == 200, answer.body
    found = answer.json
    assert found["phones"] == 2
    assert {(one["vendor"], one["phones"], one["different"]) for one in found["models"]} == {
        ("poly", 1, 1), ("yealink", 1, 1),
    }  # fmt: skip
    assert {(one["model"], one["phones"], *one["first"]) for one in found["places"]} == {
        ("VVX 411", 1, VVX), ("T46S", 1, T46S),
    }  # fmt: skip
    assert {one["mac"] for one in found["different"]} == {VVX, T46S}
    assert any("German" in file["diff"] for one in found["different"] for file in one["files"])
    assert (await house.get(PATH))["values"] == {}
    wrong = await house.ask("POST", f"{PATH}/preview", {"values": {"nonsense": 1}})
    assert wrong.status == 422


async def test_many_phones_are_asked_about_with_their_number_and_a_cure(strict: House) -> None:
    asked = await strict.ask("PATCH", PATH, {"values": {"sip.expiry": 900}}, headers=ANY)
    assert asked.status == 409
    assert asked.json["type"].endswith("/wide_change")
    assert "2 phones" in asked.json["cause"]
    assert asked.json["phones"] == 2
    assert "confirm" in asked.json["cure"]
    assert (await strict.get(PATH))["values"] == {}
    done = await strict.ask("PATCH", PATH, {"values": {"sip.expiry": 900}, "confirm": 2, "canary": 1}, headers=ANY)
    assert done.status == 200, done.body
    assert done.json["how"] == "1 of 2 phones get it first (asked: 1 %)"
    assert (done.json["reached"], done.json["phones"]) == (1, 2)
    there = await strict.ask("GET", PATH)
    assert done.headers["ETag"] == there.headers["ETag"], "how it reaches phones is no part of the layer"
    (one,) = (await strict.get("/rollouts?under_way=true"))["items"]
    assert (done.json["rollout"], (await strict.get(f"/rollouts/{one['id']}"))["reached"]) == (one["id"], 1)
    assert (one["state"], one["phones"], one["step"]) == ("telling", 2, 1)
    assert 0 < one["percent"] < 100
    assert (await strict.get(f"{PATH}/rollout"))["id"] == one["id"]
    second = await strict.ask("PATCH", PATH, {"values": {"language": "de-DE"}, "confirm": 2}, headers=ANY)
    assert (second.status, "being rolled out" in second.json["cause"]) == (409, True)


async def test_a_rollout_is_promoted_halted_and_reverted(strict: House) -> None:
    await strict.ask("PATCH", PATH, {"values": {"sip.expiry": 900}, "confirm": 2, "canary": 1}, headers=ANY)
    (one,) = (await strict.get("/rollouts"))["items"]
    halted = await strict.ask("POST", f"/rollouts/{one['id']}/halt")
    assert (halted.status, halted.json["state"]) == (200, "halted")
    assert "halted by administrator" in (await strict.get(f"/rollouts/{one['id']}"))["why"]
    whole = await strict.ask("POST", f"/rollouts/{one['id']}/promote", {"everybody": True})
    assert (whole.json["percent"], whole.json["state"]) == (100, "telling")
    refused = await strict.ask("POST", f"{PATH}/revisions/{one['revision']}/revert", {})
    assert refused.json["type"].endswith("/wide_change")
    done = await strict.ask("POST", f"{PATH}/revisions/{one['revision']}/revert", {"confirm": 2})
    assert done.status == 200, done.body
    assert (await strict.get(f"/rollouts/{one['id']}"))["state"] == "reverted"
    assert done.json["rollout"]["percent"] == 100
    assert (await strict.get(PATH))["values"] == {}
    assert (await strict.ask("GET", "/layers/account/Other/rollout")).status == 404


async def test_lines_are_put_back(house: House) -> None:
    await house.ask("PUT", f"/devices/{VVX}/lines/1", {"extension": "1001"})
    await house.ask("PUT", f"/devices/{T46S}/lines/2", {"extension": "1001", "replace": True})
    (moved,) = (await house.get(f"/devices/{T46S}/line-revisions"))["items"]
    assert (moved["before"], moved["after"]["number"]) == (None, "1001")
    done = await house.ask("POST", f"/devices/{T46S}/line-revisions/{moved['revision']}/revert")
    assert done.status == 200, done.body
    assert {(one["mac"], one["line"]) for one in done.json["lines"]} == {(VVX, 1), (T46S, 2)}
    assert done.json["campaign"]
    assert [one["number"] for one in (await house.get(f"/devices/{VVX}/lines"))["items"]] == ["1001"]
    again = await house.ask("POST", f"/devices/{T46S}/line-revisions/{moved['revision']}/revert")
    assert again.status == 409
    nothing = await house.ask("POST", f"/devices/{OTHER}/line-revisions/{moved['revision']}/revert")
    assert nothing.status == 404
