"""Calls as a script makes them: over a real socket, into a real store."""

from __future__ import annotations

import asyncio
import json

import pytest
from api_house import ANY, OTHER, T46S, VVX, House

from provisioner.rights import OPERATOR
from provisioner.roles import Right


@pytest.mark.asyncio
async def test_one_call_puts_a_person_on_a_phone_and_everything_follows(house: House) -> None:
    answer = await house.ask("PUT", f"/devices/{VVX}/lines/1", {"user": "Ada"})
    assert answer.status == 200
    told = answer.json
    assert (told["line"]["number"], told["line"]["extension"]) == ("1001", house.ids["1001"])
    assert told["freed"] == []
    status = await house.get(f"/devices/{VVX}/status")
    assert status["resync"]["campaign"] == told["campaign"] != ""
    assert status["configuration"] == {"served": 0, "wanted": status["configuration"]["wanted"], "current": False}
    kinds = [one["kind"] for one in (await house.get(f"/events?mac={VVX}"))["items"]]
    assert kinds[:2] == ["resync_begun", "line_bound"]
    shown = await house.get(f"/devices/{VVX}")
    assert [(one["line"], one["number"]) for one in shown["lines"]] == [(1, "1001")]


@pytest.mark.asyncio
async def test_whoever_was_there_makes_way_in_the_same_call(house: House) -> None:
    await house.ask("PUT", f"/devices/{VVX}/lines/1", {"extension": "1001"})
    await house.ask("PUT", f"/devices/{T46S}/lines/2", {"extension": "1002"})
    taken = await house.ask("PUT", f"/devices/{VVX}/lines/2", {"extension": "1002"})
    assert (taken.status, taken.json["type"]) == (409, "/api/v1/problems/extension_has_phone")
    moved = await house.ask("PUT", f"/devices/{VVX}/lines/1", {"extension": "1002", "replace": True}, headers=ANY)
    assert moved.status == 200
    freed = {(one["mac"], one["line"], one["number"]) for one in moved.json["freed"]}
    assert freed == {(VVX, 1, "1001"), (T46S, 2, "1002")}
    told = (await house.get("/resyncs"))["items"]
    assert {one["mac"] for one in told if one["campaign"] == moved.json["campaign"]} == {VVX, T46S}
    again = await house.ask("PUT", f"/devices/{VVX}/lines/1", {"extension": "1002"}, headers=ANY)
    assert (again.json["campaign"], again.json["freed"]) == ("", [])


@pytest.mark.asyncio
async def test_a_bind_that_cannot_be_leaves_everything_as_it_was(house: House) -> None:
    await house.ask("PUT", f"/devices/{VVX}/lines/1", {"extension": "1001"})
    await house.ask("PUT", f"/devices/{T46S}/lines/1", {"extension": "1002"})
    before = await house.get(f"/devices/{VVX}/lines")
    refused = await house.ask("PUT", f"/devices/{VVX}/lines/1", {"extension": "1002"}, headers=ANY)
    assert refused.status == 409
    assert await house.get(f"/devices/{VVX}/lines") == before
    assert [one["kind"] for one in (await house.get("/events?kind=line_unbound"))["items"]] == []


@pytest.mark.asyncio
async def test_a_freed_line_is_wiped_from_the_phone_by_a_fetch(house: House) -> None:
    await house.ask("PUT", f"/devices/{VVX}/lines/1", {"extension": "1001"})
    names = [one["name"] for one in (await house.get(f"/devices/{VVX}/files"))["items"]]

    async def held() -> bool:
        asked = [await house.ask("POST", f"/devices/{VVX}/file/reveal?name={name}") for name in names]
        return any(b"canary" in one.body for one in asked)

    assert await held()
    released = await house.ask("DELETE", f"/devices/{VVX}/lines/1", headers=ANY)
    assert released.status == 200
    assert released.json["freed"]["number"] == "1001"
    assert released.json["campaign"]
    assert not await held()


@pytest.mark.asyncio
async def test_the_same_key_gets_the_same_answer_and_nothing_is_done_twice(house: House) -> None:
    key = {"Idempotency-Key": "a-script-tries-again"}
    first = await house.ask("POST", "/accounts", {"name": "Third"}, headers=key)
    again = await house.ask("POST", "/accounts", {"name": "Third"}, headers=key)
    assert (first.status, again.status) == (201, 201)
    assert first.body == again.body
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    other = await house.ask("POST", "/accounts", {"name": "Fourth"}, headers=key)
    assert (other.status, other.json["type"]) == (422, "/api/v1/problems/key_reused")
    assert len((await house.get("/accounts?name=Third"))["items"]) == 1


@pytest.mark.asyncio
async def test_a_key_is_its_callers_own_and_lasts_a_day(house: House) -> None:
    house.keeper.known["second"] = OPERATOR.__class__("second", OPERATOR.parts)
    key = {"Idempotency-Key": "k"}
    assert (await house.ask("POST", "/accounts", {"name": "A"}, headers=key)).status == 201
    assert (await house.ask("POST", "/accounts", {"name": "B"}, headers=key, who="second")).status == 201
    async with house.means.store.writing() as connection:
        await connection.exec_driver_sql("UPDATE repeat SET at = at - 86401")
    assert (await house.ask("POST", "/accounts", {"name": "C"}, headers=key)).status == 201


@pytest.mark.asyncio
async def test_what_was_refused_is_tried_anew_under_its_key(house: House) -> None:
    key = {"Idempotency-Key": "k"}
    assert (await house.ask("POST", "/accounts", {"name": "Acme"}, headers=key)).status == 409
    await house.ask("PATCH", "/accounts/Acme", {"name": "Acme Ltd"}, headers=ANY)
    assert (await house.ask("POST", "/accounts", {"name": "Acme"}, headers=key)).status == 201


@pytest.mark.asyncio
async def test_twenty_at_once_with_one_key_make_one_account(house: House) -> None:
    key = {"Idempotency-Key": "k"}
    found = await asyncio.gather(*(house.ask("POST", "/accounts", {"name": "Rush"}, headers=key) for _ in range(20)))
    assert {one.status for one in found} == {201}
    assert len({one.body for one in found}) == 1


@pytest.mark.asyncio
async def test_an_answer_with_a_secret_is_kept_sealed(house: House) -> None:
    key = {"Idempotency-Key": "k"}
    made = await house.ask("POST", "/codes", {"extension": "1001"}, headers=key)
    again = await house.ask("POST", "/codes", {"extension": "1001"}, headers=key)
    assert made.json["digits"] == again.json["digits"]
    assert made.headers["Cache-Control"] == "no-store"
    async with house.means.store.reading() as connection:
        rows = (await connection.exec_driver_sql("SELECT * FROM repeat")).all()
    assert rows
    assert made.json["digits"] not in repr(rows)


@pytest.mark.asyncio
async def test_a_change_says_which_version_it_means(house: House) -> None:
    path = f"/accounts/{house.ids['Acme']}"
    seen = (await house.ask("GET", path)).headers["ETag"]
    blind = await house.ask("PATCH", path, {"name": "X"})
    assert (blind.status, blind.json["type"]) == (428, "/api/v1/problems/unconditional")
    done = await house.ask("PATCH", path, {"name": "Acme Ltd"}, headers={"If-Match": seen})
    assert done.status == 200
    assert done.headers["ETag"] != seen
    late = await house.ask("PATCH", path, {"name": "Acme GmbH"}, headers={"If-Match": seen})
    assert (late.status, late.json["type"]) == (412, "/api/v1/problems/stale")
    assert (await house.ask("GET", path)).headers["ETag"] == done.headers["ETag"]
    assert (await house.ask("GET", path, headers={"If-None-Match": done.headers["ETag"]})).status == 304
    assert (
        await house.ask("PATCH", path, {"name": "N"}, headers={"If-Match": f"W/{done.headers['ETag']}"})
    ).status == 412
    assert (await house.ask("PATCH", path, {"name": "N"}, headers={"If-Match": "no quotes"})).status == 400


@pytest.mark.asyncio
async def test_of_two_who_edit_the_same_layer_the_second_is_told(house: House) -> None:
    path = "/layers/account/Acme"
    tag = {"If-Match": (await house.ask("GET", path)).headers["ETag"]}
    body = {"values": {"language": "de-DE"}}
    found = await asyncio.gather(*(house.ask("PATCH", path, body, headers=tag) for _ in range(6)))
    assert sorted(one.status for one in found) == [200, 412, 412, 412, 412, 412]


@pytest.mark.asyncio
async def test_layers_are_typed_and_say_what_is_wrong(house: House) -> None:
    path = "/layers/account/Acme"
    wrong = await house.ask("PATCH", path, {"values": {"sip.expiry": 5}}, headers=ANY)
    assert wrong.status == 422
    assert wrong.json["errors"] == [{"field": "sip.expiry", "cause": "must be from 60 to 86400"}]
    body = {"values": {"sip.server": "pbx.example.net:5061", "password.admin": "geheim"}, "raw": {"poly:a.b": "1"}}
    done = await house.ask("PATCH", path, body, headers=ANY)
    assert done.json["values"] == {"sip.server": "pbx.example.net:5061", "password.admin": "********"}
    gone = await house.ask("PATCH", path, {"unset": ["password.admin", "poly:a.b"]}, headers=ANY)
    assert (gone.json["values"], gone.json["raw"]) == ({"sip.server": "pbx.example.net:5061"}, {})
    assert (await house.ask("PATCH", path, {"unset": ["language"]}, headers=ANY)).status == 404
    assert (await house.get("/layers/defaults/-"))["values"] == {}
    names = {one["name"]: one for one in (await house.get("/settings-of-devices"))["items"]}
    assert names["sip.expiry"]["unit"] == "s"
    assert names["password.admin"]["secret"]


@pytest.mark.asyncio
async def test_who_is_not_known_or_has_no_right_is_told_so(house: House) -> None:
    stranger = await house.ask("GET", "/devices", who="nobody")
    assert (stranger.status, stranger.headers["WWW-Authenticate"]) == (401, 'Bearer realm="provisioner"')
    assert stranger.headers["Content-Type"].startswith("application/problem+json")
    house.keeper.known["reader"] = OPERATOR.narrowed([Right.DEVICE_READ], None)
    assert (await house.ask("GET", "/devices", who="reader")).status == 200
    refused = await house.ask("DELETE", f"/devices/{VVX}", who="reader", headers=ANY)
    assert (refused.status, refused.json["right"]) == (403, "device.write")


@pytest.mark.asyncio
async def test_codes_devices_tokens_and_files(house: House) -> None:
    made = await house.ask("POST", "/codes", {"extension": "1001", "mac": "00:04:F2:00:00:01", "life": 7200})
    assert made.status == 201
    assert made.json["about"]["mac"] == VVX
    assert (await house.ask("POST", "/extensions/1001/code/reveal")).json["digits"] == made.json["digits"]
    checks = await house.ask("POST", "/codes/check", {"extension": "1002", "model": "IP 450"})
    assert checks.json["possible"] is False
    assert (await house.ask("DELETE", "/extensions/1001/code", headers=ANY)).json["state"] == "revoked"
    assert [one["state"] for one in (await house.get("/codes"))["items"]] == ["revoked"]
    await house.ask("PATCH", f"/devices/{VVX}/access", {"token": True}, headers=ANY)
    token = await house.ask("POST", f"/devices/{VVX}/tokens", {"fetches": 5})
    assert token.json["url"].startswith("https://prov.example.net:8443/t/")
    assert (await house.get(f"/devices/{VVX}/tokens"))["items"][0]["budget"] == 5
    assert (await house.ask("DELETE", f"/devices/{VVX}/tokens")).json == {"closed": 1}
    assert (await house.ask("POST", f"/devices/{VVX}/revoke")).json["state"] == "revoked"
    assert (await house.ask("POST", f"/devices/{VVX}/restore")).json["state"] == "unassigned"
    moved = await house.ask("PUT", f"/devices/{OTHER}/place", {"account": "Acme"}, headers=ANY)
    assert moved.status == 409
    values = {one["name"]: one for one in (await house.get(f"/devices/{VVX}/settings"))["items"]}
    assert values["time.zone"]["scope"] == "site"


@pytest.mark.asyncio
async def test_no_answer_but_a_reveal_tells_a_secret(house: House) -> None:
    await house.ask("PUT", f"/devices/{VVX}/lines/1", {"extension": "1001"})
    for path in ("/extensions", "/extensions/1001", f"/devices/{VVX}/settings", f"/devices/{VVX}/files", "/events"):
        assert b"canary" not in (await house.ask("GET", path)).body, path
    told = await house.ask("POST", "/extensions/1001/secret/reveal")
    assert told.json["secret"].startswith("canary")
    (event,) = (await house.get("/events?kind=secret_revealed"))["items"]
    assert event["severity"] == "warning"


@pytest.mark.asyncio
async def test_people_licenses_numbers_and_policies(house: House) -> None:
    await house.ask("POST", "/licenses", {"account": "Acme", "count": 2})
    given = await house.ask("POST", "/users/Ada/licenses", {})
    assert (given.status, given.json["user"]) == (201, house.ids["Ada"])
    assert (await house.ask("POST", f"/licenses/{given.json['id']}/suspend")).json["state"] == "suspended"
    assert (await house.get("/license-totals?account=Acme"))["items"][0]["available"] == 1
    policy = await house.ask("PATCH", "/accounts/Acme/policy", {"needs_license": True}, headers=ANY)
    assert policy.json["needs_license"]
    refused = await house.ask("PUT", f"/devices/{VVX}/lines/1", {"user": "Bob"})
    assert refused.json["type"] == "/api/v1/problems/no_license"
    await house.ask("POST", "/numbers", {"account": "Acme", "numbers": ["+4930123456"]})
    held = await house.ask("PUT", "/numbers/%2B4930123456/extension", {"extension": "1001"})
    assert held.json["state"] == "assigned"
    await house.ask("PUT", "/accounts/Acme/range", {"range": "1000-1009"})
    hold = await house.ask("POST", "/extension-holds", {"account": "Acme"})
    assert hold.json["number"] == "1000"
    user = await house.ask("POST", "/users", {"name": "Lobby", "account": "Acme"})
    body = {"number": "1000", "account": "Acme", "user": user.json["id"]}
    made = await house.ask("POST", "/extensions", body)
    assert made.status == 201
    assert (await house.get(made.headers["Location"]))["number"] == "1000"
    assert (await house.get("/extension-holds"))["items"] == []


@pytest.mark.asyncio
async def test_administrators_keys_and_the_audit_log(house: House) -> None:
    body = {"email": "owner@example.net", "role": "owner"}
    made = await house.ask("POST", "/administrators", body)
    assert made.status == 201
    who = made.json["id"]
    assert (await house.ask("POST", f"/administrators/{who}/invite")).json["link"].startswith("http")
    given = await house.ask("POST", f"/administrators/{who}/roles", {"role": "technician", "account": "Acme"})
    assert sorted(one["role"] for one in given.json["roles"]) == ["owner", "technician"]
    last = await house.ask("DELETE", f"/administrators/{who}", headers=ANY)
    assert last.status == 409
    key = await house.ask("POST", "/keys", {"name": "script", "scopes": ["device.read"]})
    assert key.json["about"]["scopes"] == ["device.read"]
    assert (await house.ask("DELETE", f"/keys/{key.json['about']['id']}", headers=ANY)).status == 200
    assert (await house.get("/audit/verify"))["good"]
    lines = (await house.ask("GET", "/audit/export")).body.splitlines()
    assert json.loads(lines[0])["seq"] == 1


@pytest.mark.asyncio
async def test_settings_in_use_hide_what_opens_the_database(house: House) -> None:
    found = {one["name"]: one["value"] for one in (await house.get("/settings"))["items"]}
    assert found["server.name"] == "prov.example.net"
    from provisioner.http.api.house import used

    assert "geheim" not in used("store.url", "postgresql://me:geheim@db/prov")
