"""Jobs: bulk work that goes on by itself, how far it is, and what came of each row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from provisioner.fleet.jobs import NEEDS
from provisioner.http.api.bulk import KINDS
from provisioner.http.console.choices import names_of
from provisioner.http.console.pages import ROWS, Answer, Call, Listed, Pages, See, View
from provisioner.imports.imports import KIND as IMPORT
from provisioner.job_states import JobState, RowState
from provisioner.rights import Right
from provisioner.store.jobs import Job, JobRow

jobs = Pages()

_OPEN: Final = frozenset({JobState.CHECKED, JobState.REFUSED})
"""Looked at and not done: its rows can be done now, or thrown away."""
_ALL: Final = "all"


class Told(NamedTuple):
    """A row as people read it."""

    place: str
    outcome: str
    what: str
    why: str
    warnings: list[str]


@jobs.get("/jobs", Right.JOB_READ)
async def list_jobs(call: Call) -> Answer:
    """One's own, and those of accounts within reach; the newest first."""
    text = call.asked("state", 20)
    state = JobState(text) if text in set(JobState) else None
    after = call.after("jobs", float, str)
    page = await call.desks.jobs.job_page(
        state=state, after=(float(after[0]), str(after[1])) if after else None, limit=ROWS
    )
    values = {
        "rows": Listed.of(call, "jobs", page),
        "titles": {one.id: title_of(one) for one in page.items},
        "names": await names_of(call, [one.account for one in page.items]),
        "states": [(one.value, one.value) for one in JobState],
        "state_asked": text,
    }
    return View("jobs.html.j2", values)


def title_of(job: Job) -> str:
    """What it does, for people."""
    if job.kind == IMPORT:
        return "Import from files"
    kind = KINDS.get(job.kind)
    return kind.says if kind else job.kind.replace("_", " ").capitalize()


@jobs.get("/jobs/{job}", Right.JOB_READ)
async def show_job(call: Call) -> Answer:
    """How far it is, and its rows: first those that cannot be done, where there are such."""
    job = await call.desks.jobs.job(call.place("job"))
    wanted = call.asked("rows", 20) or (RowState.REFUSED.value if job.failed else _ALL)
    state = RowState(wanted) if wanted in set(RowState) else None
    after = call.after("rows", int)
    page = await call.desks.jobs.job_rows(job.id, state=state, after=int(after[0]) if after else 0, limit=ROWS)
    values = {
        "job": job, "title": title_of(job), "base": f"/jobs/{job.id}", "wanted": state.value if state else _ALL,
        "filters": [_ALL, *(one.value for one in RowState)], "rows": Listed.of(call, "rows", page),
        "told": {one.number: _told(job, one) for one in page.items}, "names": await names_of(call, [job.account]),
        "open": job.state in _OPEN, "may_apply": _may_apply(call, job), "past": _past(job),
    }  # fmt: skip
    return View("job.html.j2", values)


def _past(job: Job) -> int:
    """Rows of which nothing is left to do as the job stands."""
    return job.checked if job.state in {JobState.CHECKING, *_OPEN} else job.done + job.failed


def _may_apply(call: Call, job: Job) -> bool:
    if job.state not in _OPEN or not all(call.may(right) for right in (Right.JOB_WRITE, *NEEDS.get(job.kind, ()))):
        return False
    return job.failed < job.total if job.kind == IMPORT else not job.failed


def _told(job: Job, row: JobRow) -> Told:
    result = row.result
    if job.kind == IMPORT and result:
        return _imported(row.state, result)
    if row.state is RowState.REFUSED:
        why = ". ".join(str(result[name]) for name in ("cause", "cure") if result.get(name))
        return Told(f"row {row.number}", row.state.value, "", why, [])
    said = ", ".join(f"{name} {_words(value)}" for name, value in result.items() if value)
    return Told(f"row {row.number}", row.state.value, said, "", [])


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _imported(state: RowState, result: Mapping[str, Any]) -> Told:
    """As the use-case says it: what is done for the row, or which column is wrong, and why."""
    column, file = result.get("column", ""), result.get("file", 1)
    why = f"{column}: {result.get('why', '')}" if column else str(result.get("why", ""))
    place = f"line {result.get('line', '')}" + (f" of file {file}" if file != 1 else "")
    does = ", ".join(map(str, result.get("does", ())))
    return Told(place, str(result.get("outcome", state.value)), does, why, [*map(str, result.get("warnings", ()))])


@jobs.post("/jobs/{job}/apply", Right.JOB_WRITE, again=show_job)
async def apply_job(call: Call) -> Answer:
    """Do the rows that fit, of a job that has only been looked at."""
    made = await call.desks.jobs.apply_job(call.place("job"))
    return See(f"/jobs/{made.id}", "It has begun. This page says how far it is.")


@jobs.post("/jobs/{job}/stop", Right.JOB_WRITE, again=show_job)
async def stop_job(call: Call) -> Answer:
    """Do no more of it."""
    before = await call.desks.jobs.job(call.place("job"))
    found = await call.desks.jobs.stop_job(before.id)
    thrown = before.state in _OPEN
    told = "It is thrown away; nothing was changed." if thrown else "It is stopped. What was done stays."
    return See(f"/jobs/{found.id}", told)
