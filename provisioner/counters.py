"""What a worker counts, in files that the admin process adds up; the number of series is bounded whatever comes in.

Files are named by slot, not by pid: a worker's successor counts on where it stopped, so totals never fall and files
never heap up. A gauge lives as long as its worker. Counts reach the file with each beat, so a worker that is killed
takes the last half second of them along.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.values import MultiProcessValue, MutexValue

log = logging.getLogger("provisioner.server")

_MOST_LABELS: Final = 200
"""Labels of one metric; verdicts, kinds and statuses are a few dozen. Anything beyond is counted as ``other``."""
_OTHER: Final = "other"
_FILE: Final = 1024 * 1024
"""bytes of one file: more than 4,000 series."""

HELP: Final[Mapping[str, str]] = {
    "answers": "Answers given to devices, by status",
    "refusals": "Requests refused, by reason",
    "verdicts": "Certificates judged, by verdict",
    "connections": "Connections by what became of them: opened, closed, over_cap, time-outs, resets, alerts",
    "tls_done": "TLS handshakes completed, by version and whether a session was resumed",
    "tls_refused": "Connections that never became TLS, by what was wrong with them",
    "http_refused": "Requests that were no HTTP, by what was wrong with them",
    "store_dropped": "Records of the boot path given up, by kind: the database was too slow for them",
    "store_flush_failed": "Batches of records that could not be written, by whether they are tried again",
    "bootstrap": "Answers of the plain HTTP listener, by kind of file",
    "background": "Background tasks that failed once and went on, by task",
}
"""Texts for the metrics that people look at first; any other is described by its own name."""


class Counters:
    """One worker's metrics. ``count`` is the ``Count`` that the rooms are given."""

    def __init__(self, directory: Path, slot: int) -> None:
        _own_files(directory, slot)
        self._registry = CollectorRegistry()
        self._known: dict[tuple[str, str], Callable[[float], None]] = {}
        self._pending: dict[tuple[str, str], int] = {}
        self._metrics: dict[str, Counter] = {}
        self._labels: dict[str, int] = {}
        self._connections = Gauge(
            "provisioner_open_connections",
            "Connections open now, by listener",
            ["listener"],
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self._lag = Gauge(
            "provisioner_loop_lag_seconds",
            "Delay of the slowest worker's event loop at its last beat",
            registry=self._registry,
            multiprocess_mode="livemax",
        )

    def count(self, metric: str, label: str) -> None:
        """One happening more; a dozen times a boot, so the file hears of it later (``flush``)."""
        key = metric, label
        if key not in self._pending and key not in self._known:
            key = self._admitted(metric, label)
        self._pending[key] = self._pending.get(key, 0) + 1

    def flush(self) -> None:
        """Write what was counted since the last time; at every beat, and when the worker ends."""
        pending, self._pending = self._pending, {}
        for key, number in pending.items():
            self._known[key](number)

    def connections(self, listener: str, number: int) -> None:
        """How many connections a listener of this worker holds."""
        self._connections.labels(listener).set(number)

    def loop_lag(self, seconds: float) -> None:
        """How late this worker's loop was at its last beat."""
        self._lag.set(seconds)
        self.flush()

    def _admitted(self, metric: str, label: str) -> tuple[str, str]:
        """The series to count in, made when it is new."""
        if self._labels.get(metric, 0) >= _MOST_LABELS:
            label = _OTHER  # not kept under the label asked for, which would grow without bound
        if (metric, label) not in self._known:
            self._known[metric, label] = self._metric(metric).labels(label).inc
            self._labels[metric] = self._labels.get(metric, 0) + 1
        return metric, label

    def _metric(self, name: str) -> Counter:
        if (found := self._metrics.get(name)) is None:
            text = HELP.get(name, f"Happenings of {name.replace('_', ' ')}, by reason")
            found = self._metrics[name] = Counter(f"provisioner_{name}", text, ["reason"], registry=self._registry)
        return found


def _own_files(directory: Path, slot: int) -> None:
    """Give this process's metrics their files, with all the space they can need.

    They are memory-mapped: a page that the disk has no room for would kill the worker at some later count.
    """
    files = [directory / f"{kind}_{slot}.db" for kind in ("counter", "gauge_livesum", "gauge_livemax")]
    try:
        for path in files:
            with path.open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, _FILE)
    except OSError as error:
        for path in files:
            path.unlink(missing_ok=True)  # an empty one could not be read
        log.error("no room for metrics in %s (%s); this worker's are not shown", directory, error.strerror)
        values.ValueClass = MutexValue
        return
    # prometheus-client reads the directory from here, at the first value of a process.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    values.ValueClass = MultiProcessValue(lambda: slot)  # type: ignore[no-untyped-call]  # the package is half typed


def exposition(directory: Path) -> bytes:
    """All workers' metrics in the text format of Prometheus."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(directory))  # type: ignore[no-untyped-call]  # the package is half typed
    return generate_latest(registry)


def bury(directory: Path, slot: int) -> None:
    """A worker is gone: its gauges end, its counters stay for its successor."""
    mark_process_dead(slot, str(directory))  # type: ignore[no-untyped-call]  # the package is half typed
