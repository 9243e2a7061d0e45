"""The life of a job and of its rows: every row is checked before the first is applied. Pure.

A job with one row that cannot be applied as things are is refused as a whole, before anything was changed. What goes
wrong after that (somebody else was quicker) is told of its row alone, and the others go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class JobState(StrEnum):
    """Where a job stands."""

    CHECKING = "checking"
    APPLYING = "applying"
    DONE = "done"
    """Every row has its outcome; some may have failed."""
    CHECKED = "checked"
    """A dry run: every row could be applied, and nothing was changed."""
    REFUSED = "refused"
    """At least one row cannot be applied, so none was."""
    STOPPED = "stopped"
    """An administrator has stopped it; what was applied before stays."""

    @property
    def under_way(self) -> bool:
        """Whether something is still to be done."""
        return bool(TRANSITIONS[self])


class RowState(StrEnum):
    """Where a row stands."""

    WAITING = "waiting"
    FITS = "fits"
    """It could be applied when it was checked."""
    DONE = "done"
    REFUSED = "refused"

    @property
    def over(self) -> bool:
        """Whether nothing more becomes of it."""
        return self in {RowState.DONE, RowState.REFUSED}


TRANSITIONS: Final[Mapping[JobState, frozenset[JobState]]] = MappingProxyType(
    {
        JobState.CHECKING: frozenset({JobState.APPLYING, JobState.CHECKED, JobState.REFUSED, JobState.STOPPED}),
        JobState.APPLYING: frozenset({JobState.DONE, JobState.STOPPED}),
        JobState.DONE: frozenset(),
        JobState.CHECKED: frozenset(),
        JobState.REFUSED: frozenset(),
        JobState.STOPPED: frozenset(),
    }
)


def after_checking(*, refused: int, dry_run: bool) -> JobState:
    """Where a job goes whose rows were all looked at."""
    if refused:
        return JobState.REFUSED
    return JobState.CHECKED if dry_run else JobState.APPLYING
