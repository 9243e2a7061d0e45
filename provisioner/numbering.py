"""Numbers that people dial: one spelling inside, a state worked out from facts, the lowest free of a range. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from provisioner.errors import Invalid

_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
"""ITU-T E.164: 15 digits at most with the country code; shorter than 7 is nobody's number anywhere."""
_INTERNAL: Final = re.compile(r"[0-9]{2,15}")
_SEPARATORS: Final = str.maketrans("", "", " \u00a0-./()")
_RANGE: Final = re.compile(r"\s*([0-9]{2,10})\s*-\s*([0-9]{2,10})\s*")
_LARGEST: Final = 100_000
"""Numbers of a range: it is looked through for a free one."""


class NumberOrigin(StrEnum):
    """How an account came by a number."""

    CLAIMED = "claimed"
    PORTED = "ported"
    TEMPORARY = "temporary"
    """Stands in for one that is still being ported."""


class NumberState(StrEnum):
    """What can be done with a number."""

    AVAILABLE = "available"
    HELD = "held"
    """Somebody is about to assign it; the hold ends by itself."""
    ASSIGNED = "assigned"
    PORTING = "porting"
    """Not here yet; it may have its extension already, and counts once it has come."""


def number_state(*, porting: bool, has_extension: bool, held: bool) -> NumberState:
    """What is not here yet is porting whoever will have it; what has an extension is held no more."""
    if porting:
        return NumberState.PORTING
    if has_extension:
        return NumberState.ASSIGNED
    return NumberState.HELD if held else NumberState.AVAILABLE


def parse_number(text: str) -> str:
    """``+`` and digits (E.164), or an internal number of 2 to 15 digits; Invalid when it is neither."""
    bare = text.strip().translate(_SEPARATORS)
    if _E164.fullmatch(bare) or _INTERNAL.fullmatch(bare):
        return bare
    raise Invalid(
        "number", f"{text[:40]!r} is neither +COUNTRY and number (7 to 15 digits) nor an internal one of 2 to 15 digits"
    )


def is_public(number: str) -> bool:
    """Whether it is a number of the world, which one account at most can have."""
    return number.startswith("+")


@dataclass(frozen=True, slots=True)
class NumberRange:
    """Numbers of one length, both ends included; leading zeros count."""

    low: str
    high: str

    def __post_init__(self) -> None:
        """A range in which nothing could be found is refused."""
        if len(self.low) != len(self.high):
            raise Invalid("range", f"{self.low} and {self.high} have not the same number of digits")
        if not 0 <= int(self.high) - int(self.low) < _LARGEST:
            raise Invalid("range", f"from {self.low} to {self.high} must be 1 to {_LARGEST} numbers")

    @classmethod
    def parse(cls, text: str) -> Self:
        """``1000-1999``."""
        found = _RANGE.fullmatch(text)
        if found is None or not text.isascii():
            raise Invalid("range", f"{text[:40]!r} is no range such as 1000-1999")
        return cls(found[1], found[2])

    def __iter__(self) -> Iterator[str]:
        """All of them, the lowest first."""
        return (str(one).zfill(len(self.low)) for one in range(int(self.low), int(self.high) + 1))

    def __str__(self) -> str:
        """As it is parsed."""
        return f"{self.low}-{self.high}"

    def lowest_free(self, taken: Collection[str]) -> str | None:
        """The first that is not taken; None when all are."""
        return next((one for one in self if one not in taken), None)
