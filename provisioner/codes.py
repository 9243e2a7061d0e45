"""Activation codes: random digits that end in a check digit, and the one table of what may become of a code. Pure.

The check digit is Damm's (H. M. Damm, Total anti-symmetrische Quasigruppen, 2004): every single wrong digit and every
swap of two neighbours is noticed. It is computed from the others, so it tells a guesser nothing: it only keeps honest
typing errors from being counted as guesses.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from provisioner.deeds import Cure, Deed
from provisioner.errors import Conflict, Unusable

SHORTEST: Final = 8
LONGEST: Final = 16
"""Digits, the check digit included: what other systems print on their letters lies between them."""

_DAMM: Final = (
    "0317598642",
    "7092154863",
    "4206871359",
    "1750983426",
    "6123045978",
    "3674209581",
    "5869720134",
    "8945362017",
    "9438617205",
    "2581436790",
)
_CODE: Final = re.compile(f"[0-9]{{{SHORTEST},{LONGEST}}}")
_SEPARATORS: Final = re.compile(r"[\s.\-\u2010-\u2015]+")
_GROUP: Final = 4
_SEEN: Final = 2
"""Last digits that a masked code shows: enough to tell two codes of one person apart."""
_DIFFERENT: Final = 4
"""Different digits that a code has at least; fewer are what people try first."""
_PERIOD: Final = 4
_FAIR: Final = 250
"""Bytes below it spread evenly over the ten digits."""
_TRIES: Final = 1000


def check_digit(digits: str) -> str:
    """What makes these digits a code when it is put behind them."""
    interim = "0"
    for digit in digits:
        interim = _DAMM[int(interim)][int(digit)]
    return interim


def checks(code: str) -> bool:
    """Whether these are 8 to 16 digits of which the last fits the others."""
    return _CODE.fullmatch(code) is not None and check_digit(code) == "0"


def normalise(text: str) -> str:
    """What people type or paste, without the blanks, dashes and dots between groups."""
    return _SEPARATORS.sub("", text)


def grouped(code: str) -> str:
    """As it is printed: ``1234-5678-9012``; a single digit does not stand alone."""
    parts = [code[start : start + _GROUP] for start in range(0, len(code), _GROUP)]
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [parts[-2] + parts[-1]]
    return "-".join(parts)


def masked(code: str) -> str:
    """As events tell it: ``****-****-**12``. Of what is too short to be a code nothing is shown."""
    shown = _SEEN if len(code) >= SHORTEST else 0
    hidden = min(len(code), LONGEST) - shown
    return grouped("*" * hidden + (code[-shown:] if shown and code.isascii() and code.isdigit() else "*" * shown))


def generate(entropy: Callable[[int], bytes], digits: int = 12) -> str:
    """A fresh code from a source of random bytes; Unusable when that source is broken."""
    if not SHORTEST <= digits <= LONGEST:
        raise ValueError(f"a code has {SHORTEST} to {LONGEST} digits")
    for _ in range(_TRIES):
        body = _random_digits(entropy, digits - 1)
        if not is_trivial(code := body + check_digit(body)):
            return code
    raise Unusable("the system's source of random numbers gives no usable ones")


def _random_digits(entropy: Callable[[int], bytes], wanted: int) -> str:
    found = ""
    for _ in range(_TRIES):
        found += "".join(str(byte % 10) for byte in entropy(wanted) if byte < _FAIR)
        if len(found) >= wanted:
            return found[:wanted]
    raise Unusable("the system's source of random numbers gives no usable ones")


def is_trivial(code: str) -> bool:
    """Whether somebody would try it without having it: few different digits, an even row, a short pattern repeated.

    Judged without the check digit, which nobody chooses; 2.6 % of 8-digit and 0.02 % of 12-digit codes are left out.
    """
    body = code[:-1]
    steps = {(int(after) - int(before)) % 10 for before, after in pairwise(body)}
    period = any(body == (body[:size] * len(body))[: len(body)] for size in range(1, _PERIOD + 1))
    return len(set(body)) < _DIFFERENT or len(steps) == 1 or period


def chance(random_digits: int, codes: int, tries: float) -> float:
    """How likely one of so many open codes is hit by so many wrong tries."""
    return -math.expm1(tries * math.log1p(-codes / 10**random_digits))


class CodeState(StrEnum):
    """The life of an activation code."""

    ISSUED = "issued"
    USED = "used"
    EXPIRED = "expired"
    REVOKED = "revoked"
    LOCKED = "locked"


class CodeEvent(StrEnum):
    """What can happen to a code."""

    REVEAL = "reveal"
    REDEEM = "redeem"
    LOCK = "lock"
    EXPIRE = "expire"
    REVOKE = "revoke"
    REISSUE = "reissue"


MEANINGS: Final[Mapping[CodeEvent, str]] = MappingProxyType(
    {
        CodeEvent.REVEAL: "an administrator reads it again; audited",
        CodeEvent.REDEEM: "it is keyed in on a phone that it fits",
        CodeEvent.LOCK: "it was keyed in too often on phones that it does not fit; an alarm",
        CodeEvent.EXPIRE: "its life is over",
        CodeEvent.REVOKE: "an administrator takes it back",
        CodeEvent.REISSUE: "an administrator replaces it by another one",
    }
)

TRANSITIONS: Final[Mapping[CodeState, Mapping[CodeEvent, CodeState]]] = MappingProxyType(
    {
        CodeState.ISSUED: {
            CodeEvent.REVEAL: CodeState.ISSUED,
            CodeEvent.REDEEM: CodeState.USED,
            CodeEvent.LOCK: CodeState.LOCKED,
            CodeEvent.EXPIRE: CodeState.EXPIRED,
            CodeEvent.REVOKE: CodeState.REVOKED,
            CodeEvent.REISSUE: CodeState.REVOKED,
        },
        CodeState.LOCKED: {
            CodeEvent.EXPIRE: CodeState.EXPIRED,
            CodeEvent.REVOKE: CodeState.REVOKED,
            CodeEvent.REISSUE: CodeState.REVOKED,
        },
        CodeState.USED: {},
        CodeState.EXPIRED: {},
        CodeState.REVOKED: {},
    }
)
"""The store's statements are made from this table, and docs/activation.md shows it."""

ACTIVE: Final = tuple(state for state, ways in TRANSITIONS.items() if ways)
"""States that a code can still leave; an extension has one such code at most."""


def sources(event: CodeEvent) -> tuple[CodeState, ...]:
    """The states in which it may happen."""
    return tuple(state for state, ways in TRANSITIONS.items() if event in ways)


def target(event: CodeEvent) -> CodeState:
    """Where it leads, from wherever it may happen."""
    return TRANSITIONS[sources(event)[0]][event]


_REFUSED: Final[Mapping[CodeEvent, str]] = MappingProxyType(
    {
        CodeEvent.REVEAL: "cannot be read any more",
        CodeEvent.REVOKE: "need not be taken back",
        CodeEvent.REISSUE: "cannot be replaced",
    }
)
"""What an administrator asks of a code, where its state does not let them."""


def require(state: CodeState, event: CodeEvent, number: str) -> None:
    """Conflict that names the extension, the state and what helps, where this is not possible."""
    if event not in TRANSITIONS[state]:
        refused = _REFUSED.get(event, f"{event} is not possible")
        raise Conflict(f"the code of extension {number} is {state} and {refused}", cure=another(state, number))


def another(state: CodeState, number: str) -> Cure:
    """How to get an extension a code that works, by the state of the one that it has."""
    if CodeEvent.REISSUE in TRANSITIONS[state]:
        return Cure(Deed.REISSUE_CODE, number)
    return Cure(Deed.ISSUE_CODE_INSTEAD if state is CodeState.USED else Deed.ISSUE_CODE, number)


def drawn() -> str:
    """The table as a Mermaid diagram, which is readable as text, too."""
    return "\n".join(["stateDiagram-v2", "    [*] --> issued: issue", *_arrows()])


def _arrows() -> Iterator[str]:
    for state, ways in TRANSITIONS.items():
        yield from (f"    {state} --> {to}: {event}" for event, to in ways.items())
        if not ways:
            yield f"    {state} --> [*]"


@dataclass(frozen=True, slots=True)
class ActivationCode:
    """An activation code as it is listed: everything but its digits."""

    id: str
    account: str
    extension: str
    """Its id."""
    number: str
    state: CodeState
    created: float
    expires: float
    actor: str
    vendor: str = ""
    model: str = ""
    """Only a phone of this model may use it; empty for any."""
    mac: str = ""
    """Only this phone may; empty for any."""
    site: str = ""
    """Only a phone of this site may; empty for any."""
    replaces: bool = False
    """It may take the extension away from the phone that has it."""
    misused: int = 0
    """How often it was keyed in on a phone that it does not fit."""
    used_by: str = ""
    ended: float | None = None
    """When it was used, revoked or locked, or when it expired."""

    def state_at(self, now: float) -> CodeState:
        """Its state, where nobody has written down yet that it expired."""
        over = CodeEvent.EXPIRE in TRANSITIONS[self.state] and self.expires <= now
        return CodeState.EXPIRED if over else self.state
