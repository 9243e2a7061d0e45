"""The control process: binds, builds, forks, watches, replaces; it serves nothing and runs no loop but its own.

Rule: whatever a worker inherits is ready and checked before the fork, and no worker is told to leave before its
successors serve. So a bad certificate or template never costs a connection. Only where trust was taken back are
connections ended: their worker judges by what it inherited.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Generic, TypeVar

from provisioner.children import REFUSED, Child, Lifeline, Role, Word, collect_garbage, fork
from provisioner.errors import ProvisionerError
from provisioner.model import ListenerKind
from provisioner.ports import shown
from provisioner.run_directory import RunDirectory
from provisioner.settings import Settings
from provisioner.watch import FileWatch

log = logging.getLogger("provisioner.server")

E = TypeVar("E")
Sockets = Mapping[ListenerKind, socket.socket]

_WHOSE: Final[Mapping[ListenerKind, Role]] = {
    ListenerKind.ADMIN: Role.ADMIN,
    ListenerKind.IVR: Role.IVR,
    ListenerKind.IVR_TCP: Role.IVR,
    ListenerKind.IVR_TLS: Role.IVR,
    ListenerKind.AGI: Role.IVR,
    ListenerKind.HOOKS: Role.IVR,
}
"""Whose sockets they are; all others are the workers'."""

_TURN: Final = 0.25
"""s: the longest the control process sleeps; its own watch is as fine as this."""
_LATE: Final = 1.0
"""s: when the control process itself was held up this long, the children's clocks begin anew."""
_START_PATIENCE: Final = 30.0
"""s until the first beat: a cold disk and a loaded machine."""
_STACK_PATIENCE: Final = 0.3
"""s between asking a stalled child for its stack and killing it."""
_DRAIN_GRACE: Final = 2.0
"""s beyond the drain time before a child that does not leave is killed."""
_DEATHS: Final = 5
"""That many deaths of a role within ``_DEATH_WINDOW`` and the next child waits for ``_SLOW``."""
_DEATH_WINDOW: Final = 10.0
"""s."""
_SLOW: Final = 5.0
"""s."""
_RETIRE_GRACE: Final = 920.0
"""s: a retired worker ends its own patience before (tenure.RETIRE_PATIENCE)."""


@dataclass(slots=True, eq=False)
class Generation(Generic[E]):
    """Workers that inherited the same equipment."""

    number: int
    equipment: E = field(repr=False)
    why: str


class BackOff:
    """Says when the next child of a role may come, from when earlier ones died."""

    def __init__(self) -> None:
        self._deaths: deque[float] = deque(maxlen=_DEATHS)
        self.not_before = 0.0

    def died(self, now: float) -> bool:
        """Note a death; True when they come so fast that the next child has to wait."""
        self._deaths.append(now)
        too_fast = len(self._deaths) == _DEATHS and now - self._deaths[0] < _DEATH_WINDOW
        if too_fast:
            self.not_before = now + _SLOW
            self._deaths.clear()
        return too_fast


def _refuse(_sockets: Sockets, _line: Lifeline) -> int:
    return REFUSED


def _never(_before: object, _after: object) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class House(Generic[E]):
    """What the control process does not know itself."""

    prepare: Callable[[], E]
    """Build what a generation inherits; Unusable when files are wrong."""
    worker_main: Callable[[Sockets, E, Lifeline], int]
    admin_main: Callable[[socket.socket, Lifeline], int]
    watched: Callable[[], Iterable[Path]]
    """Files whose change means a new generation."""
    buried: Callable[[int], None]
    """The worker of that slot is gone: put away what it left."""
    ivr_main: Callable[[Sockets, Lifeline], int] = _refuse
    outbox_main: Callable[[Lifeline], int] | None = None
    """Sends what is to leave this server; None where there is nobody to send it to."""
    profile_main: Callable[[Lifeline], int] | None = None
    """Finds out what phones can do, on a port that it opens itself; None where there is none."""
    withdrawn: Callable[[E, E], bool] = _never
    """Whether the second equipment trusts less than the first, so that nobody may be served by the first any longer."""


class Supervisor(Generic[E]):
    """One server on one DATA."""

    def __init__(self, settings: Settings, sockets: Sockets, run_directory: RunDirectory, house: House[E]) -> None:
        self._settings = settings
        self._sockets = sockets
        self._run_directory = run_directory
        self._house = house
        self._watch = FileWatch(house.watched)
        self._children: list[Child] = []
        self._serving: Generation[E] | None = None
        self._coming: Generation[E] | None = None
        self._asked: str = ""
        self._number = 0
        self._back_off = {role: BackOff() for role in Role}
        self._stop_at: float | None = None
        self._code = 0
        self._started = time.time()
        self._turned_at = time.monotonic()
        self._told: tuple[float, str] = (0.0, "")
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._wakeup_writer = socket.socketpair()

    # --- the loop -------------------------------------------------------------------------------

    def run(self) -> int:
        """Serve until told to stop; the exit code. Unusable when the first generation cannot even be prepared."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._close)
            self._coming = self._next_generation("start", self._house.prepare())
            listening = (f"{kind} {shown(sock)}" for kind, sock in self._sockets.items())
            log.info("listening: %s", ", ".join(listening))  # not before it is sure that somebody will answer
            stack.enter_context(self._signals())
            while not self._finished():
                self._turn()
        log.info("stopped")
        return self._code

    def _turn(self) -> None:
        for key, _ in self._selector.select(_TURN):
            key.data(time.monotonic())
        now = time.monotonic()
        self._excuse_own_pause(now)
        self._reap(now)
        self._judge(now)
        if self._stop_at is None:
            self._reload(now)
            self._fill(now)
            self._hand_over()
        else:
            self._dismiss_admin()
        self._tell_admin(now)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals become bytes on a socket that the loop waits for; the handlers themselves do nothing."""
        for end in (self._wakeup, self._wakeup_writer):
            end.setblocking(False)
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._signalled)
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
        before = {number: signal.signal(number, lambda *_: None) for number in numbers}
        signal.set_wakeup_fd(self._wakeup_writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _close(self) -> None:
        """Let go of what only the control process uses."""
        self._selector.close()
        self._wakeup.close()
        self._wakeup_writer.close()

    def _signalled(self, now: float) -> None:
        for number in self._wakeup.recv(256):
            if number == signal.SIGHUP:
                self._asked = "SIGHUP"
            elif number in {signal.SIGTERM, signal.SIGINT}:
                self._stop(now, signal.Signals(number).name)

    def _finished(self) -> bool:
        return self._stop_at is not None and not self._children

    def _excuse_own_pause(self, now: float) -> None:
        """A machine that slept or was frozen proves nothing about the children."""
        if now - self._turned_at > _LATE:
            for child in self._children:
                child.beat_at = max(child.beat_at, now - _TURN)
        self._turned_at = now

    # --- children -------------------------------------------------------------------------------

    def _workers(self, generation: Generation[E] | None, *, ready: bool = False) -> list[Child]:
        number = generation.number if generation else -1
        return [
            one
            for one in self._children
            if one.role is Role.WORKER and one.generation == number and not one.retired and (one.ready or not ready)
        ]

    def _earlier(self, generation: Generation[E]) -> list[Child]:
        """Workers of all generations before, those included that were told to leave in their own time."""
        return [one for one in self._children if one.role is Role.WORKER and one.generation != generation.number]

    def _fill(self, now: float) -> None:
        """Have as many workers of each wanted generation as the settings say, and one process of each other role."""
        for generation in (self._serving, self._coming):
            if generation is not None and now >= self._back_off[Role.WORKER].not_before:
                for _ in range(self._missing(generation)):
                    self._fork_worker(generation, now)
        if admin := self._of(Role.ADMIN):
            self._fill_one(Role.ADMIN, now, lambda line: self._house.admin_main(admin[ListenerKind.ADMIN], line))
        if ivr := self._of(Role.IVR):
            self._fill_one(Role.IVR, now, lambda line: self._house.ivr_main(ivr, line))
        if self._house.outbox_main is not None:
            self._fill_one(Role.OUTBOX, now, self._house.outbox_main)
        if self._house.profile_main is not None:
            self._fill_one(Role.PROFILE, now, self._house.profile_main)

    def _fill_one(self, role: Role, now: float, body: Callable[[Lifeline], int]) -> None:
        there = any(child.role is role for child in self._children)
        if not there and now >= self._back_off[role].not_before:
            self._fork(role, 0, now, body)

    def _of(self, role: Role) -> Sockets:
        return {kind: sock for kind, sock in self._sockets.items() if _WHOSE.get(kind, Role.WORKER) is role}

    def _missing(self, generation: Generation[E]) -> int:
        """One worker goes ahead: what keeps it from starting is told once, and costs one process."""
        wanted = self._settings.worker_count if self._workers(generation, ready=True) else 1
        return max(0, wanted - len(self._workers(generation)))

    def _fork_worker(self, generation: Generation[E], now: float) -> None:
        sockets = self._of(Role.WORKER)
        self._fork(
            Role.WORKER,
            generation.number,
            now,
            lambda line: self._house.worker_main(sockets, generation.equipment, line),
        )

    def _fork(self, role: Role, generation: int, now: float, body: Callable[[Lifeline], int]) -> None:
        taken = {child.slot for child in self._children if child.role is role}
        slot = next(number for number in range(1, len(taken) + 2) if number not in taken)
        try:
            child = fork(role, slot, generation, now, body, lambda: self._let_go(role))
        except OSError as error:  # out of processes, memory or files: what serves goes on serving
            self._back_off[role].not_before = now + _SLOW
            log.error("no new %s can be made (%s); trying again in %.0f s", role, error.strerror, _SLOW)
            return
        self._children.append(child)
        self._selector.register(child.link, selectors.EVENT_READ, child.hear)
        log.info("%s started", child)

    def _let_go(self, role: Role) -> None:
        """In a child: close what belongs to the control process and to children of other roles."""
        self._close()
        self._run_directory.forget()
        for child in self._children:
            child.close()
        for kind in self._sockets.keys() - self._of(role).keys():
            self._sockets[kind].close()

    def _reap(self, now: float) -> None:
        for child in list(self._children):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                self._children.remove(child)
                self._buried(child, os.waitstatus_to_exitcode(status), now)

    def _buried(self, child: Child, code: int, now: float) -> None:
        stack = child.stood_at() if child.stalled else ""
        self._selector.unregister(child.link)
        child.close()
        if child.role is Role.WORKER:
            self._house.buried(child.slot)
        if child.retired and code == 0:
            log.info("%s left", child)
            return
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        if stack:
            how = f"stood still for more than {self._settings.server_stall:g} s and was killed. It stood at:\n{stack}"
        elif child.retired and child.kill_at <= now:
            how = "did not leave in time and was killed"
        log.error("%s %s", child, how)
        if not child.retired:
            self._replaceable(child, code, now)

    def _replaceable(self, child: Child, code: int, now: float) -> None:
        """Decide what an unexpected death means: refusal to start, a generation given up, or a replacement."""
        coming = self._coming
        starting = coming is not None and child.generation == coming.number and child.role is Role.WORKER
        if coming is not None and starting and not self._workers(coming, ready=True):
            if self._serving is not None:
                log.error("new workers cannot start (%s); the ones before go on serving", coming.why)
                self._retire(self._workers(coming), Word.DRAIN)
                self._coming = None
                return
            if code == REFUSED and not child.ready:
                self._code = REFUSED
                self._stop(now, "a worker cannot start")
                return
        if self._back_off[child.role].died(now):
            log.error("%ss die at once (see above); the next is tried in %g s", child.role, _SLOW)

    def _judge(self, now: float) -> None:
        """Kill what stands still, after asking it where it stands, and what does not leave when told."""
        for child in self._children:
            patience = self._settings.server_stall if child.ready else _START_PATIENCE
            if now >= child.kill_at:
                child.signal(signal.SIGKILL)
            elif not child.stalled and now - child.beat_at > patience:
                child.ask_stack(now, _STACK_PATIENCE)

    def _retire(self, children: list[Child], word: str) -> None:
        now = time.monotonic()
        patience = self._settings.server_drain + _DRAIN_GRACE + (_RETIRE_GRACE if word == Word.RETIRE else 0)
        for child in children:
            child.retired = True
            child.kill_at = min(child.kill_at, now + patience)
            if not child.say(word):
                child.signal(signal.SIGTERM)

    # --- generations ------------------------------------------------------------------------------

    def _next_generation(self, why: str, equipment: E) -> Generation[E]:
        self._number += 1
        return Generation(self._number, equipment, why)

    def _reload(self, now: float) -> None:
        """Build the next generation's equipment; bad files are told and change nothing."""
        if changed := self._watch.changed(now):
            self._asked = f"change of {changed}"
        if not self._asked or self._coming is not None:
            return
        why, self._asked = self._asked, ""
        self._watch.taken()
        try:
            self._coming = self._next_generation(why, self._house.prepare())
        except ProvisionerError as error:
            log.error("%s: %s. What was served before is served on.", why, error.cause)
        except (OSError, ValueError) as error:  # a file that went, or that nobody thought of: no reason to end
            log.error("%s: %s: %s. What was served before is served on.", why, type(error).__name__, error)
        else:
            log.info("%s: starting new workers", why)

    def _hand_over(self) -> None:
        """Once all workers of the coming generation serve, the one before it takes no more callers."""
        coming = self._coming
        if coming is None or len(self._workers(coming, ready=True)) < self._settings.worker_count:
            return
        before, self._serving, self._coming = self._serving, coming, None
        if before is not None and self._house.withdrawn(before.equipment, coming.equipment):
            log.warning("trust was taken back: earlier workers end their connections")
            self._retire(self._earlier(coming), Word.DRAIN)
        else:
            self._retire(self._workers(before), Word.RETIRE)
        if before is None:
            self._run_directory.write_addresses(self._sockets)
        else:
            before = None
            collect_garbage()
        log.info("%d workers serve (%s)", self._settings.worker_count, coming.why)

    # --- the end, and the state -------------------------------------------------------------------

    def _stop(self, now: float, why: str) -> None:
        """Drain everybody; told a second time, kill who is left."""
        if self._stop_at is not None:
            for child in self._children:
                child.kill_at = now
            return
        log.info("%s: draining for at most %g s", why, self._settings.server_drain)
        self._stop_at = now
        for sock in self._sockets.values():
            sock.close()
        self._retire([child for child in self._children if child.role is not Role.ADMIN], Word.DRAIN)

    def _dismiss_admin(self) -> None:
        """Health is told to the end: the admin process leaves when all others have."""
        if all(child.role is Role.ADMIN for child in self._children):
            self._retire([child for child in self._children if not child.retired], Word.DRAIN)

    def _tell_admin(self, now: float) -> None:
        """The admin process learns the state of the house each second and at each change."""
        workers = [child for child in self._children if child.role is Role.WORKER and child.ready and not child.retired]
        state = json.dumps(
            {
                "workers": sorted(child.pid for child in workers),
                "wanted": self._settings.worker_count,
                "generation": self._serving.number if self._serving else 0,
                "started": self._started,
                "stopping": self._stop_at is not None,
            }
        )
        if state == self._told[1] and now - self._told[0] < 1.0:
            return
        told = [child.say(state) for child in self._children if child.role is Role.ADMIN and child.ready]
        self._told = (now, state if told else "")
