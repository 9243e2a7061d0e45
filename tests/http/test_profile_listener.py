"""Real clients at the profile listener: what they can do is seen, nothing is served, and a flood stays bounded."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import time
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Pki, client_context
from hypothesis import given
from hypothesis import strategies as st

from provisioner.card_draft import Drafter
from provisioner.certificates import Anchors, fingerprint
from provisioner.flight_draft import Claim, claims_by
from provisioner.http import profile
from provisioner.http.contexts import make_context
from provisioner.http.profile import TEXT, ProfileListener, Sighting
from provisioner.identity import Identifier
from provisioner.model import FactoryName, ListenerKind, Mac
from provisioner.ports import bind_one
from provisioner.settings import Settings
from provisioner.vendors import drivers

SECRET = "correct-horse-7"
OLD = b"GET /a.cfg HTTP/1.0\r\nDate: Thu, 01 Jan 1970 00:01:40 GMT\r\nUser-Agent: old\r\nConnection: close\r\n\r\n"


@dataclass
class Scene:
    """A listener, and whoever has come."""

    listener: ProfileListener
    port: int
    seen: list[Sighting] = field(default_factory=list)

    async def after(self, number: int = 1) -> Sighting:
        async with asyncio.timeout(8):
            while len(self.seen) < number:  # noqa: ASYNC110  # a connection's end is told by nothing else
                await asyncio.sleep(0.01)
        return self.seen[-1]


@asynccontextmanager
async def scene(
    pki: Pki, ask: str = "", host: str = "127.0.0.1", *, rsa_exchange: bool = False, **settings: Any
) -> AsyncIterator[Scene]:
    found: list[Sighting] = []
    certificates = [pki.server_rsa, pki.server_ec]
    context = make_context(ListenerKind.PROFILE, certificates, pki.factory_cas, rsa_exchange=rsa_exchange)
    listener = ProfileListener(context, Settings(**settings), found.append, ask=ask)
    sock = bind_one(ListenerKind.PROFILE, host, 0, 64)
    port = sock.getsockname()[1]
    listener.open(sock)
    try:
        yield Scene(listener, port, found)
    finally:
        await listener.close()
        assert not len(listener)


def talk(port: int, context: ssl.SSLContext, request: bytes, name: str = "localhost") -> bytes:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname=name) as tls,
    ):
        tls.sendall(request)
        answer = b""
        with suppress(ssl.SSLEOFError):
            while data := tls.recv(65536):
                answer += data
        return answer


def asking(path: str, *lines: str, method: str = "GET", close: bool = True) -> bytes:
    more = [*lines, "Connection: close"] if close else lines
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: prov", *more, "", ""]).encode()


async def run(*words: str | Path | int, text: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return await asyncio.to_thread(
        subprocess.run, [str(one) for one in words], input=text, capture_output=True, timeout=20, check=False
    )


@pytest.mark.asyncio
async def test_a_phone_of_old_is_let_in_by_openssl(pki: Pki) -> None:
    async with scene(pki, rsa_exchange=True) as here:
        done = await run(
            "openssl", "s_client", "-connect", f"127.0.0.1:{here.port}", "-tls1", "-cipher", "AES128-SHA@SECLEVEL=0",
            "-cert", pki.small, "-key", pki.small, "-noservername", "-quiet", "-ign_eof",
            text=asking("/0004f2aabbcc.cfg", "User-Agent: FileTransport PolycomVVX-VVX_411-UA/5.9.6.2327"),
        )  # fmt: skip
        assert b"404 Not Found" in done.stdout, done.stderr
        seen = await here.after()
    assert (seen.done, seen.version, seen.cipher) == (True, "TLSv1", "AES128-SHA")
    assert [len(one) for one in seen.chain] == [len(der) for der in seen.chain]
    assert seen.targets == ["GET /0004f2aabbcc.cfg"]
    card = Drafter(identifier(pki).judge, claims()).card(seen)
    said = dict(card.lines())
    assert said["TLS versions offered"] == "TLSv1"
    assert "AES128-SHA" in said["suites offered"]
    assert said["server name sent (SNI)"] == "none"
    assert "RSA 1024" in said["certificate 1"]
    assert said["worth here"].startswith("weak")
    assert (card.mac, card.proven, card.model) == ("0004f2aabbcc", False, "VVX 411")


@pytest.mark.asyncio
async def test_the_key_decrypts_for_nobody_and_the_card_still_tells_what_was_offered(pki: Pki) -> None:
    async with scene(pki) as here:
        for number, suite in enumerate(("AES128-SHA", "AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA"), 1):
            version = "-tls1_2" if "GCM" in suite else "-tls1"
            await run("openssl", "s_client", "-connect", f"127.0.0.1:{here.port}", version, "-cipher",
                      f"{suite}@SECLEVEL=0", "-quiet", text=asking("/a.cfg"))  # fmt: skip
            await here.after(number)
    assert [(one.done, one.fault) for one in here.seen[:2]] == [(False, "no_shared_cipher")] * 2
    assert "AES128-SHA" in dict(DRAFTER.card(here.seen[0]).lines())["suites offered"]
    assert (here.seen[2].done, here.seen[2].version) == (True, "TLSv1")


def identifier(pki: Pki) -> Identifier:
    roots = {fingerprint(pki.root.der): ("poly", "Factory Root")}
    anchors = Anchors(roots, (pki.root.der, pki.issuing.der))
    return Identifier(anchors, {"poly": lambda _cert: FactoryName(Mac("0004f2aabbcc"))}, 16)


def claims() -> Callable[[str, str], Claim]:
    return claims_by([one.match for one in drivers()])


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("version", "told"), [("1", "TLSv1"), ("1.1", "TLSv1.1"), ("1.2", "TLSv1.2"), ("1.3", "TLSv1.3")]
)
async def test_any_version_with_any_certificate_or_none(pki: Pki, version: str, told: str) -> None:
    async with scene(pki) as here:
        for certificate in (None, pki.good, pki.expired, pki.self_signed, pki.stranger, pki.sha1):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # old versions are what is asked for
                context = client_context(pki, certificate, version)
            answer = await asyncio.to_thread(talk, here.port, context, asking("/a.cfg"))
            assert answer.startswith(b"HTTP/1.1 404 "), certificate
            seen = await here.after(len(here.seen) or 1)
            assert (seen.version, bool(seen.chain)) == (told, certificate is not None)


@pytest.mark.asyncio
async def test_a_proven_mac_is_one_card_and_a_claimed_one_another(pki: Pki) -> None:
    draft = Drafter(identifier(pki).judge, claims())
    async with scene(pki) as here:
        await asyncio.to_thread(talk, here.port, client_context(pki, pki.good), asking("/0004f2aabbcc.cfg"))
        await here.after(1)
        await asyncio.to_thread(talk, here.port, client_context(pki), asking("/0004f2aabbcc.cfg"))
        await here.after(2)
    proven, claimed = map(draft.card, here.seen)
    assert (proven.mac, proven.proven) == (claimed.mac, not claimed.proven) == ("0004f2aabbcc", True)
    assert proven.id != claimed.id
    assert dict(proven.lines())["worth here"] == "unique"
    elsewhere = [draft.card(replace(one, address="192.0.2.7")) for one in here.seen]
    assert (elsewhere[0].id == proven.id, elsewhere[1].id == claimed.id) == (True, False)


@pytest.mark.asyncio
async def test_a_phone_that_does_not_trust_us_says_so(pki: Pki) -> None:
    async with scene(pki) as here:
        for version in ("1.2", "1.3"):
            context = client_context(pki, version=version)
            strict = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            strict.minimum_version = strict.maximum_version = context.maximum_version
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.to_thread(talk, here.port, strict, asking("/"))
        await here.after(2)
    draft = Drafter(identifier(pki).judge, claims())
    for seen in here.seen:
        assert dict(draft.card(seen).lines())["our certificate"] == "refused: alert unknown_ca"
        assert draft.card(replace(seen, fault="left")).id != draft.card(seen).id, "who takes it there is another one"


def test_a_name_that_several_makers_have_tells_no_maker() -> None:
    asked = claims()
    assert asked("/001565de0003.cfg", "") == Claim("001565de0003", "", "")
    assert asked("/001565de0003.boot", "").vendor == "yealink"
    assert asked("/001565de0003.cfg", "Yealink SIP-T46S 66.86.0.15 00:15:65:de:00:03").vendor == "yealink"


@pytest.mark.asyncio
async def test_curl_gets_a_line_of_text_and_404_for_all_else(pki: Pki) -> None:
    async with scene(pki) as here:
        base = ["curl", "-s", "--cacert", pki.server_ca_file, "-A", "probe/1", f"https://localhost:{here.port}"]
        done = await run(*base[:-1], f"{base[-1]}/")
        assert done.stdout == TEXT
        for more in (["-T", "-", f"{base[-1]}/x.log"], [f"{base[-1]}/t/secret-token/y.cfg?key={SECRET}"]):
            done = await run(*base[:-1], "-w", "%{http_code}", *more, text=SECRET.encode())
            assert done.stdout == b"404"
        seen = await here.after(3)
    assert seen.agent == "probe/1"
    card = Drafter(identifier(pki).judge, claims()).card(seen)
    assert SECRET not in repr(card)
    assert "secret-token" not in repr(card)


@pytest.mark.asyncio
async def test_credentials_are_asked_for_and_never_kept(pki: Pki) -> None:
    async with scene(pki, ask="digest") as here:
        url = f"https://localhost:{here.port}/a.cfg"
        user = ["curl", "-s", "--cacert", str(pki.server_ca_file), "-w", "%{http_code}", "-u", f"ann:{SECRET}"]
        assert (await run(*user, "--digest", url)).stdout == b"404"
        seen = await here.after(1)
        assert (seen.asked, seen.scheme) == ("Digest", "Digest SHA-256")
        assert (await run(*user, "--basic", url)).stdout == b"404"
        seen = await here.after(2)
        assert (seen.asked, seen.scheme) == ("", "Basic")
    for one in here.seen:
        assert "ann" not in repr(one)
        assert SECRET not in repr(one)


@pytest.mark.asyncio
async def test_one_socket_takes_both_families(pki: Pki) -> None:
    async with scene(pki, host="::") as here:
        await asyncio.to_thread(talk, here.port, client_context(pki), asking("/"))
        assert (await here.after()).address == "127.0.0.1"


@pytest.mark.asyncio
async def test_a_whole_boot_on_one_connection(pki: Pki) -> None:
    names = [f"/{number}.cfg" for number in range(6)]
    async with scene(pki) as here:
        said = b"".join(asking(name, close=name == names[-1]) for name in names)
        answer = await asyncio.to_thread(talk, here.port, client_context(pki), said)
        assert answer.count(b"HTTP/1.1 404 ") == 6
        seen = await here.after()
    assert seen.targets == [f"GET {name}" for name in names]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (
            OLD,
            {"plain": True, "agent": "old"},
        ),
        (b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(40), {"sslv2": True, "fault": ""}),
        (b"SSH-2.0-x\r\n", {"fault": "not_tls"}),
        (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", {"done": False}),
    ],
)
async def test_what_is_no_tls_is_told_apart(pki: Pki, first: bytes, expected: dict[str, Any]) -> None:
    def knock(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            raw.sendall(first)
            raw.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):
                while raw.recv(4096):
                    pass

    async with scene(pki) as here:
        await asyncio.to_thread(knock, here.port)
        seen = await here.after()
    assert {name: getattr(seen, name) for name in expected} == expected
    said = dict(DRAFTER.card(seen).lines())
    assert ("said 1970-01-01 00:01 UTC" in said.get("clock", "")) == seen.plain


def crowd(port: int, number: int) -> list[socket.socket]:
    return [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(number)]


@pytest.mark.asyncio
async def test_a_flood_is_bounded_in_number_and_in_time(pki: Pki) -> None:
    async with scene(pki, profile_connections=5, profile_address=8, profile_time=1.0) as here:
        held = await asyncio.to_thread(crowd, here.port, 40)
        async with asyncio.timeout(8):
            while here.listener.turned_away + len(here.seen) < 40:
                assert len(here.listener) <= 5
                await asyncio.sleep(0.01)
        assert len(here.seen) <= 9, "the address has its pace, however long it goes on"
        assert {one.fault for one in here.seen} == {"timeout"}, "who says nothing is let go"
        for one in held:
            one.close()
        answered = 0
        for _ in range(8):
            with suppress(OSError):  # reset or end of file, as the kernel has it
                answered += bool(await asyncio.to_thread(talk, here.port, client_context(pki), asking("/")))
        assert answered <= 4, "what is left of the address's pace"


@pytest.mark.asyncio
async def test_whoever_sends_without_end_is_cut_off(pki: Pki) -> None:
    def pour(port: int) -> int:
        sent, raw = 0, socket.create_connection(("127.0.0.1", port), timeout=5)
        with raw, client_context(pki).wrap_socket(raw, server_hostname="localhost") as tls, suppress(OSError):
            while sent < 10_000_000:
                sent += tls.send(b"X" * 4096)
        return sent

    async with scene(pki) as here:
        assert await asyncio.to_thread(pour, here.port) < 10_000_000
        assert (await here.after()).targets == []


@pytest.mark.asyncio
async def test_closing_ends_whoever_is_there(pki: Pki) -> None:
    async with scene(pki) as here:
        with socket.create_connection(("127.0.0.1", here.port), timeout=5) as raw:
            async with asyncio.timeout(5):
                while not len(here.listener):  # noqa: ASYNC110  # an accept is told by nothing else
                    await asyncio.sleep(0.01)
            await here.listener.close()
            assert await asyncio.to_thread(raw.recv, 10) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", here.port), timeout=5)


@given(st.builds(Sighting, at=st.floats(0, 2e9), address=st.just("10.0.0.1"), hello=st.binary(max_size=200),
                 date=st.text(max_size=20), done=st.booleans(),
                 fault=st.sampled_from(["", "alert_unknown_ca", "timeout"]),
                 chain=st.lists(st.binary(max_size=40), max_size=3).map(tuple), agent=st.text(max_size=40),
                 targets=st.lists(st.text(max_size=40).map("GET {}".format), max_size=3)))  # fmt: skip
def test_a_card_is_made_of_whatever_came(seen: Sighting) -> None:
    card = DRAFTER.card(seen)
    assert all(text.isprintable() for _, text in card.lines())
    assert len(repr(card)) < 20_000


DRAFTER = Drafter(Identifier(Anchors({}), {}, 4).judge, claims_by([one.match for one in drivers()]))


def test_a_line_of_blanks_takes_no_time() -> None:
    begun = time.process_time()
    assert profile._FIELD.fullmatch(b"A:" + b" " * 40_000 + b"b\v") is not None
    assert profile._FIELD.fullmatch(b"A:" + b" " * 40_000 + b"\r") is None
    assert time.process_time() - begun < 1
