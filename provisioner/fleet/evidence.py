"""Use-cases of the administrator: what devices have left behind, the certificates they came with and what they sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from provisioner.certificates import CertFacts, Unreadable, read
from provisioner.desk import Desk, device_of
from provisioner.errors import NotFound
from provisioner.model import Mac
from provisioner.store import uploads
from provisioner.store.chains import chains_of
from provisioner.store.rows import HeldUpload


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate that a device has proven to own the key of, and the CAs above it."""

    at: float
    """When it first came."""
    pinned: bool
    """The device is held to its key."""
    chain: Sequence[CertFacts]
    """The device's own first, the anchor last."""


class Evidence(Desk):
    """What can be looked at."""

    async def certificates(self, mac: Mac) -> list[Shown]:
        """The last certificates of a device with their chains, the newest first."""
        async with self._store.reading() as connection:
            device = await device_of(connection, mac)
            found = await chains_of(connection, mac)
        shown = [Shown(one.at, False, _facts(one.ders)) for one in found]
        return [Shown(one.at, one.chain[0].spki == device.pinned, one.chain) for one in shown if one.chain]

    async def upload(self, mac: Mac, digest: str) -> tuple[HeldUpload, bytes]:
        """A file that the device has sent, by the SHA-256 of what is in it."""
        async with self._store.reading() as connection:
            await device_of(connection, mac)
            held = await uploads.list_uploads(connection, mac)
            owner = await uploads.owner_with(connection, mac, digest)
        found = next((one for one in held if one.digest == digest), None)
        body = await uploads.UploadShelf(self._store).get(mac, found.name, owner) if found else None
        if found is None or body is None:
            raise NotFound(f"{mac.colons} has sent no file with the SHA-256 {digest[:64]}")
        return found, body


def _facts(ders: Sequence[bytes]) -> list[CertFacts]:
    """They were read before they were kept; one that another version of the reader refuses ends the list."""
    found = []
    for der in ders:
        try:
            found.append(read(der))
        except Unreadable:
            break
    return found
