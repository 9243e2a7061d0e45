"""Storms as events: once a node, with what is known, bounded, and never lost to a database that is away for a while."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from storm_scene import Scene, Told

from provisioner.counters import exposition
from provisioner.errors import StoreFailed
from provisioner.events import KINDS
from provisioner.http.storm_events import StormEvents
from provisioner.store import engine as engines
from provisioner.store import journal, migrations
from provisioner.store.rows import StoredEvent
from provisioner.store.storms import StormJournal


@pytest.mark.asyncio
async def test_a_storm_is_one_event_at_its_begin_and_one_at_its_end() -> None:
    scene = Scene()
    await scene.begin()
    await scene.second(boots=40, begun=80, gate_delay_now_seconds=0.9)
    await scene.second(storm_mode=1, storm_seconds=0.5, gate_capacity=80, gate_waiting=300, gate_delay_now_seconds=0.6)
    began_at = scene.times.wall() - 0.5
    for number in range(9):
        worst = 3.75 if number == 4 else 1.0
        await scene.second(boots=40, begun=80, storm_back=40 * number + 40, gate_delay_now_seconds=worst)
    await scene.second(storm_mode=0, storm_back=0, gate_delay_now_seconds=0.0)
    ended_at = scene.times.wall()
    await scene.second()
    await scene.events.deliver()
    began, ended = scene.journal.events
    assert (began.kind, began.severity, began.actor) == ("storm_began", "warning", "server")
    assert (ended.kind, ended.severity, ended.actor) == ("storm_ended", "info", "server")
    assert (began.at, ended.at) == (began_at, ended_at)
    assert began.details == {"node": "node-1", "delay_s": "0.90", "devices": "1000", "pace": "40"}
    assert ended.details == {
        "node": "node-1", "lasted_s": "10", "worst_delay_s": "3.75", "back": "360", "devices": "1000",
        "outstanding": "640",
    }  # fmt: skip
    assert {began.kind, ended.kind} <= set(KINDS)


@pytest.mark.asyncio
async def test_the_worst_wait_is_of_this_storm_and_what_is_not_known_is_left_out() -> None:
    scene = Scene()
    await scene.watch.look()  # nobody has counted the fleet
    await scene.second(storm_mode=1, gate_delay_now_seconds=9.0)
    await scene.second(storm_mode=0, gate_delay_now_seconds=0.1)
    scene.times.now += 60
    await scene.second(storm_mode=1, gate_delay_now_seconds=0.7)
    await scene.second(storm_mode=0)
    await scene.events.deliver()
    assert [one.kind for one in scene.journal.events] == ["storm_began", "storm_ended"] * 2
    assert scene.journal.events[3].details["worst_delay_s"] == "0.70"
    for one in scene.journal.events:
        assert not {"devices", "outstanding", "pace"} & set(one.details)


@pytest.mark.asyncio
async def test_storms_that_flicker_are_at_most_a_pair_a_minute() -> None:
    scene = Scene()
    await scene.begin()
    for _ in range(150):
        await scene.second(storm_mode=1)
        await scene.second(storm_mode=0)
    await scene.events.deliver()
    told = scene.journal.events
    assert [one.kind for one in told] == ["storm_began", "storm_ended"] * 5
    assert [one.details.get("untold_before") for one in told if one.kind == "storm_began"] == [None, *["29"] * 4]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("told_before", "kinds"),
    [
        (None, ["storm_began", "storm_ended"]),
        (3.0, ["storm_ended"]),
        (5000.0, ["storm_began", "storm_ended"]),
    ],
    ids=["never told", "told by the process before", "another storm, whose end was never told"],
)
async def test_a_storm_met_under_way_is_told_unless_it_has_been(told_before: float | None, kinds: list[str]) -> None:
    scene = Scene()
    scene.workers.told("storm_mode", "", 1)
    scene.workers.told("storm_seconds", "", 120.0)
    if told_before is not None:
        scene.journal.open = scene.times.wall() - 120.0 - told_before
    await scene.begin()
    await scene.second(storm_mode=0)
    await scene.events.deliver()
    assert [one.kind for one in scene.journal.events] == kinds


@pytest.mark.asyncio
async def test_what_cannot_be_written_waits_in_order_and_within_bounds() -> None:
    kept = Told()
    events = StormEvents(kept)
    kept.broken = True
    for number in range(40):
        at = 100.0 * number
        events.began(at, at, {"number": str(number)}, met=False)
        events.ended(at + 50, {"number": str(number)})
        with pytest.raises(StoreFailed):
            await events.deliver()
    kept.broken = False
    await events.deliver()
    assert [one.details["number"] for one in kept.events] == [str(number) for number in range(24, 40) for _ in "be"]
    await events.deliver()
    assert len(kept.events) == 32, "each is written once"


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 200)), max_size=60))
def test_however_it_storms_begins_and_ends_take_turns(turns: list[tuple[bool, float]]) -> None:
    """No end without its begin, and no two begins within a minute, whatever the watch may say."""
    kept = Told()

    async def storm() -> None:
        events, now = StormEvents(kept), 0.0
        for begins, pause in turns:
            now += pause
            if begins:
                events.began(now, now, {}, met=False)
            else:
                events.ended(now, {})
            await events.deliver()

    asyncio.run(storm())
    began = [one.at for one in kept.events if one.kind == "storm_began"]
    assert all(later - earlier >= 60 for earlier, later in pairwise(began))
    kinds = [one.kind for one in kept.events]
    assert all(kinds[place - 1] == "storm_began" for place, kind in enumerate(kinds) if kind == "storm_ended")
    assert kinds[:1] in ([], ["storm_began"])


# --- the real journal -------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def database(tmp_path: Path) -> AsyncIterator[Callable[[str], StormJournal]]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'provisioner.db'}"
    await asyncio.to_thread(migrations.upgrade, url)
    engine = engines.make_engine(engines.parse_url(url))
    try:
        yield lambda node: StormJournal(engine, node)
    finally:
        await engine.dispose()


async def listed(of: StormJournal) -> list[StoredEvent]:
    async with engines.reading(of._engine) as connection:
        return await journal.list_events(connection, limit=100)


@pytest.mark.asyncio
async def test_an_admin_process_replaced_in_a_storm_tells_its_end_but_not_its_begin_again(tmp_path: Path) -> None:
    async with database(tmp_path) as of:
        for _ in range(2):
            scene = Scene(journal=of("node-1"))
            scene.workers.told("storm_mode", "", 1)
            scene.workers.told("storm_seconds", "", 30.0)
            await scene.begin()
            await scene.events.deliver()
        await scene.second(storm_mode=0)
        await scene.events.deliver()
        assert [row.kind for row in await listed(of("node-1"))] == ["storm_began", "storm_ended"]


# --- capacity ---------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_capacity_is_one_figure_in_the_view_and_the_metrics_and_apart_from_pace(tmp_path: Path) -> None:
    scene = Scene()
    await scene.begin()
    await scene.second(boots=10, begun=10, storm_mode=1, gate_capacity=300)
    assert scene.watch.view().capacity is None
    assert exposition(tmp_path, scene.watch) == b""
    scene.workers.told("busy_boots_total", "", 400)
    scene.workers.told("busy_cpu_seconds_total", "", 3.2)
    scene.workers.told("busy_timestamp_seconds", "", 1_800_000_000.0)
    await scene.second(boots=10, begun=10)
    view = scene.watch.view()
    assert view.capacity is not None
    assert view.capacity.boots == pytest.approx(2 * 0.8 / 0.008)
    assert (view.capacity.counted, view.capacity.at) == (400, 1_800_000_000.0)
    assert view.pace == 300
    (family,) = text_string_to_metric_families(exposition(tmp_path, scene.watch).decode())
    (told,) = family.samples
    assert (told.name, told.value) == ("provisioner_capacity_boots", pytest.approx(200.0))
