"""The keys of switches: sealed as long as they wait, opened when one is asked, and kept no longer than the question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from provisioner.errors import Conflict
from provisioner.settings import Settings
from provisioner.store import switches as rows
from provisioner.store.database import Store
from provisioner.store.switches import Switch
from provisioner.switches.credentials import Credential, of_sealed
from provisioner.switches.engine import Pace, SnmpAgent, Where, shared
from provisioner.switches.fence import fence_of


class StoreDoors:
    """Credentials out of the store."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._sealed: dict[str, tuple[bytes, bytes | None]] = {}
        self.pace = Pace(settings.switch_timeout, settings.switch_retries)
        self._fence = fence_of(settings)

    async def fetch(self, switches: Sequence[Switch]) -> None:
        """What opens many of them, in one question."""
        async with self._store.reading() as connection:
            self._sealed |= await rows.sealed_of(connection, [one.id for one in switches])

    async def credentials(self, switch: Switch) -> tuple[Credential, Credential | None]:
        """To read, and to change."""
        if switch.id not in self._sealed:
            await self.fetch([switch])
        if switch.id not in self._sealed:
            raise Conflict(f"switch {switch.name} was removed meanwhile")
        box, (read, write) = self._store.box, self._sealed[switch.id]
        reader = of_sealed(rows.opened(box, read, switch.id, "read"))
        return reader, None if write is None else of_sealed(rows.opened(box, write, switch.id, "write"))

    async def reader(self, switch: Switch) -> SnmpAgent:
        """As its first credential sees it."""
        read, _ = await self.credentials(switch)
        return await (await shared()).agent(self.where(switch), read, self.pace)

    async def writer(self, switch: Switch, *, once: bool = False) -> SnmpAgent:
        """As its second one does; Conflict where it has none. ``once``: a change is sent a single time."""
        _, write = await self.credentials(switch)
        if write is None:
            raise Conflict(f"switch {switch.name} has no second credential, so nothing can be changed there")
        return await (await shared()).agent(
            self.where(switch), write, replace(self.pace, retries=0) if once else self.pace
        )

    def where(self, switch: Switch) -> Where:
        """Where it is reached, if it may be."""
        return Where(switch.address, switch.port, self._fence)
