"""How a wide change reaches phones step by step: who has it yet, and whether it goes on or halts by itself. Pure.

A phone has the new value when its number, worked out from its Mac and the change, is below the share that has been
reached. The share only grows until the rollout ends, so no phone goes to and fro between the two values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from types import MappingProxyType
from typing import Final

PARTS: Final = 10_000
"""A share is so many parts of all phones: a hundredth of a percent each."""


class RolloutState(StrEnum):
    """Where a rollout stands."""

    TELLING = "telling"
    """The phones of its step are being asked to fetch."""
    WATCHING = "watching"
    """They were asked; whether they come back decides what follows."""
    HALTED = "halted"
    """No further phone gets it until somebody says how to go on."""
    DONE = "done"
    """Every phone has it, or gets it with its next fetch."""
    REVERTED = "reverted"
    """Every phone gets the former value again."""

    @property
    def over(self) -> bool:
        """Whether nothing more becomes of it."""
        return self in (RolloutState.DONE, RolloutState.REVERTED)


class RolloutStep(StrEnum):
    """What happens to it."""

    TOLD = "told"
    PROMOTE = "promote"
    AGAIN = "again"
    HALT = "halt"
    FINISH = "finish"
    REVERT = "revert"


_S, _DO = RolloutState, RolloutStep
_OPEN: Final = (_S.TELLING, _S.WATCHING, _S.HALTED)
TRANSITIONS: Final[Mapping[tuple[RolloutState, RolloutStep], RolloutState]] = MappingProxyType(
    {
        (_S.TELLING, _DO.TOLD): _S.WATCHING,
        (_S.WATCHING, _DO.AGAIN): _S.TELLING,
        (_S.TELLING, _DO.HALT): _S.HALTED,
        (_S.WATCHING, _DO.HALT): _S.HALTED,
        **{(state, _DO.PROMOTE): _S.TELLING for state in _OPEN},
        **{(state, _DO.FINISH): _S.DONE for state in _OPEN},
        **{(state, _DO.REVERT): _S.REVERTED for state in _OPEN},
    }
)
"""Whatever is not listed does not happen."""


def sources(step: RolloutStep) -> tuple[RolloutState, ...]:
    """Where it can happen."""
    return tuple(state for state, one in TRANSITIONS if one is step)


def target(step: RolloutStep) -> RolloutState:
    """Where it leads, always the same state."""
    return next(state for (_, one), state in TRANSITIONS.items() if one is step)


# --- who -----------------------------------------------------------------------------------------


def part_of(mac: str, salt: int) -> int:
    """A phone's number among the parts; with another salt other phones come first, so not always the same people."""
    return int.from_bytes(sha256(f"{salt}/{mac}".encode()).digest()[:8]) % PARTS


def first_share(percent: float, parts: Sequence[int] = ()) -> int:
    """The share to begin with; at least one phone has it where their parts are known."""
    wanted = min(PARTS, max(1, round(percent * PARTS / 100)))
    return max(wanted, min(parts) + 1) if parts else wanted


def next_share(share: int, growth: float) -> int:
    """The share of the next step: more than this one, and everybody at the end."""
    return min(PARTS, max(share + 1, round(share * growth)))


# --- whether it goes on ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the phones that were asked in a step."""

    back: int = 0
    """Have fetched the new configuration and, where that can be seen, registered again."""
    missing: int = 0
    """Were told and have not come back in time."""
    waiting: int = 0
    """Their turn, or their time, is not over."""
    silent: int = 0
    """Nobody could tell them: they come when they poll, or are switched off."""
    elsewhere: int = 0
    """Somebody else has asked them, before or since: whether they come back says nothing for or against the change."""

    @property
    def heard(self) -> int:
        """Phones that say something about the change."""
        return self.back + self.missing


@dataclass(frozen=True, slots=True)
class Rules:
    """What is borne."""

    missing: float
    """Share of those heard of that may be missing."""
    least: int
    """Missing phones that are enough to halt while others are still waited for."""
    back: float
    """Share of a step's phones that must have come back before the next step."""
    patience: float
    """s for that."""
    again: float = 900.0
    """s after which phones that others had asked are asked again, where a step has no other."""


class Judgement(StrEnum):
    """What follows of a step."""

    WAIT = "wait"
    GO_ON = "go on"
    HALT = "halt"
    AGAIN = "again"
    """Others had asked them all: the step's phones are asked once more, whatever they have by now."""


def judge(tally: Tally, rules: Rules, waited: float) -> tuple[Judgement, str]:
    """What follows, and why where it halts; ``waited``: s since the last of the step's phones was asked.

    Where phones would get something else and none was heard of, nothing is known, and it does not go on. Those that
    somebody else has asked are left out of account; where they are all that there are, they are asked again.
    """
    if tally.missing > rules.missing * tally.heard and (tally.missing >= rules.least or not tally.waiting):
        return Judgement.HALT, f"{tally.missing} of {tally.heard} phones that got it have not come back"
    if tally.waiting and waited < rules.patience:
        return Judgement.WAIT, ""
    asked = tally.heard + tally.silent + tally.waiting
    if not asked and tally.elsewhere:
        return (Judgement.AGAIN if waited >= rules.again else Judgement.WAIT), ""
    if tally.back >= rules.back * asked and (tally.heard or not asked):
        return Judgement.GO_ON, ""
    if waited >= rules.patience:
        return Judgement.HALT, f"only {tally.back} of {asked} phones have fetched it in {round(waited / 3600)} h"
    return Judgement.WAIT, ""
