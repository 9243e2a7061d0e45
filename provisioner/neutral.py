"""The neutral settings: one meaning for all vendors, each typed, bounded and refused by name where it enters."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, TypeVar

from provisioner import zones
from provisioner.deeds import Cure, Deed
from provisioner.errors import Invalid
from provisioner.model import Setting

T = TypeVar("T")

_HOST = re.compile(
    r"(?=.{1,253}\Z)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
_URL = re.compile(r"(?:https?|tftp|ftp)://[!-~]{1,500}")
_DIALLED = re.compile(r"[0-9*#+]{1,40}")
_PATTERN = re.compile(r"(?:[0-9*#x]|\[[0-9](?:-?[0-9])*\])+\.?T?")
_LANGUAGE = re.compile(r"[a-z]{2}(?:-[A-Z]{2})?")
_VERSION = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6}){0,5}")
_LINE_PREFIX = re.compile(r"line\.([1-9][0-9]{0,2})\.(.+)")
_INVISIBLE = frozenset({"Cc", "Cs", "Cn", "Co", "Zl", "Zp"})


# --- value types ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HostPort:
    """A host name or IP literal, and a port or 0 for the transport's own."""

    host: str
    port: int = 0

    def __bool__(self) -> bool:
        return bool(self.host)


NO_HOST: Final = HostPort("")


@dataclass(frozen=True, slots=True)
class LineKey:
    """What one programmable key does. ``kind``: line, blf, speed_dial, park or none."""

    position: int
    kind: str
    value: str = ""
    label: str = ""
    line: int = 1


@dataclass(frozen=True, slots=True)
class DialRule:
    """A number pattern that is dialled at once, and the digits the phone puts before it.

    Pattern: digits, ``*``, ``#``, ``x`` (any digit), ``[2-8]``, a final ``.`` (more digits), a final ``T`` (wait).
    """

    match: str
    prefix: str = ""


# --- parsers: JSON-like value in, typed value out, ValueError says why -------------------------------


def check_text(value: object, longest: int = 128) -> str:
    """Text a phone may show: no control, separator or unassigned characters; emoji and quotes are fine."""
    if not isinstance(value, str):
        raise ValueError("must be text")
    if len(value) > longest:
        raise ValueError(f"has {len(value)} characters, at most {longest} are allowed")
    for char in value:
        if unicodedata.category(char) in _INVISIBLE:
            raise ValueError(f"holds the character U+{ord(char):04X}, which no phone can show")
    return value


_ENCODED_WORD: Final = re.compile(r"=\?[^?\s]+\?[bq]\?", re.IGNORECASE)
"""RFC 2047 section 2: nobody is called so, and whoever reads mail headers decodes it, line breaks included."""


def check_name(value: str, longest: int) -> str:
    """The same of a name: without blanks around it, and no encoded word."""
    text = check_text(value, longest).strip()
    if _ENCODED_WORD.search(text):
        raise ValueError("holds =?...?B? or =?...?Q?, an encoded word of a mail header: write the text itself")
    return text


def _text(longest: int) -> Callable[[object], str]:
    return lambda value: check_text(value, longest)


_forms: dict[Callable[[object], object], str] = {}
"""What a parser takes, for people; it stands behind the meaning of the settings that use it."""


def _taking(form: str, parse: Callable[[object], T]) -> Callable[[object], T]:
    _forms[parse] = form
    return parse


def _whole(low: int, high: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,9}", value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError("must be a whole number")
        if not low <= value <= high:
            raise ValueError(f"must be from {low} to {high}")
        return value

    return _taking(f"{low} to {high}", parse)


def _switch(value: object) -> bool:
    words = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}
    if isinstance(value, str):
        value = words.get(value.lower(), value)
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


_taking("true, false", _switch)


def _one_of(*choices: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return str(value)

    return _taking(", ".join(choices), parse)


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if not isinstance(value, str) or not (value == "" or pattern.fullmatch(value)):
            raise ValueError(f"must be {what}")
        return value

    return parse


def parse_host(value: object) -> str:
    """A host name or an IP address without port; empty is allowed."""
    if not isinstance(value, str):
        raise ValueError("must be a host name or an IP address")
    if value == "" or _HOST.fullmatch(value):
        return value
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError("must be a host name or an IP address") from None


def parse_host_port(value: object) -> HostPort:
    """``host``, ``host:port`` or ``[v6]:port``; empty is allowed."""
    if isinstance(value, HostPort):
        return value
    if not isinstance(value, str):
        raise ValueError("must be host or host:port")
    if value.startswith("["):
        host, closed, rest = value[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ValueError("must be host or host:port")
        return HostPort(_ipv6(host), _port(rest.removeprefix(":")) if rest else 0)
    host, colon, port = value.partition(":")
    return HostPort(parse_host(host), _port(port) if colon else 0)


def _ipv6(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise ValueError("must be host or host:port, where [ ] hold an IPv6 address") from None


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise ValueError("has a port that is not from 1 to 65535")
    return int(text)


def _zone(value: object) -> str:
    if not isinstance(value, str) or value not in zones.names():
        raise ValueError("must be an IANA time zone name such as Europe/Berlin")
    return value


CODECS: Final = ("opus", "g722", "pcma", "pcmu", "g729", "ilbc", "g726_32")
KEY_KINDS: Final = ("none", "line", "blf", "speed_dial", "park")


def _items(value: object, most: int) -> list[object]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, (list, tuple)):
        raise ValueError("must be a list")
    if len(value) > most:
        raise ValueError(f"has {len(value)} entries, at most {most} are allowed")
    return list(value)


def _codecs(value: object) -> tuple[str, ...]:
    names = tuple(_one_of(*CODECS)(item) for item in _items(value, len(CODECS)))
    if not names or len(set(names)) != len(names):
        raise ValueError("must name at least one codec and none twice")
    return names


def _numbers(value: object) -> tuple[str, ...]:
    return tuple(_matching(_DIALLED, "digits, *, # or +")(item) for item in _items(value, 32))


def _keys(value: object) -> tuple[LineKey, ...]:
    keys = tuple(_key(item) for item in _items(value, 400))
    if len({key.position for key in keys}) != len(keys):
        raise ValueError("gives one key position twice")
    return tuple(sorted(keys, key=lambda key: key.position))


def _key(item: object) -> LineKey:
    if isinstance(item, LineKey):
        return item
    row = _row(item, {"position", "kind", "value", "label", "line"})
    return LineKey(
        position=_whole(1, 400)(row.get("position")),
        kind=_one_of(*KEY_KINDS)(row.get("kind", "line")),
        value=_matching(re.compile(r"[A-Za-z0-9*#+._@-]{1,64}"), "a number or SIP user")(row.get("value", "")),
        label=check_text(row.get("label", ""), 40),
        line=_whole(1, 100)(row.get("line", 1)),
    )


def _row(item: object, fields: set[str]) -> Mapping[str, object]:
    if not isinstance(item, dict) or (unknown := set(item) - fields):
        raise ValueError(
            f"each entry must be a table with {', '.join(sorted(fields))}"
            + (f"; unknown: {', '.join(map(str, sorted(unknown)))}" if isinstance(item, dict) else "")
        )
    return item


def _rules(value: object) -> tuple[DialRule, ...]:
    return tuple(_rule(item) for item in _items(value, 64))


def _rule(item: object) -> DialRule:
    if isinstance(item, DialRule):
        return item
    if isinstance(item, str):
        item = {"match": item}
    row = _row(item, {"match", "prefix"})
    match = row.get("match", "")
    if not isinstance(match, str) or len(match) > 60 or not _PATTERN.fullmatch(match):
        raise ValueError("each rule needs a match of digits, *, #, x, [2-8], a final . and a final T")
    return DialRule(match, _matching(_DIALLED, "digits, *, # or +")(row.get("prefix", "")))


def _pem(value: object) -> str:
    if value == "":
        return ""
    if (
        not isinstance(value, str)
        or len(value) > 8192
        or not re.fullmatch(
            r"-----BEGIN CERTIFICATE-----\n(?:[A-Za-z0-9+/=]{1,76}\n)+-----END CERTIFICATE-----\n?",
            value.replace("\r\n", "\n"),
        )
    ):
        raise ValueError("must be one PEM certificate")
    return value.replace("\r\n", "\n")


_taking(f"a list of {', '.join(CODECS)}", _codecs)
_taking("a list of numbers: 112, 911", _numbers)
_taking(
    f"a JSON list of tables; kind is one of {', '.join(KEY_KINDS)}: "
    '[{"position": 2, "kind": "blf", "value": "1002", "label": "Ann", "line": 1}]',
    _keys,
)
_taking(
    "a JSON list of tables; match is digits, *, #, x for any digit, [2-8], a final . for more, a final T to wait: "
    '[{"match": "0[1-9]x.T", "prefix": "9"}]',
    _rules,
)
_url = _matching(_URL, "a URL without blanks")
_dialled = _matching(_DIALLED, "digits, *, # or +")
_hhmm = _matching(re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"), "a time such as 02:30")

# --- the registry ---------------------------------------------------------------------------------

_registry: dict[str, Setting[object]] = {}


def _define(setting: Setting[T]) -> Setting[T]:
    if form := _forms.get(setting.parse):
        setting = replace(setting, help=f"{setting.help} ({form})")
    _registry[setting.name] = setting
    return setting


SIP_SERVER = _define(
    Setting("sip.server", parse_host_port, NO_HOST, "Registrar and proxy of the lines", "host[:port]", per_line=True)
)
SIP_BACKUP = _define(
    Setting("sip.backup", parse_host_port, NO_HOST, "Server the phone fails over to", "host[:port]", per_line=True)
)
SIP_TRANSPORT = _define(
    Setting("sip.transport", _one_of("udp", "tcp", "tls"), "tls", "Transport to both servers", per_line=True)
)
SIP_PROXY = _define(
    Setting("sip.outbound_proxy", parse_host_port, NO_HOST, "Outbound proxy", "host[:port]", per_line=True)
)
SIP_EXPIRY = _define(
    Setting("sip.expiry", _whole(60, 86400), 600, "Registration time the phone asks for", "s", per_line=True)
)
SIP_SRTP = _define(
    Setting("sip.srtp", _one_of("off", "optional", "required"), "optional", "Encrypted media", per_line=True)
)
SIP_CODECS = _define(
    Setting("sip.codecs", _codecs, _codecs(["g722", "pcma", "pcmu"]), "Codecs in order of preference", per_line=True)
)
SIP_DTMF = _define(
    Setting(
        "sip.dtmf",
        _one_of("rfc2833", "inband", "info"),
        "rfc2833",
        "How keys pressed in a call are sent",
        per_line=True,
    )
)
VOICEMAIL = _define(Setting("voicemail.number", _dialled, "", "What the message key dials", per_line=True))
NTP_SERVER = _define(Setting("time.ntp", parse_host, "pool.ntp.org", "Time server"))
TIME_ZONE = _define(
    Setting("time.zone", _zone, "Etc/UTC", "IANA time zone name; its DST rule is worked out for the phone")
)
LANGUAGE = _define(
    Setting("language", _matching(_LANGUAGE, "a language tag such as en-US"), "en-US", "Language of the phone's screen")
)
ADMIN_PASSWORD = _define(
    Setting("password.admin", _text(32), "", "Password of the phone's administrator menu and web page", secret=True)
)
USER_PASSWORD = _define(Setting("password.user", _text(32), "", "Password of the phone's user menu", secret=True))
WEB_ACCESS = _define(Setting("web.access", _one_of("off", "http", "https"), "off", "The phone's own web page"))
VLAN_ID = _define(Setting("net.vlan", _whole(0, 4094), 0, "VLAN of the phone's own traffic, 0 for none"))
LLDP = _define(Setting("net.lldp", _switch, True, "Learn the VLAN by LLDP-MED"))
CDP = _define(Setting("net.cdp", _switch, False, "Learn the VLAN by CDP"))
DOT1X_MODE = _define(Setting("net.dot1x.mode", _one_of("off", "md5", "tls", "peap"), "off", "802.1X method"))
DOT1X_IDENTITY = _define(Setting("net.dot1x.identity", _text(64), "", "802.1X identity"))
DOT1X_PASSWORD = _define(Setting("net.dot1x.password", _text(64), "", "802.1X password", secret=True))
SYSLOG = _define(Setting("syslog.server", parse_host_port, NO_HOST, "Where the phone logs to", "host[:port]"))
SYSLOG_LEVEL = _define(Setting("syslog.level", _whole(0, 7), 4, "Least severe message sent, RFC 5424 numbers"))
KEYS = _define(Setting("keys", _keys, _keys(()), "Programmable keys: position, kind, value, label, line"))
DIAL_RULES = _define(
    Setting("dialplan.rules", _rules, _rules(()), "Patterns dialled at once, with digits to put before")
)
DIAL_TIMEOUT = _define(
    Setting("dialplan.timeout", _whole(1, 30), 4, "Pause after which an incomplete number is dialled", "s")
)
EMERGENCY = _define(
    Setting("emergency.numbers", _numbers, _numbers(["112", "911"]), "Always pass, first and without prefix")
)
HOTLINE = _define(Setting("hotline.number", _dialled, "", "Dialled by itself when the handset is lifted"))
HOTLINE_DELAY = _define(Setting("hotline.delay", _whole(0, 10), 0, "Pause before the hotline is dialled", "s"))
PHONEBOOK_URL = _define(Setting("phonebook.url", _url, "", "Remote phone book"))
PHONEBOOK_NAME = _define(Setting("phonebook.name", _text(32), "Company", "Its name on the screen"))
POLL = _define(
    Setting("poll.enabled", _switch, True, "Ask for changes once per period, at a random time of the window")
)
POLL_PERIOD = _define(Setting("poll.period", _whole(3600, 604800), 86400, "Time between two polls", "s"))
POLL_FROM = _define(Setting("poll.from", _hhmm, "01:00", "Begin of the nightly window, phone's own time"))
POLL_TO = _define(Setting("poll.to", _hhmm, "05:00", "End of the nightly window, phone's own time"))
BOOT_DELAY = _define(
    Setting(
        "storm.boot_delay", _whole(0, 600), 0, "Longest random wait after power-on before a configured phone asks", "s"
    )
)
RETRY_DELAY = _define(Setting("storm.retry_delay", _whole(1, 600), 60, "Wait between two attempts to fetch", "s"))
RETRY_ATTEMPTS = _define(
    Setting("storm.retry_attempts", _whole(1, 10), 3, "Attempts before the phone goes on with what it has")
)
FIRMWARE_VERSION = _define(
    Setting("firmware.version", _matching(_VERSION, "digits and dots"), "", "Version the phone should run")
)
FIRMWARE_URL = _define(Setting("firmware.url", _url, "", "Where its image lies; empty: on this server"))
CUSTOM_CA = _define(Setting("ca.custom", _pem, "", "CA the phone shall trust beside its own list", "PEM"))
LOG_UPLOAD = _define(Setting("log.upload", _switch, False, "The phone sends its log files here"))
ACTIVATION = _define(
    Setting("activation", _switch, False, "A phone without a line asks its user for an activation code", policy=True)
)
ACTIVATION_EMERGENCY = _define(
    Setting(
        "activation.emergency",
        parse_host_port,
        NO_HOST,
        "Server for emergency calls of a phone at a site that waits for activation; it takes them unregistered, by UDP",
        "host[:port]",
        policy=True,
    )
)

SETTINGS: Final[Mapping[str, Setting[object]]] = MappingProxyType(_registry)


def setting_of(name: str) -> Setting[object]:
    """The Setting that a layer's entry means, ``line.N.`` prefix taken off; Invalid when there is none."""
    found = SETTINGS.get(name)
    if found is not None:
        return found
    if (prefixed := _LINE_PREFIX.fullmatch(name)) and (found := SETTINGS.get(prefixed[2])):
        if found.per_line:
            return found
        raise Invalid(name, "cannot differ from line to line")
    raise Invalid(name, "is not a setting", cure=Cure(Deed.LIST_SETTINGS))


def parse_value(name: str, value: object) -> object:
    """Check and type one entry of a layer; Invalid names the entry and says why."""
    setting = setting_of(name)
    try:
        return setting.parse(value)
    except ValueError as error:
        raise Invalid(name, str(error)) from error
