"""What the server under a storm says of itself, read from metrics as its workers write them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import values

from provisioner import storm_server
from provisioner.counters import Counters
from provisioner.run_directory import RunDirectory
from provisioner.storm_server import ServerSide


@pytest.fixture
def worker(data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counters]:
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    monkeypatch.setattr(storm_server, "_TOLD", 0.0)
    run = RunDirectory(data)
    run.claim()
    yield Counters(run.metrics, 1)
    run.release()


def test_a_calm_server_says_for_whom_it_began_handshakes_meanwhile(worker: Counters, data: Path) -> None:
    worker.count("gate_begun", "known")
    worker.flush()
    server = ServerSide(data)
    for kind in ("known", "unknown", "slow", "unknown"):
        worker.count("gate_begun", kind)
    worker.gauge("storm_mode", False)
    worker.flush()
    server.look(1.0)
    report = server.report()
    assert (report.storm_mode, report.known) == (None, 0.25)


def test_nothing_begun_is_no_share_at_all(worker: Counters, data: Path) -> None:
    assert ServerSide(data).report().known is None


@pytest.mark.parametrize(("lasted", "since"), [(1.5, 6.5), (9.0, 0.0)])
def test_storm_mode_is_told_from_when_it_began(worker: Counters, data: Path, lasted: float, since: float) -> None:
    server = ServerSide(data)
    server.look(0.1)
    worker.gauge("storm_mode", True)
    worker.gauge("storm_seconds", lasted)
    worker.flush()
    server.look(8.0)
    worker.gauge("storm_mode", False)
    worker.gauge("storm_seconds", 0.0)
    worker.flush()
    server.look(9.0)
    assert server.report().storm_mode == pytest.approx(since)


def test_it_looks_no_more_often_than_once_a_second(
    worker: Counters, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Path] = []

    def read(path: Path) -> dict[tuple[str, str], float]:
        looks.append(path)
        return {}

    server = ServerSide(data)
    monkeypatch.setattr(storm_server, "totals", read)
    for tenth in range(21):
        server.look(tenth / 10)
    assert len(looks) == 3


def test_a_server_that_is_gone_says_nothing(tmp_path: Path) -> None:
    report = ServerSide(tmp_path).report()
    assert (report.storm_mode, report.known) == (None, None)
