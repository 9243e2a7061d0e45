"""Use-cases of the administrator: bulk work that goes on by itself, looked at and stopped.

A job may do what its author may do, within their reach when they began it and no further than they reach since;
whoever reaches more sees it too.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.desk import Desk
from provisioner.errors import Conflict, Forbidden, Invalid, NotFound
from provisioner.fleet.device_search import MOST, Page
from provisioner.job_states import TRANSITIONS, JobState, RowState
from provisioner.model import Mac
from provisioner.rights import OPERATOR, Part, Principal, Reach, Right, Role
from provisioner.store import imports, jobs, people
from provisioner.store.database import Store
from provisioner.store.jobs import Job, JobRow, NewRow
from provisioner.vendor import VendorDriver

MOST_ROWS: Final = 10_000
"""Of a job."""
MOST_UNDER_WAY: Final = 20
"""Jobs of one account, and of one caller: those of others have their turn, too."""
IMPORT: Final = "import"
NEEDS: Final[Mapping[str, tuple[Right, ...]]] = MappingProxyType(
    {
        "devices": (Right.DEVICE_WRITE,),
        "lines": (Right.DEVICE_BIND,),
        "users": (Right.PEOPLE_WRITE,),
        "extensions": (Right.PEOPLE_WRITE,),
        "codes": (Right.CODE_ISSUE,),
        "moves": (Right.DEVICE_WRITE,),
        "revocations": (Right.DEVICE_ACCESS,),
        "wipes": (Right.DEVICE_WIPE,),
        "resyncs": (Right.RESYNC,),
        "removals": (Right.DEVICE_WRITE,),
        IMPORT: (
            Right.PEOPLE_WRITE,
            Right.SITE_WRITE,
            Right.SECRET_WRITE,
            Right.DEVICE_WRITE,
            Right.DEVICE_BIND,
            Right.JOB_WRITE,
        ),
    }
)
"""What the rows of each kind of job take."""


class Jobs(Desk):
    """Jobs; their tables hang on no account, so each use-case says itself whose it shows."""

    def __init__(
        self,
        store: Store,
        drivers: Mapping[str, VendorDriver],
        *,
        actor: str = "administrator",
        clock: Callable[[], float] = time.time,
        principal: Principal = OPERATOR,
    ) -> None:
        super().__init__(store, drivers, actor=actor, clock=clock, principal=principal)
        self._all = store

    async def begin_job(self, kind: str, rows: Sequence[bytes], *, account: str = "", dry_run: bool = False) -> Job:
        """Write the job down; whoever works on jobs checks its rows and applies them."""
        if not 1 <= len(rows) <= MOST_ROWS:
            raise Invalid("rows", f"must be 1 to {MOST_ROWS} of them")
        given = [NewRow(number, row) for number, row in enumerate(rows, 1)]
        job = Job(
            people.new_id(), kind, JobState.CHECKING, self._actor, account, dry_run, len(rows), 0, 0, 0, 0.0, None
        )
        return await begin(self._all, job, self._principal, given, self._clock())

    async def job_page(
        self,
        *,
        state: JobState | None = None,
        kind: str = "",
        after: tuple[float, str] | None = None,
        limit: int = 100,
    ) -> Page[Job]:
        """The newest first: one's own, and those of accounts that one reaches."""
        if not 1 <= limit <= MOST:
            raise Invalid("limit", f"must be from 1 to {MOST}")
        reach = self._principal.reach
        async with self._all.reading() as connection:
            found = await jobs.list_jobs(
                connection, after=after, limit=limit + 1, actor=self._actor, accounts=reach.accounts, state=state,
                kind=kind,
            )  # fmt: skip
        last = found[limit - 1] if len(found) > limit else None
        return Page(found[:limit], (last.created, last.id) if last else None)

    async def job(self, ident: str) -> Job:
        """One job."""
        async with self._all.reading() as connection:
            found = await jobs.find_job(connection, ident)
        if found is None or not self._sees(found):
            raise NotFound(f"there is no job {ident!r}")
        return found

    async def job_rows(
        self, ident: str, *, state: RowState | None = None, after: int = 0, limit: int = 100
    ) -> Page[JobRow]:
        """What came of its rows, in their order."""
        if not 1 <= limit <= MOST:
            raise Invalid("limit", f"must be from 1 to {MOST}")
        await self.job(ident)
        async with self._all.reading() as connection:
            rows = await jobs.rows_of(connection, self._all.box, ident, after=after, limit=limit + 1, state=state)
        return Page(rows[:limit], (rows[limit - 1].number,) if len(rows) > limit else None)

    async def stop_job(self, ident: str) -> Job:
        """Do no more of it; what was applied stays."""
        found = await self.job(ident)
        async with self._all.changing(self._actor, self._clock()) as change:
            sources = [state for state, ways in TRANSITIONS.items() if JobState.STOPPED in ways]
            if not await jobs.move_job(change.connection, ident, sources, JobState.STOPPED, change.at):
                raise Conflict(f"job {ident} is over: it is {found.state}")
            change.audit("job_stopped", job=ident, work=found.kind, account=found.account)
        return await self.job(ident)

    async def apply_job(self, ident: str) -> Job:
        """Do the rows that could be done, of a job that was only checked or was refused for others of its rows.

        It is whoever's says so from now on: they are done as theirs, who needs the rights for it. Conflict once the
        rows are kept no longer.
        """
        found = await self.job(ident)
        for right in NEEDS.get(found.kind, ()):
            if not self._principal.may(right):
                raise Forbidden(f"these rows take the right {right.value} as well", right=right.value)
        async with self._all.changing(self._actor, self._clock()) as change:
            sources = [state for state, ways in TRANSITIONS.items() if JobState.APPLYING in ways]
            sources.remove(JobState.CHECKING)
            await _require_room(change.connection, replace(found, actor=self._actor), self._principal)
            if found.state in sources and not await jobs.count_kept(change.connection, ident):
                raise Conflict(f"job {ident} has no row any more that could be done: send its rows again")
            moved = await jobs.move_job(
                change.connection, ident, sources, JobState.APPLYING, change.at, actor=change.actor,
                principal=written_principal(self._principal),
            )  # fmt: skip
            if not moved:
                raise Conflict(f"job {ident} is {found.state}: what can be done are jobs that were checked or refused")
            change.audit("job_applied", job=ident, work=found.kind, account=found.account)
        return await self.job(ident)

    async def only_of(self, account: str, macs: Mapping[str, bool]) -> bool:
        """Whether devices are all of an account; beside each, whether it may be one that is not there yet."""
        async with self._all.reading() as connection:
            found = await imports.devices_with(connection, [Mac(one) for one in macs])
        return all(one.account == account for one in found.values()) and all(
            new or one in found for one, new in macs.items()
        )

    def _sees(self, job: Job) -> bool:
        return job.actor == self._actor or self._principal.reach.whole(job.account)


async def begin(store: Store, job: Job, principal: Principal, rows: Sequence[NewRow], at: float) -> Job:
    """Write a job down with what may bound it."""
    sealed = await asyncio.to_thread(jobs.sealed_rows, store.box, job.id, rows)
    job = replace(job, created=at)
    async with store.changing(job.actor, at) as change:
        await _require_room(change.connection, job, principal)
        await jobs.insert_job(change.connection, job, written_principal(principal), sealed)
        change.audit("job_begun", job=job.id, work=job.kind, rows=str(job.total), account=job.account)
    return job


async def _require_room(connection: AsyncConnection, job: Job, principal: Principal) -> None:
    asked: list[Mapping[str, str]] = [{"actor": job.actor, "ident": principal.ident}]
    if job.account:
        asked.append({"account": job.account})
    for whose in asked:
        if await jobs.count_under_way(connection, **whose) >= MOST_UNDER_WAY:
            who = "this account" if "account" in whose else job.actor
            raise Conflict(f"{who} has {MOST_UNDER_WAY} jobs under way, and no more at once: wait for one, or stop it")


def written_principal(one: Principal) -> str:
    """What somebody may do, as it is kept beside a job; no secret."""
    key = one.credential if one.is_key else ""
    parts = [_written(part) for part in one.parts]
    return json.dumps({"actor": one.actor, "ident": one.ident, "key": key, "parts": parts})


def _written(part: Part) -> dict[str, object]:
    reach = {one.name: _listed(getattr(part.reach, one.name)) for one in fields(Reach)}
    role = part.role.value if part.role else ""
    return {"rights": sorted(part.rights), "reach": reach, "role": role, "through": part.through}


def _listed(value: frozenset[str] | str | None) -> list[str] | str | None:
    return sorted(value) if isinstance(value, frozenset) else value


def read_principal(text: str) -> Principal:
    """The same, read."""
    told = json.loads(text)
    key = told.get("key", "")
    parts = tuple(_read(part) for part in told["parts"])
    return Principal(told["actor"], parts, told["ident"], credential=key, is_key=bool(key))


def _read(part: Mapping[str, Any]) -> Part:
    reach: dict[str, Any] = {
        name: frozenset(one) if isinstance(one, list) else one for name, one in part["reach"].items()
    }
    role = Role(part["role"]) if part["role"] else None
    return Part(frozenset(Right(one) for one in part["rights"]), Reach(**reach), role, part["through"])
