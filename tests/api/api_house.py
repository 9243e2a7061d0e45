"""The API on a real socket over a real store, with callers whose rights the test says."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from provisioner import settings
from provisioner.capacity import given
from provisioner.errors import NotSignedIn
from provisioner.fleet.fleet import Fleet
from provisioner.http.admin import application, server_of
from provisioner.http.api.application import add_api
from provisioner.http.api.desks import Means
from provisioner.http.api.job_runner import JobRunner
from provisioner.http.api.renders import LiveRenders
from provisioner.http.api.stream import Feed
from provisioner.http.server import QuietServer
from provisioner.model import ListenerKind, Mac
from provisioner.principals import Principals
from provisioner.rights import OPERATOR, Principal, Role
from provisioner.roster import Roster
from provisioner.store.database import Store
from provisioner.store.views import Views
from provisioner.vendors import drivers

KNOWN = {one.manifest.name: one for one in drivers()}
VVX, T46S, OTHER = Mac("0004f2000001"), Mac("001565000002"), Mac("0004f2000009")
SECRET = "canary-Secret-Zq7!"
ANY = {"If-Match": "*"}


class Doorkeeper:
    """Knows callers by the word they send: a double for whoever knows people, for tests alone."""

    def __init__(self) -> None:
        self.known: dict[str, Principal] = {"operator": OPERATOR}

    async def principal(self, request: web.Request) -> Principal:
        word = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if word not in self.known:
            raise NotSignedIn("nobody is known by that word")
        return self.known[word]


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class House:
    """One API and its callers."""

    url: str
    means: Means
    session: aiohttp.ClientSession
    keeper: Doorkeeper
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def fleet(self) -> Fleet:
        return Fleet(self.means.store, KNOWN, actor="test")

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        who: str = "operator",
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Answer:
        sent = {"Authorization": f"Bearer {who}", **(headers or {})}
        data = raw
        if body is not None:
            data = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        target = path if path.startswith("/api") else f"/api/v1{path}"
        async with self.session.request(method, self.url + target, data=data, headers=sent) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **more: Any) -> Any:
        answer = await self.ask("GET", path, **more)
        assert answer.status == 200, answer.body
        return answer.json

    async def hire(self, word: str, role: Role, account: str) -> Principal:
        """Let somebody in whom the store knows, too: what they begin goes on as long as they may."""
        email = f"{word}@example.net"
        await Roster(self.means.store, {}, self.means.settings, actor="test").add_administrator(
            email, role=role, account=account
        )
        found = await Principals(self.means.store, self.means.settings).principal(email)
        self.keeper.known[word] = found
        return found

    async def jobs(self) -> None:
        """Go on with jobs until none is left."""
        while await JobRunner(self.means).turn():
            pass


@asynccontextmanager
async def serving(data: Path, **changed: Any) -> AsyncIterator[House]:
    configured = dataclasses.replace(settings.load(data), **changed)
    keeper = Doorkeeper()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(Store.of(configured))
        views = Views(store)
        await views.open()
        stack.push_async_callback(views.close)
        urls = {ListenerKind.DEVICE: "https://prov.example.net:8443/", ListenerKind.LEGACY: "https://old.example:8444/"}
        renders = LiveRenders(store, views, KNOWN, configured, lambda: urls[ListenerKind.DEVICE], "", lambda: 1e9)
        feed = Feed(configured.api_streams, max(1, configured.api_streams // 10), keeper.principal)
        means = Means(store, KNOWN, configured, renders, lambda: urls, lambda: given(100.0), keeper, feed)
        server, runner = await server_of(_application(means), lambda _metric, _label: None)
        stack.push_async_callback(runner.cleanup)
        url = await listening(stack, server)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield House(url, means, session, keeper)


def _application(means: Means) -> web.Application:
    class Edge:
        async def handle(self, _request: web.BaseRequest) -> web.StreamResponse:
            return web.Response(status=404)

    return application(Edge(), [partial(add_api, means=means)])


async def listening(stack: AsyncExitStack, server: QuietServer) -> str:
    made = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    stack.push_async_callback(server.shutdown, 0)
    stack.callback(made.close)
    return f"http://127.0.0.1:{made.sockets[0].getsockname()[1]}"


async def furnish(house: House) -> None:
    fleet, ids = house.fleet, house.ids
    for name in ("Acme", "Other"):
        account = (await fleet.add_account(name)).id
        ids[name] = account
        ids[f"{name} site"] = (await fleet.add_site(f"{name} HQ", account=account, time_zone="Europe/Berlin")).id
    for name, number, user in (("Acme", "1001", "Ada"), ("Acme", "1002", "Bob"), ("Other", "2001", "Eve")):
        ids[user] = (await fleet.add_user(user, account=ids[name], email=f"{user.lower()}@example.net")).id
        given = {"display_name": user, "secret": SECRET + number}
        ids[number] = (await fleet.add_extension(number, account=ids[name], user=ids[user], **given)).id
    await fleet.add_device(VVX, vendor="poly", model="VVX 411", account=ids["Acme"], site=ids["Acme site"])
    await fleet.add_device(T46S, vendor="yealink", model="SIP-T46S", account=ids["Acme"])
    await fleet.add_device(OTHER, vendor="poly", model="VVX 411", account=ids["Other"])
    await fleet.bind(OTHER, 1, extension=ids["2001"])
    async with house.means.store.writing() as connection:  # all of them have been here once
        await connection.exec_driver_sql("UPDATE device SET served = 0")
