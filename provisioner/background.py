"""Work beside the serving: again and again until its process ends; each failure is told and counted, none is fatal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Final

from provisioner.errors import ProvisionerError
from provisioner.model import Count

log: Final = logging.getLogger("provisioner.server")


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
