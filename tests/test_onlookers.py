"""Workers tell at once of devices that somebody looks at, and of nothing else; no fault keeps a worker waiting."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.model import Event, FetchRecord, ListenerKind, Mac, Proof
from provisioner.onlookers import Onlookers, Sight, Teller

MAC, OTHER = Mac("0004f2aabb01"), Mac("0004f2aabb02")


def fetched(mac: Mac = MAC, file: str = "phone.cfg", at: float = 1.0) -> FetchRecord:
    how = (Proof.CERTIFICATE, ListenerKind.DEVICE, "TLSv1.3", "6.4.0.1")
    return FetchRecord(mac, file, at, 200, 5, "ab" * 32, *how, revision=3, body=b"a SIP password")


def refused(mac: Mac = MAC, **details: str) -> Event:
    return Event("pin_mismatch", 2.0, mac, "alarm", "device", details)


@pytest.fixture
def sight() -> Iterator[Sight]:
    made = Sight()
    yield made
    made.close()


def heard(sight: Sight) -> bool:
    """Whether anything was sent."""
    try:
        return bool(sight.near.recv(65536))
    except BlockingIOError:
        return False


@pytest.mark.asyncio
async def test_nothing_is_sent_while_nobody_looks(sight: Sight) -> None:
    onlookers, teller = Onlookers(sight), Teller(sight)
    with onlookers.looking(OTHER):
        teller.fetched(fetched())
        teller.happened(refused())
        teller.happened(refused(mac=Mac("")))
    teller.fetched(fetched(OTHER))
    assert not heard(sight)


@pytest.mark.asyncio
async def test_whoever_looks_is_told_and_the_body_stays(sight: Sight) -> None:
    onlookers, teller = Onlookers(sight).listen(asyncio.get_running_loop()), Teller(sight)
    with onlookers.looking(MAC) as first, onlookers.looking(MAC) as second:
        teller.fetched(fetched())
        teller.happened(refused(reason="another key"))
        async with asyncio.timeout(5):  # it wakes up by what came, not by its own patience
            await first.wait(60)
        for look in (first, second):
            (record,), (event,) = look.taken()
            assert record == fetched().__class__(**{**vars_of(fetched()), "revision": -1, "body": b""})
            assert event == refused(reason="another key")
            assert look.taken() == ((), ())
        assert onlookers.fetches(MAC) == [record]
        assert onlookers.events(MAC) == [event]
        assert onlookers.looked_at == {MAC: 2}
    assert onlookers.fetches(MAC) == []
    assert onlookers.looked_at == {}
    onlookers.close()


def vars_of(record: FetchRecord) -> dict[str, object]:
    return {name: getattr(record, name) for name in FetchRecord.__dataclass_fields__}


@pytest.mark.asyncio
async def test_who_leaves_first_takes_nothing_from_who_stays(sight: Sight) -> None:
    onlookers, teller = Onlookers(sight).listen(asyncio.get_running_loop()), Teller(sight)
    with onlookers.looking(MAC) as stays:
        with onlookers.looking(MAC), onlookers.looking(OTHER):
            pass
        teller.fetched(fetched(OTHER))
        teller.fetched(fetched())
        await stays.wait(5)
        assert [one.mac for one in stays.taken()[0]] == [MAC]
    onlookers.close()


@pytest.mark.asyncio
async def test_a_wait_ends_by_itself(sight: Sight) -> None:
    onlookers = Onlookers(sight)
    with onlookers.looking(MAC) as look:
        await look.wait(0.01)
        assert look.taken() == ((), ())


@pytest.mark.asyncio
async def test_more_devices_than_there_are_slots_are_told_later_by_the_database(sight: Sight) -> None:
    onlookers, teller = Onlookers(sight), Teller(sight)
    macs = [Mac(f"0004f2{number:06x}") for number in range(300)]
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        first.enter_context(onlookers.looking(macs[0]))
        for mac in macs[1:]:
            stack.enter_context(onlookers.looking(mac))
        told = []
        for mac in macs:
            teller.fetched(fetched(mac))
            told.append(heard(sight))
        assert 200 < sum(told) < 300
        assert told == sorted(told, reverse=True)
        first.close()
        with onlookers.looking(OTHER):  # a slot is free again
            teller.fetched(fetched(OTHER))
            assert heard(sight)


def test_an_end_that_nobody_reads_keeps_no_worker_waiting(sight: Sight) -> None:
    onlookers, teller = Onlookers(sight), Teller(sight)
    with onlookers.looking(MAC):
        for number in range(20_000):
            teller.fetched(fetched(at=float(number)))
        sight.near.close()
        teller.fetched(fetched())
        teller.happened(refused(reason="\\" * 100_000))  # more than one message can be


def test_a_new_admin_process_begins_with_a_clean_page(sight: Sight) -> None:
    before, teller = Onlookers(sight), Teller(sight)
    with before.looking(MAC):  # its process ends without a word
        teller.fetched(fetched())
        Onlookers(sight)
        teller.fetched(fetched())
        assert not heard(sight)


@pytest.mark.asyncio
async def test_a_forked_worker_is_told_of_who_comes_later(sight: Sight) -> None:
    """The page is shared, so a worker that was there before sees who looks now."""
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        teller = sight.teller()
        os.write(ready[1], b".")
        os.read(go[0], 1)
        teller.fetched(fetched())
        os._exit(0)
    os.read(ready[0], 1)
    onlookers = Onlookers(sight).listen(asyncio.get_running_loop())
    with onlookers.looking(MAC) as look:
        os.write(go[1], b".")
        await look.wait(5)
        assert [one.file for one in look.taken()[0]] == ["phone.cfg"]
    onlookers.close()
    await asyncio.to_thread(os.waitpid, child, 0)
    for end in (*ready, *go):
        os.close(end)


def test_without_a_sight_everything_is_quiet() -> None:
    onlookers = Onlookers()
    with onlookers.looking(MAC):
        assert onlookers.fetches(MAC) == []
        assert onlookers.looked_at == {MAC: 1}


_MACS = st.integers(1, 2**48 - 1).map(lambda number: Mac(f"{number:012x}"))


@given(st.lists(_MACS, max_size=8, unique=True), _MACS)
def test_no_device_is_found_across_two_others(looked_at: list[Mac], asked: Mac) -> None:
    sight = Sight()
    try:
        onlookers, teller = Onlookers(sight), Teller(sight)
        with ExitStack() as stack:
            for mac in looked_at:
                stack.enter_context(onlookers.looking(mac))
            for mac in (asked, *(Mac(left[6:] + right[:6]) for left, right in pairwise(looked_at))):
                teller.fetched(fetched(mac))
                assert heard(sight) is (mac in looked_at)
    finally:
        sight.close()


@given(st.text(max_size=50), st.dictionaries(st.text(max_size=9), st.text(max_size=50), max_size=4))
def test_whatever_strangers_write_comes_over_as_it_is(file: str, details: dict[str, str]) -> None:
    sight = Sight()
    try:
        onlookers, teller = Onlookers(sight), Teller(sight)
        with onlookers.looking(MAC) as look:
            teller.fetched(fetched(file=file))
            teller.happened(refused(**details))
            onlookers._hear()
            (record,), (event,) = look.taken()
        assert (record.file, event.details) == (file, details)
    finally:
        sight.close()
