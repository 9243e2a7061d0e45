"""Use-cases of the administrator: from where a device came last, which site that is, and whether it is away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from provisioner.desk import Desk, device_of
from provisioner.model import Mac
from provisioner.networks import site_of
from provisioner.presence_rules import Absent
from provisioner.store import absences, journal, sources
from provisioner.store.rows import Seen


@dataclass(frozen=True, slots=True)
class SeenAt:
    """What is known of a device's whereabouts."""

    address: str = ""
    """From where it fetched last; empty where that is not known."""
    site: str = ""
    """The id of the site of its account whose network that is; empty for none, or for several."""
    site_name: str = ""
    away: Absent | None = None
    """Since when it is not heard of, where it is told to be away."""


class LastSeen(Desk):
    """Where devices are, as their addresses say."""

    async def seen_at(self, mac: Mac) -> SeenAt:
        """From where it came last, and whose network that is; where it stands is for administrators to say."""
        async with self._store.reading() as connection:
            device = await device_of(connection, mac)
            address = (await sources.sources_of(connection, [mac])).get(mac, "")
            site = site_of(address, await sources.networks_of(connection, device.account)) if address else ""
            name = await sources.name_of(connection, site) if site else ""
            return SeenAt(address, site, name, await absences.absence_of(connection, mac))

    async def seen(self, *, limit: int = 1000, placed: bool = True) -> list[Seen]:
        """Devices with a good certificate that nobody has added, the latest first.

        ``placed``: with the site that they are at; who only counts them does not ask.
        """
        async with self._store.reading() as connection:
            found = await journal.list_seen(connection, limit)
            networks = await sources.all_networks(connection) if found and placed else {}
        return _placed(found, networks)


def _placed(found: Sequence[Seen], networks: dict[str, tuple[str, ...]]) -> list[Seen]:
    """Many come from one address: each is looked up once."""
    sites = {address: site_of(address, networks) for address in {one.address for one in found}}
    return [replace(one, site=sites[one.address]) for one in found]
