"""Goes on with jobs: first every row is tried and taken back, then, where all fit, each is applied for good.

Rows are done a few at a time, in short transactions with pauses between, so that nobody who writes beside it waits
long. A row and what came of it are kept together: a process that ends in between does no row twice and leaves none out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

from provisioner.errors import ProvisionerError, StoreFailed
from provisioner.fleet.jobs import read_principal
from provisioner.http.api.bulk import KINDS, Kind
from provisioner.http.api.desks import Desks, Means
from provisioner.http.api.import_runner import ImportRunner
from provisioner.http.api.problems import problem_of
from provisioner.imports.imports import KIND as IMPORT
from provisioner.job_states import JobState, RowState, after_checking
from provisioner.rights import Principal
from provisioner.store import jobs, repeats
from provisioner.store.engine import may_pass
from provisioner.store.jobs import Job, JobRow, Outcome
from provisioner.store.joined import Batch, Joined, joined

_SHORT: Final = 0.1
"""s of a transaction: what writes beside it waits no longer than that."""
_PAUSE: Final = 0.01
"""s between two transactions."""
_TURN: Final = 5.0
"""s after which whoever calls it has a turn; between two transactions everybody has."""
_ROWS: Final = 100
"""Rows of a transaction at most."""
_KEPT: Final = 30 * 86_400.0
"""s that a job stays in the list when it is over."""
_ROWS_KEPT: Final = 86_400.0
"""s that rows which were only checked can still be applied."""


class _TakeBack(Exception):
    """Ends a transaction that was only a trial."""


class JobRunner:
    """One of them works on an installation's jobs."""

    def __init__(self, means: Means, watch: Callable[[], float] = time.monotonic) -> None:
        self._means = means
        self._watch = watch
        self._imports = ImportRunner(means)

    async def turn(self) -> bool:
        """Go on with the oldest job for a while; whether there was one."""
        began = self._watch()
        while (job := await self._next()) is not None:
            await self._step(job)
            if self._watch() - began > _TURN:
                return True
            await asyncio.sleep(_PAUSE)
        return False

    async def tidy(self) -> None:
        """Forget jobs and kept answers whose time is over."""
        now = self._means.clock()
        async with self._means.store.writing() as connection:
            await jobs.forget_jobs(connection, now - _KEPT)
            await jobs.erase_rows(connection, now - _ROWS_KEPT)
            await repeats.forget_repeats(connection, now)

    async def _next(self) -> Job | None:
        async with self._means.store.reading() as connection:
            return await jobs.next_job(connection)

    async def _step(self, job: Job) -> None:
        if job.kind == IMPORT:
            if not await self._imports.step(job):
                await self._over(job, known=True)
            return
        kind = KINDS.get(job.kind)
        wanted = RowState.WAITING if job.state is JobState.CHECKING else RowState.FITS
        async with self._means.store.reading() as connection:
            principal = read_principal(await jobs.principal_of(connection, job.id))
            rows = await jobs.rows_of(connection, self._means.store.box, job.id, limit=_ROWS, state=wanted, opened=True)
        if kind is None or not rows:
            await self._over(job, known=kind is not None)
        elif job.state is JobState.CHECKING:
            await self._keep(job, await self._tried(kind, principal, rows))
        else:
            await self._applied(job, kind, principal, rows)

    async def _over(self, job: Job, *, known: bool) -> None:
        """No row is left for this state."""
        now = self._means.clock()
        async with self._means.store.writing() as connection:
            to = (
                JobState.DONE
                if job.state is JobState.APPLYING
                else after_checking(refused=job.failed, dry_run=job.dry_run, partly=job.partly)
            )
            await jobs.move_job(connection, job.id, [job.state], to if known else JobState.STOPPED, now)

    async def _tried(self, kind: Kind, principal: Principal, rows: list[JobRow]) -> list[Outcome]:
        """What would come of rows, found out by doing them and taking all of it back."""
        outcomes: list[Outcome] = []
        try:
            async with joined(self._means.store) as store:
                async for number, state, result in self._worked(store, kind, principal, rows):
                    fits = state is RowState.DONE
                    outcomes.append((number, RowState.FITS if fits else state, {} if fits else result))
                raise _TakeBack
        except _TakeBack:
            return outcomes

    async def _keep(self, job: Job, outcomes: list[Outcome]) -> None:
        async with self._means.store.writing() as connection:
            await jobs.write_outcomes(connection, job.id, outcomes)
            await jobs.write_progress(connection, job.id, outcomes, checking=True)

    async def _applied(self, job: Job, kind: Kind, principal: Principal, rows: list[JobRow]) -> None:
        async with joined(self._means.store) as store:
            now = await jobs.find_job(store.connection, job.id)
            if now is None or now.state is not JobState.APPLYING:
                return  # it was stopped meanwhile
            outcomes = [one async for one in self._worked(store, kind, principal, rows)]
            await jobs.write_outcomes(store.connection, job.id, outcomes)
            await jobs.write_progress(store.connection, job.id, outcomes, checking=False)

    async def _worked(
        self, store: Joined, kind: Kind, principal: Principal, rows: list[JobRow]
    ) -> AsyncIterator[Outcome]:
        """Do rows as one change, as many as fit into a short transaction."""
        until = self._watch() + _SHORT
        async with store.changing(principal.actor, self._means.clock()) as change:
            batch = Batch(store, change)
            for row in rows:
                yield await self._done(kind, principal, batch, row)
                if self._watch() > until:
                    break

    async def _done(self, kind: Kind, principal: Principal, store: Batch, row: JobRow) -> Outcome:
        """Do one row, which is one use-case: all of it or nothing."""
        try:
            doing = principal.doing(kind.right)
            given = kind.row.model_validate_json(row.given)
            result = await kind.apply(Desks(self._means, store, doing), given)
        except StoreFailed as error:
            if may_pass(error):
                raise  # the database is busy: the whole step is tried again
            return row.number, RowState.REFUSED, _told(error)
        except ProvisionerError as error:
            return row.number, RowState.REFUSED, _told(error)
        return row.number, RowState.DONE, result


def _told(error: ProvisionerError) -> Mapping[str, Any]:
    return problem_of(error).model_dump(mode="json", exclude_none=True)
