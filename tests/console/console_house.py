"""The console on a real socket over a real store, with real sessions, for a client or a browser."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from lxml import html

from provisioner import settings
from provisioner.administrators import Administrators
from provisioner.capacity import Cores, given
from provisioner.fleet.fleet import Fleet
from provisioner.http.admin import application, server_of
from provisioner.http.api.desks import Means
from provisioner.http.api.gatekeeper import Keeper
from provisioner.http.api.renders import LiveRenders
from provisioner.http.api.stream import Feed
from provisioner.http.console.application import add_console
from provisioner.http.console.pages import Surroundings
from provisioner.http.fleet_state import FleetState
from provisioner.http.server import QuietServer
from provisioner.http.storm_events import StormEvents
from provisioner.http.storm_watch import StormWatch
from provisioner.model import ListenerKind, Mac
from provisioner.roles import Role
from provisioner.roster import Roster
from provisioner.store.census import Group, take_census
from provisioner.store.database import Store
from provisioner.store.storms import StormJournal
from provisioner.store.views import Views
from provisioner.vendors import drivers

KNOWN = {one.manifest.name: one for one in drivers()}
VVX, T46S, OTHER = Mac("0004f2000001"), Mac("001565000002"), Mac("0004f2000009")
SECRET = "canary-Secret-Zq7!"
OWNER, PASSWORD = "owner@example.net", "seven green bottles"
CSRF = re.compile(r'name="csrf" value="([0-9a-f]+)"')


@dataclass
class Shown:
    """An answer as a reader sees it."""

    status: int
    headers: Mapping[str, str]
    text: str
    url: str

    @property
    def tree(self) -> html.HtmlElement:
        return html.document_fromstring(self.text)

    @property
    def said(self) -> str:
        """What the page tells beside itself: that something is done, or why not."""
        return " ".join(one.text_content().strip() for one in self.tree.find_class("say"))

    @property
    def oops(self) -> str:
        return " ".join(one.text_content().strip() for one in self.tree.find_class("oops"))

    @property
    def words(self) -> str:
        return " ".join(self.tree.text_content().split())

    def fields(self) -> dict[str, str]:
        """The hidden fields of the page's largest form."""
        forms = sorted(self.tree.xpath("//main//form"), key=lambda one: len(one.xpath(".//input")))
        return {one.get("name"): one.get("value", "") for one in forms[-1].xpath('.//input[@type="hidden"]')}


@dataclass
class Browser:
    """A client with a cookie jar that follows what it is told, without JavaScript."""

    url: str
    session: aiohttp.ClientSession

    async def get(self, path: str, **headers: str) -> Shown:
        return await self._sent("GET", path, None, headers)

    async def post(self, path: str, form: Mapping[str, Any] | None = None, **headers: str) -> Shown:
        """With the CSRF token of the session, unless the form brings one."""
        form = dict(form or {})
        if "csrf" not in form:
            form["csrf"] = await self.csrf()
        pairs = [(name, one) for name, value in form.items() for one in (value if isinstance(value, list) else [value])]
        return await self._sent("POST", path, pairs, headers)

    async def send_parts(self, path: str, form: Mapping[str, str]) -> Shown:
        """As a form that takes files is sent; ``file`` is one."""
        given = {"csrf": await self.csrf(), **form}
        data = aiohttp.FormData(default_to_multipart=True)
        for name, value in given.items():
            data.add_field(name, value, **({"filename": "rows.csv"} if name == "file" else {}))
        async with self.session.post(self.url + path, data=data) as response:
            return Shown(response.status, response.headers, await response.text(), str(response.url))

    async def csrf(self) -> str:
        found = CSRF.search((await self.get("/me")).text)
        return found[1] if found else ""

    async def _sent(self, method: str, path: str, form: Any, headers: Mapping[str, str]) -> Shown:
        data = None if form is None else aiohttp.FormData(form)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(method, self.url + path, data=data, headers=sent) as response:
            return Shown(response.status, response.headers, await response.text(), str(response.url))


@dataclass
class House:
    """A console, and who may sign in to it."""

    url: str
    means: Means
    people: Administrators
    stack: AsyncExitStack
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def fleet(self) -> Fleet:
        return Fleet(self.means.store, KNOWN, actor="test")

    @property
    def roster(self) -> Roster:
        return Roster(self.means.store, KNOWN, self.means.settings)

    async def stranger(self) -> Browser:
        jar = aiohttp.CookieJar(unsafe=True)  # a cookie of an address, not of a name
        return Browser(self.url, await self.stack.enter_async_context(aiohttp.ClientSession(cookie_jar=jar)))

    async def add(self, email: str, role: Role = Role.OWNER, **where: str) -> str:
        """Somebody with a role and the password of all; their mail address."""
        await self.roster.add_administrator(email, role=role, **where)
        invited = await self.roster.invite(email)
        await self.people.set_password(invited.link.partition("token=")[2], PASSWORD)
        return email

    async def browser(self, email: str = OWNER) -> Browser:
        """Signed in."""
        signed = await self.people.login(email, PASSWORD)
        made = await self.stranger()
        made.session.cookie_jar.update_cookies({"provisioner": signed.token}, made.session._build_url(self.url))
        return made

    async def cookie(self, email: str = OWNER) -> str:
        return (await self.people.login(email, PASSWORD)).token


@asynccontextmanager
async def serving(data: Path, **changed: Any) -> AsyncIterator[House]:
    quick = {"login_hash_memory": 8, "login_hash_passes": 1, "login_hash_lanes": 1, "api_rate": 10_000.0}
    configured = dataclasses.replace(settings.load(data), **quick, **changed)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(Store.of(configured))
        views = Views(store)
        await views.open()
        stack.push_async_callback(views.close)
        people = Administrators(store, configured)
        around = _surroundings(store, views, people, configured)
        await around.watch.count_fleet()
        server, runner = await server_of(application(_Beyond(), [partial(add_console, around=around)]), _uncounted)
        stack.push_async_callback(runner.cleanup)
        url = await _listening(stack, server)
        yield House(url, around.means, people, stack)


def _surroundings(store: Store, views: Views, people: Administrators, configured: settings.Settings) -> Surroundings:
    urls = {ListenerKind.DEVICE: "https://prov.example.net:8443/", ListenerKind.LEGACY: "https://old.example:8444/"}
    renders = LiveRenders(store, views, KNOWN, configured, lambda: urls[ListenerKind.DEVICE], "", time.time)
    keeper = Keeper(people, secure=False)
    means = Means(
        store, KNOWN, configured, renders, lambda: urls, lambda: given(100.0), keeper, Feed(20, 5, keeper.principal)
    )

    async def census(since: float) -> list[Group]:
        async with store.reading() as connection:
            return list(await take_census(connection, since))

    fleet = FleetState(census)
    watch = StormWatch(dict, fleet, Cores.of(configured), StormEvents(StormJournal(store.engine, "here")))
    return Surroundings(means, people, fleet, watch, False)


class _Beyond:
    """What no page of the console answers."""

    async def handle(self, _request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=404)


def _uncounted(metric: str, label: str) -> None:
    del metric, label


async def _listening(stack: AsyncExitStack, server: QuietServer) -> str:
    made = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    stack.push_async_callback(server.shutdown, 0)
    stack.callback(made.close)
    return f"http://127.0.0.1:{made.sockets[0].getsockname()[1]}"


async def furnish(house: House) -> None:
    """Two accounts, each with a site, people, extensions and a phone or two; an owner of everything."""
    fleet, ids = house.fleet, house.ids
    for name in ("Acme", "Other"):
        ids[name] = (await fleet.add_account(name)).id
        site = await fleet.add_site(f"{name} HQ", account=ids[name], time_zone="Europe/Berlin")
        ids[f"{name} HQ"] = site.id
    for name, number, user in (("Acme", "1001", "Ada"), ("Acme", "1002", "Bob"), ("Other", "2001", "Eve")):
        who = await fleet.add_user(user, account=ids[name], email=f"{user.lower()}@example.net")
        made = await fleet.add_extension(number, account=ids[name], user=who.id, secret=SECRET + number)
        ids |= {user: who.id, number: made.id}
    await fleet.set_range("1000-1099", account=ids["Acme"])
    place = {"account": ids["Acme"], "site": ids["Acme HQ"]}
    await fleet.add_device(VVX, vendor="poly", model="VVX 411", **place)
    await fleet.add_device(T46S, vendor="yealink", model="T46S", account=ids["Acme"])
    await fleet.add_device(OTHER, vendor="poly", model="VVX 411", account=ids["Other"])
    await fleet.bind(OTHER, 1, extension=ids["2001"])
    await house.add(OWNER)
