"""An import with mistakes through its page, in a real browser: each row's outcome first, then the rows that fit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from console_browser import browsing, too_wide, violations
from console_house import VVX, Browser, House
from hypothesis import given
from hypothesis import strategies as st
from playwright.async_api import expect

from provisioner.errors import Malformed, ProvisionerError
from provisioner.http.api.job_runner import JobRunner
from provisioner.http.console.forms import Form, Upload, parsed_parts
from provisioner.job_states import JobState
from provisioner.model import Mac
from provisioner.roles import Role

MISTAKES = Path("examples/import/mistakes.csv")
LIN = Mac("0004f2aabb07")


@asynccontextmanager
async def working(house: House) -> AsyncIterator[None]:
    """Jobs go on by themselves, as in the admin process."""
    runner = JobRunner(house.means)

    async def go_on() -> None:
        while True:
            await runner.turn()
            await asyncio.sleep(0.02)

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.mark.slow
@pytest.mark.asyncio
async def test_an_import_with_mistakes_takes_over_the_rows_that_fit(house: House) -> None:
    async with working(house), browsing(house.url, await house.cookie(), viewport={"width": 360, "height": 740}) as one:
        page = await one.new_page()
        await page.goto(f"{house.url}/import")
        await page.get_by_role("button", name="Look at what would become of each row").click()
        await expect(page.get_by_role("alert")).to_contain_text("choose a file, or paste its text")
        assert await violations(page) == []
        await page.get_by_label("File", exact=True).set_input_files(MISTAKES)
        await page.get_by_label("Account of rows that name none").select_option(label="Other")
        await page.get_by_role("button", name="Look at what would become of each row").click()
        await expect(page.get_by_role("status")).to_contain_text("Nothing is taken over yet")
        rows = page.get_by_role("region", name="Rows")
        await expect(page.get_by_role("button", name="Import the 2 rows that fit")).to_be_visible()
        await expect(rows).to_contain_text("is not a MAC address")
        await expect(rows).to_contain_text("VVX 150 has lines 1 to 2")
        await expect(rows.get_by_role("row")).to_have_count(7)
        assert await violations(page) == [] and await too_wide(page) == []
        assert LIN not in {one.mac for one in await house.fleet.devices()}
        await page.get_by_role("link", name="all", exact=True).click()
        await expect(rows.get_by_role("row")).to_have_count(9)
        await expect(rows).to_contain_text("begins like a device of Yealink")
        await page.get_by_role("button", name="Import the 2 rows that fit").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Import from files")
        await expect(page.locator(".head .tag")).to_have_text("done")
        await page.get_by_role("link", name="done", exact=True).click()
        await expect(rows).to_contain_text("user 'Lin Meier', extension 1006")
        assert await violations(page) == []
    (bound,) = await house.fleet.bindings(LIN, active=True)
    assert bound.number == "1006"


async def over(house: House, owner: Browser, form: dict[str, str]) -> str:
    """The page of a job that has looked at every row."""
    shown = await owner.send_parts("/import", form)
    assert "/jobs/" in shown.url, shown.words
    runner = JobRunner(house.means)
    while await runner.turn():
        pass
    return shown.url.removeprefix(house.url)


def sheet(*rows: str) -> str:
    return "\n".join(["account,user,extension,mac,model,line", *rows])


@pytest.mark.asyncio
async def test_what_is_pasted_is_looked_at_done_or_thrown_away(house: House, owner: Browser) -> None:
    text = sheet("Acme,Cy,1003,0004f2000001,VVX 411,2", "Acme,Cy,1003,nonsense,VVX 411,1")
    page = await over(house, owner, {"text": text, "format": "own", "account": "", "site": ""})
    job = page.removeprefix("/jobs/")
    assert "refused" in (await owner.get(page)).words
    thrown = await owner.post(f"{page}/stop")
    assert "nothing was changed" in thrown.said
    assert (await owner.post(f"{page}/apply")).status == 409
    page = await over(house, owner, {"text": sheet("Acme,Cy,1003,0004f2000001,VVX 411,2"), "format": "auto"})
    shown = await owner.get(page)
    assert "Import the 1 row that fits" in shown.text
    assert "has begun" in (await owner.post(f"{page}/apply")).said
    running = await owner.get(page)
    assert running.tree.xpath('//*[@id="live"]/@hx-get') and "Stop" in running.words
    await JobRunner(house.means).turn()
    done = await owner.get(f"{page}?rows=done")
    assert "user 'Cy', extension 1003, 1003 on line 2" in done.words
    assert not done.tree.xpath('//*[@id="live"]/@hx-get')
    assert [(one.line, one.number) for one in await house.fleet.bindings(VVX, active=True)] == [(2, "1003")]
    listed = await owner.get("/jobs?state=stopped")
    assert [one.get("href") for one in listed.tree.xpath("//tbody//a")] == [f"/jobs/{job}"]
    assert (await owner.get("/jobs?state=asleep&cursor=rubbish")).status == 200


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"text": ""}, "choose a file"),
        ({"text": "one,two\n1,2"}, "line 1"),
        ({"text": sheet("Acme,Cy,1003,,,"), "account": "Nobody"}, "no account"),
        ({"text": sheet("Acme,Cy,1003,,,"), "file": "x"}, "choose one"),
    ],
)
async def test_what_cannot_be_read_as_a_whole_says_why(owner: Browser, form: dict[str, str], why: str) -> None:
    shown = await owner.send_parts("/import", form)
    assert 400 <= shown.status < 500
    assert why in shown.said
    assert shown.tree.xpath('//textarea[@name="text"]')[0].text_content().strip() == form["text"].strip()


@pytest.mark.asyncio
async def test_who_may_not_import_sees_no_way_to(house: House) -> None:
    for role, where in ((Role.AUDITOR, {}), (Role.SITE_ADMIN, {"site": house.ids["Acme HQ"]})):
        browser = await house.browser(await house.add(f"{role}@example.net", role, account=house.ids["Acme"], **where))
        assert "/import" not in (await browser.get("/me")).tree.xpath("//nav//a/@href")
        assert (await browser.get("/import")).status == 403
        assert (await browser.send_parts("/import", {"text": "x"})).status == 403
    other = await house.browser(await house.add("o@example.net", Role.DEVICE_ADMIN, account=house.ids["Other"]))
    page = await over(house, other, {"text": sheet("Acme,Cy,1003,,,")})
    assert "there is no account" in (await other.get(page)).words
    mine = await house.browser()
    job = await over(house, mine, {"text": sheet("Acme,Cy,1003,,,"), "account": house.ids["Acme"]})
    assert (await other.get(job)).status == 404
    assert (await other.post(f"{job}/stop")).status == 404
    assert (await mine.get(job)).status == 200
    assert JobState.CHECKED.value in (await mine.get(job)).words


@pytest.mark.asyncio
async def test_files_are_taken_where_a_page_takes_them_and_nowhere_else(owner: Browser) -> None:
    assert (await owner.send_parts("/accounts", {"name": "x"})).status == 415
    forged = await owner.send_parts("/import", {"text": sheet("Acme,Cy,1003,,,"), "csrf": "0" * 64})
    assert "/jobs" not in forged.url
    assert "There is none" in (await owner.get("/jobs")).words


# --- forms with files -----------------------------------------------------------------------------

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters='\0\r\n"%'), min_size=1, max_size=9)


@given(st.binary(max_size=300), st.sampled_from(["x", "--", "boundary"]))
def test_any_body_is_a_form_with_files_or_refused(body: bytes, boundary: str) -> None:
    for whole in (body, f"--{boundary}\r\n".encode() + body, body.replace(b"A", f"\r\n--{boundary}".encode())):
        try:
            parsed_parts(whole, boundary)
        except ProvisionerError as error:
            assert isinstance(error, Malformed)


@given(st.lists(st.tuples(WORDS, WORDS | st.none(), st.binary(max_size=40)), max_size=6))
def test_files_come_as_they_were_sent(parts: list[tuple[str, str | None, bytes]]) -> None:
    parts = [(name, file, content if file else b"t") for name, file, content in parts]
    assert not any(b"--mark" in content for _, _, content in parts)
    body = b"".join(
        f'--mark\r\nContent-Disposition: form-data; name="{name}"'.encode()
        + (f'; filename="{file}"'.encode() if file else b"")
        + b"\r\n\r\n" + content + b"\r\n"
        for name, file, content in parts
    )  # fmt: skip
    form = parsed_parts(body + b"--mark--\r\n", "mark")
    for wanted in {name for name, _, _ in parts}:
        files = tuple(Upload(file, content) for name, file, content in parts if name == wanted and file)
        assert form.files.get(wanted, ()) == files
        assert len(form.many(wanted)) == sum(name == wanted and not file for name, file, _ in parts)


def test_a_file_that_was_not_chosen_is_none() -> None:
    body = b'--m\r\nContent-Disposition: form-data; name="file"; filename=""\r\nContent-Type: x/y\r\n\r\n\r\n--m--\r\n'
    assert parsed_parts(body, "m") == Form()
