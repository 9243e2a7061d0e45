"""Jobs beside each other: one that fails stops no other, none outlives its author's rights."""

from __future__ import annotations

from typing import Any

import pytest
from api_house import OTHER, VVX, House
from psycopg.errors import LockNotAvailable, ProgramLimitExceeded
from sqlalchemy import insert, update
from sqlalchemy.exc import OperationalError

from provisioner.errors import Forbidden, Invalid, StoreFailed
from provisioner.fleet.jobs import MOST_UNDER_WAY, Jobs
from provisioner.http.api.import_runner import ImportRunner
from provisioner.http.api.job_author import common, meeting
from provisioner.http.api.job_runner import _TRIES, JobRunner
from provisioner.imports.imports import Imports
from provisioner.job_states import JobState
from provisioner.keys_desk import ApiKeys
from provisioner.rights import EVERYTHING, OPERATOR, Holding, Part, Principal, Reach, Right, Role, parts_of
from provisioner.roster import Roster
from provisioner.store import schema_api
from provisioner.store.engine import may_pass

CSV = b"user,extension,mac,vendor,model\nZed,7700,0004f2bbbbbb,poly,VVX 411\n"


async def users(house: House) -> set[str]:
    return {one["name"] for one in (await house.get("/users?limit=500"))["items"]}


@pytest.mark.asyncio
async def test_a_site_that_no_index_takes_is_refused_at_once(house: House) -> None:
    desk = Imports(house.means.store, house.means.drivers)
    for wrong in ("x" * 20_000, "A\nB", "=?utf-8?q?x?="):
        with pytest.raises(Invalid, match="site"):
            await desk.begin_import(desk.read([CSV]), account="Acme", site=wrong)


def test_what_is_too_large_will_not_pass() -> None:
    for cause, wanted in ((ProgramLimitExceeded(), False), (LockNotAvailable(), True)):
        error = StoreFailed("x")
        error.__cause__ = OperationalError("", {}, cause)
        assert may_pass(error) is wanted


@pytest.mark.parametrize("fault", [StoreFailed("the database failed: never"), TypeError("a bug")])
@pytest.mark.asyncio
async def test_a_job_that_always_fails_is_stopped_and_delays_no_other(
    house: House, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    async def never(*_: Any) -> bool:
        raise fault

    monkeypatch.setattr(ImportRunner, "step", never)
    desk = Imports(house.means.store, house.means.drivers)
    bad = await desk.begin_import(desk.read([CSV]), account="Acme", dry_run=False)
    other = await house.ask("POST", "/bulk/users", {"rows": [{"name": "Vic", "account": "Other"}]})
    runner = JobRunner(house.means)
    assert not await runner.turn()
    assert (await house.get(f"/jobs/{other.json['id']}"))["state"] == "done"
    for _ in range(_TRIES - 1):
        assert (await house.get(f"/jobs/{bad.id}"))["state"] == "checking"
        await runner.turn()
    job = await house.get(f"/jobs/{bad.id}")
    assert (job["state"], bool(job["options"]["stopped"])) == ("stopped", True)
    assert (await house.get("/events?kind=job_stopped"))["items"][0]["actor"] == "server"


@pytest.mark.asyncio
async def test_a_row_of_another_time_costs_its_own_row(house: House) -> None:
    begun = await Jobs(house.means.store, house.means.drivers).begin_job("users", [b'{"nom": 1}'])
    await house.jobs()
    assert (await house.get(f"/jobs/{begun.id}"))["state"] == "refused"
    assert (await house.get(f"/jobs/{begun.id}/rows"))["items"][0]["result"]["status"] == 422


@pytest.mark.asyncio
async def test_jobs_have_their_turns(house: House) -> None:
    rows = [{"name": f"N{one}", "account": "Acme"} for one in range(3)]
    made = [(await house.ask("POST", "/bulk/users", {"rows": rows})).json["id"] for _ in range(3)]
    runner, seen = JobRunner(house.means), []
    for _ in range(6):
        job = await runner._next()
        assert job is not None
        runner._begin_turn(job)
        seen.append(job.id)
    assert seen[:3] == seen[3:]
    assert set(seen) == set(made)


@pytest.mark.asyncio
async def test_nobody_has_more_than_some_under_way(house: House) -> None:
    body = {"rows": [{"name": "N", "account": "Acme"}], "account": "Acme"}
    for _ in range(MOST_UNDER_WAY):
        assert (await house.ask("POST", "/bulk/users", body)).status == 202
    refused = await house.ask("POST", "/bulk/users", body)
    assert (refused.status, "20 jobs under way" in refused.json["cause"]) == (409, True)
    parts = parts_of(Holding(Role.OWNER), "o")
    house.keeper.known["owner"] = Principal("o@example.net", parts, "o")
    assert (await house.ask("POST", "/bulk/users", body, who="owner")).status == 409
    assert (await house.ask("POST", "/bulk/users", {**body, "account": ""}, who="owner")).status == 202
    await house.jobs()
    assert (await house.ask("POST", "/bulk/users", body)).status == 202


@pytest.mark.parametrize("applying", [False, True])
@pytest.mark.asyncio
async def test_a_job_ends_with_its_authors_rights(house: House, applying: bool) -> None:
    await house.hire("boss", Role.OWNER, "")  # one has to be left
    await house.hire("ann", Role.DEVICE_ADMIN, house.ids["Acme"])
    body = {"rows": [{"name": "Mallory", "account": "Acme"}], "dry_run": applying}
    begun = await house.ask("POST", "/bulk/users", body, who="ann")
    sheet = await house.ask("POST", "/import?account=Acme", raw=CSV, headers={"Content-Type": "text/csv"}, who="ann")
    if applying:
        await house.jobs()
        await house.ask("POST", f"/jobs/{begun.json['id']}/apply", who="ann")
    await Roster(house.means.store, {}, house.means.settings).remove_administrator("ann@example.net")
    await house.jobs()
    job = await house.get(f"/jobs/{begun.json['id']}")
    assert (job["state"], job["options"]["stopped"]) == ("stopped", "ann@example.net is no administrator any more")
    assert "Mallory" not in await users(house)
    if not applying:
        assert (await house.get(f"/jobs/{sheet.json['id']}"))["state"] == "stopped"


@pytest.mark.asyncio
async def test_a_job_ends_with_the_key_it_was_begun_with(house: House) -> None:
    desk = ApiKeys(house.means.store, {}, house.means.settings)
    made = await desk.make_key("k", scopes=[Right.PEOPLE_WRITE, Right.JOB_WRITE])
    house.keeper.known["key"] = Principal("key k", OPERATOR.parts, credential=made.about.id, is_key=True)
    rows = [{"name": "Mallory", "account": "Acme"}]
    begun = await house.ask("POST", "/bulk/users", {"rows": rows}, who="key")
    await desk.revoke_key(made.about.id)
    await house.jobs()
    assert (await house.get(f"/jobs/{begun.json['id']}"))["state"] == "stopped"
    assert "Mallory" not in await users(house)


def test_what_two_can_do() -> None:
    whole, site = Reach(frozenset({"a", "b"})), Reach(sites=frozenset({"s"}), partly=frozenset({"a"}))
    assert meeting(EVERYTHING, whole) == Reach(frozenset({"a", "b"}), audits=frozenset())
    assert meeting(whole, Reach(frozenset({"b", "c"}))) == Reach(frozenset({"b"}))
    assert meeting(whole, site) == meeting(site, whole) == meeting(EVERYTHING, site) == site
    assert meeting(Reach(frozenset({"c"})), site) == Reach()
    one = Principal("x", (Part(frozenset({Right.JOB_WRITE, Right.RESYNC}), whole),))
    other = Principal("x", (Part(frozenset({Right.RESYNC}), site), Part(frozenset({Right.JOB_WRITE}), Reach())))
    assert common(one, other).parts == (Part(frozenset({Right.RESYNC}), site),)
    assert common(OPERATOR, one).rights == one.rights


@pytest.mark.asyncio
async def test_a_job_is_an_accounts_only_when_all_its_rows_are(house: House) -> None:
    async def owner(kind: str, *rows: Any) -> str:
        made = await house.ask("POST", f"/bulk/{kind}", {"rows": rows, "account": "Acme", "dry_run": True})
        assert made.status == 202, made.body
        return str(made.json["account"])

    acme = house.ids["Acme"]
    assert await owner("users", {"name": "N", "account": "Acme"}, {"name": "M", "account": acme}) == acme
    assert await owner("users", {"name": "N", "account": "Acme"}, {"name": "M", "account": "Other"}) == ""
    assert await owner("resyncs", {"mac": VVX}) == acme
    assert await owner("resyncs", {"mac": VVX}, {"mac": OTHER}) == ""
    assert await owner("resyncs", {"mac": "0004f2ffffff"}) == ""
    assert await owner("moves", {"mac": OTHER, "account": "Acme"}) == ""
    assert await owner("codes", {"extension": "2001"}) == ""
    desk = Imports(house.means.store, house.means.drivers)
    for column, wanted in (("Acme", acme), (acme, acme), ("Other", ""), ("nobody", "")):
        raw = f"account,user,extension\n{column},Zed,7700\n,Zoe,7701\n".encode()
        assert (await desk.begin_import(desk.read([raw]), account="Acme")).account == wanted
    torn = desk.read([b"account,user,extension\nAcme,Zed,7700\nOther,Zoe,x y\n"])
    assert (await desk.begin_import(torn, account="Acme")).account == ""


@pytest.mark.asyncio
async def test_whoever_applies_needs_the_rights_by_every_door(house: House) -> None:
    store, at = house.means.store, OPERATOR.narrowed([Right.JOB_READ, Right.JOB_WRITE], None)
    job = {"kind": "removals", "actor": "x", "principal": "{}", "total": 1, "created": 1.0, "options": "{}"}
    async with store.writing() as connection:
        await connection.execute(insert(schema_api.job).values(id="j", state="checking", **job))
        await connection.execute(update(schema_api.job).values(state=JobState.CHECKED.value))
    with pytest.raises(Forbidden, match=r"device\.write"):
        await Jobs(store, house.means.drivers, principal=at).apply_job("j")
