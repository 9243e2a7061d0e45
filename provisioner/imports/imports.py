"""Use-cases of the administrator: files of another system, or of ours, are looked at first and then taken over.

Looking reads and writes nothing. Taking over is done a few devices at a time, each batch planned and written in one
transaction: whatever is killed leaves whole rows, and the same file run again finishes. What is already so is not
written again. Whoever cannot wait for it begins a job, which goes on by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.desk import Desk, account_id, text_of
from provisioner.errors import Conflict, Forbidden, NotFound, StoreFailed
from provisioner.fleet.jobs import IMPORT, NEEDS, begin
from provisioner.imports.course import PAUSE, WRITTEN, Course
from provisioner.imports.formats import read_sheet
from provisioner.imports.kept import as_object, packed
from provisioner.imports.plan import Said
from provisioner.imports.rows import Fault, Format, Row, Sheet
from provisioner.imports.steps import Outcome, Planned, batches, groups, refused
from provisioner.job_states import JobState
from provisioner.rights import OPERATOR, Principal
from provisioner.store.database import Store
from provisioner.store.jobs import Job, NewRow
from provisioner.store.people import new_id
from provisioner.vendor import VendorDriver

KIND: Final = IMPORT
"""Of such jobs."""
RIGHTS: Final = NEEDS[KIND]
"""All of them in one place, since a row may need each."""
_LOOKED: Final = 500
"""Rows that are looked at together; nobody waits for a reader."""

_NAMES: Final = 3
"""That an account goes by at most: its id, its name."""

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
class _Way:
    """How far an import is."""

    said: Said = field(default_factory=Said)
    done: list[Planned] = field(default_factory=list)
    stopped: str = ""


class Imports(Desk):
    """Taking over what another system has."""

    def __init__(
        self,
        store: Store,
        drivers: Mapping[str, VendorDriver],
        *,
        actor: str = "",
        clock: Callable[[], float] = time.time,
        principal: Principal = OPERATOR,
    ) -> None:
        """It reaches as far as ``principal`` has all of RIGHTS."""
        super().__init__(store, drivers, actor=actor, clock=clock, principal=importing(principal))
        self._all = store
        self._asking = principal

    def read(self, files: Sequence[bytes], *, format: Format = Format.AUTO) -> Sheet:
        """What stands in the files; Invalid names line and column of what cannot be read. For a thread, if large."""
        return read_sheet(files, format)

    async def plan_import(self, sheet: Sheet, *, account: str = "", site: str = "", told: Told = _nobody) -> Imported:
        """What would become of each row; nothing is written."""
        self._require_rights()
        await self._require_account(account)
        sheet = _placed(sheet, account, site)
        way = _Way()
        course = self._course(way.said)
        for batch in batches(sheet.rows, _LOOKED):
            way.done += await course.look(batch)
            told(len(way.done), len(sheet.rows))
        return _report(sheet, way, dry_run=True)

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
        await self._require_account(account)
        sheet = _placed(sheet, account, site)
        way = _Way()
        for some in batches(sheet.rows, _LOOKED):
            open_rows = await self._settled(some, way)
            for batch in batches(open_rows, WRITTEN):
                await self._go_on(batch, way, stop)
                if way.stopped:
                    return _report(sheet, way, dry_run=False)
                told(len(way.done), len(sheet.rows))
                await asyncio.sleep(PAUSE)
            told(len(way.done), len(sheet.rows))
        return _report(sheet, way, dry_run=False)

    async def begin_import(
        self, sheet: Sheet, *, account: str = "", site: str = "", dry_run: bool = True, partly: bool = False
    ) -> Job:
        """Have it looked at, and unless it is a dry run taken over, row by row as a job.

        Where a row is refused nothing is taken over, unless ``partly``. Whoever has looked at what came of a job's
        check may have the rows applied that can be.
        """
        self._require_rights()
        placed = _placed(sheet, account, site)
        async with self._store.reading() as connection:
            owner = await _owner(connection, sheet, account)
        ordered: list[Row | Fault] = sorted([*placed.rows, *sheet.faults], key=lambda one: (one.file, one.line))
        rows = [_kept(number, one) for number, one in enumerate(ordered, 1)]
        wrong = len(sheet.faults)
        options = {"format": sheet.format.value, "partly": "yes" if partly else "no", "unused": ", ".join(sheet.unused)}
        job = Job(
            new_id(), KIND, JobState.CHECKING, self._actor, owner, dry_run, sheet.total, wrong, 0, wrong, 0.0, None,
            options,
        )  # fmt: skip
        return await begin(self._all, job, self._principal, rows, self._clock())

    def _course(self, said: Said) -> Course:
        return Course(self._store, self._drivers, self._actor, self._clock, said)

    async def _settled(self, rows: Sequence[Row], way: _Way) -> list[Row]:
        """Note the rows of which nothing has to be written; those that are left, with all rows of their devices."""
        ordered = [row for group in groups(rows) for row in group]
        planned = {id(row): one for row, one in zip(ordered, await self._course(way.said).look(ordered), strict=True)}
        left: list[Row] = []
        for group in groups(rows):
            if any(planned[id(row)].steps for row in group):
                left += group
            else:
                way.done += [planned[id(row)] for row in group]
        return left

    async def _go_on(self, batch: Sequence[Row], way: _Way, stop: Callable[[], bool]) -> None:
        if stop():
            way.stopped = "it was stopped"
            return
        try:
            way.done += await self._course(way.said).write(batch)
        except StoreFailed as error:
            way.stopped = error.cause

    async def _require_account(self, account: str) -> None:
        """That of the whole import is told once where there is none, and not with each row."""
        async with self._store.reading() as connection:
            await account_id(connection, account)

    def _require_rights(self) -> None:
        if self._principal.parts:
            return
        missing = next((right for right in RIGHTS if not self._asking.may(right)), RIGHTS[0])
        raise Forbidden(f"an import takes the right {missing.value}", right=missing.value)


def importing(principal: Principal) -> Principal:
    """The same, reaching only as far as they have every right that a row may need."""
    return replace(principal, parts=tuple(part for part in principal.parts if part.rights.issuperset(RIGHTS)))


async def _owner(connection: AsyncConnection, sheet: Sheet, account: str) -> str:
    """Whose job it is: the account's, where all its rows are of it; empty where any may be of another."""
    owner = await account_id(connection, account)
    said = {row.account for row in sheet.rows} - {"", account}
    if sheet.faults and any(row.account for row in sheet.rows):
        return ""  # whose they are cannot be read
    try:
        same = [await account_id(connection, one) == owner for one in list(said)[:_NAMES]]
    except (Conflict, NotFound):
        return ""
    return owner if all(same) and len(said) <= _NAMES else ""


def _kept(number: int, one: Row | Fault) -> NewRow:
    return NewRow(number, packed(one)) if isinstance(one, Row) else NewRow(number, None, as_object(refused(one)))


def _placed(sheet: Sheet, account: str, site: str) -> Sheet:
    """Rows that do not say where they belong belong here; a new site is called as one may be."""
    site = text_of("site", site, empty=True)
    rows = (
        replace(row, account=row.account or account, site=row.site or (site if row.mac else "")) for row in sheet.rows
    )
    return replace(sheet, rows=tuple(rows))


def _report(sheet: Sheet, way: _Way, *, dry_run: bool) -> Imported:
    known = {(one.file, one.line) for one in way.done}
    left = [
        Planned(row.line, row.file, Outcome.NOT_DONE, why=way.stopped, mac=row.mac)
        for row in sheet.rows
        if way.stopped and (row.file, row.line) not in known
    ]
    rows = sorted([*way.done, *left, *map(refused, sheet.faults)], key=lambda one: (one.file, one.line))
    return Imported(sheet.format, dry_run, tuple(rows), sheet.unused, way.stopped, sheet.files)
