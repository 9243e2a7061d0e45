"""TLS secrets by the API: recorded, taken out and deleted by who may; nothing keeps the answer that tells them."""

from __future__ import annotations

import pytest
from api_house import House

from provisioner.store.key_recordings import Secret, sealed, write_secrets

LINES = [f"CLIENT_RANDOM {'ab' * 32} {'cafe' * 24}"]


@pytest.mark.asyncio
async def test_they_are_recorded_taken_and_deleted(house: House) -> None:
    mac = (await house.get("/devices"))["items"][0]["mac"]
    assert await house.get("/key-recordings") == {"items": []}
    nothing = await house.ask("POST", "/key-recordings/take", {"mac": mac})
    assert nothing.status == 404
    assert "/key-recordings/open" in repr(nothing.json)
    told = (await house.ask("POST", "/key-recordings/open", {"mac": mac, "minutes": 2})).json
    assert (told["mac"], told["open"], told["connections"]) == (mac, True, 0)
    assert await house.get("/key-recordings") == {"items": [told]}
    store, at = house.means.store, house.means.clock()
    await write_secrets(store, mac, [Secret("ab" * 32, at, sealed(store.box, mac, "ab" * 32, LINES))], most=9)
    taken = await house.ask("POST", "/key-recordings/take", {"mac": mac})
    assert taken.json == {"mac": mac, "lines": LINES}
    assert taken.headers["Cache-Control"] == "no-store"
    assert "cafecafe" not in repr(await house.get("/events"))
    assert (await house.ask("POST", "/key-recordings/close", {"mac": mac})).json == {"closed": True}
    assert (await house.ask("POST", "/key-recordings/delete", {"mac": mac})).json == {"connections": 1}
    assert (await house.ask("POST", "/key-recordings/delete", {"mac": mac})).status == 404
    assert await house.get("/key-recordings?mac=" + mac) == {"items": []}


@pytest.mark.asyncio
async def test_what_is_wrong_is_refused(house: House) -> None:
    mac = (await house.get("/devices"))["items"][0]["mac"]
    for body in (
        {},
        {"mac": "x" * 12},
        {"mac": mac, "minutes": 0},
        {"mac": mac, "minutes": 1441},
        {"mac": mac, "a": 1},
    ):
        assert (await house.ask("POST", "/key-recordings/open", body)).status == 422, body
    assert (await house.ask("GET", "/key-recordings?mac=x")).status == 422
