"""Captures that are kept: from the file to the first line of the diagnosis, which must name the cause."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire import PHONE

from provisioner.capture.course import Course
from provisioner.capture.cutting import cut
from provisioner.capture.files import of_paths
from provisioner.capture.lines import as_line
from provisioner.capture.redaction import Redactor
from provisioner.diagnosis.case import Subject
from provisioner.diagnosis.facts import of_line
from provisioner.diagnosis.ladder import Outcome, diagnose
from provisioner.model import Mac

KEPT = Path(__file__).resolve().parents[1] / "captures"
ROWS: dict[str, int | None] = json.loads((KEPT / "rows.json").read_text())


def test_every_capture_has_its_verdict() -> None:
    assert {one.stem for one in KEPT.glob("*.pcap*")} == set(ROWS)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_the_first_line_names_the_cause(name: str) -> None:
    found = Course([next(KEPT.glob(f"{name}.pcap*"))]).facts(bytes.fromhex(PHONE))
    facts = [of_line(as_line(one)) for one in found]
    told = diagnose(facts, Subject(Mac(PHONE)), facts[-1].at)
    if ROWS[name] is None:
        assert told.outcome is Outcome.UP
    else:
        assert told.cause is not None and told.cause.row.id == ROWS[name], told.title
        assert told.cause.witnesses[0].ref.startswith(f"{name}.pcap frame ")


@given(st.data())
def test_no_change_of_a_kept_capture_breaks_anything(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Neither the facts, nor the frames with their secrets blanked, nor who the phones are."""
    folder = tmp_path_factory.mktemp("changed")
    name = data.draw(st.sampled_from(sorted(ROWS)))
    whole = bytearray((KEPT / f"{name}.pcap").read_bytes())
    for _ in range(data.draw(st.integers(1, 12))):
        whole[data.draw(st.integers(40, len(whole) - 1))] = data.draw(
            st.sampled_from([0, 1, 0x3F, 0x7F, 0x80, 0xC0, 0xFF])
        )
    path = folder / "x.pcap"
    path.write_bytes(whole)
    course, mac = Course([path]), bytes.fromhex(PHONE)
    course.phones()
    found = [of_line(as_line(each)) for each in course.facts(mac)]
    diagnose(found, Subject(Mac(PHONE)), 0.0)
    cut([path], mac, folder)
    redactor = Redactor()
    for frame in of_paths([path])[0].frames():
        assert len(redactor.clean(frame)) == len(frame.data)
