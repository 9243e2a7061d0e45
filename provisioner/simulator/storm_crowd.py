"""One process of the crowd: plays its phones by the clock and tells its parent what became of each attempt.

Between two attempts a phone is one timer; while it waits for the server it is one socket and one task.
"""

from __future__ import annotations

import asyncio
import random
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from provisioner.errors import Unusable
from provisioner.simulator.storm_boot import BACK, WRONG_BODY, Bodies, try_once
from provisioner.simulator.storm_cards import KEPT, Cards, persona_of
from provisioner.simulator.storm_plan import Mode, StormPlan, back_off, due, switch_on

HALT: Final = signal.SIGUSR1
"""Ends a process of the crowd early. Not SIGTERM: one that is ended by others must not look as if all were well."""
_TELL: Final = 0.25
"""s between two messages to the parent."""
_TICK: Final = 0.01
"""s between two looks at the clock in RATE mode."""
_PAUSE: Final = 0.1
"""s after a failure in CLOSED mode: who is refused at once shall not spin."""
_PLENTY: Final = 65_536
_SPARE: Final = 64
"""Descriptors for everything but phones."""


class Record(NamedTuple):
    """One attempt. Times are seconds since the power's return."""

    phone: int
    began: float
    ended: float
    outcome: str
    statuses: tuple[int, ...]
    late: float
    """How much later than planned this machine began it."""
    tries: int
    """Which attempt of this boot it was, from 1."""


@dataclass(frozen=True, slots=True)
class Task:
    """What one process is to do."""

    plan: StormPlan
    """With the phones of all processes."""
    share: tuple[int, ...]
    """Which of them are its own."""
    part: int
    parts: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that could be read before the storm has been read."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The last that a process tells."""

    cpu: float
    """s of processor time."""


Message = Prepared | Ended | list[Record]


class Crowd:
    """The phones of one process."""

    def __init__(self, task: Task, tell: Callable[[list[Record]], None]) -> None:
        self._task = task
        self._plan = task.plan
        self._tell = tell
        self._cards = Cards(task.plan.trust)
        self._bodies = Bodies()
        self._chance = random.Random(f"{task.plan.seed}/{task.part}")  # noqa: S311  # a simulation, no secret
        self._records: list[Record] = []
        self._running: set[asyncio.Task[None]] = set()
        self._open = 0
        self._done = asyncio.Event()
        self._begin = 0.0
        self._fault: BaseException | None = None
        self._limit: asyncio.Timeout | None = None

    def prepare(self) -> None:
        """Read what would otherwise be read during the storm."""
        for place in self._task.share[:KEPT]:
            self._cards.card(self._plan.phones[place])

    async def run(self, begin: float) -> None:
        """Play from ``begin`` (monotonic) until all is over."""
        loop = asyncio.get_running_loop()
        self._begin = begin
        teller = loop.create_task(self._telling())
        playing = {Mode.STORM: self._storm, Mode.RATE: self._rate, Mode.CLOSED: self._closed}[self._plan.mode]
        try:
            async with asyncio.timeout_at(begin + self._longest()) as self._limit:
                await playing()
        except TimeoutError:
            pass  # the report says who is not back
        finally:
            self._limit = None
            teller.cancel()
            for one in list(self._running):
                one.cancel()
            await asyncio.gather(*self._running, teller, return_exceptions=True)
            self._flush()
        # A fault of the simulator itself must not look like one of the server.
        if self._fault is not None:
            raise self._fault

    def halt(self) -> None:
        """End now as if the longest time were over; what is under way is given up and is no attempt."""
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time())

    def _longest(self) -> float:
        grace = 0.0 if self._plan.mode is Mode.STORM else self._plan.patience + 30
        return self._plan.seconds + grace

    def _now(self) -> float:
        return time.monotonic() - self._begin

    # --- what makes a phone begin -------------------------------------------------------------------

    async def _storm(self) -> None:
        times = switch_on(self._plan)
        loop = asyncio.get_running_loop()
        self._open = len(self._task.share)
        for place in self._task.share:
            loop.call_at(self._begin + times[place], self._start, place, times[place], 1)
        await self._done.wait()

    async def _rate(self) -> None:
        part, parts = self._task.part, self._task.parts
        begun, self._open, now = 0, 1, 0.0
        while now < self._plan.seconds:
            now = self._now()
            goal = due(self._plan, now)
            for number in range(begun, goal):
                if number % parts == part:
                    self._open += 1
                    self._start(self._task.share[number // parts % len(self._task.share)], number / self._plan.rate, 1)
            begun = max(begun, goal)
            await asyncio.sleep(_TICK)
        self._over()
        await self._done.wait()

    async def _closed(self) -> None:
        part, parts = self._task.part, self._task.parts
        mine = self._plan.together // parts + (part < self._plan.together % parts)
        waiting = list(self._task.share)
        await asyncio.sleep(max(0.0, -self._now()))

        async def one_after_the_other() -> None:
            while self._now() < self._plan.seconds:
                place = waiting.pop(0)
                outcome, _ = await self._attempt(place, self._now(), 1)
                waiting.append(place)
                if outcome != BACK:
                    await asyncio.sleep(_PAUSE)

        await asyncio.gather(*(one_after_the_other() for _ in range(min(mine, len(waiting)))))

    # --- one attempt --------------------------------------------------------------------------------

    def _start(self, place: int, planned: float, tries: int) -> None:
        task = asyncio.get_running_loop().create_task(self._life(place, planned, tries))
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fault = error
            self._done.set()

    async def _life(self, place: int, planned: float, tries: int) -> None:
        """An attempt, and what follows from it. Between two attempts a phone is one entry in the loop's timers."""
        phone = self._plan.phones[place]
        outcome, retry_after = await self._attempt(place, planned, tries)
        if outcome in (BACK, WRONG_BODY) or not self._plan.retries:
            self._over()
            return
        usual = persona_of(phone).retry_delay
        wait = back_off(self._plan, phone, usual, retry_after, self._chance.random())
        due_at = self._now() + wait
        asyncio.get_running_loop().call_later(wait, self._start, place, due_at, tries + 1)

    async def _attempt(self, place: int, planned: float, tries: int) -> tuple[str, float]:
        began = self._now()
        tried = await try_once(self._plan.phones[place], self._plan, self._cards, self._bodies)
        self._records.append(
            Record(place, began, self._now(), tried.outcome, tried.statuses, max(0.0, began - planned), tries)
        )
        return tried.outcome, tried.retry_after

    def _over(self) -> None:
        self._open -= 1
        if not self._open:
            self._done.set()

    # --- to the parent ------------------------------------------------------------------------------

    async def _telling(self) -> None:
        while True:
            await asyncio.sleep(_TELL)
            self._flush()

    def _flush(self) -> None:
        records, self._records = self._records, []
        self._tell(records)


def raise_descriptors(task: Task) -> None:
    """As many as the system allows; Unusable when its phones could not all be connected at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = len(task.share) + _SPARE
    if hard == resource.RLIM_INFINITY:
        hard = max(soft, wanted, _PLENTY)
    if wanted > hard:
        raise Unusable(f"{wanted} open files are needed and {hard} allowed (ulimit -Hn): take more processes")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
