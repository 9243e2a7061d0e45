"""What sites, users and extensions say of themselves: whole, checked, versioned, told to phones and listeners."""

from __future__ import annotations

from typing import Any

import pytest
from api_house import ANY, VVX, House
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import Invalid
from provisioner.places import Address, parse_networks, parse_notify
from provisioner.rights import OPERATOR, Right

HOME = {"street": "1 Example Road", "city": "Bristol", "region": "", "postal_code": "BS1 1AA", "country": "GB"}


async def changed(house: House, path: str, body: Any, **more: Any) -> Any:
    answer = await house.ask("PATCH", path, body, **{"headers": ANY, **more})
    assert answer.status == 200, answer.body
    return answer.json


@pytest.mark.asyncio
async def test_a_site_says_where_it_is(house: House) -> None:
    site = f"/sites/{house.ids['Acme site']}"
    before = await house.get(site)
    assert (before["address"], before["networks"], before["range"]) == (None, [], None)
    told = await changed(house, site, {
        "name": "Bristol", "time_zone": "Europe/London", "address": HOME, "location": "2nd floor", "range": "100-199",
        "notify": ["desk@example.net"], "networks": ["192.0.2.0/24", "2001:db8::/32", "192.0.2.0/24"],
    })  # fmt: skip
    assert told == await house.get("/sites/Bristol")
    assert (told["address"], told["location"], told["range"]) == (HOME, "2nd floor", "100-199")
    assert (told["time_zone"], told["networks"]) == ("Europe/London", ["192.0.2.0/24", "2001:db8::/32"])
    assert (await house.get(f"/layers/site/{house.ids['Acme site']}"))["values"]["time.zone"] == "Europe/London"
    assert (await house.get("/ranges?account=Acme"))["items"][0]["low"] == "100"
    left = await changed(
        house, site, {"address": dict.fromkeys(HOME, ""), "range": "", "networks": [], "time_zone": ""}
    )
    assert (left["address"], left["range"], left["networks"], left["location"]) == (None, None, [], "2nd floor")
    assert left["time_zone"] == ""
    kinds = [one["kind"] for one in (await house.get("/events?limit=50"))["items"]]
    assert kinds.count("emergency_changed") == 2 and kinds.count("site_changed") == 2


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"address": {**HOME, "city": ""}}, "address.city"),
        ({"address": {**HOME, "street": " x"}}, "address.street"),
        ({"address": {"country": "Germany"}}, "address.country"),
        ({"networks": ["192.0.2.1/24"]}, "networks"),
        ({"networks": ["home"]}, "networks"),
        ({"notify": ["nobody"]}, "notify"),
        ({"time_zone": "Mars/Crater"}, "time.zone"),
        ({"range": "200-100"}, "range"),
        ({"name": ""}, "name"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_what_is_wrong_of_a_site_changes_nothing_of_it(house: House, body: Any, field: str) -> None:
    site = f"/sites/{house.ids['Acme site']}"
    before = await house.get(site)
    answer = await house.ask("PATCH", site, {"location": "somewhere else", **body}, headers=ANY)
    assert answer.status == 422, answer.body
    assert answer.json["errors"][0]["field"] == field
    assert await house.get(site) == before


@pytest.mark.asyncio
async def test_a_site_is_changed_by_its_version(house: House) -> None:
    site = f"/sites/{house.ids['Acme site']}"
    assert (await house.ask("PATCH", site, {"location": "x"})).status == 428
    tag = (await house.ask("GET", site)).headers["ETag"]
    first = await house.ask("PATCH", site, {"location": "x"}, headers={"If-Match": tag})
    assert first.headers["ETag"] == (await house.ask("GET", site)).headers["ETag"] != tag
    assert (await house.ask("PATCH", site, {"location": "y"}, headers={"If-Match": tag})).status == 412
    await house.ask("POST", "/sites", {"name": "Second", "account": "Acme"})
    assert (await house.ask("PATCH", site, {"name": "Second"}, headers=ANY)).status == 409


@pytest.mark.asyncio
async def test_a_range_takes_the_right_to_numbers(house: House) -> None:
    house.keeper.known["sites"] = OPERATOR.narrowed([Right.SITE_WRITE, Right.ACCOUNT_READ], None)
    site = f"/sites/{house.ids['Acme site']}"
    assert (await house.ask("PATCH", site, {"location": "x"}, headers=ANY, who="sites")).status == 200
    refused = await house.ask("PATCH", site, {"location": "y", "range": "1-9"}, headers=ANY, who="sites")
    assert (refused.status, refused.json["right"]) == (403, "number.write")
    assert (await house.get(site))["location"] == "x"


@pytest.mark.asyncio
async def test_a_user_may_be_a_place(house: House) -> None:
    made = await house.ask("POST", "/users", {"name": "Lobby", "account": "Acme", "kind": "place"})
    assert made.json["kind"] == "place"
    assert [one["name"] for one in (await house.get("/users?kind=place"))["items"]] == ["Lobby"]
    assert (await house.get("/users/Ada"))["kind"] == "person"
    told = await changed(house, f"/users/{house.ids['Ada']}", {"name": "Ada King", "email": "king@example.net"})
    assert (told["name"], told["email"], told["kind"]) == ("Ada King", "king@example.net", "person")
    taken = await house.ask(
        "PATCH", f"/users/{house.ids['Ada']}", {"name": "X", "email": "bob@example.net"}, headers=ANY
    )
    assert taken.status == 409
    assert (await house.get(f"/users/{house.ids['Ada']}"))["name"] == "Ada King"
    assert (await house.ask("PATCH", f"/users/{house.ids['Ada']}", {}, headers=ANY)).status == 422


@pytest.mark.asyncio
async def test_an_extension_is_shown_otherwise_and_its_phone_gets_it(house: House) -> None:
    await house.ask("PUT", f"/devices/{VVX}/lines/1", {"extension": "1001"})
    before = {one["name"]: one["wanted"] for one in (await house.get(f"/devices/{VVX}/files"))["items"]}
    told = await changed(house, "/extensions/1001", {"display_name": "Ada King", "auth_user": "ada.king"})
    assert (told["display_name"], told["auth_user"]) == ("Ada King", "ada.king")
    await house.means.renders.views.refresh()  # type: ignore[attr-defined]  # as the server does four times a second
    after = {one["name"]: one["wanted"] for one in (await house.get(f"/devices/{VVX}/files"))["items"]}
    assert before != after
    assert (await changed(house, "/extensions/1001", {"auth_user": ""}))["auth_user"] == "1001"
    where = (await house.get("/extensions/1001/lines"))["items"]
    assert [(one["mac"], one["line"]) for one in where] == [(VVX, 1)]
    assert (await house.get("/extensions/1002/lines"))["items"] == []


@pytest.mark.asyncio
async def test_the_partner_tree_can_be_walked(house: House) -> None:
    for name, parent in (("Child", "Acme"), ("Grandchild", "Child")):
        assert (await house.ask("POST", "/accounts", {"name": name, "parent": parent})).status == 201
    assert [one["name"] for one in (await house.get("/accounts?parent=Acme"))["items"]] == ["Child"]
    below = {one["name"] for one in (await house.get("/accounts/Acme/children"))["items"]}
    assert below == {"Child", "Grandchild"}
    first = await house.get("/accounts/Acme/children?limit=1&fields=name")
    second = await house.get(f"/accounts/Acme/children?limit=1&fields=name&cursor={first['next']}")
    assert {first["items"][0]["name"], second["items"][0]["name"]} == below
    assert (second["next"], set(first["items"][0])) == (None, {"name"})


@pytest.mark.asyncio
async def test_one_of_each_can_be_asked_for(house: House) -> None:
    """Whatever is listed has an address of its own, and a version."""
    await house.ask("POST", "/numbers", {"account": "Acme", "numbers": ["+4930111"]})
    await house.ask("POST", "/licenses", {"account": "Acme"})
    await house.ask("POST", "/keys", {"name": "k", "scopes": ["device.read"]})
    await house.ask("POST", "/codes", {"extension": "1001"})
    license = (await house.get("/licenses"))["items"][0]
    newest = (await house.get("/events?limit=1"))["items"][0]
    for path, same in (
        ("/numbers/%2B4930111", (await house.get("/numbers"))["items"][0]),
        (f"/licenses/{license['id']}", license),
        ("/keys/k", (await house.get("/keys"))["items"][0]),
        (f"/events/{newest['id']}", newest),
    ):
        answer = await house.ask("GET", path)
        assert answer.json == same and answer.headers["ETag"], path
    code = await house.ask("GET", "/extensions/1001/code")
    stale = {"If-Match": code.headers["ETag"]}
    assert (await house.ask("POST", "/extensions/1001/code/reissue", {}, headers=stale)).status == 201
    assert (await house.ask("DELETE", "/extensions/1001/code", headers=stale)).status == 412
    assert (await house.ask("GET", "/events/123456789")).status == 404


@given(st.lists(st.text(max_size=30), max_size=5))
def test_any_text_is_networks_and_addresses_or_refused_by_name(texts: list[str]) -> None:
    for parse, field in ((parse_networks, "networks"), (parse_notify, "notify")):
        try:
            found = parse(texts)
        except Invalid as error:
            assert error.field == field
        else:
            assert not [one for one in found if " " in one]
            assert parse(found) == found


@given(st.builds(dict, **{name: st.text(max_size=20) for name in HOME}))
def test_any_address_is_whole_or_refused_by_name(lines: dict[str, str]) -> None:
    try:
        found = Address(**lines)
    except Invalid as error:
        assert error.field.startswith("address.")
    else:
        assert not found.known or (found.street and found.city and found.country)
