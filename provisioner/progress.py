"""How far a phone is that was just bound: told by when it was bound and when it last fetched its files. Pure.

A phone may boot more than once on its way (firmware, then configuration), so fetching again is normal inside the
window. It has arrived when it is quiet. Who has not fetched within the window is stuck, and so is who still fetches
behind it and has never got what it was bound with; one that has got it only polls, or was restarted by somebody.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

UNPLUG: Final = "it has not restarted by itself: unplug it (power and network) for one full minute, then connect it"
LOOPS: Final = (
    "it fetches again and again, and not the configuration of its line: look at its log, and at the files that it asks"
    " for"
)


class Stage(StrEnum):
    """Where a phone stands after it was bound."""

    UNBOUND = "unbound"
    WAITING = "waiting"
    ACTIVATING = "activating"
    STUCK = "stuck"
    ONLINE = "online"


@dataclass(frozen=True, slots=True)
class Progress:
    """A stage, and what a person should do where something is to be done."""

    stage: Stage
    hint: str = ""


def progress_of(
    bound: float | None, fetched: float | None, now: float, *, arrived: bool, window: float, patience: float
) -> Progress:
    """``fetched``: when it last got a file; after ``patience`` s without a fetch it is quiet, or in need of a hand.

    ``arrived``: it has got the configuration that it was bound with.
    """
    if bound is None:
        return Progress(Stage.UNBOUND)
    if fetched is None or fetched < bound:
        return _unseen(now - bound, window, patience)
    if now - fetched >= patience:
        return Progress(Stage.ONLINE)
    if fetched - bound <= window:
        return Progress(Stage.ACTIVATING)
    # Long after it was activated a restart is nothing but a restart.
    loops = not arrived and fetched - bound <= 2 * window
    return Progress(Stage.STUCK, LOOPS) if loops else Progress(Stage.ONLINE)


def _unseen(since: float, window: float, patience: float) -> Progress:
    if since > window:
        return Progress(Stage.STUCK, UNPLUG)
    return Progress(Stage.WAITING, UNPLUG if since >= patience else "")
