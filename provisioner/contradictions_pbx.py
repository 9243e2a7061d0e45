"""Adapters to other telephone systems that are switched on halfway, in words: open to everybody, or to nobody. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import urlsplit

from provisioner.settings import Settings

SYSTEMS: Final = ("twilio", "telnyx", "kazoo", "httapi", "rest")
"""What ``hooks.on`` may name."""
BY_URL: Final = frozenset({"twilio", "telnyx", "kazoo"})
"""They are sent back to an address of ours, so they have to be told it."""

VOUCHABLE: Final = frozenset({"twilio", "httapi", "rest"})
"""They tell the user whose password they have checked; of the others no such field is known, and callers write From."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def adapters(settings: Settings) -> Iterator[str]:
    """What is wrong with ``agi.*`` and ``hooks.*``."""
    yield from _agi(settings)
    yield from _hooks(settings)


def _agi(settings: Settings) -> Iterator[str]:
    peers, vouched = settings.agi_peers, settings.agi_vouched
    yield from _malformed("agi.peers", peers)
    yield from _malformed("agi.vouched", vouched)
    if settings.agi_port >= 0 and not peers:
        yield (
            f"agi.port = {settings.agi_port} and agi.peers is empty: FastAGI knows no password, so 0 Asterisks may "
            "connect until they are named. Set agi.peers, 127.0.0.1/32 for one on this machine, or agi.port = -1"
        )
    known = list(_networks(peers))
    for one in _networks(vouched):
        if not any(one.version == peer.version and one.subnet_of(peer) for peer in known):  # type: ignore[arg-type]  # versions are equal
            yield (
                f"agi.vouched has {one}, which is in none of agi.peers: nobody from there may connect, so vouching for "
                "them means nothing. Add it to agi.peers, or take it out"
            )


def _hooks(settings: Settings) -> Iterator[str]:
    on = settings.hooks_on
    if settings.hooks_port >= 0 and not on:
        yield (
            f"hooks.port = {settings.hooks_port} and hooks.on is empty: a listener for 0 systems. Name some of "
            f"{', '.join(SYSTEMS)} in hooks.on, or set hooks.port = -1"
        )
    if on and settings.hooks_port < 0:
        yield f"hooks.on = {', '.join(on)} and hooks.port = -1: 0 of them can ask. Set hooks.port, or empty hooks.on"
    for one in on:
        if one not in SYSTEMS:
            yield f"hooks.on has {one!r}: there are {', '.join(SYSTEMS)}"
    for one in settings.hooks_vouched:
        if one not in on:
            yield f"hooks.vouched has {one!r}, which hooks.on has not: 0 calls come from there. Name it in both or none"
        elif one in SYSTEMS and one not in VOUCHABLE:
            yield (
                f"hooks.vouched has {one}: it tells only what the caller has written, which proves nobody. Take it "
                f"out; {', '.join(sorted(VOUCHABLE))} can be vouched for"
            )
    yield from _malformed("hooks.proxies", settings.hooks_proxies)
    yield from _plain(settings)
    yield from _url(settings)
    yield from _httapi(settings)


def _plain(settings: Settings) -> Iterator[str]:
    """Tokens, secrets in addresses and codes are in the requests."""
    host = settings.hooks_host or settings.ivr_host or settings.server_host
    if settings.hooks_port >= 0 and not settings.hooks_tls and not settings.hooks_proxies and not _is_here(host):
        yield (
            f"hooks.tls = false at {host}, and hooks.proxies is empty: tokens and codes would cross "
            "the network in the clear. Set hooks.tls = true, hooks.proxies to the proxy in front, or hooks.host = "
            '"127.0.0.1"'
        )


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _url(settings: Settings) -> Iterator[str]:
    url = settings.hooks_url
    asking = [one for one in settings.hooks_on if one in BY_URL]
    if asking and not url:
        yield (
            f"hooks.on has {', '.join(asking)} and hooks.url is empty: they are sent back to our address after each "
            "step. Set hooks.url to what stands in their console, without its path: https://prov.example.com"
        )
    if not url:
        return
    parts = urlsplit(url)
    behind = parts.path.strip("/") or parts.query or parts.fragment
    if parts.scheme not in ("http", "https") or not parts.netloc or behind:
        yield f"hooks.url = {url!r}: it is https:// and a host, with :port where it has one, and nothing behind"


def _httapi(settings: Settings) -> Iterator[str]:
    peers = settings.hooks_httapi_peers
    yield from _malformed("hooks.httapi_peers", peers)
    if "httapi" not in settings.hooks_on:
        return
    if not peers:
        yield (
            "hooks.on has httapi and hooks.httapi_peers is empty: FreeSWITCH signs nothing, so 0 of them may ask until "
            "they are named. Set hooks.httapi_peers, 127.0.0.1/32 for one on this machine"
        )
    if not settings.hooks_httapi_sounds and not settings.hooks_url:
        yield (
            "hooks.on has httapi, and hooks.httapi_sounds and hooks.url are both empty: FreeSWITCH would have no "
            "recordings to play. Set one of them"
        )


def _malformed(name: str, texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        if _network(text) is None:
            yield f"{name} has {text!r}: it must be a network such as 192.0.2.0/24 or 2001:db8::/48"


def _networks(texts: Iterable[str]) -> Iterator[Network]:
    return (found for text in texts if (found := _network(text)) is not None)


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return None
