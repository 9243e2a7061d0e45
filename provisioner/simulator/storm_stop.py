"""Ctrl-C and SIGTERM in a storm: the first ends it and has it reported until there, the second ends all at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_HEARD: Final = (signal.SIGINT, signal.SIGTERM)
_BY_SIGNAL: Final = 128
"""What a shell adds to the signal's number to make an exit code."""


class Stop:
    """Whether somebody has had enough."""

    def __init__(self) -> None:
        self._signal = 0
        self._playing = False

    def __call__(self) -> bool:
        """What a storm asks between two looks."""
        return bool(self._signal)

    def hear(self, number: int, _frame: FrameType | None = None) -> None:
        """A signal: with no storm on, or with one that is ending already, it ends whatever is being done."""
        again, self._signal = bool(self._signal), number
        if again or not self._playing:
            raise KeyboardInterrupt

    @contextmanager
    def playing(self) -> Iterator[None]:
        """While there is something to report, the first signal only notes the wish."""
        self._playing = True
        try:
            yield
        finally:
            self._playing = False

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, 143 after SIGTERM."""
        return _BY_SIGNAL + (self._signal or signal.SIGINT)


@contextmanager
def listening() -> Iterator[Stop]:
    """Hear both signals meanwhile, and leave them as they were; whoever was told to ignore one goes on ignoring it."""
    stop = Stop()
    before = {one: signal.getsignal(one) for one in _HEARD}
    heard = [one for one, handler in before.items() if handler is not signal.SIG_IGN]
    for one in heard:
        signal.signal(one, stop.hear)
    try:
        yield stop
    finally:
        for one in heard:
            signal.signal(one, before[one])
