"""This server in the laboratory: `provisioner serve` on ports 443 and 80, its devices, and what its records tell."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from house import House
from network import Host, until
from office import NAME, SERVER_IP

from provisioner import installation, pki, settings, trust
from provisioner.diagnosis.case import Subject
from provisioner.diagnosis.facts import Fact
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.why import Why
from provisioner.model import Mac
from provisioner.store.database import Store
from provisioner.vendors import drivers

VVX, T46S = ("poly", "VVX 411"), ("yealink", "T46S")
Act = Callable[[Fleet], Awaitable[object]]
_SERVES: Final = {
    "SERVER_HOST": SERVER_IP, "SERVER_WORKERS": "1", "DEVICE_PORT": "443", "BOOTSTRAP_PORT": "80", "ADMIN_PORT": "8443",
    "LEGACY_PORT": "444", "TLS_HANDSHAKE_TIMEOUT": "5.5", "RECORDER_GOOD": "1000", "RECORDER_TROUBLE": "1000",
}  # fmt: skip


@dataclass
class OurServer:
    """An installation with factories of its own, and what it knows of each phone."""

    house: House

    @classmethod
    def build(cls, place: Path) -> OurServer:
        """Poly's CAs are all trusted; of Yealink's only the root is, so that a leaf alone does not do."""
        house = House(place / "data")
        place.mkdir()
        installation.init(house.data, NAME)
        for vendor in ("poly", "yealink", "cisco"):
            house.factories[vendor] = pki.make_factory(vendor, place / "factories" / vendor)
        trust.add(house.data, "poly", house.factories["poly"].cas_pem)
        trust.add(house.data, "yealink", house.factories["yealink"].root_pem)
        return cls(house)

    def prepare(self, phones: Mapping[str, tuple[str, str]], *acts: Act) -> None:
        """By MAC the vendor and model, each with a line of its own; then what an administrator does with them."""

        async def run() -> None:
            async with self.house.fleet() as fleet:
                account = (await fleet.add_account("Acme")).id
                for number, (mac, (vendor, model)) in enumerate(phones.items(), 1001):
                    await fleet.add_device(Mac(mac), vendor=vendor, model=model, account=account)
                    user = (await fleet.add_user(f"Person {number}", account=account)).id
                    await fleet.add_extension(str(number), account=account, user=user, display_name=f"Person {number}")
                    await fleet.bind(Mac(mac), 1, extension=str(number))
                for act in acts:
                    await act(fleet)

        asyncio.run(run())

    @contextmanager
    def serving(self, host: Host) -> Iterator[None]:
        """Until the block ends."""
        words = [sys.executable, "-m", "provisioner", "--data", self.house.data, "serve"]
        environment = {f"PROVISIONER_{name}": value for name, value in _SERVES.items()}
        with host.program(*words, env=environment) as program:
            addresses = self.house.data / "run" / "addresses.json"
            until(lambda: addresses.exists() or not program.lives, program.log)
            assert addresses.exists(), program.log()
            yield

    async def _told(self, mac: Mac) -> tuple[list[Fact], Subject]:
        configured = settings.load(self.house.data)
        known = {one.manifest.name: one for one in drivers(self.house.data / "templates")}
        async with Store.of(configured) as store:
            desk = Why(store, known, configured, actor="test")
            async with store.reading() as connection:
                device = await desk._device(connection, mac)
                return await desk._facts(connection, mac, device), desk._subject(mac, device)

    def told(self, mac: str) -> tuple[list[Fact], Subject]:
        """What `provisioner why` would look at."""
        return asyncio.run(self._told(Mac(mac)))
