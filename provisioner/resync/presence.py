"""Tells when phones are not heard of any more, and when they are again: beside the serving, a slice at a time.

Nothing of it is written by a boot. What is read is what the batches of the workers have put down anyway; each turn is
bounded, whatever has happened to however many phones, and what is left waits for the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.hook_events import moment
from provisioner.layers import merge, resolve
from provisioner.model import Event, Mac
from provisioner.neutral import POLL
from provisioner.presence_rules import Absent, brightened, is_missing, listening_since, told_singly
from provisioner.resync.compare import polls_within
from provisioner.settings import Settings
from provisioner.store import absences
from provisioner.store.absences import Silent
from provisioner.store.database import Store, change_on
from provisioner.store.journal import write_events
from provisioner.store.views import Views
from provisioner.vendor import VendorDriver

TURN: Final = 2.0
"""s between turns."""
_TOLD: Final = 200
"""Phones of one kind that a turn moves; the next one goes on behind them."""
_ROUND: Final = 60.0
"""s that a round over all devices takes at least: a small fleet is not looked at all the time."""
_BEAT: Final = 60.0
_SERVER: Final = "server"


class Presence:
    """One a process that does so; more than one tell nothing twice."""

    def __init__(
        self,
        store: Store,
        views: Views,
        drivers: Mapping[str, VendorDriver],
        settings: Settings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._views = views
        self._drivers = drivers
        self._settings = settings
        self._clock = clock
        self._slice = max(1, int(settings.presence_pace * TURN))
        self._after = ""
        self._back_after = ""
        self._begun = 0.0

    async def turn(self) -> int:
        """Look at the next devices; how many phones were told to be away or back."""
        if not self._settings.presence_offline:
            return 0
        now = self._clock()
        since = await self._listens(now)
        return await self._come_back(now) + await self._lose(now, since) + await self._miss(now, since)

    async def _listens(self, now: float) -> float:
        """Since when this server listens: who could not reach it is not away."""
        async with self._store.reading() as connection:
            found = await absences.read_watch(connection)
        since = now if found is None else listening_since(*found, now)
        if found is None or since != found[0] or now - found[1] >= _BEAT:
            async with self._store.writing() as connection:
                await absences.write_watch(connection, since, now)
        return since

    # --- away ---------------------------------------------------------------------------------------------

    async def _miss(self, now: float, since: float) -> int:
        """The next slice of all devices; a round is over when its end was reached, and rests for a while."""
        if not self._after and 0 <= now - self._begun < _ROUND:
            return 0
        self._begun = self._begun if self._after else now
        offline = self._settings.presence_offline
        async with self._store.reading() as connection:
            upto = await absences.end_of_slice(connection, self._after, self._slice)
            found: list[Silent] = []
            if now - since >= offline:
                found = await absences.silent(connection, now - offline, self._after, upto, _TOLD)
        self._after = found[-1].mac if len(found) == _TOLD else upto
        missing = [one for one in found if await self._is_missing(one, now, since)]
        return await self._tell_away(missing, now) if missing else 0

    async def _is_missing(self, one: Silent, now: float, since: float) -> bool:
        polls = await self._polls(one.mac)
        return is_missing(max(one.heard, since), now, self._settings.presence_offline, polls, registers=one.registers)

    async def _polls(self, mac: Mac) -> float | None:
        """Within which s it asks by itself, as its settings say; None where they say that it does not."""
        view = await self._views.boot_view(mac)
        driver = self._drivers.get(view.device.vendor) if view else None
        model = driver.manifest.models.get(view.device.model) if driver and view else None
        if view is None or model is None:
            return None
        shared = self._views.shared(view.device)
        merged = shared if view.layer is None else merge([view.layer], onto=shared)
        config = resolve(mac, model, view.lines, merged, emptied=view.emptied, wiped=view.wiped)
        return polls_within(config) if config.get(POLL) else None

    async def _tell_away(self, missing: Sequence[Silent], now: float) -> int:
        async with self._store.writing() as connection:
            await absences.hold(connection)
            before = await self._counts(connection, [one.place for one in missing])
            new = set(await absences.add(connection, [Absent(one.mac, one.place, one.heard) for one in missing]))
            fresh = [Absent(one.mac, one.place, one.heard) for one in missing if one.mac in new]
            told, dark = told_singly(fresh, before, self._settings.presence_singly)
            if together := [one.mac for one in told if not one.singly]:
                await absences.tell_with_site(connection, together)
            await write_events(connection, [_event("device_offline", one, now) for one in _told(told, new)])
            await self._tell_sites(connection, "site_dark", dark, now)
        return len(new)

    async def _counts(self, connection: AsyncConnection, places: Collection[str]) -> dict[str, int]:
        """As far as it matters: one more than are told singly is a site without power."""
        return await absences.counts(connection, places, self._settings.presence_singly + 1)

    async def _lose(self, now: float, since: float) -> int:
        """Offline ones that nobody has heard of for longer still."""
        if now - since < self._settings.presence_lost:
            return 0
        async with self._store.reading() as connection:
            if not await absences.is_any_lost(connection, now - self._settings.presence_lost):
                return 0
        async with self._store.writing() as connection:
            found = await absences.lose(connection, now - self._settings.presence_lost, _TOLD)
            await write_events(connection, [_event("device_lost", one, now) for one in found])
        return len(found)

    # --- back ---------------------------------------------------------------------------------------------

    async def _come_back(self, now: float) -> int:
        """Whoever was told to be away and was heard of since is told once; who has no line any more, not at all."""
        async with self._store.reading() as connection:
            upto = await absences.end_of_slice(connection, self._back_after, self._slice, away=True)
            found = await absences.back(connection, self._back_after, upto, _TOLD)
        self._back_after = found[-1].mac if len(found) == _TOLD else upto
        if not found:
            return 0
        places = [one.place for one in found]
        async with self._store.writing() as connection:
            await absences.hold(connection)
            before = await self._counts(connection, places)
            heard = await absences.heard_again(connection, [one.mac for one in found])
            gone = set(await absences.remove(connection, [one.mac for one in found]))
            await write_events(connection, [_event("device_back", one, now) for one in _told(found, gone & heard)])
            after = await self._counts(connection, places)
            bright = brightened(before, after, self._settings.presence_singly)
            await self._tell_sites(connection, "site_back", {place: after.get(place, 0) for place in bright}, now)
        return len(gone)

    async def _tell_sites(self, connection: AsyncConnection, kind: str, away: Mapping[str, int], now: float) -> None:
        """Of a place that is no site its account's phones without a site are meant."""
        if not away:
            return
        accounts = await absences.accounts_of(connection, away)
        async with change_on(connection, _SERVER, now, self._store.box) as change:
            for place, count in sorted(away.items()):
                where = {"site": place, "account": accounts[place]} if place in accounts else {"account": place}
                change.audit(kind, severity="warning" if kind == "site_dark" else "info", away=str(count), **where)


def _told(found: Iterable[Absent], moved: Collection[Mac]) -> list[Absent]:
    """Those that are told by themselves."""
    return [one for one in found if one.mac in moved and one.singly]


def _event(kind: str, one: Absent, now: float) -> Event:
    details = {"seen": moment(one.seen), "place": one.place}
    if kind == "device_back":
        details["was"] = one.state.value
    severity = "warning" if kind == "device_lost" else "info"
    return Event(kind, now, one.mac, severity, _SERVER, details)
