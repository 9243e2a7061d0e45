"""What the server itself connects to: before it starts, all that it has to say there can be read.

Nobody is called: a PBX or mail server that is away for an hour is no reason not to start.
"""

from __future__ import annotations

from provisioner.settings import Settings


def require_outside(settings: Settings) -> None:
    """Unusable names the secret, name or certificate that is missing."""
    if settings.resync_ami_host:
        from provisioner.resync.pbx import ami_of  # device workers tell no phones

        ami_of(settings)
    if settings.mail_host:
        from provisioner.mail.relay import Relay  # nor do they send mail

        Relay(settings)
    if settings.webhook_allow or settings.webhook_ca:
        from provisioner.hooks.wire import Wire  # nor do they call anybody

        Wire(settings)
