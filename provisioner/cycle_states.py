"""How far a power cycle is: one table of what may follow what. Pure.

Power may be off in ``cutting``, ``off`` and ``restoring`` alone; none of them is an end, and the only way out of them
is to have read from the switch that the port may deliver again, or that somebody says so who has looked.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class CycleState(StrEnum):
    """Where a power cycle stands."""

    ASKED = "asked"
    CHECKING = "checking"
    CUTTING = "cutting"
    OFF = "off"
    RESTORING = "restoring"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    """Power is on again, and it did not do what it should: the link stayed up, or the switch did not obey."""


class CycleStep(StrEnum):
    """What happens to it."""

    TAKE = "take"
    """Somebody looks whether it may be done."""
    PUT_OFF = "put off"
    """Another port of the same switch is off: one after the other."""
    REFUSE = "refuse"
    CUT = "cut"
    """About to switch off: written before it is done."""
    DARK = "dark"
    """The link has gone down: it is the right port."""
    RESTORE = "restore"
    """About to switch on, once more where that has failed."""
    FINISH = "finish"
    """Read back: the port may deliver again, after its link was down."""
    GIVE_UP = "give up"
    """Read back as well; the link had not gone down."""
    SEEN = "seen"
    """Somebody has switched it on by hand, and says so: the switch itself cannot be asked."""


TRANSITIONS: Final[Mapping[tuple[CycleState, CycleStep], CycleState]] = MappingProxyType(
    {
        (CycleState.ASKED, CycleStep.TAKE): CycleState.CHECKING,
        (CycleState.CHECKING, CycleStep.TAKE): CycleState.CHECKING,
        (CycleState.CHECKING, CycleStep.PUT_OFF): CycleState.ASKED,
        (CycleState.ASKED, CycleStep.REFUSE): CycleState.REFUSED,
        (CycleState.CHECKING, CycleStep.REFUSE): CycleState.REFUSED,
        (CycleState.CHECKING, CycleStep.CUT): CycleState.CUTTING,
        (CycleState.CUTTING, CycleStep.DARK): CycleState.OFF,
        (CycleState.CUTTING, CycleStep.RESTORE): CycleState.RESTORING,
        (CycleState.OFF, CycleStep.RESTORE): CycleState.RESTORING,
        (CycleState.RESTORING, CycleStep.RESTORE): CycleState.RESTORING,
        (CycleState.RESTORING, CycleStep.FINISH): CycleState.DONE,
        (CycleState.RESTORING, CycleStep.GIVE_UP): CycleState.FAILED,
        (CycleState.CUTTING, CycleStep.SEEN): CycleState.FAILED,
        (CycleState.OFF, CycleStep.SEEN): CycleState.FAILED,
        (CycleState.RESTORING, CycleStep.SEEN): CycleState.FAILED,
    }
)
"""Whatever is not listed does not happen."""

ENDS: Final = frozenset({CycleState.DONE, CycleState.REFUSED, CycleState.FAILED})
MAY_BE_OFF: Final = frozenset({CycleState.CUTTING, CycleState.OFF, CycleState.RESTORING})
CYCLE_WORDS: Final[Mapping[CycleState, str]] = MappingProxyType(
    {
        CycleState.ASKED: "its turn comes next",
        CycleState.CHECKING: "looking where the phone is and whether its port may be switched off",
        CycleState.CUTTING: "switching the port off, and watching its link go down",
        CycleState.OFF: "the port is off; it comes on again by itself",
        CycleState.RESTORING: "switching the port on again",
        CycleState.DONE: "the port was off and is on again",
        CycleState.REFUSED: "nothing was switched off",
        CycleState.FAILED: "the port is on again; it was not what it should have been",
    }
)


def sources(step: CycleStep) -> tuple[CycleState, ...]:
    """Where it can happen."""
    return tuple(state for state, one in TRANSITIONS if one is step)


def target(step: CycleStep) -> CycleState:
    """Where it leads, always the same state."""
    return next(state for (_, one), state in TRANSITIONS.items() if one is step)
