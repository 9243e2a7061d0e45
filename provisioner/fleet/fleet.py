"""Use-cases of the administrator, for the command line and whatever comes beside it: one durable change each.

A use-case either returns, and then its rows, its notice to the workers and its audit event are on disk, or raises
Invalid, NotFound, Conflict or StoreFailed, and then nothing has happened.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from provisioner.desk import device_of
from provisioner.errors import NotFound
from provisioner.fleet.devices import Access, Lines
from provisioner.fleet.evidence import Evidence
from provisioner.fleet.licenses import Licenses
from provisioner.fleet.numbers import Numbers, Ranges
from provisioner.fleet.partners import Partners
from provisioner.fleet.people import Accounts, People
from provisioner.fleet.places import Places
from provisioner.fleet.policies import Policies
from provisioner.fleet.shaping import Shaping
from provisioner.fleet.sightings import LastSeen
from provisioner.fleet.wipe import Wiping
from provisioner.model import Mac
from provisioner.progress_desk import Arrivals
from provisioner.rights import Right
from provisioner.store import journal, people, uploads
from provisioner.store.census import Group, take_census
from provisioner.store.rotation import Rotated, Rotation
from provisioner.store.rows import Fetch, HeldUpload, StoredEvent


class Fleet(
    Accounts,
    Partners,
    People,
    Places,
    Policies,
    Licenses,
    Numbers,
    Ranges,
    Lines,
    Access,
    Evidence,
    Shaping,
    Arrivals,
    LastSeen,
    Wiping,
):
    """All of them; each group stands in its own module."""

    async def names(self, idents: Collection[str]) -> Mapping[str, str]:
        """What people call these accounts, sites, users and extensions, by id; nothing else is looked up."""
        async with self._store.reading() as connection:
            return await people.names_of(connection, idents)

    async def events(
        self, *, limit: int = 100, kind: str = "", mac: str = "", after: int = 0, named: bool = False
    ) -> list[StoredEvent]:
        """The newest events, oldest of them first; ``named`` also finds a Mac that was only asked for or claimed."""
        async with self._store.reading() as connection:
            return await journal.list_events(connection, limit=limit, kind=kind, mac=mac, after=after, named=named)

    async def fetches(self, mac: Mac) -> list[Fetch]:
        """The last fetch of each file of a device."""
        async with self._store.reading() as connection:
            await device_of(connection, mac)
            return await journal.list_fetches(connection, mac)

    async def last_body(self, mac: Mac, file: str) -> bytes:
        """What the device got when it last fetched this file; NotFound when it never did."""
        async with self._store.reading() as connection:
            found = await journal.read_body(connection, self._store.box, mac, file)
        if found is None:
            raise NotFound(f"{mac.colons} has not fetched {file}")
        return found

    async def uploads(self, mac: Mac) -> list[HeldUpload]:
        """What the device has sent, for its owner of today and for earlier ones."""
        async with self._store.reading() as connection:
            await device_of(connection, mac)
            return await uploads.list_uploads(connection, mac)

    async def rotate_key(self, *, revoke_tokens: bool = False) -> Rotated:
        """Seal everything with a new master key; token URLs opened under the old one are closed, or keep it."""
        self._require_all(Right.SERVER_WRITE)
        return await Rotation(self._store, self._actor).run(revoke_tokens=revoke_tokens)

    async def census(self, since: float) -> list[Group]:
        """Devices by vendor and state, and how many of them have fetched anything since a time."""
        async with self._store.reading() as connection:
            return await take_census(connection, since)

    async def note_revealed(self, mac: Mac) -> None:
        """Write down that the secrets of a device's files are about to be shown."""
        async with self._change() as change:
            await device_of(change.connection, mac)
            change.audit("secrets_revealed", mac=mac, severity="warning")
