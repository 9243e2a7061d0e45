"""A child's time in office: it beats while its loop turns, and leaves when it is told or when nobody is there to tell.

The first beat says "I serve", so a Tenure begins when everything else has started.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from provisioner.children import BEAT, Lifeline, Word

RETIRE_PATIENCE: Final = 900.0
"""s: the longest firmware transfer over a thin line; then a retired worker drains."""


class Tenure:
    """``lag`` is given the loop's delay with each beat, ``told`` each line that is no word to leave."""

    def __init__(self, line: Lifeline, lag: Callable[[float], None], told: Callable[[str], None]) -> None:
        self._line = line
        self._lag = lag
        self._told = told
        self._leave = asyncio.Event()
        self._drain = asyncio.Event()
        self._beats: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._line.fileno(), self._hear)
        loop.add_signal_handler(signal.SIGTERM, self._heed, Word.DRAIN)
        self._beats = asyncio.create_task(self._beat(), name="beats")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._line.fileno())
        loop.remove_signal_handler(signal.SIGTERM)
        assert self._beats is not None
        self._beats.cancel()
        with suppress(asyncio.CancelledError):
            await self._beats

    async def until_told_to_leave(self) -> None:
        """Until ``retire`` or ``drain`` is said, or the control process is gone."""
        await self._leave.wait()

    async def until_idle_or_drain(self, idle: Callable[[], Awaitable[None]]) -> None:
        """Let a retired child serve those who are connected until they are gone, or ``drain`` is said."""
        waits = [asyncio.ensure_future(idle()), asyncio.create_task(self._drain.wait())]
        try:
            await asyncio.wait(waits, timeout=RETIRE_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._line.beat()
            due = loop.time() + BEAT
            await asyncio.sleep(BEAT)
            self._lag(max(0.0, loop.time() - due))

    def _hear(self) -> None:
        for line in self._line.words():
            self._heed(line)

    def _heed(self, line: str) -> None:
        if line == Word.RETIRE:
            self._leave.set()
        elif line == Word.DRAIN:
            # At the end of the line the reader would fire for ever.
            asyncio.get_running_loop().remove_reader(self._line.fileno())
            self._leave.set()
            self._drain.set()
        else:
            self._told(line)
