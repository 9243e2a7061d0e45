"""Settings of the flight recorder; part of Settings."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.knobs import knob
from provisioner.settings_switches import SwitchSettings


@dataclass(frozen=True, slots=True)
class RecorderSettings(SwitchSettings):
    """``recorder.*``."""

    recorder_enabled: bool = knob(
        True,
        "true | false",
        "keep what happened on each connection, so that it can be said why a phone does not come up",
    )
    recorder_ring: int = knob(
        20, "records", "of one device, half of them of good boots and half of trouble; the oldest go", 2, 200
    )
    recorder_strangers: int = knob(
        20_000, "records", "of all connections that no known device has proven itself on; the oldest go", 10, 10_000_000
    )
    recorder_good: float = knob(
        20.0, "records/s", "of good boots in one worker; beyond it some are left out, and counted", 0.1, 10_000
    )
    recorder_trouble: float = knob(
        50.0, "records/s", "of failures in one worker; a flood of them shall not keep the database busy", 0.1, 10_000
    )
    recorder_address: float = knob(
        6.0, "records/min", "of strangers at one address, 30 at once: one scanner shall not fill the ring", 0.1, 6000
    )
    recorder_refused: int = knob(
        500, "groups", "of refused certificates, by issuer and reason; those away longest go first", 10, 100_000
    )
    recorder_key_minutes: float = knob(
        15.0, "min", "for which the TLS secrets of a device are recorded where nobody says for how long", 0.1, 1440
    )
    recorder_key_hours: float = knob(
        24.0, "h", "for which they are kept after that; then they are deleted, or when a server runs again", 0.01, 720
    )
