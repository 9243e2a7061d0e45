"""Overload is made by giving the server little CPU, never by weakening the client: a quota, or else a busy rival.

A cgroup's CPU quota (version 1 or 2, root only) is the exact way. Without the right to one, a busy loop runs on the
server's core and the server is niced: the scheduler shares by weight, so the share is only near what was asked for.
"""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PERIOD_US: Final = 20_000
"""Short, so that who has used up his part stands still for no longer than this."""
LEAST_US: Final = 1_000
"""What the kernel takes at least."""
_V1, _V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
_NICE_STEP: Final = 1.25
"""Each step of nice changes the weight by this (sched(7))."""
_RIVAL: Final = "while True: pass"


class Share:
    """A part of one core for one process. ``how`` says by what means."""

    how = "all of its core"

    def set(self, pid: int, share: float) -> None:
        """From now on that process has that share of its core."""
        raise NotImplementedError

    def free(self, pid: int) -> None:
        """It may have its whole core again, if it is still there."""
        with contextlib.suppress(OSError):
            self.set(pid, 1.0)

    def close(self) -> None:
        """Give everything back; who was limited may be alive still."""


class Quota(Share):
    """By a cgroup of our own."""

    def __init__(self) -> None:
        self._version = 2 if (_V2 / "cgroup.controllers").exists() else 1
        root = _V2 if self._version == 2 else _V1
        self._root = root
        self.how = f"CPU quota of a cgroup (version {self._version}), period {PERIOD_US / 1000:g} ms"
        if self._version == 2:
            (root / "cgroup.subtree_control").write_text("+cpu")
        self._group = Path(tempfile.mkdtemp(prefix="storm-", dir=root))
        try:
            self._limit(1.0)
        except OSError:
            self._group.rmdir()
            raise

    def _limit(self, share: float) -> None:
        quota = max(LEAST_US, round(PERIOD_US * share))
        if self._version == 2:
            (self._group / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        else:
            (self._group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (self._group / "cpu.cfs_quota_us").write_text(str(quota))

    def set(self, pid: int, share: float) -> None:
        self._limit(share)
        (self._group / "cgroup.procs").write_text(str(pid))

    def close(self) -> None:
        for pid in (self._group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (self._root / "cgroup.procs").write_text(pid)
        for _ in range(50):  # a process that has just ended is still in it for a moment
            with contextlib.suppress(OSError):
                self._group.rmdir()
                return
            time.sleep(0.1)


class Rival(Share):
    """By a busy loop on the same core."""

    how = "a busy rival on its core, and nice (no right to a cgroup)"

    def __init__(self) -> None:
        self._rival: subprocess.Popen[bytes] | None = None

    def set(self, pid: int, share: float) -> None:
        if share >= 1.0:
            self.close()
            return
        if self._rival is None:
            self._rival = subprocess.Popen([sys.executable, "-c", _RIVAL])
        os.sched_setaffinity(self._rival.pid, os.sched_getaffinity(pid))
        # share = w / (1 + w), w = the server's weight against the rival's.
        wanted = -math.log(min(share, 0.5) / (1 - min(share, 0.5))) / math.log(_NICE_STEP)
        nice = max(0, min(19, round(wanted)))
        with contextlib.suppress(OSError):  # sessions have a nice of their own where the kernel groups by them
            Path(f"/proc/{pid}/autogroup").write_text(str(nice))
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):  # only root may make a process less nice again
                os.setpriority(os.PRIO_PROCESS, int(task.name), nice)

    def close(self) -> None:
        if self._rival is not None:
            self._rival.kill()
            self._rival.wait()
            self._rival = None


@contextlib.contextmanager
def limiting(*, rival: bool = False) -> Iterator[Share]:
    """The best means that this machine allows; ``rival`` takes the other one."""
    made: Share
    try:
        made = Rival() if rival else Quota()
    except OSError as error:
        print(f"no CPU quota ({error}): a busy rival takes the server's time instead", file=sys.stderr)
        made = Rival()
    try:
        yield made
    finally:
        made.close()
