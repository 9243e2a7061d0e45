"""What is jotted down of each connection, by real clients that do what phones do when something is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from provisioner.diagnosis.facts import Fact, Kind
from provisioner.flight import Flight, packed, unpacked
from provisioner.flight_draft import Claim, draft, label_of
from provisioner.flight_notes import HELLO, FlightNotes, TlsSeen
from provisioner.http.tcp_state import tcp_state
from provisioner.model import ListenerKind
from tests.http.conftest import REQUEST, Edge, Pki, client_context, client_hello, edge, exchange, get, reset

pytestmark = pytest.mark.asyncio


class Kept:
    """Keeps all of it, as it would be written."""

    def __init__(self) -> None:
        self.flights: list[Flight] = []

    def over(self, notes: FlightNotes, seen: Callable[[], TlsSeen]) -> None:
        self._keep(notes, seen())

    def turned_away(self, notes: FlightNotes) -> None:
        self._keep(notes, TlsSeen())

    def _keep(self, notes: FlightNotes, seen: TlsSeen) -> None:
        made = draft(notes, seen, notes.at + 1, label_of(notes), lambda _target, _agent: Claim())
        told = unpacked(packed(made.told))
        self.flights.append(
            Flight(made.owner, 1, made.at, made.mac, str(told["a"]), made.trouble, made.label, "", told)
        )


@asynccontextmanager
async def recorded(
    pki: Pki, kind: ListenerKind = ListenerKind.DEVICE, **given: Any
) -> AsyncIterator[tuple[Edge, Kept]]:
    kept = Kept()
    context = None if kind is ListenerKind.BOOTSTRAP else pki.context(kind)
    async with edge(context, kind=kind, flights=kept, **given) as server:
        yield server, kept


async def the_one(server: Edge, kept: Kept) -> Flight:
    await server.until(lambda: bool(kept.flights))
    await server.empty()
    (flight,) = kept.flights
    assert all(value.isprintable() for fact in flight.facts() for value in fact.values.values())
    return flight


def facts(flight: Flight, kind: Kind) -> list[Fact]:
    found = [one for one in flight.facts() if one.kind is kind]
    assert all(one["connection"] == flight.id and str(one.witness) == f"server: record {flight.id}" for one in found)
    return found


async def test_a_good_connection_leaves_hello_handshake_and_chain(pki: Pki) -> None:
    async with recorded(pki) as (server, kept):
        await get(client_context(pki, pki.good, "1.2"), server.port)
        flight = await the_one(server, kept)
    (accepted,), (hello,) = facts(flight, Kind.ACCEPTED), facts(flight, Kind.HELLO)
    assert (accepted["address"], accepted["listener"]) == ("127.0.0.1", "device") and int(accepted["port"]) > 1023
    assert (hello["sni"], hello["versions"]) == ("localhost", "TLSv1.2")
    assert re.fullmatch("[0-9a-f]{16}", hello["random"]), "by which a capture of the same connection is known"
    assert "ECDHE-RSA-AES128-GCM-SHA256" in hello["suites"].split(",")
    assert "rsa_pss_rsae_sha256" in hello["signature_algorithms"].split(",")
    (done,), (chain,) = facts(flight, Kind.TLS_DONE), facts(flight, Kind.CHAIN)
    assert (done["version"], done["resumed"]) == ("TLSv1.2", "no") and done["suite"].startswith("ECDHE-")
    assert (chain["length"], chain["subject"], chain["issuer"]) == ("2", "CN=0004F2AABBCC", "CN=Factory Issuing")
    assert (chain["root"], chain["key"], chain["signature"]) == ("CN=Factory Root", "RSA 2048", "sha256")
    assert float(chain["not_before"]) < flight.at < float(chain["not_after"])
    assert not facts(flight, Kind.ALERT) and not facts(flight, Kind.TLS_REFUSED)


async def test_a_resumed_session_says_so_and_knows_the_leaf_alone(pki: Pki) -> None:
    async with recorded(pki) as (server, kept):
        context = client_context(pki, pki.good)
        _, session, _ = await get(context, server.port)
        await get(context, server.port, "b.cfg", session)
        await server.until(lambda: len(kept.flights) == 2)
    (done,), (chain,) = facts(kept.flights[1], Kind.TLS_DONE), facts(kept.flights[1], Kind.CHAIN)
    assert done["resumed"] == "yes"
    assert (chain["subject"], chain["length"], chain["root"]) == ("CN=0004F2AABBCC", "", "")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_a_phone_that_does_not_trust_us_is_the_one_who_refused(pki: Pki, version: str) -> None:
    distrustful = ssl.create_default_context()
    distrustful.minimum_version = distrustful.maximum_version = getattr(ssl.TLSVersion, f"TLSv1_{version[-1]}")
    async with recorded(pki) as (server, kept):
        with pytest.raises(ssl.SSLCertVerificationError):
            await get(distrustful, server.port)
        flight = await the_one(server, kept)
    assert (flight.label, flight.trouble) == ("alert_unknown_ca", True)
    (alert,), (refused,) = facts(flight, Kind.ALERT), facts(flight, Kind.TLS_REFUSED)
    assert (alert["by"], alert["code"], alert["name"]) == ("phone", "48", "unknown_ca")
    assert (refused["by"], refused["why"], refused["sure"]) == ("phone", "unknown_ca", "yes")
    assert not facts(flight, Kind.TLS_DONE)


@pytest.mark.parametrize(
    ("options", "label", "code"),
    [
        (["-tls1", "-cipher", "DEFAULT:@SECLEVEL=0"], "old_version", "70"),
        (["-tls1_2", "-cipher", "AES128-SHA"], "no_shared_cipher", "40"),
        (["-tls1_3", "-alpn", "h2"], "no_http11", "120"),
    ],
)
async def test_a_hello_that_fits_nothing_is_refused_by_us_with_that_alert(
    pki: Pki, options: list[str], label: str, code: str
) -> None:
    async with recorded(pki) as (server, kept):
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", *options]
        run = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, stdin=subprocess.DEVNULL, timeout=20
        )
        flight = await the_one(server, kept)
    assert f"alert number {code}".encode() in run.stderr, "what the client got is what is said of it"
    assert flight.label == label
    (alert,), (refused,) = facts(flight, Kind.ALERT), facts(flight, Kind.TLS_REFUSED)
    assert (alert["by"], alert["code"], alert["sure"]) == ("server", code, "yes")
    assert (refused["by"], refused["why"]) == ("server", label)
    assert facts(flight, Kind.HELLO)


async def test_a_phone_without_a_certificate_sends_an_empty_chain(pki: Pki) -> None:
    async with recorded(pki) as (server, kept):
        await get(client_context(pki), server.port)
        flight = await the_one(server, kept)
    (chain,) = facts(flight, Kind.CHAIN)
    assert (chain["length"], chain["subject"]) == ("0", "")


async def test_the_chain_is_told_as_it_was_presented_whatever_it_is_worth(pki: Pki) -> None:
    async with recorded(pki) as (server, kept):
        await get(client_context(pki, pki.stranger), server.port)
        await get(client_context(pki, pki.leaf_only), server.port)
        await server.until(lambda: len(kept.flights) == 2)
    told = [facts(one, Kind.CHAIN)[0] for one in kept.flights]
    assert [(one["length"], one["root"]) for one in told] == [("2", "CN=Stranger Root"), ("1", "CN=Factory Issuing")]


async def test_a_silent_caller_and_half_a_hello_are_told_from_each_other(pki: Pki) -> None:
    hello = client_hello(pki)
    async with recorded(pki, tls_hello_timeout=0.4) as (server, kept):
        for first in (b"", hello[:40]):
            assert await asyncio.to_thread(exchange, server.port, [first]) == b""
        await server.until(lambda: len(kept.flights) == 2)
    for flight in kept.flights:
        (stalled,) = facts(flight, Kind.STALLED)
        assert flight.label == "hello_timeout" and stalled["in"] == "hello"
        assert (stalled["retransmits"], stalled["unacked"], stalled["sacked"]) == ("0", "0", "0")
        assert not facts(flight, Kind.TLS_REFUSED), "nobody has refused anybody"


async def test_half_a_handshake_leaves_what_the_kernel_knows(pki: Pki) -> None:
    async with recorded(pki, tls_handshake_timeout=0.4) as (server, kept):
        await asyncio.to_thread(exchange, server.port, [client_hello(pki)])
        flight = await the_one(server, kept)
    assert flight.label == "handshake_timeout"
    (stalled,), (hello,) = facts(flight, Kind.STALLED), facts(flight, Kind.SERVER_HELLO)
    assert (stalled["in"], stalled["unacked"], stalled["lost"]) == ("handshake", "0", "0"), "all of ours has arrived"
    assert int(stalled["path_mtu"]) > 1000
    assert hello["version"] == "TLSv1.3" and not facts(flight, Kind.TLS_DONE)


@pytest.mark.parametrize(
    ("sent", "label"),
    [(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "plain_http"), (b"\x00\x01\x02\x03garbage", "not_tls")],
)
async def test_what_is_no_tls_is_told(pki: Pki, sent: bytes, label: str) -> None:
    async with recorded(pki) as (server, kept):
        await asyncio.to_thread(exchange, server.port, [sent])
        flight = await the_one(server, kept)
    (refused,) = facts(flight, Kind.TLS_REFUSED)
    assert (flight.label, refused["why"]) == (label, label)
    assert not facts(flight, Kind.HELLO)


async def test_who_leaves_and_who_resets_within_the_handshake(pki: Pki) -> None:
    async with recorded(pki) as (server, kept):
        for end in (socket.socket.close, reset):
            raw = socket.create_connection(("127.0.0.1", server.port))
            raw.sendall(client_hello(pki))
            await asyncio.to_thread(raw.recv, 1)
            end(raw)
            await server.empty()
    left, broken = kept.flights
    assert {left.label, broken.label} <= {"left", "reset"}, "closing over unread data is a reset, too"
    (gone,) = facts(broken, Kind.RESET)
    assert (gone["by"], gone["after"]) == ("phone", "hello")


async def test_a_handshake_without_a_request_is_trouble(pki: Pki) -> None:
    def shake() -> None:
        raw = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        with client_context(pki, pki.good).wrap_socket(raw, server_hostname="localhost"):
            pass

    async with recorded(pki) as (server, kept):
        await asyncio.to_thread(shake)
        flight = await the_one(server, kept)
    assert (flight.label, flight.trouble) == ("no_request", True)
    assert facts(flight, Kind.TLS_DONE)
    (over,) = facts(flight, Kind.CLOSED) or facts(flight, Kind.RESET)  # who closes over unread tickets resets
    assert (over["by"], over["after"]) in {("phone", "handshake"), ("", "handshake")}


async def test_a_head_that_is_no_http_and_one_that_never_ends(pki: Pki) -> None:
    async with recorded(pki, http_head_timeout=0.4) as (server, kept):
        for sent in (b"NONSENSE\r\n\r\n", b"GET /a.cfg HTTP/1.1\r\n"):
            await asyncio.to_thread(_say, pki, server.port, sent)
            await server.empty()
    assert [one.label for one in kept.flights] == ["http_400", "head_timeout"]
    (stalled,) = facts(kept.flights[1], Kind.STALLED)
    assert stalled["in"] == "request"


def _say(pki: Pki, port: int, sent: bytes) -> None:
    raw = socket.create_connection(("127.0.0.1", port), timeout=10)
    with client_context(pki, pki.good).wrap_socket(raw, server_hostname="localhost") as tls:
        tls.sendall(sent)
        with contextlib.suppress(OSError):
            while tls.recv(4096):
                pass


async def test_the_plain_listener_has_records_too(pki: Pki) -> None:
    async with recorded(pki, ListenerKind.BOOTSTRAP) as (server, kept):
        await asyncio.to_thread(
            exchange, server.port, [REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") % b"a"]
        )
        flight = await the_one(server, kept)
    assert flight.listener == "bootstrap"


async def test_nobody_is_asked_for_anything_where_nobody_keeps_it(pki: Pki) -> None:
    async def look(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request.transport.notes)  # type: ignore[union-attr]  # our own transport
        return web.Response(text="ok")

    seen: list[object] = []
    async with edge(pki.context(), look) as server:
        await get(client_context(pki, pki.good), server.port)
    assert seen == [None]


async def test_a_hello_is_kept_no_longer_than_it_may_be(pki: Pki) -> None:
    class Counting(Kept):
        def turned_away(self, notes: FlightNotes) -> None:
            sizes.append(len(notes.hello))
            super().turned_away(notes)

    sizes: list[int] = []
    body = b"\x03\x03" + bytes(32) + b"\0" + (12_000).to_bytes(2) + b"\x13\x01" * 6000 + b"\x01\0"
    record = b"\x01" + len(body).to_bytes(3) + body
    sent = b"\x16\x03\x01" + len(record).to_bytes(2) + record
    kept = Counting()
    async with edge(pki.context(), flights=kept, gate_queue=0) as server:
        assert await asyncio.to_thread(exchange, server.port, [sent]) == b""
        await server.until(lambda: bool(kept.flights))
    assert sizes == [HELLO]
    (early,) = facts(kept.flights[0], Kind.REFUSED_EARLY)
    assert (early["by"], early["why"], kept.flights[0].label) == ("gate", "full", "gate_full")


async def test_the_kernel_says_nothing_of_what_is_no_tcp() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert tcp_state(one) is None
