"""Keys of one person are as apart as strangers; secrets in raw parameters stay hidden; a feed ends with its rights."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest
from aiohttp.test_utils import make_mocked_request
from api_house import ANY, OTHER, House

from provisioner.errors import NotSignedIn
from provisioner.http.api import stream
from provisioner.http.api.gatekeeper import COOKIES, Keeper
from provisioner.rights import Holding, Principal, Right, Role, parts_of

NAME, OTHERS = "yealink:static.security.user_password", "yealink:static.phone_setting.ring"
WORD, MASK = "admin:TopSecret1", "********"


def owner(*accounts: str) -> Principal:
    parts = tuple(part for one in accounts for part in parts_of(Holding(Role.OWNER, one), "ann"))
    return Principal("ann", parts, ident="1", throttle="administrator/1")


@pytest.mark.asyncio
async def test_an_answer_to_one_key_is_not_told_to_another(house: House) -> None:
    acme, other = house.ids["Acme"], house.ids["Other"]
    for name, account in (("one", acme), ("two", other)):
        limited = owner(acme, other).narrowed(list(Right), frozenset({account}))
        house.keeper.known[name] = replace(limited, credential=name, throttle=name, is_key=True)
    asked = {"body": {"name": "New", "account": "Acme"}, "headers": {"Idempotency-Key": "order-1"}}
    assert (await house.ask("POST", "/users", who="one", **asked)).status == 201
    assert (await house.ask("POST", "/users", who="one", **asked)).headers["Idempotent-Replayed"] == "true"
    assert (await house.ask("POST", "/users", who="two", **asked)).status == 404


@pytest.mark.asyncio
async def test_a_secret_in_the_vendors_own_words_is_shown_to_nobody_and_kept_when_it_comes_back(house: House) -> None:
    path = "/layers/defaults/-"
    assert (await house.ask("PATCH", path, {"raw": {NAME: MASK}}, headers=ANY)).status == 422
    made = await house.ask("PATCH", path, {"raw": {NAME: WORD, OTHERS: "1"}}, headers=ANY)
    assert (made.status, made.json["raw"]) == (200, {NAME: MASK, OTHERS: "1"})
    house.keeper.known["tech"] = Principal("tom", parts_of(Holding(Role.TECHNICIAN, house.ids["Other"]), "tom"))
    for who in ("tech", "operator"):
        for told in (path, "/layers?scope=defaults", f"{path}/revisions"):
            answer = await house.ask("GET", told, who=who)
            assert WORD.encode() not in answer.body
    back = {"raw": {NAME: MASK, OTHERS: "2"}}
    assert (await house.ask("POST", f"{path}/preview", back, headers=ANY)).status == 200
    assert (await house.ask("PATCH", path, back, headers=ANY)).json["raw"] == {NAME: MASK, OTHERS: "2"}
    assert (await house.ask("PATCH", path, {"raw": {NAME: MASK}}, headers=ANY)).status == 200
    assert await _stored(house) == {NAME: WORD, OTHERS: "2"}


async def _stored(house: House) -> dict[str, str]:
    from provisioner.model import Scope
    from provisioner.store import layer_rows

    async with house.means.store.reading() as connection:
        found = await layer_rows.read_layer(connection, house.means.store.box, Scope.DEFAULTS, "")
    assert found is not None
    return dict(found.raw)


@pytest.mark.asyncio
@pytest.mark.parametrize("left", [(), ("Acme",)])
async def test_a_feed_ends_when_its_caller_reaches_elsewhere(
    house: House, monkeypatch: pytest.MonkeyPatch, left: Collection[str]
) -> None:
    monkeypatch.setattr(stream, "_AGAIN", 0.1)
    house.keeper.known["ann"] = owner(house.ids["Acme"], house.ids["Other"])
    url, sent = f"{house.url}/api/v1/events/stream", {"Authorization": "Bearer ann"}
    async with house.session.get(url, headers=sent) as response:
        await response.content.readuntil(b"\n\n")
        house.keeper.known["ann"] = owner(*(house.ids[one] for one in left))
        assert b"not_yours" not in await response.content.read()


@pytest.mark.asyncio
async def test_a_feed_of_a_device_that_is_out_of_reach_is_not_found(house: House) -> None:
    house.keeper.known["ann"] = owner(house.ids["Acme"])
    answer = await house.ask("GET", f"/events/stream?mac={OTHER}", who="ann")
    assert (answer.status, answer.json["type"]) == (404, "/api/v1/problems/not_found")


@pytest.mark.asyncio
async def test_one_person_has_no_more_feeds_by_more_keys(house: House) -> None:
    each = house.means.feed.each  # type: ignore[attr-defined]  # the real one
    for number in range(each + 1):
        house.keeper.known[str(number)] = replace(owner(house.ids["Acme"]), throttle=f"key/{number}", is_key=True)
    url = f"{house.url}/api/v1/events/stream"
    held = [await house.session.get(url, headers={"Authorization": f"Bearer {n}"}) for n in range(each + 1)]
    assert [one.status for one in held] == [200] * each + [503]
    for one in held:
        one.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("secure", [True, False])
async def test_only_the_cookie_that_is_set_here_is_taken(secure: bool) -> None:
    class People:
        async def by_session(self, token: str) -> Principal:
            return Principal(token)

        async def by_token(self, text: str) -> Principal:
            raise AssertionError(text)

        def check_csrf(self, token: str, given: str) -> None:
            raise AssertionError(token, given)

    keeper, (here, elsewhere) = Keeper(People(), secure=secure), COOKIES if secure else COOKIES[::-1]
    assert (await keeper.principal(make_mocked_request("GET", "/", {"Cookie": f"{here}=mine"}))).actor == "mine"
    with pytest.raises(NotSignedIn):
        await keeper.principal(make_mocked_request("GET", "/", {"Cookie": f"{elsewhere}=planted"}))
