"""Lines and keys: accounts with their servers and codecs, DECT bases with server templates that lines share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from typing import Final, NamedTuple

from provisioner import neutral
from provisioner.model import Line, ResolvedConfig
from provisioner.neutral import CODECS, HostPort
from provisioner.rendering import Block
from provisioner.vendors.yealink.grammar import lay_out, read

_KEPT: Final = 1024
"""What devices have alike, remembered for so many different shapes of it."""
_TRANSPORTS: Final = {"udp": "0", "tcp": "1", "tls": "2"}
_PORTS: Final = {"udp": "5060", "tcp": "5060", "tls": "5061"}
_SRTP: Final = {"off": "0", "optional": "1", "required": "2"}
_DTMF: Final = {"inband": "0", "rfc2833": "1", "info": "2"}
_KEY_TYPES: Final = {"none": "0", "park": "10", "speed_dial": "13", "line": "15", "blf": "16"}

# Payload types of RFC 3551 table 4; firmware up to 80 lists codecs by number and names them so.
_CODECS_80: Final = {
    "pcmu": ("PCMU", "0"),
    "pcma": ("PCMA", "8"),
    "g729": ("G729", "18"),
    "g722": ("G722", "9"),
    "ilbc": ("iLBC", "106"),
    "g726_32": ("G726-32", "104"),
}


class _How(NamedTuple):
    """How one line registers: its settings, read once for all lines that have none of their own."""

    server: HostPort
    backup: HostPort
    transport: str
    proxy: HostPort
    expiry: int
    srtp: str
    codecs: tuple[str, ...]
    dtmf: str
    voicemail: str


def _how(config: ResolvedConfig, number: int) -> _How:
    on = config.on_line
    return _How(
        on(neutral.SIP_SERVER, number),
        on(neutral.SIP_BACKUP, number),
        on(neutral.SIP_TRANSPORT, number),
        on(neutral.SIP_PROXY, number),
        on(neutral.SIP_EXPIRY, number),
        on(neutral.SIP_SRTP, number),
        on(neutral.SIP_CODECS, number),
        on(neutral.SIP_DTMF, number),
        on(neutral.VOICEMAIL, number),
    )


def _hows(config: ResolvedConfig, numbers: tuple[int, ...]) -> tuple[_How, ...]:
    """One for each line, a single one for all of them where none differs."""
    if "/line." not in "/".join(("", *config.values)):
        return (_how(config, 0),)
    return tuple([_how(config, number) for number in numbers])


def accounts(config: ResolvedConfig) -> Block:
    """The parameters of all bound lines; what a model has no line for is left out.

    Laid out for each device is who the lines are; how they register is alike for many devices and kept.
    """
    lines = [line for line in config.lines if line.number <= config.model.lines]
    if not lines:
        return Block()
    numbers = tuple([line.number for line in lines])
    columns = [
        _each(_names("account", numbers, _PERSON), [_person(line) for line in lines]),
        _registrations(config.model.dialect, numbers, _hows(config, numbers)),
    ]
    if config.model.dect:
        columns.append(_each(_names("handset", numbers, _HANDSET), [_handset(line) for line in lines]))
    return Block("\n".join(chain.from_iterable(zip(*columns, strict=True))))


_PERSON: Final = ("enable", "label", "display_name", "auth_name", "user_name", "password")
_HANDSET: Final = ("name", "incoming_lines", "dial_out_lines")


def _person(line: Line) -> tuple[str, ...]:
    shown = line.label or line.extension
    return "1", shown, line.display_name or line.extension, line.auth_user, line.extension, line.secret


def _handset(line: Line) -> tuple[str, ...]:
    """The handset of the same number rings and dials with this line (inferred: H is the handset's slot)."""
    return line.label or line.extension, str(line.number), str(line.number)


@lru_cache(_KEPT)
def _names(stem: str, numbers: tuple[int, ...], ends: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{stem}.{number}.{end}" for number in numbers for end in ends)


def _each(names: tuple[str, ...], told: Sequence[tuple[str, ...]]) -> Sequence[str]:
    """The parameters of all lines, laid out and read back in one go, then cut into the text of each line."""
    rows = lay_out(dict(zip(names, chain.from_iterable(told), strict=True))).split("\n")
    size = len(told[0])
    return ["\n".join(rows[start : start + size]) for start in range(0, len(rows), size)]


@lru_cache(_KEPT)
def _registrations(dialect: str, numbers: tuple[int, ...], hows: tuple[_How, ...]) -> Sequence[str]:
    """Where and how each line registers; no secret, and the same for all devices of a site with the same lines."""
    # Bases with many lines keep servers once, in a template that accounts point to; lines with equal ones share it.
    templates: dict[tuple[object, ...], int] = {}
    found: list[str] = []
    for number, how in zip(numbers, hows if len(hows) == len(numbers) else hows * len(numbers), strict=True):
        known = len(templates)
        template = templates.setdefault(how[:5], known + 1) if dialect == "dect" else 0
        values = {f"account.{number}.{name}": value for name, value in _registration(dialect, how, template).items()}
        values[f"voice_mail.number.{number}"] = how.voicemail
        if template > known:
            values |= _template(template, how)
        found.append(lay_out(values))
    return tuple(found)


def _registration(dialect: str, how: _How, template: int) -> dict[str, str]:
    """All that lines with the same settings have alike, without the prefix that numbers the line."""
    if dialect == "dect":
        servers = {"sip_server.template": str(template)}
    else:
        servers = _servers_80(how) if dialect == "v80" else _servers_81(how)
    codecs = _codecs_80 if dialect == "v80" else _codecs_81
    return {
        **servers,
        "srtp_encryption": _SRTP[how.srtp],
        "dtmf.type": _DTMF[how.dtmf],
        "subscribe_mwi": "1" if how.voicemail else "0",
        **codecs(how.codecs),
    }


def _address(prefix: str, server: HostPort, how: _How) -> dict[str, str]:
    if not server:
        return {f"{prefix}address": "", f"{prefix}port": _PORTS[how.transport]}
    return {f"{prefix}address": server.host, f"{prefix}port": str(server.port or _PORTS[how.transport])}


def _servers(prefix: str, how: _How) -> dict[str, str]:
    """Two servers, asked one after the other: a phone that registers at both at once doubles a storm."""
    found: dict[str, str] = {}
    for number, server in ((1, how.server), (2, how.backup)):
        found |= _address(f"{prefix}sip_server.{number}.", server, how)
        if server:
            found[f"{prefix}sip_server.{number}.transport_type"] = _TRANSPORTS[how.transport]
            found[f"{prefix}sip_server.{number}.expires"] = str(how.expiry)
    return found


def _servers_81(how: _How) -> dict[str, str]:
    found = _servers("", how)
    if how.backup:
        found["fallback.redundancy_type"] = "1"
    found["outbound_proxy_enable"] = "1" if how.proxy else "0"
    if how.proxy:
        found |= _address("outbound_proxy.1.", how.proxy, how)
    return found


def _servers_80(how: _How) -> dict[str, str]:
    """Firmware up to 80 names the outbound proxy otherwise, and some of it the transport (both are written)."""
    found = _servers("", how)
    found["transport"] = _TRANSPORTS[how.transport]
    if how.backup:
        found["fallback.redundancy_type"] = "1"
    found["outbound_proxy_enable"] = "1" if how.proxy else "0"
    if how.proxy:
        found["outbound_host"] = how.proxy.host
        found["outbound_port"] = str(how.proxy.port or _PORTS[how.transport])
    return found


def _template(number: int, how: _How) -> dict[str, str]:
    prefix = f"template.{number}."
    found = {f"{prefix}name": f"server {number}", **_servers(prefix, how)}
    found[f"{prefix}outbound.enable"] = "1" if how.proxy else "0"
    if how.proxy:
        found |= _address(f"{prefix}outbound.1.", how.proxy, how)
    return found


def _codecs_81(codecs: tuple[str, ...]) -> dict[str, str]:
    found = {f"codec.{name}.enable": "1" if name in codecs else "0" for name in CODECS}
    found |= {f"codec.{name}.priority": str(rank) for rank, name in enumerate(codecs, 1)}
    return found


def _codecs_80(codecs: tuple[str, ...]) -> dict[str, str]:
    """Codecs that these phones lack are left out; the phone keeps the order of the rest."""
    found: dict[str, str] = {}
    ordered = [name for name in codecs if name in _CODECS_80] + [name for name in _CODECS_80 if name not in codecs]
    for slot, name in enumerate(ordered, 1):
        payload, number = _CODECS_80[name]
        found |= {
            f"codec.{slot}.enable": "1" if name in codecs else "0",
            f"codec.{slot}.payload_type": payload,
            f"codec.{slot}.priority": str(slot),
            f"codec.{slot}.rtpmap": number,
        }
    return found


@lru_cache(_KEPT)
def unused(lines: int, line_keys: int, bound: tuple[int, ...], taken: tuple[int, ...]) -> dict[str, str]:
    """Lines switched off and keys without function: those of a model that a device does not use."""
    found = {f"account.{number}.enable": "0" for number in range(1, lines + 1) if number not in bound}
    for position in range(1, line_keys + 1):
        if position not in taken and not (position in bound and position <= lines):
            found[f"linekey.{position}.type"] = _KEY_TYPES["none"]
    return found


def idle(config: ResolvedConfig) -> dict[str, str]:
    """What ``accounts`` and ``keys`` of this device leave unsaid."""
    bound = tuple([line.number for line in config.lines])
    taken = tuple([key.position for key in config.get(neutral.KEYS)])
    return unused(config.model.lines, config.model.line_keys, bound, taken)


def forgotten(config: ResolvedConfig) -> dict[str, str]:
    """All that was ever said of the lines that are to be emptied: a phone keeps what its file only leaves out."""
    held = {line.number for line in config.lines}
    numbers = range(1, config.model.lines + 1) if config.wiped else config.emptied
    gone = [Line(number, "0", "0", "0") for number in numbers if number not in held and number <= config.model.lines]
    if not gone:
        return {}
    switch = {f"account.{line.number}.enable" for line in gone}
    names = set(read(accounts(replace(config, lines=tuple(gone))))) - switch
    if config.lines:
        names -= set(read(accounts(config)))  # a template of servers that other lines still have
    return dict.fromkeys(sorted(names), "")


def keys(config: ResolvedConfig) -> dict[str, str]:
    """The first keys are the lines; a key that the administrator set is what he set."""
    found: dict[str, str] = {}
    most = config.model.line_keys
    for line in config.lines:
        if line.number <= min(most, config.model.lines):
            found[f"linekey.{line.number}.type"] = _KEY_TYPES["line"]
            found[f"linekey.{line.number}.line"] = str(line.number)
    for key in config.get(neutral.KEYS):
        if key.position > most:
            continue
        prefix = f"linekey.{key.position}."
        found[f"{prefix}type"] = _KEY_TYPES[key.kind]
        found[f"{prefix}line"] = str(key.line)
        found[f"{prefix}value"] = key.value
        found[f"{prefix}label"] = key.label
    return found
