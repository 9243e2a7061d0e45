"""What the adapters are made of in the product: settings that must agree, secrets in files, addresses and lengths."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from adapter_house import LOOPBACK, URL, Registry, build, register, secrets_of_systems
from aiohttp import ClientSession
from aiohttp.test_utils import RawTestServer
from house import House
from hypothesis import given
from hypothesis import strategies as st

from ivr.adapters import Hooks, Recordings
from ivr.adapters.callers import Peers
from ivr.flow import FlowSettings
from provisioner import settings as provisioner_settings
from provisioner.activation.activation import Activation
from provisioner.app import prepare
from provisioner.contradictions import contradictions
from provisioner.errors import Unusable
from provisioner.installation import renew_server_certificates
from provisioner.ivr_adapters import admission, require_adapters
from provisioner.ivr_desk import IvrDesk
from provisioner.ivr_edge import HookEdge, HookListener, source_of
from provisioner.settings import Settings
from provisioner.store.codes import open_lengths
from provisioner.store.database import Store

ALL = {
    "agi_port": 4573,
    "agi_peers": (LOOPBACK,),
    "hooks_port": 8085,
    "hooks_on": ("twilio", "telnyx", "kazoo", "httapi", "rest"),
    "hooks_url": URL,
    "hooks_httapi_peers": (LOOPBACK,),
}


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ({"agi_peers": ()}, "agi.port = 4573 and agi.peers is empty: FastAGI knows no password"),
        ({"agi_peers": ("asterisk",)}, "agi.peers has 'asterisk': it must be a network"),
        ({"agi_vouched": ("10.0.0.0/8",)}, "agi.vouched has 10.0.0.0/8, which is in none of agi.peers"),
        ({"agi_vouched": ("::1/128",)}, "agi.vouched has ::1/128, which is in none of agi.peers"),
        ({"hooks_on": ()}, "hooks.port = 8085 and hooks.on is empty"),
        ({"hooks_port": -1}, "and hooks.port = -1"),
        ({"hooks_on": ("vonage",)}, "hooks.on has 'vonage': there are twilio, telnyx, kazoo, httapi, rest"),
        ({"hooks_on": ("rest",), "hooks_vouched": ("twilio",)}, "hooks.vouched has 'twilio'"),
        ({"hooks_vouched": ("kazoo",)}, "hooks.vouched has kazoo: it tells only what the caller has written"),
        (
            {"hooks_vouched": ("twilio", "telnyx")},
            "hooks.vouched has telnyx: it tells only what the caller has written",
        ),
        ({"hooks_tls": False, "hooks_host": "0.0.0.0"}, "hooks.tls = false at 0.0.0.0, and hooks.proxies is empty"),
        ({"hooks_tls": False, "hooks_host": "", "server_host": "192.0.2.1"}, "hooks.tls = false at 192.0.2.1"),
        ({"hooks_tls": False, "hooks_host": "prov.example.com"}, "hooks.tls = false at prov.example.com"),
        ({"hooks_url": ""}, "hooks.on has twilio, telnyx, kazoo and hooks.url is empty"),
        ({"hooks_url": "prov.example.com"}, "hooks.url = 'prov.example.com': it is https:// and a host"),
        ({"hooks_url": f"{URL}/activation/twilio"}, "and nothing behind"),
        ({"hooks_httapi_peers": ()}, "hooks.on has httapi and hooks.httapi_peers is empty: FreeSWITCH signs nothing"),
        ({"hooks_url": "", "hooks_on": ("httapi",)}, "hooks.httapi_sounds and hooks.url are both empty"),
        ({"hooks_proxies": ("10.0.0.0/99",)}, "hooks.proxies has '10.0.0.0/99'"),
        ({"hooks_port": 4573}, "agi.port and hooks.port are both 4573"),
    ],
)
def test_adapters_that_are_switched_on_halfway(tmp_path: Path, chosen: dict[str, object], told: str) -> None:
    found = contradictions(Settings(data=tmp_path, **{**ALL, **chosen}))
    assert [one for one in found if told in one] != [], found


def test_adapters_that_agree(tmp_path: Path) -> None:
    assert contradictions(Settings(data=tmp_path)) == ()
    assert contradictions(Settings(data=tmp_path, **ALL, agi_vouched=(LOOPBACK,), hooks_vouched=("httapi",))) == ()
    every = ("twilio", "httapi", "rest")
    assert contradictions(Settings(data=tmp_path, **ALL, hooks_vouched=every)) == ()
    for where in ({"hooks_host": "127.0.0.1"}, {"hooks_host": "::1"}, {"ivr_host": "localhost"}):
        assert contradictions(Settings(data=tmp_path, **ALL, hooks_tls=False, **where)) == ()
    proxied = {"hooks_tls": False, "hooks_host": "0.0.0.0", "hooks_proxies": ("192.0.2.0/24",)}
    assert contradictions(Settings(data=tmp_path, **ALL, **proxied)) == ()
    alone = {**ALL, "hooks_on": ("httapi",), "hooks_url": ""}
    assert contradictions(Settings(data=tmp_path, **alone, hooks_httapi_sounds="/sounds")) == ()


def with_secrets(data: Path, **changed: str) -> Settings:
    for name, secret in {**secrets_of_systems(), **changed}.items():
        (data / name).write_text(secret)
        (data / name).chmod(0o600)
    return Settings(data=data, **ALL)


def test_secrets_come_from_files(tmp_path: Path) -> None:
    require_adapters(with_secrets(tmp_path))


@pytest.mark.parametrize("name", sorted(secrets_of_systems()))
def test_without_its_secret_no_server_is_started(tmp_path: Path, name: str) -> None:
    settings = with_secrets(tmp_path)
    (tmp_path / name).unlink()
    setting = name.partition(".")[0]
    with pytest.raises(Unusable, match=rf"{name} \(hooks.{setting}\) cannot be read: FileNotFoundError.*take it out"):
        require_adapters(settings)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
@pytest.mark.parametrize("name", sorted(secrets_of_systems()))
def test_a_secret_that_others_could_read_or_write_is_not_used(tmp_path: Path, name: str, mode: int) -> None:
    settings = with_secrets(tmp_path)
    (tmp_path / name).chmod(mode)
    with pytest.raises(Unusable, match=rf"{name} \(hooks\.\w+\) can be read by others \({mode:04o}\): run `chmod 600"):
        require_adapters(settings)


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"\xfftop-secret-kazoo-4711", "cannot be read: UnicodeDecodeError"), (b"k" * 70_000, "more than 65536 bytes")],
)
def test_nothing_of_a_secret_is_in_what_is_said_of_its_file(tmp_path: Path, content: bytes, told: str) -> None:
    settings = with_secrets(tmp_path)
    (tmp_path / "kazoo.secret").write_bytes(content)
    with pytest.raises(Unusable, match=told) as raised:
        require_adapters(settings)
    assert raised.value.__cause__ is None
    assert "kkkk" not in raised.value.cause
    assert "4711" not in raised.value.cause


@pytest.mark.parametrize("secret", ["top?Secret-Kazoo-4711", "top Secret-Kazoo-4711", "top#Secret-Kazoo-4711"])
def test_a_secret_that_no_address_can_bear_is_not_shown(tmp_path: Path, secret: str) -> None:
    with pytest.raises(Unusable, match=r"kazoo\.secret") as raised:
        require_adapters(with_secrets(tmp_path, **{"kazoo.secret": secret}))
    assert "Kazoo-4711" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("twilio.token", " \n"),
        ("telnyx.key", "bm8ga2V5"),
        ("kazoo.secret", "short"),
        ("httapi.secret", "a/secret/of/many/parts"),
        ("rest.tokens", "a-token-of-some-length short"),
        ("rest.tokens", ""),
    ],
)
def test_a_secret_that_is_none_is_named_by_its_file_and_not_shown(tmp_path: Path, name: str, secret: str) -> None:
    settings = with_secrets(tmp_path, **{name: secret})
    with pytest.raises(Unusable, match=name) as told:
        require_adapters(settings)
    assert not secret.strip() or secret not in told.value.cause


@pytest.mark.parametrize("chosen", [{"agi_folder": '"; rm'}, {"agi_header": "MAC)}"}])
def test_names_that_asterisk_would_read_otherwise(tmp_path: Path, chosen: dict[str, str]) -> None:
    with pytest.raises(Unusable, match=r"agi\.folder"):
        require_adapters(replace(with_secrets(tmp_path), **chosen))


def test_the_server_asks_for_them_when_it_starts(tmp_path: Path) -> None:
    house = build(tmp_path)
    (house.data / "rest.tokens").unlink()
    configured = provisioner_settings.load(house.data, {}, **ALL)
    with pytest.raises(Unusable, match=r"hooks\.rest"):
        prepare(configured)


# --- who asks ---------------------------------------------------------------------------------------------------

PROXIES = Peers(("10.0.0.0/8", "::1/128"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "source"),
    [
        ("192.0.2.7", [], "192.0.2.7"),
        ("192.0.2.7", ["198.51.100.1"], "192.0.2.7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, 192.0.2.9"], "192.0.2.9"),
        ("10.0.0.1", ["198.51.100.1", "192.0.2.9, 10.0.0.2"], "192.0.2.9"),
        ("::ffff:10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("", ["198.51.100.1"], ""),
    ],
)
def test_whose_address_counts(peer: str, forwarded: list[str], source: str) -> None:
    assert source_of(peer, forwarded, PROXIES) == source


@given(st.lists(st.text()))
def test_whatever_a_proxy_says_there_is_an_address(forwarded: list[str]) -> None:
    assert source_of("10.0.0.1", forwarded, PROXIES)
    assert source_of("192.0.2.7", forwarded, PROXIES) == "192.0.2.7"


@pytest.mark.asyncio
async def test_who_asks_too_often_is_told_when_to_come_again() -> None:
    counted: list[tuple[str, str]] = []
    now = 100.0
    edge = HookEdge(
        Hooks(Recordings()),
        ("127.0.0.0/8",),
        lambda metric, label: counted.append((metric, label)),
        admits=admission(1.0, lambda: now),
    )
    async with RawTestServer(edge.handle) as server, ClientSession() as session:

        async def asked(source: str, path: str = "/x") -> tuple[int, str]:
            async with session.get(server.make_url(path), headers={"X-Forwarded-For": source}) as answer:
                return answer.status, answer.headers.get("Retry-After", "")

        assert [await asked("192.0.2.1") for _ in range(4)] == [(404, "")] * 3 + [(429, "1")]
        assert await asked("192.0.2.2", "/activation/recordings/en/welcome.wav") == (200, "")
        now += 1.0
        assert await asked("192.0.2.1") == (404, "")
    assert counted.count(("hook_answers", "429_none")) == 1
    assert counted.count(("hook_answers", "200_recordings")) == 1


@pytest.mark.parametrize(
    ("sources", "admitted"),
    [
        ([f"2001:db8::{number:x}" for number in range(500)], 300),
        ([f"2001:db8:0:{number:x}::1" for number in range(500)], 500),
        (["192.0.2.1", "::ffff:192.0.2.1"] * 250, 300),
    ],
    ids=["one network", "500 networks", "one address in two spellings"],
)
def test_all_addresses_of_one_network_are_one_source(sources: list[str], admitted: int) -> None:
    admits = admission(100.0, lambda: 50.0)
    assert sum(admits(one) for one in sources) == admitted


# --- how long codes are -----------------------------------------------------------------------------------------


def test_how_many_keys_a_code_may_have(tmp_path: Path) -> None:
    """As many as the longest that can still be used; a shorter one is refused by nothing but being wrong."""
    house = build(tmp_path)
    configured = provisioner_settings.load(house.data)

    async def lengths(registry: Registry) -> tuple[FlowSettings, FlowSettings, frozenset[int]]:
        async with Store.of(configured) as store:
            desk = IvrDesk(Activation(store, {}, configured), store, configured, lambda _: None)
            await desk.learn()
            before = desk.flow().settings
            for digits, ago in ((8, 0.0), (13, 0.0), (16, 30 * 86_400)):
                await registry.code(digits=digits, ago=ago)
            await desk.learn()
            async with store.reading() as connection:
                return before, desk.flow().settings, await open_lengths(connection, store.box, time.time())

    before, after, found = register(house, lengths)
    assert (before.code_digits, before.other_lengths) == (12, (8, 9, 10, 11))
    assert found == {8, 13}
    assert (after.code_digits, after.other_lengths) == (13, (8, 9, 10, 11, 12))


# --- its certificates -------------------------------------------------------------------------------------------


def test_a_renewed_certificate_is_for_new_connections_and_a_bad_one_for_none(tmp_path: Path) -> None:
    asyncio.run(renewed(build(tmp_path)))


async def renewed(house: House) -> None:
    configured = replace(provisioner_settings.load(house.data), hooks_connections=10)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        edge = HookEdge(Hooks(Recordings()), (), lambda *_: None)
        listener = HookListener(sock, edge, configured, lambda *_: None)
        listener.start()
        first, answered = await connected(house, sock)
        await listener.look()
        same, _ = await connected(house, sock)
        assert serial(same) == serial(first)
        await asyncio.to_thread(renew_server_certificates, configured)
        await listener.look()
        fresh, _ = await connected(house, sock)
        assert serial(fresh) != serial(first)
        assert await answered() == b"HTTP/1.1 200 OK\r\n", "it was open before"
        for name in configured.tls_certificates:
            (house.data / name).write_text("nothing")
        with pytest.raises(Unusable, match="tls"):
            await listener.look()
        assert len(listener) == 3
        last, asked = await connected(house, sock)
        assert serial(last) == serial(fresh)
        assert await asked() == b"HTTP/1.1 200 OK\r\n"
        for one in (first, same, fresh, last):
            one.close()
        await asyncio.sleep(0.1)
        await listener.close()


Asked = Callable[[], Awaitable[bytes]]


async def connected(house: House, sock: socket.socket) -> tuple[asyncio.StreamWriter, Asked]:
    """One connection, and a question on it."""
    reader, writer = await asyncio.open_connection(
        *sock.getsockname(), ssl=house.context(), server_hostname="localhost"
    )

    async def asked() -> bytes:
        writer.write(b"HEAD /activation/recordings/en/welcome.wav HTTP/1.1\r\nHost: x\r\n\r\n")
        return await asyncio.wait_for(reader.readline(), 5)

    return writer, asked


def serial(writer: asyncio.StreamWriter) -> object:
    return writer.get_extra_info("peercert")["serialNumber"]
