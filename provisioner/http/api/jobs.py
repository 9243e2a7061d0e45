"""Jobs: begun with all their rows at once, gone on with by themselves, looked at row by row."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from provisioner.errors import Forbidden
from provisioner.http.api.bulk import KINDS, Kind
from provisioner.http.api.cursors import paged, read_cursor
from provisioner.http.api.problems import Fault, Unfit
from provisioner.http.api.routes import AnyCall, Handler, Routes
from provisioner.http.api.words import Id, MaybeMoment, MaybeText, Moment, Paged, Told, Turning
from provisioner.job_states import JobState, RowState
from provisioner.rights import Right

jobs = Routes(
    "jobs",
    "Bulk work. Every row is checked before the first is applied; where one cannot be as things are, nothing is "
    "changed and each row says why. Rows are tried a hundred at a time: one that only gets into the way of a row "
    "further off is refused alone when it is applied, as is one for which somebody else was quicker. At most 20 jobs "
    "of an account, and of a caller, are under way at once.",
)


class Job(Told):
    """Bulk work, and how far it is."""

    id: Id
    kind: str
    state: JobState
    actor: str
    account: str
    dry_run: bool
    total: int
    checked: Annotated[int, Field(description="Rows that were looked at")]
    done: Annotated[int, Field(description="Rows that were applied")]
    failed: Annotated[int, Field(description="Rows that cannot be applied")]
    created: Moment
    ended: MaybeMoment
    options: Annotated[
        dict[str, str],
        Field(description="Of an import its format, and columns left unused; `stopped`: why the server has stopped it"),
    ]


class JobsAsked(Turning):
    """Which jobs."""

    state: JobState | None = None
    kind: MaybeText = ""


class JobRow(Told):
    """One row, and what came of it."""

    number: Annotated[int, Field(description="The first is 1")]
    state: RowState
    result: Annotated[dict[str, Any], Field(description="What was made, or the problem")]


class RowsAsked(Turning):
    """Which rows."""

    state: RowState | None = None


@jobs.get("/jobs", Right.JOB_READ, Paged[Job], query=JobsAsked)
async def list_jobs(call: AnyCall) -> Paged[Job]:
    """Jobs, the newest first: one's own, and those of accounts within reach."""
    query: JobsAsked = call.query
    after = read_cursor("jobs", query.cursor, float, str)
    since = (float(after[0]), str(after[1])) if after else None
    page = await call.desks.jobs.job_page(state=query.state, kind=query.kind, after=since, limit=query.limit)
    return paged("jobs", page, Job)


@jobs.get("/jobs/{job}", Right.JOB_READ, Job)
async def show_job(call: AnyCall) -> Job:
    """One job, and how far it is."""
    return Job.model_validate(await call.desks.jobs.job(call.path["job"]))


@jobs.get("/jobs/{job}/rows", Right.JOB_READ, Paged[JobRow], query=RowsAsked)
async def list_rows(call: AnyCall) -> Paged[JobRow]:
    """What came of a job's rows, in their order."""
    query: RowsAsked = call.query
    after = read_cursor("rows", query.cursor, int)
    page = await call.desks.jobs.job_rows(
        call.path["job"], state=query.state, after=int(after[0]) if after else 0, limit=query.limit
    )
    return paged("rows", page, JobRow)


@jobs.post("/jobs/{job}/stop", Right.JOB_WRITE, told=Job, version=show_job)
async def stop_job(call: AnyCall) -> Job:
    """Do no more of a job; what was applied stays. The rows of one that was only checked are forgotten."""
    return Job.model_validate(await call.desks.jobs.stop_job(call.path["job"]))


@jobs.post("/jobs/{job}/apply", Right.JOB_WRITE, told=Job, version=show_job)
async def apply_job(call: AnyCall) -> Job:
    """Do the rows that could be done, of a job that was only checked or was refused because of others of its rows; as
    the caller's, who needs the rights for it. They are kept for a day.
    """
    return Job.model_validate(await call.desks.jobs.apply_job(call.path["job"]))


def _begins(kind: Kind) -> Handler:
    async def begin(call: AnyCall) -> Job:
        if not call.principal.may(Right.JOB_WRITE):
            raise Forbidden("this takes the right job.write as well", right=Right.JOB_WRITE.value)
        given = call.body
        _refuse_twins(kind, given.rows)
        account = await _owner(call, given)
        rows = [row.model_dump_json().encode() for row in given.rows]
        made = await call.desks.jobs.begin_job(kind.name, rows, account=account, dry_run=given.dry_run)
        return Job.model_validate(made)

    begin.__name__ = f"begin_{kind.name}_job"
    begin.__doc__ = f"{kind.says}, many at once: 202 and a job, whose rows say what came of them."
    return begin


async def _owner(call: AnyCall, given: Any) -> str:
    """The account named, where all rows are of it; empty where any may be of another: it is not shown those."""
    if not given.account:
        return ""
    owner = (await call.desks.search.account(given.account)).id
    said = {getattr(row, "account", None) for row in given.rows} - {given.account, owner}
    macs = {row.mac: hasattr(row, "account") for row in given.rows if getattr(row, "mac", "")}
    for ref in said - {None}:
        if not ref or (await call.desks.search.account(ref)).id != owner:
            return ""
    return owner if await call.desks.jobs.only_of(owner, macs) else ""


def _refuse_twins(kind: Kind, rows: Any) -> None:
    """Two rows about the same thing: one of them could only fail, or undo the other."""
    seen: dict[tuple[object, ...], int] = {}
    faults = []
    for number, row in enumerate(rows):
        key = tuple(getattr(row, name) for name in kind.same)
        if key and key in seen:
            faults.append(Fault(field=f"rows.{number}", cause=f"is about the same as rows.{seen[key]}"))
        seen.setdefault(key, number)
    if faults:
        raise Unfit(faults[:100])


for _kind in KINDS.values():
    jobs.post(
        f"/bulk/{_kind.name}", _kind.right, body=_kind.body, told=Job, status=202, made_at="/jobs/{id}", tags=False
    )(_begins(_kind))
