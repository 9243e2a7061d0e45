"""When a phone that is not heard of is away, and whether that is told of it alone or of its site. Pure.

A site whose phones are all without power shall not be told phone by phone: the first few are, then the site is, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from provisioner.model import Mac

BREAK: Final = 900.0
"""s without a sign of the server itself, after which phones had nobody to call: all of them get their time anew."""
_POLLS: Final = 2
"""A phone that has missed one poll may have been in a call, or moved."""


class Away(StrEnum):
    """How long a phone has not been heard of."""

    OFFLINE = "offline"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Absent:
    """A phone that is away."""

    mac: Mac
    place: str
    """Its site, or its account where it has none."""
    seen: float
    """When it was heard of last."""
    state: Away = Away.OFFLINE
    singly: bool = True
    """It was told by itself, not with its site."""


def listening_since(since: float, beat: float, now: float) -> float:
    """From when on phones could have been heard: since before, or since now where there was a break."""
    return now if now - beat > BREAK or beat > now + BREAK else since


def is_missing(heard: float, now: float, offline: float, polls: float | None, *, registers: bool) -> bool:
    """Whether a phone should have been heard of by now; ``polls``: within which s it asks by itself, None: never.

    Of one that neither asks by itself nor was ever seen to register, silence says nothing. Whatever is set, a phone has
    two of its polls.
    """
    if polls is None:
        return registers and now - heard >= offline
    return now - heard >= max(offline, _POLLS * polls)


def told_singly(
    fresh: Iterable[Absent], away: Mapping[str, int], singly: int
) -> tuple[Sequence[Absent], Mapping[str, int]]:
    """Those that are away since now, each with how it is told; and sites that are told as a whole from now on.

    ``away``: how many of each place are away already. A site is told with the phone that is one too many, once.
    """
    counted = dict(away)
    dark: dict[str, int] = {}
    found = []
    for one in fresh:
        before = counted.get(one.place, 0)
        counted[one.place] = before + 1
        found.append(Absent(one.mac, one.place, one.seen, one.state, singly=before < singly))
        if before == singly:
            dark[one.place] = 0
    return found, {place: counted[place] for place in dark}


def brightened(before: Mapping[str, int], after: Mapping[str, int], singly: int) -> list[str]:
    """Places that were told as a whole and have so few away now that each would be told by itself."""
    return sorted(place for place, count in before.items() if count > singly >= after.get(place, 0))
