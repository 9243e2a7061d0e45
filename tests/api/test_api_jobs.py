"""Bulk work: every row is checked first, then applied; what came of each is told, through restarts and quarrels."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from api_house import T46S, VVX, House

from provisioner.http.api.job_runner import JobRunner
from provisioner.job_states import TRANSITIONS, JobState, RowState, after_checking
from provisioner.rights import OPERATOR, Holding, Principal, Role, parts_of
from provisioner.store.rotation import Rotation


def phones(count: int, account: str = "Acme") -> list[dict[str, str]]:
    return [
        {"mac": f"0004f24{one:05x}", "vendor": "poly", "model": "VVX 411", "account": account} for one in range(count)
    ]


async def rows(house: House, job: str, **more: Any) -> list[dict[str, Any]]:
    return (await house.get(f"/jobs/{job}/rows?limit=500", **more))["items"]


@pytest.mark.asyncio
async def test_a_job_checks_all_rows_and_then_applies_them(house: House) -> None:
    begun = await house.ask("POST", "/bulk/devices", {"rows": phones(150), "account": "Acme"})
    assert (begun.status, begun.json["state"]) == (202, "checking")
    assert begun.headers["Location"] == f"/api/v1/jobs/{begun.json['id']}"
    await house.jobs()
    job = await house.get(f"/jobs/{begun.json['id']}")
    assert (job["state"], job["total"], job["checked"], job["done"], job["failed"]) == ("done", 150, 150, 150, 0)
    found = await rows(house, job["id"])
    assert [one["number"] for one in found] == list(range(1, 151))
    assert found[0]["result"] == {"mac": "0004f2400000"}
    assert len((await house.get("/devices?account=Acme&limit=500"))["items"]) == 152


@pytest.mark.asyncio
async def test_one_bad_row_and_nothing_is_applied(house: House) -> None:
    wanted = [*phones(5), {"mac": VVX, "vendor": "poly", "model": "VVX 411", "account": "Acme"}]
    wanted += [{"mac": "0004f2aaaaaa", "vendor": "poly", "model": "no such", "account": "Acme"}]
    begun = await house.ask("POST", "/bulk/devices", {"rows": wanted})
    await house.jobs()
    job = await house.get(f"/jobs/{begun.json['id']}")
    assert (job["state"], job["done"], job["failed"]) == ("refused", 0, 2)
    found = await rows(house, job["id"])
    assert [one["state"] for one in found] == ["fits"] * 5 + ["refused"] * 2
    assert found[5]["result"]["type"] == "/api/v1/problems/conflict"
    assert found[6]["result"]["errors"][0]["field"] == "model"
    assert len((await house.get("/devices"))["items"]) == 3
    assert (await house.get("/events?kind=device_added&limit=500"))["items"] == [
        one for one in (await house.get("/events?kind=device_added&limit=500"))["items"] if one["actor"] == "test"
    ]


@pytest.mark.asyncio
async def test_rows_are_refused_before_any_job_is_made(house: House) -> None:
    wrong = await house.ask("POST", "/bulk/devices", {"rows": [*phones(1), {"mac": "x"}]})
    assert wrong.status == 422
    assert {one["field"] for one in wrong.json["errors"]} >= {"rows.1.mac", "rows.1.vendor"}
    twice = await house.ask("POST", "/bulk/devices", {"rows": phones(1) * 2})
    assert twice.json["errors"] == [{"field": "rows.1", "cause": "is about the same as rows.0"}]
    assert (await house.get("/jobs"))["items"] == []


@pytest.mark.asyncio
async def test_a_dry_run_changes_nothing(house: House) -> None:
    lines = [{"mac": VVX, "line": 1, "user": "Ada"}, {"mac": T46S, "line": 1, "extension": "1002"}]
    begun = await house.ask("POST", "/bulk/lines", {"rows": lines, "dry_run": True})
    await house.jobs()
    assert (await house.get(f"/jobs/{begun.json['id']}"))["state"] == "checked"
    assert (await house.get(f"/devices/{VVX}/lines"))["items"] == []
    begun = await house.ask("POST", "/bulk/lines", {"rows": lines})
    await house.jobs()
    found = await rows(house, begun.json["id"])
    assert [one["result"]["number"] for one in found] == ["1001", "1002"]


@pytest.mark.asyncio
async def test_what_a_row_holds_is_sealed_and_then_erased(house: House) -> None:
    wanted = [{"number": "1777", "account": "Acme", "user": "Ada", "secret": "canary-geheim"}]
    begun = await house.ask("POST", "/bulk/extensions", {"rows": wanted})

    async def kept() -> list[Any]:
        async with house.means.store.reading() as connection:
            return [row[0] for row in await connection.exec_driver_sql("SELECT given FROM job_row")]

    assert b"canary" not in (await kept())[0]
    await Rotation(house.means.store, "test", settle=0.0).run()
    await house.jobs()
    assert await kept() == [None]
    assert (await house.get(f"/jobs/{begun.json['id']}"))["state"] == "done"
    told = await house.ask("POST", "/extensions/1777/secret/reveal")
    assert told.json["secret"] == "canary-geheim"


@pytest.mark.slow  # cut off at each step
@pytest.mark.asyncio
async def test_a_job_that_is_cut_off_anywhere_does_each_row_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step in its own runner, as after a restart, and each second one is cut off within its transaction."""
    monkeypatch.setattr("provisioner.http.api.job_runner._ROWS", 7)
    begun = await house.ask("POST", "/bulk/devices", {"rows": phones(40)})
    for cut in range(60):
        runner = JobRunner(house.means, watch=iter(range(0, 10_000, 5)).__next__)
        turn = asyncio.ensure_future(runner.turn())
        if cut % 2:
            await asyncio.sleep(0.002 * (cut % 9))
            turn.cancel()
        await asyncio.gather(turn, return_exceptions=True)
    await house.jobs()
    job = await house.get(f"/jobs/{begun.json['id']}")
    assert (job["state"], job["done"], job["failed"]) == ("done", 40, 0)
    added = (await house.get("/events?kind=device_added&limit=500"))["items"]
    macs = [one["mac"] for one in added if one["actor"] != "test"]
    assert len(macs) == len(set(macs)) == 40


@pytest.mark.asyncio
async def test_somebody_who_was_quicker_costs_one_row(house: House) -> None:
    begun = await house.ask("POST", "/bulk/devices", {"rows": phones(3)})
    runner = JobRunner(house.means, watch=iter(range(0, 10_000, 5)).__next__)
    while (await house.get(f"/jobs/{begun.json['id']}"))["state"] == "checking":
        await runner.turn()
    await house.ask("POST", "/devices", phones(2)[1])
    await house.jobs()
    job = await house.get(f"/jobs/{begun.json['id']}")
    assert (job["state"], job["done"], job["failed"]) == ("done", 2, 1)


@pytest.mark.asyncio
async def test_a_job_that_is_stopped_goes_no_further(house: House) -> None:
    begun = await house.ask("POST", "/bulk/devices", {"rows": phones(3)})
    stopped = await house.ask("POST", f"/jobs/{begun.json['id']}/stop")
    assert stopped.json["state"] == "stopped"
    await house.jobs()
    assert len((await house.get("/devices"))["items"]) == 3
    assert (await house.ask("POST", f"/jobs/{begun.json['id']}/stop")).status == 409


@pytest.mark.asyncio
async def test_a_job_reaches_as_far_as_its_author(house: House) -> None:
    ids = house.ids
    await house.hire("someone", Role.DEVICE_ADMIN, ids["Acme"])
    begun = await house.ask("POST", "/bulk/devices", {"rows": phones(1, "Other")}, who="someone")
    mine = await house.ask("POST", "/bulk/users", {"rows": [{"name": "N", "account": "Acme"}]}, who="someone")
    await house.jobs()
    assert (await house.get(f"/jobs/{begun.json['id']}", who="someone"))["state"] == "refused"
    assert (await house.get(f"/jobs/{mine.json['id']}", who="someone"))["state"] == "done"
    house.keeper.known["other"] = Principal("b", parts_of(Holding(Role.DEVICE_ADMIN, ids["Other"]), "b"), "b")
    assert (await house.get("/jobs", who="other"))["items"] == []
    assert (await house.ask("GET", f"/jobs/{mine.json['id']}", who="other")).status == 404
    assert len((await house.get("/jobs"))["items"]) == 2


def test_the_life_of_a_job() -> None:
    reached = {JobState.CHECKING} | {to for ways in TRANSITIONS.values() for to in ways}
    assert reached == set(JobState)
    assert [one for one in JobState if one.under_way] == [JobState.CHECKING, JobState.APPLYING]
    assert after_checking(refused=1, dry_run=True) is JobState.REFUSED
    assert after_checking(refused=0, dry_run=True) is JobState.CHECKED
    assert after_checking(refused=0, dry_run=False) is JobState.APPLYING
    assert [one for one in RowState if one.over] == [RowState.DONE, RowState.REFUSED]
    assert OPERATOR.reach.everything
