"""The kinds of run that all parts are made of: calibration, a steady rate, a storm. Each on a server newly started."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import servers
import storm_stage
from storm_stage import Kind, Stage

from provisioner.counters import totals
from provisioner.run_directory import RunDirectory
from provisioner.simulator.storm import StormNow, run_storm
from provisioner.simulator.storm_plan import Mode, StormPlan
from provisioner.simulator.storm_report import StormReport

_LATE = 0.1
"""s: above it the client was the bottleneck."""
TELL_EVERY = 15.0
"""s between two lines about a run that goes on."""
_COUNTS = ("gate_begun_total", "gate_dropped_total", "connections_total", "tls_refused_total", "tls_done_total")
_LET_GO = 1e-4
"""s of CPU for a caller that is accepted, looked at, queued and closed; a look takes some 20 us."""
_IDLE = 2.0
"""s for which the worker is watched while nobody asks."""
_ATTACKED_BEFORE = 2.0
"""s before the power returns that an attack begins."""
_BEGAN = time.monotonic()


@dataclass(frozen=True)
class Times:
    """The phones' and the server's times of a run, s; all divided by ``scale``, for the arithmetic has no unit."""

    scale: float = 1.0
    spread: float = 60.0
    retry: float = 60.0
    patience: float = 10.0

    @property
    def phones(self) -> dict[str, object]:
        """Fields of a StormPlan."""
        return {
            "spread": self.spread / self.scale,
            "retry": self.retry / self.scale,
            "patience": self.patience / self.scale,
        }

    @property
    def server(self) -> dict[str, str]:
        """Settings of ours: the defaults, in this unit of time."""
        lengths = {
            "gate_patience": 10, "gate_deadline": 4, "gate_target": 0.5, "gate_interval": 2, "gate_calm": 60,
            "tls_hello_timeout": 5, "tls_handshake_timeout": 8, "http_head_timeout": 10, "http_idle_timeout": 15,
            "admission_hold": 5,
        }  # fmt: skip
        paces = {"gate_unknown_rate": 2, "gate_failures": 10, "admission_requests": 20, "admission_handshakes": 12}
        if self.scale == 1:
            return {}
        return {name: f"{length / self.scale:g}" for name, length in lengths.items()} | {
            name: f"{pace * self.scale:g}" for name, pace in paces.items()
        }

    def of(self, kind: Kind) -> Kind:
        """That server in this unit of time."""
        return replace(kind, settings={**self.server, **kind.settings}) if kind.program == "ours" else kind


@dataclass(frozen=True)
class Calibration:
    """What one server can do with a share of a core."""

    name: str
    share: float
    capacity: float
    """Boots a second at its best."""
    cpu: float
    """s of CPU a successful boot, without what the worker takes while nobody asks."""
    idle: float = 0.0
    """s of CPU a second of that: beats, batches, looks at the database."""


def mean_of(before: Calibration, after: Calibration) -> Calibration:
    """What a run between these two is judged by."""
    pairs = {name: (getattr(before, name) + getattr(after, name)) / 2 for name in ("capacity", "cpu", "idle")}
    return replace(before, **pairs)


@dataclass(frozen=True)
class Run:
    """One run against one server."""

    name: str
    report: StormReport
    calibration: Calibration
    cpu: float
    """s that the server's worker took."""
    memory: Mapping[str, float] = field(default_factory=dict)
    """MiB of its own: before, after, and after some calm."""
    stopped: bool = False
    """Before everybody was back."""
    spread: float = 0.0
    """s over which the phones were switched on; 0 at a steady rate."""
    extra: Mapping[str, object] = field(default_factory=dict)

    @property
    def ideal(self) -> float:
        """s in which this server could have everybody back, by the calibrations before and after."""
        return max(self.spread, self.report.phones / self.calibration.capacity) if self.spread else 0.0

    @property
    def stretch(self) -> float | None:
        """T99 in relation to the ideal."""
        return self.report.t99 / self.ideal if self.report.t99 and self.ideal else None

    @property
    def wasted(self) -> float:
        """Share of the CPU that went into sessions that did not succeed: all that is neither boots nor idle time's.

        The calibration's cost of a boot is in it, so it is as wrong as the machine is restless.
        """
        boots = self.report.outcomes.get("back", 0) * self.calibration.cpu
        return 1 - (boots + self.calibration.idle * self.report.seconds) / self.cpu if self.cpu else 0.0

    @property
    def failed_share(self) -> float | None:
        """The same counted: handshakes begun that no boot came of, as if each had cost a whole one, and those let go.

        None at servers that do not count.
        """
        counted = {name: float(str(value)) for name, value in dict(self.extra.get("counted", {})).items()}  # type: ignore[call-overload]  # what Counted keeps
        begun = sum(value for name, value in counted.items() if name.startswith("gate_begun_total"))
        dropped = sum(value for name, value in counted.items() if name.startswith("gate_dropped_total"))
        if not begun or not self.cpu:
            return None
        failed = max(begun - self.report.outcomes.get("back", 0), 0.0)
        return min((failed * self.calibration.cpu + dropped * _LET_GO) / self.cpu, 1.0)

    @property
    def load(self) -> float:
        """Of a steady rate: x the capacity that it was reckoned with."""
        return float(str(self.extra["load"]))

    @property
    def share_of_capacity(self) -> float:
        """Of a steady rate: boots a second against the capacity."""
        return float(str(self.extra["steady"])) / self.calibration.capacity

    def kept(self) -> dict[str, object]:
        """For the JSON of the results."""
        report = {key: value for key, value in asdict(self.report).items() if key not in ("latencies", "sites")}
        return {
            "server": self.name,
            "share": self.calibration.share,
            "capacity": self.calibration.capacity,
            "cpu_per_boot": self.calibration.cpu,
            "idle_cpu_per_s": self.calibration.idle,
            "cpu": self.cpu,
            "wasted": self.wasted,
            "failed_share": self.failed_share,
            "ideal": self.ideal,
            "stretch": self.stretch,
            "stopped": self.stopped,
            "memory_mib": dict(self.memory),
            **self.extra,
            "report": report,
        }


def say(text: str) -> None:
    """A line of progress."""
    print(f"[{time.monotonic() - _BEGAN:5.0f} s] {text}", flush=True)


def telling(name: str) -> Callable[[StormNow], None]:
    """A progress that says something now and then."""
    said = [0.0]

    def tell(now: StormNow) -> None:
        if now.elapsed - said[0] >= TELL_EVERY:
            said[0] = now.elapsed
            say(f"  {name}: {now.elapsed:.0f} s, {now.back} back, {now.attempts} attempts, {now.goodput:.0f} boots/s")

    return tell


def calibrate(stage: Stage, kind: Kind, share: float, seconds: float) -> Calibration:
    """A fixed number of boots at a time, each phone's first at this server."""
    with storm_stage.serving(stage, kind, share) as server:
        plan = stage.plan(mode=Mode.CLOSED, together=12, seconds=seconds, patience=30.0, processes=1)
        time.sleep(1.0)  # what a start leaves to be done
        before, began = server.cpu_us(), time.monotonic()
        time.sleep(_IDLE)
        idle = (server.cpu_us() - before) / 1e6 / (time.monotonic() - began)
        before, began = server.cpu_us(), time.monotonic()
        report = run_storm(plan)
        used = (server.cpu_us() - before) / 1e6 - idle * (time.monotonic() - began)
    series = report.goodput_series[1 : int(seconds)]
    capacity = sum(series) / max(len(series), 1)
    if not capacity:
        raise SystemExit(f"{kind.name} booted nobody: {dict(report.outcomes)}")
    made = Calibration(kind.name, share, capacity, used / report.back, idle)
    say(f"{kind.name}: {capacity:.1f} boots/s with {share:.1%} of a core, {made.cpu * 1000:.2f} ms CPU a boot")
    return made


def rate(stage: Stage, kind: Kind, known: Calibration, load: float, times: Times, seconds: float) -> Run:
    """Fresh boots at ``load`` times its capacity, nobody tries twice."""
    with storm_stage.serving(stage, times.of(kind), known.share) as server:
        given = {**times.phones, "mode": Mode.RATE, "rate": load * known.capacity, "seconds": seconds, "retries": False}
        counted, before = Counted(kind, stage.data), server.cpu_us()
        report = run_storm(stage.plan(**given, capacity=known.capacity, processes=1), telling(kind.name))
        used = (server.cpu_us() - before) / 1e6
    warm = int(times.patience / times.scale) + 1
    series = report.goodput_series[warm : int(seconds)]
    steady = sum(series) / max(len(series), 1)
    share = steady / known.capacity
    say(f"{kind.name} at {load:g} x: {steady:.1f} boots/s, {share:.0%} of its capacity; {_became(report)}")
    return Run(kind.name, report, known, used, extra={"load": load, "steady": steady, "counted": counted.since()})


def storms(
    stage: Stage,
    kind: Kind,
    known: Calibration,
    times: Times,
    longest: float,
    *,
    number: int = 1,
    calm: float = 0.0,
    attack: tuple[str, float, int] | None = None,
    data: Path | None = None,
    **plan: object,
) -> list[Run]:
    """So many power cuts one after the other against one server; each ends after ``longest`` times the ideal."""
    runs = []
    with storm_stage.serving(stage, times.of(kind), known.share, data=data) as server:
        time.sleep(1.5)  # it has learnt of its sites
        for turn in range(number):
            made = replace(
                stage.plan(**{**times.phones, "capacity": known.capacity, "processes": 1, **plan}), seed=turn + 1
            )
            ideal = max(made.spread, len(made.phones) / known.capacity)
            counted = Counted(kind, data or stage.data)
            runs.append(_storm(server, replace(made, seconds=longest * ideal), kind.name, known, calm, attack, counted))
    return runs


def _storm(
    server: servers.Server,
    plan: StormPlan,
    name: str,
    known: Calibration,
    calm: float,
    attack: tuple[str, float, int] | None,
    counted: Counted,
) -> Run:
    memory = {"before": _mib(server)}
    attacked: dict[str, object] = {}
    with _attacking(attack, server.port, attacked):
        before = server.cpu_us()
        report = run_storm(plan, telling(name))
        used = (server.cpu_us() - before) / 1e6
    memory["after"] = _mib(server)
    if calm:
        time.sleep(calm)
        memory["calm"] = _mib(server)
    extra = {**attacked, "counted": counted.since()}
    run = Run(name, report, known, used, memory, report.back < report.phones, plan.spread, extra)
    say(line(run))
    return run


def _mib(server: servers.Server) -> float:
    return round(server.memory()["private"] / 2**20, 2)


class Counted:
    """What our own server counted at its gate during a run; nothing at others."""

    def __init__(self, kind: Kind, data: Path) -> None:
        self._directory = RunDirectory(data).metrics if kind.program == "ours" else None
        self._before = self._now()

    def _now(self) -> Mapping[tuple[str, str], float]:
        return totals(self._directory) if self._directory else {}

    def since(self) -> dict[str, float]:
        """The difference, by name and label."""
        return {
            f"{name}{{{label}}}": value - self._before.get((name, label), 0.0)
            for (name, label), value in self._now().items()
            if name in _COUNTS and value > self._before.get((name, label), 0.0)
        }


def line(run: Run) -> str:
    """One storm in a line."""
    report = run.report
    if report.t99 is None:
        end = f"{report.back / report.phones:.0%} back after {report.seconds:.0f} s"
    else:
        end = f"99 % back after {report.t99:.1f} s, {run.stretch:.2f} x the ideal {run.ideal:.1f} s"
    return (
        f"{run.name}: {end}; {report.attempts_per_phone:.2f} attempts a phone, {run.wasted:.1%} wasted, "
        f"Jain {report.jain or 0:.3f}, NAT {report.nat_ratio or 0:.2f}; {_became(report)}"
    )


def _became(report: StormReport) -> str:
    late = f", client late by {report.late_p99:.2f} s" if report.late_p99 > _LATE else ""
    return ", ".join(f"{name} {number}" for name, number in report.outcomes.items()) + late


@contextlib.contextmanager
def _attacking(attack: tuple[str, float, int] | None, port: int, told: dict[str, object]) -> Iterator[None]:
    """Meanwhile (kind, connections a second, open at most) from a process of its own, on the client's core."""
    if attack is None:
        yield
        return
    kind, pace, most = attack
    program = str(Path(__file__).parent / "storm_attack.py")
    process = subprocess.Popen(
        [sys.executable, program, kind, str(port), f"{pace:g}", str(most)], stdout=subprocess.PIPE
    )
    try:
        time.sleep(_ATTACKED_BEFORE)
        yield
    finally:
        process.terminate()
        words, _ = process.communicate(timeout=servers.PATIENCE)
    opened, peak = words.split()
    told |= {"attack": kind, "attack_per_s": pace, "attack_opened": int(opened), "attack_open_at_most": int(peak)}
