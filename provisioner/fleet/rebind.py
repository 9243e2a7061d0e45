"""Use-case of the administrator: this extension, or this person, on that phone; what follows happens by itself.

Taking the line's former extension off, uniqueness, licenses and numbers, audit and telling every phone concerned to
fetch again are one transaction: all of it is so, or none.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.bindings import Exchanged
from provisioner.desk import device_of, extension_for
from provisioner.errors import NotFound
from provisioner.fleet.devices import Lines
from provisioner.line_errands import have_fetch
from provisioner.model import Mac
from provisioner.store import devices
from provisioner.store.rows import Binding
from provisioner.store.together import Together


@dataclass(frozen=True, slots=True)
class Rebound:
    """What has come of it."""

    binding: Binding
    freed: Sequence[Binding]
    """Bindings that made way: what was on the line, and where the extension was."""
    campaign: str
    """The resync that tells the phones; empty where nobody had to be told."""
    exchanged: Exchanged | None = None
    """Where the extension has another SIP secret now, which the PBX has to read."""


@dataclass(frozen=True, slots=True)
class Released:
    """A line that was freed."""

    binding: Binding
    campaign: str


class Rebinding(Lines):
    """Binding as people mean it."""

    async def rebind(
        self,
        mac: Mac,
        line: int,
        *,
        extension: str = "",
        user: str = "",
        label: str = "",
        replace: bool = False,
        resync: bool = True,
    ) -> Rebound:
        """Put an extension, or the one of a user, on a line, whatever is on it now, and have the phones fetch.

        ``replace`` takes the extension from the phone that has had it longest, where it may have no further one.
        """
        async with self._as_one() as (desk, connection):
            device = await device_of(connection, mac)
            wanted = await extension_for(connection, device, extension, user)
            before = await devices.bindings_of(connection, mac, active=True)
            there = next((one for one in before if one.line == line), None)
            if there is not None and there.extension == wanted.id and there.label == label:
                return Rebound(there, (), "")
            held = await devices.bindings_of_extension(connection, wanted.id)
            if there is not None:
                await desk.unbind(mac, line, resync=False)
            bound, begun = await desk.bound(mac, line, extension=wanted.id, label=label, replace=replace, resync=False)
            now = await devices.bindings_of_extension(connection, wanted.id)
            left = {(one.mac, one.line) for one in now}
            freed = [one for one in held if (one.mac, one.line) not in left]
            freed += [there] if there is not None and there not in freed else []
            concerned = [mac, *(one.mac for one in freed), *begun.others]
            campaign = await desk.tell(list(dict.fromkeys(concerned))) if resync else ""
        return Rebound(bound, freed, campaign, begun.exchanged)

    async def release(self, mac: Mac, line: int, *, resync: bool = True) -> Released:
        """Free a line and have the phone fetch what empties it: it loses the extension's secret that way."""
        async with self._as_one() as (desk, _):
            found = await desk.line(mac, line)
            await desk.unbind(mac, line, resync=False)
            campaign = await desk.tell([mac]) if resync else ""
        return Released(found, campaign)

    @asynccontextmanager
    async def _as_one(self) -> AsyncIterator[tuple[Rebinding, AsyncConnection]]:
        """Use-cases that are one change: one revision, one notice, all of them or none."""
        async with self._change() as change:
            store = Together(self._store, change)
            desk = Rebinding(store, self._drivers, actor=self._actor, clock=self._clock, principal=self._principal)
            yield desk, change.connection

    async def line(self, mac: Mac, line: int) -> Binding:
        """What is on a line; NotFound when nothing is."""
        async with self._store.reading() as connection:
            await device_of(connection, mac)
            active = await devices.bindings_of(connection, mac, active=True)
        found = next((one for one in active if one.line == line), None)
        if found is None:
            raise NotFound(f"nothing is bound to line {line} of {mac.colons}")
        return found

    async def tell(self, macs: Sequence[Mac]) -> str:
        """Have those of them fetch again that have been here before; the campaign, empty where nobody has."""
        name = uuid.uuid4().hex[:8]
        async with self._change() as change:
            told = await have_fetch(change, self._drivers, macs, name)
            if not told:
                return ""
            alone = told[0] if len(told) == 1 else ""
            change.audit("resync_begun", mac=alone, campaign=name, devices=str(len(told)), waves="1", seconds="0")
        return name
