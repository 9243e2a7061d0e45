"""The budgets of wrong codes as the settings have them: numbers from one place for who counts and for who forgives."""

from __future__ import annotations

from provisioner.activation_budget import Limit, Limits
from provisioner.settings import Settings


def limits_of(settings: Settings) -> Limits:
    """Only a device is locked out for longer than its rate asks for: an address has others behind it."""
    return Limits(
        device=Limit(settings.activation_tries_device, settings.activation_lock_first, settings.activation_lock_most),
        source=Limit(settings.activation_tries_source),
        network=Limit(settings.activation_tries_network),
        account=Limit(settings.activation_tries_account),
        total=Limit(settings.activation_tries_total),
        unproven=Limit(settings.activation_tries_unproven),
    )
