"""Use-cases of the technician: record the TLS secrets of one device for a while, take them out, have them deleted.

For the house's own administrators alone: whoever has the secrets reads all that the phone has got. At most one device
is recorded at a time, and what was recorded deletes itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from provisioner.deeds import Cure, Deed
from provisioner.desk import SettingsDesk, device_of
from provisioner.errors import Conflict, Invalid, NotFound
from provisioner.model import Mac
from provisioner.rights import Right
from provisioner.store import key_recordings
from provisioner.store.key_recordings import Recording

LONGEST: Final = 24 * 60.0
"""min: what is to be looked at for longer is looked at again."""
_MINUTE: Final = 60.0
_HOUR: Final = 3600.0


class KeyRecording(SettingsDesk):
    """What is kept is sealed for its device; nobody else's connection is among it."""

    async def key_recordings(self, mac: Mac | None = None) -> list[Recording]:
        """Those of which something is left, the newest first; of one device or of all."""
        self._require_all(Right.TLS_SECRETS)
        async with self._store.reading() as connection:
            return await key_recordings.list_recordings(connection, self._clock(), mac)

    async def open_key_recording(self, mac: Mac, minutes: float | None = None) -> Recording:
        """From now on for so long, in the place of the device's former recording; workers begin within a second."""
        self._require_all(Right.TLS_SECRETS)
        settings = self._settings
        chosen = settings.recorder_key_minutes if minutes is None else minutes
        if not 0 < chosen <= LONGEST:
            raise Invalid("minutes", f"must be more than 0 and at most {LONGEST:g}")
        async with self._change() as change:
            device = await device_of(change.connection, mac)
            before = await key_recordings.list_recordings(change.connection, change.at)
            running = [one for one in before if one.is_open(change.at)]
            if other := next((one for one in running if one.mac != mac), None):
                raise Conflict(
                    f"the secrets of {other.mac.colons} are being recorded, and of one device at a time",
                    cure=Cure(Deed.CLOSE_KEY_RECORDING, other.mac),
                )
            until = change.at + chosen * _MINUTE
            gone_at = until + settings.recorder_key_hours * _HOUR
            opened_at = running[0].opened_at if running else change.at
            made = Recording(mac, opened_at, until, gone_at, change.actor)
            await key_recordings.open_recording(change.connection, made)
            change.audit(
                "key_recording_opened", mac=mac, severity="warning", minutes=f"{chosen:g}", account=device.account
            )
        kept = next((one.connections for one in before if one.mac == mac), 0)
        return replace(made, connections=kept)

    async def close_key_recording(self, mac: Mac) -> bool:
        """End it before its time; whether it was open. What was recorded is kept for as long as it would have been."""
        self._require_all(Right.TLS_SECRETS)
        async with self._change() as change:
            gone_at = change.at + self._settings.recorder_key_hours * _HOUR
            was_open = await key_recordings.close_recording(change.connection, mac, change.at, gone_at)
            if was_open:
                change.audit("key_recording_closed", mac=mac)
        return was_open

    async def delete_key_recording(self, mac: Mac) -> int:
        """End it and delete what it has, at once; of how many connections that was."""
        self._require_all(Right.TLS_SECRETS)
        async with self._change() as change:
            was_there, count = await key_recordings.delete_recording(change.connection, mac)
            if not was_there:
                raise NotFound(f"no TLS secrets of {mac.colons} are recorded")
            change.audit("key_recording_deleted", mac=mac, severity="warning", connections=str(count))
        return count

    async def take_tls_secrets(self, mac: Mac) -> list[str]:
        """Lines of a key log, as Wireshark reads them; that they were taken is told before anybody has them."""
        self._require_all(Right.TLS_SECRETS)
        async with self._change() as change:
            found = await key_recordings.list_recordings(change.connection, change.at, mac)
            if not found or not found[0].connections:
                raise NotFound(f"no TLS secrets of {mac.colons} are recorded", cure=Cure(Deed.OPEN_KEY_RECORDING, mac))
            lines = await key_recordings.read_secrets(change.connection, mac, self._store.box)
            change.audit("tls_secrets_taken", mac=mac, severity="warning", connections=str(found[0].connections))
        return lines
