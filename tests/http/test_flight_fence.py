"""A fault in who only keeps records costs a record: sockets are given back, time-outs go on, and it is counted."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, cast

import pytest

from provisioner.background import Fence
from provisioner.flight_draft import Claim
from provisioner.flight_log import FlightLog
from provisioner.flight_notes import FlightNotes, TlsSeen
from provisioner.model import ListenerKind
from provisioner.settings import Settings
from provisioner.store.database import Store
from tests.http.conftest import Pki, client_context, client_hello, edge, exchange, get

PLAIN = b"GET /s3cret-of-a-stranger HTTP/1.1\r\nHost: x\r\n\r\n"


def faulty(_target: str, _agent: str) -> Claim:
    raise RuntimeError("s3cret-of-a-stranger")


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class Raising:
    """A sink without a fence: the worst that can be."""

    def over(self, notes: FlightNotes, seen: Callable[[], TlsSeen]) -> NoReturn:
        raise RuntimeError(notes.end, seen().version)

    def turned_away(self, notes: FlightNotes) -> NoReturn:
        raise RuntimeError(notes.end)


@pytest.mark.asyncio
async def test_a_fault_costs_the_record_alone(pki: Pki, caplog: pytest.LogCaptureFixture) -> None:
    counts: Counter[str] = Counter()
    log = FlightLog(cast("Store", None), Settings(), lambda *words: counts.update([" ".join(words)]), faulty)
    async with edge(pki.context(), flights=log, tls_handshake_timeout=0.4, tls_hello_timeout=0.4) as server:
        before = descriptors()
        with caplog.at_level(logging.ERROR, "provisioner.server"):
            assert (await asyncio.to_thread(exchange, server.port, [PLAIN])).startswith(b"HTTP/1.1 400 ")
            await get(client_context(pki, pki.stranger), server.port)
            hello = client_hello(pki)
            await asyncio.gather(
                *(asyncio.to_thread(exchange, server.port, [some]) for some in (hello, b"", hello, b"", hello))
            )
            await server.empty()
        assert descriptors() == before
        assert (server.counts["tls_refused handshake_timeout"], server.counts["tls_refused hello_timeout"]) == (3, 2)
    assert counts == {"flights fault": 7} and len(log) == 0
    (told,) = caplog.records
    assert "RuntimeError at" in told.getMessage() and "test_flight_fence.py:" in told.getMessage()
    assert "s3cret" not in caplog.text


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", [ListenerKind.DEVICE, ListenerKind.BOOTSTRAP])
async def test_whoever_keeps_records_is_told_when_nobody_waits_any_more(pki: Pki, kind: ListenerKind) -> None:
    """Without any fence each turn of the time-outs ends early, and still the next one has one connection less."""
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, about: faults.append(about.get("exception")))
    context = None if kind is ListenerKind.BOOTSTRAP else pki.context()
    given = {"tls_handshake_timeout": 0.4, "http_head_timeout": 0.4}
    async with edge(context, kind=kind, flights=Raising(), **given) as server:
        before = descriptors()
        sent = b"GET / HT" if context is None else client_hello(pki)
        await asyncio.gather(*(asyncio.to_thread(exchange, server.port, [sent]) for _ in range(3)))
        await server.empty()
        assert descriptors() == before
    assert [type(one) for one in faults] == [RuntimeError] * 3


def test_a_fault_is_told_once_a_minute_by_its_place_and_counted_each_time(caplog: pytest.LogCaptureFixture) -> None:
    now, counts, done = [0.0], Counter[str](), list[int]()
    fence = Fence("flights", lambda name, label: counts.update([f"{name} {label}"]), lambda: now[0])
    for at in (0.0, 59.0, 61.0, 62.0):
        now[0] = at
        assert not fence.holds(faulty, "s3cret", "")
    assert fence.holds(done.append, 1) and done == [1]
    assert counts == {"flights fault": 4} and len(caplog.records) == 2
    assert "s3cret" not in caplog.text
    with pytest.raises(KeyboardInterrupt):
        fence.holds(_stopped)


def _stopped() -> None:
    raise KeyboardInterrupt
