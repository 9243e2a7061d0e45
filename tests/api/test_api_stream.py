"""The live feed: as it happens, from where one left off, bounded, and no text from outside can forge a line of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from api_house import VVX, House, serving

from provisioner.events import KINDS
from provisioner.http.api.stream import told_event
from provisioner.model import Event, FetchRecord, ListenerKind, Proof
from provisioner.rights import OPERATOR, Principal
from provisioner.store.journal import write_events
from provisioner.store.records import Recorder
from provisioner.store.rows import StoredEvent


@asynccontextmanager
async def listening(house: House, query: str = "", **headers: str) -> AsyncIterator[aiohttp.ClientResponse]:
    sent = {"Authorization": "Bearer operator", **{key.replace("_", "-"): one for key, one in headers.items()}}
    async with house.session.get(f"{house.url}/api/v1/events/stream{query}", headers=sent) as response:
        yield response


async def next_event(response: aiohttp.ClientResponse, seconds: float = 5.0) -> dict[str, Any]:
    found: dict[str, Any] = {}
    async with asyncio.timeout(seconds):
        while True:
            line = (await response.content.readline()).decode().rstrip("\n")
            if not line and "data" in found:
                return found
            name, _, value = line.partition(": ")
            if name in ("id", "event", "data"):
                found[name] = json.loads(value) if name == "data" else value


@pytest.mark.asyncio
async def test_what_happens_is_told_at_once(house: House) -> None:
    async with listening(house) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        began = time.monotonic()
        await house.fleet.revoke_device(VVX)
        told = await next_event(response)
        assert time.monotonic() - began < 0.5 + 1.0  # a busy machine; the look itself is 0.2 s apart
    assert (told["event"], told["data"]["mac"]) == ("device_revoked", VVX)
    assert int(told["id"]) == told["data"]["id"]


@pytest.mark.asyncio
async def test_who_comes_back_misses_nothing(house: House) -> None:
    async with listening(house) as response:
        await house.fleet.revoke_device(VVX)
        last = (await next_event(response))["id"]
    await house.fleet.restore_device(VVX)
    await house.fleet.revoke_device(VVX)
    async with listening(house, Last_Event_ID=last) as response:
        assert [(await next_event(response))["event"] for _ in range(2)] == ["device_restored", "device_revoked"]


@pytest.mark.asyncio
async def test_a_device_is_followed_file_by_file(house: House) -> None:
    recorder = Recorder(house.means.store, house.means.settings, lambda _metric, _label: None)
    async with listening(house, f"?mac={VVX}") as response:
        await asyncio.sleep(0.3)
        how = (Proof.CERTIFICATE, ListenerKind.DEVICE, "TLSv1.2", "6")
        record = FetchRecord(VVX, "0004f2000001.cfg", time.time() + 1, 200, 10, "ab" * 32, *how)
        recorder.fetch(record)
        await recorder.flush()
        told = await next_event(response)
    assert (told["event"], told["data"]["file"], told["data"]["status"]) == ("fetch", "0004f2000001.cfg", 200)
    assert "id" not in told


@pytest.mark.asyncio
async def test_only_what_was_asked_for(house: House) -> None:
    async with listening(house, "?kind=device_restored") as response:
        await house.fleet.revoke_device(VVX)
        await house.fleet.restore_device(VVX)
        assert (await next_event(response))["event"] == "device_restored"


@pytest.mark.asyncio
async def test_an_event_that_shows_up_late_is_told_and_none_twice(house: House) -> None:
    """As on PostgreSQL, where a transaction with a lower number may end after one with a higher."""
    async with house.means.store.writing() as connection:
        await write_events(connection, [Event(f"kind{one}", 1.0) for one in range(3)])
        (last,) = (await connection.exec_driver_sql("SELECT max(id) FROM event")).one()
        await connection.exec_driver_sql(f"UPDATE event SET id = {last + 50} WHERE id = {last}")  # the higher number
    async with listening(house, Last_Event_ID=str(last - 3)) as response:
        assert [(await next_event(response))["event"] for _ in range(3)] == ["kind0", "kind1", "kind2"]
        async with house.means.store.writing() as connection:
            for number, kind in ((last + 49, "late"), (last + 51, "next")):
                given = f"({number}, 1, '{kind}', '', 'info', '', 0, '{{}}')"
                columns = "id, at, kind, mac, severity, actor, audit, details"
                await connection.exec_driver_sql(f"INSERT INTO event ({columns}) VALUES {given}")
        assert [(await next_event(response))["event"] for _ in range(2)] == ["late", "next"]


@pytest.mark.asyncio
async def test_there_is_room_for_so_many_and_one_caller_has_a_tenth(installed: Path) -> None:
    async with serving(installed, api_streams=10) as house:
        house.keeper.known["other"] = Principal("other", OPERATOR.parts)
        async with listening(house) as response:
            assert response.status == 200
            refused = await house.ask("GET", "/events/stream")
            assert (refused.status, refused.json["type"]) == (503, "/api/v1/problems/crowded")
            async with listening(house, Authorization="Bearer other") as second:
                assert second.status == 200
        for _ in range(50):
            async with listening(house) as again:
                if again.status == 200:
                    break
            await asyncio.sleep(0.1)
        assert again.status == 200


@pytest.mark.asyncio
async def test_a_number_that_is_none_is_refused(house: House) -> None:
    answer = await house.ask("GET", "/events/stream", headers={"Last-Event-ID": "x"})
    assert answer.status == 400


def test_no_text_from_outside_ends_a_line() -> None:
    evil = StoredEvent(
        7, 1.0, "not_identified", "", "warning", "device", {"user_agent": "x\n\nevent: forged\ndata: {}\r\u2028"}
    )
    lines = told_event(evil).split("\n")
    assert lines[0] == "id: 7"
    assert [one.partition(":")[0] for one in lines if one] == ["id", "event", "data"]
    assert "not_identified" in KINDS
