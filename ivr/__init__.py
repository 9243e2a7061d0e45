"""The voice that asks for the activation code: standard library only, and no I/O but in ``server`` and ``adapters``.

Nothing here knows the provisioning server; whoever runs the IVR tells it what a code is worth.
"""
