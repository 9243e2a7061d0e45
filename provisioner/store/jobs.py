"""Rows of jobs: what each one's rows are to do, how far it is, and what came of every row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Row, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.job_states import JobState, RowState
from provisioner.store import schema_api
from provisioner.store.secretbox import SecretBox

_J: Final = schema_api.job.c
_R: Final = schema_api.job_row.c
_UNDER_WAY: Final = tuple(one.value for one in JobState if one.under_way)
_LISTED: Final = tuple(column for column in schema_api.job.c if column.name != "principal")


@dataclass(frozen=True, slots=True)
class Job:
    """Bulk work as it is listed."""

    id: str
    kind: str
    state: JobState
    actor: str
    account: str
    """The account that all its rows are of; empty where that is not known."""
    dry_run: bool
    total: int
    checked: int
    done: int
    failed: int
    created: float
    ended: float | None
    options: Mapping[str, str] = field(default_factory=dict)
    """How it was asked for: ``partly`` does what can be done where a row cannot. ``stopped``: why it was, by itself."""

    @property
    def partly(self) -> bool:
        """Whether rows are done although others cannot be."""
        return self.options.get("partly") == "yes"


@dataclass(frozen=True, slots=True)
class NewRow:
    """A row as it is written down; one that nobody could read has its outcome already."""

    number: int
    given: bytes | None = field(repr=False)
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobRow:
    """One row, what it is to do and what came of it."""

    number: int
    state: RowState
    given: bytes = field(repr=False)
    result: Mapping[str, Any]


def _job(row: Row[Any]) -> Job:
    return Job(
        row.id, row.kind, JobState(row.state), row.actor, row.account, bool(row.dry_run), row.total, row.checked,
        row.done, row.failed, row.created, row.ended, json.loads(row.options),
    )  # fmt: skip


def sealed_rows(box: SecretBox, job: str, rows: Iterable[NewRow]) -> list[dict[str, object]]:
    """Rows as the table takes them: 10 µs each, so ten thousand of them are for a thread."""
    return [
        {
            "job": job,
            "number": row.number,
            "state": (RowState.REFUSED if row.given is None else RowState.WAITING).value,
            "given": None if row.given is None else box.seal(row.given, "job_row", job, str(row.number)),
            "result": json.dumps(dict(row.result)) if row.result else "",
        }
        for row in rows
    ]


async def insert_job(
    connection: AsyncConnection, one: Job, principal: str, sealed: Sequence[Mapping[str, object]]
) -> None:
    """A job with its rows as ``sealed_rows`` makes them; ``principal`` bounds what they may do."""
    values = {name: getattr(one, name) for name in Job.__dataclass_fields__}
    values |= {"state": one.state.value, "dry_run": int(one.dry_run), "principal": principal}
    values |= {"options": json.dumps(dict(one.options))}
    await connection.execute(insert(schema_api.job).values(values))
    if sealed:
        await connection.execute(insert(schema_api.job_row), sealed)


async def find_job(connection: AsyncConnection, ident: str) -> Job | None:
    """One job."""
    row = (await connection.execute(select(*_LISTED).where(_J.id == ident))).one_or_none()
    return None if row is None else _job(row)


async def principal_of(connection: AsyncConnection, ident: str) -> str:
    """What bounds a job, as it was written down."""
    return str((await connection.execute(select(_J.principal).where(_J.id == ident))).scalar_one())


async def list_jobs(
    connection: AsyncConnection,
    *,
    after: tuple[float, str] | None,
    limit: int,
    actor: str = "",
    accounts: Iterable[str] | None = None,
    state: JobState | None = None,
    kind: str = "",
) -> list[Job]:
    """The newest first; with ``accounts`` only theirs and the actor's own."""
    query = select(*_LISTED).order_by(_J.created.desc(), _J.id.desc()).limit(limit)
    if after is not None:
        query = query.where((_J.created < after[0]) | ((_J.created == after[0]) & (_J.id < after[1])))
    if accounts is not None:
        query = query.where(_J.account.in_(list(accounts)) | (_J.actor == actor))
    query = query.where(_J.state == state.value) if state else query
    query = query.where(_J.kind == kind) if kind else query
    return [_job(row) for row in await connection.execute(query)]


async def jobs_under_way(connection: AsyncConnection, limit: int = 200) -> list[Job]:
    """The oldest first."""
    query = select(*_LISTED).where(_J.state.in_(_UNDER_WAY)).order_by(_J.created, _J.id).limit(limit)
    return [_job(row) for row in await connection.execute(query)]


async def count_under_way(connection: AsyncConnection, *, account: str = "", actor: str = "", ident: str = "") -> int:
    """How many there are of an account, or begun by an actor or by an administrator with any of their keys."""
    whose = _J.account == account if account else _J.actor == actor
    if ident and not account:
        whose |= _J.principal.contains(json.dumps({"ident": ident})[1:-1], autoescape=True)
    query = select(func.count()).where(_J.state.in_(_UNDER_WAY), whose)
    return int((await connection.execute(query)).scalar_one())


async def rows_of(
    connection: AsyncConnection,
    box: SecretBox,
    job: str,
    *,
    after: int = 0,
    limit: int = 1000,
    state: RowState | None = None,
    opened: bool = False,
) -> list[JobRow]:
    """Rows by number; what they hold only where it is asked for."""
    columns = (_R.number, _R.state, _R.result, *((_R.given,) if opened else ()))
    query = select(*columns).where(_R.job == job, _R.number > after).order_by(_R.number).limit(limit)
    query = query.where(_R.state == state.value) if state else query
    return [
        JobRow(
            row.number,
            RowState(row.state),
            box.open(row.given, "job_row", job, str(row.number)) if opened and row.given else b"",
            json.loads(row.result) if row.result else {},
        )
        for row in await connection.execute(query)
    ]


Outcome = tuple[int, RowState, Mapping[str, Any]]
"""A row's number, its state and what came of it."""


async def write_outcomes(connection: AsyncConnection, job: str, outcomes: Sequence[Outcome]) -> None:
    """What came of rows; what they held is erased once nothing more will be done with them."""
    for over in (False, True):
        rows = [
            {"which": number, "state": state.value, "result": json.dumps(dict(result)) if result else ""}
            for number, state, result in outcomes
            if state.over is over
        ]
        if rows:
            query = update(schema_api.job_row).where(_R.job == job, _R.number == bindparam("which"))
            await connection.execute(query.values(given=None) if over else query, rows)


async def write_progress(connection: AsyncConnection, job: str, outcomes: Sequence[Outcome], *, checking: bool) -> None:
    """Count what came of them."""
    states = [state for _, state, _ in outcomes]
    values: dict[str, object] = {"failed": _J.failed + states.count(RowState.REFUSED)}
    if checking:
        values["checked"] = _J.checked + len(states)
    else:
        values["done"] = _J.done + states.count(RowState.DONE)
    await connection.execute(update(schema_api.job).where(_J.id == job).values(values))


async def move_job(
    connection: AsyncConnection,
    job: str,
    sources: Iterable[JobState],
    to: JobState,
    at: float,
    *,
    actor: str = "",
    principal: str = "",
    options: Mapping[str, str] | None = None,
) -> bool:
    """Into another state, from one of these; whether it was in one. What rows held is erased with the job's end.

    With ``principal`` it is ``actor``'s from now on.
    """
    values: dict[str, object] = {"state": to.value}
    if principal:
        values |= {"principal": principal, "actor": actor}
    if options is not None:
        values["options"] = json.dumps(dict(options))
    values["ended"] = None if to.under_way else at
    if to is JobState.APPLYING:
        values["dry_run"] = 0
    where = (_J.id == job) & _J.state.in_([one.value for one in sources])
    done = await connection.execute(update(schema_api.job).where(where).values(values))
    if done.rowcount and not to.keeps:
        await connection.execute(update(schema_api.job_row).where(_R.job == job).values(given=None))
    return bool(done.rowcount)


async def count_kept(connection: AsyncConnection, job: str) -> int:
    """Rows that could be applied and are still there to be."""
    query = select(func.count()).where(_R.job == job, _R.state == RowState.FITS.value, _R.given.is_not(None))
    return int((await connection.execute(query)).scalar_one())


async def begin_again(connection: AsyncConnection, job: str) -> None:
    """Have rows looked at once more of which it is not known what they would come to for the ones behind them."""
    fits = (_R.job == job) & (_R.state == RowState.FITS.value)
    await connection.execute(update(schema_api.job_row).where(fits).values(state=RowState.WAITING.value))
    await connection.execute(update(schema_api.job).where(_J.id == job).values(checked=_J.failed))


async def erase_rows(connection: AsyncConnection, before: float) -> None:
    """Erase what rows of jobs held that were only checked, before a time."""
    states = [one.value for one in JobState if one.keeps and not one.under_way]
    over = select(_J.id).where(_J.state.in_(states), _J.ended < before)
    kept = _R.job.in_(over) & _R.given.is_not(None)
    await connection.execute(update(schema_api.job_row).where(kept).values(given=None))


async def forget_jobs(connection: AsyncConnection, before: float) -> int:
    """Drop jobs that ended before a time; how many."""
    return (await connection.execute(delete(schema_api.job).where(_J.ended < before))).rowcount
