"""An office with a phone, and an engine that ends with each test's loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from cabinet import PHONE

from provisioner import settings
from provisioner.fleet.fleet import Fleet
from provisioner.model import Mac
from provisioner.store.database import Store
from provisioner.switches.engine import close_shared
from provisioner.switches.switches import Switches
from provisioner.vendors import drivers


@pytest_asyncio.fixture
async def desk(data: Path) -> AsyncIterator[Switches]:
    """Switches of one account with one site and one phone; agents of the tests run on this machine."""
    file = data / "provisioner.toml"
    file.write_text(file.read_text().replace("\n[switch]\n", '\n[switch]\nallow = ["127.0.0.0/8"]\n'))
    configured = settings.load(data, {}, switch_timeout=1.5, switch_dark=3.0)
    known = {one.manifest.name: one for one in drivers()}
    async with Store.of(configured) as store:
        fleet = Fleet(store, known, actor="ann")
        await fleet.add_account("Acme")
        await fleet.add_site("HQ", account="Acme")
        await fleet.add_device(Mac(PHONE), vendor="poly", model="VVX 411", account="Acme", site="HQ")
        yield Switches(store, known, configured, actor="ann")
    await close_shared()
