"""The storm view: what it makes of the workers' metrics, and what a browser makes of it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import logging
import math
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from lxml import html
from storm_scene import Scene, Times, thousand
from yarl import URL

from provisioner.capacity import Capacity, Source
from provisioner.http.admin import AdminEdge, Health
from provisioner.http.fleet_state import FleetState
from provisioner.http.server import QuietServer
from provisioner.http.storm_page import document, duration, page
from provisioner.http.storm_watch import KEPT, Sample, StormView
from provisioner.store.census import Group

# --- the watch ------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_rates_are_differences_over_all_workers_and_labels() -> None:
    scene = Scene()
    await scene.begin()
    assert list(scene.watch.samples) == []  # one look is no difference
    scene.workers.more("boots_total", "yealink", 7)
    await scene.second(boots=13, begun=30, dropped=4, gate_waiting=9, gate_delay_now_seconds=0.25)
    scene.times.now += 1.0  # a look was missed
    scene.times.jump = -86_400
    await scene.second(boots=10)
    first, second = scene.watch.samples
    assert (first.boots, first.begun, first.dropped, first.waiting, first.delay) == (20, 30, 4, 9, 0.25)
    assert second.boots == 5  # over two seconds, whatever the wall clock did


@pytest.mark.asyncio
async def test_handshakes_that_are_never_finished_are_told_while_all_is_calm() -> None:
    scene = Scene()
    await scene.begin()
    for _ in range(5):
        scene.workers.more("tls_refused_total", "handshake_timeout", 40)
        scene.workers.more("tls_refused_total", "left", 10)
        scene.workers.more("tls_refused_total", "plain_http", 1000)
        await scene.second(begun=100)
    view, newest = scene.watch.view(), scene.watch.samples[-1]
    assert (newest.timed_out, newest.left_early) == (40, 10)
    assert (view.storm, view.timed_out, view.left_early, view.unfinished) == (False, 40, 10, True)
    told = html.document_fromstring(page(view, scene.watch.samples, 5)).text_content()
    assert "40.0 timed out and 10.0 callers left a second): the phones or the way to them are slow, not this" in told
    found = json.loads(document(view, scene.watch.samples))
    assert (found["now"]["timed_out"], found["samples"][-1]["timed_out"]) == (40, 40)
    assert "not this server" not in page(replace(view, storm=True), [], 5).decode(), "in a storm it may be both"
    for _ in range(10):
        await scene.second(begun=100)
    assert not scene.watch.view().unfinished
    assert "never finished" not in page(scene.watch.view(), [], 5).decode()


@pytest.mark.parametrize(("begun", "lost", "many"), [(100, 19, False), (100, 20, True), (0, 50, False), (2, 0, False)])
@pytest.mark.asyncio
async def test_a_few_who_leave_are_no_trouble_and_a_probe_of_the_port_is_none(
    begun: int, lost: int, many: bool
) -> None:
    scene = Scene()
    await scene.begin()
    scene.workers.more("tls_refused_total", "left", lost)
    await scene.second(begun=begun)
    assert scene.watch.view().unfinished is many


@pytest.mark.asyncio
async def test_a_storm_is_told_and_its_end_is_reckoned(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "provisioner.server")
    scene = Scene()
    await scene.begin()
    await scene.second(boots=500, begun=1000)
    assert scene.watch.view().left == 0.0
    await scene.second(storm_mode=1, gate_capacity=80, gate_waiting=300, gate_delay_now_seconds=0.6)
    view = scene.watch.view()
    assert view.storm
    assert (view.fleet, view.back) == (1000, 0)  # revoked devices do not come back
    assert (view.connections, view.pace) == (80, 40)  # two connections a boot, as before the storm
    assert view.capacity is None, "a pace is none: nobody has measured what a boot costs"
    assert view.left == 25.0
    assert "1000 devices, about 0 back; time until all are back: about 25 s" in caplog.text
    for number in range(10):
        await scene.second(boots=40, begun=80, storm_back=40 * number + 40)
    view = scene.watch.view()
    assert (view.back, view.left, view.lasted) == (400, 15.0, 10.0)
    assert scene.watch.samples[-1].back == 400
    await scene.second(storm_mode=0, storm_back=0)
    assert scene.watch.view().left == 0.0
    assert scene.watch.view().back == 0
    assert "storm mode ended after 11 s; about 400 devices came back meanwhile" in caplog.text
    assert len(caplog.records) == 2


@pytest.mark.asyncio
async def test_a_storm_met_under_way_began_before(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.workers.told("storm_mode", "", 1)
    scene.workers.told("storm_seconds", "", 120.0)
    await scene.begin()
    view = scene.watch.view()
    assert view.lasted == 120.0
    assert view.since == scene.times.wall() - 120.0
    assert math.isinf(view.left)
    assert "not known before a pace is measured" in caplog.text
    for number in range(70):
        await scene.second(boots=10, begun=10, gate_capacity=10, storm_back=10 * number + 10)
    reminders = [one.getMessage() for one in caplog.records if "all are back: about" in one.getMessage()]
    assert len(reminders) == 2  # as soon as it is known, and a minute later
    assert "1000 devices, about 10 back; time until all are back: about 99 s" in reminders[0]
    assert "1000 devices, about 610 back; time until all are back: about 39 s" in reminders[1]


@pytest.mark.asyncio
async def test_a_phone_that_fetches_in_a_loop_brings_nobody_else_back() -> None:
    scene = Scene()
    await scene.begin()
    await scene.second(boots=100, begun=100)
    await scene.second(storm_mode=1, gate_capacity=100)
    for _ in range(30):
        await scene.second(boots=100, begun=100, storm_back=1)
    assert (scene.watch.view().back, scene.watch.view().left) == (1, 9.99)
    await scene.second(storm_back=0)  # its worker is calm, another one is not
    assert scene.watch.view().back == 1
    await scene.second(storm_mode=0)
    await scene.second(storm_mode=1)
    assert scene.watch.view().back == 0, "another storm"


@pytest.mark.asyncio
async def test_half_an_hour_is_kept() -> None:
    scene = Scene()
    await scene.begin()
    for _ in range(KEPT + 10):
        await scene.second()
    assert len(scene.watch.samples) == KEPT


@pytest.mark.asyncio
async def test_the_fleet_is_counted_seldom_and_never_in_a_storm() -> None:
    times, taken = Times(), []

    async def slow(since: float) -> list[Group]:
        taken.append(since)
        times.now += 2.5
        return await thousand(since)

    fleet = FleetState(slow, times)
    assert fleet.size is None
    await fleet.refresh(storm=True)  # not known at all is worse
    assert (fleet.size, len(taken)) == (1000, 1)
    times.now += 249
    await fleet.refresh(storm=False)
    assert len(taken) == 1  # it took 2.5 s
    times.now += 2
    await fleet.refresh(storm=True)
    assert len(taken) == 1
    await fleet.refresh(storm=False)
    assert len(taken) == 2


# --- the page -------------------------------------------------------------------------------------


def sample(number: int, **values: float) -> Sample:
    base = Sample(1_800_000_000.0 + number, 10.0, 2.0, 0.1, 8.0, 3, False, 0)
    return base._replace(**values)


CALM = StormView(False, 0.0, 0.0, None, 0.0, 0.0, 0, 0.0, None, 0, 0.0)
MEASURED = Capacity(391.7, Source.MEASURED, "2 cores x 0.8", 1_799_999_990.0, 1234)
STORM = StormView(True, 1_800_000_000.0, 400.0, MEASURED, 205.4, 214.0, 412, 3.71, 100_000, 79_979, 97.5)


@pytest.mark.parametrize("view", [CALM, STORM], ids=["calm", "storm"])
@pytest.mark.parametrize("count", [0, 1, 2, 400, KEPT])
@pytest.mark.parametrize("minutes", [5, 30])
def test_the_page_is_whole_and_loads_nothing(view: StormView, count: int, minutes: int) -> None:
    text = page(view, [sample(number, storm=number % 900 > 700) for number in range(count)], minutes).decode()
    tree = html.document_fromstring(text)
    assert [one.get("aria-label", "").partition(":")[0] for one in tree.iter("svg")] == [
        "Callers",
        "Handshakes not finished",
        "Queue delay",
        "Goodput",
        "Devices back",
    ]
    assert len(list(tree.iter("polyline"))) == 7
    assert [one for one in tree.iter() if one.get("src") or one.get("style")] == []
    assert {one.get("href") for one in tree.iter("a")} <= {
        "/storm.json",
        "/metrics",
        "/storm?minutes=5",
        "/storm?minutes=30",
    }
    for line in tree.iter("polyline"):
        points = [tuple(map(float, point.split(","))) for point in (line.get("points") or "").split()]
        assert len(points) <= min(count, 300)
        assert all(60 <= x <= 720 and 0 <= y <= 110 for x, y in points)
        assert points == sorted(points, key=lambda point: point[0])
    assert len(text) < 60_000


def test_what_people_read() -> None:
    text = html.document_fromstring(page(STORM, [sample(1)], 5)).text_content()
    assert (
        "Storm mode is on since 2027-01-15 08:00:00 UTC, 6 min 40 s."
        " Everybody is back in about 1 min 38 s, were all devices out." in text
    )
    for words in ("Capacity392 boots/s", "Pace while callers waited205 boots/s", "Gate capacity214 handshakes/s"):
        assert words in text
    measured = "1,234 boots, the last 2027-01-15 07:59:50 UTC, as in storm plan"
    for words in ("412", "3.71 s", "100,000", "79,979", measured):
        assert words in text
    assert "— boots · ··· capacity 392. Now: boots 8 /s" in text
    text = html.document_fromstring(page(CALM, [], 5)).text_content()
    assert "— boots. Now: boots 0 /s" in text, "no capacity, no line"
    for words in ("Calm.", "not measured yet", "nobody has waited yet", "not counted yet", "over 200 boots"):
        assert words in text
    assert [duration(one) for one in (0.2, 59, 60, 61.5, 3600, 7261)] == [
        "1 s",
        "59 s",
        "1 min 0 s",
        "1 min 2 s",
        "1 h 0 min",
        "2 h 1 min",
    ]
    assert "a time that is not known yet" in page(replace(STORM, left=math.inf), [], 5).decode()


def test_programs_get_no_infinity() -> None:
    found = json.loads(document(STORM, [sample(1)]))
    assert found["now"]["left"] == 97.5
    assert found["samples"][0]["begun"] == 10.0
    assert found["now"]["capacity"] == {
        "boots_per_s": 391.7, "how": "measured", "why": "2 cores x 0.8", "at": 1_799_999_990.0, "boots": 1234,
    }  # fmt: skip
    assert (found["now"]["pace"], found["now"]["connections"]) == (205.4, 214.0)
    calm = json.loads(document(CALM, []))["now"]
    assert [calm[name] for name in ("fleet", "capacity", "pace", "connections", "since")] == [None] * 5


def test_programs_look_back_as_far_as_they_ask() -> None:
    kept = [sample(number) for number in range(KEPT)]
    assert len(json.loads(document(STORM, kept))["samples"]) == KEPT
    found = json.loads(document(STORM, kept, 2))["samples"]
    assert [one["at"] for one in found] == [one.at for one in kept[-120:]]


# --- served, and in a browser ---------------------------------------------------------------------


async def fine() -> str:
    return ""


def ignore(_metric: str, _label: str) -> None:
    """Nothing is counted here."""


@contextlib.asynccontextmanager
async def served(scene: Scene, tmp_path: Path) -> AsyncIterator[str]:
    edge = AdminEdge(Health([], fine), tmp_path, scene.fleet, scene.watch)
    server = QuietServer(edge.handle, ignore)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()
        await server.shutdown(1)


@pytest.mark.asyncio
async def test_only_this_page_s_own_style_and_script_may_run(tmp_path: Path) -> None:
    scene = Scene()
    await scene.begin()
    async with served(scene, tmp_path) as url, aiohttp.ClientSession() as session:
        async with session.get(f"{url}/storm?minutes=30") as response:
            text, policy = await response.text(), response.headers["Content-Security-Policy"]
            assert response.headers["Cache-Control"] == "no-store"
        async with session.get(f"{url}/storm?") as response:
            assert "<strong>last 5 minutes</strong>" in await response.text()
        async with session.get(f"{url}/storm.json") as response:
            assert response.headers["Content-Type"] == "application/json"
            assert (await response.json())["now"]["storm"] is False
    assert "<strong>last 30 minutes</strong>" in text
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for kind in ("style", "script"):
        (inline,) = re.findall(f"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


@pytest.mark.asyncio
@pytest.mark.parametrize("minutes", [1, 7, 30])
async def test_any_minutes_that_are_kept_may_be_asked_for(tmp_path: Path, minutes: int) -> None:
    scene = Scene()
    await scene.begin()
    async with served(scene, tmp_path) as url, aiohttp.ClientSession() as session:
        async with session.get(f"{url}/storm?minutes={minutes}") as response:
            assert response.status == 200
            assert f">{minutes} min ago<" in await response.text()
        async with session.get(f"{url}/storm.json?minutes={minutes}") as response:
            assert response.status == 200


WRONG = ("0", "31", "-1", "abc", "", "99999", "5.0", "+5", "%205", "5&minutes=5", "%D9%A5", "%3Cscript%3E", "9" * 5000)


@pytest.mark.asyncio
async def test_other_minutes_are_refused_in_words(tmp_path: Path) -> None:
    scene = Scene()
    await scene.begin()
    cause = "minutes: must be one whole number from 1 to 30, which is how far back is kept"
    async with served(scene, tmp_path) as url, aiohttp.ClientSession() as session:
        for wrong in WRONG:
            async with session.get(URL(f"{url}/storm?minutes={wrong}", encoded=True)) as response:
                assert response.status == 400, wrong
                assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert await response.text() == f"{cause}.\n"
            async with session.get(URL(f"{url}/storm.json?minutes={wrong}", encoded=True)) as response:
                assert response.status == 400, wrong
                assert (await response.json())["error"] == {"kind": "invalid", "field": "minutes", "cause": cause}
        async with session.head(f"{url}/storm?minutes=0") as response:
            assert response.status == 400


def browser() -> str:
    for name in ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.fail("no Chromium was found: apt-get install chromium-headless-shell")


@contextlib.asynccontextmanager
async def browsing(tmp_path: Path) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A page of a real browser, driven by the Chrome DevTools Protocol."""
    profile = tmp_path / "profile"
    process = _launched(profile)
    try:
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{await _port(profile)}/json") as response:
                (tab,) = [one for one in json.loads(await response.text()) if one["type"] == "page"]
            async with session.ws_connect(tab["webSocketDebuggerUrl"]) as opened:
                yield opened
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its helpers, too
        process.wait(10)


def _launched(profile: Path) -> subprocess.Popen[bytes]:
    command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0"]
    return subprocess.Popen(
        [*command, f"--user-data-dir={profile}", "about:blank"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


async def _port(profile: Path) -> int:
    """Where it listens; it says so in a file."""
    while True:
        with contextlib.suppress(OSError, IndexError):
            return int((profile / "DevToolsActivePort").read_text().split()[0])
        await asyncio.sleep(0.05)


async def told(tab: aiohttp.ClientWebSocketResponse, method: str, **parameters: object) -> dict[str, Any]:
    """One command; what the browser says unasked meanwhile is kept where it complains of something."""
    await tab.send_json({"id": 1, "method": method, "params": parameters})
    while True:
        answer: dict[str, Any] = await tab.receive_json()
        assert answer.get("method") not in {"Log.entryAdded", "Runtime.exceptionThrown"}, answer
        if answer.get("id") == 1:
            return dict(answer.get("result", answer))


async def until(tab: aiohttp.ClientWebSocketResponse, text: str) -> None:
    """Wait for the page to hold the text, as a reader of it would."""
    async with asyncio.timeout(20):
        while True:
            root = await told(tab, "DOM.getDocument")
            found = await told(tab, "DOM.getOuterHTML", nodeId=root["root"]["nodeId"])
            if text in found.get("outerHTML", ""):  # nothing while the page is being loaded again
                return
            await asyncio.sleep(0.1)


@pytest.mark.asyncio
@pytest.mark.parametrize("scripts", [True, False], ids=["by its script", "by loading itself again"])
async def test_a_browser_shows_the_next_second_by_itself(tmp_path: Path, scripts: bool) -> None:
    scene = Scene()
    await scene.begin()
    await scene.second(storm_mode=1, gate_capacity=50, gate_waiting=111)
    async with served(scene, tmp_path) as url, browsing(tmp_path) as tab:
        await told(tab, "Log.enable")  # a broken rule of the page's own policy would be told here
        await told(tab, "Emulation.setScriptExecutionDisabled", value=not scripts)
        await told(tab, "Page.navigate", url=f"{url}/storm")
        await until(tab, "<dd>111</dd>")
        await scene.second(gate_waiting=222)
        await until(tab, "<dd>222</dd>")
