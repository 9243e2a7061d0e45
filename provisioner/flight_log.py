"""The flight recorder of one worker: what is kept of each connection, and when it is written. It never waits or raises.

Rule: failures before good boots. Of good ones so many a second are kept, those first that are unlike the last one of
their device; good connections right behind each other are one boot and one record. All of it is bounded, and what is
left out is counted. A database that is locked or full costs records and nothing else; so does a fault in the reading of
what strangers have sent: one fence stands around it, and behind it the connection is gone already.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from provisioner.background import Fence
from provisioner.errors import Conflict, StoreFailed
from provisioner.flight import packed
from provisioner.flight_draft import GOOD_VERDICTS, Claims, Draft, Refused, draft, label_of, owner_of
from provisioner.flight_notes import FlightNotes, TlsSeen
from provisioner.gate import address_key
from provisioner.gcra import Gcra
from provisioner.model import Count
from provisioner.settings import Settings
from provisioner.store.database import Store
from provisioner.store.engine import is_writing, may_pass
from provisioner.store.flights import FlightRow, write_flights
from provisioner.store.refusals import Group, better_chain, group_key, write_refusals

_QUEUE: Final = 1000
"""Records waiting to be written; each has under 20 KiB."""
_PART: Final = 200
"""Records written in one transaction: making them takes the loop 10 ms."""
_SETTLES: Final = 5.0
"""s after which the next good connection of a device is another boot: phones with one a file pause for less."""
_RESTS: Final = 10.0
"""s without writing after the database was locked: an upload that waits for its turn has a phone behind it."""
_PAUSE: Final = 5.0
"""s that good boots wait for each other: a transaction costs as much as thirty records. Trouble waits for nothing."""
_LONGEST: Final = 30.0
"""s that a record of a good boot waits for further connections at most."""
_LIKE: Final = 100_000
"""Devices of which is known what their last good boot was like, 100 bytes each."""
_TROUBLED: Final = 10_000
"""Devices that had trouble, whose next good boot is kept in any case."""
_ADDRESSES: Final = 20_000
_AT_ONCE: Final = 30
"""Records of strangers at one address before their pace counts: a site of phones with one and the same fault."""
_BURST: Final = 2.0
"""s of the pace that may come at once."""
_GROUPS: Final = 256
"""Groups of refused certificates waiting to be written, up to 32 KiB each; a flood of issuers shall not fill memory."""
_GROUPED: Final = 4096
"""Groups of which is known that they have come with a record."""
_NAMES: Final = 16
"""Macs, models and addresses kept of a group, each."""
_ALL: Final = ""
_NOTHING: Final = TlsSeen()


def _nothing() -> TlsSeen:
    return _NOTHING


@dataclass(slots=True)
class _Batch:
    flights: list[Draft] = field(default_factory=list)
    groups: dict[str, Group] = field(default_factory=dict)
    since: float = math.inf
    """When its first record came, s of the clock that never goes back."""
    urgent: bool = False
    """There is trouble in it."""

    def is_due(self, now: float) -> bool:
        return self.urgent or bool(self.groups) or len(self.flights) >= _PART or now - self.since >= _PAUSE


class FlightLog:
    """One a worker; a FlightSink."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        count: Count,
        claims: Claims,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._ring = settings.recorder_ring
        self._strangers = settings.recorder_strangers
        self._most_groups = settings.recorder_refused
        self._count = count
        self._fence = Fence("flights", count, steady)
        self._claims = claims
        self._clock = clock
        self._steady = steady
        self._good = Gcra(settings.recorder_good, settings.recorder_good * _BURST, 1)
        self._half = 1 + settings.recorder_good * _BURST / 2
        self._trouble = Gcra(settings.recorder_trouble, settings.recorder_trouble * _BURST, 1)
        self._address = Gcra(settings.recorder_address / 60, _AT_ONCE, _ADDRESSES)
        self._uncounted = Gcra(settings.recorder_trouble, settings.recorder_trouble * _BURST, 1)
        self._grouped: dict[str, None] = {}
        self._like: dict[str, int] = {}
        self._troubled: dict[str, None] = {}
        self._settling: dict[str, Draft] = {}
        self._batch = _Batch()
        self._rests_until = 0.0

    def __len__(self) -> int:
        """Records not written yet."""
        return len(self._settling) + len(self._batch.flights)

    # --- as a FlightSink --------------------------------------------------------------------------

    def over(self, notes: FlightNotes, seen: Callable[[], TlsSeen]) -> None:
        """A connection is over."""
        self._fence.holds(self._over, notes, seen)

    def turned_away(self, notes: FlightNotes) -> None:
        """Somebody was let go before any TLS state."""
        self._fence.holds(self._went_wrong, notes, _nothing, "", notes.end)

    # --- what is kept -------------------------------------------------------------------------------

    def _over(self, notes: FlightNotes, seen: Callable[[], TlsSeen]) -> None:
        label, owner = label_of(notes), owner_of(notes)
        if label == "ok":
            self._went_well(notes, seen, owner)
        else:
            self._went_wrong(notes, seen, owner, label)

    def _went_well(self, notes: FlightNotes, seen: Callable[[], TlsSeen], owner: str) -> None:
        now = self._steady()
        if owner and (before := self._settling.get(owner)) is not None:
            before.add(notes, self._clock())
            before.last = now
            return
        if not (self._has_room(notes, owner, now) if owner else self._may_tell(notes, now)):
            self._count("flights", "left_out")
            return
        made = draft(notes, seen(), self._clock(), "ok", self._claims)
        made.last = now
        if owner:
            self._settling[owner] = made
        else:
            self._queue(made)

    def _has_room(self, notes: FlightNotes, owner: str, now: float) -> bool:
        """First of all who had trouble, then who does otherwise than last time, then anybody."""
        likeness = hash((notes.listener, _address(notes), notes.agent, len(notes.asked)))
        like = self._like.get(owner) == likeness
        if owner in self._troubled:
            del self._troubled[owner]
            self._good.charge(_ALL, now)
        elif (like and self._good.wait(_ALL, now, self._half)) or self._good.take(_ALL, now):
            return False
        if len(self._like) >= _LIKE:
            self._like.clear()
        self._like[owner] = likeness
        return True

    def _went_wrong(self, notes: FlightNotes, seen: Callable[[], TlsSeen], owner: str, label: str) -> None:
        now = self._steady()
        if not owner and not self._may_tell(notes, now):
            self._count("flights", "address")
            self._count_refused(notes, seen, label, now)
            return
        if self._trouble.take(_ALL, now):
            self._count("flights", "dropped")
            self._count_refused(notes, seen, label, now)
            return
        made = draft(notes, seen(), self._clock(), label, self._claims)
        if owner:
            self._settle(owner)
            if len(self._troubled) < _TROUBLED:
                self._troubled[owner] = None
        if made.refused is not None:
            self._group(made.refused)
        self._queue(made)

    def _may_tell(self, notes: FlightNotes, now: float) -> bool:
        address = _address(notes)
        return not self._address.take(address_key(address) if address else _ALL, now)

    def _settle(self, owner: str) -> None:
        """The good boot before is over: what comes after it has a higher number."""
        if (before := self._settling.pop(owner, None)) is not None:
            self._queue(before)

    def _queue(self, made: Draft) -> None:
        flights = self._batch.flights
        if len(flights) >= _QUEUE and not self._gives_way(made):
            self._count("flights", "dropped")
            return
        flights.append(made)
        self._batch.since = min(self._batch.since, self._steady())
        self._batch.urgent |= made.trouble
        self._count("flights", "trouble" if made.trouble else "good")

    def _gives_way(self, made: Draft) -> bool:
        """A good one, if any, to a failure."""
        flights = self._batch.flights
        place = next((at for at, one in enumerate(flights) if not one.trouble), None)
        if not made.trouble or place is None:
            return False
        del flights[place]
        self._count("flights", "dropped")
        return True

    def _count_refused(self, notes: FlightNotes, seen: Callable[[], TlsSeen], label: str, now: float) -> None:
        """Of what gets no record the certificate is counted all the same, within a pace, and makes no new group."""
        if notes.peer is None or notes.peer.identity.verdict in GOOD_VERDICTS:
            return
        if self._uncounted.take(_ALL, now):
            self._count("flights", "group")
        elif (refused := draft(notes, seen(), self._clock(), label, self._claims).refused) is not None:
            self._group(refused, new=False)

    def _group(self, one: Refused, *, new: bool = True) -> None:
        groups = self._batch.groups
        key = group_key(one.verdict, one.issuer, one.chain)
        if new:
            if len(self._grouped) >= _GROUPED:
                self._grouped.clear()
            self._grouped[key] = None
        found = groups.get(key)
        if found is None:
            if len(groups) >= _GROUPS or key not in self._grouped:
                self._count("flights", "group")
                return
            found = groups[key] = Group(key, one.verdict, one.issuer, one.why, one.at, one.at, 0, one.chain)
        found.times += 1
        found.last_at = one.at
        found.chain = better_chain(one.chain, found.chain)
        for names, name in ((found.macs, one.mac), (found.addresses, one.address), (found.models, one.model)):
            if name in names or len(names) < _NAMES:
                names[name] = one.at

    # --- writing --------------------------------------------------------------------------------------

    async def flush(self) -> None:
        """Write what is due; on trouble keep what still has room, and count. Whoever else writes goes first."""
        now = self._steady()
        self._settle_due(now)
        if self._batch.is_due(now) and now >= self._rests_until and not is_writing(self._store.lossy):
            await self._write(now)

    async def _write(self, now: float) -> None:
        batch, self._batch = self._batch, _Batch()
        if not batch.flights and not batch.groups:
            return
        try:
            while batch.flights:
                rows = self._rows(batch.flights[:_PART])
                await write_flights(self._store, rows, ring=self._ring, strangers=self._strangers)
                del batch.flights[:_PART]
            await write_refusals(self._store, list(batch.groups.values()), most=self._most_groups)
        except (StoreFailed, Conflict) as error:
            self._count("store_flush_failed", "flights")
            if isinstance(error, StoreFailed) and may_pass(error):
                self._rests_until = now + _RESTS
                self._keep(batch)

    def _rows(self, some: Sequence[Draft]) -> list[FlightRow]:
        """What cannot be packed costs itself."""
        rows: list[FlightRow] = []
        for one in some:
            self._fence.holds(lambda made: rows.append(_row(made)), one)
        return rows

    async def close(self) -> None:
        """Write everything, the boots that may go on too."""
        for owner in list(self._settling):
            self._settle(owner)
        await self._write(self._steady())

    def _settle_due(self, now: float) -> None:
        for owner, one in list(self._settling.items()):
            if now - one.last >= _SETTLES or self._clock() - one.at >= _LONGEST:
                self._settle(owner)

    def _keep(self, older: _Batch) -> None:
        """Before what came meanwhile, within the bounds; groups add up in any order, and are counted once."""
        newer, self._batch = self._batch, _Batch(urgent=True)
        for one in (*older.flights, *newer.flights):
            if len(self._batch.flights) < _QUEUE:
                self._batch.flights.append(one)
            else:
                self._count("flights", "dropped")
        self._batch.groups = newer.groups
        for key, group in older.groups.items():
            if (found := newer.groups.get(key)) is not None:
                group.add(found)
            if found is not None or len(newer.groups) < _GROUPS:
                newer.groups[key] = group


def _address(notes: FlightNotes) -> str:
    peername = notes.peername
    return str(peername[0]) if isinstance(peername, tuple) and peername else ""


def _row(one: Draft) -> FlightRow:
    return FlightRow(one.owner, one.mac, one.at, one.address, one.trouble, one.label, one.model, packed(one.told))
