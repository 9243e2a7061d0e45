"""An account with phones at two sites and a clock of its own, for the tests of resync."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from activation_office import Clock

from provisioner.fleet.fleet import Fleet
from provisioner.model import FetchRecord, ListenerKind, Mac, Proof, Scope
from provisioner.preview import Masked, Preview, RenderedFile
from provisioner.resync.errands import Errands
from provisioner.resync.resync import Draft, Resync, Whom
from provisioner.resync_states import Standing, State
from provisioner.settings import Settings
from provisioner.store.database import Store
from provisioner.store.records import Recorder
from provisioner.store.rows import StoredEvent
from provisioner.store.views import Views
from provisioner.vendors import drivers

PHONES = tuple(Mac(f"0004f2aabb{number:02x}") for number in range(1, 7))
URLS = {ListenerKind.DEVICE: "https://prov.example.net:8443/"}


@dataclass
class Floor:
    """Acme: PHONES, the first four in Berlin, each with an extension 1001...; all have fetched what they should."""

    store: Store
    drivers: Mapping[str, Any]
    settings: Settings
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.fleet = Fleet(self.store, self.drivers, actor="ann", clock=self.clock)
        self.resync = Resync(self.store, self.drivers, self.settings, actor="ann", clock=self.clock)
        self.errands = self.another()
        self.recorder = Recorder(self.store, self.settings, lambda *_: None, self.clock)

    def another(self) -> Errands:
        """As another process has it, or this one after it was started again."""
        return Errands(self.store, self.drivers, self.settings, clock=self.clock)

    @classmethod
    async def opened(cls, store: Store, tmp_path: Path, **chosen: Any) -> Floor:
        known = {one.manifest.name: one for one in drivers()}
        floor = cls(store, known, Settings(data=tmp_path, **chosen))
        await floor.fleet.add_account("Acme")
        await floor.fleet.add_site("Berlin", account="Acme")
        await floor.fleet.add_user("Ann", account="Acme")
        for number, mac in enumerate(PHONES):
            site = "Berlin" if number < 4 else ""
            await floor.fleet.add_device(mac, vendor="poly", model="VVX 411", account="Acme", site=site)
            await floor.fleet.add_extension(f"100{number + 1}", account="Acme", user="Ann", auth_user=f"u{number + 1}")
            await floor.fleet.bind(mac, 1, extension=f"100{number + 1}")
        await floor.fetch(*PHONES)
        await floor.errands.turn()
        return floor

    async def fetch(self, *macs: Mac, **seen: Any) -> None:
        """They get their files as they are now; ``seen``: how a fetch differs from the usual one."""
        views = Views(self.store)
        await views.open()
        for mac in macs:
            view = await views.boot_view(mac)
            assert view is not None
            driver = self.drivers[view.device.vendor]
            found = Preview.of(driver, view, views.shared(view.device), seen.get("base_url", URLS[ListenerKind.DEVICE]))
            if seen.get("upgrade_only"):
                found = replace(found, config=replace(found.config, upgrade_only=True))
            for file in found.render_all(Masked(reveal=True)):
                upto = view.revision if file.kind == "device" and not seen.get("upgrade_only") else -1
                self.recorder.fetch(self._record(mac, file, upto, seen))
        await views.close()
        await self.recorder.flush()

    def _record(self, mac: Mac, file: RenderedFile, upto: int, seen: Mapping[str, Any]) -> FetchRecord:
        body = file.text.encode()
        return FetchRecord(
            mac, file.name, self.clock.now, 200, len(body), hashlib.sha256(body).hexdigest(),
            seen.get("proof", Proof.CERTIFICATE), seen.get("listener", ListenerKind.DEVICE), "TLSv1.3",
            seen.get("firmware", ""), upto, body,
        )  # fmt: skip

    async def change(self, *macs: Mac) -> None:
        """Something about these devices alone, that stands in their files."""
        for mac in macs:
            await self.fleet.set_layer(Scope.DEVICE, mac, {}, {"voice.volume.test": str(int(self.clock.now))})

    async def begin(self, rate: float = 10.0, **whom: Any) -> Draft:
        draft = await self.resync.plan(Whom(**whom), rate, URLS)
        await self.resync.begin(draft)
        return draft

    async def states(self) -> dict[Mac, State]:
        return {one.mac: one.state for one in await self.resync.standings()}

    async def standing(self, mac: Mac) -> Standing:
        [found] = await self.resync.standings(mac=mac)
        return found

    async def events(self, kind: str) -> list[StoredEvent]:
        return await self.fleet.events(limit=1000, kind=kind)
