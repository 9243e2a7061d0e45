"""Where a phone is plugged in, on a page: what the switch says, its verdict, and the button that takes the power."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from cabinet import Cabinet
from console_house import VVX, Browser, House
from snmp_lab import simulated

from provisioner.switches.credentials import Community
from provisioner.switches.engine import close_shared
from provisioner.switches.switches import Switches

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def engine() -> AsyncIterator[None]:
    yield
    await close_shared()


async def test_the_port_its_verdict_and_its_power(house: House, owner: Browser, tmp_path: Path, engine: None) -> None:
    page = await owner.get(f"/devices/{VVX}/switch-port")
    assert page.status == 200 and "no switch is known where this phone may be" in page.words
    means = house.means
    desk = Switches(means.store, means.drivers, means.settings)
    with simulated(tmp_path / "agent", {"public": Cabinet(phone=VVX, crowd=2).rows()}) as port:
        given = {"account": "Acme", "address": "127.0.0.1", "read": Community("public")}
        made = await desk.add_switch("<b>sw1", port=port, **given)
        await desk.confirm_port(made.id, 10107, "1.7")
        page = await owner.get(f"/devices/{VVX}/switch-port")
        done = await owner.post(f"/devices/{VVX}/power-cycle")
    assert page.status == 200 and "is at <b>sw1 Gi1/0/7" in page.words and "<b>sw1" not in page.text
    assert "offered 120 by LLDP; used 120" in page.words and "delivering, PoE port 1.7 (confirmed)" in page.words
    assert "b8:27:eb:00:00:01" in page.words and "Take its power for a minute" in page.words
    assert done.url == f"{house.url}/devices/{VVX}/switch-port" and "if nothing is in the way" in done.said
    assert "its turn comes next" in done.words and "Take its power" not in done.words.partition("Switch port")[2]
