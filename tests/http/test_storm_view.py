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
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from lxml import html

from provisioner.http.admin import AdminEdge, Health
from provisioner.http.fleet_state import FleetState
from provisioner.http.server import QuietServer
from provisioner.http.storm_page import document, duration, page
from provisioner.http.storm_watch import KEPT, Sample, StormView, StormWatch
from provisioner.model import DeviceState
from provisioner.store.census import Group


class Times:
    """A clock that is moved by hand, and a wall clock that jumps."""

    def __init__(self) -> None:
        self.now = 5000.0
        self.jump = 0.0

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return 1_800_000_000.0 + self.now + self.jump


class Workers:
    """What the workers' files say."""

    def __init__(self) -> None:
        self.totals: dict[tuple[str, str], float] = {}
        self.told("storm_mode", "", 0)

    def told(self, name: str, label: str, value: float) -> None:
        self.totals[name, label] = value

    def more(self, name: str, label: str, value: float) -> None:
        self.totals[name, label] = self.totals.get((name, label), 0.0) + value

    def read(self) -> dict[tuple[str, str], float]:
        return dict(self.totals)


async def thousand(_since: float) -> list[Group]:
    return [
        Group("poly", DeviceState.ASSIGNED, 600, 5),
        Group("poly", DeviceState.REVOKED, 50, 0),
        Group("yealink", DeviceState.UNASSIGNED, 400, 0),
    ]


class Scene:
    """A watch over workers on clocks of the test's own."""

    def __init__(self, census: Callable[[float], Awaitable[Sequence[Group]]] = thousand) -> None:
        self.times, self.workers = Times(), Workers()
        self.fleet = FleetState(census, self.times)
        self.watch = StormWatch(self.workers.read, self.fleet, self.times, self.times.wall)

    async def begin(self) -> None:
        await self.watch.count_fleet()
        await self.watch.look()

    async def second(self, boots: int = 0, begun: int = 0, dropped: int = 0, **gauges: float) -> None:
        """A second goes by in which so much happened."""
        self.times.now += 1.0
        self.workers.more("boots_total", "poly", boots)
        self.workers.more("gate_begun_total", "known", begun)
        self.workers.more("gate_dropped_total", "late", dropped)
        for name, value in gauges.items():
            self.workers.told(name, "" if name.startswith("storm") else "device", value)
        await self.watch.look()


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
    assert (view.connections, view.capacity) == (80, 40)  # two connections a boot, as before the storm
    assert view.left == 25.0
    assert "1000 devices, 0 back; time until all are back: at most 25 s" in caplog.text
    for number in range(10):
        await scene.second(boots=40, begun=80, storm_back=40 * number + 40)
    view = scene.watch.view()
    assert (view.back, view.left, view.lasted) == (400, 15.0, 10.0)
    assert scene.watch.samples[-1].back == 400
    await scene.second(storm_mode=0, storm_back=0)
    assert scene.watch.view().left == 0.0
    assert scene.watch.view().back == 0
    assert "storm mode ended after 11 s; 400 devices came back meanwhile" in caplog.text
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
    assert "not known before capacity is measured" in caplog.text
    for number in range(70):
        await scene.second(boots=10, begun=10, gate_capacity=10, storm_back=10 * number + 10)
    reminders = [one.getMessage() for one in caplog.records if "at most" in one.getMessage()]
    assert len(reminders) == 2  # as soon as it is known, and a minute later
    assert "1000 devices, 10 back; time until all are back: at most 99 s" in reminders[0]
    assert "1000 devices, 610 back; time until all are back: at most 39 s" in reminders[1]


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


CALM = StormView(False, 0.0, 0.0, 0.0, 0.0, 0, 0.0, None, 0, 0.0)
STORM = StormView(True, 1_800_000_000.0, 400.0, 205.4, 214.0, 412, 3.71, 100_000, 79_979, 97.5)


@pytest.mark.parametrize("view", [CALM, STORM], ids=["calm", "storm"])
@pytest.mark.parametrize("count", [0, 1, 2, 400, KEPT])
@pytest.mark.parametrize("minutes", [5, 30])
def test_the_page_is_whole_and_loads_nothing(view: StormView, count: int, minutes: int) -> None:
    text = page(view, [sample(number, storm=number % 900 > 700) for number in range(count)], minutes).decode()
    tree = html.document_fromstring(text)
    assert [one.get("aria-label", "").partition(":")[0] for one in tree.iter("svg")] == [
        "Callers",
        "Queue delay",
        "Goodput",
        "Devices back",
    ]
    assert len(list(tree.iter("polyline"))) == 5
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
        " Everybody is back in at most 1 min 38 s, were all devices out." in text
    )
    for words in ("205 boots/s", "412", "3.71 s", "100,000", "79,979"):
        assert words in text
    text = html.document_fromstring(page(CALM, [], 5)).text_content()
    for words in ("Calm.", "not measured yet", "not counted yet"):
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
    assert json.loads(document(CALM, []))["now"]["fleet"] is None


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
        for query in ("?minutes=0", "?minutes=x&minutes=%3Cscript%3E", "?", "?minutes=999999999999"):
            async with session.get(f"{url}/storm{query}") as response:
                assert response.status == 200
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
