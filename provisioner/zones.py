"""A time zone as a phone takes it: two offsets and two rules, from the POSIX footer of the pinned tzdata package.

The machine's own zone files are never read, so every process and every host renders the same bytes.
Only the rule in force after the last listed change is known here. Changes that follow no rule (a Ramadan break that
governments announce) are lost: a phone cannot be told them either.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Final

from provisioner.errors import RenderFailed

DAY: Final = 86400
_HOUR: Final = 3600

_NAME: Final = r"(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]{3,}>)"
_TIME: Final = r"[+-]?[0-9]{1,3}(?::[0-9]{1,2}){0,2}"
_FOOTER: Final = re.compile(
    rf"{_NAME}(?P<standard>{_TIME})"
    rf"(?:{_NAME}(?P<summer>{_TIME})?,(?P<start>[^,]+),(?P<end>[^,]+))?"
)
"""RFC 9636 section 3.3.1: the POSIX TZ string; a rule follows wherever a second name stands."""
_MONTH_RULE: Final = re.compile(rf"M([0-9]{{1,2}})\.([1-5])\.([0-6])(?:/({_TIME}))?")
_CYCLE: Final = range(2028, 2056)
"""28 years: every weekday falls on every date, leap years included."""


@dataclass(frozen=True, slots=True)
class Change:
    """The moment of one change, in the local time that holds before it."""

    month: int
    week: int
    """1 to 4, or 5 for the last such weekday of the month."""
    weekday: int
    """0 is Sunday."""
    seconds: int
    """Local wall time after midnight; below 0 or above a day where the rule is written so."""

    def day(self, year: int) -> datetime.date:
        """The date that the week and weekday name, before ``seconds`` are added."""
        first = datetime.date(year, self.month, 1)
        day = 1 + (self.weekday - first.isoweekday()) % 7 + 7 * (self.week - 1)
        last = (first.replace(day=28) + datetime.timedelta(days=4)).replace(day=1) - datetime.timedelta(days=1)
        return first.replace(day=day if day <= last.day else day - 7)

    def at(self, year: int) -> datetime.datetime:
        """The change in that year, as local wall time."""
        return datetime.datetime.combine(self.day(year), datetime.time()) + datetime.timedelta(seconds=self.seconds)

    def plain(self) -> Change:
        """The nearest change whose time lies within its own day, for phones that know only hours 0 to 23.

        A time just outside the day is moved to its edge (at most an hour wrong, once); a later one moves to
        that later weekday, in the week that is right in most years.
        """
        if 0 <= self.seconds < DAY:
            return self
        if -_HOUR <= self.seconds < DAY + _HOUR:
            return Change(self.month, self.week, self.weekday, 0 if self.seconds < 0 else DAY - _HOUR)
        days, seconds = divmod(self.seconds, DAY)
        weekday = (self.weekday + days) % 7
        options = [Change(self.month, week, weekday, seconds) for week in range(1, 6)]
        return max(options, key=lambda one: sum(one.at(year) == self.at(year) for year in _CYCLE))


@dataclass(frozen=True, slots=True)
class Zone:
    """Offsets from UTC in seconds, east positive. ``summer`` is always the greater one, also in Ireland.

    Without summer time ``summer``, ``start`` and ``end`` are None. ``start`` leads to ``summer``, ``end`` back;
    south of the equator ``start`` comes later in the year than ``end``.
    """

    name: str
    standard: int
    summer: int | None = None
    start: Change | None = None
    end: Change | None = None


@lru_cache(maxsize=1024)
def zone(name: str) -> Zone:
    """The rule of an IANA zone; RenderFailed when the package has no such zone or its rule has a form unknown here."""
    footer = _footer(name)
    found = _FOOTER.fullmatch(footer)
    if found is None:
        raise RenderFailed(f"time zone {name}: its rule {footer!r} cannot be read")
    # POSIX counts west positive (IEEE Std 1003.1, 8.3), phones and people east.
    standard = -_seconds(found["standard"])
    if found["start"] is None:
        return Zone(name, standard)
    summer = standard + _HOUR if found["summer"] is None else -_seconds(found["summer"])
    start, end = _change(name, found["start"]), _change(name, found["end"])
    if summer < standard:  # Ireland keeps summer time as its standard and goes back for the winter
        standard, summer, start, end = summer, standard, end, start
    return Zone(name, standard, summer, start, end)


@cache
def names() -> frozenset[str]:
    """Every zone the package lists."""
    listed = resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8")
    return frozenset(listed.split())


def _footer(name: str) -> str:
    """The last line of the zone's TZif file, version 2 or later (RFC 9636 section 3.3)."""
    parts = name.split("/")
    if not all(re.fullmatch(r"[A-Za-z0-9_+-]+", part) for part in parts):
        raise RenderFailed(f"time zone {name!r} is not a zone's name")
    try:
        data = resources.files("tzdata").joinpath("zoneinfo", *parts).read_bytes()
    except OSError as error:
        raise RenderFailed(f"time zone {name} is not in the tzdata package; use a name that it lists") from error
    if data[:4] != b"TZif" or data[4:5] < b"2":
        raise RenderFailed(f"time zone {name}: its file is not TZif of version 2 or later")
    return data.rsplit(b"\n", 2)[1].decode("ascii")


def _change(name: str, text: str) -> Change:
    """An M rule. tzdata uses no J or n rules; should one appear, it is refused by name rather than guessed."""
    found = _MONTH_RULE.fullmatch(text)
    if found is None:
        raise RenderFailed(f"time zone {name}: the rule {text!r} is not of the month-week-day form")
    month, week, weekday = int(found[1]), int(found[2]), int(found[3])
    return Change(month, week, weekday, 2 * _HOUR if found[4] is None else _seconds(found[4]))


def _seconds(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    hours, minutes, seconds = ([int(part) for part in text.lstrip("+-").split(":")] + [0, 0])[:3]
    return sign * (hours * _HOUR + minutes * 60 + seconds)
