"""What goes into a Flow and what comes out of it: frozen values, and keyed digits never in a repr."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class ResultKind(StrEnum):
    """What the use-case can say of a code or of a caller."""

    ACCEPTED = "accepted"
    TYPO = "typo"
    WRONG = "wrong"
    EXPIRED = "expired"
    USED = "used"
    WRONG_MODEL = "wrong_model"
    NOT_READY = "not_ready"
    """The code and the phone are right, and something at the extension is missing: the code stays good."""
    LOCKED = "locked"
    BUSY = "busy"
    UNSUPPORTED = "unsupported"
    ERROR = "error"


_REFUSALS: Final = frozenset({ResultKind.LOCKED, ResultKind.BUSY, ResultKind.UNSUPPORTED, ResultKind.ERROR})


@dataclass(frozen=True, slots=True)
class Result:
    """The use-case's answer; the extension is read back, the seconds are for systems that answer with a number."""

    kind: ResultKind
    extension: str = ""
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as far as the adapter knows; ``mac`` is empty when nothing told it."""

    mac: str
    source: str
    channel: str
    authenticated: bool = False


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """What a Flow goes by; times in seconds."""

    code_digits: int = 12
    """So many are a code without "#": the longest that can be keyed in."""
    other_lengths: tuple[int, ...] = ()
    """Shorter codes, taken with "#" or after a pause."""
    tries: int = 3
    """Codes keyed in one call, mistyped ones included."""
    silences: int = 3
    first: float = 8.0
    inter: float = 4.0
    longest: float = 180.0
    farewell: float = 10.0
    """The part of ``longest`` kept for the last prompt."""
    answer: float = 15.0
    """How long the use-case may take."""
    grace: float = 1.0
    """A key this soon after the last prompt began was pressed before it, and does not cut it short."""
    confirm_extension: bool = False

    def __post_init__(self) -> None:
        """A Flow that could never ask, or never end, is refused where it is set up."""
        if min(self.code_digits, self.tries, self.silences, *self.other_lengths) < 1:
            raise ValueError("code_digits, other_lengths, tries and silences are at least 1")
        if max((self.code_digits, *self.other_lengths)) > self.code_digits:
            raise ValueError("other_lengths are shorter than code_digits: nobody could key in more")
        if min(self.first, self.inter, self.answer) <= 0 or min(self.grace, self.farewell) < 0:
            raise ValueError("first, inter and answer are above 0 seconds; grace and farewell not below")
        if not self.farewell < self.longest < math.inf:
            raise ValueError("longest has an end and exceeds farewell")


# What happened.


@dataclass(frozen=True, slots=True)
class Started:
    """The call is up; ``refusal`` when the use-case turns this caller away before any code."""

    caller: Caller
    refusal: Result | None = None

    def __post_init__(self) -> None:
        """No code has been heard yet, so nothing can be said of one."""
        if self.refusal and self.refusal.kind not in _REFUSALS:
            raise ValueError(f"{self.refusal.kind} speaks of a code; a caller is turned away by {sorted(_REFUSALS)}")


@dataclass(frozen=True, slots=True)
class Digits:
    """Keys in their order, one or many; anything but 0-9, * and # is passed over."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Played:
    """The prompt has ended by itself."""


@dataclass(frozen=True, slots=True)
class Timeout:
    """The Flow's timer, or a gathering system's own, has run out."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The use-case has answered."""

    result: Result


@dataclass(frozen=True, slots=True)
class Ended:
    """The caller has hung up or was lost."""


Input = Started | Digits | Played | Timeout | Outcome | Ended

# What to do.


@dataclass(frozen=True, slots=True)
class Play:
    """Play these prompts one after the other."""

    prompts: tuple[str, ...]
    barge_in: bool = True


@dataclass(frozen=True, slots=True)
class Stop:
    """End what is playing."""


@dataclass(frozen=True, slots=True)
class Collect:
    """Wait for keys: ``first_s`` for the first, from the end of a Play in the same list; ``inter_s`` between two."""

    max_digits: int
    terminator: str
    first_s: float
    inter_s: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """Ask the use-case to redeem this code; with ``hold`` only whose it is, to be confirmed."""

    code: str = field(repr=False)
    attempt: int
    hold: bool = False


@dataclass(frozen=True, slots=True)
class Confirm:
    """Redeem the code that was held: the caller has agreed to its extension."""

    code: str = field(repr=False)
    attempt: int


class Cause(StrEnum):
    """Why the Flow ends a call."""

    ACTIVATED = "activated"
    NO_CODE = "no code"
    LOCKED = "locked"
    BUSY = "busy"
    ERROR = "error"
    UNSUPPORTED = "unsupported"
    NOT_READY = "not ready"
    OVERTIME = "overtime"


@dataclass(frozen=True, slots=True)
class Hangup:
    """End the call; nothing comes after it."""

    cause: Cause


@dataclass(frozen=True, slots=True)
class Note:
    """One line for the event log: the cause of the Play behind it, and how many codes were keyed so far."""

    cause: str
    attempt: int
    extension: str = ""


Output = Play | Stop | Collect | Attempt | Confirm | Hangup | Note
