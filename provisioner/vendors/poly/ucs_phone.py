"""What a UC Software phone is told as a whole; each function is one section, pure: equal settings are laid out once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, TypeVar

from provisioner import neutral
from provisioner.model import Model, ResolvedConfig
from provisioner.neutral import DialRule, HostPort
from provisioner.vendors.poly import dialplan
from provisioner.vendors.poly.sections import Section, section
from provisioner.zones import Change, zone

T = TypeVar("T")

_KEPT: Final = 1024
"""Laid out sections kept for each function: distinct settings of a site, far fewer than phones."""

_SWITCH: Final = MappingProxyType({True: "1", False: "0"})
_CODECS: Final = MappingProxyType(
    {
        "opus": "Opus",
        "g722": "G722",
        "pcma": "G711_A",
        "pcmu": "G711_Mu",
        "g729": "G729_AB",
        "ilbc": "iLBC.13_33kbps",
    }
)
_OTHER_CODECS: Final = (
    "G7221.16kbps",
    "G7221.24kbps",
    "G7221.32kbps",
    "G7221_C.24kbps",
    "G7221_C.32kbps",
    "G7221_C.48kbps",
    "Siren14.48kbps",
    "Siren22.64kbps",
)
"""On by default on some models and without a neutral name: off, or they would come before the chosen ones."""
_LANGUAGES: Final = MappingProxyType(
    {
        "da": "Danish_Denmark",
        "de": "German_Germany",
        "en": "English_United_States",
        "en-CA": "English_Canada",
        "en-GB": "English_United_Kingdom",
        "es": "Spanish_Spain",
        "fr": "French_France",
        "it": "Italian_Italy",
        "ja": "Japanese_Japan",
        "ko": "Korean_Korea",
        "nb": "Norwegian_Norway",
        "nl": "Dutch_Netherlands",
        "no": "Norwegian_Norway",
        "pl": "Polish_Poland",
        "pt": "Portuguese_Portugal",
        "ru": "Russian_Russia",
        "sl": "Slovenian_Slovenia",
        "sv": "Swedish_Sweden",
        "zh": "Chinese_China",
    }
)
"""``lcl.ml.lang`` by language tag, then by language alone; the phone keeps its own where none fits."""
LANGUAGES: Final = tuple(_LANGUAGES)
_SEVERITY: Final = ("6", "5", "5", "4", "3", "3", "3", "1")
"""RFC 5424 severity -> render level: 6 emergency, 5 critical, 4 error, 3 informational, 1 debug [inferred]."""
_LEAST_PERIOD: Final = 3600
"""Seconds; a shorter period is not taken."""
_EAP: Final = MappingProxyType({"md5": "EAP-MD5", "tls": "EAP-TLS", "peap": "EAP-PEAPv0-MSCHAPv2"})


def twins(values: Mapping[str, str]) -> dict[str, str]:
    """A ``device.`` parameter counts only beside its own ``.set``, and all of them only beside ``device.set``."""
    doubled = {"device.set": "1"}
    for name, value in values.items():
        doubled[f"{name}.set"] = "1"
        doubled[name] = value
    return doubled


@lru_cache(_KEPT)
def provisioning(base_url: str, tls12: bool, attempts: int, delay: int, authority: str) -> Section:
    """Where the phone fetches from and how it trusts that place: all that an upgrade needs."""
    values: dict[str, str] = {}
    if base_url:
        scheme = base_url.partition(":")[0]
        values["device.prov.serverType"] = "2" if scheme == "http" else "3"
        values["device.prov.serverName"] = base_url.rstrip("/")
        values["device.dhcp.bootSrvUseOpt"] = "2"  # static: a lease may not lead the phone elsewhere
    values["device.prov.tagSerialNo"] = "1"
    values["device.prov.redunAttemptLimit"] = str(attempts)
    values["device.prov.redunInterAttemptDelay"] = str(delay)
    if tls12:
        values["device.sec.TLS.protocol.prov"] = "TLSv1_2"
    if authority:
        # Slot 2 takes 4096 bytes, slot 1 only 1536 (Poly FAQ on 802.1X certificates).
        values["device.sec.TLS.customCaCert2"] = " ".join(authority.split("\n")).strip()
        values["device.sec.TLS.profile.caCertList1"] = "All"
    doubled = twins(values)
    if authority:
        doubled["sec.TLS.profileSelection.SIP"] = "PlatformProfile1"
    return section("provisioning", doubled)


def provisioning_of(config: ResolvedConfig) -> Section:
    """The provisioning section of one phone."""
    return provisioning(
        config.base_url,
        config.model.family not in {"soundpoint3", "soundstation3"},
        config.get(neutral.RETRY_ATTEMPTS),
        config.get(neutral.RETRY_DELAY),
        able(config.model, "ca.custom", config.get(neutral.CUSTOM_CA), ""),
    )


def able(model: Model, setting: str, value: T, otherwise: T) -> T:
    """The value, unless the model refuses the setting: a shared layer may hold what only other models can do."""
    return otherwise if setting in model.refuses else value


@lru_cache(_KEPT)
def network(vlan: int | None, lldp: bool | None, cdp: bool | None, syslog: HostPort, level: int) -> Section:
    """VLAN, its discovery, and syslog, which UC Software sends to port 514 only. None leaves the phone's own."""
    values: dict[str, str] = {}
    if vlan is not None:
        values["device.net.vlanId"] = str(vlan or "")
    if lldp is not None:
        values["device.net.lldpEnabled"] = _SWITCH[lldp]
    if cdp is not None:
        values["device.net.cdpEnabled"] = _SWITCH[cdp]
    values["device.syslog.serverName"] = syslog.host
    if syslog:
        values["device.syslog.transport"] = "1"  # UDP
        values["device.syslog.renderLevel"] = _SEVERITY[level]
        values["device.syslog.facility"] = "16"
        values["device.syslog.prependMac"] = "1"
    doubled = twins(values)
    del doubled["device.set"]  # stands in the provisioning section already
    return section("network", doubled)


def network_of(config: ResolvedConfig) -> Section:
    """The network section of one phone."""
    return network(
        config.get(neutral.VLAN_ID) if config.is_set(neutral.VLAN_ID) else None,
        config.get(neutral.LLDP) if config.settles(neutral.LLDP) else None,
        config.get(neutral.CDP) if config.settles(neutral.CDP) else None,
        config.get(neutral.SYSLOG),
        config.get(neutral.SYSLOG_LEVEL),
    )


def secrets_of(config: ResolvedConfig) -> Section:
    """Passwords and 802.1X; never kept, for a kept section would keep the secret."""
    values: dict[str, str] = {}
    for name, setting in _PASSWORDS:
        if password := config.get(setting):
            values[name] = password
    if "net.dot1x.mode" not in config.model.refuses and config.is_set(neutral.DOT1X_MODE):
        values |= _dot1x(config)
    doubled = twins(values)
    del doubled["device.set"]
    return section("secrets", doubled)


_PASSWORDS: Final = (
    ("device.auth.localAdminPassword", neutral.ADMIN_PASSWORD),
    ("device.auth.localUserPassword", neutral.USER_PASSWORD),
)


def _dot1x(config: ResolvedConfig) -> dict[str, str]:
    mode = config.get(neutral.DOT1X_MODE)
    if mode == "off":
        return {"device.net.dot1x.enabled": "0"}
    values = {"device.net.dot1x.enabled": "1", "device.net.dot1x.method": _EAP[mode]}
    values["device.net.dot1x.identity"] = config.get(neutral.DOT1X_IDENTITY)
    if password := config.get(neutral.DOT1X_PASSWORD):
        values["device.net.dot1x.password"] = password
    return values


@lru_cache(_KEPT)
def upkeep(
    poll: bool, period: int, begin: str, end: str, web: str, logs: bool, language: str, *, soon: bool = False
) -> Section:
    """Polling, what the phone uploads, its web page and its language. ``soon``: from its start, not in a window."""
    values = {
        "prov.polling.enabled": _SWITCH[poll],
        "prov.polling.mode": "rel" if soon else "random",
        "prov.polling.period": str(max(period, _LEAST_PERIOD)),
        **({} if soon else {"prov.polling.time": begin, "prov.polling.timeRandomEnd": end}),
        "prov.autoConfigUpload.enabled": "1",
        "feature.logUpload.enabled": _SWITCH[logs],
        "voIpProt.SIP.specialEvent.checkSync.alwaysReboot": "0",
        "httpd.enabled": _SWITCH[web != "off"],
        "httpd.cfg.enabled": _SWITCH[web != "off"],
        "httpd.cfg.secureTunnelEnabled": _SWITCH[web == "https"],
        "httpd.cfg.secureTunnelRequired": _SWITCH[web == "https"],
    }
    if spoken := _LANGUAGES.get(language) or _LANGUAGES.get(language[:2]):
        values["lcl.ml.lang"] = spoken
    return section("upkeep", values)


def upkeep_of(config: ResolvedConfig) -> Section:
    """The upkeep section of one phone."""
    return upkeep(
        config.get(neutral.POLL),
        config.get(neutral.POLL_PERIOD),
        config.get(neutral.POLL_FROM),
        config.get(neutral.POLL_TO),
        config.get(neutral.WEB_ACCESS),
        config.get(neutral.LOG_UPLOAD),
        config.get(neutral.LANGUAGE),
        soon=config.activation,
    )


@lru_cache(_KEPT)
def clock(server: str, name: str) -> Section:
    """Time server and zone. UC Software knows whole hours and one hour of summer time only."""
    found = zone(name)
    values = {
        "tcpIpApp.sntp.address": server,
        "tcpIpApp.sntp.address.overrideDHCP": "1",
        "tcpIpApp.sntp.gmtOffset": str(found.standard),
        "tcpIpApp.sntp.gmtOffset.overrideDHCP": "1",
        "tcpIpApp.sntp.daylightSavings.enable": _SWITCH[found.summer is not None],
    }
    if found.start is not None and found.end is not None:
        values["tcpIpApp.sntp.daylightSavings.fixedDayEnable"] = "0"
        values |= _change("start", found.start) | _change("stop", found.end)
    return section("clock", values)


def _change(edge: str, change: Change) -> dict[str, str]:
    """The n-th weekday of a month is the first one on or after day 1, 8, 15 or 22; the last one has a flag."""
    plain = change.plain()
    stem = f"tcpIpApp.sntp.daylightSavings.{edge}"
    return {
        f"{stem}.month": str(plain.month),
        f"{stem}.date": str(1 if plain.week == 5 else 7 * plain.week - 6),
        f"{stem}.dayOfWeek": str(plain.weekday + 1),
        f"{stem}.dayOfWeek.lastInMonth": _SWITCH[plain.week == 5],
        f"{stem}.time": str(plain.seconds // 3600),
    }


@lru_cache(_KEPT)
def calls(  # the settings of one section, each once
    codecs: tuple[str, ...],
    opus: bool,
    dtmf: str,
    srtp: str,
    emergency: tuple[str, ...],
    rules: tuple[DialRule, ...],
    pause: int,
    only: str = "",
    rescue: HostPort = neutral.NO_HOST,
) -> Section:
    """Media and dialling; with ``only``, that number and emergency numbers, which ``rescue`` takes."""
    order = [_CODECS[name] for name in codecs if name in _CODECS and (opus or name != "opus")]
    known = [name for name in _CODECS.values() if opus or name != "Opus"]
    values = {
        f"voice.codecPref.{name}": str(order.index(name) + 1 if name in order else 0)
        for name in (*known, *_OTHER_CODECS)
    }
    values |= {
        "tone.dtmf.viaRtp": _SWITCH[dtmf != "info"],
        "tone.dtmf.rfc2833Control": _SWITCH[dtmf == "rfc2833"],
        "voIpProt.SIP.dtmfViaSignaling.rfc2976": _SWITCH[dtmf == "info"],
        **media_security("sec.srtp", srtp),
    }
    digit_map = dialplan.ucs_only((*emergency, only)) if only else dialplan.ucs_map(emergency, rules)
    values["dialplan.digitmap"] = digit_map
    values["dialplan.digitmap.timeOut"] = dialplan.ucs_pauses(digit_map, pause)
    # A number that fits no alternative waits for the send key instead of leaving half dialled.
    values["dialplan.impossibleMatchHandling"] = "2"
    if only:
        values |= _nothing_else(emergency, rescue)
    return section("calls", values)


def _nothing_else(emergency: tuple[str, ...], rescue: HostPort) -> dict[str, str]:
    """No number leaves but by the digit map, however it is dialled; a wrong one ends in the reorder tone."""
    values = {f"dialplan.applyTo{way}": "1" for way in _WAYS}
    values["dialplan.impossibleMatchHandling"] = "1"
    values["feature.urlDialing.enabled"] = "0"
    for place, number in enumerate(emergency, 1):
        values[f"dialplan.routing.emergency.{place}.value"] = number
        values[f"dialplan.routing.emergency.{place}.server.1"] = "1"
    if emergency:
        values["dialplan.routing.server.1.address"] = rescue.host
        values["dialplan.routing.server.1.port"] = str(rescue.port or 5060)
    return values


_WAYS: Final = ("UserDial", "UserSend", "CallListDial", "DirectoryDial", "TelUriDial")


def media_security(stem: str, srtp: str) -> dict[str, str]:
    """SRTP for the phone (``sec.srtp``) or one line (``reg.N.srtp``)."""
    return {
        f"{stem}.enable": _SWITCH[srtp != "off"],
        f"{stem}.offer": _SWITCH[srtp != "off"],
        f"{stem}.require": _SWITCH[srtp == "required"],
    }


def calls_of(config: ResolvedConfig) -> Section:
    """The calls section of one phone."""
    return calls(
        config.get(neutral.SIP_CODECS),
        config.model.dialect == "ucs",
        config.get(neutral.SIP_DTMF),
        config.get(neutral.SIP_SRTP),
        config.get(neutral.EMERGENCY),
        config.get(neutral.DIAL_RULES),
        config.get(neutral.DIAL_TIMEOUT),
        config.get(neutral.HOTLINE) if config.activation else "",
        config.get(neutral.ACTIVATION_EMERGENCY) if config.activation else neutral.NO_HOST,
    )
