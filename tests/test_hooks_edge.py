"""The address at which other systems post, on a real socket: bounded, proven, counted, in few words."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from provisioner import settings
from provisioner.fleet.fleet import Fleet
from provisioner.hooks.intake import Intake
from provisioner.hooks.signing import Scheme, signed
from provisioner.hooks.sources import Sources
from provisioner.http.hooks_in import add_hooks
from provisioner.store.database import Store
from provisioner.vendors import drivers

pytestmark = pytest.mark.asyncio

KNOWN = {one.manifest.name: one for one in drivers()}
NOW = 1_800_000_000.0
RULES = '[[rules]]\naction = "ignore"\n'
BEARER = "sixteen-or-more!"


@dataclass
class Edge:
    url: str
    session: aiohttp.ClientSession
    secret: str
    store: Store

    async def post(self, path: str, body: Any, headers: Mapping[str, str], method: str = "POST") -> tuple[int, Any]:
        async with self.session.request(method, self.url + path, data=body, headers=headers) as answer:
            said = await answer.read()
            assert answer.status == 405 or answer.headers["Cache-Control"] == "no-store"
            return answer.status, json.loads(said) if said.startswith(b"{") else said.decode()

    async def signed(self, body: bytes, ident: str = "msg_1", path: str = "/hooks/in/pbx") -> tuple[int, Any]:
        return await self.post(path, body, signed([self.secret], ident, int(NOW), body))


@pytest_asyncio.fixture
async def edge(data: Path) -> AsyncIterator[Edge]:
    configured = settings.load(data)
    async with Store.of(configured) as store, aiohttp.ClientSession() as session:
        await Fleet(store, KNOWN).add_account("Acme")
        sources = Sources(store, KNOWN, configured)
        made = await sources.add_source("pbx", account="Acme", rules=RULES)
        await sources.add_source("plain", account="Acme", rules=RULES, scheme=Scheme.BEARER, secret=BEARER)
        application = web.Application()
        intake = Intake(store, KNOWN, configured, clock=lambda: NOW)
        add_hooks(application, intake, body=2000, rate=0.001, burst=5)
        async with TestServer(application) as server:
            yield Edge(str(server.make_url("")).rstrip("/"), session, made.secret, store)


async def test_a_post_is_taken_and_taken_once(edge: Edge) -> None:
    status, told = await edge.signed(b"{}")
    assert (status, told["state"], told["why"]) == (202, "ignored", "of no interest")
    assert await edge.signed(b"{}") == (200, told)
    assert (await edge.signed(b"no json", "msg_2"))[1]["state"] == "parked"
    assert (await edge.post("/hooks/in/plain", b"[1]", {"Authorization": f"Bearer {BEARER}"}))[0] == 202


async def test_who_proves_nothing_hears_the_same_whether_there_is_a_source_or_not(edge: Edge) -> None:
    status, told = await edge.post("/hooks/in/nobody", b"{}", {})
    assert (status, set(told)) == (401, {"error", "cause", "cure"})
    assert "signature" in told["cause"] and "secret" in told["cure"] and "clock" in told["cure"]
    assert "sign in" not in str(told) and "signed_in" not in str(told)
    refused = (401, told)
    for path in ("/hooks/in/pbx", "/hooks/in/nobody", "/hooks/in/" + "x" * 200, "/hooks/in/%00", "/hooks/in/%ff"):
        assert await edge.post(path, b"{}", {}) == refused, path
    assert await edge.post("/hooks/in/pbx", b"{ }", signed([edge.secret], "msg_1", int(NOW), b"{}")) == refused
    assert await edge.signed(b"{}", path="/hooks/in/plain") == refused


async def test_what_is_too_large_is_not_read(edge: Edge) -> None:
    assert await edge.signed(b"x" * 2001) == (413, {"error": "body_too_large"})

    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 64 * 2**20:
            sent += 65_536
            yield b"x" * 65_536

    with contextlib.suppress(aiohttp.ClientConnectionError):  # it is told while it still sends
        assert (await edge.post("/hooks/in/pbx", endless(), {}))[0] == 413
    assert sent < 32 * 2**20, "nobody reads it to its end"
    assert (await edge.post("/hooks/in/pbx", None, {}, "GET"))[0] == 405


async def test_strangers_are_counted_and_take_nothing_from_a_source(edge: Edge) -> None:
    statuses = [(await edge.post("/hooks/in/pbx", b"{}", {}))[0] for _ in range(63)]
    assert statuses.count(401) in {60, 61} and statuses[-1] == 429
    told = [(await edge.signed(b"{}", f"msg_{number}"))[0] for number in range(6)]
    assert told == [202] * 5 + [429], "five at once are this source's"


async def test_a_database_that_fails_lets_it_come_again(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    from provisioner.errors import StoreFailed
    from provisioner.store import hook_inbox

    async def away(*_: Any, **__: Any) -> Any:
        raise StoreFailed("the database failed: locked")

    with monkeypatch.context() as broken:
        broken.setattr(hook_inbox, "settle_message", away)
        assert await edge.signed(b"{}") == (503, {"error": "store_failed"})
    status, told = await edge.signed(b"{}")
    assert (status, told["state"]) == (200, "new"), "stored it was; it will be looked at"
