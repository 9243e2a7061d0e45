"""Settings of the REST API at the admin edge; part of Settings, a file of their own."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.knobs import knob
from provisioner.settings_hooks import WebhookSettings


@dataclass(frozen=True, slots=True)
class ApiSettings(WebhookSettings):
    """``api.*``: what one caller, and all of them, may ask of the admin process; stacked, as slots do not mix."""

    api_rate: float = knob(
        20.0, "calls/s", "of one caller, session or key: a script that waits for each answer", 0.1, 10_000
    )
    api_burst: int = knob(200, "calls", "of one caller at once: a page of the console with all it shows", 1, 100_000)
    api_body: int = knob(4 * 1024 * 1024, "bytes", "of one call: a job of 10,000 rows", 1024, 64 * 1024 * 1024)
    api_streams: int = knob(200, "connections", "to the live feed at once, a tenth of them of one caller", 1, 10_000)
