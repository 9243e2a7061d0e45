"""Accounts take turns: one's ten thousand rows, or twenty jobs, keep nobody else's small job waiting."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from api_house import House
from test_api_imports import CSV, HEADER, line

from provisioner.http.api.import_runner import ImportRunner
from provisioner.http.api.job_runner import JobRunner, importing_now
from provisioner.imports.imports import KIND as IMPORT
from provisioner.job_states import JobState
from provisioner.store.jobs import Job


async def begin_import(house: House, account: str, numbers: range, query: str = "") -> str:
    site = "Berlin" if account == "Acme" else "Oslo"
    raw = "\n".join([HEADER, *(line(one, site=site) for one in numbers), ""]).encode()
    answer = await house.ask("POST", f"/import?account={account}{query}", raw=raw, headers=CSV)
    assert answer.status == 202, answer.body
    return str(answer.json["id"])


def ticks() -> Iterator[float]:
    """A clock by which every look ends a turn: each call of ``turn`` is one step."""
    now = 0.0
    while True:
        now += 100.0
        yield now


def stepping(house: House) -> JobRunner:
    clock = ticks()
    return JobRunner(house.means, watch=lambda: next(clock))


async def steps_until(house: House, runner: JobRunner, job: str) -> int:
    for number in range(1, 200):
        await runner.turn()
        if (await house.get(f"/jobs/{job}"))["state"] in ("done", "checked"):
            return number
    raise AssertionError("it never came to its end")


@pytest.mark.asyncio
async def test_a_small_import_does_not_wait_for_a_large_one(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisioner.http.api.import_runner._LOOKED", 10)
    monkeypatch.setattr("provisioner.http.api.import_runner.WRITTEN", 10)
    large = await begin_import(house, "Acme", range(300))
    small = await begin_import(house, "Other", range(1000, 1003))
    runner = stepping(house)
    assert await steps_until(house, runner, small) <= 10
    job = await house.get(f"/jobs/{large}")
    assert (job["state"], 0 < job["checked"] < 300) == ("checking", True)
    await house.jobs()
    assert (await house.get(f"/jobs/{large}"))["done"] == 300
    assert len((await house.get("/devices?q=0004f26&limit=500"))["items"]) == 303


@pytest.mark.asyncio
async def test_both_go_on_where_they_were(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns cost nothing: no row is looked at again because somebody else was in between."""
    monkeypatch.setattr("provisioner.http.api.import_runner._LOOKED", 10)
    begun: list[str] = []
    kept = ImportRunner._course

    def counts(self: ImportRunner, *given: object) -> object:
        begun.append(given[1].id)  # type: ignore[attr-defined]  # the job
        return kept(self, *given)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(ImportRunner, "_course", counts)
    both = [await begin_import(house, "Acme", range(60), "&dry_run=true"),
            await begin_import(house, "Other", range(1000, 1060), "&dry_run=true")]  # fmt: skip
    await house.jobs()
    assert sorted(begun) == sorted(both)


@pytest.mark.asyncio
async def test_many_jobs_of_one_account_have_no_more_turns_than_one_of_another(house: House) -> None:
    for number in range(8):
        rows = [{"name": f"N{number}-{one}", "account": "Acme"} for one in range(2)]
        assert (await house.ask("POST", "/bulk/users", {"rows": rows, "account": "Acme"})).status == 202
    body = {"rows": [{"name": "Olga", "account": "Other"}], "account": "Other"}
    other = (await house.ask("POST", "/bulk/users", body)).json["id"]
    assert await steps_until(house, stepping(house), other) <= 9, "checked, moved on, applied, over: every other step"


def _job(ident: str, account: str, total: int, kind: str = IMPORT) -> Job:
    return Job(ident, kind, JobState.CHECKING, "ann", account, False, total, 0, 0, 0, float(ord(ident)), None, {})


def test_large_imports_wait_for_each_other_and_small_ones_find_room() -> None:
    found = [
        _job("a", "A", 40_000), _job("b", "A", 10), _job("c", "B", 40_000), _job("d", "C", 9_000),
        _job("e", "", 10), _job("f", "D", 5_000, kind="users"),
    ]  # fmt: skip
    assert [one.id for one in importing_now(found)] == ["a", "d", "e"]
    assert [one.id for one in importing_now(found[2:])] == ["c", "d", "e"]
    assert [one.id for one in importing_now([_job("g", "A", 1_000_000)])] == ["g"], "one is always gone on with"
