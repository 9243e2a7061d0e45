"""Where no switch is asked, whoever names it: this machine, its own links, and groups, unless the operator lists it.

As with webhooks the judgement is about the address that a datagram is sent to, not about the name, and what an address
carries inside itself is judged with it.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from provisioner.networks import Address, Network, allow_list, allowed, carried, is_nobodys, parse_source
from provisioner.settings import Settings

_NOBODYS4: Final = IPv4Address("240.0.0.1")
"""Reserved (RFC 1112 section 4)."""
_NOBODYS6: Final = IPv6Address("100::1")
"""Discard-only (RFC 6666)."""


@dataclass(frozen=True, slots=True)
class Fence:
    """What is kept from being asked."""

    allow: tuple[Network, ...] = ()
    """What the operator has listed may be asked all the same."""
    here: bool = False
    """So may this machine: whoever is told of alarms may run on it."""

    def refusal(self, text: str) -> str:
        """Why nobody is asked at this address; empty: he may be."""
        address = parse_source(text)
        if address is None:
            return f"{text} is no address"
        if allowed(address, self.allow):
            return ""
        whys = (_nobodys(one) or ("" if self.here else _home(one)) for one in (address, *carried(address)))
        return next((f"{text} is {why}" for why in whys if why), "")


CLOSED: Final = Fence()


def fence_of(settings: Settings) -> Fence:
    """The one of an installation; Unusable where a network of switch.allow is none."""
    return Fence(allow_list("switch.allow", settings.switch_allow))


def _nobodys(address: Address) -> str:
    """Clouds tell a machine its credentials at a link-local address."""
    return "nobody's: a group, no address at all, or one of this machine's own link" if is_nobodys(str(address)) else ""


def _home(address: Address) -> str:
    return "this machine itself" if address.is_loopback or is_own(address) else ""


def is_own(address: Address) -> bool:
    """Whether this machine has it: it may be bound to, and one that no machine has may not. Nothing is sent."""
    nobodys = _NOBODYS6 if address.version == 6 else _NOBODYS4
    return _binds(address) and not _binds(nobodys)  # net.ipv4.ip_nonlocal_bind lets everything be bound to


def _binds(address: Address) -> bool:
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as one:
            one.bind((str(address), 0))
    except OSError:
        return False
    return True
