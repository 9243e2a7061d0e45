"""Which site an address belongs to: the longest prefix wins, and where two sites claim the same one, neither. Pure.

The same networks behind two accounts' routers are two networks, so an address is looked up among one account's sites.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NOBODYS: Final = ""
_BROADCAST: Final = ipaddress.IPv4Address("255.255.255.255")


def parse_source(text: str) -> Address | None:
    """An address as a connection has it, without its zone; IPv4 in IPv6's clothes is IPv4. None where it is none."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, ipaddress.IPv6Address) else found


def site_of(address: str, networks: Mapping[str, Iterable[str]]) -> str:
    """The id of the site whose network holds the address most closely; empty where none does, or where two do alike.

    ``networks``: by site, in CIDR. A network that is none is left out: it holds nothing.
    """
    source = parse_source(address)
    if source is None:
        return _NOBODYS
    longest, found = -1, set[str]()
    for site, texts in networks.items():
        for one in _parsed(texts):
            if source not in one or one.prefixlen < longest:
                continue
            found = found if one.prefixlen == longest else set()
            longest = one.prefixlen
            found.add(site)
    return found.pop() if len(found) == 1 else _NOBODYS


def _parsed(texts: Iterable[str]) -> Iterable[Network]:
    return (found for text in texts if (found := _network(text)) is not None)


@lru_cache(maxsize=4096)
def _network(text: str) -> Network | None:
    """Parsed once, however many addresses are looked up; None where it is none."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None


def listed(address: str, networks: Iterable[str]) -> bool:
    """Whether it is an address, no name, in one of these networks."""
    return site_of(address, {"listed": networks}) != _NOBODYS


def is_nobodys(address: str) -> bool:
    """Whether it is none of a machine, or one of its own link: multicast, unspecified, broadcast, link-local."""
    source = parse_source(address)
    return source is None or any(
        (source.is_multicast, source.is_unspecified, source.is_link_local, source == _BROADCAST)
    )


def ordered(address: str) -> str:
    """Text whose order is that of addresses, one family after the other; empty where it is no address."""
    source = parse_source(address)
    return "" if source is None else _written(source)


def _written(source: Address) -> str:
    return f"{source.version}:{source.packed.hex()}"


def address_in(text: str) -> str:
    """The address that ``ordered`` has written; empty where nothing is written."""
    _, _, digits = text.partition(":")
    return str(ipaddress.ip_address(bytes.fromhex(digits))) if digits else ""


def span(network: str) -> tuple[str, str]:
    """The first and the last address of a network, as ``ordered`` has them; ValueError where it is none."""
    found = ipaddress.ip_network(network)
    return _written(found.network_address), _written(found.broadcast_address)
