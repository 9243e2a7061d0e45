"""Use-cases of the administrator: what a layer and a device's lines were, and taking one change of them back.

Taking back is a change of its own, by the same rules as any other. It is refused where what it changed has been changed
again, or where something else has come in its place: then the answer names what stands in the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.desk import device_of
from provisioner.errors import Conflict, Invalid, NotFound
from provisioner.fleet.layers import masked, note_change
from provisioner.fleet.rebind import Rebinding
from provisioner.fleet.rollouts import Changed, Rollouts
from provisioner.model import ConfigLayer, Mac, Scope
from provisioner.rehearsal import LayerChange
from provisioner.rollout_moves import begin, revert
from provisioner.rollout_states import PARTS
from provisioner.store import devices, layer_history, layer_rows, line_history, people, rollouts
from provisioner.store.database import Change
from provisioner.store.layer_history import LayerRevision
from provisioner.store.line_history import LineRevision
from provisioner.store.together import Together

_MOST: Final = 1000
"""Revisions of one answer."""
_EVERYBODY: Final = 100.0


@dataclass(frozen=True, slots=True)
class Restored:
    """Lines that have what they had before."""

    lines: Sequence[LineRevision]
    """The changes that were taken back."""
    campaign: str
    """The resync that tells the phones; empty where nobody had to be told."""
    exchanged: Sequence[str] = ()
    """Numbers that have another SIP secret now, which the PBX has to read."""


class Revisions(Rollouts):
    """Mistakes that can be taken back."""

    # --- layers -----------------------------------------------------------------------------------------

    async def layer_revisions(
        self, scope: Scope, key: str, *, before: int | None = None, limit: int = 100
    ) -> list[LayerRevision]:
        """What each change of a layer was, the newest first; secrets hidden."""
        _check(limit)
        async with self._store.reading() as connection:
            key, _ = await self._place(connection, scope, key)
            found = await layer_history.list_revisions(
                connection, self._store.box, scope, key, before=before, limit=limit
            )
        return [_hidden(one) for one in found]

    async def layer_revision(self, scope: Scope, key: str, revision: int) -> LayerRevision:
        """One of them."""
        async with self._store.reading() as connection:
            key, _ = await self._place(connection, scope, key)
            return _hidden(await self._revision(connection, scope, key, revision))

    async def rehearse_revert(self, scope: Scope, key: str, revision: int) -> LayerChange:
        """What taking it back would change, checked like it; nothing is kept."""
        async with self._store.reading() as connection:
            key, _ = await self._place(connection, scope, key)
            found = await self._revision(connection, scope, key, revision)
            now = await self._read(connection, scope, key)
            await self._require_untouched(connection, now, found)
        return _undone(found)

    async def revert_layer(
        self, scope: Scope, key: str, revision: int, *, confirm: int | None = None, canary: float | None = None
    ) -> Changed:
        """Let the entries that a change touched say what they said before it; others stay as they are.

        A change that is being rolled out is taken back at once, from those who have it. Otherwise many phones are
        asked about as for any change; they all get it, told in waves, unless ``canary`` says how many percent first.
        """
        await self._require_revert_renders(scope, key, revision, canary)
        async with self._change() as change:
            key, _ = await self._place(change.connection, scope, key)
            found = await self._revision(change.connection, scope, key, revision)
            running = await rollouts.open_rollout(change.connection, scope, key)
            mine = running if running is not None and running.revision == revision else None
            if mine is None or mine.share >= PARTS:
                phones = await self._confirmed(change.connection, scope, key, confirm)
            else:
                phones = mine.phones
            undone = None
            if mine is not None:
                undone = None if mine.share >= PARTS else await rollouts.count_reached(change.connection, mine)
                await revert(change, mine)
            old, new = await self._put_back(change, found)
            if mine is not None:
                rollout = await begin(change, self._store.box, old, change.revision, phones, _EVERYBODY)
                return Changed(masked(new), change.revision, phones, rollout, undone=undone)
            first = _EVERYBODY if canary is None and self.asks(phones) else canary
            rollout = await self._rolled(change, old, new, phones, first)
            return await self._outcome(change, (old, new), phones, rollout, first)

    async def _require_revert_renders(self, scope: Scope, key: str, revision: int, canary: float | None) -> None:
        """Conflict where the former value would leave a phone of the sample without files: models change meanwhile."""
        async with self._store.reading() as connection:
            key, _ = await self._place(connection, scope, key)
            found = await self._revision(connection, scope, key, revision)
            phones = await rollouts.count_phones(connection, scope, key)
        if canary is not None or self.asks(phones):
            await self._require_renders(_undone(found))

    async def _revision(self, connection: AsyncConnection, scope: Scope, key: str, revision: int) -> LayerRevision:
        found = await layer_history.find_revision(connection, self._store.box, scope, key, revision)
        if found is None:
            raise NotFound(f"there is no revision {revision} of this layer")
        return found

    async def _put_back(self, change: Change, found: LayerRevision) -> tuple[ConfigLayer, ConfigLayer]:
        old = await self._read(change.connection, found.scope, found.key)
        await self._require_untouched(change.connection, old, found)
        new = ConfigLayer(
            old.scope,
            old.key,
            {**{name: one for name, one in old.values.items() if name not in found.now.values}, **found.was.values},
            {**{name: one for name, one in old.raw.items() if name not in found.now.raw}, **found.was.raw},
        )
        await layer_rows.write_layer(change.connection, self._store.box, new, reverts=found.revision)
        note_change(change, old, new, "layer_reverted", found.names, reverted=str(found.revision))
        return old, new

    async def _require_untouched(self, connection: AsyncConnection, now: ConfigLayer, found: LayerRevision) -> None:
        """Conflict where an entry does not say what the change has made it say, or can no longer say what it did."""
        if others := sorted(_others(now, found)):
            later = await layer_history.later_changes(
                connection, self._store.box, found.scope, found.key, found.revision, others
            )
            if later and later[0].reverts == found.revision:
                raise Conflict(
                    f"revision {found.revision} is taken back already: {later[0].revision} of {later[0].actor}"
                )
            by = f" by revision {later[0].revision} of {later[0].actor}: revert that first" if later else ""
            raise Conflict(f"{', '.join(others)} was changed again since revision {found.revision}{by}")
        try:
            _, model = await self._place(connection, found.scope, found.key)
            self._check_fits(found.scope, found.key, model, found.was.values)
            list(self._checked_raw(found.scope, found.key, model, found.was.raw))
        except Invalid as error:
            raise Conflict(f"what it said before is not possible any more: {error.cause}") from error

    # --- lines ------------------------------------------------------------------------------------------

    async def line_revisions(
        self, mac: Mac, *, after: tuple[int, int] | None = None, limit: int = 100
    ) -> list[LineRevision]:
        """What each change of a device's lines was, the newest first; ``after`` a revision and its line."""
        _check(limit)
        async with self._store.reading() as connection:
            await device_of(connection, mac)
            return await line_history.of_device(connection, mac, after=after, limit=limit)

    async def revert_lines(self, mac: Mac, revision: int) -> Restored:
        """Put back what a change has taken off this device's lines or put on them, and what hangs on that.

        Where the change has moved an extension from another phone, it goes back there. The same use-cases as for any
        bind do it, so licenses, uniqueness and passwords are as with those; all of it or nothing.
        """
        async with self._change() as change:
            await device_of(change.connection, mac)
            found = await _hanging_together(change.connection, mac, revision)
            if not found:
                raise NotFound(f"revision {revision} has changed no line of {mac.colons}")
            for one in found:
                await _require_as_left(change.connection, one)
            desk = Rebinding(
                Together(self._store, change), self._drivers, actor=self._actor, clock=self._clock,
                principal=self._principal,
            )  # fmt: skip
            others, exchanged = await _put_lines_back(desk, change.connection, found)
            change.audit("lines_reverted", mac=mac, reverted=str(revision), lines=_listed(found))
            campaign = await desk.tell(list(dict.fromkeys([*(one.mac for one in found), *others])))
        return Restored(found, campaign, exchanged)


def _check(limit: int) -> None:
    if not 1 <= limit <= _MOST:
        raise Invalid("limit", f"must be from 1 to {_MOST}")


def _hidden(one: LayerRevision) -> LayerRevision:
    return LayerRevision(
        one.revision, one.scope, one.key, one.at, one.actor, one.reverts, masked(one.was), masked(one.now)
    )


def _others(now: ConfigLayer, found: LayerRevision) -> Iterator[str]:
    """Entries that do not say any more what the change has made them say."""
    for name in {*found.was.values, *found.now.values}:
        if (name in now.values, now.values.get(name)) != (name in found.now.values, found.now.values.get(name)):
            yield name
    for name in {*found.was.raw, *found.now.raw}:
        if now.raw.get(name) != found.now.raw.get(name):
            yield name


def _undone(found: LayerRevision) -> LayerChange:
    gone = {*found.now.values, *found.now.raw} - {*found.was.values, *found.was.raw}
    return LayerChange(found.scope, found.key, found.was.values, found.was.raw, frozenset(gone))


async def _hanging_together(connection: AsyncConnection, mac: Mac, revision: int) -> list[LineRevision]:
    """The device's lines of this change, and those that gave it an extension or took one from it."""
    found: list[LineRevision] = await line_history.of_revision(connection, revision, [mac])
    while True:
        more = await line_history.of_revision(
            connection, revision, {one.mac for one in found}, {on.extension for one in found for on in _both(one)}
        )
        if len(more) == len(found):
            return found
        found = more


def _both(one: LineRevision) -> Iterator[line_history.OnLine]:
    yield from (on for on in (one.was, one.now) if on is not None)


async def _require_as_left(connection: AsyncConnection, one: LineRevision) -> None:
    """Conflict where the line has not what the change has left on it."""
    if await devices.find_device(connection, one.mac) is None:
        raise Conflict(f"device {one.mac.colons} was removed since, and had line {one.line}")
    active = await devices.bindings_of(connection, one.mac, active=True)
    now = next((on for on in active if on.line == one.line), None)
    if (now.extension if now else None) == (one.now.extension if one.now else None):
        return
    later = await line_history.since(connection, one.mac, one.line, one.revision)
    by = f" by revision {later.revision} of {later.actor}: revert that first" if later else ""
    has = f"extension {now.number}" if now else "nothing"
    raise Conflict(f"line {one.line} of {one.mac.colons} has {has} now, changed{by}")


async def _put_lines_back(
    desk: Rebinding, connection: AsyncConnection, found: Sequence[LineRevision]
) -> tuple[Sequence[Mac], Sequence[str]]:
    """First everything off, then on: an extension may go from one line to another.

    Returned are further phones that have another secret now, and the numbers whose secret it is.
    """
    others: list[Mac] = []
    exchanged: list[str] = []
    for one in found:
        if one.now is not None:
            await desk.unbind(one.mac, one.line, resync=False)
    for one in found:
        if one.was is not None:
            if not await people.find_extensions(connection, one.was.extension):
                raise Conflict(f"extension {one.was.number}, which was on line {one.line}, was removed since")
            bound, begun = await desk.bound(
                one.mac, one.line, extension=one.was.extension, label=one.was.label, resync=False
            )
            others += begun.others
            exchanged += [bound.number] if begun.rotated else []
    return others, exchanged


def _listed(found: Iterable[LineRevision]) -> str:
    return ", ".join(f"{one.mac} line {one.line}: {one.was.number if one.was else 'free'}" for one in found)[:1000]
