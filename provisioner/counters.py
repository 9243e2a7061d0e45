"""What a worker counts, in files that the admin process adds up; the number of series is bounded whatever comes in.

Files are named by slot, not by pid: a worker's successor counts on where it stopped, so totals never fall and files
never heap up. A gauge lives as long as its worker. Counts reach the file with each beat, so a worker that is killed
takes the last half second of them along.
"""

from __future__ import annotations

import logging
import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector
from prometheus_client.values import MultiProcessValue, MutexValue

log = logging.getLogger("provisioner.server")

_MOST_LABELS: Final = 200
"""Labels of one metric; verdicts, kinds and statuses are a few dozen. Anything beyond is counted as ``other``."""
_OTHER: Final = "other"
_FILE: Final = 1024 * 1024
"""bytes of one file: more than 4,000 series."""
BOOTS: Final = "boots"
BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""s: from one rendered file to more than any phone waits."""
_BUSY: Final = 5
"""Boots between two beats from which on a boot's CPU can be told from what a worker needs to be awake."""


class Told(NamedTuple):
    """What people read of a counter: its text, and the names of its labels, whose values are joined by ``_``."""

    text: str
    labels: tuple[str, ...] = ("reason",)


class GaugeTold(NamedTuple):
    """What people read of a gauge, its label, and how the workers' values become one.

    ``livesum`` and ``livemax`` are over the workers that live; ``max`` outlives its worker, as what it dates does.
    """

    text: str
    mode: Literal["livesum", "livemax", "max"]
    labels: tuple[str, ...] = ()


HELP: Final[Mapping[str, Told]] = {
    "answers": Told("Answers given to devices, by status"),
    "files": Told("Answers to requests for a file that is known by name", ("vendor", "kind", "status")),
    BOOTS: Told("Boots: a device's own configuration was sent, or is what it has", ("vendor",)),
    "renders": Told("Files made from settings and templates, by what came of it", ("vendor", "outcome")),
    "refusals": Told("Requests refused, by reason"),
    "verdicts": Told("Certificates judged, by verdict"),
    "connections": Told("Connections by what became of them: opened, closed, over_cap, time-outs, resets, alerts"),
    "tls_done": Told("TLS handshakes completed, by version and whether a session was resumed"),
    "tls_refused": Told("Connections that never became TLS, by what was wrong with them"),
    "gate_begun": Told("Connections whose handshake was begun, by how well their address is known"),
    "gate_dropped": Told("Connections closed before any cryptography: gone, late, full, scanner, name and others"),
    "admissions": Told("Decisions about identified devices", ("stage", "reason", "class", "outcome")),
    "http_refused": Told("Requests that were no HTTP, by what was wrong with them"),
    "flights": Told(
        "Connections for the flight recorder: kept (good, trouble), left_out, dropped, address, group, fault"
    ),
    "tls_secrets": Told("Connections whose TLS secrets an administrator wants: written, dropped, fault"),
    "store_dropped": Told("Records of the boot path given up, by kind: the database was too slow for them"),
    "store_flush_failed": Told("Batches of records that could not be written, by whether they are tried again"),
    "bootstrap": Told("Answers of the plain HTTP listener, by kind of file"),
    "ivr_calls": Told("Calls to the activation prompts that are over, by how they ended", ("outcome",)),
    "ivr_registered": Told("Registrations of phones that wait for activation: made or renewed, and ended", ("how",)),
    "ivr_dropped": Told("SIP messages and connections that got no further, by reason"),
    "agi_connections": Told("Connections of Asterisks, by what became of them", ("outcome",)),
    "hook_answers": Told("Answers to other telephone systems, by HTTP status and system", ("status", "system")),
    "outbox": Told("Messages that leave this server, by kind and what came of an attempt", ("kind", "outcome")),
    "background": Told("Background tasks that failed once and went on, by task"),
}
"""Counters that people look at first; any other is described by its own name."""

TIMES: Final[Mapping[str, str]] = {
    "gate_delay": "Time a connection waited for its handshake to begin",
    "render": "Time to make one file from settings and templates",
}
"""Histograms; their names end in ``_seconds``."""

GAUGES: Final[Mapping[str, GaugeTold]] = {
    "open_connections": GaugeTold("Connections open now, by listener", "livesum", ("listener",)),
    "loop_lag_seconds": GaugeTold("Delay of the slowest worker's event loop at its last beat", "livemax"),
    "storm_mode": GaugeTold("1 while any worker is in storm mode", "livemax"),
    "storm_seconds": GaugeTold("How long storm mode has lasted, 0 while calm", "livemax"),
    "storm_back": GaugeTold(
        "Devices served a boot since storm mode began, about: each worker counts for itself", "livesum"
    ),
    "gate_waiting": GaugeTold("Connections accepted and waiting for their handshake", "livesum", ("listener",)),
    "gate_delay_now_seconds": GaugeTold("Queue delay of the slowest worker at its last beat", "livemax", ("listener",)),
    "gate_capacity": GaugeTold(
        "Handshakes a second that the gate can begin, as measured while callers waited; not boots",
        "livesum",
        ("listener",),
    ),
    "gate_backlog": GaugeTold("Callers that the kernel holds at most, meanwhile", "livemax", ("listener",)),
    "ivr_calls_now": GaugeTold("Calls to the activation prompts under way", "livesum"),
    "ivr_registrations": GaugeTold("Phones registered to wait for activation", "livesum"),
    "ivr_connections": GaugeTold("TCP and TLS connections of phones to the activation prompts", "livesum"),
    "outbox_waiting": GaugeTold("Messages that wait to leave this server", "livesum"),
    "outbox_dead": GaugeTold("Messages that were given up and not dropped", "livesum"),
    "busy_timestamp_seconds": GaugeTold("Unix time of the last half second that busy_boots holds; 0 before", "max"),
}

SUMS: Final[Mapping[str, str]] = {
    "worker_cpu_seconds": "CPU time of the workers",
    "busy_cpu_seconds": "CPU time of the workers in those half seconds in which each of them served 5 boots or more",
    "busy_boots": "Boots served in those half seconds: busy_cpu_seconds / busy_boots is the cost of a boot",
}
"""Counters of other things than happenings."""


class Counters:
    """One worker's metrics. ``count`` is the ``Count`` that the rooms are given, ``observe`` the ``Observe``."""

    def __init__(
        self,
        directory: Path,
        slot: int,
        cpu: Callable[[], float] = time.process_time,
        wall: Callable[[], float] = time.time,
    ) -> None:
        _own_files(directory, slot)
        self._registry = CollectorRegistry()
        self._known: dict[tuple[str, str], Callable[[float], None]] = {}
        self._pending: dict[tuple[str, str], int] = {}
        self._metrics: dict[str, Counter] = {}
        self._labels: dict[str, int] = {}
        self._times: dict[str, _Times] = {name: _Times(name, text, self._registry) for name, text in TIMES.items()}
        self._gauges = {name: _gauge(name, told, self._registry) for name, told in GAUGES.items()}
        self._sums = {
            name: Counter(f"provisioner_{name}", text, registry=self._registry) for name, text in SUMS.items()
        }
        self._cpu = cpu
        self._wall = wall
        self._cpu_before = cpu()

    def count(self, metric: str, label: str, number: int = 1) -> None:
        """A happening more; a dozen times a boot, so the file hears of it later (``flush``)."""
        key = metric, label
        if key not in self._pending and key not in self._known:
            key = self._admitted(metric, label)
        self._pending[key] = self._pending.get(key, 0) + number

    def observe(self, metric: str, seconds: float) -> None:
        """One duration more, in the histogram of that name in TIMES; written with the next beat, too."""
        found = self._times[metric]
        found.pending[bisect_left(BUCKETS, seconds)] += 1
        found.total += seconds

    def gauge(self, name: str, value: float, listener: str = "") -> None:
        """What this worker measures now of one of GAUGES; ``listener`` for those that are told by listener."""
        found = self._gauges[name]
        (found.labels(listener) if listener else found).set(value)

    def flush(self) -> None:
        """Write what was counted since the last time; at every beat, and when the worker ends."""
        pending, self._pending = self._pending, {}
        for key, number in pending.items():
            self._known[key](number)
        for one in self._times.values():
            one.flush()
        self._spend(sum(number for (metric, _), number in pending.items() if metric == BOOTS))

    def connections(self, listener: str, number: int) -> None:
        """How many connections a listener of this worker holds."""
        self.gauge("open_connections", number, listener)

    def loop_lag(self, seconds: float) -> None:
        """How late this worker's loop was at its last beat."""
        self.gauge("loop_lag_seconds", seconds)
        self.flush()

    def _spend(self, boots: int) -> None:
        """Book the CPU time since the last beat."""
        now = self._cpu()
        spent, self._cpu_before = now - self._cpu_before, now
        self._sums["worker_cpu_seconds"].inc(spent)
        if boots >= _BUSY:
            self._sums["busy_cpu_seconds"].inc(spent)
            self._sums["busy_boots"].inc(boots)
            self.gauge("busy_timestamp_seconds", self._wall())

    def _admitted(self, metric: str, label: str) -> tuple[str, str]:
        """The series to count in, made when it is new."""
        if self._labels.get(metric, 0) >= _MOST_LABELS:
            label = _OTHER  # not kept under the label asked for, which would grow without bound
        if (metric, label) not in self._known:
            names = _told(metric).labels
            parts = label.split("_", len(names) - 1)
            parts += [""] * (len(names) - len(parts))
            self._known[metric, label] = self._metric(metric).labels(*parts).inc
            self._labels[metric] = self._labels.get(metric, 0) + 1
        return metric, label

    def _metric(self, name: str) -> Counter:
        if (found := self._metrics.get(name)) is None:
            told = _told(name)
            found = Counter(f"provisioner_{name}", told.text, told.labels, registry=self._registry)
            self._metrics[name] = found
        return found


class _Times:
    """One histogram, added to in memory and written in one go."""

    __slots__ = ("_written", "pending", "total")

    def __init__(self, name: str, text: str, registry: CollectorRegistry) -> None:
        self._written = Histogram(f"provisioner_{name}_seconds", text, buckets=BUCKETS, registry=registry)
        self.pending = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def flush(self) -> None:
        """The package offers no way to observe many at once but one by one."""
        if not any(self.pending):
            return
        for bucket, number in zip(self._written._buckets, self.pending, strict=True):
            if number:
                bucket.inc(number)
        self._written._sum.inc(self.total)
        self.pending, self.total = [0] * (len(BUCKETS) + 1), 0.0


def _gauge(name: str, told: GaugeTold, registry: CollectorRegistry) -> Gauge:
    return Gauge(f"provisioner_{name}", told.text, told.labels, registry=registry, multiprocess_mode=told.mode)


def _told(name: str) -> Told:
    return HELP.get(name) or Told(f"Happenings of {name.replace('_', ' ')}, by reason")


def _own_files(directory: Path, slot: int) -> None:
    """Give this process's metrics their files, with all the space they can need.

    They are memory-mapped: a page that the disk has no room for would kill the worker at some later count.
    """
    kinds = ("counter", "histogram", "gauge_livesum", "gauge_livemax", "gauge_max")
    files = [directory / f"{kind}_{slot}.db" for kind in kinds]
    try:
        for path in files:
            if not path.exists() or path.stat().st_size < _FILE:  # a successor counts on in its predecessor's
                _room(path)
    except OSError as error:
        for path in files:
            path.unlink(missing_ok=True)
        log.error("no room for metrics in %s (%s); this worker's are not shown", directory, error.strerror)
        values.ValueClass = MutexValue
        return
    # prometheus-client reads the directory from here, at the first value of a process.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    values.ValueClass = MultiProcessValue(lambda: slot)  # type: ignore[no-untyped-call]  # the package is half typed


def _room(path: Path) -> None:
    """Whoever reads the metrics now finds the file whole or not at all: an empty one cannot be read."""
    unfinished = path.with_suffix(".new")
    try:
        with unfinished.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, _FILE)
        unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _collected(directory: Path) -> Iterable[Metric]:
    collector = MultiProcessCollector(None, str(directory))  # type: ignore[no-untyped-call]  # the package is half typed
    found: Iterable[Metric] = collector.collect()  # type: ignore[no-untyped-call]  # the package is half typed
    return found


def exposition(directory: Path, *others: Collector) -> bytes:
    """All workers' metrics, and what ``others`` know, in the text format of Prometheus."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(directory))  # type: ignore[no-untyped-call]  # the package is half typed
    for one in others:
        registry.register(one)
    return generate_latest(registry)


def totals(directory: Path) -> Mapping[tuple[str, str], float]:
    """All workers' samples by name (without ``provisioner_``) and label values, joined in the order of their names."""
    return {
        (sample.name.removeprefix("provisioner_"), "_".join(sample.labels.values())): sample.value
        for family in _collected(directory)
        for sample in family.samples
    }


def bury(directory: Path, slot: int) -> None:
    """A worker is gone: its gauges end, its counters stay for its successor."""
    mark_process_dead(slot, str(directory))  # type: ignore[no-untyped-call]  # the package is half typed
