"""The list of devices and one device: found, sorted, saved as a table, done to many; proof, keys, digests, uploads."""

from __future__ import annotations

import csv
import io
import time
from typing import Any

import pytest
from console_house import KNOWN, OTHER, OWNER, SECRET, T46S, VVX, Browser, House
from test_console_text import CORPUS, assert_harmless

from provisioner.certificates import to_der
from provisioner.http.api.job_runner import JobRunner
from provisioner.http.console.device_export import COLUMNS, cell
from provisioner.model import DeviceState, Event, FetchRecord, ListenerKind, Mac, PeerCert, Proof, Scope
from provisioner.onlookers import Onlookers, Sight, Teller
from provisioner.pki import make_factory
from provisioner.roles import Role
from provisioner.store.chains import Chains
from provisioner.store.journal import write_events
from provisioner.store.records import Recorder
from provisioner.store.uploads import UploadShelf


def macs(shown: Any) -> list[str]:
    return list(shown.tree.xpath("//tr/@data-mac"))


async def write(house: House, statement: str, *values: Any) -> None:
    async with house.means.store.writing() as connection:
        await connection.exec_driver_sql(statement, values)


# --- the list -------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_sorted_and_filtered_by_anything(house: House, owner: Browser) -> None:
    for mac, version in ((VVX, "6.4.3.5814"), (OTHER, "5.8.0.1"), (T46S, "66.86.0.15")):
        await write(house, "UPDATE device SET firmware = ? WHERE mac = ?", version, str(mac))
    assert macs(await owner.get("/devices?sort=firmware")) == [str(OTHER), str(VVX), str(T46S)]
    assert macs(await owner.get("/devices?sort=model")) == [str(OTHER), str(VVX), str(T46S)]
    for words, found in {
        "Acme": [VVX, T46S], "Acme+HQ": [VVX], "yealink": [T46S], "vvx": [OTHER, VVX], "66.86": [T46S],
        "needs+firmware": [OTHER], "eve%40example.net": [OTHER], "unassigned": [VVX, T46S],
    }.items():  # fmt: skip
        shown = await owner.get(f"/devices?q={words}")
        assert sorted(macs(shown)) == sorted(map(str, found)), words
    assert not (await owner.get("/devices?state=unassigned")).tree.find_class("sorts")


@pytest.mark.asyncio
async def test_the_table_is_what_the_filter_shows_and_holds_no_formula(house: House, owner: Browser) -> None:
    await house.fleet.rename_account(house.ids["Acme"], name='=HYPERLINK("http://evil.example")')
    page = await owner.get("/devices?vendor=poly")
    (path,) = page.tree.xpath("//a[@download]/@href")
    assert path == "/devices.csv?vendor=poly"
    saved = await owner.get(path)
    assert saved.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert saved.headers["Content-Disposition"] == 'attachment; filename="devices.csv"'
    assert saved.headers["X-Content-Type-Options"] == "nosniff"
    head, *rows = csv.reader(io.StringIO(saved.text))
    assert tuple(head) == COLUMNS
    assert {row[0] for row in rows} == {VVX.colons, OTHER.colons}
    told = dict(zip(head, next(row for row in rows if row[0] == VVX.colons), strict=True))
    assert told["account"] == '\'=HYPERLINK("http://evil.example")'
    assert (told["site"], told["state"]) == ("Acme HQ", "unassigned")
    assert (await owner.get("/devices.csv?account=nobody")).status == 404


@pytest.mark.asyncio
async def test_the_table_goes_on_over_pages(house: House, owner: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisioner.http.console.device_export._PAGE", 1)
    rows = list(csv.reader(io.StringIO((await owner.get("/devices.csv")).text)))
    assert [row[0] for row in rows[1:]] == sorted(mac.colons for mac in (VVX, OTHER, T46S))


def test_cells_are_text() -> None:
    for text in ("=1+1", "+49", "-1", "@SUM(A1)", "\tx", "\r=x", "\n=x"):
        assert cell(text) == f"'{text}"
    for text in ("", "1001", "a=b", "00:04:f2:00:00:01"):
        assert cell(text) == text


# --- many at once ---------------------------------------------------------------------------------


async def done(house: House, shown: Any) -> Any:
    """The job that a page has begun, when it is over."""
    job = shown.url.rpartition("/")[2]
    assert "/jobs/" in shown.url, shown.words
    runner = JobRunner(house.means)
    while await runner.turn():
        pass
    from provisioner.fleet.jobs import Jobs

    return await Jobs(house.means.store, KNOWN).job(job)


@pytest.mark.asyncio
async def test_many_are_put_at_a_site_after_the_number_was_shown(house: House, owner: Browser) -> None:
    form = {"act": "site", "mac": [str(VVX), str(T46S)]}
    asked = await owner.post("/devices/bulk", form)
    assert "2 devices" in asked.tree.xpath("//h1")[0].text_content()
    begun = await owner.post(
        "/devices/bulk/begin", {**asked.fields(), "mac": form["mac"], "site": house.ids["Acme HQ"]}
    )
    job = await done(house, begun)
    assert (job.kind, job.state.value, job.done) == ("moves", "done", 2)
    assert job.account == house.ids["Acme"]
    assert (await house.fleet.device(T46S)).site == house.ids["Acme HQ"]


@pytest.mark.asyncio
async def test_all_that_the_filter_finds_are_meant_as_they_were_counted(house: House, owner: Browser) -> None:
    asked = await owner.post("/devices/bulk", {"act": "revoke", "all": "yes", "vendor": "poly"})
    assert "2 devices" in asked.tree.xpath("//h1")[0].text_content()
    assert {key: asked.fields()[key] for key in ("act", "all", "vendor")} == {
        "act": "revoke", "all": "yes", "vendor": "poly",
    }  # fmt: skip
    await house.fleet.add_device(Mac("0004f20000aa"), vendor="poly", model="VVX 411", account=house.ids["Acme"])
    late = await owner.post("/devices/bulk/begin", asked.fields())
    assert (late.status, "3 of them now" in late.said) == (422, True)
    again = await owner.post("/devices/bulk/begin", late.fields())
    assert (await done(house, again)).done == 3
    assert (await house.fleet.device(OTHER)).state is DeviceState.REVOKED
    assert (await house.fleet.device(T46S)).state is DeviceState.UNASSIGNED


@pytest.mark.asyncio
@pytest.mark.parametrize(("act", "kind"), [("resync", "resyncs"), ("wipe", "wipes"), ("remove", "removals")])
async def test_each_act_becomes_its_job(house: House, owner: Browser, act: str, kind: str) -> None:
    asked = await owner.post("/devices/bulk", {"act": act, "mac": [str(OTHER)]})
    job = await done(house, await owner.post("/devices/bulk/begin", asked.fields()))
    assert (job.kind, job.state.value, job.done) == (kind, "done", 1)


@pytest.mark.asyncio
async def test_codes_for_the_extensions_of_many_phones(house: House, owner: Browser) -> None:
    asked = await owner.post("/devices/bulk", {"act": "codes", "mac": [str(OTHER), str(VVX)]})
    job = await done(house, await owner.post("/devices/bulk/begin", {**asked.fields(), "mac": [str(OTHER), str(VVX)]}))
    assert (job.kind, job.done) == ("codes", 1)
    none = await owner.post("/devices/bulk", {"act": "codes", "mac": [str(VVX)]})
    refused = await owner.post("/devices/bulk/begin", none.fields())
    assert "none of them has an extension" in refused.said


@pytest.mark.asyncio
async def test_what_cannot_be_done_to_many(house: House, owner: Browser) -> None:
    for form, status, word in (
        ({"act": "site"}, 422, "tick the devices"),
        ({"act": "nonsense", "mac": str(VVX)}, 422, "must be one of"),
        ({"act": "site", "mac": "0004f2ffffff"}, 404, "no device"),
        ({"act": "site", "mac": "zz"}, 422, "is not a MAC"),
    ):
        shown = await owner.post("/devices/bulk", form)
        assert (shown.status, word in shown.words) == (status, True), shown.words
    reader = await house.browser(await house.add("r@example.net", Role.AUDITOR))
    assert not (await reader.get("/devices")).tree.xpath('//form[@id="many"]')
    for path in ("/devices/bulk", "/devices/bulk/begin"):
        assert (await reader.post(path, {"act": "revoke", "mac": str(VVX), "meant": "1"})).status == 403
    mine = await house.browser(await house.add("d@example.net", Role.DEVICE_ADMIN, account=house.ids["Other"]))
    assert (await mine.post("/devices/bulk", {"act": "revoke", "mac": [str(VVX)]})).status == 404
    everything = await mine.post("/devices/bulk", {"act": "revoke", "all": "yes"})
    assert "1 device" in everything.tree.xpath("//h1")[0].text_content()


# --- one device -----------------------------------------------------------------------------------


def record(file: str, at: float, digest: str = "ab" * 32, body: bytes = b"") -> FetchRecord:
    how = (Proof.CERTIFICATE, ListenerKind.DEVICE, "TLSv1.3", "6.4.0.1")
    return FetchRecord(OTHER, file, at, 200, 10, digest, *how, body=body)


@pytest.mark.asyncio
async def test_what_a_worker_tells_is_there_before_it_is_written(house: House, owner: Browser) -> None:
    sight = Sight()
    onlookers, teller = Onlookers(sight), Teller(sight)
    object.__setattr__(house.means, "onlookers", onlookers)
    with onlookers.looking(OTHER):
        teller.fetched(record("000000000000.cfg", time.time()))
        teller.happened(Event("not_yours", time.time(), OTHER, "warning", "device", {"reason": "asked for another"}))
        onlookers._hear()
        live = await owner.get(f"/devices/{OTHER}/live")
        assert "000000000000.cfg" in live.words
        assert "asked for another" in live.words
        recorder = Recorder(house.means.store, house.means.settings, lambda *_: None)
        (told,) = onlookers.fetches(OTHER)
        recorder.fetch(told)
        recorder.event(onlookers.events(OTHER)[0])
        await recorder.flush()
        again = await owner.get(f"/devices/{OTHER}/live")
        assert again.words.count("000000000000.cfg") == live.words.count("000000000000.cfg") == 1
        assert again.words.count("asked for another") == 1
    sight.close()
    (feed,) = live.tree.xpath("//@data-feed")
    assert feed == f"/api/v1/events/stream?mac={OTHER}"


@pytest.mark.asyncio
async def test_digests_say_what_is_wanted_and_what_was_served(house: House, owner: Browser) -> None:
    await house.fleet.set_layer(Scope.DEFAULTS, "", {"sip.server": "pbx.example.net", "password.admin": SECRET})
    recorder = Recorder(house.means.store, house.means.settings, lambda *_: None)
    page = await owner.get(f"/devices/{OTHER}/files")
    name = page.tree.xpath("//td/a[@class='mono']")[-1].text_content()
    wanted = page.tree.xpath("//td/code/@title")
    assert all(one.startswith("SHA-256 ") for one in wanted)
    recorder.fetch(record(name, time.time(), "cd" * 32, f"its.own.setting = old\npassword = {SECRET}".encode()))
    await recorder.flush()
    shown = await owner.get(f"/devices/{OTHER}/files?name={name}")
    assert "SHA-256 " + "cd" * 32 in shown.tree.xpath("//td/code/@title")
    assert "different" in shown.words
    assert "its.own.setting" in shown.words
    assert SECRET not in shown.text


@pytest.mark.asyncio
async def test_keys_are_drawn_as_they_are_set(house: House, owner: Browser) -> None:
    keys = [{"position": 2, "kind": "blf", "value": "1002", "label": "Bob"}, {"position": 3, "kind": "line", "line": 1}]
    await house.fleet.set_layer(Scope.DEVICE, OTHER, {"keys": keys})
    shown = await owner.get(f"/devices/{OTHER}")
    drawn = [" ".join(one.text_content().split()) for one in shown.tree.xpath('//ol[@class="keys"]/li')]
    assert len(drawn) == 12
    assert drawn[0].startswith("1 2001")
    assert drawn[1] == "2 blf 1002 Bob"
    assert drawn[2].startswith("3 2001") and "line 1" in drawn[2]
    assert drawn[3] == "4 free"
    assert len(shown.tree.xpath('//form[contains(@action, "/unbind")]')) == 1, "a line is unbound at one place"


@pytest.mark.asyncio
async def test_the_certificate_stands_with_its_chain(house: House, owner: Browser, tmp_path_factory: Any) -> None:
    page = f"/devices/{OTHER}/certificate"
    assert "No certificate of it has been kept yet" in (await owner.get(page)).words
    factory = make_factory("poly", tmp_path_factory.mktemp("factory"))
    leaf, _, above = factory.leaf(OTHER)
    chain = (*to_der(leaf), *to_der(above), *to_der(factory.root_pem.read_bytes()))
    chains = Chains(house.means.store, house.means.settings, lambda *_: None)
    chains.note(OTHER, PeerCert(chain[0], chain))
    await chains.flush()
    shown = await owner.get(page)
    roles = [one.text_content() for one in shown.tree.xpath('//ol[@class="chain"]//p/span[1]')]
    assert roles == ["root", "issuing CA", "issuing CA", "device"]
    assert str(OTHER).upper() in shown.words.upper()
    assert "valid" in shown.words


@pytest.mark.asyncio
async def test_what_a_phone_has_sent_is_text_or_a_file_and_never_a_page(house: House, owner: Browser) -> None:
    shelf = UploadShelf(house.means.store)
    for number, text in enumerate(CORPUS):
        await shelf.put(OTHER, f"{number}-{text}"[:60], "log", f"<html><body>{text}".encode() + b"\xff\x00\x1b[31m")
    history = await owner.get(f"/devices/{OTHER}/history")
    paths = [one for one in history.tree.xpath("//td/a/@href") if "/uploads/" in one]
    assert len(paths) == len(CORPUS)
    for path in paths:
        shown = await owner.get(path)
        assert shown.status == 200
        assert_harmless(shown, path)
        assert "<html><body>" in shown.tree.xpath("//pre")[0].text_content()
        async with owner.session.get(owner.url + path + "/file") as saved:
            assert saved.headers["Content-Type"] == "application/octet-stream"
            assert saved.headers["X-Content-Type-Options"] == "nosniff"
            assert saved.headers["Content-Disposition"].startswith("attachment; filename=")
            assert "\n" not in saved.headers["Content-Disposition"]
            assert saved.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
            assert (await saved.read()).startswith(b"<html><body>")
    assert (await owner.get(f"/devices/{OTHER}/uploads/{'0' * 64}")).status == 404
    mine = await house.browser(await house.add("u@example.net", Role.OWNER, account=house.ids["Acme"]))
    assert (await mine.get(paths[0])).status == 404


@pytest.mark.asyncio
async def test_the_overview_tells_what_needs_somebody(house: House, owner: Browser) -> None:
    assert "Nothing waits for a person" in (await owner.get("/")).words
    await write(house, "UPDATE device SET wipe_since = 5, served = 1 WHERE mac = ?", str(VVX))
    async with house.means.store.writing() as connection:
        await write_events(connection, [Event("not_identified", time.time(), details={"reason": "expired"})])
    shown = await owner.get("/")
    assert "1 phone has not fetched yet what makes it forget" in shown.words
    assert "1 certificate was refused within a day" in shown.words
    for path in shown.tree.xpath('//section[@aria-labelledby="o-needs"]//a/@href'):
        assert (await owner.get(path)).status == 200, path
    assert macs(await owner.get("/devices?q=wiping")) == [str(VVX)]
    assert OWNER
