"""Rule: what another system says of a caller is read by one spelling each for Mac and address; the rest is nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import unquote

_LONGEST: Final = 256
_PREFIX: Final = re.compile(r"(?:sips?:|mac[:= ])\s*")
_MAC: Final = re.compile(r"[0-9a-f]{12}")
_SEPARATORS: Final = str.maketrans("", "", ":.-")
_GROUP: Final = 0x01
"""IEEE 802: the first octet's lowest bit marks an address of many; no phone has one."""


def read_mac(text: str) -> str:
    """12 lower-case hex digits out of any spelling that phones and systems use; empty when it is none."""
    if len(text) > _LONGEST:
        return ""
    name = _PREFIX.sub("", unquote(text).strip().lower(), count=1)
    # Some phones call as 000413aabbcc_1, the line's number behind their Mac.
    user = re.split("[@;_]", name, maxsplit=1)[0]
    plain = user.translate(_SEPARATORS)
    if not _MAC.fullmatch(plain) or plain == "0" * 12 or int(plain[:2], 16) & _GROUP:
        return ""
    return plain


def first_mac(texts: Iterable[str]) -> str:
    """Of the first that is one."""
    return next((mac for text in texts if (mac := read_mac(text))), "")


def read_source(text: str) -> str:
    """The address of ``192.0.2.7:5060``, ``[2001:db8::1]:5060`` or either without port; empty when it is none."""
    host = text.strip()
    if len(host) > _LONGEST or "%" in host:
        return ""
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        return str(_plain(host))
    except ValueError:
        return ""


class Peers:
    """The systems that may talk to us: networks like ``192.0.2.0/24``."""

    def __init__(self, networks: Sequence[str]) -> None:
        """Refused: what is no network."""
        self._networks: tuple[IPv4Network | IPv6Network, ...] = tuple(
            ip_network(one.strip(), strict=False) for one in networks
        )

    def allows(self, address: str) -> bool:
        """Whether the address is in one of them."""
        try:
            found = _plain(address)
        except ValueError:
            return False
        return any(found in network for network in self._networks)


def _plain(address: str) -> object:
    """An IPv4 address as such, also where an IPv6 socket tells it."""
    found = ip_address(address)
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
