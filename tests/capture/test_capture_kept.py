"""Captures that are kept: from the file to the first line of the diagnosis, which must name the cause."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kept import FOLDER, HELD_OUT, Kept, files, kept

from provisioner.capture.course import Course
from provisioner.capture.cutting import cut
from provisioner.capture.files import of_paths
from provisioner.capture.lines import as_line
from provisioner.capture.redaction import Redactor
from provisioner.diagnosis.facts import of_line
from provisioner.diagnosis.ladder import Outcome, diagnose

ALL = [*kept(), *kept(HELD_OUT)]
"""Those that no rule was written by come last."""


def test_every_capture_has_its_verdict() -> None:
    for folder in (FOLDER, HELD_OUT):
        assert {one.stem for one in files(folder)} == {one.path.stem for one in kept(folder)}


def test_they_stay_small() -> None:
    large = [one.name for folder in (FOLDER, HELD_OUT) for one in folder.glob("*") if one.stat().st_size > 32_000]
    assert large == []


@pytest.mark.parametrize("one", ALL, ids=str)
def test_the_first_line_names_the_cause(one: Kept) -> None:
    told = one.diagnosis()
    if one.row is None:
        assert told.outcome is Outcome.UP
        return
    assert told.cause is not None and told.cause.row.id == one.row, told.title
    assert one.who in {"", told.refused}
    own = {path.name for path in one.files}
    assert all(each.ref.split(" frame ")[0] in own or each.source != "capture" for each in told.cause.witnesses)


@given(st.data())
def test_no_change_of_a_kept_capture_breaks_anything(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Neither the facts, nor the frames with their secrets blanked, nor who the phones are."""
    folder = tmp_path_factory.mktemp("changed")
    one = data.draw(st.sampled_from(ALL))
    whole = bytearray(data.draw(st.sampled_from(one.files)).read_bytes())
    for _ in range(data.draw(st.integers(1, 12))):
        whole[data.draw(st.integers(40, len(whole) - 1))] = data.draw(
            st.sampled_from([0, 1, 0x3F, 0x7F, 0x80, 0xC0, 0xFF])
        )
    path = folder / "x.pcap"
    path.write_bytes(whole)
    course, mac = Course([path]), bytes.fromhex(one.mac)
    course.phones()
    found = [of_line(as_line(each)) for each in course.facts(mac)]
    diagnose(found, one.subject, 0.0)
    cut([path], mac, folder)
    redactor = Redactor()
    for frame in of_paths([path])[0].frames():
        assert len(redactor.clean(frame)) == len(frame.data)
