"""One delivery on the wire: where it may go, that it goes nowhere else, and how little it takes from there."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from hook_receiver import receiving

from provisioner.errors import Unusable
from provisioner.hooks.wire import FORBIDDEN, Names, Wire, _socket, resolved
from provisioner.settings import Settings

NOW = 1_800_000_000.0
HERE = ("127.0.0.0/8",)
IP4 = int(socket.AF_INET)


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "ca.pem")
    return made


def tls(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


def wire(tmp_path: Path, names: Any = resolved, **chosen: Any) -> Wire:
    given = {"webhook_allow": HERE, "webhook_timeout": 1.0, **chosen}
    return Wire(Settings(data=tmp_path, **given), names=names)


def named(*addresses: str) -> Any:
    async def names(_host: str, _port: int) -> Names:
        return [(int(socket.AF_INET6 if ":" in one else socket.AF_INET), one) for one in addresses]

    return names


@pytest.mark.asyncio
async def test_tls_is_for_the_name_and_the_connection_for_the_address(tmp_path: Path, authority: trustme.CA) -> None:
    asked: list[str | None] = []
    context = tls(authority, "hooks.example.net")
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with receiving(ssl_context=context) as receiver:
        sender = wire(tmp_path, named("127.0.0.1"), webhook_ca="ca.pem")
        url = f"https://hooks.example.net:{receiver.port}/x?y=1"
        assert (await sender.post(url, b"{}", {"Content-Type": "application/json"}, NOW)).status == 204
        got = receiver.got[0]
        assert (got.path, got.headers["host"]) == ("/x?y=1", f"hooks.example.net:{receiver.port}")
        assert asked == ["hooks.example.net"]
        assert "cookie" not in got.headers and "accept-encoding" not in got.headers
        other = await sender.post(url.replace("hooks.", "other."), b"{}", {}, NOW)
        assert other.status == 0 and "certificate" in other.error and len(receiver.got) == 1
        untrusted = await wire(tmp_path, named("127.0.0.1")).post(url, b"{}", {}, NOW)
        assert untrusted.status == 0 and "certificate" in untrusted.error


@pytest.mark.asyncio
async def test_every_address_of_a_name_must_be_good_and_none_is_asked_for_twice(tmp_path: Path) -> None:
    async with receiving() as receiver:
        url = f"http://hooks.example.net:{receiver.port}/"
        for addresses in (["127.0.0.1", "10.0.0.1"], ["169.254.169.254"], ["::1"], ["8.8.8.8", "127.0.0.1"], ["x"]):
            answer = await wire(tmp_path, named(*addresses)).post(url, b"{}", {}, NOW)
            assert (answer.status, answer.error) == (0, FORBIDDEN), addresses
            assert "hooks.example.net" in answer.log
        times: list[str] = []

        async def rebinding(_host: str, _port: int) -> Names:
            times.append("asked")
            return [(IP4, "127.0.0.1" if len(times) == 1 else "10.0.0.1")]

        assert (await wire(tmp_path, rebinding).post(url, b"{}", {}, NOW)).good
        assert times == ["asked"] and len(receiver.got) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f.1"]
)
async def test_without_an_allow_list_nothing_here_is_called(tmp_path: Path, host: str) -> None:
    async with receiving() as receiver:
        for scheme in ("http", "https"):
            answer = await wire(tmp_path, webhook_allow=()).post(f"{scheme}://{host}:{receiver.port}/", b"{}", {}, NOW)
            assert answer.status == 0 and answer.error
        assert receiver.got == []


@pytest.mark.asyncio
async def test_no_proxy_of_the_environment_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        assert (await wire(tmp_path).post(receiver.url(), b"{}", {}, NOW)).good


@pytest.mark.asyncio
async def test_whatever_is_not_http_is_told_in_words(tmp_path: Path) -> None:
    async def nonsense(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(b"SSH-2.0-OpenSSH_9.2\r\n" + b"\xff" * 100)
            await writer.drain()
            writer.close()

    async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(b"HTTP/1.1 200 OK\r\n")
            for number in range(200_000):
                writer.write(b"X-%d: %s\r\n" % (number, b"y" * 1000))
                await writer.drain()
        writer.close()

    for behaviour in (nonsense, endless):
        server = await asyncio.start_server(behaviour, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        answer = await wire(tmp_path).post(url, b"{}", {}, NOW)
        assert answer.status == 0 and 0 < len(answer.error) <= 160 and answer.error.isprintable()
        server.close()
        refused = await wire(tmp_path).post(url, b"{}", {}, NOW)
        assert refused.status == 0 and "onnect" in refused.error


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("value", "after"),
    [("120", 120.0), ("Fri, 15 Jan 2027 08:02:00 GMT", 120.0), ("Fri, 15 Jan 2021 08:02:00 GMT", 0.0), ("soon", 0.0),
     ("-5", 0.0), ("9" * 400, 0.0), ("", 0.0)],
)  # fmt: skip
async def test_retry_after_is_seconds_or_a_date(tmp_path: Path, value: str, after: float) -> None:
    async def busy(_request: web.Request) -> web.Response:
        return web.Response(status=503, headers={"Retry-After": value})

    async with receiving() as receiver:
        receiver.always = busy
        answer = await wire(tmp_path).post(receiver.url(), b"{}", {}, NOW)
    assert (answer.status, answer.after) == (503, after)


def test_no_socket_is_made_for_an_address_that_was_not_judged() -> None:
    """Whatever the HTTP client may think of: the last word is here."""
    for address in ("10.0.0.1", "::1", "127.0.0.2"):
        with pytest.raises(OSError, match="not judged"):
            _socket(frozenset({"127.0.0.1"}), (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)))
    _socket(frozenset({"127.0.0.1"}), (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))).close()


def test_settings_that_cannot_be_meant_keep_the_server_from_starting(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match=r"webhook\.allow"):
        wire(tmp_path, webhook_allow=("everything",))
    with pytest.raises(Unusable, match=r"webhook\.ca"):
        wire(tmp_path, webhook_ca="nowhere.pem")
