"""Every zone of the tzdata package becomes offsets and rules that agree with zoneinfo in the years to come."""

from __future__ import annotations

import datetime
import subprocess
import sys
from importlib import resources
from zoneinfo import ZoneInfo

import pytest

from provisioner.errors import RenderFailed
from provisioner.zones import Change, Zone, names, zone

UTC = datetime.UTC
# Listed change by change until 2086, because Ramadan moves: no rule can agree inside those weeks.
BY_DECREE = {"Asia/Gaza", "Asia/Hebron"}
YEARS = range(2028, 2038)  # what governments have announced one by one ends before


def offset(found: Zone, moment: datetime.datetime) -> int:
    """What a phone with these two offsets and rules would show."""
    if found.summer is None or found.start is None or found.end is None:
        return found.standard
    year = (moment + datetime.timedelta(seconds=found.standard)).year
    begin = found.start.at(year).replace(tzinfo=UTC) - datetime.timedelta(seconds=found.standard)
    stop = found.end.at(year).replace(tzinfo=UTC) - datetime.timedelta(seconds=found.summer)
    summer = begin <= moment < stop if begin < stop else not stop <= moment < begin
    return found.summer if summer else found.standard


def test_the_package_lists_the_world() -> None:
    listed = list(names())
    assert len(listed) > 550
    assert {"Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Etc/UTC"} <= set(listed)


@pytest.mark.parametrize("name", sorted(names()))
def test_offsets_agree_with_zoneinfo(name: str) -> None:
    found = zone(name)
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        truth = ZoneInfo.from_file(file)
    wrong = [moment for moment in _moments(found) if _shown(moment, truth) != offset(found, moment)]
    assert name in BY_DECREE or not wrong
    assert len(wrong) * 5 < len(_moments(found)), "even by decree most of the year follows the rule"


def _shown(moment: datetime.datetime, truth: ZoneInfo) -> int:
    shown = moment.astimezone(truth).utcoffset()
    assert shown is not None
    return int(shown.total_seconds())


def _moments(found: Zone) -> list[datetime.datetime]:
    """The 1st and 15th of every month, and the minutes round every change."""
    moments = [
        datetime.datetime(year, month, day, 12, tzinfo=UTC)
        for year in YEARS
        for month in range(1, 13)
        for day in (1, 15)
    ]
    for change in (one for one in (found.start, found.end) if one is not None):
        for year in YEARS:
            near = change.at(year).replace(tzinfo=UTC) - datetime.timedelta(seconds=found.standard)
            moments += [near + datetime.timedelta(minutes=step) for step in (-150, -61, -31, 1, 61, 150)]
    return moments


def test_every_zone_has_both_rules_or_neither() -> None:
    for name in names():
        found = zone(name)
        assert (found.summer is None) is (found.start is None) is (found.end is None), name
        assert found.summer is None or found.summer > found.standard, name
        assert abs(found.standard) <= 14 * 3600


def test_berlin() -> None:
    assert zone("Europe/Berlin") == Zone("Europe/Berlin", 3600, 7200, Change(3, 5, 0, 7200), Change(10, 5, 0, 3 * 3600))


def test_ireland_has_its_summer_in_summer() -> None:
    dublin = zone("Europe/Dublin")
    assert (dublin.standard, dublin.summer) == (0, 3600)
    assert dublin.start == Change(3, 5, 0, 3600)
    assert dublin.end == Change(10, 5, 0, 7200)


def test_the_south_starts_late_in_the_year() -> None:
    sydney = zone("Australia/Sydney")
    assert sydney.start is not None and sydney.end is not None
    assert (sydney.start.month, sydney.end.month) == (10, 4)


def test_half_hours() -> None:
    howe = zone("Australia/Lord_Howe")
    assert (howe.standard, howe.summer) == (37800, 39600)
    assert zone("Asia/Kathmandu").standard == 20700
    assert zone("America/St_Johns").standard == -12600


def test_times_outside_the_day_are_kept_and_can_be_made_plain() -> None:
    nuuk, gaza, cairo = zone("America/Nuuk").start, zone("Asia/Gaza").start, zone("Africa/Cairo").end
    assert nuuk is not None and gaza is not None and cairo is not None
    assert nuuk == Change(3, 5, 0, -3600)
    assert nuuk.plain() == Change(3, 5, 0, 0)
    assert gaza == Change(3, 4, 4, 50 * 3600)
    assert gaza.plain() == Change(3, 5, 6, 7200)  # the last Saturday in six years of seven
    assert cairo.plain() == Change(10, 5, 4, 23 * 3600)


@pytest.mark.parametrize(
    "name", ["localtime", "Mars/Olympus", "../../etc/passwd", "Europe/../Europe/Berlin", "", "zones"]
)
def test_names_that_are_no_zone_are_refused(name: str) -> None:
    with pytest.raises(RenderFailed, match="time zone"):
        zone(name)


def test_the_machine_s_zone_files_are_not_read() -> None:
    code = "from provisioner.zones import zone; print(zone('Europe/Berlin'))"
    run = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONTZPATH": "/nonexistent"}, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == str(zone("Europe/Berlin"))
