"""Settings of changes that concern many phones, and of what can be taken back; part of Settings."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.knobs import knob
from provisioner.settings_presence import PresenceSettings


@dataclass(frozen=True, slots=True)
class RolloutSettings(PresenceSettings):
    """``rollout.*`` and ``revision.*``; dataclasses with slots are stacked, not mixed."""

    rollout_confirm: int = knob(
        50, "phones", "a change of a layer that concerns more is asked about and rolled out in steps", 0, 100_000_000
    )
    rollout_canary: float = knob(
        5.0, "percent", "of the phones concerned get such a change first, one at least", 0.01, 100
    )
    rollout_growth: float = knob(4.0, "times", "as many phones in each further step: 5, 20, 80, 100 percent", 1.1, 100)
    rollout_wait: float = knob(
        900.0, "s", "a phone that was told has to come back: a restart takes two to five minutes", 10, 86_400
    )
    rollout_missing: float = knob(
        0.1, "share", "of the phones that were told may not come back; beyond it a rollout halts by itself", 0, 1
    )
    rollout_least: int = knob(
        3, "phones", "missing are enough to halt before the others of a step were heard of", 1, 1_000_000
    )
    rollout_back: float = knob(
        0.5, "share", "of a step's phones must be back before the next: others may be switched off", 0, 1
    )
    rollout_patience: float = knob(
        172_800.0, "s", "for that, then it halts: who cannot be told polls within two days", 60, 2_592_000
    )
    revision_keep: int = knob(
        400, "days", "that what a layer or a line was is kept, to be taken back: a year and what it takes to notice",
        1, 3650,
    )  # fmt: skip
