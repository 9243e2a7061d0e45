"""How far a device is that shall fetch again: one table of what may follow what, and what a person is told. Pure.

``bound`` is what a device is while its configuration is newer than what it has and nobody has told it. It is told by
one of three ways, or finds it by itself when it polls: then it goes from ``bound`` to ``fetched`` at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from provisioner.model import Mac


class State(StrEnum):
    """Where a device stands on its way to its newest configuration."""

    BOUND = "bound"
    NOTIFIED = "notified"
    FETCHED = "fetched"
    REGISTERED = "registered"
    STUCK = "stuck"
    STOPPED = "stopped"


class Step(StrEnum):
    """What happens to it."""

    ASK = "ask"
    """Somebody wants it told, again where it was before."""
    NOTIFY = "notify"
    """It has answered a NOTIFY with 2xx, or the PBX has taken it."""
    FETCH = "fetch"
    """It has got a configuration that is new enough."""
    REGISTER = "register"
    """The PBX sees it; known only where a PBX is asked."""
    GIVE_UP = "give up"
    """Its time is over: an alarm. It has not fetched, or the PBX has not seen it since; it may still come."""
    STOP = "stop"
    """An administrator has stopped the campaign; who was told already cannot be called back."""


TRANSITIONS: Final[Mapping[tuple[State, Step], State]] = MappingProxyType(
    {
        **{(state, Step.ASK): State.BOUND for state in State},
        (State.BOUND, Step.NOTIFY): State.NOTIFIED,
        (State.BOUND, Step.FETCH): State.FETCHED,
        (State.NOTIFIED, Step.FETCH): State.FETCHED,
        (State.STUCK, Step.FETCH): State.FETCHED,
        (State.FETCHED, Step.REGISTER): State.REGISTERED,
        (State.STUCK, Step.REGISTER): State.REGISTERED,
        (State.BOUND, Step.GIVE_UP): State.STUCK,
        (State.NOTIFIED, Step.GIVE_UP): State.STUCK,
        (State.FETCHED, Step.GIVE_UP): State.STUCK,
        (State.BOUND, Step.STOP): State.STOPPED,
    }
)
"""Whatever is not listed does not happen."""

UNDER_WAY: Final = (State.BOUND, State.NOTIFIED)
"""A campaign is over when none of its devices is in one of these."""


def sources(step: Step) -> tuple[State, ...]:
    """Where it can happen."""
    return tuple(state for state, one in TRANSITIONS if one is step)


def target(step: Step) -> State:
    """Where it leads, always the same state."""
    return next(state for (_, one), state in TRANSITIONS.items() if one is step)


class Way(StrEnum):
    """How a device is told."""

    NONE = ""
    """Not yet tried."""
    IVR = "ivr"
    """On the flow on which it is registered to the activation prompts."""
    AMI = "ami"
    """By the PBX that it is registered to."""
    POLL = "poll"
    """By nobody: it asks by itself."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One device on its way."""

    mac: Mac
    campaign: str
    state: State
    way: Way
    wave: int
    due: float
    """Unix time at which its turn comes, or came."""
    since: float
    """Unix time at which it came into its state."""
    tries: int
    result: str
    """What came of the last attempt, in a word or two."""
    patience: float
    """s in which it asks by itself at the latest, as far as its configuration says."""

    def told(self, now: float) -> str:
        """For a person: what is waited for, and how long at most."""
        if self.state is State.BOUND and self.way is Way.POLL:
            return f"asks by itself within {span(self.due + self.patience - now)}"
        if self.state is State.BOUND and self.due > now:
            return f"its turn comes in {span(self.due - now)}"
        return _TOLD[self.state]


_TOLD: Final[Mapping[State, str]] = MappingProxyType(
    {
        State.BOUND: "its turn is now",
        State.NOTIFIED: "was told, has not fetched yet",
        State.FETCHED: "has its newest configuration",
        State.REGISTERED: "has its newest configuration, and the PBX sees it",
        State.STUCK: "has not come: unplug it (power and network) for one full minute, then connect it",
        State.STOPPED: "was not told: the campaign was stopped",
    }
)


def span(seconds: float) -> str:
    """A length of time as people say it, rounded up."""
    left = max(0, round(seconds))
    for unit, size in (("h", 3600), ("min", 60)):
        if left >= 2 * size:
            return f"{-(-left // size)} {unit}"
    return f"{left} s"
