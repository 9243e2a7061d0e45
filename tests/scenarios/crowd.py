"""A House with a crowd of simulated phones and a small share of one core, so that a few boots a second are a storm."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from house import House
from stage import resident, soon, workers

from provisioner import settings, storm_cast
from provisioner.demo import demo
from provisioner.simulator.storm import run_storm
from provisioner.simulator.storm_plan import Mode, StormPlan
from provisioner.simulator.storm_report import StormReport

sys.path.append(str(Path(__file__).resolve().parents[2] / "bench"))
from storm_share import Share, limiting  # where the benchmarks keep it

PATIENCE, DEADLINE = 4.0, 1.6
GATE = {"gate_patience": PATIENCE, "gate_deadline": DEADLINE, "gate_target": 0.25, "gate_interval": 1.0}
GATE |= {"gate_calm": 5.0, "admission_hold": 1.0, "server_stall": 60}  # a starved worker is not a hung one


@dataclass
class Crowd:
    """The phones, and the installation that they belong to."""

    data: Path
    phones: tuple[Any, ...]

    def plan(self, house: House, **more: Any) -> StormPlan:
        given = {"uploads": False, "processes": 1, "patience": PATIENCE, **more}
        url = f"https://localhost:{house.ports['device']}/"
        return StormPlan(phones=self.phones, url=url, address="127.0.0.1", trust=house.ca, **given)

    @contextlib.contextmanager
    def server(self, directory: Path, **changed: object) -> Iterator[House]:
        """A copy of the installation, served; nothing of it is seen by the next."""
        shutil.copytree(self.data, directory / "data")
        made = {f"PROVISIONER_{name.upper()}": str(value) for name, value in {**GATE, **changed}.items()}
        house = House(directory / "data", made)
        house.start()
        try:
            yield house
        finally:
            house.stop()


def gather(directory: Path, phones: int, sites: int, nat: int) -> Crowd:
    """Certificates, devices and one calm boot each: then the gate knows where they live."""
    data = directory / "data"
    demo.prepare(data)
    house = House(data, {"PROVISIONER_STORE_FLUSH": "0.2"})
    house.start()
    try:
        call = storm_cast.Call(phones, sites, nat)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(storm_cast, "KEYS", 4)  # each takes a fifth of a second to make
            cast = asyncio.run(storm_cast.prepare(settings.load(data), call, lambda _: None))
        crowd = Crowd(data, tuple(cast.phones))
        report = run_storm(crowd.plan(house, spread=0.5, seconds=90.0, patience=60.0))
        assert report.back == phones, report.outcomes
        time.sleep(1.0)  # the last batch of sightings
    finally:
        house.stop()
    return crowd


@contextlib.contextmanager
def starved(house: House, share: float) -> Iterator[Share]:
    """The one worker has this share of one core, by quota or by a rival."""
    (worker,) = soon(lambda: workers(house), 20)
    core = max(os.sched_getaffinity(0))
    for task in Path(f"/proc/{worker}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})
    with limiting() as means:
        means.set(worker, share)
        try:
            yield means
        finally:
            means.free(worker)


def capacity(crowd: Crowd, house: House, seconds: float = 3.0) -> float:
    """Boots a second at its best, now, on this machine."""
    plan = crowd.plan(house, mode=Mode.CLOSED, together=8, seconds=seconds, patience=60.0)
    return run_storm(plan).goodput


def storm(crowd: Crowd, house: House, **more: Any) -> StormReport:
    """A power cut; it has ten times as long as a busy machine should take."""
    given = {"spread": 4.0, "retry": 5.0, "seconds": 90.0, **more}
    return run_storm(crowd.plan(house, **given))


def steady(crowd: Crowd, house: House, rate: float, seconds: float, warm: int) -> tuple[float, StormReport]:
    """Successful boots a second under that load, once it has lasted a while."""
    plan = crowd.plan(house, mode=Mode.RATE, rate=rate, seconds=seconds, retries=False)
    report = run_storm(plan)
    series = report.goodput_series[warm : int(seconds)]
    return sum(series) / max(len(series), 1), report


def seconds_to_t99(report: StormReport, *, others: bool = False) -> float:
    found = report.others_t99 if others else report.t99
    assert found is not None, (report.back, report.phones, report.outcomes)
    return found


def own_memory(house: House) -> int:
    """KiB of the worker's own."""
    (worker,) = workers(house)
    return resident(worker)
