"""What stands in the way of a power cycle: a wrong port switched off is worse than a phone left as it is. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.model import Mac
from provisioner.switches.values import DELIVERING, Port


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What beside the port decides."""

    writable: bool
    """A second credential is there."""
    lately: int = 0
    """Ports of this switch that were switched off in the last hour."""
    most: int = 6
    silent: int = 0
    """Switches that did not answer: the phone may be at one of them."""


def objections(mac: Mac, port: Port, around: Circumstances) -> list[str]:
    """Why the port must not be switched off for this phone; empty: it may."""
    return [*_of_power(port, around), *_of_place(port), *_of_neighbour(mac, port), *_of_circumstances(port, around)]


def _of_power(port: Port, around: Circumstances) -> list[str]:
    where, found = f"{port.switch} {port.name}", []
    if not around.writable:
        found.append(f"{port.switch} has no second credential: give it one that may change something")
    if port.poe is None:
        found.append(f"it is not known which PoE port {where} is: look at the switch and confirm it")
    elif port.poe.detection != DELIVERING:
        found.append(
            f"{where} delivers no power ({port.poe.words}): the phone has another supply, so it would not notice"
        )
    elif not port.poe.is_on:
        found.append(f"{where} was not read as switched on, so nobody knows what would switch it on again")
    return found


def _of_place(port: Port) -> list[str]:
    where, found = f"{port.switch} {port.name}", []
    if why := port.uplink:
        found.append(f"{where} may be an uplink: {why}")
    if not port.bridge_port:
        found.append(f"how many Macs are on {where} is not known: {port.switch} has no bridge port for it")
    if port.link != "up":
        found.append(f"the link of {where} is not up, so nobody could see whether it is the right port")
    return found


def _of_neighbour(mac: Mac, port: Port) -> list[str]:
    """A table of addresses may be minutes old, or a phone plugged into another: what is there now says who it is."""
    there = port.neighbour
    if there is None or there.mac in (None, mac) or not there.is_phone:
        return []
    return [f"another phone says by {there.by.upper()} that it is at {port.switch} {port.name}: {there.mac.colons}"]


def _of_circumstances(port: Port, around: Circumstances) -> list[str]:
    found = []
    if around.lately >= around.most:
        found.append(f"{around.lately} ports of {port.switch} were switched off within an hour (switch.cycles)")
    if around.silent:
        found.append(f"{around.silent} switches did not answer, and the phone may be at one of them")
    return found


def warnings(port: Port) -> list[str]:
    """What else goes dark."""
    if not port.others:
        return []
    behind = ", ".join(mac.colons for mac in port.others)
    return [f"what is connected through the phone loses its link too: {behind}"]
