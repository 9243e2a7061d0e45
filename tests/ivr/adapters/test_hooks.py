"""What all web hooks share: bodies that do not come, or come for ever."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.test_utils import TestServer

from ivr.adapters import Attempts, AttemptsSettings, application, hooks
from tests.ivr.adapters.desks import ScriptedDesk

pytestmark = pytest.mark.asyncio
HEAD = b"POST /api/v1/activation/attempts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a-token-of-some-length\r\n"


@pytest.mark.parametrize("length", [b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"])
async def test_a_body_that_does_not_come_is_waited_for_and_no_longer(
    monkeypatch: pytest.MonkeyPatch, length: bytes
) -> None:
    monkeypatch.setattr(hooks, "_SLOWEST", 0.05)
    desk = ScriptedDesk()
    async with TestServer(application(Attempts(desk, AttemptsSettings("a-token-of-some-length")))) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(HEAD + length)
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 413 ")
        writer.close()
    assert desk.callers == []


async def test_what_is_on_no_path_is_not_there() -> None:
    async with TestServer(application()) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(b"GET /activation/twiml HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 404 ")
        writer.close()
