"""Where a webhook may go: https to the open Internet, or wherever the operator's allow-list says. Pure.

An administrator of one account must not reach this machine's neighbours through the server (SSRF), so the judgement is
about the address that is connected to, not about the name. What an address carries inside itself is judged as well.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from provisioner.errors import Invalid
from provisioner.networks import Address, Network, allowed, carried, carries_ipv4

_LONGEST: Final = 2000
_VISIBLE: Final = re.compile(r"[!-~]+")
_LABEL: Final = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST: Final = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*\.?")
_PLAIN: Final = {"http": 80, "https": 443}
_NEVER: Final = tuple(
    ip_network(one)
    for one in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
        "::/128", "::1/128", "::/96", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16",
        "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip
"""IANA's special-purpose registries (RFC 6890 and what came later): none of them is somebody's server on the Internet.
169.254.169.254, where clouds tell a machine its credentials, and fd00:ec2::254 are among them."""
_GLOBAL: Final = ip_network("2000::/3")


@dataclass(frozen=True, slots=True)
class Target:
    """A URL, taken apart."""

    url: str
    scheme: str
    host: str
    port: int

    @property
    def literal(self) -> Address | None:
        """The address, where the host is one."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None


def parse_target(url: str) -> Target:
    """A URL that could be called; Invalid says what is wrong. Whether it may be called, its addresses say."""
    if not 1 <= len(url) <= _LONGEST or not _VISIBLE.fullmatch(url) or "\\" in url:
        raise Invalid("url", f"must be an https:// address of at most {_LONGEST} visible ASCII characters")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise Invalid("url", "must be a URL") from None
    if parts.scheme not in _PLAIN:
        raise Invalid("url", "must begin with https://")
    if "@" in parts.netloc or parts.fragment:
        raise Invalid("url", "must have neither a user nor a fragment in it")
    if not _is_host(host) or port == 0:
        raise Invalid("url", "names no host that could be called")
    return Target(url, parts.scheme, host, port or _PLAIN[parts.scheme])


def _is_host(host: str) -> bool:
    try:
        return "%" not in host and bool(ip_address(host))
    except ValueError:
        return bool(_HOST.fullmatch(host))


def refusal(address: Address, scheme: str, allow: Sequence[Network]) -> str:
    """Why this address is not called; empty when it may be."""
    if allowed(address, allow):
        return ""
    if scheme != "https":
        return f"{address} is not on webhook.allow, so it is called by https only"
    if any(_special(one) for one in (address, *carried(address))):
        return f"{address} is no address of the open Internet; webhook.allow may name its network"
    return ""


def _special(address: Address) -> bool:
    if isinstance(address, IPv6Address):
        if carries_ipv4(address):
            return False  # what it carries is judged
        if address not in _GLOBAL or address.scope_id:
            return True
    elsewhere = any(address.version == one.version and address in one for one in _NEVER)
    return elsewhere or address.is_private or not address.is_global or address.is_multicast
