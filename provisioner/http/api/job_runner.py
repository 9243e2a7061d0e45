"""Goes on with jobs: first every row is tried and taken back, then, where all fit, each is applied for good.

Rows are done a few at a time, in short transactions with pauses between, so that nobody who writes beside it waits
long; each slice is tried and taken back by itself, so two rows of different slices that only get into each other's way
are found out when they are applied. A row and what came of it are kept together: a process that ends in between does
no row twice and leaves none out. Accounts go in turn, and the jobs of each; so a small job of one waits for no large
one of another's, nor for many of them, and one that fails neither ends nor delays the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final

from pydantic import ValidationError

from provisioner.background import contained
from provisioner.errors import Forbidden, Invalid, ProvisionerError, StoreFailed
from provisioner.http.api.bulk import KINDS, Kind
from provisioner.http.api.desks import Desks, Means
from provisioner.http.api.import_runner import ImportRunner
from provisioner.http.api.job_author import author_of
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
_IN_MEMORY: Final = 50_000
"""Rows of imports at once: what a check has seen is kept, a few kB a row."""
_TRIES: Final = 10
"""Of a step that fails, before its job is stopped."""
_ACTOR: Final = "server"
_FAULT: Final = "a fault of the program, which its log has"


class _TakeBack(Exception):
    """Ends a transaction that was only a trial."""


class JobRunner:
    """One of them works on an installation's jobs."""

    def __init__(self, means: Means, watch: Callable[[], float] = time.monotonic) -> None:
        self._means = means
        self._watch = watch
        self._imports = ImportRunner(means)
        self._last: dict[str, tuple[float, str]] = {}
        """The job of each account that had its step last."""
        self._whose = ""
        """The account that has just had its turn."""
        self._failures: dict[str, tuple[int, tuple[bool, int]]] = {}

    async def turn(self) -> bool:
        """Go round the jobs for a while, a step each; whether one of them can be gone on with at once.

        A job whose step fails waits for the next turn, and the others do not wait for it.
        """
        began = self._watch()
        failed: set[str] = set()
        while (job := await self._next(failed)) is not None:
            self._begin_turn(job)
            if not await self._went_on(job):
                failed.add(job.id)
            if self._watch() - began > _TURN:
                return True
            await asyncio.sleep(_PAUSE)
        return False

    def _begin_turn(self, job: Job) -> None:
        self._whose = whose(job)
        self._last[self._whose] = (job.created, job.id)

    async def tidy(self) -> None:
        """Forget jobs and kept answers whose time is over."""
        self._failures.clear()
        self._last.clear()
        now = self._means.clock()
        async with self._means.store.writing() as connection:
            await jobs.forget_jobs(connection, now - _KEPT)
            await jobs.erase_rows(connection, now - _ROWS_KEPT)
            await repeats.forget_repeats(connection, now)

    async def _next(self, failed: Collection[str] = ()) -> Job | None:
        """The one whose turn it is: of the next account with something to do, the next job."""
        async with self._means.store.reading() as connection:
            found = await jobs.jobs_under_way(connection)
        begun = importing_now(found)
        self._imports.keep({one.id for one in begun})
        ready = [one for one in found if one.id not in failed and (one.kind != IMPORT or one in begun)]
        if not ready:
            return None
        accounts = sorted({whose(one) for one in ready})
        account = next((one for one in accounts if one > self._whose), accounts[0])
        mine = [one for one in ready if whose(one) == account]
        last = self._last.get(account, (0.0, ""))
        return next((one for one in mine if (one.created, one.id) > last), mine[0])

    async def _went_on(self, job: Job) -> bool:
        """Whether its step was done; a job of which one fails again and again, or must not be done, is stopped."""
        why = _FAULT

        async def step() -> None:
            nonlocal why
            try:
                await self._step(job)
            except Forbidden as error:
                await self._stop(job, error.cause)
            except ProvisionerError as error:
                why = error.cause
                raise
            why = ""

        await contained(f"job {job.id}", step, _uncounted)
        if why and self._failed(job) >= _TRIES:
            await contained(f"job {job.id}", partial(self._stop, job, why), _uncounted)
        return not why

    def _failed(self, job: Job) -> int:
        """How often in all, since it came further than ever before."""
        far = (job.state is JobState.APPLYING, job.checked + job.done + job.failed)
        before, furthest = self._failures.get(job.id, (0, far))
        number = 1 if far > furthest else before + 1
        self._failures[job.id] = number, max(far, furthest)
        return number

    async def _stop(self, job: Job, why: str) -> None:
        """Do no more of it, and say why."""
        told = {**job.options, "stopped": why}
        async with self._means.store.changing(_ACTOR, self._means.clock()) as change:
            if await jobs.move_job(change.connection, job.id, [job.state], JobState.STOPPED, change.at, options=told):
                change.audit("job_stopped", job=job.id, work=job.kind, account=job.account, reason=why)

    async def _step(self, job: Job) -> None:
        if job.kind == IMPORT:
            if not await self._imports.step(job):
                await self._over(job, known=True)
            return
        kind = KINDS.get(job.kind)
        wanted = RowState.WAITING if job.state is JobState.CHECKING else RowState.FITS
        async with self._means.store.reading() as connection:
            principal = await author_of(connection, job.id, self._means.clock())
            rows = await jobs.rows_of(connection, self._means.store.box, job.id, limit=_ROWS, state=wanted, opened=True)
        if kind is None or not rows:
            await self._over(job, known=kind is not None)
            return
        principal = principal.doing(kind.right)
        if job.state is JobState.CHECKING:
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
            given = kind.row.model_validate_json(row.given)
            result = await kind.apply(Desks(self._means, store, principal), given)
        except StoreFailed as error:
            if may_pass(error):
                raise  # the database is busy: the whole step is tried again
            return row.number, RowState.REFUSED, _told(error)
        except ProvisionerError as error:
            return row.number, RowState.REFUSED, _told(error)
        except ValidationError as error:  # written down by a version with other rules
            return row.number, RowState.REFUSED, _told(_unfit(error))
        return row.number, RowState.DONE, result


def whose(job: Job) -> str:
    """In whose turn it is done: its account's; of several accounts, that of whoever began it."""
    return job.account or f"/{job.actor}"


def importing_now(found: Sequence[Job]) -> list[Job]:
    """Imports that go on side by side: the oldest of each account, as far as their rows have room in memory.

    A large one waits for others that are large; a small one finds room.
    """
    first: dict[str, Job] = {}
    for one in found:
        if one.kind == IMPORT:
            first.setdefault(whose(one), one)
    begun: list[Job] = []
    for one in first.values():
        if not begun or sum(other.total for other in begun) + one.total <= _IN_MEMORY:
            begun.append(one)
    return begun


def _unfit(error: ValidationError) -> Invalid:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return Invalid(".".join(map(str, first["loc"])), first["msg"])


def _uncounted(_metric: str, _label: str) -> None:
    """Of jobs there are no counters."""


def _told(error: ProvisionerError) -> Mapping[str, Any]:
    return problem_of(error).model_dump(mode="json", exclude_none=True)
