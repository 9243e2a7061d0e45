"""Tells of reboot loops while they go on, and of certificates before they end: beside the serving, in small turns.

Each is told once: a loop once an hour and phone, a certificate at each stage of its last weeks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner import trust
from provisioner.certificates import stamp
from provisioner.diagnosis.case import Rules, Subject
from provisioner.diagnosis.ladder import Told, diagnose
from provisioner.errors import Unusable
from provisioner.flight_facts import notify_facts
from provisioner.model import Event, Mac
from provisioner.settings import Settings
from provisioner.store import flights, journal, loops
from provisioner.store.database import Store

LOOKS: Final = 60.0
"""s between looks: a phone in a loop needs longer for a turn."""
_ENDS: Final = 3600.0
"""s between looks at certificates."""
_LOOP: Final = 68
_AGAIN: Final = 3600.0
_LOOKED_AT: Final = 50
"""Phones of a turn whose records are read."""
_EACH: Final = 20
"""Loops of a turn that are told one by one; beyond it they are told as a number."""
_DAY: Final = 86_400.0
_STAGES: Final = (0, 1, 3, 7, 14, 30, 60, 90)
"""days: at each of them somebody is told once more."""
_URGENT: Final = 7
_KNOWN: Final = 500
_TOLD_TO: Final = 60
_SERVER: Final = "server"


class Ending(NamedTuple):
    """A certificate, or many of one kind."""

    kind: str
    name: str
    days: int
    ends: str
    devices: int = 0

    @property
    def stage(self) -> int:
        """The stage that it has come to."""
        return next((one for one in _STAGES if self.days <= one), _STAGES[-1])


class Lookout:
    """One a process that does so."""

    def __init__(self, store: Store, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._counted = 0.0
        self._looked = 0.0

    async def turn(self) -> int:
        """Look at what is due; how much was told."""
        now = self._clock()
        if now - self._looked < _ENDS:
            return await self.loops()
        self._looked = now
        return await self.loops() + await self.certificates()

    # --- loops ----------------------------------------------------------------------------------------

    async def loops(self) -> int:
        """Look at the phones that come most often; how many loops were told."""
        now, rules = self._clock(), self._rules()
        least = max(2, rules.loop_fetches // 3)  # a record may hold the whole of a boot
        found: list[tuple[Mac, Told]] = []
        async with self._store.reading() as connection:
            for mac in await loops.frequent(connection, now - rules.loop_window, least, _LOOKED_AT):
                told = await _loop_of(connection, mac, rules, now)
                if told is not None and not await _is_told(connection, mac, now):
                    found.append((mac, told))
                await asyncio.sleep(0)  # whoever waits for this process goes first
        events = [_looping(mac, told, now) for mac, told in found[:_EACH]]
        if rest := found[_EACH:]:
            events.append(Event("reboot_loop", now, "", "alarm", _SERVER, {"devices": str(len(rest))}))
        await self._tell(events)
        return len(found)

    def _rules(self) -> Rules:
        return Rules(self._settings.diagnosis_loop_fetches, self._settings.diagnosis_loop_window)

    async def _tell(self, events: list[Event]) -> None:
        if events:
            async with self._store.writing() as connection:
                await journal.write_events(connection, events)

    # --- certificates ---------------------------------------------------------------------------------

    async def certificates(self) -> int:
        """What ends soon: this server's own certificates and CAs, and once a day how many phones' do."""
        now = self._clock()
        found = await asyncio.to_thread(lambda: list(self._own(now)))
        async with self._store.reading() as connection:
            if now - self._counted >= _DAY:
                found += await self._pinned(connection, now)
                self._counted = now
            known = await journal.list_events(connection, limit=_KNOWN, kind="certificate_ending")
        told = {(one.details.get("name"), one.details.get("ends"), one.details.get("stage")) for one in known}
        fresh = [one for one in found if (one.name, one.ends, str(one.stage)) not in told]
        await self._tell([_ending(one, now) for one in fresh])
        return len(fresh)

    def _own(self, now: float) -> Iterator[Ending]:
        """Files: what cannot be read the page of certificates tells."""
        settings = self._settings
        try:
            ends = trust.load(settings.data).check(now, [settings.data / name for name in settings.tls_certificates])
        except Unusable:
            return
        for one in ends:
            if one.days <= settings.diagnosis_expiry and (one.days >= 0 or one.kind == "server"):
                yield Ending(one.kind, one.name, one.days, one.not_after)

    async def _pinned(self, connection: AsyncConnection, now: float) -> list[Ending]:
        horizon = now + self._settings.diagnosis_expiry * _DAY
        number, first = await loops.pins_ending(connection, stamp(now), stamp(horizon))
        if not number:
            return []
        return [Ending("device", "phones", int(self._settings.diagnosis_expiry), first, number)]


async def _loop_of(connection: AsyncConnection, mac: Mac, rules: Rules, now: float) -> Told | None:
    facts = [fact for one in await flights.of_device(connection, mac) if one.proven for fact in one.facts()]
    told_to = await journal.list_events(connection, limit=_TOLD_TO, kind="resync_told", mac=mac)
    found = diagnose([*facts, *notify_facts(told_to)], Subject(mac, rules=rules), now)
    told = [found.cause, *found.also] if found.cause else []
    return next((one for one in told if one.row.id == _LOOP), None)


async def _is_told(connection: AsyncConnection, mac: Mac, now: float) -> bool:
    last = await journal.list_events(connection, limit=1, kind="reboot_loop", mac=mac)
    return bool(last) and now - last[-1].at < _AGAIN


def _looping(mac: Mac, told: Told, now: float) -> Event:
    return Event("reboot_loop", now, mac, "alarm", _SERVER, {"reason": told.says, "cure": told.row.cure})


def _ending(one: Ending, now: float) -> Event:
    severity = "alarm" if one.days <= _URGENT else "warning"
    what = f"{one.devices} phones' certificates end" if one.devices else f"{one.kind} {one.name} ends"
    reason = f"{what} at {one.ends}" if not one.devices else f"{what} within {one.days} days, the first at {one.ends}"
    told = {"reason": reason, "whose": one.kind, "name": one.name, "ends": one.ends, "stage": str(one.stage)}
    return Event("certificate_ending", now, "", severity, _SERVER, told)
