"""Work beside the serving: again and again until its process ends; each failure is told and counted, none is fatal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from time import monotonic
from traceback import walk_tb
from typing import Final, ParamSpec

from provisioner.errors import ProvisionerError
from provisioner.model import Count

P = ParamSpec("P")

log: Final = logging.getLogger("provisioner.server")

_MINUTE: Final = 60.0
_PLACES: Final = 3
"""Of a fault, the innermost: who called what."""


def every(
    stack: AsyncExitStack, period: float, name: str, action: Callable[[], Awaitable[object]], count: Count
) -> None:
    """Do something again and again until the stack unwinds; what is under way then is finished: it may hold records."""
    ended = asyncio.Event()

    async def again() -> None:
        while not await _within(period, ended):
            await contained(name, action, count)

    async def end() -> None:
        ended.set()
        await task

    task = asyncio.create_task(again(), name=name)
    stack.push_async_callback(end)


async def _within(seconds: float, ended: asyncio.Event) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await ended.wait()
    return ended.is_set()


async def contained(name: str, action: Callable[[], Awaitable[object]], count: Count) -> None:
    """A background task that fails once is told, counted and tried again: phones go on booting meanwhile."""
    try:
        await action()
    except ProvisionerError as error:
        count("background", name)
        log.warning("%s failed: %s", name, error.cause)
    except Exception:  # belongs to the outer edge of a process: a fault here must not end it
        count("background", name)
        log.exception("%s failed because of a fault in the program", name)


class Fence:
    """Around what only watches and looks at strangers' bytes: a fault in it costs what it would have noted, no more."""

    def __init__(self, name: str, count: Count, clock: Callable[[], float] = monotonic) -> None:
        """``name``: the metric, whose label is ``fault``."""
        self._name, self._count, self._clock = name, count, clock
        self._quiet_until = float("-inf")

    def holds(self, action: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> bool:
        """Do it; False when it has failed. Whoever calls is through with what must not fail."""
        try:
            action(*args, **kwargs)
        except Exception as fault:  # noqa: BLE001  # told by its place alone; belongs to the outer edge: a connection's time-outs stand behind it
            self._count(self._name, "fault")
            self._tell(fault)
            return False
        return True

    def _tell(self, fault: Exception) -> None:
        """Once a minute, by its place: its words may be a stranger's."""
        if (now := self._clock()) < self._quiet_until:
            return
        self._quiet_until = now + _MINUTE
        places = [
            f"{frame.f_code.co_filename.rpartition('/')[2]}:{line}" for frame, line in walk_tb(fault.__traceback__)
        ]
        log.error(
            "%s: a fault in the program, %s at %s; further ones within a minute are only counted",
            self._name, type(fault).__name__, " > ".join(places[-_PLACES:]),
        )  # fmt: skip
