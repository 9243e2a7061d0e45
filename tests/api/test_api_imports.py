"""Imports as jobs: looked at first, taken over when somebody says so, through mistakes, restarts and others' rows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from api_house import OTHER, VVX, Answer, House
from sqlalchemy import select

from provisioner.http.api.import_runner import ImportRunner
from provisioner.http.api.imports import files_of
from provisioner.http.api.job_runner import JobRunner
from provisioner.rights import OPERATOR, Holding, Principal, Right, Role, parts_of
from provisioner.store import schema
from provisioner.store.rotation import Rotation

HEADER = "site,user,extension,secret,mac,vendor,model,line"
SECRET = "canary-import-7!"
CSV = {"Content-Type": "text/csv"}


def line(number: int, **cells: str) -> str:
    told = {
        "site": "Berlin", "user": f"New {number}", "extension": str(7000 + number), "secret": SECRET,
        "mac": f"0004f26{number:05x}", "vendor": "poly", "model": "VVX 411", "line": "1",
    }  # fmt: skip
    return ",".join({**told, **cells}[name] for name in HEADER.split(","))


def sheet(*lines: str) -> bytes:
    return "\n".join([HEADER, *lines, ""]).encode()


async def begun(house: House, raw: bytes, query: str = "", **more: Any) -> Answer:
    return await house.ask(
        "POST", f"/import?account=Acme{query}", raw=raw, headers={**CSV, **more.pop("headers", {})}, **more
    )


async def rows(house: House, job: str) -> list[dict[str, Any]]:
    return (await house.get(f"/jobs/{job}/rows?limit=500"))["items"]


async def job_of(house: House, answer: Answer) -> dict[str, Any]:
    return await house.get(f"/jobs/{answer.json['id']}")


@pytest.mark.asyncio
async def test_an_import_is_looked_at_and_then_taken_over(house: House) -> None:
    answer = await begun(house, sheet(*map(line, range(120))), "&dry_run=true")
    assert (answer.status, answer.json["kind"], answer.json["state"]) == (202, "import", "checking")
    assert answer.headers["Location"] == f"/api/v1/jobs/{answer.json['id']}"
    await house.jobs()
    job = await job_of(house, answer)
    assert (job["state"], job["checked"], job["done"], job["failed"], job["total"]) == ("checked", 120, 0, 0, 120)
    assert job["options"]["format"] == "own"
    found = await rows(house, job["id"])
    assert {one["state"] for one in found} == {"fits"}
    assert found[0]["result"] == {
        "file": 1, "line": 2, "outcome": "add", "mac": "0004f2600000", "column": "", "why": "",
        "warnings": ["nobody could be sent there in an emergency: neither the site of 00:04:f2:60:00:00 nor the user "
                     "of 7000 has an address"],
        "does": ["site 'Berlin'", "user 'New 0'", "extension 7000", "device 00:04:f2:60:00:00 (VVX 411)",
                 "7000 on line 1 of 00:04:f2:60:00:00"],
    }  # fmt: skip
    assert "site" not in " ".join(found[1]["result"]["does"])  # the row before has it
    assert (await house.get("/devices?q=0004f26"))["items"] == []
    applied = await house.ask("POST", f"/jobs/{job['id']}/apply")
    assert (applied.status, applied.json["state"], applied.json["dry_run"]) == (200, "applying", False)
    await house.jobs()
    job = await job_of(house, answer)
    assert (job["state"], job["done"], job["failed"]) == ("done", 120, 0)
    assert len((await house.get("/devices?q=0004f26&limit=500"))["items"]) == 120
    assert (await house.get("/devices/0004f2600077/lines/1"))["number"] == str(7000 + 0x77)
    again = await begun(house, sheet(*map(line, range(120))))
    await house.jobs()
    assert {one["result"]["outcome"] for one in await rows(house, again.json["id"])} == {"already so"}


@pytest.mark.asyncio
async def test_mistakes_stop_it_until_somebody_has_looked(house: House) -> None:
    mistakes = (line(3, model="VVX 9"), line(4, mac="00:04"), line(5, mac=OTHER), line(6, extension="7001"))
    raw = sheet(line(1), line(2), *mistakes)
    answer = await begun(house, raw)
    await house.jobs()
    job = await job_of(house, answer)
    assert (job["state"], job["checked"], job["failed"], job["done"]) == ("refused", 6, 4, 0)
    told = {one["number"]: (one["state"], one["result"]["column"]) for one in await rows(house, job["id"])}
    assert told == {
        1: ("fits", ""), 2: ("fits", ""), 3: ("refused", "model"), 4: ("refused", "mac"), 5: ("refused", "mac"),
        6: ("refused", "extension"),
    }  # fmt: skip
    assert (await house.get("/devices?q=0004f26"))["items"] == []
    await house.ask("POST", f"/jobs/{job['id']}/apply")
    await house.jobs()
    job = await job_of(house, answer)
    assert (job["state"], job["done"], job["failed"]) == ("done", 2, 4)
    assert len((await house.get("/devices?q=0004f26"))["items"]) == 2
    others = await begun(house, raw, "&partly=true")
    await house.jobs()
    assert (await job_of(house, others))["state"] == "done"


@pytest.mark.asyncio
async def test_a_restart_at_every_step_does_no_row_twice(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisioner.http.api.import_runner._LOOKED", 7)
    monkeypatch.setattr("provisioner.http.api.import_runner.WRITTEN", 5)
    answer = await begun(
        house, sheet(*map(line, range(20)), line(20, user="New 3", extension="7003", line="2")), "&partly=true"
    )
    looked = ImportRunner(house.means)
    for _ in range(2):  # half looked at, then nobody knows any more what for
        await looked.step(await _next(house))
    for _ in range(40):
        if (await job_of(house, answer))["state"] == "done":
            break
        job = await _next(house)
        runner = ImportRunner(house.means) if job.state == "applying" else looked  # the process ends after each batch
        if not await runner.step(job):
            await JobRunner(house.means)._over(job, known=True)
    job = await job_of(house, answer)
    assert (job["state"], job["checked"], job["done"], job["failed"]) == ("done", 21, 20, 1)
    numbers = [one["number"] for one in (await house.get("/extensions?account=Acme&limit=500"))["items"]]
    assert sorted(one for one in numbers if one.startswith("70")) == [str(7000 + one) for one in range(20)]
    added = (await house.get("/events?kind=extension_added&limit=500"))["items"]
    assert len([one for one in added if one["details"]["number"].startswith("70")]) == 20


async def _next(house: House) -> Any:
    found = await JobRunner(house.means)._next()
    assert found is not None
    return found


@pytest.mark.asyncio
async def test_a_check_that_was_cut_off_begins_anew(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisioner.http.api.import_runner._LOOKED", 3)
    answer = await begun(house, sheet(*map(line, range(9)), line(9, model="VVX 9")), "&dry_run=true")
    await ImportRunner(house.means).step(await _next(house))
    assert (await job_of(house, answer))["checked"] == 3
    await house.jobs()
    job = await job_of(house, answer)
    assert (job["state"], job["checked"], job["failed"]) == ("refused", 10, 1)


@pytest.mark.asyncio
async def test_it_can_be_stopped_and_forgets_what_its_rows_held(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisioner.http.api.import_runner.WRITTEN", 5)
    answer = await begun(house, sheet(*map(line, range(20))), "&dry_run=true")
    await house.jobs()
    held = await _given(house)
    assert len(held) == 20
    assert not [one for one in held if SECRET.encode() in one]
    await house.ask("POST", f"/jobs/{answer.json['id']}/apply")
    await JobRunner(house.means)._step(await _next(house))
    stopped = await house.ask("POST", f"/jobs/{answer.json['id']}/stop")
    await house.jobs()
    assert (stopped.json["state"], stopped.json["done"]) == ("stopped", 5)
    assert len((await house.get("/devices?q=0004f26"))["items"]) == 5
    assert await _given(house) == []
    assert (await house.ask("POST", f"/jobs/{answer.json['id']}/apply")).status == 409


async def _given(house: House) -> list[bytes]:
    async with house.means.store.reading() as connection:
        found = (await connection.execute(select(schema.job_row.c.given))).scalars()
        return [bytes(one) for one in found if one is not None]


@pytest.mark.asyncio
async def test_rows_that_were_looked_at_are_kept_for_a_day(house: House) -> None:
    answer = await begun(house, sheet(line(1), line(2, model="VVX 9")))
    await house.jobs()
    await JobRunner(house.means).tidy()
    assert len(await _given(house)) == 1
    await Rotation(house.means.store, "test").run(revoke_tokens=False)
    later = JobRunner(house.means)
    later._means = type(house.means)(**{**vars(house.means), "clock": lambda: house.means.clock() + 90_000})
    await later.tidy()
    assert await _given(house) == []
    refused = await house.ask("POST", f"/jobs/{answer.json['id']}/apply")
    assert (refused.status, "send its rows again" in refused.json["cause"]) == (409, True)


@pytest.mark.asyncio
async def test_no_secret_is_told(house: House, caplog: pytest.LogCaptureFixture) -> None:
    answer = await begun(house, sheet(line(1), line(2, extension="70 01")), "&partly=true")
    await house.jobs()
    told = json.dumps([await rows(house, answer.json["id"]), await job_of(house, answer), await house.get("/events")])
    assert SECRET not in told
    assert SECRET not in caplog.text


@pytest.mark.asyncio
async def test_it_takes_every_right_that_a_row_may_need(house: House) -> None:
    ids = house.ids
    known = house.keeper.known
    await house.hire("admin", Role.DEVICE_ADMIN, ids["Acme"])
    known["site"] = Principal(
        "site@example.net", parts_of(Holding(Role.SITE_ADMIN, ids["Acme"], ids["Acme site"]), "s"), "s"
    )
    known["key"] = OPERATOR.narrowed([Right.PEOPLE_WRITE, Right.DEVICE_WRITE, Right.JOB_WRITE, Right.JOB_READ], None)
    refused = await begun(house, sheet(line(1)), who="site")
    assert (refused.status, refused.json["right"]) == (403, "people.write")
    refused = await begun(house, sheet(line(1)), who="key")
    assert (refused.status, refused.json["right"]) == (403, "site.write")
    good = await begun(house, sheet(line(1)), who="admin")
    assert good.status == 202
    foreign = f"/import?account={ids['Other']}"
    assert (await house.ask("POST", foreign, raw=sheet(line(2)), headers=CSV, who="admin")).status == 404
    raw = b"account," + sheet(f"Other,{line(3)}", f"Acme,{line(4)}")
    named = await house.ask("POST", "/import?partly=true", raw=raw, headers=CSV, who="admin")
    await house.jobs()
    assert (await house.get(f"/jobs/{good.json['id']}", who="admin"))["state"] == "done"
    told = (await house.get(f"/jobs/{named.json['id']}/rows", who="admin"))["items"]
    assert [one["state"] for one in told] == ["refused", "done"]
    assert "there is no account 'Other'" in told[0]["result"]["why"]
    assert (await house.get("/devices?account=Other"))["items"][0]["mac"] == OTHER
    assert len((await house.get("/devices?account=Other"))["items"]) == 1


@pytest.mark.asyncio
async def test_whoever_has_it_applied_needs_the_rights_themselves(house: House) -> None:
    answer = await begun(house, sheet(line(1)), "&dry_run=true")
    await house.jobs()
    house.keeper.known["jobs"] = OPERATOR.narrowed([Right.JOB_READ, Right.JOB_WRITE], None)
    refused = await house.ask("POST", f"/jobs/{answer.json['id']}/apply", who="jobs")
    assert (refused.status, refused.json["right"]) == (403, "people.write")
    assert (await house.ask("POST", f"/jobs/{answer.json['id']}/apply")).status == 200


@pytest.mark.asyncio
async def test_several_files_come_as_a_form(house: House) -> None:
    form = "multipart/form-data; boundary=XX"
    parts = b"".join(
        b'--XX\r\nContent-Disposition: form-data; name="file"; filename="%d.csv"\r\n\r\n%s\r\n' % (number, raw)
        for number, raw in enumerate((sheet(line(1)), sheet(line(2, model="VVX 9"))))
    )
    raw = b'--XX\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n' + parts + b"--XX--\r\n"
    assert files_of(raw, form) == [sheet(line(1)), sheet(line(2, model="VVX 9"))]
    answer = await house.ask("POST", "/import?account=Acme&dry_run=true", raw=raw, headers={"Content-Type": form})
    await house.jobs()
    told = [
        (one["result"]["file"], one["result"]["line"], one["state"]) for one in await rows(house, answer.json["id"])
    ]
    assert told == [(1, 2, "fits"), (2, 2, "refused")]
    none = await house.ask("POST", "/import", raw=b"--XX--\r\n", headers={"Content-Type": form})
    assert (none.status, none.json["type"]) == (400, "/api/v1/problems/malformed")


@pytest.mark.asyncio
async def test_foreign_formats_are_known_by_what_they_say(house: House) -> None:
    devices = {"items": [{"mac": "00:04:f2:61:00:01", "model": "VVX411", "vendor": "Polycom"}]}
    answer = await house.ask("POST", "/import?account=Acme", raw=json.dumps(devices).encode(),
                             headers={"Content-Type": "application/json"})  # fmt: skip
    assert answer.json["options"]["format"] == "wazo"
    await house.jobs()
    assert (await rows(house, answer.json["id"]))[0]["result"]["outcome"] in ("add", "refused")


@pytest.mark.asyncio
async def test_what_cannot_be_read_makes_no_job(house: House) -> None:
    for raw, headers, status in (
        (b"", CSV, 422),
        (b"\xff\xfe\x00", CSV, 422),
        (b"who,what\n1,2\n", CSV, 422),
        (sheet(line(1)), {"Content-Type": "image/png"}, 415),
    ):
        refused = await house.ask("POST", "/import?account=Acme", raw=raw, headers=headers)
        assert refused.status == status, refused.body
    assert (await begun(house, sheet(line(1)), "&format=excel")).status == 422
    assert (await house.get("/jobs"))["items"] == []


@pytest.mark.asyncio
async def test_the_same_key_begins_one_job(house: House) -> None:
    first = await begun(house, sheet(line(1)), headers={"Idempotency-Key": "one"})
    second = await begun(house, sheet(line(1)), headers={"Idempotency-Key": "one"})
    assert (first.json, second.headers.get("Idempotent-Replayed")) == (second.json, "true")
    other = await begun(house, sheet(line(2)), headers={"Idempotency-Key": "one"})
    assert other.json["type"] == "/api/v1/problems/key_reused"
    assert len((await house.get("/jobs"))["items"]) == 1
    assert (await house.get("/jobs?kind=import"))["items"][0]["id"] == first.json["id"]
    assert (await house.get("/jobs?kind=lines"))["items"] == []


@pytest.mark.asyncio
async def test_phones_that_are_there_are_told(house: House) -> None:
    answer = await begun(house, sheet(line(1, mac=VVX, model="", vendor="")))
    await house.jobs()
    assert (await job_of(house, answer))["state"] == "done"
    assert (await house.get(f"/devices/{VVX}/status"))["resync"] is not None
