"""Poly devices for tests: their configurations, their files, and another value for every neutral setting."""

from __future__ import annotations

from collections.abc import Mapping

from provisioner import neutral
from provisioner.model import Line, Mac, ResolvedConfig, Scope, Sourced
from provisioner.rendering import Templates
from provisioner.shipped import shipped
from provisioner.vendors.poly import Poly, obi, sections

MAC = Mac("0004f2aabbcc")
BASE = "https://prov.example.net:8443/"
POLY = Poly(Templates([shipped("templates") / "poly"]))
MODELS = POLY.manifest.models
VVX = "FileTransport PolycomVVX-VVX_450-UA/5.9.5.0614 (SN:0004f2aabbcc) Type/Application"
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\nAAAA\n-----END CERTIFICATE-----\n"


def line(number: int = 1, secret: str = "s3cret", **more: str) -> Line:
    return Line(number, f"200{number}", f"200{number}", secret, **more)


def config(
    model: str,
    *lines: Line,
    values: Mapping[str, object] | None = None,
    raw: Mapping[str, str] | None = None,
    upgrade_only: bool = False,
) -> ResolvedConfig:
    typed = {name: Sourced(neutral.parse_value(name, one), Scope.DEVICE) for name, one in (values or {}).items()}
    raws = {name: Sourced(one, Scope.DEVICE) for name, one in (raw or {}).items()}
    return ResolvedConfig(MAC, MODELS[model], lines, typed, raws, upgrade_only, BASE)


def body(name: str, resolved: ResolvedConfig) -> bytes:
    file = POLY.match(name, "")
    assert file is not None
    return POLY.render(file, resolved)


def told(resolved: ResolvedConfig) -> dict[str, str]:
    """What the device reads in its own file."""
    if resolved.model.dialect == "obi":
        return obi.read(body(f"{MAC}.xml", resolved))
    return sections.read(body(f"{MAC}-user.cfg", resolved))


def vvx(
    *lines: Line, values: Mapping[str, object] | None = None, raw: Mapping[str, str] | None = None
) -> dict[str, str]:
    return told(config("VVX 450", *lines, values=values, raw=raw))


OTHER: Mapping[str, object] = {
    "sip.server": "sip1.example.net:5099",
    "sip.backup": "sip2.example.net",
    "sip.transport": "udp",
    "sip.outbound_proxy": "edge.example.net",
    "sip.expiry": 1234,
    "sip.srtp": "required",
    "sip.codecs": ["pcmu", "g729"],
    "sip.dtmf": "info",
    "voicemail.number": "*97",
    "time.ntp": "ntp.example.net",
    "time.zone": "Europe/Berlin",
    "language": "de-DE",
    "password.admin": "80315726",
    "password.user": "4711",
    "web.access": "https",
    "net.vlan": 20,
    "net.lldp": False,
    "net.cdp": True,
    "net.dot1x.mode": "peap",
    "net.dot1x.identity": "phone",
    "net.dot1x.password": "dot1x-secret",
    "syslog.server": "198.51.100.9:515",
    "syslog.level": 7,
    "keys": [
        {"position": 1, "kind": "line"},
        {"position": 2, "kind": "blf", "value": "2002"},
        {"position": 3, "kind": "speed_dial", "value": "110"},
        {"position": 4, "kind": "park", "value": "701"},
    ],
    "dialplan.rules": [{"match": "[2-8]xxx"}, {"match": "0.T", "prefix": "9"}],
    "dialplan.timeout": 9,
    "emergency.numbers": ["110"],
    "hotline.number": "9000",
    "hotline.delay": 5,
    "phonebook.url": "https://book.example.net/",
    "phonebook.name": "Everyone",
    "poll.enabled": False,
    "poll.period": 7200,
    "poll.from": "02:30",
    "poll.to": "03:30",
    "storm.boot_delay": 60,
    "storm.retry_delay": 99,
    "storm.retry_attempts": 7,
    "firmware.version": "9.9.9",
    "firmware.url": "https://fw.example.net/x",
    "ca.custom": PEM,
    "log.upload": True,
    "activation": True,
    "activation.emergency": "sos.example.net",
}


def maximal() -> dict[str, object]:
    return dict(OTHER)
