"""Where the administration is reached: by HTTPS, unless nobody but this machine can listen in. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

from provisioner.settings import Settings


def is_here(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def speaks_tls(settings: Settings) -> bool:
    """Whether the admin edge has the server's own certificates."""
    return settings.admin_tls != "off" and not (settings.admin_tls == "auto" and is_here(settings.admin_host))


def admin_url(settings: Settings, host: str = "", port: int = 0) -> str:
    """The admin edge's address, with a trailing slash; ``host`` and ``port`` where it is bound, else as it is set.

    Nobody can open the address that stands for all of a machine's: there it is the server's name.
    """
    host, port = host or settings.admin_host, port or settings.admin_port
    scheme = "https" if speaks_tls(replace(settings, admin_host=host)) else "http"
    if _stands_for_all(host):
        host = settings.server_name
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"


def bound_url(settings: Settings, bound: tuple[str, int] | None) -> str:
    """The same of a server that runs, ``bound`` there; a name in the settings stays: certificates have names."""
    if bound is None:
        return admin_url(settings)
    return admin_url(settings, bound[0] if _is_literal(settings.admin_host) else "", bound[1])


def _stands_for_all(host: str) -> bool:
    return _is_literal(host) and ipaddress.ip_address(host).is_unspecified


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
