"""A storm that somebody stops: what was until then is told, and no process is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from scripted_server import Certificates, ScriptedServer
from test_storm_run import Deaf, Provisioning, cast, children, plan_for

from provisioner.simulator.storm import StormNow, run_storm
from provisioner.simulator.storm_plan import Mode


@dataclass
class Enough:
    """Says stop once the condition has been true."""

    condition: Callable[[StormNow], bool]
    reached: bool = False

    def look(self, now: StormNow) -> None:
        self.reached = self.reached or self.condition(now)

    def __call__(self) -> bool:
        return self.reached


@pytest.mark.asyncio
async def test_a_storm_that_is_stopped_is_reported_until_there(certificates: Certificates) -> None:
    enough = Enough(lambda now: now.back >= 3)
    async with ScriptedServer(Provisioning(), certificates.context(required=True)) as server:
        plan = plan_for(certificates, server.port, cast(certificates, 400), spread=100.0, seconds=200.0, processes=2)
        report = await asyncio.to_thread(run_storm, plan, enough.look, enough)
    assert report.stopped_after is not None
    assert 0 < report.stopped_after <= report.seconds < 30
    assert 3 <= report.back < 400
    assert report.outcomes == {"back": report.back}
    assert report.cpu > 0  # they had the time to tell it
    assert children() == []


@pytest.mark.asyncio
@pytest.mark.parametrize("load", [{"mode": Mode.RATE, "rate": 20.0}, {"mode": Mode.CLOSED, "together": 3}])
async def test_a_load_that_is_stopped_is_reported_until_there(
    certificates: Certificates, load: dict[str, object]
) -> None:
    enough = Enough(lambda now: now.attempts >= 10)
    async with ScriptedServer(Provisioning(), certificates.context(required=True)) as server:
        plan = plan_for(certificates, server.port, cast(certificates, 5), seconds=100.0, processes=2, **load)
        report = await asyncio.to_thread(run_storm, plan, enough.look, enough)
    assert report.stopped_after is not None
    assert report.stopped_after < 30
    assert report.back >= 10
    assert report.cpu > 0
    assert children() == []


def test_who_is_still_waiting_when_it_is_stopped_leaves_without_an_attempt(certificates: Certificates) -> None:
    deaf = Deaf()
    enough = Enough(lambda _: len(deaf.sources) == 6)
    with deaf.serving() as port:
        plan = plan_for(certificates, port, cast(certificates, 6), spread=0.0, patience=60.0, seconds=90.0)
        began = time.monotonic()
        report = run_storm(plan, enough.look, enough)
        assert time.monotonic() - began < 20
    assert (report.attempts, report.back, report.outcomes) == (0, 0, {})
    assert deaf.closed == 6
    assert report.stopped_after is not None
    assert children() == []


def test_a_storm_that_is_stopped_before_it_begins_has_an_empty_report(certificates: Certificates) -> None:
    with Deaf().serving() as port:
        report = run_storm(plan_for(certificates, port, cast(certificates, 4), processes=2), stop=lambda: True)
    assert (report.stopped_after, report.attempts) == (0.0, 0)
    assert children() == []


@pytest.mark.asyncio
async def test_a_process_that_is_gone_when_it_is_stopped_does_not_hide_what_the_others_know(
    certificates: Certificates,
) -> None:
    enough = Enough(lambda now: now.back >= 6)

    def stop() -> bool:
        if enough.reached:
            os.kill(children()[0], signal.SIGKILL)
        return enough.reached

    async with ScriptedServer(Provisioning(), certificates.context(required=True)) as server:
        plan = plan_for(certificates, server.port, cast(certificates, 400), spread=40.0, seconds=90.0, processes=2)
        report = await asyncio.to_thread(run_storm, plan, enough.look, stop)
    assert report.stopped_after is not None
    assert report.back >= 6
    assert children() == []
