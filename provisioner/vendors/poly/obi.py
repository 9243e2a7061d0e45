"""The files of OBi and ATA adapters: one XML document of objects and parameters, the short form O, N, P, V.

Line N is FXS port N, service SPN and ITSP profile N, so that lines may register at different places. Names come from
published dumps of these devices; those marked [inferred] do not, and raw parameters override each of them.
"""

from __future__ import annotations

import hashlib
import html
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from provisioner import neutral
from provisioner.errors import NoSuchFile, RenderFailed
from provisioner.model import DeviceFile, FileKind, Line, ResolvedConfig
from provisioner.neutral import HostPort
from provisioner.rendering import Templates, block, parse_xml
from provisioner.vendors.poly import dialplan, obi_clock
from provisioner.vendors.poly.raw import raw_of
from provisioner.wiping import blank

_TRANSPORTS: Final = {"udp": "UDP", "tcp": "TCP", "tls": "TLS"}
_SRTP: Final = {"off": "Disable SRTP", "optional": "Use SRTP When Possible", "required": "Use SRTP Only"}
_DTMF: Final = {"rfc2833": "RFC2833", "inband": "InBand", "info": "SIPInfo"}
_CODECS: Final = (
    ("pcmu", "G711U"),
    ("pcma", "G711A"),
    ("g729", "G729"),
    ("g726_32", "G726R32"),
    ("ilbc", "iLBC"),
    ("g722", "G722"),
    ("opus", "OPUS"),
)
"""Neutral name and OBi's own [inferred], in the order of a profile's codec list."""
_DOT1X: Final = {"off": "Disable", "md5": "MD5", "tls": "TLS", "peap": "PEAP-MSCHAPv2"}
"""Only Disable is published, the others are [inferred]."""
_LONGEST_TEXT: Final = 255
_AUTHORITY: Final = "X_DeviceManagement.PlatformCACert.1."


class ObiFiles:
    """Renders what an OBi asks for: the file that its ConfigURL names."""

    def __init__(self, templates: Templates) -> None:
        self._templates = templates

    def render(self, file: DeviceFile, config: ResolvedConfig) -> bytes:
        """The bytes of a file; NoSuchFile where 404 is the right answer."""
        if file.kind is FileKind.BOOT:
            return self._document(dict([*_provisioning(config, poll=False), *_trusting(config, config.ca_url)]))
        if file.kind is FileKind.DEVICE and file.name.endswith(".xml"):
            return self._wiped(config) if config.wiped else self._document(_meant(config))
        if file.kind is FileKind.RESOURCE and file.mac is not None and (authority := _authority(config)):
            return authority
        raise NoSuchFile(f"{file.name}: nothing is made for {config.model.name} under this name")

    def _wiped(self, config: ResolvedConfig) -> bytes:
        """A bare device; what only layers have said goes back to the default that it knows itself."""
        bare = _meant(blank(config))
        meant = bare | dict(_forgotten(range(1, config.model.lines + 1)))
        had = _meant(replace(config, wiped=False))
        defaults = frozenset(had) - frozenset(meant)
        return self._document(meant | dict.fromkeys(sorted(defaults), ""), defaults)

    def _document(self, meant: Mapping[str, str], defaults: frozenset[str] = frozenset()) -> bytes:
        """The template sees whole, escaped parameters only, so it can add some but never let one break out."""
        objects: dict[str, list[str]] = {}
        for path, value in meant.items():
            owner, _, name = path.rpartition(".")
            mark = ' X_UD="Y"' if path in defaults else ""
            text = f"    <P><N>{name}</N><V{mark}>{html.escape(value, quote=False)}</V></P>"
            objects.setdefault(owner, []).append(text)
        blocks = [(f"{owner}.", block(parameters)) for owner, parameters in objects.items()]
        body = self._templates.lines("obi/device.xml.j2", objects=blocks)
        found = read(body)
        if not found.items() >= meant.items():
            wrong = next(path for path, value in meant.items() if found.get(path) != value)
            raise RenderFailed(f"{wrong}: the device would not read what was meant")
        return body


def read(document: bytes) -> dict[str, str]:
    """A document as the device reads it: each value by object and parameter, a later one replaces an earlier one."""
    values: dict[str, str] = {}
    for one in parse_xml(document):
        owner = ""
        for child in one:
            if child.tag == "N":
                owner = child.text or ""
            elif child.tag == "P":
                pair = {str(part.tag): part.text or "" for part in child}
                values[owner + pair.get("N", "")] = pair.get("V", "")
    return values


# --- what is meant ---------------------------------------------------------------------------------


def _meant(config: ResolvedConfig) -> dict[str, str]:
    """Object path and parameter -> value; only how to fetch an upgrade while the firmware is too old for secrets."""
    values = dict(_provisioning(config, poll=config.get(neutral.POLL)))
    values |= _firmware(config)
    if config.upgrade_only:
        return values
    for part in (_network(config), _management(config), obi_clock.parameters(config), _lines(config)):
        values.update(part)
    values.update(raw_of(config))
    return values


def _provisioning(config: ResolvedConfig, *, poll: bool) -> Iterable[tuple[str, str]]:
    stem = "X_DeviceManagement.ITSPProvisioning."
    if config.base_url:
        yield f"{stem}ConfigURL", f"{config.base_url}$MAC.xml"
    yield f"{stem}Method", "Periodically" if poll else "System Start"
    if poll:
        yield f"{stem}Interval", str(config.get(neutral.POLL_PERIOD))
        begin = config.get(neutral.POLL_FROM)
        # HH:MM+minutes: a random time of the window. Empty: the interval alone, from the start [inferred].
        window = f"{begin}+{_window(begin, config.get(neutral.POLL_TO))}"
        yield f"{stem}TimeofDay", "" if config.activation else window
    # The factory value $DM tells the model only [the other macros are inferred].
    yield "X_DeviceManagement.HTTPClient.UserAgent", "$DM/$FWV $MAC"


def _window(begin: str, end: str) -> int:
    """Minutes from one time of day to another, over midnight if need be."""
    first, last = (60 * int(text[:2]) + int(text[3:]) for text in (begin, end))
    return (last - first) % 1440


def _firmware(config: ResolvedConfig) -> Mapping[str, str]:
    """Where the image lies, when a release or a place is asked for."""
    url, version = config.get(neutral.FIRMWARE_URL), config.get(neutral.FIRMWARE_VERSION)
    if not url and version and config.base_url:
        url = f"{config.base_url}{config.model.agents[0]}-{version}.fw"
    if not url:
        return {}
    stem = "X_DeviceManagement.FirmwareUpdate."
    return {f"{stem}Method": "System Start", f"{stem}FirmwareURL": url}


def _network(config: ResolvedConfig) -> Iterable[tuple[str, str]]:
    stem = "DeviceInfo.WAN."
    if config.is_set(neutral.VLAN_ID):
        vlan = config.get(neutral.VLAN_ID)
        yield f"{stem}VLANEnable", _word(vlan > 0)
        if vlan:
            yield f"{stem}VLANID", str(vlan)
    if config.settles(neutral.LLDP):
        yield f"{stem}LLDP-MED", _word(config.get(neutral.LLDP))
    if "net.dot1x.mode" in config.model.refuses or not config.is_set(neutral.DOT1X_MODE):
        return
    mode = config.get(neutral.DOT1X_MODE)
    yield f"{stem}802_1XMode", _DOT1X[mode]
    if mode != "off":
        yield f"{stem}802_1XIdentity", config.get(neutral.DOT1X_IDENTITY)
        if password := config.get(neutral.DOT1X_PASSWORD):
            yield f"{stem}802_1XPassword", password  # [inferred]


def _word(switch: bool) -> str:
    """The only two spellings that are read are true and false (OBi1000 administration guide)."""
    return "true" if switch else "false"


def _management(config: ResolvedConfig) -> Iterable[tuple[str, str]]:
    if password := config.get(neutral.ADMIN_PASSWORD):
        yield "X_DeviceManagement.WebServer.AdminPassword", password
    if password := config.get(neutral.USER_PASSWORD):
        yield "X_DeviceManagement.WebServer.UserPassword", password
    syslog = config.get(neutral.SYSLOG)
    yield "X_DeviceManagement.Syslog.Server", syslog.host
    if syslog:
        yield "X_DeviceManagement.Syslog.Port", str(syslog.port or 514)
        yield "X_DeviceManagement.Syslog.Level", str(config.get(neutral.SYSLOG_LEVEL))
    yield from _trusting(config, f"{config.base_url}{config.mac}-ca.pem" if config.base_url else "")


def _trusting(config: ResolvedConfig, url: str) -> Iterable[tuple[str, str]]:
    """Where to fetch a CA of the operator's."""
    if (authority := _authority(config)) and url:
        yield f"{_AUTHORITY}DownloadURL", url
        # The device compares this sum with what it fetched; it is no protection and not meant as one.
        yield f"{_AUTHORITY}MD5CheckSum", hashlib.md5(authority, usedforsecurity=False).hexdigest()


def _authority(config: ResolvedConfig) -> bytes:
    if "ca.custom" in config.model.refuses:
        return b""
    return config.get(neutral.CUSTOM_CA).encode("ascii")


# --- lines ----------------------------------------------------------------------------------------


def _lines(config: ResolvedConfig) -> Iterable[tuple[str, str]]:
    """Every service of the device: those with a line as they are bound, the others switched off."""
    bound = {line.number: line for line in config.lines}
    if bound and max(bound) > config.model.lines:
        raise RenderFailed(f"line {max(bound)} is bound, {config.model.name} has {config.model.lines}")
    for number in range(1, config.model.lines + 1):
        line = bound.get(number)
        if line is None:
            yield f"{_line(number)}Enable", "false"
            yield f"{_line(number)}SIP.AuthUserName", ""
            yield from _forgotten([number] if number in config.emptied else [])
            continue
        yield from _credentials(line)
        yield from _features(config, line)
        yield from _profile(config, number)
        yield from _codecs(config, number)
        yield from _port(config, number)


def _line(number: int) -> str:
    return f"VoiceService.1.VoiceProfile.1.Line.{number}."


def _credentials(line: Line) -> Iterable[tuple[str, str]]:
    if max(len(line.display_name), len(line.label)) > _LONGEST_TEXT:
        raise RenderFailed(f"line {line.number}: a name or label has more than {_LONGEST_TEXT} characters")
    stem = _line(line.number)
    yield f"{stem}Enable", "true"
    yield f"{stem}DirectoryNumber", line.extension
    yield f"{stem}X_ServProvProfile", _letter(line.number)
    yield f"{stem}X_CodecProfile", _letter(line.number)
    yield f"{stem}X_RegisterEnable", "true"
    yield f"{stem}X_AcceptResync", "yes with authentication"
    yield f"{stem}X_DisplayLabel", line.label or line.extension
    yield f"{stem}SIP.AuthUserName", line.auth_user
    yield f"{stem}SIP.AuthPassword", line.secret
    yield f"{stem}SIP.URI", line.extension


def _forgotten(numbers: Iterable[int]) -> Iterable[tuple[str, str]]:
    """Who was on a line and where it registered, emptied: its service is off and still holds what it was told."""
    for number in numbers:
        for name in ("SIP.AuthUserName", "SIP.AuthPassword", "SIP.URI", "DirectoryNumber", "X_DisplayLabel"):
            yield f"{_line(number)}{name}", ""
        yield f"{_line(number)}CallingFeatures.CallerIDName", ""
        yield f"{_line(number)}CallingFeatures.X_CheckVoiceMailNumber", ""
        for name in ("ProxyServer", "RegistrarServer", "OutboundProxy", "X_SecondaryProxyServer"):
            yield f"VoiceService.1.VoiceProfile.{number}.SIP.{name}", ""


def _letter(number: int) -> str:
    return chr(ord("A") + number - 1)


def _features(config: ResolvedConfig, line: Line) -> Iterable[tuple[str, str]]:
    stem = f"{_line(line.number)}CallingFeatures."
    yield f"{stem}CallerIDName", line.display_name or line.extension
    yield f"{stem}X_SRTP", _SRTP[config.on_line(neutral.SIP_SRTP, line.number)]
    if voicemail := config.on_line(neutral.VOICEMAIL, line.number):
        yield f"{stem}X_CheckVoiceMailNumber", voicemail
        yield f"{_line(line.number)}SIP.X_MWISubscribe", "true"


def _profile(config: ResolvedConfig, number: int) -> Iterable[tuple[str, str]]:
    stem = f"VoiceService.1.VoiceProfile.{number}."
    transport = config.on_line(neutral.SIP_TRANSPORT, number)
    server = config.on_line(neutral.SIP_SERVER, number)
    yield f"{stem}DTMFMethod", _DTMF[config.on_line(neutral.SIP_DTMF, number)]
    yield f"{stem}DigitMap", _digit_map(config)
    for place in ("ProxyServer", "RegistrarServer"):
        yield f"{stem}SIP.{place}", server.host
        yield f"{stem}SIP.{place}Port", _at(server, transport)
        yield f"{stem}SIP.{place}Transport", _TRANSPORTS[transport]
    yield f"{stem}SIP.RegistrationPeriod", str(config.on_line(neutral.SIP_EXPIRY, number))
    yield from _backup(stem, config.on_line(neutral.SIP_BACKUP, number), transport)
    if proxy := config.on_line(neutral.SIP_PROXY, number):
        yield f"{stem}SIP.OutboundProxy", proxy.host
        yield f"{stem}SIP.OutboundProxyPort", _at(proxy, transport)
        yield f"{stem}SIP.X_OutboundProxyTransport", _TRANSPORTS[transport]


def _backup(stem: str, backup: HostPort, transport: str) -> Iterable[tuple[str, str]]:
    """Redundancy is switched always, so that a backup server that was taken away is forgotten."""
    yield f"{stem}SIP.X_ProxyServerRedundancy", _word(bool(backup))
    if backup:
        yield f"{stem}SIP.X_SecondaryRegistration", "true"
        yield f"{stem}SIP.X_SecondaryProxyServer", backup.host  # [inferred]
        yield f"{stem}SIP.X_SecondaryProxyServerPort", _at(backup, transport)  # [inferred]


def _at(server: HostPort, transport: str) -> str:
    return str(server.port or (5061 if transport == "tls" else 5060))


def _codecs(config: ResolvedConfig, number: int) -> Iterable[tuple[str, str]]:
    """Codec profile N lies under Line.N; lists are written whole, so what is not named is off."""
    wanted = config.on_line(neutral.SIP_CODECS, number)
    for place, (name, own) in enumerate(_CODECS, 1):
        stem = f"{_line(number)}Codec.List.{place}."
        yield f"{stem}Codec", own
        yield f"{stem}Enable", _word(name in wanted)
        if name in wanted:
            yield f"{stem}Priority", str(wanted.index(name) + 1)


def _digit_map(config: ResolvedConfig) -> str:
    if config.activation:
        return dialplan.obi_only((*config.get(neutral.EMERGENCY), config.get(neutral.HOTLINE)))
    return dialplan.obi_map(
        config.get(neutral.EMERGENCY), config.get(neutral.DIAL_RULES), config.get(neutral.DIAL_TIMEOUT)
    )


def _port(config: ResolvedConfig, number: int) -> Iterable[tuple[str, str]]:
    """The port's own map: emergency numbers, the hotline, then whatever its line's map takes [object inferred]."""
    stem = f"VoiceService.1.X_{'HS' if config.model.dect else 'FXS'}.{number}."
    emergency = config.get(neutral.EMERGENCY)
    hotline = config.get(neutral.HOTLINE)
    start = [f"<S{config.get(neutral.HOTLINE_DELAY)}:{hotline}>"] if hotline else []
    service = f"sp{number}"
    rest = [] if config.activation else [f"(M{service})"]
    yield f"{stem}DigitMap", f"({'|'.join([*emergency, *start, *rest])})"
    routes = [f"{{{one}:{service}}}" for one in (*emergency, *filter(None, [hotline]), *rest)]
    yield f"{stem}OutboundCallRoute", ",".join(routes)
    yield f"{stem}PrimaryLine", f"SP{number} Service"
    yield f"{_line(number)}X_InboundCallRoute", f"{'hs' if config.model.dect else 'ph'}{number}"
