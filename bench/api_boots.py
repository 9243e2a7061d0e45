"""Boots of phones while nobody administers, and while the admin process is kept as busy as it can be.

Each side has a core: the worker and the phones one, the administration and its callers the other. What is left for them
to get into each other's way with is the database, its locks and its disk, and the machine's memory. Rounds with and
without take turns (ABBA); each pair gives the ratio of its medians, and the median of those counts.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import statistics
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import api_server
import fleet_of
import phones
import servers
from api_calls import READ, Singles, told

MODE = next(mode for mode in phones.MODES if mode.name == "RSA TLS 1.2, one kept connection")
GOAL = 1.05
_SETTLE = 0.5
"""s after calls begin or end."""


def hammer(port: int, key: str, devices: int, core: int, line: Connection) -> None:
    """A process of its own: callers without a pause while it is told to go on; how many calls came of each round."""
    os.sched_setaffinity(0, {core})
    on = [Singles(api_server.Caller(port, key), devices, seed) for seed in (11, 12, 13, 14)]
    dice = random.Random(5)  # what is called
    while line.recv() == "go":
        calls, until = 0, False
        while not until:
            one = dice.choice(on)
            kind = dice.random()
            call = one.read(dice.choice(READ)) if kind < 0.6 else one.page if kind < 0.7 else None
            (call or dice.choice((one.rebind, one.setting, one.add)))()
            calls, until = calls + 1, line.poll()
        line.recv()
        line.send(calls)


def beside(scratch: Path, devices: int, rounds: int, boots: int, callers: int) -> dict[str, Any]:
    """The whole comparison."""
    fleet = fleet_of.make(scratch / "boots", 100, devices=devices, vendors=["poly"])
    with api_server.served(fleet.data) as server:
        admin_core, worker_core = servers.cores()
        server.place(admin=admin_core, worker=worker_core)
        os.sched_setaffinity(0, {worker_core})
        asking = [_begin(server, devices, admin_core) for _ in range(callers)]
        try:
            found = _rounds(phones.Boots(server.device_port, MODE, fleet.of("poly"), fleet.ca), asking, rounds, boots)
        finally:
            for line, process in asking:
                with suppress(OSError):
                    line.send("end")
                process.join(10)
                if process.is_alive():
                    process.kill()
    print(
        f"boots beside the administration: x {found['ratio']:.3f} (goal {GOAL}), {found['quiet']['p50_ms']:.2f} ms "
        f"alone, {found['busy']['p50_ms']:.2f} ms beside {found['calls_a_second']:.0f} calls/s"
    )
    return {**found, "goal_ratio": GOAL, "devices": devices, "callers": callers,
            "cores": f"worker and phones on {worker_core}, administration and callers on {admin_core}"}  # fmt: skip


def _begin(server: api_server.Served, devices: int, core: int) -> tuple[Connection, multiprocessing.Process]:
    here, there = multiprocessing.Pipe()
    args = (server.caller.port, server.caller.key, devices, core, there)
    process = multiprocessing.Process(target=hammer, args=args, daemon=True)
    process.start()
    return here, process


def _rounds(
    booting: phones.Boots, asking: list[tuple[Connection, multiprocessing.Process]], rounds: int, boots: int
) -> dict[str, Any]:
    booting.meet()
    times: dict[bool, list[float]] = {False: [], True: []}
    ratios, calls, seconds = [], 0, 0.0
    for number in range(rounds):
        medians = {}
        for busy in (False, True) if number % 2 == 0 else (True, False):
            began = time.monotonic()
            _tell(asking, "go" if busy else "")
            booting.seconds.clear()
            booting.run(boots)
            if busy:
                calls += sum(_tell(asking, "stop"))
                seconds += time.monotonic() - began
            medians[busy] = statistics.median(booting.seconds)
            times[busy] += booting.seconds
            time.sleep(_SETTLE)
        ratios.append(medians[True] / medians[False])
    return {
        "ratio": round(statistics.median(ratios), 4), "ratios": [round(one, 4) for one in ratios],
        "quiet": told(times[False]), "busy": told(times[True]), "calls_a_second": round(calls / seconds, 1),
    }  # fmt: skip


def _tell(asking: list[tuple[Connection, multiprocessing.Process]], word: str) -> list[int]:
    """Let all of them go on, or stop and say how many calls they made."""
    for line, _ in asking:
        if word:
            line.send(word)
    if word == "go":
        time.sleep(_SETTLE)
    return [line.recv() for line, _ in asking] if word == "stop" else []
