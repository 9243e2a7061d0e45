"""Jobs on the command line: bulk work that the server goes on with, looked at, applied and stopped."""

from __future__ import annotations

import click

from provisioner.cli.session import Nouns, with_desk, without_settings
from provisioner.fleet.jobs import Jobs
from provisioner.job_states import JobState, RowState
from provisioner.store.jobs import Job, JobRow
from provisioner.terminal import Shown

with_jobs = with_desk(without_settings(Jobs), vendors=False)


@click.group(cls=Nouns)
def job() -> None:
    """Bulk work and imports that the server goes on with by itself."""


@job.command("list")
@click.option("--state", type=click.Choice([one.value for one in JobState]), help="Only in this state.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many.")
@with_jobs
async def job_list(desk: Jobs, state: str | None, limit: int) -> object:
    """The jobs, the newest first."""
    page = await desk.job_page(state=JobState(state) if state else None, limit=limit)
    return Shown(page.items, rows=[_row(one) for one in page.items])


@job.command("show")
@click.argument("job")
@with_jobs
async def job_show(desk: Jobs, job: str) -> object:
    """How far JOB is."""
    found = await desk.job(job)
    return Shown(found, rows=[_row(found)])


@job.command("rows")
@click.argument("job")
@click.option("--state", type=click.Choice([one.value for one in RowState]), help="Only in this state.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=200, show_default=True, help="How many.")
@with_jobs
async def job_rows(desk: Jobs, job: str, state: str | None, limit: int) -> object:
    """What came of the rows of JOB, in their order."""
    found: list[JobRow] = []
    after = 0
    while len(found) < limit:
        page = await desk.job_rows(
            job, state=RowState(state) if state else None, after=after, limit=min(500, limit - len(found))
        )
        found += page.items
        if page.next is None:
            break
        after = int(page.next[0])
    rows = [{"row": one.number, "state": one.state.value, "what": _in_short(one.result)} for one in found]
    data = [{"number": one.number, "state": one.state.value, "result": dict(one.result)} for one in found]
    return Shown(data, rows=rows)


@job.command("apply")
@click.argument("job")
@with_jobs
async def job_apply(desk: Jobs, job: str) -> object:
    """Do the rows of JOB that could be done, after it was only checked or was refused because of others."""
    found = await desk.apply_job(job)
    return Shown(found, f"job {found.id} goes on: `provisioner job show {found.id}` says how far it is")


@job.command("stop")
@click.argument("job")
@with_jobs
async def job_stop(desk: Jobs, job: str) -> object:
    """Do no more of JOB; what was applied stays."""
    found = await desk.stop_job(job)
    return Shown(found, f"job {found.id} is stopped: {found.done} of {found.total} rows are done")


def _row(one: Job) -> dict[str, object]:
    told = {"job": one.id, "kind": one.kind, "state": one.state.value, "rows": one.total, "checked": one.checked}
    return {**told, "done": one.done, "failed": one.failed, "by": one.actor, "begun": one.created}


def _in_short(result: object) -> str:
    """Of a problem its cause, of an imported row what it does or why it is refused."""
    assert isinstance(result, dict), "rows have objects"
    if "outcome" in result:
        why = f"{result['column']}: {result['why']}" if result["column"] else result["why"]
        return f"line {result['line']}: {result['outcome']}, {', '.join(result['does']) or why}".rstrip(", ")
    return str(result.get("cause") or ", ".join(f"{name}={value}" for name, value in result.items()))
