"""Who follows one device is told of its files by the workers themselves, once each, and of nobody else's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from api_house import OTHER, VVX, House
from test_api_stream import listening, next_event

from provisioner.model import Event, FetchRecord, ListenerKind, Mac, Proof
from provisioner.onlookers import Onlookers, Sight, Teller
from provisioner.store.records import Recorder


@pytest_asyncio.fixture
async def teller(house: House) -> AsyncIterator[Teller]:
    """A worker's end."""
    sight = Sight()
    onlookers = Onlookers(sight).listen(asyncio.get_running_loop())
    house.means.feed.onlookers = onlookers  # type: ignore[attr-defined]  # it is the feed itself
    yield Teller(sight)
    onlookers.close()
    sight.close()


def fetched(mac: Mac = VVX, file: str = "0004f2000001.cfg") -> FetchRecord:
    how = (Proof.CERTIFICATE, ListenerKind.DEVICE, "TLSv1.2", "6")
    return FetchRecord(mac, file, time.time(), 200, 10, "ab" * 32, *how)


@pytest.mark.asyncio
async def test_a_file_is_told_at_once_and_not_again_when_it_is_written(house: House, teller: Teller) -> None:
    recorder = Recorder(house.means.store, house.means.settings, lambda *_: None, teller=teller)
    async with listening(house, f"?mac={VVX}") as response:
        await asyncio.sleep(0.3)
        recorder.fetch(fetched(OTHER))
        recorder.fetch(fetched())
        told = await next_event(response)
        assert recorder.waiting(), "nothing is written yet"
        assert (told["event"], told["data"]["mac"], told["data"]["file"]) == ("fetch", VVX, "0004f2000001.cfg")
        await recorder.flush()
        recorder.fetch(fetched(file="second.cfg"))
        assert (await next_event(response))["data"]["file"] == "second.cfg"


@pytest.mark.asyncio
async def test_an_event_is_told_with_its_number_once_it_has_one(house: House, teller: Teller) -> None:
    recorder = Recorder(house.means.store, house.means.settings, lambda *_: None, teller=teller)
    async with listening(house, f"?mac={VVX}") as response:
        await asyncio.sleep(0.3)
        recorder.event(Event("not_yours", time.time(), VVX, "warning", "device", {"reason": "another's file"}))
        assert (await asyncio.wait_for(response.content.readuntil(b"moment\n\n"), 1)).endswith(b"more in a moment\n\n")
        await recorder.flush()
        told = await next_event(response)
    assert (told["event"], told["data"]["details"]["reason"]) == ("not_yours", "another's file")
    assert int(told["id"]) > 0


@pytest.mark.asyncio
async def test_who_asks_for_one_kind_of_event_is_told_of_no_file(house: House, teller: Teller) -> None:
    async with listening(house, f"?mac={VVX}&kind=device_revoked") as response:
        await asyncio.sleep(0.3)
        teller.fetched(fetched())
        await house.fleet.revoke_device(VVX)
        assert (await next_event(response))["event"] == "device_revoked"


@pytest.mark.asyncio
async def test_whoever_has_left_is_not_told(house: House, teller: Teller) -> None:
    async with listening(house, f"?mac={VVX}"):
        await asyncio.sleep(0.1)
        feed = house.means.feed
        assert feed.onlookers.looked_at == {VVX: 1}  # type: ignore[attr-defined]  # it is the feed itself
    for _ in range(100):
        if not feed.onlookers.looked_at:  # type: ignore[attr-defined]  # as above
            break
        await asyncio.sleep(0.05)
    assert feed.onlookers.looked_at == {}  # type: ignore[attr-defined]  # as above
