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
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Final

from provisioner.errors import Unusable
from provisioner.simulator.storm_boot import BACK
from provisioner.simulator.storm_cards import check_models
from provisioner.simulator.storm_crowd import HALT, Ended, Message, Prepared, Record, Task
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
_LAST_WORDS: Final = 10.0
"""s for the processes to tell what has been, when they are stopped; most need a tenth of one."""
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
Told = queue.SimpleQueue[tuple[int, Message | None]]


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


def run_storm(
    plan: StormPlan, progress: Progress | None = None, stop: Callable[[], bool] = lambda: False
) -> StormReport:
    """Play the plan, or as much of it as there is time for until ``stop`` says that it is enough.

    Unusable when a process of the simulator itself fails. No process is left behind, whatever happens.
    """
    Origin.of(split_url(plan.url))  # Invalid for a strange one
    check_models(plan.phones)
    crew = _Crew(plan, progress, stop)
    try:
        crew.call()
        stopped_after = crew.play()
    finally:
        crew.dismiss()
    return reckon(plan, crew.tally.records, crew.cpu, stopped_after)


class _Crew:
    """The processes that play a plan."""

    def __init__(self, plan: StormPlan, progress: Progress | None, stop: Callable[[], bool]) -> None:
        self.tally = _Tally()
        self._plan = plan
        self._progress = progress
        self._stop = stop
        self._told: Told = queue.SimpleQueue()
        self._processes: list[_Process] = []
        self._begin = 0.0

    @property
    def cpu(self) -> float:
        """Seconds of processor time that they told of."""
        return sum(one.ended.cpu for one in self._processes if one.ended)

    def call(self) -> None:
        """Start them, each with its share of the phones."""
        parts = shares(self._plan)
        for part, share in enumerate(parts):
            self._processes.append(_launch(Task(self._plan, tuple(share), part, len(parts)), self._told))

    def play(self) -> float | None:
        """The whole storm; s after its begin at which it was stopped, None when it was not."""
        if not self._gather(lambda: all(one.prepared for one in self._processes), PREPARE_PATIENCE):
            return 0.0
        self._begin = time.monotonic() + _HEAD_START
        for one in self._processes:
            _send(one, self._begin)
        longest = self._plan.seconds + self._plan.patience + _GRACE
        whole = self._gather(self._all_ended, longest, self._look)
        stopped_after = None if whole else max(0.0, time.monotonic() - self._begin)
        if not whole:
            self._halt()
        self._look()
        return stopped_after

    def dismiss(self) -> None:
        """End each by its own pid."""
        for one in self._processes:
            if one.child.poll() is None and one.ended is None:
                one.child.kill()
        for one in self._processes:
            _bury(one)

    def _look(self) -> None:
        if self._progress is not None:
            self._progress(self.tally.now(self._plan, time.monotonic() - self._begin))

    def _all_ended(self) -> bool:
        return all(one.ended for one in self._processes)

    def _gather(self, enough: Callable[[], bool], longest: float, look: Callable[[], None] = lambda: None) -> bool:
        """Take what they tell until it is enough, or False when it is to stop; Unusable when one is gone or hangs."""
        deadline, next_look = time.monotonic() + longest, 0.0
        while not enough():
            if self._stop():
                return False
            if time.monotonic() > deadline:
                raise Unusable(f"a process of the simulated phones said nothing for {longest:.0f} s")
            if time.monotonic() >= next_look:
                look()
                next_look = time.monotonic() + _LOOK
            self._take_one()
        return True

    def _halt(self) -> None:
        """Let them tell what has been until now; one that cannot any more was to end anyway."""
        for one in self._processes:
            if one.ended is None:
                one.child.send_signal(HALT)
        deadline = time.monotonic() + _LAST_WORDS
        while not all(one.ended or one.gone for one in self._processes) and time.monotonic() < deadline:
            with suppress(Unusable):
                self._take_one()

    def _take_one(self) -> None:
        try:
            part, message = self._told.get(timeout=_LOOK)
        except queue.Empty:
            return
        _take(self._processes[part], message, self.tally)


def _launch(task: Task, told: Told) -> _Process:
    words = tempfile.TemporaryFile()  # noqa: SIM115  # _bury closes it
    child = subprocess.Popen(
        [sys.executable, "-m", "provisioner.simulator.storm_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=words,
        process_group=0,  # what Ctrl-C means is ours to decide
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


def _read(part: int, child: subprocess.Popen[bytes], told: Told) -> None:
    assert child.stdout is not None
    try:
        while True:
            told.put((part, pickle.load(child.stdout)))  # noqa: S301  # from our own child
    except (EOFError, pickle.UnpicklingError, OSError, ValueError):
        told.put((part, None))


def _take(process: _Process, message: Message | None, tally: _Tally) -> None:
    match message:
        case Prepared():
            process.prepared = True
        case Ended():
            process.ended = message
        case None:
            process.gone = True
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


def _bury(process: _Process) -> None:
    """Wait for its end, and give back what was held for it."""
    try:
        process.child.wait(_STOP_PATIENCE)
    except subprocess.TimeoutExpired:
        process.child.kill()
        process.child.wait()
    for pipe in (process.child.stdin, process.child.stdout, process.words):
        if pipe is not None:
            with suppress(BrokenPipeError):  # what it was to hear, and did not live to
                pipe.close()
