"""The time zone as Yealink writes it: an offset in hours, and summer time by month/week/weekday/hour.

The week is 1 to 5 (5 is the last), Monday is 1 and Sunday 7, only whole hours exist.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from provisioner.zones import Change, zone

_HOUR: Final = 3600


@lru_cache(maxsize=1024)
def zone_parameters(name: str) -> dict[str, str]:
    """The parameters of one IANA zone."""
    found = zone(name)
    offset = {"local_time.time_zone": _offset(found.standard)}
    if found.summer is None or found.start is None or found.end is None:
        return {**offset, "local_time.summer_time": "0"}
    return {
        **offset,
        # 1 is our rule; 2 would be the phone's own table, which is as old as its firmware.
        "local_time.summer_time": "1",
        "local_time.dst_time_type": "1",
        "local_time.start_time": _change(found.start),
        "local_time.end_time": _change(found.end),
        "local_time.offset_time": str((found.summer - found.standard) // 60),
    }


def _offset(seconds: int) -> str:
    hours, minutes = divmod(abs(seconds) // 60, 60)
    sign = "" if seconds == 0 else "-" if seconds < 0 else "+"
    return f"{sign}{hours}:{minutes:02d}" if minutes else f"{sign}{hours}"


def _change(change: Change) -> str:
    plain = change.plain()
    return f"{plain.month}/{plain.week}/{plain.weekday or 7}/{plain.seconds // _HOUR}"
