"""Storms against servers that do one thing: stay silent, cut off, refuse, mix phones up. Real processes, real TLS."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from scripted_server import Asked, Certificates, Reply, ScriptedServer
from test_storm_plan import crowd

from provisioner.errors import Invalid, NotFound, Unusable
from provisioner.simulator.storm import StormNow, run_storm
from provisioner.simulator.storm_crowd import Task
from provisioner.simulator.storm_plan import Mode, StormPhone, StormPlan, places
from provisioner.simulator.storm_report import StormReport

CONFIG = "#!version:1.0.0.1\naccount.1.enable = 1\naccount.1.user_name = {0}\naccount.1.auth_name = {0}\n"
CONFIG += "account.1.password = s3cret\naccount.1.sip_server.1.address = pbx.example\n"


def cast(certificates: Certificates, number: int, sites: int = 2, nat: int = 0) -> tuple[StormPhone, ...]:
    phones = crowd(places(number, sites, nat))
    return tuple(replace(one, certificate=certificates.certificate, key=certificates.key) for one in phones)


def plan_for(certificates: Certificates, port: int, phones: tuple[StormPhone, ...], **values: object) -> StormPlan:
    usual = {"spread": 0.2, "seconds": 10.0, "processes": 1, "trust": certificates.server_ca, "jitter": 0.0}
    return StormPlan(phones, f"https://localhost:{port}/", "127.0.0.1", **{**usual, **values})  # type: ignore[arg-type]  # each test its own


class Provisioning:
    """Answers each Yealink with the file it asks for; ``before`` may answer something else."""

    def __init__(self, owner: Callable[[int], int] = lambda number: number) -> None:
        self.owner = owner
        self.refuse: dict[str, Reply] = {}
        self.sources: set[str] = set()

    def __call__(self, asked: Asked) -> Reply:
        name = asked.path.strip("/")
        if refused := self.refuse.pop(name, None):
            return refused
        if not name.startswith("001565") or not name.endswith(".cfg"):
            return Reply(status=404)
        number = int(name.removesuffix(".cfg")[6:], 16)
        return Reply(CONFIG.format(self.owner(number)).encode(), media_type="text/plain")


async def storm(certificates: Certificates, script: Provisioning, number: int, **values: object) -> StormReport:
    async with ScriptedServer(script, certificates.context(required=True)) as server:
        plan = plan_for(certificates, server.port, cast(certificates, number), **values)
        return await asyncio.to_thread(run_storm, plan)


@pytest.mark.asyncio
async def test_all_come_back_and_each_got_its_own(certificates: Certificates) -> None:
    report = await storm(certificates, Provisioning(), 12, processes=2, capacity=100.0)
    assert (report.back, report.attempts, report.wrong_bodies, report.good) == (12, 12, 0, True)
    assert report.statuses == {"200": 12, "404": 36}
    assert report.ideal == 0.2
    assert 0 < report.latency.p50 <= report.latency.p99 < 5


@pytest.mark.asyncio
async def test_two_phones_that_get_each_others_files_are_found(certificates: Certificates) -> None:
    swap = {3: 4, 4: 3}
    report = await storm(certificates, Provisioning(lambda number: swap.get(number, number)), 6)
    assert (report.wrong_bodies, report.back, report.good) == (2, 4, False)
    assert report.outcomes == {"back": 4, "wrong_body": 2}


@pytest.mark.asyncio
async def test_a_503_is_tried_again_when_the_family_heeds_retry_after_then(certificates: Certificates) -> None:
    script = Provisioning()
    script.refuse["001565000001.cfg"] = Reply(status=503, headers={"Retry-After": "1"})
    report = await storm(certificates, script, 2, heeding=frozenset({"yealink"}), retry=60.0)
    assert report.outcomes == {"back": 2, "refused_503": 1}
    assert report.t100 is not None
    assert 1.0 <= report.t100 < 5.0


@pytest.mark.asyncio
async def test_who_is_refused_tries_no_more_without_retries(certificates: Certificates) -> None:
    script = Provisioning()
    script.refuse["001565000001.cfg"] = Reply(status=403)
    report = await storm(certificates, script, 2, retries=False)
    assert report.outcomes == {"back": 1, "refused_403": 1}
    assert report.seconds < 5


@pytest.mark.asyncio
async def test_a_rate_begins_boots_by_the_clock(certificates: Certificates) -> None:
    report = await storm(certificates, Provisioning(), 5, mode=Mode.RATE, rate=20.0, seconds=1.5, processes=2)
    assert 25 <= report.phones <= 30
    assert report.back == report.phones


@pytest.mark.asyncio
async def test_a_closed_loop_keeps_so_many_at_work(certificates: Certificates) -> None:
    report = await storm(certificates, Provisioning(), 5, mode=Mode.CLOSED, together=3, seconds=1.0, processes=2)
    assert report.back == report.phones > 5
    assert report.goodput > 5


@pytest.mark.asyncio
async def test_a_connection_for_each_file(certificates: Certificates) -> None:
    async with ScriptedServer(Provisioning(), certificates.context(required=True)) as server:
        plan = plan_for(certificates, server.port, cast(certificates, 2), connection_per_file=True)
        report = await asyncio.to_thread(run_storm, plan)
        assert (report.back, server.connections) == (2, 8)


@pytest.mark.asyncio
async def test_a_server_that_phones_do_not_know_is_left(certificates: Certificates) -> None:
    report = await storm(certificates, Provisioning(), 2, trust=certificates.certificate, retries=False)
    assert report.outcomes == {"distrusts_server": 2}


# --- servers that do not answer ---------------------------------------------------------------------


class Deaf:
    """Accepts and does one thing with each connection, on a thread; knows which of them have been closed."""

    def __init__(self, deed: Callable[[socket.socket], None] | None = None) -> None:
        self.deed = deed
        self.sources: list[str] = []
        self.closed = 0
        self.most_open = 0
        self._threads: list[threading.Thread] = []

    @contextlib.contextmanager
    def serving(self) -> Iterator[int]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(0.1)
            self._over = False
            thread = threading.Thread(target=self._accept, args=(listener,))
            thread.start()
            try:
                yield listener.getsockname()[1]
            finally:
                self._over = True
                thread.join()
                for one in self._threads:
                    one.join()

    def _accept(self, listener: socket.socket) -> None:
        while not self._over:
            with contextlib.suppress(TimeoutError):
                connection, (source, _) = listener.accept()
                self.sources.append(source)
                self.most_open = max(self.most_open, len(self.sources) - self.closed)
                if self.deed:
                    self.deed(connection)
                    continue
                one = threading.Thread(target=self._listen, args=(connection,))
                one.start()
                self._threads.append(one)

    def _listen(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(ConnectionError, TimeoutError):
            connection.settimeout(10)
            while connection.recv(65536):
                pass
            self.closed += 1


@pytest.mark.slow
def test_nobody_waits_longer_than_its_patience_and_leaves_by_closing(certificates: Certificates) -> None:
    deaf = Deaf()
    with deaf.serving() as port:
        phones = cast(certificates, 6, sites=3)
        plan = plan_for(certificates, port, phones, patience=1.0, retry=1.0, seconds=5.9)
        report = run_storm(plan)
    assert set(report.outcomes) == {"gave_up_tls"}
    assert (report.back, report.t50, report.good) == (0, None, False)
    assert report.most_attempts == 3  # at 0, 2 and 4 s; the fourth is cut off
    assert report.attempts == 18
    assert deaf.closed == len(deaf.sources)
    assert deaf.most_open <= len(phones)
    assert set(deaf.sources) == {one.site for one in phones}


def test_a_greedy_site_tries_more_often(certificates: Certificates) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    phones = cast(certificates, 2)
    plan = plan_for(certificates, port, phones, retry=2.0, seconds=2.5, greedy=frozenset({phones[1].site}))
    report = run_storm(plan)
    assert set(report.outcomes) == {"refused_connect"}
    assert 10 <= report.most_attempts <= 13
    assert report.attempts - report.most_attempts == 2  # the modest one


def slam(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def hang_up(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.close()


def babble(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    connection.close()


@pytest.mark.parametrize(("deed", "outcome"), [(slam, "reset"), (hang_up, "closed"), (babble, "tls_broken")])
def test_each_way_of_being_cut_off_has_its_name(
    certificates: Certificates, deed: Callable[[socket.socket], None], outcome: str
) -> None:
    with Deaf(deed).serving() as port:
        report = run_storm(plan_for(certificates, port, cast(certificates, 3), retries=False))
    assert report.outcomes == {outcome: 3}


def test_a_full_backlog_is_given_up_at_connect(certificates: Certificates) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as fillers:
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        time.sleep(0.2)
        plan = plan_for(
            certificates, listener.getsockname()[1], cast(certificates, 3), patience=0.5, retries=False, spread=0.0
        )
        report = run_storm(plan)
    assert report.outcomes == {"gave_up_connect": 3}


# --- the processes --------------------------------------------------------------------------------------


def children() -> list[int]:
    return [
        int(pid)
        for task in Path("/proc/self/task").iterdir()
        for pid in (task / "children").read_text().split()
        if b"storm_process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def test_ctrl_c_leaves_no_process_behind(certificates: Certificates) -> None:
    seen: list[int] = []

    def interrupt(now: StormNow) -> None:
        seen.extend(children())
        raise KeyboardInterrupt

    with Deaf().serving() as port, pytest.raises(KeyboardInterrupt):
        run_storm(plan_for(certificates, port, cast(certificates, 4), processes=2), interrupt)
    assert len(seen) == 2
    assert children() == []


def test_a_process_that_is_killed_is_told_and_the_others_end(certificates: Certificates) -> None:
    def kill(now: StormNow) -> None:
        for pid in children()[:1]:
            os.kill(pid, signal.SIGKILL)

    with Deaf().serving() as port, pytest.raises(Unusable, match="signal 9"):
        run_storm(plan_for(certificates, port, cast(certificates, 4), processes=2), kill)
    assert children() == []


def test_a_fault_in_a_process_says_what_it_was(certificates: Certificates) -> None:
    phones = (replace(cast(certificates, 1)[0], certificate=Path("gone.pem")),)
    with pytest.raises(Unusable, match=r"gone\.pem and its key cannot be used"):
        run_storm(plan_for(certificates, 1, phones))


def test_a_process_whose_parent_is_gone_ends(certificates: Certificates) -> None:
    with Deaf().serving() as port:
        plan = plan_for(certificates, port, cast(certificates, 2), patience=30.0, seconds=60.0)
        child = subprocess.Popen(
            [sys.executable, "-m", "provisioner.simulator.storm_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with child:
            assert child.stdin is not None
            assert child.stdout is not None
            pickle.dump(Task(plan, (0, 1), 0, 1), child.stdin)
            child.stdin.flush()
            pickle.load(child.stdout)
            pickle.dump(time.monotonic(), child.stdin)
            child.stdin.flush()
            time.sleep(0.5)
            assert child.poll() is None
            child.stdin.close()
            assert child.wait(5) == 1


def test_progress_is_told_while_it_lasts(certificates: Certificates) -> None:
    told: list[StormNow] = []
    with Deaf().serving() as port:
        run_storm(
            plan_for(certificates, port, cast(certificates, 3), patience=0.3, retries=False, spread=1.0), told.append
        )
    assert len(told) > 2
    assert told[-1].attempts == 3
    assert told[-1].outcomes == {"gave_up_tls": 3}


@pytest.mark.parametrize(
    ("change", "error"),
    [({"phones": ()}, Invalid), ({"url": "gopher://x/"}, Invalid), ({"model": "Z99"}, NotFound)],
)
def test_what_cannot_be_played_is_refused_before_anything_starts(
    certificates: Certificates, change: dict[str, object], error: type[Exception]
) -> None:
    phones = cast(certificates, 1)
    if "model" in change:
        change = {"phones": (replace(phones[0], model="Z99"),)}
    with pytest.raises(error):
        run_storm(replace(plan_for(certificates, 1, phones), **change))  # type: ignore[arg-type]  # each case its own
    assert children() == []
