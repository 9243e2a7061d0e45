"""The crowd's director: starts the processes, gives all of them one moment to begin at, and gathers what they tell."""

from __future__ import annotations

import pickle
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Final

from provisioner.errors import Unusable
from provisioner.simulator.storm_boot import BACK
from provisioner.simulator.storm_cards import check_models
from provisioner.simulator.storm_crowd import Ended, Message, Prepared, Record, Task
from provisioner.simulator.storm_plan import Mode, StormPlan, shares
from provisioner.simulator.storm_report import StormReport, reckon
from provisioner.simulator.walk import split_url
from provisioner.simulator.wire import Origin

PREPARE_PATIENCE: Final = 120.0
"""s until all processes have read their certificates, on a slow and busy machine."""
_HEAD_START: Final = 0.3
"""s between the word to begin and the power's return, so that it reaches all in time."""
_LOOK: Final = 0.25
"""s between two calls of ``progress``."""
_STOP_PATIENCE: Final = 3.0
_GRACE: Final = 60.0
"""s that a process may last longer than its plan allows it, before it counts as hung."""


@dataclass(frozen=True, slots=True)
class StormNow:
    """How far it is."""

    elapsed: float
    phones: int
    back: int
    attempts: int
    goodput: float
    """Successful boots a second over the last few."""
    outcomes: Mapping[str, int]


Progress = Callable[[StormNow], None]


@dataclass(slots=True)
class _Process:
    """One of the crowd's processes and what it has told."""

    child: subprocess.Popen[bytes]
    words: IO[bytes]
    prepared: bool = False
    ended: Ended | None = None
    gone: bool = False


@dataclass(slots=True)
class _Tally:
    """What all of them have told so far."""

    records: list[Record] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    back: set[int] = field(default_factory=set)
    recent: list[tuple[float, int]] = field(default_factory=list)

    def take(self, records: Sequence[Record]) -> None:
        self.records += records
        self.outcomes.update(one.outcome for one in records)
        self.back.update(one.phone for one in records if one.outcome == BACK)

    def now(self, plan: StormPlan, elapsed: float) -> StormNow:
        good = self.outcomes[BACK]
        self.recent = [one for one in self.recent if one[0] > elapsed - 3.0] + [(elapsed, good)]
        first, last = self.recent[0], self.recent[-1]
        rate = (last[1] - first[1]) / (last[0] - first[0]) if last[0] > first[0] else 0.0
        back = len(self.back) if plan.mode is Mode.STORM else good
        return StormNow(max(0.0, elapsed), len(plan.phones), back, len(self.records), rate, dict(self.outcomes))


def run_storm(plan: StormPlan, progress: Progress | None = None) -> StormReport:
    """Play the plan; Unusable when a process of the simulator itself fails. No process is left behind."""
    Origin.of(split_url(plan.url))  # Invalid for a strange one
    check_models(plan.phones)
    told: queue.SimpleQueue[tuple[int, Message | None]] = queue.SimpleQueue()
    processes: list[_Process] = []
    tally = _Tally()
    try:
        parts = shares(plan)
        for part, share in enumerate(parts):
            processes.append(_launch(Task(plan, tuple(share), part, len(parts)), told))
        _gather(processes, told, tally, lambda: all(one.prepared for one in processes), PREPARE_PATIENCE)
        begin = time.monotonic() + _HEAD_START
        for one in processes:
            _send(one, begin)

        def look() -> None:
            if progress is not None:
                progress(tally.now(plan, time.monotonic() - begin))

        longest = plan.seconds + plan.patience + _GRACE
        _gather(processes, told, tally, lambda: all(one.ended for one in processes), longest, look)
        look()
    finally:
        _stop(processes)
    return reckon(plan, tally.records, sum(one.ended.cpu for one in processes if one.ended))


def _launch(task: Task, told: queue.SimpleQueue[tuple[int, Message | None]]) -> _Process:
    words = tempfile.TemporaryFile()  # noqa: SIM115  # _stop closes it
    child = subprocess.Popen(
        [sys.executable, "-m", "provisioner.simulator.storm_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=words,
    )
    made = _Process(child, words)
    threading.Thread(target=_read, args=(task.part, child, told), daemon=True).start()
    _send(made, task)
    return made


def _send(process: _Process, message: object) -> None:
    assert process.child.stdin is not None
    try:
        pickle.dump(message, process.child.stdin)
        process.child.stdin.flush()
    except OSError as error:
        raise _crash(process) from error


def _read(part: int, child: subprocess.Popen[bytes], told: queue.SimpleQueue[tuple[int, Message | None]]) -> None:
    assert child.stdout is not None
    try:
        while True:
            told.put((part, pickle.load(child.stdout)))  # noqa: S301  # from our own child
    except (EOFError, pickle.UnpicklingError, OSError, ValueError):
        told.put((part, None))


def _gather(
    processes: Sequence[_Process],
    told: queue.SimpleQueue[tuple[int, Message | None]],
    tally: _Tally,
    enough: Callable[[], bool],
    longest: float,
    look: Callable[[], None] = lambda: None,
) -> None:
    """Take what they tell until it is enough; Unusable when one is gone before that, or hangs."""
    deadline, next_look = time.monotonic() + longest, 0.0
    while not enough():
        if time.monotonic() > deadline:
            raise Unusable(f"a process of the simulated phones said nothing for {longest:.0f} s")
        if time.monotonic() >= next_look:
            look()
            next_look = time.monotonic() + _LOOK
        try:
            part, message = told.get(timeout=_LOOK)
        except queue.Empty:
            continue
        _take(processes[part], message, tally)


def _take(process: _Process, message: Message | None, tally: _Tally) -> None:
    match message:
        case Prepared():
            process.prepared = True
        case Ended():
            process.ended = message
        case None:
            if process.ended is None:
                raise _crash(process)
        case _:
            tally.take(message)


def _crash(process: _Process) -> Unusable:
    """What the process said last, which is the name of its fault."""
    try:
        code = process.child.wait(_STOP_PATIENCE)
    except subprocess.TimeoutExpired:
        code = 0
    process.words.seek(0)
    lines = process.words.read().decode("utf-8", "replace").strip().splitlines()
    last = lines[-1].strip() if lines else "it said nothing"
    return Unusable(f"a process of the simulated phones ended ({'signal' if code < 0 else 'exit'} {abs(code)}): {last}")


def _stop(processes: Sequence[_Process]) -> None:
    """End each by its own pid."""
    for one in processes:
        if one.child.poll() is None and one.ended is None:
            one.child.terminate()
    for one in processes:
        try:
            one.child.wait(_STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            one.child.kill()
            one.child.wait()
        for pipe in (one.child.stdin, one.child.stdout, one.words):
            if pipe is not None:
                pipe.close()
