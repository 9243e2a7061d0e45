"""Use-cases of the administrator: files of another system, or of ours, are looked at first and then taken over.

Looking reads and writes nothing. Taking over is done a few devices at a time, each batch planned and written in one
transaction: whatever is killed leaves whole rows, and the same file run again finishes. What is already so is not
written again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from provisioner.desk import Desk
from provisioner.errors import Conflict, Forbidden, StoreFailed
from provisioner.imports.formats import read_sheet
from provisioner.imports.plan import Planner, Said
from provisioner.imports.reading import Reading
from provisioner.imports.rows import Format, Row, Sheet
from provisioner.imports.steps import Outcome, Planned, batches, groups, refused
from provisioner.imports.world import World
from provisioner.imports.writing import Writing
from provisioner.rights import Right
from provisioner.store.database import Change
from provisioner.store.engine import may_pass

RIGHTS: Final = (Right.PEOPLE_WRITE, Right.DEVICE_WRITE, Right.DEVICE_BIND)
"""All of them, since a row may need each."""
_LOOKED: Final = 500
"""Rows that are looked at together; nobody waits for a reader."""
_WRITTEN: Final = 50
"""Rows of a transaction: whoever writes beside it waits a tenth of a second."""
_TRIES: Final = 3
_PAUSE: Final = 0.01
"""s between two transactions, in which others have their turn."""

Told = Callable[[int, int], None]
"""Rows that are done, of how many."""


def _nobody(_done: int, _total: int) -> None:
    """Nobody looks on."""


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Imported:
    """What becomes, or became, of each row, in the order of the files."""

    format: Format
    dry_run: bool
    rows: tuple[Planned, ...]
    unused: tuple[str, ...] = ()
    stopped: str = ""
    """Why it ended early; empty when it did not."""
    files: int = 1

    @property
    def counts(self) -> Mapping[Outcome, int]:
        """Rows by outcome, those that there are."""
        found = Counter(one.outcome for one in self.rows)
        return {outcome: found[outcome] for outcome in Outcome if found[outcome]}


@dataclass(slots=True)
class _Course:
    """How far an import is."""

    said: Said = field(default_factory=Said)
    done: list[Planned] = field(default_factory=list)
    stopped: str = ""


class Imports(Desk):
    """Taking over what another system has."""

    def read(self, files: Sequence[bytes], *, format: Format = Format.AUTO) -> Sheet:
        """What stands in the files; Invalid names line and column of what cannot be read."""
        return read_sheet(files, format)

    async def plan_import(self, sheet: Sheet, *, account: str = "", site: str = "", told: Told = _nobody) -> Imported:
        """What would become of each row; nothing is written."""
        self._require_rights()
        sheet = _placed(sheet, account, site)
        course, world, reading = _Course(), World(), Reading(self._store.box)
        planner = Planner(self._drivers, self._actor, self._clock(), course.said)
        async with self._store.reading() as connection:
            for batch in batches(sheet.rows, _LOOKED):
                await reading.read(connection, batch, world)
                course.done += [planner.plan(row, world) for row in batch]
                told(len(course.done), len(sheet.rows))
        return _report(sheet, course, dry_run=True)

    async def apply_import(
        self,
        sheet: Sheet,
        *,
        account: str = "",
        site: str = "",
        told: Told = _nobody,
        stop: Callable[[], bool] = _never,
    ) -> Imported:
        """Take the rows over; one that is refused does not stop the others. ``stop`` ends it between two batches."""
        self._require_rights()
        sheet = _placed(sheet, account, site)
        course = _Course()
        for some in batches(sheet.rows, _LOOKED):
            open_rows = await self._settled(some, course)
            for batch in batches(open_rows, _WRITTEN):
                await self._go_on(batch, course, stop)
                if course.stopped:
                    return _report(sheet, course, dry_run=False)
                told(len(course.done), len(sheet.rows))
                await asyncio.sleep(_PAUSE)
            told(len(course.done), len(sheet.rows))
        return _report(sheet, course, dry_run=False)

    async def _settled(self, rows: Sequence[Row], course: _Course) -> list[Row]:
        """Note the rows of which nothing has to be written; those that are left, with all rows of their devices."""
        world = World()
        planner = Planner(self._drivers, self._actor, self._clock(), course.said)
        async with self._store.reading() as connection:
            await Reading(self._store.box).read(connection, rows, world)
        left: list[Row] = []
        for group in groups(rows):
            planned = [planner.plan(row, world) for row in group]
            if any(one.steps for one in planned):
                left += group
            else:
                course.done += planned
        return left

    async def _go_on(self, batch: Sequence[Row], course: _Course, stop: Callable[[], bool]) -> None:
        if stop():
            course.stopped = "it was stopped"
            return
        try:
            course.done += await self._written(batch, course.said)
        except StoreFailed as error:
            course.stopped = error.cause

    def _require_rights(self) -> None:
        for right in RIGHTS:
            if not self._principal.may(right):
                raise Forbidden(f"an import takes the right {right.value}", right=right.value)

    async def _written(self, batch: Sequence[Row], said: Said) -> list[Planned]:
        """A batch as a whole; where somebody else is quicker it is planned anew, in the end device by device."""
        for left in range(_TRIES, 0, -1):
            try:
                async with self._change() as change:
                    return await self._batch(change, batch, said)
            except Conflict as error:
                if left == 1 and len(groups(batch)) == 1:
                    return [Planned(one.line, one.file, Outcome.REFUSED, why=error.cause, mac=one.mac) for one in batch]
            except StoreFailed as error:
                if left == 1 or not may_pass(error):
                    raise
                await asyncio.sleep(_PAUSE)
        return [one for rows in groups(batch) for one in await self._written(rows, said)]

    async def _batch(self, change: Change, batch: Sequence[Row], said: Said) -> list[Planned]:
        world = World()
        await Reading(self._store.box).read(change.connection, batch, world)
        planner = Planner(self._drivers, self._actor, change.at, said)
        planned = [planner.plan(row, world) for row in batch]
        steps = [step for one in planned for step in one.steps]
        await Writing(change, self._store.box, self._drivers, steps).write()
        return planned


def _placed(sheet: Sheet, account: str, site: str) -> Sheet:
    """Rows that do not say where they belong belong here."""
    rows = (
        replace(row, account=row.account or account, site=row.site or (site if row.mac else "")) for row in sheet.rows
    )
    return replace(sheet, rows=tuple(rows))


def _report(sheet: Sheet, course: _Course, *, dry_run: bool) -> Imported:
    known = {(one.file, one.line) for one in course.done}
    left = [
        Planned(row.line, row.file, Outcome.NOT_DONE, why=course.stopped, mac=row.mac)
        for row in sheet.rows
        if course.stopped and (row.file, row.line) not in known
    ]
    rows = sorted([*course.done, *left, *map(refused, sheet.faults)], key=lambda one: (one.file, one.line))
    return Imported(sheet.format, dry_run, tuple(rows), sheet.unused, course.stopped, sheet.files)
