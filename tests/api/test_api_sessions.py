"""Who asks: by key, or by the session of somebody who is signed in, which needs its CSRF token to change anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from api_house import House

from provisioner.administrators import Administrators
from provisioner.http.api.gatekeeper import COOKIES, CSRF, Keeper
from provisioner.keys_desk import ApiKeys
from provisioner.rights import Right, Role
from provisioner.roster import Roster
from provisioner.sign_in import SignedIn


async def signed_in(house: House) -> tuple[Administrators, SignedIn]:
    store, settings = house.means.store, replace(house.means.settings, login_hash_memory=8, login_hash_passes=1)
    people = Administrators(store, settings)
    roster = Roster(store, {}, settings)
    await roster.add_administrator("ada@example.net", role=Role.DEVICE_ADMIN, account="Acme")
    invited = await roster.invite("ada@example.net")
    await people.set_password(invited.link.rpartition("/")[2].rpartition("=")[2], "correct horse battery")
    return people, await people.login("ada@example.net", "correct horse battery")


async def status(house: House, method: str, path: str, body: Any = None, **sent: Any) -> int:
    headers: Mapping[str, str] = sent.get("headers", {})
    async with aiohttp.ClientSession(cookies=sent.get("cookies")) as session:
        url = f"{house.url}/api/v1{path}"
        async with session.request(method, url, json=body, headers=headers) as response:
            return response.status


@pytest.mark.asyncio
async def test_a_session_reads_by_its_cookie_and_changes_by_its_token(house: House) -> None:
    people, session = await signed_in(house)
    house.keeper.principal = Keeper(people, secure=False).principal  # type: ignore[method-assign]  # the real one
    cookies = {COOKIES[1]: session.token}
    assert await status(house, "GET", "/devices", cookies=cookies) == 200
    user = {"name": "New", "account": "Acme"}
    assert await status(house, "POST", "/users", user, cookies=cookies) == 401
    assert await status(house, "POST", "/users", user, cookies=cookies, headers={CSRF: "0" * 64}) == 401
    assert await status(house, "POST", "/users", user, cookies=cookies, headers={CSRF: session.csrf}) == 201
    assert (
        await status(
            house, "POST", "/users", {**user, "account": "Other"}, cookies=cookies, headers={CSRF: session.csrf}
        )
        == 404
    )
    await people.logout(session.token)
    assert await status(house, "GET", "/devices", cookies=cookies) == 401


@pytest.mark.asyncio
async def test_a_key_that_was_revoked_opens_nothing_from_the_next_call_on(house: House) -> None:
    desk = ApiKeys(house.means.store, {}, house.means.settings)
    made = await desk.make_key("script", scopes=[Right.DEVICE_READ])
    house.keeper.principal = Keeper(Administrators(house.means.store, house.means.settings), secure=False).principal  # type: ignore[method-assign]  # the real one
    held = {"Authorization": f"Bearer {made.key}"}
    assert await status(house, "GET", "/devices", headers=held) == 200
    assert await status(house, "GET", "/users", headers=held) == 403
    for wrong in (
        "Bearer",
        "Bearer ",
        f"Basic {made.key}",
        f"Bearer {made.key}x",
        "Bearer " + "x" * 600,
        "Bearer \xe9",
    ):
        assert await status(house, "GET", "/devices", headers={"Authorization": wrong}) == 401, wrong
    await desk.revoke_key(made.about.id)
    assert await status(house, "GET", "/devices", headers=held) == 401
