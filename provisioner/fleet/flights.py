"""Use-cases of the technician: what the flight recorder has kept of connections."""

from __future__ import annotations

from collections.abc import Sequence

from provisioner.desk import Desk, device_of
from provisioner.flight import Flight
from provisioner.gate import address_key
from provisioner.model import Mac
from provisioner.rights import Right
from provisioner.store import flights as rows
from provisioner.store.flights import Trouble


class Flights(Desk):
    """What can be looked at."""

    async def flights(self, mac: Mac, *, limit: int = 40) -> list[Flight]:
        """A device's connections, and those on which a stranger claimed to be it; the newest first."""
        async with self._store.reading() as connection:
            await device_of(connection, mac)
            return await rows.of_device(connection, mac, limit)

    async def strangers(self, *, addresses: Sequence[str] = (), limit: int = 40) -> list[Flight]:
        """Connections on which no known device has proven itself, from anywhere or from some addresses."""
        self._require_all(Right.SERVER_READ)
        async with self._store.reading() as connection:
            if addresses:
                return await rows.at_addresses(connection, [_key(one) for one in addresses], limit)
            return await rows.strangers(connection, limit)

    async def troubles(self, *, since: float) -> list[Trouble]:
        """What went wrong since a time, grouped by what it was and by model; what concerns most phones first."""
        async with self._store.reading() as connection:
            return await rows.troubles(connection, since)


def _key(address: str) -> str:
    """What is no address is found nowhere."""
    try:
        return address_key(address)
    except ValueError:
        return address
