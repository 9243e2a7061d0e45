"""A console that was left open asks for the password before it lets anybody in, and goes on where that was wanted."""

from __future__ import annotations

import pytest
from console_house import OWNER, PASSWORD, Browser, House
from sqlalchemy import update

from provisioner.store import schema_rights


async def leave_open(house: House) -> None:
    """As if the password had been given long ago."""
    async with house.means.store.writing() as connection:
        await connection.execute(update(schema_rights.session).values(proved=1.0))


@pytest.mark.asyncio
async def test_a_page_that_gives_rights_asks_for_the_password_first(house: House, owner: Browser) -> None:
    assert (await owner.get("/administrators/new")).url == f"{house.url}/administrators/new"
    await leave_open(house)
    asked = await owner.get("/administrators/new?x=1")
    assert asked.url == f"{house.url}/confirm?next=/administrators/new?x%3D1"
    assert "Confirm it is you" in asked.words
    wrong = await owner.post("/confirm", {"password": "wrong", "next": "/administrators/new"})
    assert (wrong.status, "not right" in wrong.said) == (401, True)
    assert "/confirm" in (await owner.get("/keys")).url
    back = await owner.post("/confirm", {"password": PASSWORD, "next": "/administrators/new"})
    assert back.url == f"{house.url}/administrators/new"
    given = await owner.post("/administrators/new", {"email": "new@example.net", "role": "auditor"})
    assert "new@example.net" in given.words


@pytest.mark.asyncio
async def test_a_form_does_nothing_and_comes_back_to_its_page(house: House, owner: Browser) -> None:
    await leave_open(house)
    form = {"email": "new@example.net", "role": "owner"}
    refused = await owner.post("/administrators/new", form, Referer=f"{house.url}/administrators")
    assert refused.url == f"{house.url}/confirm?next=/administrators"
    assert "Nothing was done yet" in refused.said
    assert {one.administrator.email for one in await house.roster.administrators()} >= {OWNER}
    assert "new@example.net" not in {one.administrator.email for one in await house.roster.administrators()}
    part = await owner.post("/administrators/new", form, HX_Request="true")
    assert (part.status, part.headers["HX-Redirect"]) == (403, "/confirm?next=/")


@pytest.mark.asyncio
async def test_everything_else_goes_on_without(house: House, owner: Browser) -> None:
    await leave_open(house)
    for path in ("/devices", "/administrators", "/webhooks", "/me"):
        assert (await owner.get(path)).url == house.url + path
    assert (await owner.post("/accounts", {"name": "Mine"})).said == "Mine is added."


@pytest.mark.asyncio
async def test_nobody_is_led_elsewhere_by_it(house: House, owner: Browser) -> None:
    await leave_open(house)
    for onward in ("https://evil.example/", "//evil.example/"):
        back = await owner.post("/confirm", {"password": PASSWORD, "next": onward})
        assert back.url == f"{house.url}/"
