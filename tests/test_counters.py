"""Counters of several workers add up, go on after a worker's death, and stay few whatever labels come."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import values
from prometheus_client.parser import text_string_to_metric_families

from provisioner.counters import Counters, bury, exposition


@pytest.fixture(autouse=True)
def own_values(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each worker is a process of its own; here they share one, so what they set is put back."""
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    yield


def samples(directory: Path) -> dict[tuple[str, str], float]:
    families = text_string_to_metric_families(exposition(directory).decode())
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in families
        for sample in family.samples
    }


def test_workers_add_up(tmp_path: Path) -> None:
    first = Counters(tmp_path, 1)
    first.count("refusals", "not_yours")
    first.count("refusals", "not_yours")
    first.connections("device", 3)
    first.loop_lag(0.2)
    second = Counters(tmp_path, 2)
    second.count("refusals", "not_yours")
    second.count("refusals", "bad_path")
    second.connections("device", 4)
    second.loop_lag(0.01)
    found = samples(tmp_path)
    assert found["provisioner_refusals_total", "not_yours"] == 3
    assert found["provisioner_refusals_total", "bad_path"] == 1
    assert found["provisioner_open_connections", "device"] == 7
    assert found["provisioner_loop_lag_seconds", ""] == 0.2


def test_a_full_disk_costs_the_metrics_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    counters = Counters(tmp_path, 1)
    counters.count("answers", "200")
    counters.connections("device", 1)
    assert samples(tmp_path) == {}


def test_a_successor_counts_on_and_gauges_end_with_their_worker(tmp_path: Path) -> None:
    dead = Counters(tmp_path, 1)
    dead.count("answers", "200")
    dead.connections("device", 9)
    dead.count("answers", "404")
    assert samples(tmp_path)["provisioner_answers_total", "404"] == 0  # written with the next beat
    dead.loop_lag(1.5)
    assert samples(tmp_path)["provisioner_answers_total", "404"] == 1
    bury(tmp_path, 1)
    assert ("provisioner_open_connections", "device") not in samples(tmp_path)
    assert samples(tmp_path)["provisioner_answers_total", "200"] == 1
    heir = Counters(tmp_path, 1)
    heir.count("answers", "200")
    heir.connections("device", 1)
    heir.flush()
    assert samples(tmp_path)["provisioner_answers_total", "200"] == 2
    assert samples(tmp_path)["provisioner_open_connections", "device"] == 1
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("label", [lambda number: f"x{number}", lambda number: f'"\n\\{number}'])
def test_labels_are_bounded(tmp_path: Path, label: Callable[[int], str]) -> None:
    counters = Counters(tmp_path, 1)
    for number in range(1000):
        counters.count("tls_refused", label(number))
    counters.flush()
    found = {reason: value for (name, reason), value in samples(tmp_path).items() if name.endswith("refused_total")}
    assert len(found) == 201
    assert found["other"] == 800
    assert sum(found.values()) == 1000
