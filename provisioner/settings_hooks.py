"""Settings of what is told to and taken from other systems by webhooks; part of Settings, a file of their own."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.knobs import knob
from provisioner.settings_rollout import RolloutSettings


@dataclass(frozen=True, slots=True)
class WebhookSettings(RolloutSettings):
    """``webhook.*``: endpoints that we call, and sources that call us; stacked, as slots do not mix."""

    webhook_on: bool = knob(True, "true | false", "false: no process that calls others, where no mail is sent either")
    webhook_allow: tuple[str, ...] = knob(
        (), "CIDR networks", "of receivers in your own network, by HTTP too; every other private address is refused"
    )
    webhook_ca: str = knob(
        "", "PEM file", "below DATA: CAs of receivers with certificates of your own, beside the system's"
    )
    webhook_timeout: float = knob(15.0, "s", "for one delivery, from the name to the answer", 0.1, 60)
    webhook_tries: int = knob(16, "attempts", "two days, with the waits between; then it is a dead letter", 1, 100)
    webhook_retry_first: float = knob(5.0, "s", "after the first failed attempt; doubled after each", 0.01, 3600)
    webhook_retry_most: float = knob(21_600.0, "s", "the longest wait between two attempts", 0.01, 86_400)
    webhook_lanes: int = knob(4, "deliveries", "to one endpoint at once, of different subjects", 1, 64)
    webhook_patience: float = knob(
        72.0, "h", "an endpoint that fails for so long, without one success, is disabled", 0.0, 720
    )
    webhook_log: int = knob(1000, "attempts", "in the delivery log of an endpoint", 10, 100_000)
    webhook_orphans: bool = knob(
        True, "true | false", "call endpoints on whose key or administrator has lost the right to them; an alarm anyway"
    )
    webhook_overlap: float = knob(24.0, "h", "the old secret still signs and is taken after a rotation", 0, 720)
    webhook_window: float = knob(
        300.0, "s", "a signed time may be off, either way: Standard Webhooks recommends 5 min", 1, 3600
    )
    webhook_body: int = knob(65_536, "bytes", "of what a source posts", 1024, 1_048_576)
    webhook_inbox: float = knob(90.0, "days", "what sources have posted is kept", 1, 3650)
