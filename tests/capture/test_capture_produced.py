"""Every row of the catalogue is produced somehow, or it is said why not; and the page says the same."""

from __future__ import annotations

from kept import HELD_OUT, kept
from produced import PAGE, not_here, page

from provisioner.diagnosis.catalogue import catalogue


def test_every_row_is_produced_or_excused_and_none_is_both() -> None:
    shown = {one.row for one in (*kept(), *kept(HELD_OUT)) if one.row is not None}
    excused = set(not_here())
    assert shown | excused == set(catalogue().rows)
    assert shown & excused == set()


def test_the_page_is_as_it_would_be_made_now() -> None:
    assert PAGE.read_text() == page(), "python tests/capture/produced.py"
