"""Time on an OBi: a zone is one of a list of texts, a rule is ``month/day/weekday/hour``.

One text and one rule are published; the other texts are inferred from the devices' own list. An offset that the
list does not have leaves the zone as it is: give LocalTimeZone as a raw parameter then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from provisioner import neutral
from provisioner.model import ResolvedConfig
from provisioner.zones import Change, zone

_TEXTS: Final[Mapping[int, str]] = MappingProxyType(
    {
        -720: "GMT-12:00(International Dateline West)",
        -660: "GMT-11:00(Samoa)",
        -600: "GMT-10:00(Hawaii)",
        -540: "GMT-09:00(Alaska)",
        -480: "GMT-08:00(Pacific Time)",
        -420: "GMT-07:00(Mountain Time)",
        -360: "GMT-06:00(Central Time)",
        -300: "GMT-05:00(Eastern Time)",
        -240: "GMT-04:00(Atlantic Time)",
        -210: "GMT-03:30(Newfoundland)",
        -180: "GMT-03:00(Buenos Aires,Greenland)",
        -120: "GMT-02:00(Mid-Atlantic)",
        -60: "GMT-01:00(Cape Verde)",
        0: "GMT+00:00(London,Lisbon)",
        60: "GMT+01:00(Rome,Paris,Madrid)",
        120: "GMT+02:00(Athens,Cairo)",
        180: "GMT+03:00(Moscow,Baghdad)",
        240: "GMT+04:00(Abu Dhabi)",
        300: "GMT+05:00(Islamabad,Karachi)",
        330: "GMT+05:30(New Delhi)",
        360: "GMT+06:00(Dhaka)",
        420: "GMT+07:00(Bangkok,Jakarta)",
        480: "GMT+08:00(Beijing,Hong Kong,Singapore)",
        540: "GMT+09:00(Tokyo,Seoul)",
        600: "GMT+10:00(Sydney,Guam)",
        660: "GMT+11:00(Solomon Is.)",
        720: "GMT+12:00(Fiji,Auckland)",
    }
)
"""Minutes east of UTC -> text."""


def parameters(config: ResolvedConfig) -> Iterable[tuple[str, str]]:
    """Time server, zone and summer time."""
    stem = "DeviceInfo.Time."
    found = zone(config.get(neutral.TIME_ZONE))
    yield f"{stem}NTPServer1", config.get(neutral.NTP_SERVER)
    if text := _TEXTS.get(found.standard // 60):
        yield f"{stem}LocalTimeZone", text
    yield f"{stem}DaylightSavingTimeEnable", "true" if found.summer is not None else "false"
    if found.start is not None and found.end is not None and found.summer is not None:
        yield f"{stem}DaylightSavingTimeStart", _rule(found.start)
        yield f"{stem}DaylightSavingTimeEnd", _rule(found.end)
        yield f"{stem}DaylightSavingTimeDiff", _hours(found.summer - found.standard)


def _rule(change: Change) -> str:
    """``3/8/7/2``: the first Sunday (7) on or after 8 March, at two; day -1, the last one, is inferred."""
    plain = change.plain()
    day = -1 if plain.week == 5 else 7 * plain.week - 6
    return f"{plain.month}/{day}/{plain.weekday or 7}/{_hours(plain.seconds)}"


def _hours(seconds: int) -> str:
    """Whole hours as published, minutes after a colon where there are any."""
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours}:{minutes:02d}" if minutes else str(hours)
