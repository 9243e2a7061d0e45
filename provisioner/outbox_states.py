"""The life of a message that leaves this server: a table, from which the store's statements are made (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class MessageState(StrEnum):
    """Where a message is."""

    QUEUED = "queued"
    """Waits for its turn."""
    SENDING = "sending"
    """Somebody has it, for so long as the lease says."""
    SENT = "sent"
    """The other side has taken it."""
    DEAD = "dead"
    """Given up; an administrator may have it sent again."""
    DROPPED = "dropped"
    """Nobody wants it any more."""


class MessageEvent(StrEnum):
    """What can happen to it."""

    CLAIM = "claim"
    SEND = "send"
    RETRY = "retry"
    BURY = "bury"
    REPLAY = "replay"
    DROP = "drop"
    """By an administrator, or because what it tells is over."""


TRANSITIONS: Final[Mapping[MessageState, Mapping[MessageEvent, MessageState]]] = MappingProxyType(
    {
        MessageState.QUEUED: {
            MessageEvent.CLAIM: MessageState.SENDING,
            MessageEvent.DROP: MessageState.DROPPED,
        },
        MessageState.SENDING: {
            MessageEvent.CLAIM: MessageState.SENDING,  # whoever had it has not come back within the lease
            MessageEvent.SEND: MessageState.SENT,
            MessageEvent.RETRY: MessageState.QUEUED,
            MessageEvent.BURY: MessageState.DEAD,
            MessageEvent.DROP: MessageState.DROPPED,
        },
        MessageState.DEAD: {
            MessageEvent.REPLAY: MessageState.QUEUED,
            MessageEvent.DROP: MessageState.DROPPED,
        },
        MessageState.SENT: {},
        MessageState.DROPPED: {},
    }
)

UNSETTLED: Final = (MessageState.QUEUED, MessageState.SENDING)
"""States in which later messages of the same subject have to wait."""
OVER: Final = tuple(state for state, ways in TRANSITIONS.items() if not ways)
"""States that nothing leaves; the payload is erased on the way there."""


def sources(event: MessageEvent) -> tuple[MessageState, ...]:
    """The states in which it may happen."""
    return tuple(state for state, ways in TRANSITIONS.items() if event in ways)


def target(event: MessageEvent) -> MessageState:
    """Where it leads, from wherever it may happen."""
    return TRANSITIONS[sources(event)[0]][event]


def backoff(attempts: int, first: float, most: float, chance: float) -> float:
    """Seconds until the next attempt: doubled after each, half of it left to ``chance`` (0 to 1).

    So a thousand messages that failed together do not come back together.
    """
    whole = min(most, first * 2.0 ** min(max(attempts - 1, 0), 60))
    return whole * (0.5 + 0.5 * chance)
