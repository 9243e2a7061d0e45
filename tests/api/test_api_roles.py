"""Every route, as every role, across two accounts: what is out of reach looks exactly like what does not exist."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping
from typing import Any

import pytest
from api_house import ANY, OTHER, VVX, House
from samples import HELD_BACK, RULES, file_of, narrowed, request_of

from provisioner.http.api.application import table
from provisioner.http.api.routes import Route
from provisioner.model import ConfigLayer, Scope
from provisioner.rights import Holding, Principal, Right, Role, parts_of
from provisioner.rollout_states import PARTS, RolloutState
from provisioner.store.people import new_id
from provisioner.store.rollouts import Rollout, insert_rollout

ROLES = list(Role)
FOR_ALL_ACCOUNTS = {"verify_audit", "export_audit"}
"""A chain is read as a whole."""
KNOWN_BY_NAME = {"give_role", "take_role", "grant_right", "end_grants", "add_administrator"}
"""A login is one person's in the whole installation: who may give roles learns whether it is taken, and no more."""
CANARIES = ("Eve", "2001", "Other HQ", "00:04:f2:00:00:09", "4930999", "eve@example.net")
"""Of the other account; its ids come from the house."""


def principal(house: House, role: Role) -> Principal:
    """Somebody who holds the role in Acme alone."""
    ids = house.ids
    site = ids["Acme site"] if role is Role.SITE_ADMIN else ""
    user = ids["Ada"] if role is Role.EMPLOYEE else ""
    holding = Holding(role, ids["Acme"], site, user)
    return Principal(f"{role}@example.net", parts_of(holding, f"{role}@example.net"), ident=f"id-{role}")


async def prepared(house: House) -> tuple[dict[str, str], dict[str, str]]:
    """Names of things of the other account, and of things that are nowhere, as long and as good."""
    await house.ask("POST", "/licenses", {"account": "Other"})
    given = await house.ask("POST", "/users/Eve/licenses", {})
    await house.ask("POST", "/numbers", {"account": "Other", "numbers": ["+4930999", "4711"]})
    await house.ask("POST", "/codes", {"extension": "2001", "replace": True})
    await house.ask("PATCH", "/layers/account/Other", {"values": {"phonebook.name": "Eve's book"}}, headers=ANY)
    admin = await house.ask(
        "POST", "/administrators", {"email": "eve@example.net", "role": "auditor", "account": "Other"}
    )
    job = await house.ask("POST", "/bulk/users", {"rows": [{"name": "Eve II", "account": "Other"}], "account": "Other"})
    key = await house.ask("POST", "/keys", {"name": "eves", "scopes": ["device.read"], "accounts": ["Other"]})
    await house.jobs()
    webhook = await house.ask(
        "POST", "/webhooks", {"account": "Other", "name": "theirs", "url": "https://h.example.net/"}
    )
    read = {"user": "nobody", "auth": "sha", "auth_key": "a-key-of-9"}
    of_site = {"account": "Other", "site": "Other HQ", "address": "127.0.0.1", "port": 9}
    switch = await house.ask("POST", "/switches", {"name": "theirs", "read": read, **of_site})
    await house.ask("POST", f"/devices/{OTHER}/power-cycle", {})
    source = await house.ask("POST", "/webhook-sources", {"account": "Other", "name": "theirs", "rules": RULES})
    ids = house.ids
    (changed,) = (await house.get("/layers/account/Other/revisions"))["items"]
    foreign = {
        "switch": switch.json["id"], "revision": str(changed["revision"]), "rollout": await rolled_out(house),
        "webhook": webhook.json["about"]["id"], "source": source.json["about"]["id"], "posted": "1",
        "account": ids["Other"], "site": ids["Other site"], "user": ids["Eve"], "extension": ids["2001"],
        "mac": OTHER, "number": "+4930999", "license": given.json["id"], "campaign": "0123abcd", "job": job.json["id"],
        "message": "1", "administrator": admin.json["id"], "place": ids["Other"], "apikey": key.json["about"]["id"],
    }  # fmt: skip
    nowhere = {name: "zzzzzzzzzzzz" for name in foreign}
    nowhere |= {"mac": "0004f2ffff09", "number": "+4930998", "campaign": "0123abcd", "message": "1", "posted": "1"}
    nowhere["revision"] = foreign["revision"]
    return foreign, nowhere


async def rolled_out(house: House) -> str:
    """A change of the other account's layer that all its phones have, still watched."""
    one = Rollout(
        new_id(), Scope.ACCOUNT, house.ids["Other"], 1, RolloutState.WATCHING, PARTS, 1, 1, "eve", 1.0, 1.0, "", "",
        None,
    )  # fmt: skip
    async with house.means.store.changing("test", 1.0) as change:
        await insert_rollout(change.connection, house.means.store.box, one, ConfigLayer(one.scope, one.key))
    return one.id


def fresh(names: Mapping[str, str]) -> dict[str, str]:
    """With names that nobody has had yet."""
    digits = str(uuid.uuid4().int)[:8]
    return {**names, "fresh": f"new{digits}", "digits": digits, "free_mac": f"0004f3{uuid.uuid4().hex[:6]}"}


async def asked(house: House, route: Route, names: Mapping[str, str], query: str = "") -> tuple[int, str]:
    """Status and body, with what was asked for taken out of it."""
    path, body = request_of(route, names)
    path += ("&" if "?" in path else "?") + query if query else ""
    headers = {**(ANY if route.version else {}), **({"Content-Type": route.takes[0]} if route.takes else {})}
    raw = file_of(route, names)
    answer = await house.ask(route.method, path, body, raw=raw, who="someone", headers=headers)
    text = answer.body.decode()
    for name, value in sorted(names.items(), key=lambda one: -len(one[1])):
        if name == "mac":
            text = text.replace(":".join(value[i : i + 2] for i in range(0, 12, 2)), "<mac>")
        if len(value) > 2:
            text = text.replace(value, f"<{'ref' if len(value) == 12 else name}>")
    return answer.status, text


async def world(house: House) -> list[Any]:
    """Everything that the other account has."""
    ids = house.ids
    paths = [
        f"/devices/{OTHER}", f"/devices/{OTHER}/lines?past=true", f"/devices/{OTHER}/tokens", "/users?account=Other",
        "/extensions?account=Other", "/sites?account=Other", "/licenses?account=Other", "/numbers?account=Other",
        f"/accounts/{ids['Other']}", "/layers/account/Other", "/accounts/Other/policy", "/codes?account=Other",
        "/ranges?account=Other", f"/layers/device/{OTHER}",
    ]  # fmt: skip
    return [await house.get(path) for path in paths]


@pytest.mark.asyncio
@pytest.mark.parametrize("role", ROLES)
async def test_what_is_another_accounts_is_nowhere(house: House, role: Role) -> None:
    foreign, nowhere = await prepared(house)
    who = house.keeper.known["someone"] = principal(house, role)
    before = await world(house)
    for route in table().rows:
        if route.name in HELD_BACK:
            continue
        names = fresh(foreign)
        theirs = await asked(house, route, names)
        none = await asked(house, route, fresh(nowhere))
        allowed = who.may(route.right) and route.name not in FOR_ALL_ACCOUNTS
        assert (theirs[0] == 403 and f'"right":"{route.right.value}"' in theirs[1]) is not allowed, (route.name, theirs)
        assert theirs[0] < 500, (route.name, theirs)
        if (route.places or theirs[0] >= 400) and route.name not in KNOWN_BY_NAME:
            assert theirs == none, (route.name, theirs, none)
        assert not [word for word in (*CANARIES, *house.ids.values()) if word in theirs[1] and not _own(house, word)], (
            route.name, theirs,
        )  # fmt: skip
        for query in narrowed(route, foreign) if allowed and route.method == "GET" else ():
            told = await asked(house, route, foreign, query)
            assert told[0] in (403, 404) or '"items":[]' in told[1], (route.name, query, told)
    await house.jobs()
    assert await world(house) == before


def _own(house: House, word: str) -> bool:
    """Of one's own account, so it may be told."""
    mine = {house.ids[name] for name in ("Acme", "Acme site", "Ada", "Bob", "1001", "1002")}
    return word in mine


@pytest.mark.asyncio
async def test_reach_is_that_of_the_right_and_not_of_the_person(house: House) -> None:
    """Who may read all of Acme and bind at one site binds nothing elsewhere."""
    ids = house.ids
    auditor = parts_of(Holding(Role.AUDITOR, ids["Acme"]), "a")
    site_admin = parts_of(Holding(Role.SITE_ADMIN, ids["Acme"], ids["Acme site"]), "a")
    house.keeper.known["both"] = Principal("a", (*auditor, *site_admin), "a")
    assert (await house.ask("GET", "/devices/001565000002", who="both")).status == 200
    elsewhere = await house.ask("PUT", "/devices/001565000002/lines/1", {"extension": "1001"}, who="both")
    assert elsewhere.status == 404
    assert (await house.ask("PUT", f"/devices/{VVX}/lines/1", {"extension": "1001"}, who="both")).status == 200


@pytest.mark.asyncio
async def test_a_key_with_scopes_and_accounts_does_no_more(house: House) -> None:
    from provisioner.rights import OPERATOR

    house.keeper.known["key"] = OPERATOR.narrowed([Right.DEVICE_READ], frozenset({house.ids["Acme"]}))
    macs = [one["mac"] for one in (await house.get("/devices", who="key"))["items"]]
    assert OTHER not in macs
    assert len(macs) == 2
    assert (await house.ask("GET", f"/devices/{OTHER}", who="key")).status == 404
    assert (await house.ask("GET", "/users", who="key")).status == 403


@pytest.mark.asyncio
async def test_the_live_feed_tells_no_stranger(house: House) -> None:
    house.keeper.known["someone"] = principal(house, Role.AUDITOR)
    headers = {"Authorization": "Bearer someone", "Last-Event-ID": "0"}
    url = f"{house.url}/api/v1/events/stream"
    async with house.session.get(url, headers=headers) as response:
        assert response.status == 200
        await house.fleet.revoke_device(OTHER)
        await house.fleet.revoke_device(VVX)
        text = ""
        async with asyncio.timeout(10):
            while VVX not in text:
                text += (await response.content.readline()).decode()
    assert OTHER not in text
    assert json.dumps(OTHER) not in text
