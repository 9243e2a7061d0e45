"""Which site an address belongs to: the longest prefix wins, and where two sites claim the same one, neither. Pure.

The same networks behind two accounts' routers are two networks, so an address is looked up among one account's sites.
Also what an operator has listed, and what an address carries inside itself: IPv4-mapped (RFC 4291), 6to4 (RFC 3056),
NAT64 (RFC 6052) and Teredo (RFC 4380).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final

from provisioner.errors import Unusable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NOBODYS: Final = ""
_BROADCAST: Final = ipaddress.IPv4Address("255.255.255.255")
_MAPPED: Final = ipaddress.ip_network("::ffff:0:0/96")
_TRANSLATED: Final = ipaddress.ip_network("::ffff:0:0:0/96")
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_SIX_TO_FOUR: Final = ipaddress.ip_network("2002::/16")
_TEREDO: Final = ipaddress.ip_network("2001::/32")
_LOW: Final = 0xFFFFFFFF


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


def allow_list(setting: str, names: Iterable[str]) -> tuple[Network, ...]:
    """The networks of a setting; Unusable names the entry that is none."""
    try:
        return tuple(ipaddress.ip_network(one) for one in names)
    except ValueError as error:
        raise Unusable(f"{setting}: {error}: write it like 10.20.0.0/16") from None


def allowed(address: Address, allow: Iterable[Network]) -> bool:
    """Whether the operator has listed this very address; one with a zone never is."""
    if getattr(address, "scope_id", None):
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    found = mapped or address  # ::ffff:10.0.0.1 is the very connection that 10.0.0.1 is
    return any(found.version == one.version and found in one for one in allow)


def carries_ipv4(address: Address) -> bool:
    """Whether it is nothing but an IPv4 address in other clothes, as that is judged."""
    return address in _MAPPED or address in _NAT64


def carried(address: Address) -> Iterator[ipaddress.IPv4Address]:
    """IPv4 addresses at which a packet to this one may end."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    number = int(address)
    if any(address in one for one in (_MAPPED, _TRANSLATED, _NAT64)):
        yield ipaddress.IPv4Address(number & _LOW)
    if address in _SIX_TO_FOUR:
        yield ipaddress.IPv4Address(number >> 80 & _LOW)
    if address in _TEREDO:
        yield ipaddress.IPv4Address(number >> 64 & _LOW)
        yield ipaddress.IPv4Address(number & _LOW ^ _LOW)


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
