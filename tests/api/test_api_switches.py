"""Switches by the API: added, tried, asked where a phone is; power is asked for, and taken by the process behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from api_house import ANY, VVX, House
from cabinet import Cabinet
from snmp_lab import simulated

from provisioner.switches.engine import close_shared


@pytest_asyncio.fixture
async def engine() -> AsyncIterator[None]:
    yield
    await close_shared()


@pytest.mark.asyncio
async def test_a_phone_is_found_and_its_power_is_asked_for(house: House, tmp_path: Path, engine: None) -> None:
    with simulated(tmp_path / "agent", {"public": Cabinet(phone=VVX, crowd=2).rows()}) as port:
        wish = {"name": "sw1", "account": "Acme", "address": "127.0.0.1", "port": port, "read": {"community": "public"}}
        made = await house.ask("POST", "/switches", wish)
        assert (made.status, made.headers["Location"]) == (201, f"/api/v1/switches/{made.json['id']}")
        assert b"public" not in made.body
        tried = (await house.ask("POST", "/switches/sw1/test")).json
        assert [one["step"] for one in tried["findings"]] == ["address", "reading", "tables"]
        told = await house.get(f"/devices/{VVX}/switch-port")
        check = await house.get(f"/devices/{VVX}/vlan-check")
        mapped = await house.ask("POST", "/switches/sw1/ports", {"interface": "Gi1/0/7", "poe": "1.7"})
        powered = await house.get(f"/devices/{VVX}/switch-port")
    assert (told["port"]["name"], told["port"]["vlans"], told["port"]["poe"]) == ("Gi1/0/7", [120], None)
    assert (check["verdict"], check["offered"], check["used"], check["seen"]) == ("right", 120, 120, [120])
    assert mapped.json["confirmed"] == {"10107": "1.7"}
    assert powered["port"]["poe"] == {"port": "1.7", "state": "delivering", "known_by": "confirmed"}
    asked = await house.ask("POST", f"/devices/{VVX}/power-cycle", {"seconds": 30})
    assert (asked.status, asked.json["state"], asked.json["seconds"]) == (202, "asked", 30.0)
    again = await house.ask("POST", f"/devices/{VVX}/power-cycle", {})
    assert again.status == 409
    assert (await house.get(f"/power-cycles/{asked.json['id']}"))["mac"] == VVX
    (one,) = (await house.get(f"/power-cycles?mac={VVX}"))["items"]
    assert one["state"] == "asked"


@pytest.mark.asyncio
async def test_a_switch_is_changed_by_its_version_and_a_site_allows_its_power(house: House) -> None:
    read = {
        "user": "ann",
        "auth": "sha256",
        "auth_key": "a-key-of-the-test",
        "privacy": "aes",
        "privacy_key": "another-key",
    }
    wish = {"name": "sw1", "account": "Acme", "address": "203.0.113.1", "read": read}
    await house.ask("POST", "/switches", wish)
    assert (await house.ask("PATCH", "/switches/sw1", {"port": 1161})).status == 428
    changed = await house.ask("PATCH", "/switches/sw1", {"port": 1161, "write": {"community": "w"}}, headers=ANY)
    assert (changed.json["port"], changed.json["writable"]) == (1161, True)
    for wrong in ({}, {"community": "a", "user": "b"}, {"user": "b", "auth": "sha", "auth_key": "short"}):
        refused = await house.ask("POST", "/switches", wish | {"name": "sw2", "read": wrong})
        assert refused.status == 422, refused.body
        assert b"short" not in refused.body
    site = house.ids["Acme site"]
    assert await house.get(f"/sites/{site}/power-policy") == {"allowed": False}
    assert (await house.ask("PUT", f"/sites/{site}/power-policy", {"allowed": True})).json == {"allowed": True}
    assert (await house.ask("DELETE", "/switches/sw1", headers=ANY)).status == 204
    assert (await house.get("/switches"))["items"] == []
