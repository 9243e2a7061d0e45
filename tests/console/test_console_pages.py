"""The table of pages: each one says who may see it, answers everybody within their reach, and nobody beyond."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
from console_house import OTHER, OWNER, SECRET, VVX, Browser, House
from console_things import everything

from provisioner.http.console import application
from provisioner.http.console.edge import HEADERS
from provisioner.http.console.look import ASSETS
from provisioner.http.console.menu import entries
from provisioner.http.console.pages import Answer, Call, Door, Page, Pages, table
from provisioner.roles import Right, Role

HTMX = "71ea67185bfa8c98c39d31717c6fce5d852370fcdfd129db4543774d3145c0de"


async def handler(call: Call) -> Answer:
    raise NotImplementedError


def test_a_page_without_a_right_cannot_be_registered() -> None:
    pages = Pages()
    for wrong in (None, "device.read", True):
        with pytest.raises(TypeError, match="declares no right"):
            pages.get("/x", wrong)  # type: ignore[arg-type]  # that is the point
    assert list(pages) == []
    pages.get("/x", Right.DEVICE_READ)(handler)
    with pytest.raises(TypeError, match="twice"):
        table([pages, pages])


def test_only_the_way_in_is_for_everybody() -> None:
    doors = {page.path for page in application.pages() if page.allowed is Door.EVERYBODY}
    assert doors == {"/login", "/login/link", "/login/forgot"}
    own = {page.path for page in application.pages() if page.allowed is Door.SIGNED_IN}
    assert all(path in ("/logout", "/confirm") or path.startswith("/me") for path in own)


def test_the_menu_leads_to_pages_by_their_own_rights() -> None:
    pages = {page.path: page.allowed for page in application.pages() if page.method == "GET"}
    for entry in entries():
        assert pages[entry.path] is entry.right


def test_what_is_loaded_is_what_was_pinned() -> None:
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in ASSETS.glob("*.js")}
    assert found.pop("live.js"), "our own"
    assert found == {"htmx-2.0.10.min.js": HTMX}
    for path in (*ASSETS.glob("*.css"), *Path("templates/console").glob("*")):
        text = path.read_text()
        assert not re.search(r"(?:href|src|url)\s*[=(]\s*[\"']?(?:https?:)?//", text), path
        assert not re.search(r"<(?:script(?! src)|style)|\s(?:style|on[a-z]+)=", text), path


async def addresses(house: House) -> dict[str, str]:
    names = await everything(house)
    queries = {"/layers/{scope}": f"?key={house.ids['Acme']}", "/login/link": "?token=x"}
    shown = [page.path for page in application.pages() if page.method == "GET"]
    return {path: path.format(**names) + queries.get(path.removesuffix("/history"), "") for path in shown}


@pytest.mark.asyncio
async def test_every_page_answers_the_owner(house: House, owner: Browser) -> None:
    for path, address in (await addresses(house)).items():
        found = await owner.get(address)
        assert found.status == (404 if path == "/login/link" else 200), (path, found.words[:300])
        assert found.headers["Cache-Control"] == "no-store"
        if not found.headers["Content-Type"].startswith("text/html"):  # to be saved
            assert found.headers["Content-Disposition"].startswith("attachment"), path
            continue
        assert found.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]
        assert SECRET not in found.text, path
        titles = found.tree.xpath("//h1")
        if not path.endswith("/live") and not path.startswith("/live/"):
            assert len(titles) == 1, path
    assert "unsafe" not in HEADERS["Content-Security-Policy"]


@pytest.mark.asyncio
@pytest.mark.parametrize("role", list(Role))
async def test_every_page_as_every_role(house: House, role: Role) -> None:
    where: dict[str, Any] = {"account": house.ids["Other"]}
    where |= {"site": house.ids["Other HQ"]} if role is Role.SITE_ADMIN else {}
    where |= {"user": house.ids["Eve"]} if role is Role.EMPLOYEE else {}
    browser = await house.browser(await house.add(f"a-{role.value}@example.net", role, **where))
    for path, address in (await addresses(house)).items():
        found = await browser.get(address)
        assert found.status in {200, 403, 404}, (path, found.status, found.words[:300])
        if found.status == 200 and path not in {"/models", "/models/{vendor}/{model}"}:
            assert not {"Ada", "Acme", VVX.colons, "1001"} & set(re.findall(r"[\w:]+", found.words)), path
    menu = {one.get("href") for one in (await browser.get("/me")).tree.xpath('//nav[@class="side"]//a')}
    for entry in entries():
        assert (await browser.get(entry.path)).status == (200 if entry.path in menu else 403), entry.path


@pytest.mark.asyncio
async def test_an_act_out_of_reach_is_as_if_nothing_were_there(house: House) -> None:
    browser = await house.browser(await house.add("b@example.net", Role.DEVICE_ADMIN, account=house.ids["Other"]))
    names = await everything(house)
    form = {"key": house.ids["Acme"], "extension": house.ids["2001"], "line": "1", "site": house.ids["Acme HQ"]}
    for path in posts():
        found = await browser.post(path.format(**names), form)
        assert found.status in {403, 404}, (path, found.status, found.words[:200])
    device = await house.fleet.device(VVX)
    assert (device.state.value, device.account) == ("unassigned", house.ids["Acme"])


def posts() -> list[str]:
    """Acts upon something that the path names."""
    found = [page for page in application.pages() if page.method == "POST" and "{" in page.path]
    return [page.path for page in found if isinstance(page.allowed, Right)]


@pytest.mark.asyncio
async def test_a_fault_of_one_page_tells_nobody_what_it_was(
    house: House, owner: Browser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(self: object, mac: object) -> None:
        raise RuntimeError("the secret inner reason")

    monkeypatch.setattr(type(house.means.renders), "of", broken)
    found = await owner.get(f"/devices/{OTHER}/configuration")
    assert found.status == 500
    assert "inner reason" not in found.text
    assert "inner reason" in caplog.text
    assert (await owner.get("/devices")).status == 200


def test_pages_are_named_once() -> None:
    rows: tuple[Page, ...] = application.pages()
    assert len({(row.method, row.path) for row in rows}) == len(rows)
    assert OWNER
