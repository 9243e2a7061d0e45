"""Use-cases of the administrator: a device forgets all that this server has ever told it, and is seen to have.

It stays wiped until it has a line again or somebody ends that: otherwise it would fetch its settings at the next start.
"""

from __future__ import annotations

from provisioner.bindings import end, end_wipe
from provisioner.deeds import Cure, Deed
from provisioner.desk import Desk, device_of
from provisioner.errors import Conflict, NotFound
from provisioner.line_errands import have_fetch
from provisioner.model import DeviceState, Mac, Scope
from provisioner.store import devices, wipes
from provisioner.store.database import Change
from provisioner.welcome import phone_taken_away
from provisioner.wiping import Wipe


class Wiping(Desk):
    """Devices that leave somebody."""

    async def wipe(self, mac: Mac) -> Wipe:
        """What the device is to forget, since when, and when it got that."""
        async with self._store.reading() as connection:
            await device_of(connection, mac)
            return await wipes.wipe_of(connection, mac)

    async def wipe_device(self, mac: Mac, *, unbind: bool = False) -> Wipe:
        """Have the device put everything back to what its maker gave, and restart.

        Where it is from and which CA it trusts stays, so that it can be told something else. A device with lines is
        refused unless they shall be freed with it.
        """
        async with self._change() as change:
            device = await device_of(change.connection, mac)
            bound = await devices.bindings_of(change.connection, mac, active=True)
            if bound and not unbind:
                lines = ", ".join(f"{one.number} on line {one.line}" for one in bound)
                cure = Cure(Deed.WIPE_WITH_LINES, mac)
                raise Conflict(f"{mac.colons} has {lines}: unbind it first, or wipe it with its lines", cure=cure)
            if device.state is DeviceState.REVOKED:
                raise Conflict(f"{mac.colons} is revoked, so it is served nothing, no wipe either: restore it first")
            for one in bound:
                await end(change, one)
                await phone_taken_away(change, self._store.box, one)
            await ask_wipe(change, mac)
            await have_fetch(change, self._drivers, [mac], restart=True)
            return await wipes.wipe_of(change.connection, mac)

    async def end_wipe(self, mac: Mac) -> Wipe:
        """Serve the device as any other again; NotFound when it is not wiped."""
        async with self._change() as change:
            await device_of(change.connection, mac)
            found = await wipes.wipe_of(change.connection, mac)
            if not found.everything:
                raise NotFound(f"{mac.colons} is not wiped")
            await end_wipe(change, self._store.box, mac, found)
            await have_fetch(change, self._drivers, [mac], restart=True)
            return await wipes.wipe_of(change.connection, mac)


async def ask_wipe(change: Change, mac: Mac, replaced_by: str = "") -> None:
    """Everything goes; whoever calls it has the phone told."""
    await wipes.empty_all(change.connection, mac, change.at, change.revision, replaced_by)
    change.touch(Scope.DEVICE, mac)
    told = {"replaced_by": replaced_by} if replaced_by else {}
    change.audit("wipe_asked", mac=mac, severity="warning", **told)
