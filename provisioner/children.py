"""A forked child and the line between it and the control process: beats go up, words go down, its end says who died.

Strategy: one socket pair a child. The child's loop sends a byte twice a second; the control process sends words
(``retire``, ``drain``, or a line of JSON). Whoever reads the end of it knows that the other is gone.
"""

from __future__ import annotations

import faulthandler
import gc
import math
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import IO, Final

BEAT: Final = 0.5
"""s between two beats of a healthy child."""
STACK_SIGNAL: Final = signal.SIGUSR1
"""Makes a child write down where it stands, even while its loop does not turn."""
REFUSED: Final = 2
"""Exit code of a child (and of the server) that cannot run as things are; it has said why."""
_STACK_LINES: Final = 30


class Role(StrEnum):
    """What a child is for."""

    WORKER = "worker"
    ADMIN = "admin"
    IVR = "ivr"
    OUTBOX = "outbox"
    PROFILE = "profile"


class Word:
    """What the control process says to a child; any line that begins with ``{`` is the state of the house."""

    RETIRE: Final = "retire"
    """Accept nothing new, serve what is connected to its natural end, then leave."""
    DRAIN: Final = "drain"
    """Accept nothing new, finish what is under way within the time for draining, then leave."""


class Lifeline:
    """The child's end of the line."""

    def __init__(self, link: socket.socket, slot: int) -> None:
        self.slot = slot
        """Smallest free number among living children: names this child's metrics."""
        self._link = link
        self._rest = b""
        link.setblocking(False)

    def fileno(self) -> int:
        """For the loop that waits for words."""
        return self._link.fileno()

    def beat(self) -> None:
        """Say that the loop turns. A full or broken line is no reason to stop serving; ``words`` tells of the end."""
        try:
            self._link.send(b".")
        except OSError:  # full: the control process stands still; broken: words() says drain
            return

    def words(self) -> list[str]:
        """What has been said since the last call; the control process's end counts as ``drain``."""
        try:
            data = self._link.recv(65536)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            return [Word.DRAIN]
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [line.decode("utf-8") for line in whole]


Body = Callable[[Lifeline], int]
"""What a child does with its life; returns its exit code."""


@dataclass(slots=True, eq=False)
class Child:
    """The control process's knowledge of one child."""

    role: Role
    slot: int
    generation: int
    pid: int
    link: socket.socket = field(repr=False)
    stack: IO[bytes] = field(repr=False)
    born: float
    beat_at: float
    ready: bool = False
    """It has sent its first beat: it serves."""
    retired: bool = False
    """It was told to leave."""
    kill_at: float = math.inf
    """When it is killed if it still lives."""
    stalled: bool = False
    """It stood still and was asked for its stack."""

    def __str__(self) -> str:
        return f"{self.role} {self.slot} (pid {self.pid})"

    def hear(self, now: float) -> None:
        """Take in the beats that have come; the end of the line is noticed by waiting for the process."""
        try:
            if self.link.recv(4096):
                self.beat_at, self.ready = now, True
        except OSError:  # nothing there, or the other end is gone
            return

    def say(self, word: str) -> bool:
        """Send one line down; False when the child takes nothing in or is gone."""
        line = word.encode("utf-8") + b"\n"
        try:
            return self.link.send(line) == len(line)
        except OSError:
            return False

    def ask_stack(self, now: float, patience: float) -> None:
        """Have it write down where it stands, and set its end."""
        self.stalled, self.kill_at = True, now + patience
        self.signal(STACK_SIGNAL)

    def signal(self, number: signal.Signals) -> None:
        """Signal this very process: it is ours and not waited for yet, so its pid cannot be another's."""
        os.kill(self.pid, number)

    def stood_at(self) -> str:
        """The stack it wrote: file names, lines and functions, no values."""
        self.stack.seek(0)
        lines = self.stack.read(65536).decode("utf-8", "replace").splitlines()
        return "\n".join(lines[:_STACK_LINES]) or "(it wrote no stack)"

    def close(self) -> None:
        """Let go of the line and of the stack's file."""
        self.link.close()
        self.stack.close()


def fork(role: Role, slot: int, generation: int, now: float, body: Body, let_go: Callable[[], None]) -> Child:
    """Make a child that runs ``body``; ``let_go`` closes there what is the control process's own.

    Signals are blocked across the fork, so that one meant for the child never reaches a handler of its parent.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stack = os.fdopen(os.memfd_create("stack"), "w+b", buffering=0)  # in memory: a full disk hides no stall
    sys.stdout.flush()
    sys.stderr.flush()
    gc.freeze()  # what is there now is shared with the children and not walked, so not copied, by their collectors
    before = signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
    try:
        pid = os.fork()
        if pid == 0:
            ours.close()
            _live(body, Lifeline(theirs, slot), stack, let_go, before)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return Child(role, slot, generation, pid, ours, stack, born=now, beat_at=now)


def collect_garbage() -> None:
    """In the parent: what ``fork`` froze is looked at once more, so that a generation that is gone is freed."""
    gc.unfreeze()
    gc.collect()


def _live(
    body: Body, line: Lifeline, stack: IO[bytes], let_go: Callable[[], None], mask: Iterable[int | signal.Signals]
) -> None:
    """The child's whole life; never returns, so that nothing of the parent's stack runs twice."""
    code = 1
    try:
        _reset_signals()
        let_go()
        faulthandler.register(STACK_SIGNAL, file=stack, all_threads=True)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        code = body(line)
    finally:
        if (error := sys.exception()) is not None:
            sys.excepthook(type(error), error, error.__traceback__)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGHUP):
        # A terminal sends these to the whole group; the control process alone decides what they mean.
        signal.signal(number, signal.SIG_IGN)
