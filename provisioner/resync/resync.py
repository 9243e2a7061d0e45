"""Use-cases of resync: who is to fetch again, planned in waves within the campaign's budget; stopped; looked at.

A campaign is written down whole when it begins, each device with its turn. Whoever can tell phones does the telling
(``resync_errands``), so a campaign goes on where it was after any process was started again.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from provisioner.desk import SettingsDesk, account_id, account_of
from provisioner.errors import NotFound
from provisioner.model import ListenerKind, Mac, Scope
from provisioner.resync.compare import Compare, Compared, Verdict
from provisioner.resync.plan import Pace, Phone, Turn, waves
from provisioner.resync_states import Standing, State
from provisioner.store import resync as rows
from provisioner.store.database import Change
from provisioner.store.resync import Candidate, Request
from provisioner.store.rollouts import meant
from provisioner.store.standing import Served, write_served

_PAGE: Final = 200
"""Devices compared in one view of the database."""
_TOLD: Final = 1000
"""Devices that one question shows."""

BaseUrls = Mapping[ListenerKind, str]
"""Where phones fetch from, as it stands in their files."""


@dataclass(frozen=True, slots=True)
class Whom:
    """Which devices are meant."""

    mac: Mac | None = None
    account: str = ""
    """Name or id."""
    changed: bool = False
    """Only those that would get other files than they have."""
    reboot: bool = False
    layer: tuple[Scope, str] | None = None
    """Only devices of this layer."""
    among: Callable[[Mac], bool] | None = None
    """Of those, only these."""
    on_way: bool = False
    """Only those that somebody has asked already, to see what they would get; they are told once."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A campaign that has not begun."""

    turns: Sequence[Turn]
    requests: Sequence[Request] = field(repr=False)
    left_out: Mapping[Verdict, int]
    """How many devices are not told, by why."""
    broken: Mapping[Mac, str]
    """Why some of them would get nothing; the first hundred."""
    same: Mapping[Mac, int] = field(repr=False)
    """Devices that have their newest files already, and up to which change that is so."""
    account: str = ""

    @property
    def waves(self) -> int:
        """How many."""
        return max((one.wave + 1 for one in self.turns), default=0)

    @property
    def until(self) -> float:
        """Unix time of the last turn; 0 where there is none."""
        return max((one.due for one in self.turns), default=0.0)


class Resync(SettingsDesk):
    """The administrator's side."""

    async def plan(self, whom: Whom, rate: float, base_urls: BaseUrls) -> Draft:
        """Who is told and when, ``rate`` phones a second; nothing is written. NotFound for a Mac or account unknown."""
        pace = Pace(rate, self._settings.resync_wave, self._settings.resync_share)
        async with self._store.reading() as connection:
            account = (await account_of(connection, whom.account)).id if whom.account else ""
        compare = Compare(self._store, self._drivers, base_urls)
        await compare.open()
        try:
            found = [pair async for pair in self._looked(compare, whom, account)]
        finally:
            await compare.close()
        return await self._draft(whom, account, found, pace)

    async def _looked(self, compare: Compare, whom: Whom, account: str) -> AsyncIterator[tuple[Candidate, Compared]]:
        """Page by page, so that no view of the database lasts long."""
        now, after, window = self._clock(), "", float(self._settings.activation_window)
        if whom.mac is not None:
            await self._require(whom.mac)
        while True:
            async with self._store.reading() as connection:
                page = await rows.candidates(
                    connection,
                    now,
                    window,
                    mac=whom.mac or "",
                    account=account,
                    changed=whom.changed,
                    among=meant(*whom.layer) if whom.layer else None,
                    on_way=whom.on_way,
                    after=after,
                    limit=_PAGE,
                )
                mine = [one for one in page if whom.among is None or whom.among(one.mac)]
                await rows.add_files(connection, mine)
                for one in mine:
                    about = await compare.look(connection, one, reboot=whom.reboot)
                    one.files.clear()  # of a whole fleet they would fill the memory
                    yield one, about
            if len(page) < _PAGE:
                return
            after = page[-1].mac

    async def _require(self, mac: Mac) -> None:
        async with self._store.reading() as connection:
            if not await rows.candidates(connection, self._clock(), 0.0, mac=mac):
                raise NotFound(
                    f"there is no device {mac.colons} that could be told: nobody has added it, or it is revoked"
                )

    async def _draft(self, whom: Whom, account: str, found: Sequence[tuple[Candidate, Compared]], pace: Pace) -> Draft:
        wanted = [(one, about) for one, about in found if _is_told(whom, about)]
        out = [(one, about) for one, about in found if not _is_told(whom, about)]
        async with self._store.reading() as connection:
            last = await rows.last_due(connection)
            sizes = await rows.sizes(connection, {one.place for one, _ in wanted})
        now = self._clock()
        start = now if whom.mac is not None else max(now, last)  # one phone does not wait for a campaign's end
        turns = waves((Phone(one.mac, one.place) for one, _ in wanted), pace, start, sizes)
        compared = {one.mac: about for one, about in wanted}
        return Draft(
            turns=turns,
            requests=[_request(turn, compared[turn.mac], force=not whom.changed) for turn in turns],
            left_out=Counter(about.verdict for _, about in out),
            broken=dict([(one.mac, about.why) for one, about in out if about.verdict is Verdict.BROKEN][:100]),
            same={one.mac: about.upto for one, about in out if about.verdict is Verdict.SAME and about.whole},
            account=account,
        )

    async def begin(self, draft: Draft, name: str = "") -> str:
        """Write the campaign down; its name, empty where nobody needs to be told."""
        name = name or uuid.uuid4().hex[:8]
        await self.note_same(draft)
        if not draft.requests:
            return ""
        async with self._change() as change:
            await self.begin_in(change, draft, name)
        return name

    async def note_same(self, draft: Draft) -> None:
        """Who has its newest files already need not be looked at again."""
        served = {str(mac): Served(upto, None) for mac, upto in draft.same.items()}
        async with self._store.writing() as connection:
            await write_served(connection, served, self._clock())

    async def begin_in(self, change: Change, draft: Draft, name: str) -> None:
        """Write the campaign down with whatever else this change does; not one of nobody."""
        if not draft.requests:
            return
        await rows.ask(change.connection, name, draft.requests, change.at)
        alone = draft.requests[0].mac if len(draft.requests) == 1 else ""
        told = {"devices": len(draft.requests), "waves": draft.waves, "seconds": round(draft.until - change.at)}
        about = {"account": draft.account} if draft.account else {}
        change.audit("resync_begun", mac=alone, campaign=name, **about, **{key: str(one) for key, one in told.items()})

    async def stop(self, account: str = "", mac: Mac | None = None) -> int:
        """Tell nobody any more who waits for it; how many those were. Who was told already restarts all the same."""
        async with self._change() as change:
            chosen = await account_id(change.connection, account)
            stopped = await rows.stop(change.connection, change.at, chosen, mac or "")
            if stopped:
                change.audit("resync_stopped", mac=mac or "", devices=str(stopped), account=chosen)
        return stopped

    async def standings(
        self, *, campaign: str = "", account: str = "", mac: Mac | None = None, limit: int = _TOLD
    ) -> list[Standing]:
        """Devices that are told, or were, in the order of their turns."""
        async with self._store.reading() as connection:
            chosen = await account_id(connection, account)
            return await rows.standings(connection, campaign=campaign, account=chosen, mac=mac or "", limit=limit)

    async def counts(self, campaign: str = "") -> Mapping[State, int]:
        """How many devices are in each state."""
        async with self._store.reading() as connection:
            return await rows.counts(connection, campaign)


def _is_told(whom: Whom, about: Compared) -> bool:
    """By ``--changed`` who gets something new; by name whoever gets anything."""
    if about.verdict is Verdict.BROKEN:
        return False
    return not whom.changed or about.verdict in (Verdict.DIFFERS, Verdict.UNKNOWN)


def _request(turn: Turn, about: Compared, *, force: bool) -> Request:
    return Request(turn.mac, about.event, about.upto, turn.due, turn.wave, force, about.patience)
