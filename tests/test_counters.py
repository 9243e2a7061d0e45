"""Counters of several workers add up, go on after a worker's death, and stay few whatever labels come."""

import ast
import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import values
from prometheus_client.parser import text_string_to_metric_families

import provisioner
from provisioner.counters import BUCKETS, GAUGES, HELP, TIMES, Counters, bury, exposition, totals

PACKAGE = Path(provisioner.__file__).parent


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


def test_whoever_reads_while_a_worker_starts_reads_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Counters(tmp_path, 1)
    first.count("refusals", "not_yours")
    first.loop_lag(0.1)  # with each beat counts are written
    allocate, read = os.posix_fallocate, []

    def slowly(file: int, start: int, size: int) -> None:
        read.append(samples(tmp_path))
        allocate(file, start, size)

    monkeypatch.setattr(os, "posix_fallocate", slowly)
    second = Counters(tmp_path, 2)
    second.count("refusals", "not_yours")
    second.loop_lag(0.1)
    assert read and all(one["provisioner_refusals_total", "not_yours"] == 1 for one in read)
    assert samples(tmp_path)["provisioner_refusals_total", "not_yours"] == 2


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
    assert len(list(tmp_path.iterdir())) == 5


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


def test_durations_of_several_workers_add_up_in_their_buckets(tmp_path: Path) -> None:
    first, second = Counters(tmp_path, 1), Counters(tmp_path, 2)
    for seconds in (0.0, 0.001, 0.0011, 3.9):
        first.observe("gate_delay", seconds)
    second.observe("gate_delay", 99.0)
    assert totals(tmp_path)["gate_delay_seconds_count", ""] == 0  # written with the next beat
    first.flush()
    second.flush()
    found = totals(tmp_path)
    upto = {bound: found["gate_delay_seconds_bucket", str(bound)] for bound in (*BUCKETS, "+Inf")}
    assert (upto[0.001], upto[0.002], upto[2.0], upto[4.0], upto[15.0], upto["+Inf"]) == (2, 3, 3, 4, 4, 5)
    assert found["gate_delay_seconds_count", ""] == 5
    assert found["gate_delay_seconds_sum", ""] == pytest.approx(102.9021)
    first.flush()
    assert totals(tmp_path)["gate_delay_seconds_sum", ""] == found["gate_delay_seconds_sum", ""]  # written once
    heir = Counters(tmp_path, 1)
    heir.observe("gate_delay", 0.5)
    heir.flush()
    assert totals(tmp_path)["gate_delay_seconds_count", ""] == 6


def test_gauges_add_up_or_tell_the_worst(tmp_path: Path) -> None:
    for slot, waiting, delay, storm in ((1, 10, 0.2, 0), (2, 30, 0.9, 1)):
        worker = Counters(tmp_path, slot)
        worker.gauge("gate_waiting", waiting, "device")
        worker.gauge("gate_delay_now_seconds", delay, "device")
        worker.gauge("storm_mode", storm)
    worker.gauge("gate_waiting", 5, "legacy")
    found = totals(tmp_path)
    assert found["gate_waiting", "device"] == 40
    assert found["gate_waiting", "legacy"] == 5
    assert found["gate_delay_now_seconds", "device"] == 0.9
    assert found["storm_mode", ""] == 1
    bury(tmp_path, 2)
    assert totals(tmp_path)["storm_mode", ""] == 0


def test_the_cost_of_a_boot_is_read_where_boots_were_dense(tmp_path: Path) -> None:
    spent = [100.0]
    worker = Counters(tmp_path, 1, cpu=lambda: spent[0], wall=lambda: 1_800_000_000.0 + spent[0])
    for boots, seconds in ((10, 0.02), (0, 0.001), (90, 0.18), (2, 0.005)):
        for _ in range(boots):
            worker.count("boots", "poly")
        spent[0] += seconds
        worker.loop_lag(0.0)
    Counters(tmp_path, 2, cpu=lambda: 0.0).flush()
    found = totals(tmp_path)
    assert found["busy_boots_total", ""] == 100
    assert found["busy_cpu_seconds_total", ""] == pytest.approx(0.2)
    assert found["worker_cpu_seconds_total", ""] == pytest.approx(0.206)
    assert found["busy_timestamp_seconds", ""] == pytest.approx(1_800_000_100.201, abs=1e-4), "the last dense beat's"
    bury(tmp_path, 1)
    assert totals(tmp_path)["busy_timestamp_seconds", ""] > 1_800_000_000, "what it dates lives on, and so does it"


def test_a_label_of_several_parts_becomes_several_labels(tmp_path: Path) -> None:
    worker = Counters(tmp_path, 1)
    worker.count("files", "poly_device_200")
    worker.count("renders", "yealink_no_such_file")
    worker.count("renders", "other")
    worker.flush()
    text = exposition(tmp_path).decode()
    assert 'provisioner_files_total{kind="device",status="200",vendor="poly"} 1.0' in text
    assert 'provisioner_renders_total{outcome="no_such_file",vendor="yealink"} 1.0' in text
    assert 'provisioner_renders_total{outcome="",vendor="other"} 1.0' in text


def test_counting_costs_next_to_nothing(tmp_path: Path) -> None:
    """A dozen times a boot; the goal is 1 us, the bound leaves room for a busy machine."""
    worker = Counters(tmp_path, 1)
    for action in (lambda: worker.count("answers", "200"), lambda: worker.observe("gate_delay", 0.03)):
        best = min(_seconds(action) for _ in range(5))
        assert best < 3e-6


def _seconds(action: Callable[[], None], times: int = 2000) -> float:
    begun = time.process_time()
    for _ in range(times):
        action()
    return (time.process_time() - begun) / times


def test_whatever_the_code_counts_has_its_words() -> None:
    """HELP is what the documentation is made from; a name that is missing there would be described by itself."""
    named = {name for path in PACKAGE.rglob("*.py") for name in _counted(path)}
    assert {"answers", "verdicts", "tls_done"} <= named
    assert named - set(HELP) - set(TIMES) - set(GAUGES) == set()


def _counted(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and len(node.args) > 1 and isinstance(node.args[0], ast.Constant):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in {"count", "_count", "observe", "_observe", "gauge"} and isinstance(node.args[0].value, str):
                yield node.args[0].value
