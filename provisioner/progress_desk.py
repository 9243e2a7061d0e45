"""Use-cases of the administrator: how far a phone is that was bound, and what to do where it does not come."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.desk import Desk, device_of
from provisioner.model import Mac
from provisioner.progress import Progress, progress_of
from provisioner.settings import Settings
from provisioner.store.codes import Activity, activities, activity


class Arrivals(Desk):
    """Phones on their way from being bound to being online."""

    async def progress(self, mac: Mac, settings: Settings) -> Progress:
        """Where the device stands now; the hint appears and goes by itself."""
        async with self._store.reading() as connection:
            await device_of(connection, mac)
            return await arrival(connection, mac, self._clock(), settings)

    async def stages(self, macs: Sequence[Mac], settings: Settings) -> dict[str, Progress]:
        """The same of the devices of a list, by Mac; those out of reach are told to be unbound, and nothing else."""
        async with self._store.reading() as connection:
            found = await activities(connection, macs)
        now = self._clock()
        return {mac: _progress(one, now, settings) for mac, one in found.items()}


async def arrival(connection: AsyncConnection, mac: Mac, now: float, settings: Settings) -> Progress:
    """The same for whoever reads more in the same view."""
    return _progress(await activity(connection, mac), now, settings)


def _progress(one: Activity, now: float, settings: Settings) -> Progress:
    window, patience = settings.activation_window, settings.activation_no_reboot_hint_after
    return progress_of(one.bound, one.fetched, now, arrived=one.arrived, window=window, patience=patience)
