"""Settings of the profile listener, which tells what a phone can do; part of Settings."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.knobs import knob


@dataclass(frozen=True, slots=True)
class ProfileSettings:
    """``profile.*``; dataclasses with slots are stacked, not mixed."""

    profile_port: int = knob(
        -1, "port", "TLS 1.0 and any certificate, while `provisioner profile open` lets it; -1 is off", -1, 65535
    )
    profile_host: str = knob("", "address", "where it listens; empty: the same as server.host")
    profile_minutes: float = knob(240.0, "min", "the longest that it may be opened for: it speaks weak TLS", 1, 1440)
    profile_connections: int = knob(50, "connections", "at once; who comes above them is closed at once", 1, 10_000)
    profile_rate: float = knob(
        10.0, "connections/s", "of all callers, twice that at once: a flood costs a hundredth of a core", 0.1, 1000
    )
    profile_address: float = knob(
        30.0, "connections/min", "of one address, as many at once: a phone takes five, an office tries three phones",
        0.1, 6000,
    )  # fmt: skip
    profile_time: float = knob(15.0, "s", "of one connection in all: an old phone's handshake takes three", 1, 120)
    profile_rsa_exchange: bool = knob(
        False, "true | false", "true: RSA key exchange too; strangers then have the server's key decrypt (ROBOT)"
    )
    profile_cards: int = knob(500, "cards", "kept; those not seen for longest go first", 1, 100_000)
