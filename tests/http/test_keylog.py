"""What OpenSSL says of its secrets, held with each connection: the same lines as the other end's, full and resumed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from OpenSSL import SSL

from provisioner.http import keylog
from tests.http.conftest import Pki, client_context, edge, get

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def context(pki: Pki) -> Iterator[Any]:
    made = pki.context()
    yield made
    keylog.listen([made], on=False)


class Asked:
    """Takes what is held with each connection that asks for something."""

    def __init__(self) -> None:
        self.lines: list[list[str]] = []

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        connection = request.transport.get_extra_info("ssl_object")
        assert isinstance(connection, SSL.Connection)
        self.lines.append(keylog.lines_of(connection))
        return web.Response(text="ok")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.asyncio
async def test_the_lines_are_those_of_the_other_end(pki: Pki, context: Any, version: str, tmp_path: Path) -> None:
    asked, log = Asked(), tmp_path / "log"
    client = client_context(pki, pki.good, version)
    client.keylog_filename = str(log)
    keylog.listen([context], on=True)
    async with edge(context, asked) as server:
        _, session, _ = await get(client, server.port)
        _, _, resumed = await get(client, server.port, "b.cfg", session)
    assert resumed, "a session that goes on has secrets of its own"
    theirs = {line for line in log.read_text("ascii").splitlines() if not line.startswith(("#", "EXPORTER"))}
    assert {line for lines in asked.lines for line in lines} == theirs
    assert [len(lines) for lines in asked.lines] == [4, 4] if version == "1.3" else [1, 1]
    assert keylog.held() == 0


@pytest.mark.asyncio
async def test_while_nobody_wants_any_openssl_is_not_asked(pki: Pki, context: Any) -> None:
    asked = Asked()
    async with edge(context, asked) as server:
        await get(client_context(pki, pki.good), server.port)
        assert keylog.lib.SSL_CTX_get_keylog_callback(context._context) == keylog.ffi.NULL
        keylog.listen([context], on=True)
        await get(client_context(pki, pki.good), server.port)
        keylog.listen([context], on=False)
        assert keylog.lib.SSL_CTX_get_keylog_callback(context._context) == keylog.ffi.NULL
        await get(client_context(pki, pki.good), server.port)
    assert [bool(lines) for lines in asked.lines] == [False, True, False]


@pytest.mark.asyncio
async def test_what_was_never_asked_for_goes_with_its_connection(
    pki: Pki, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def deaf(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="ok")

    monkeypatch.setattr(keylog, "_HELD", 2)
    keylog.listen([context], on=True)
    async with edge(context, deaf) as server:
        for _ in range(4):
            await get(client_context(pki, pki.good), server.port)
            assert keylog.held() <= 2
        await server.empty()
    assert keylog.held() == 0
