"""Settings of the diagnosis of phones; part of Settings."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.knobs import knob
from provisioner.settings_recorder import RecorderSettings


@dataclass(frozen=True, slots=True)
class DiagnosisSettings(RecorderSettings):
    """``diagnosis.*``."""

    diagnosis_loop_fetches: int = knob(
        6, "fetches", "of the same bytes are a reboot loop: three boots, in each of which some phones ask twice", 3, 100
    )
    diagnosis_loop_window: float = knob(
        900.0, "s", "in which those are counted: a phone in a loop needs one to five minutes a turn", 60, 86_400
    )
    diagnosis_silent: float = knob(
        201_600.0, "s", "without a word of a phone, then what was good is no answer: two polls of a day", 60, 31_536_000
    )
    diagnosis_expiry: float = knob(
        60.0, "days", "before a certificate ends, somebody is told: a server's takes a day, a fleet's takes weeks",
        0, 90,
    )  # fmt: skip
    diagnosis_recent: float = knob(86_400.0, "s", "back that `provisioner why --fleet` groups failures", 60, 31_536_000)
