"""The profile listener by the API: opened for a while by who may, and what phones have shown it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from api_house import House, serving

from provisioner.capability import Card
from provisioner.store import cards

NOW = 1_790_000_000.0
TOLD = {"versions": [0x0303], "agent": "Yealink SIP-T46S", "files": ["a.boot"]}
SEEN = Card("c" * 20, "001565000002", True, "yealink", "T46S", "10.0.0.9", NOW, NOW + 1, 2, TOLD)


@pytest.mark.asyncio
async def test_it_is_opened_shown_and_closed(made: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(made, tmp_path / "data"))
    async with serving(data, profile_port=0) as house:
        await cards.write_cards(house.means.store.lossy, [SEEN], 10)
        assert await house.get("/profile") == {
            "open": False, "until": None, "actor": None, "ask": None, "listening": None, "trouble": None,
        }  # fmt: skip
        told = (await house.ask("POST", "/profile/open", {"minutes": 2, "ask": "digest"})).json
        assert (told["open"], told["ask"]) == (True, "digest")
        assert told == await house.get("/profile")
        assert (await house.ask("POST", "/profile/open", {"minutes": 0})).status == 422
        assert (await house.ask("POST", "/profile/open", {"ask": "basic"})).status == 422
        assert (await house.ask("POST", "/profile/close")).json["open"] is False
        [card] = (await house.get("/profile/cards?mac=00:15:65:00:00:02"))["items"]
        assert (card["mac"], card["proven"], card["times"]) == ("001565000002", True, 2)
        assert {"name": "TLS versions offered", "value": "TLSv1.2"} in card["abilities"]
        assert (await house.get("/profile/cards?mac=001565000003"))["items"] == []
        assert [one["id"] for one in (await house.get("/profile/cards?address=10.0.0.9"))["items"]] == [card["id"]]
        assert (await house.get("/profile/cards?address=10.0.0.8"))["items"] == []
        assert (await house.ask("GET", "/profile/cards?mac=x")).status == 422


@pytest.mark.asyncio
async def test_without_a_port_there_is_nothing_to_open(house: House) -> None:
    answer = await house.ask("POST", "/profile/open", {})
    assert (answer.status, "profile.port" in json.dumps(answer.json)) == (409, True)
