"""Use-cases of the administrator: a change of a layer that many phones get is asked about, and reaches them in steps.

Whoever makes it says how many phones that are; it is only then kept, and by default a few of them get it first. What
becomes of these is watched by the server (``resync.rollouts``), which goes on or halts by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.desk import SettingsDesk, counted
from provisioner.errors import Conflict, Invalid, NotFound, WideChange
from provisioner.fleet.layers import Layers, masked
from provisioner.model import ConfigLayer, Mac, Scope
from provisioner.rehearsal import LayerChange
from provisioner.rollout_moves import begin, finish, halt, promote
from provisioner.rollout_states import PARTS, RolloutState, Tally, next_share
from provisioner.store import rollouts
from provisioner.store.database import Change
from provisioner.store.rollouts import Rollout
from provisioner.trial import broken_by

_SAMPLE: Final = 3
"""Phones of each model that stand for the others."""
_MODELS: Final = 25
"""Models that are looked at, those with the most phones."""
_EVERYBODY: Final = 100.0
_SAME: Final = "it says what it said before, so nobody gets anything new"
_NOBODY_TO_WATCH: Final = (
    "nobody gets it first: fewer than two of its phones have ever fetched anything, so there is no one to watch; all "
    "get it with their next fetch"
)
_GROWN: Final = 0.01
"""Share by which the number of phones may be another than when it was asked about: fleets grow meanwhile."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What has come of a change."""

    layer: ConfigLayer
    revision: int
    """By which it can be taken back."""
    phones: int
    """For which the layer is."""
    rollout: Rollout | None
    """How it reaches them, where they are many."""
    reached: int = 0
    """Phones that get it with the first step of its rollout."""
    aim: str = ""
    """The share of them that was asked for, in words."""
    at_once: str = ""
    """Why nobody gets it before others, where some were to; else empty."""
    undone: int | None = None
    """Of a change that was taken back on its way: how many phones were to have it by then."""

    @property
    def told(self) -> str:
        """How it reaches its phones; empty where they get it with their next fetch and nothing else was asked."""
        if self.rollout is None:
            return self.at_once
        if self.undone is not None:
            return (
                f"of {counted(self.phones, 'phone')} only those are told that have got the change, {self.undone:,} at "
                "most; the others have never left the former value"
            )
        if self.rollout.share >= PARTS:
            return f"all {self.phones:,} phones are told, in waves"
        return f"{self.reached:,} of {self.phones:,} phones get it first ({self.aim})"


@dataclass(frozen=True, slots=True)
class Concerned:
    """Phones of one model that a layer is for."""

    vendor: str
    model: str
    phones: int
    sample: Sequence[Mac]
    """Some of them; empty for models beyond those that are looked at."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A rollout, and where the phones of its step are."""

    rollout: Rollout
    tally: Tally
    reached: int
    """Phones that get the new value by now."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Phones of one model at one site that a layer is for."""

    account: str
    site: str
    """Empty: at none."""
    model: str
    phones: int
    first: Sequence[Mac]
    """Some of them; of a site further down the list none."""


class Rollouts(Layers, SettingsDesk):
    """Changes of layers with all that follows from how many phones they concern."""

    # --- before -----------------------------------------------------------------------------------------

    async def concerned(self, scope: Scope, key: str) -> list[Concerned]:
        """Whom a layer is for, by model, the most first."""
        async with self._store.reading() as connection:
            key, _ = await self._place(connection, scope, key)
            found = []
            for number, (vendor, model, phones) in enumerate(await rollouts.count_models(connection, scope, key)):
                few = _SAMPLE if number < _MODELS else 0
                sample = await rollouts.some_phones(connection, scope, key, vendor, model, few) if few else []
                found.append(Concerned(vendor, model, phones, sample))
        return found

    async def spots(self, scope: Scope, key: str, *, limit: int = 20) -> list[Spot]:
        """Whom a layer is for, by site and model, the most first; ``limit`` phones are named, all are counted."""
        async with self._store.reading() as connection:
            key, _ = await self._place(connection, scope, key)
            found = []
            for account, site, model, phones in await rollouts.count_places(connection, scope, key):
                at = (account, site, model)
                first = await rollouts.phones_at(connection, scope, key, at, limit) if limit else []
                limit -= len(first)
                found.append(Spot(account, site, model, phones, first))
        return found

    def asks(self, phones: int) -> bool:
        """Whether a change that so many phones get is asked about."""
        return phones > self._settings.rollout_confirm

    # --- the change -------------------------------------------------------------------------------------

    async def change_layer(
        self,
        scope: Scope,
        key: str,
        values: Mapping[str, object] | None = None,
        raw: Mapping[str, str] | None = None,
        unset: Iterable[str] = (),
        *,
        confirm: int | None = None,
        canary: float | None = None,
    ) -> Changed:
        """Set entries and take others away, as one revision.

        WideChange, with their number, where many phones are concerned and ``confirm`` is not that. ``canary``: percent
        of them that get it first; 100 for all at once, and without it a few of many, all of few. Conflict where one of
        a wide change's sample would get no configuration any more.
        """
        gone = tuple(unset)
        async with self._store.reading() as connection:
            wanted = await self._checked(connection, scope, key, values or {}, raw or {}, gone)
            phones = await self._confirmed(connection, wanted.scope, wanted.key, confirm)
        if canary is not None or self.asks(phones):
            await self._require_renders(wanted)
        async with self._change() as change:
            wanted = await self._checked(change.connection, scope, key, values or {}, raw or {}, gone)
            phones = await self._confirmed(change.connection, wanted.scope, wanted.key, confirm)
            old, new = await self._alter(change, wanted)
            rollout = await self._rolled(change, old, new, phones, canary)
            return await self._outcome(change, (old, new), phones, rollout, canary)

    async def _require_renders(self, wanted: LayerChange) -> None:
        """Conflict, with the cause, where a phone of the sample gets its files now and would not under the change."""
        concerned = await self.concerned(wanted.scope, wanted.key)
        sample = [mac for one in concerned for mac in one.sample]
        if cause := await broken_by(self._store, self._drivers, sample, wanted):
            raise Conflict(f"phones would get no configuration any more: {cause}")

    async def _confirmed(self, connection: AsyncConnection, scope: Scope, key: str, confirm: int | None) -> int:
        phones = await rollouts.count_phones(connection, scope, key)
        if self.asks(phones) and (confirm is None or abs(confirm - phones) > phones * _GROWN):
            told = f", not {confirm}" if confirm is not None else ""
            most = self._settings.rollout_confirm
            raise WideChange(
                f"this concerns {phones} phones{told}, and more than {most} are asked about: confirm that number",
                phones=phones,
            )
        return phones

    async def _rolled(
        self, change: Change, old: ConfigLayer, new: ConfigLayer, phones: int, canary: float | None
    ) -> Rollout | None:
        if canary is not None and not 0 < canary <= 100:
            raise Invalid("canary", "must be more than 0 and at most 100 percent")
        if (old.values, old.raw) == (new.values, new.raw) or (canary is None and not self.asks(phones)):
            return None
        percent = self._settings.rollout_canary if canary is None else canary
        return await begin(change, self._store.box, old, change.revision, phones, percent)

    async def _outcome(
        self,
        change: Change,
        layers: tuple[ConfigLayer, ConfigLayer],
        phones: int,
        rollout: Rollout | None,
        canary: float | None,
    ) -> Changed:
        """``layers``: what it said before and says now; ``canary``: as it was asked for."""
        old, new = layers
        if rollout is not None:
            aim = f"rollout.canary: {self._settings.rollout_canary:g} %" if canary is None else f"asked: {canary:g} %"
            reached = await rollouts.count_reached(change.connection, rollout)
            return Changed(masked(new), change.revision, phones, rollout, reached, aim)
        same = (old.values, old.raw) == (new.values, new.raw)
        some = self.asks(phones) if canary is None else canary < _EVERYBODY
        at_once = (_SAME if same else _NOBODY_TO_WATCH) if some else ""
        return Changed(masked(new), change.revision, phones, None, at_once=at_once)

    # --- afterwards -------------------------------------------------------------------------------------

    async def rollouts(
        self, *, under_way: bool = False, after: tuple[float, str] | None = None, limit: int = 100
    ) -> list[Rollout]:
        """Changes that reach, or have reached, phones in steps; the newest first."""
        async with self._store.reading() as connection:
            return await rollouts.list_rollouts(connection, under_way=under_way, after=after, limit=limit)

    async def rollout(self, rollout: str) -> Progress:
        """One of them, and where its step's phones are."""
        async with self._store.reading() as connection:
            found = await _rollout_of(connection, rollout)
            now, wait = self._clock(), self._settings.rollout_wait
            tally = await rollouts.tally(connection, found, now, wait)
            return Progress(found, tally, await rollouts.count_reached(connection, found))

    async def rollout_of(self, scope: Scope, key: str) -> Progress | None:
        """The one that is under way for a layer."""
        async with self._store.reading() as connection:
            key, _ = await self._place(connection, scope, key)
            found = await rollouts.open_rollout(connection, scope, key)
        return None if found is None else await self.rollout(found.id)

    async def promote_rollout(self, rollout: str, *, everybody: bool = False) -> Rollout:
        """The next step now, or all phones; one that was halted goes on. All have it: nobody is watched any more."""
        async with self._change() as change:
            found = await _open_rollout(change.connection, rollout)
            whole = found.share >= PARTS
            if whole and found.state is not RolloutState.HALTED:
                await finish(change, found)
            else:
                share = PARTS if everybody or whole else next_share(found.share, self._settings.rollout_growth)
                await promote(change, found, share)
            return await _rollout_of(change.connection, rollout)

    async def halt_rollout(self, rollout: str) -> Rollout:
        """No further phone is told, or gets the new value; who has it keeps it."""
        async with self._change() as change:
            found = await _open_rollout(change.connection, rollout)
            if found.state is RolloutState.HALTED:
                raise Conflict(f"rollout {rollout} is halted already: {found.why}")
            await halt(change, found, f"halted by {change.actor}", alarm=False)
            return await _rollout_of(change.connection, rollout)


async def _rollout_of(connection: AsyncConnection, ident: str) -> Rollout:
    found = await rollouts.find_rollout(connection, ident)
    if found is None:
        raise NotFound(f"there is no rollout {ident!r}")
    return found


async def _open_rollout(connection: AsyncConnection, ident: str) -> Rollout:
    found = await _rollout_of(connection, ident)
    if found.ended is not None:
        raise Conflict(f"rollout {ident} is over: it is {found.state}")
    return found
