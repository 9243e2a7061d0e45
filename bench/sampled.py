"""Run the server as usual with a sampler in each child: where is Python when a tick of CPU time has been used up?

SIGPROF comes by CPU time, not by the clock, so that waiting costs nothing here. Its handler runs when the C function
that was at work returns, hence on the line that called it. SIGUSR2 writes what was seen and starts anew.
"""

from __future__ import annotations

import collections
import os
import pickle
import signal
from pathlib import Path
from types import FrameType

from provisioner.cli.main import main

OUTPUT = "BENCH_SAMPLES"
_DEEPEST = 40
_seen: collections.Counter[tuple[str, ...]] = collections.Counter()


def _tick(_signal: int, frame: FrameType | None) -> None:
    stack = []
    while frame is not None and len(stack) < _DEEPEST:
        code = frame.f_code
        stack.append(f"{code.co_filename}:{frame.f_lineno}:{code.co_qualname}")
        frame = frame.f_back
    _seen[tuple(stack)] += 1


def _write(_signal: int, _frame: FrameType | None) -> None:
    path = Path(os.environ[OUTPUT])
    path.with_suffix(".new").write_bytes(pickle.dumps(dict(_seen)))
    path.with_suffix(".new").replace(path)
    _seen.clear()


def _begin() -> None:
    signal.signal(signal.SIGPROF, _tick)
    signal.signal(signal.SIGUSR2, _write)
    signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)


if __name__ == "__main__":
    os.register_at_fork(after_in_child=_begin)
    main()
