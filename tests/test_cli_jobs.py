"""Jobs are looked at and gone on with on the machine itself; sites, users and extensions say something else there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from provisioner import settings
from provisioner.imports.formats import read_sheet
from provisioner.imports.imports import Imports
from provisioner.job_states import JobState
from provisioner.store import jobs
from provisioner.store.database import Store
from provisioner.store.jobs import Job

Run = Callable[..., Any]
MAC = "0004f2aabbcc"
ROWS = b"user,extension,mac,model\nLin,1007,0004f2000007,VVX 411\nTom,1008,0004f2,VVX 411\n"


async def checked(data: Path) -> Job:
    """An import that the server has looked at."""
    async with Store.of(settings.load(data)) as store:
        begun = await Imports(store, {}).begin_import(read_sheet([ROWS]), account="Example Ltd")
        async with store.writing() as connection:
            rows = await jobs.rows_of(connection, store.box, begun.id)
            outcomes = [(one.number, jobs.RowState.FITS, one.result) for one in rows if not one.state.over]
            await jobs.write_outcomes(connection, begun.id, outcomes)
            await jobs.move_job(connection, begun.id, [JobState.CHECKING], JobState.REFUSED, 7.0)
    return begun


def test_a_job_is_looked_at_applied_and_stopped(run: Run, asked: Run, office: None, data: Path) -> None:
    assert asked("job", "list") == []
    job = asyncio.run(checked(data)).id
    assert [one["id"] for one in asked("job", "list", "--state", "refused")] == [job]
    assert asked("job", "show", job)["total"] == 2
    for said in (run("job", "list").stdout, run("job", "show", job).stdout):
        assert re.search(r" 20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ", said), "begun, as people read it"
    rows = asked("job", "rows", job, "--state", "refused")
    assert [(one["number"], one["result"]["column"]) for one in rows] == [(2, "mac")]
    assert "line 3: refused, mac: " in run("job", "rows", job).stdout.replace("\n", " ")
    assert asked("job", "apply", job)["state"] == "applying"
    run("job", "apply", job, code=1)
    assert asked("job", "stop", job)["state"] == "stopped"
    run("job", "stop", job, code=1)
    run("job", "show", "nonsense", code=1)


def test_sites_users_and_extensions_say_something_else(run: Run, asked: Run, office: None) -> None:
    run("site", "add", "HQ", "--account", "Example Ltd")
    words = ("--street", "1 Example Road", "--city", "Bristol", "--country", "GB", "--network", "192.0.2.0/24")
    found = asked("site", "change", "HQ", *words, "--location", "2nd floor", "--notify", "desk@example.com")
    assert (found["address"]["city"], found["networks"], found["notify"]) == (
        "Bristol", ["192.0.2.0/24"], ["desk@example.com"],
    )  # fmt: skip
    kept = asked("site", "change", "HQ", "--network", "", "--name", "Bristol")
    assert (kept["networks"], kept["location"], kept["name"]) == ([], "2nd floor", "Bristol")
    run("site", "change", "Bristol", "--street", "half an address", code=1)
    assert asked("user", "add", "Lobby", "--account", "Example Ltd", "--place")["kind"] == "place"
    assert asked("user", "change", "Lobby", "--name", "Hall", "--kind", "person")["kind"] == "person"
    assert asked("extension", "change", "1001", "--display-name", "Ada K")["display_name"] == "Ada K"
    eve = asked("user", "add", "Eve", "--account", "Example Ltd")["id"]
    assert asked("extension", "change", "1001", "--user", "Eve")["user"] == eve
    run("extension", "change", "1001", "--user", "nobody", code=1)
    assert [one["mac"] for one in asked("extension", "lines", "1001")] == [MAC]
