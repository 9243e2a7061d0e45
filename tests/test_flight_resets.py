"""A phone that resets a connection: whether it got its file is told only where that was seen."""

from __future__ import annotations

import pytest

from provisioner.diagnosis.facts import Kind
from provisioner.flight_draft import Claim, draft
from provisioner.flight_facts import facts_of
from provisioner.flight_notes import Asked, FlightNotes, TlsSeen
from provisioner.model import ListenerKind

AT = 1000.0


def whole(end: str, unsent: int = 0) -> list[str]:
    """What the record of two answers says of each."""
    notes = FlightNotes(AT, ("192.0.2.7", 40_000), ListenerKind.DEVICE)
    for after in (1, 2):
        notes.ask(Asked(AT + after, "GET", "/a.cfg", None, 200, 5000, "", "", "", 0.0, 0))
    notes.end, notes.unsent = end, unsent
    made = draft(notes, TlsSeen("TLSv1.3", "x", False, True), AT + 3, "ok", lambda _path, _agent: Claim())
    return [one["complete"] for one in facts_of("x-1", AT, "192.0.2.7", made.told) if one.kind is Kind.ANSWER]


@pytest.mark.parametrize(("end", "unsent", "last"), [
    ("", 0, "yes"), ("reset", 0, ""), ("reset", 4000, "no"), ("stalled", 0, "no"), ("idle_timeout", 0, "yes"),
])  # fmt: skip
def test_an_answer_is_cut_where_bytes_of_it_were_left(end: str, unsent: int, last: str) -> None:
    assert whole(end, unsent) == ["yes", last]
