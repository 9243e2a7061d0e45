"""What phones can do, as a page: who may opens the listener, and reads the cards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from console_house import Browser, House, serving

from provisioner.capability import Card
from provisioner.roles import Role
from provisioner.store import cards

NOW = 1_790_000_000.0
AGENT = "Yealink <script>SIP-T46S"
SEEN = Card("c" * 20, "001565000002", True, "yealink", "T46S", "10.0.0.9", NOW, NOW, 2, {"agent": AGENT})


@pytest.mark.asyncio
async def test_it_is_opened_for_a_while_and_shows_cards(console_data: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(console_data, tmp_path / "data"))
    async with serving(data, profile_port=0) as house:
        house.ids = json.loads((data / "ids.json").read_text())
        owner = await house.browser()
        await cards.write_cards(house.means.store.lossy, [SEEN], 10)
        page = await owner.get("/profile")
        assert page.tree.xpath('//a[@href="/profile"]'), "the menu leads there"
        assert "00:15:65:00:00:02" in page.words
        assert AGENT in page.words, "shown as text"
        opened = await owner.post("/profile/open", {"minutes": "5", "ask": "yes"})
        assert "open until" in " ".join(opened.words.split())
        async with house.means.store.reading() as connection:
            window = await cards.read_window(connection)
        assert (round(window.until - window.opened_at), window.ask) == (300, "digest")
        assert (await owner.post("/profile/close")).tree.xpath('//form[@action="/profile/open"]')
        for minutes in ("0", "", "241", "x"):
            wrong = await owner.post("/profile/open", {"minutes": minutes})
            assert (wrong.status, "must be a number from 1 to 240" in wrong.oops) == (422, True)
        assert "No card has this MAC" in (await owner.get("/profile?mac=001565000009")).words
        assert "00:15:65:00:00:02" in (await owner.get("/profile?mac=10.0.0.9")).words


@pytest.mark.asyncio
async def test_it_is_for_few(house: House, owner: Browser) -> None:
    assert "set profile.port" in (await owner.get("/profile")).words
    small = await house.browser(await house.add("a-small@example.net", Role.OWNER, account=house.ids["Other"]))
    assert (await small.get("/profile")).status == 403
    assert not (await small.get("/me")).tree.xpath('//a[@href="/profile"]')
