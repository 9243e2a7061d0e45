"""What all web hooks share: bodies that do not come, or come for ever, and whose path it is."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.test_utils import RawTestServer

from ivr.adapters import Attempts, AttemptsSettings, Hooks, Recordings, hooks
from tests.ivr.adapters.desks import ScriptedDesk
from tests.ivr.scenarios import WRONG

pytestmark = pytest.mark.asyncio
HEAD = b"POST /api/v1/activation/attempts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a-token-of-some-length\r\n"


@pytest.mark.parametrize("length", [b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"])
async def test_a_body_that_does_not_come_is_waited_for_and_no_longer(
    monkeypatch: pytest.MonkeyPatch, length: bytes
) -> None:
    monkeypatch.setattr(hooks, "_SLOWEST", 0.05)
    desk = ScriptedDesk()
    served = Hooks(Attempts(desk, AttemptsSettings(("a-token-of-some-length",))))
    async with RawTestServer(served.handle) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(HEAD + length)
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 413 ")
        writer.close()
    assert desk.callers == []


async def test_a_body_that_waits_to_be_wanted_is_asked_for() -> None:
    desk = ScriptedDesk([WRONG])
    body = b'{"code": "314159265356", "device": {"mac": "0004f2aabbcc"}}'
    served = Hooks(Attempts(desk, AttemptsSettings(("a-token-of-some-length",))))
    async with RawTestServer(served.handle) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 404 ")
        writer.write(HEAD.replace(b"Bearer a", b"Bearer b") + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n")
        rest = await asyncio.wait_for(reader.readuntil(b" 401 "), 5)
        assert b" 100 " not in rest, "a stranger's is not wanted"
        writer.close()


async def test_what_is_on_no_path_is_not_there() -> None:
    async with RawTestServer(Hooks().handle) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(b"GET /activation/twiml HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 404 ")
        writer.close()


async def test_a_path_is_whose_it_is_or_is_below_of() -> None:
    served = Hooks(recordings := Recordings(), lower := Recordings(path="/activation/recordings/of/others"))
    paths = ("/activation/recordings", "/activation/recordings/en/x.wav", "/activation/recordings/of/others/en/x.wav")
    assert [served.find(path) for path in paths] == [recordings, recordings, lower]
    nobodys = ("", "/", "/activation", "/activation/recordingsx", "activation/recordings", "http://x/activation")
    assert [served.find(path) for path in nobodys] == [None] * len(nobodys)


async def test_one_path_is_one_hooks() -> None:
    with pytest.raises(ValueError, match="same path"):
        Hooks(Recordings(), Recordings())
