"""Settings of when a phone that is not heard of counts as away; part of Settings."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.knobs import knob
from provisioner.settings_diagnosis import DiagnosisSettings


@dataclass(frozen=True, slots=True)
class PresenceSettings(DiagnosisSettings):
    """``presence.*``."""

    presence_offline: float = knob(
        201_600.0,
        "s",
        "not seen for so long a phone with a line is offline: two polls of a day and their window of 4 h; 0: never",
        0,
        31_536_000,
    )
    presence_lost: float = knob(
        2_592_000.0, "s", "an offline phone is lost then: 30 days, longer than any holiday closes an office",
        60, 315_360_000,
    )  # fmt: skip
    presence_pace: float = knob(
        1000.0, "devices/s", "looked at, so that 1,000,000 take a quarter of an hour and no boot waits", 1, 100_000
    )
    presence_singly: int = knob(
        10, "phones", "of one site that are told one by one; beyond it the site is told as a whole", 0, 100_000
    )
