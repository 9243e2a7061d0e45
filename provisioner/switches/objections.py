"""What stands in the way of a power cycle: a wrong port switched off is worse than a phone left as it is. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.switches.values import DELIVERING, Port


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What beside the port decides."""

    writable: bool
    """A second credential is there."""
    lately: int = 0
    """Ports of this switch that were switched off in the last hour."""
    most: int = 6


def objections(port: Port, around: Circumstances) -> list[str]:
    """Why the port must not be switched off; empty: it may."""
    where = f"{port.switch} {port.name}"
    found = []
    if not around.writable:
        found.append(f"{port.switch} has no second credential: give it one that may change something")
    if port.poe is None:
        found.append(f"it is not known which PoE port {where} is: look at the switch and confirm it")
    elif port.poe.detection != DELIVERING:
        found.append(
            f"{where} delivers no power ({port.poe.words}): the phone has another supply, so it would not notice"
        )
    if why := port.uplink:
        found.append(f"{where} may be an uplink: {why}")
    if port.link != "up":
        found.append(f"the link of {where} is not up, so nobody could see whether it is the right port")
    if around.lately >= around.most:
        found.append(f"{around.lately} ports of {port.switch} were switched off within an hour (switch.cycles)")
    return found


def warnings(port: Port) -> list[str]:
    """What else goes dark."""
    if not port.others:
        return []
    behind = ", ".join(mac.colons for mac in port.others)
    return [f"what is connected through the phone loses its link too: {behind}"]
