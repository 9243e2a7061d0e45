"""Goes on with imports: rows are looked at in their order, then those that can be are written, a few devices at a time.

What a row comes to hangs on the rows before it, so what they came to is kept in memory while they are looked at. A
process that ends in between has them looked at once more; nothing was written by then. Later a batch and what came of
it are kept in one transaction, so no row is done twice and none is left out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from provisioner.errors import Forbidden
from provisioner.http.api.desks import Means
from provisioner.http.api.job_author import author_of
from provisioner.imports.course import WRITTEN, Course
from provisioner.imports.imports import importing
from provisioner.imports.kept import as_object, unpacked
from provisioner.imports.plan import Said
from provisioner.imports.rows import Row
from provisioner.imports.steps import Outcome, Planned, batches
from provisioner.job_states import JobState, RowState
from provisioner.rights import Principal
from provisioner.store import jobs
from provisioner.store.database import Store
from provisioner.store.jobs import Job
from provisioner.store.jobs import Outcome as Came
from provisioner.store.joined import joined
from provisioner.store.reach import Limited

_LOOKED: Final = 200
"""Rows that are looked at before others have their turn."""
_READ: Final = 1000


@dataclass(slots=True)
class _Looking:
    """A check that is under way."""

    principal: Principal
    course: Course


@dataclass(slots=True)
class _Writing:
    """Rows that are being written, in the order of their devices."""

    left: deque[tuple[Row, ...]]
    numbers: Mapping[int, int]
    """By the row's identity."""
    said: Said


class ImportRunner:
    """Steps of imports; of each that is under way it knows how far it is."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._at: dict[str, _Looking | _Writing] = {}

    def keep(self, idents: Collection[str]) -> None:
        """Forget all other jobs: they are over, or not to go on for now."""
        self._at = {ident: at for ident, at in self._at.items() if ident in idents}

    async def step(self, job: Job) -> bool:
        """Go on with it for a moment; False when no row is left in this state."""
        at = self._at.pop(job.id, None)  # whatever goes wrong on the way, the next step begins from what is written
        if job.state is JobState.CHECKING:
            looking = await self._going_on_looking(job, at)
            going_on = await self._look(job, looking)
            return self._left(job, looking, going_on)
        writing = at if isinstance(at, _Writing) else await self._begin_writing(job)
        going_on = await self._write(job, writing)
        return self._left(job, writing, going_on)

    def _left(self, job: Job, at: _Looking | _Writing, going_on: bool) -> bool:
        if going_on:
            self._at[job.id] = at
        return going_on

    # --- looking ----------------------------------------------------------------------------------------

    async def _going_on_looking(self, job: Job, at: _Looking | _Writing | None) -> _Looking:
        """What is known already, or from the beginning: nothing is, or its author reaches something else now."""
        principal = await self._principal(job)
        if isinstance(at, _Looking) and at.principal == principal:
            return at
        async with self._means.store.writing() as connection:
            await jobs.begin_again(connection, job.id)
        return _Looking(principal, self._course(self._means.store, job, principal, Said()))

    async def _look(self, job: Job, looking: _Looking) -> bool:
        store = self._means.store
        async with store.reading() as connection:
            found = await jobs.rows_of(
                connection, store.box, job.id, limit=_LOOKED, state=RowState.WAITING, opened=True
            )
        if not found:
            return False
        planned = await looking.course.look([unpacked(one.given) for one in found])
        outcomes = [_came(row.number, one, RowState.FITS) for row, one in zip(found, planned, strict=True)]
        async with store.writing() as connection:
            await jobs.write_outcomes(connection, job.id, outcomes)
            await jobs.write_progress(connection, job.id, outcomes, checking=True)
        return True

    # --- writing ----------------------------------------------------------------------------------------

    async def _begin_writing(self, job: Job) -> _Writing:
        rows, numbers, last = [], {}, 0
        while True:
            async with self._means.store.reading() as connection:
                found = await jobs.rows_of(
                    connection, self._means.store.box, job.id, after=last, limit=_READ, state=RowState.FITS, opened=True
                )
            if not found:
                break
            last = found[-1].number
            for one in found:
                row = unpacked(one.given)
                rows.append(row)
                numbers[id(row)] = one.number
        return _Writing(deque(batches(rows, WRITTEN)), numbers, Said())

    async def _write(self, job: Job, writing: _Writing) -> bool:
        if not writing.left:
            return False
        batch, principal = writing.left[0], await self._principal(job)
        async with joined(self._means.store) as store:
            now = await jobs.find_job(store.connection, job.id)
            if now is None or now.state is not JobState.APPLYING:
                return True  # it was stopped meanwhile: the next look at what there is to do says so
            planned = await self._course(store, job, principal, writing.said).write(batch)
            outcomes = [
                _came(writing.numbers[id(row)], one, RowState.DONE) for row, one in zip(batch, planned, strict=True)
            ]
            await jobs.write_outcomes(store.connection, job.id, outcomes)
            await jobs.write_progress(store.connection, job.id, outcomes, checking=False)
        writing.left.popleft()
        return True

    # --- both -------------------------------------------------------------------------------------------

    async def _principal(self, job: Job) -> Principal:
        """Forbidden when whoever began it may not import any more."""
        async with self._means.store.reading() as connection:
            found = importing(await author_of(connection, job.id, self._means.clock()))
        if not found.parts:
            raise Forbidden(f"{found.actor} may not import any more")
        return found

    def _course(self, store: Store, job: Job, principal: Principal, said: Said) -> Course:
        narrow = store if principal.reach.everything else Limited(store, principal)
        return Course(narrow, self._means.drivers, job.actor, self._means.clock, said)


def _came(number: int, one: Planned, good: RowState) -> Came:
    return number, RowState.REFUSED if one.outcome is Outcome.REFUSED else good, as_object(one)
