"""Workers that die or are replaced in the midst of a storm: whoever was not theirs notices nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from crowd import Crowd, gather
from house import House
from stage import children, no_traceback, soon, workers

from provisioner.simulator.storm import run_storm
from provisioner.simulator.storm_plan import Mode
from provisioner.simulator.storm_report import StormReport

PHONES = 60
HELD = 12
PAUSE = 1.0
"""s: the longest that nobody may be accepted."""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]


@pytest.fixture(scope="module")
def crowd(room: Path) -> Crowd:
    return gather(room / "crowd", PHONES, 4, 0)


@pytest.fixture(scope="module")
def house(crowd: Crowd, room: Path) -> Iterator[House]:
    with crowd.server(room / "served", server_workers=2) as made:
        assert soon(lambda: len(workers(made)) == 2, 20)
        yield made
    no_traceback(made)


@contextlib.contextmanager
def meanwhile(work: Callable[[], StormReport]) -> Iterator[Future[StormReport]]:
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(work)


# --- held connections -------------------------------------------------------------------------------


def connect(crowd: Crowd, house: House, number: int) -> ssl.SSLSocket:
    phone = crowd.phones[number]
    plain = socket.create_connection(("127.0.0.1", house.ports["device"]), timeout=20)
    return house.context((phone.certificate, phone.key)).wrap_socket(plain, server_hostname="localhost")


def answers(held: ssl.SSLSocket) -> bool:
    """A request over the kept connection is answered."""
    with contextlib.suppress(OSError):
        held.sendall(b"GET /none.cfg HTTP/1.1\r\nHost: x\r\n\r\n")
        return held.recv(4096).startswith(b"HTTP/1.1 404")
    return False


def owner(held: ssl.SSLSocket, pids: list[int]) -> int:
    """The worker that has the other end, by the socket's inode."""
    ours, theirs = held.getsockname()[1], held.getpeername()[1]
    for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = row.split()
        ports = [int(one.rpartition(":")[2], 16) for one in words[1:3]]
        if ports == [theirs, ours]:
            link = f"socket:[{words[9]}]"
            for pid in pids:
                if any(_link(one) == link for one in Path(f"/proc/{pid}/fd").iterdir()):
                    return pid
    return 0


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def test_a_killed_worker_hurts_only_its_own(crowd: Crowd, house: House) -> None:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(connect(crowd, house, number)) for number in range(HELD)]
        both = workers(house)
        while {owner(one, both) for one in held} != set(both):  # the kernel chooses whose a connection is
            held.append(stack.enter_context(connect(crowd, house, len(held) % PHONES)))
            assert len(held) < 200
        assert all(answers(one) for one in held)
        of = {one: owner(one, both) for one in held}
        plan = crowd.plan(house, spread=4.0, retry=1.0, seconds=60.0)
        with meanwhile(lambda: run_storm(plan)) as storm:
            time.sleep(2.0)
            victim = of[held[0]]
            os.kill(victim, signal.SIGKILL)
            for _ in range(3):
                assert [answers(one) for one in held if of[one] != victim] == [True] * sum(
                    pid != victim for pid in of.values()
                )
                time.sleep(0.3)
        report = storm.result()
        assert report.back == PHONES, report.outcomes
        assert report.wrong_bodies == 0
    assert soon(lambda: len(now := workers(house)) == 2 and victim not in now, 20), "a successor has come"


# --- rolling restart --------------------------------------------------------------------------------


@dataclass
class Prober:
    """Connects again and again; how long each took until TLS stood."""

    crowd: Crowd
    house: House
    took: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        number = 0
        while not self.over.wait(0.02):
            begun, number = time.monotonic(), (number + 1) % PHONES
            try:
                with connect(self.crowd, self.house, number) as made:
                    self.took.append(time.monotonic() - begun)
                    if not answers(made):
                        self.failures.append("no answer")
            except OSError as error:
                self.failures.append(repr(error))


@contextlib.contextmanager
def probing(crowd: Crowd, house: House) -> Iterator[Prober]:
    prober = Prober(crowd, house)
    thread = threading.Thread(target=prober.run)
    thread.start()
    try:
        yield prober
    finally:
        prober.over.set()
        thread.join(30)


def test_a_rolling_restart_loses_nobody(crowd: Crowd, house: House) -> None:
    assert house.process is not None
    first = workers(house)
    plan = crowd.plan(house, mode=Mode.RATE, rate=12.0, seconds=9.0, retries=False, patience=20.0)
    with probing(crowd, house) as prober, meanwhile(lambda: run_storm(plan)) as load:
        for _ in range(2):
            time.sleep(1.5)
            before = workers(house)
            house.process.send_signal(signal.SIGHUP)
            assert soon(lambda before=before: (now := workers(house)) and not set(now) & set(before), 20)
        report = load.result()
    assert report.outcomes == {"back": report.attempts}, "each boot that was begun was finished, at the first attempt"
    assert prober.failures == []
    assert len(prober.took) > 20
    assert max(prober.took) <= PAUSE, f"the longest pause was {max(prober.took):.2f} s"
    process = house.process
    assert soon(lambda: not set(children(process.pid)) & set(first), 20), "the old workers have left"
