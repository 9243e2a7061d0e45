"""Settings of switches that are asked by SNMP, and of alarms that are told by it; part of Settings."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.knobs import knob
from provisioner.settings_profile import ProfileSettings


@dataclass(frozen=True, slots=True)
class SwitchSettings(ProfileSettings):
    """``switch.*`` and ``trap.*``; dataclasses with slots are stacked, not mixed."""

    switch_timeout: float = knob(1.0, "s", "for one answer of a switch; a busy one takes half of that", 0.1, 30)
    switch_retries: int = knob(1, "times", "a question is asked again: UDP loses some", 0, 10)
    switch_parallel: int = knob(100, "switches", "asked at once: 200 of which half are dead take six seconds", 1, 1000)
    switch_networks: tuple[str, ...] = knob(
        (), "CIDR networks", "in which administrators of single accounts may add switches; empty: only the house may"
    )
    switch_allow: tuple[str, ...] = knob(
        (), "CIDR networks", "of this machine itself or its own links in which switches are asked all the same"
    )
    switch_cycles: int = knob(
        6, "power cycles/h", "of one switch: more is a fault of something else, and its power supply has its own limit",
        1, 1000,
    )  # fmt: skip
    switch_dark: float = knob(
        15.0,
        "s",
        "in which the link must go down after the power is off; else it is the wrong port, and on again",
        2,
        60,
    )
    trap_receivers: tuple[str, ...] = knob(
        (),
        "trap://HOST or inform://HOST",
        "who is told of alarms by SNMP: a v2c trap, or a v3 inform that is confirmed",
    )
    trap_enterprise: int = knob(
        32473, "enterprise number", "below which our traps are named; RFC 5612's example: set your own, from IANA", 1,
        4_294_967_295,
    )  # fmt: skip
    trap_community: str = knob("trap.community", "file", "below DATA: the community of traps in one line")
    trap_user: str = knob("provisioner", "name", "of the SNMPv3 user of informs")
    trap_auth: str = knob("sha256", "md5 | sha | sha224 | sha256 | sha384 | sha512", "how that user proves itself")
    trap_privacy: str = knob(
        "aes", "none | des | aes | aes192 | aes256 | aes192-cisco | aes256-cisco", "how what it says is hidden"
    )
    trap_keys: str = knob("trap.keys", "file", "below DATA: that user's auth key, and in a second line its privacy key")
