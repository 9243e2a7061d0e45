"""What a phone that is nobody's yet is offered: one line that calls the activation prompts, and nothing else.

Told by allow-list: of what layers say it keeps the network, the clock, the language and the firmware; no password, no
key, no raw parameter. Pure: time and entropy are given, so the files are the same while these are.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from provisioner import neutral
from provisioner.activation_secret import issue
from provisioner.errors import Unusable
from provisioner.model import Event, Line, Mac, Model, ResolvedConfig, Scope, Setting, Sourced
from provisioner.neutral import NO_HOST, HostPort
from provisioner.settings import Settings

_KEPT: Final[tuple[Setting[object], ...]] = (
    neutral.NTP_SERVER,
    neutral.TIME_ZONE,
    neutral.LANGUAGE,
    neutral.WEB_ACCESS,
    neutral.VLAN_ID,
    neutral.LLDP,
    neutral.CDP,
    neutral.SYSLOG,
    neutral.SYSLOG_LEVEL,
    neutral.BOOT_DELAY,
    neutral.RETRY_DELAY,
    neutral.RETRY_ATTEMPTS,
    neutral.CUSTOM_CA,
)
_IMAGE: Final[tuple[Setting[object], ...]] = (neutral.FIRMWARE_VERSION, neutral.FIRMWARE_URL)
"""For known devices: no image is served to others."""
_EXPIRY: Final = 120
"""s: shorter than most routers forget a UDP flow, over which the phone is told that it is activated."""
_CODECS: Final = ("pcmu", "pcma")
_HEAD_START: Final = 4
"""s to key in an emergency number behind the lifted handset, before the prompts are dialled.

A model that cannot wait dials nothing by itself then: its user has a dial tone, and reads on the label what to dial.
"""
_HOUR: Final = 3600.0
_REMEMBERED: Final = 4096
"""Devices whose offer was told within the hour; beyond it the oldest may be told again."""
_FROM: Final = "activation"
"""The key behind the values that are none of any layer's."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Moment(NamedTuple):
    """When a connection was offered something first, and its share of chance: one secret for all of its files."""

    at: float
    entropy: bytes


class Offers:
    """What one worker offers; ``key`` gives the key of the SIP secrets, ``authority`` is the server's own CA."""

    def __init__(self, settings: Settings, key: Callable[[], bytes], authority: str = "") -> None:
        self._settings, self._key, self._authority = settings, key, authority
        self._server = HostPort(settings.activation_server or settings.server_name, settings.activation_port)
        self._networks = networks_of(settings.activation_networks)
        self._told: OrderedDict[Mac, float] = OrderedDict()

    def reach(self, address: str) -> bool:
        """Whether devices at this address are offered activation though nobody has added them."""
        return is_within(address, self._networks)

    def configuration(self, config: ResolvedConfig, moment: Moment, *, site: str = "", known: bool) -> ResolvedConfig:
        """What the device is offered in place of ``config``; firmware too old for secrets is upgraded first."""
        if config.upgrade_only:
            return config
        emergency = self._emergency(config, site)
        kept = (*_KEPT, *_IMAGE) if known else _KEPT
        values = {one.name: config.values[one.name] for one in kept if one.name in config.values}
        own = {**self._registration(config), **emergency}
        if emergency[neutral.EMERGENCY]:
            own[neutral.HOTLINE_DELAY] = _HEAD_START
        values |= {one.name: Sourced(value, Scope.BUILT_IN, _FROM) for one, value in own.items()}
        life = self._settings.activation_secret_life
        user, secret = issue(self._key(), config.mac, moment.at, life, moment.entropy)
        label = label_of(config.model, self._settings.activation_number, bool(emergency[neutral.EMERGENCY]))
        line = Line(1, str(config.mac), user, secret, label, label)
        return replace(config, lines=(line,), values=values, raw={}, activation=True)

    def _registration(self, config: ResolvedConfig) -> Mapping[Setting[object], object]:
        settings = self._settings
        own: dict[Setting[object], object] = {
            neutral.SIP_SERVER: self._server,
            neutral.SIP_TRANSPORT: settings.activation_transport,
            neutral.SIP_EXPIRY: _EXPIRY,
            neutral.SIP_SRTP: "off",
            neutral.SIP_CODECS: _CODECS,
            neutral.SIP_DTMF: "rfc2833",
            neutral.HOTLINE: settings.activation_number,
            neutral.HOTLINE_DELAY: 0,
            neutral.POLL: True,
            neutral.POLL_PERIOD: settings.activation_poll,
        }
        if settings.activation_transport == "tls" and self._authority and not config.get(neutral.CUSTOM_CA):
            own[neutral.CUSTOM_CA] = self._authority
        return own

    def _emergency(self, config: ResolvedConfig, site: str) -> Mapping[Setting[object], object]:
        """Only where somebody can be sent to and a server takes the call: this server's own prompts save nobody.

        A model whose calls all go where it registers can have it where that is the server which takes them.
        """
        server, numbers = config.get(neutral.ACTIVATION_EMERGENCY), config.get(neutral.EMERGENCY)
        apart = neutral.ACTIVATION_EMERGENCY.name not in config.model.refuses
        if not (site and server and numbers and (apart or self._takes(server))):
            server, numbers = NO_HOST, ()
        return {neutral.ACTIVATION_EMERGENCY: server if apart else NO_HOST, neutral.EMERGENCY: numbers}

    def _takes(self, server: HostPort) -> bool:
        """Whether phones register there: a server before the prompts, which says of itself that it takes them."""
        usual = 5061 if self._settings.activation_transport == "tls" else 5060
        here = self._server
        same = server.host.lower() == here.host.lower() and (server.port or usual) == (here.port or usual)
        return same and bool(self._settings.activation_server)

    def event(self, config: ResolvedConfig, address: str, now: float, *, known: bool) -> Event | None:
        """That it was offered; None while that was told within the hour."""
        last = self._told.pop(config.mac, None)
        told = last is not None and 0 <= now - last < _HOUR
        self._told[config.mac] = last if last is not None and told else now
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        if told:
            return None
        details = {"model": config.model.name, "address": address, "shows": config.lines[0].label}
        details["device"] = "has no line" if known else "nobody has added it"
        return Event("activation_offered", now, config.mac, actor="server", details=details)


def is_within(address: str, networks: tuple[Network, ...]) -> bool:
    """Whether an IP address, in whichever spelling, lies in one of the networks; the empty one lies in none."""
    if not (networks and address):
        return False
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return any((mapped or ip) in one for one in networks)


def networks_of(texts: Iterable[str]) -> tuple[Network, ...]:
    """CIDR networks, host bits forgiven; Unusable names the one that is none."""
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text.strip(), strict=False))
        except ValueError:
            raise Unusable(
                f"activation.networks has {text!r}: it must be a network such as 192.0.2.0/24 or 2001:db8::/48"
            ) from None
    return tuple(found)


def label_of(model: Model, number: str, emergency: bool) -> str:
    """What the phone shows at its line. The first word is the one that small screens keep.

    Nobody is quicker than a phone that dials as soon as its handset is lifted: where emergency numbers can be dialled,
    such a model does not, and the prompts have to be dialled as well.
    """
    waits = neutral.HOTLINE_DELAY.name not in model.refuses
    if not model.ivr_activation:
        text = "Ask your administrator"
    elif neutral.HOTLINE.name in model.refuses or (emergency and not waits):
        text = f"Activate: dial {number}"
    else:
        text = "Activate"
    return text if emergency else f"{text} (no emergency calls)"
