"""The life of a job and of its rows: every row is checked before the first is applied. Pure.

A job with one row that cannot be applied as things are is refused as a whole, before anything was changed, unless it
was begun to do the others; whoever has looked at what came of the check may have them done then. What goes wrong after
that (somebody else was quicker, or two rows of one job that were not checked together get into each other's way) is
told of its row alone, and the others go on.
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
    """A dry run: every row could be applied, and nothing was changed. Its rows are kept for a day, to be applied."""
    REFUSED = "refused"
    """At least one row cannot be applied, so none was; the others are kept for a day, to be applied."""
    STOPPED = "stopped"
    """An administrator has stopped it, or the server has, and says why; what was applied before stays."""

    @property
    def under_way(self) -> bool:
        """Whether something is still to be done."""
        return self in {JobState.CHECKING, JobState.APPLYING}

    @property
    def keeps(self) -> bool:
        """Whether what is left of its rows may still be asked for."""
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
        JobState.CHECKED: frozenset({JobState.APPLYING, JobState.STOPPED}),
        JobState.REFUSED: frozenset({JobState.APPLYING, JobState.STOPPED}),
        JobState.STOPPED: frozenset(),
    }
)


def after_checking(*, refused: int, dry_run: bool, partly: bool = False) -> JobState:
    """Where a job goes whose rows were all looked at; ``partly`` does those that can be done."""
    if refused and not partly:
        return JobState.REFUSED
    return JobState.CHECKED if dry_run else JobState.APPLYING
