"""Registrations and keys of a UC Software phone. Registrations are numbered without gaps, whatever line they serve:
after a gap some releases register nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from types import MappingProxyType
from typing import Final, NamedTuple

from provisioner import neutral
from provisioner.errors import RenderFailed
from provisioner.model import Line, Model, ResolvedConfig
from provisioner.neutral import HostPort, LineKey
from provisioner.vendors.poly.sections import Section, section
from provisioner.vendors.poly.ucs_phone import media_security

_KEPT: Final = 4096
_TRANSPORTS: Final = MappingProxyType({"udp": "UDPOnly", "tcp": "TCPOnly", "tls": "TLS"})
_LONGEST_TEXT: Final = 255
"""Characters a name or label may have: UC Software's limit for entries of its lists, taken for all texts."""


class Service(NamedTuple):
    """Where and how one line registers."""

    server: HostPort
    backup: HostPort
    proxy: HostPort
    transport: str
    expiry: int
    srtp: str
    """Empty where the phone's own setting holds."""
    voicemail: str
    hotline: str


def services(config: ResolvedConfig) -> tuple[Service, ...]:
    """One for each line in the order of ``config.lines``; a single one for all of them where none differs."""
    if "/line." not in "/".join(("", *config.values)):
        return (_service(config, 1),)
    return tuple([_service(config, line.number) for line in config.lines])


def each(served: tuple[Service, ...], lines: int) -> tuple[Service, ...]:
    """The services of so many lines, a single one repeated."""
    return served if len(served) == lines else served * lines


def _service(config: ResolvedConfig, number: int) -> Service:
    srtp = config.on_line(neutral.SIP_SRTP, number)
    return Service(
        config.on_line(neutral.SIP_SERVER, number),
        config.on_line(neutral.SIP_BACKUP, number),
        config.on_line(neutral.SIP_PROXY, number),
        config.on_line(neutral.SIP_TRANSPORT, number),
        config.on_line(neutral.SIP_EXPIRY, number),
        "" if srtp == config.get(neutral.SIP_SRTP) else srtp,
        config.on_line(neutral.VOICEMAIL, number),
        _hotline(config),
    )


def _hotline(config: ResolvedConfig) -> str:
    """Dialled at once when the handset is lifted, for UC Software cannot wait: none where there has to be time.

    A waiting phone has to leave time for an emergency number. Its digit map takes the prompts' number all the same.
    """
    leaves_time = config.activation and config.get(neutral.HOTLINE_DELAY)
    return "" if leaves_time else config.get(neutral.HOTLINE)


def registrations(config: ResolvedConfig) -> Iterable[Section]:
    """First who the lines are, then where each of them registers."""
    lines = config.lines
    served = services(config)
    who: list[str] = []
    for line in lines:
        _check(config.model, line)
        extension = line.extension
        who += (extension, line.auth_user, line.secret, line.display_name or extension, line.label or extension)
    values = dict(zip(_names(_WHO, len(lines)), who, strict=True))
    for index, (line, one) in enumerate(zip(lines, each(served, len(lines)), strict=True), 1):
        if one.voicemail:
            values[f"msg.mwi.{index}.subscribe"] = line.extension
    yield section("lines", values or {"reg.1.address": ""})  # an empty address switches the first line off
    yield service(served, len(lines))


_WHO: Final = ("reg.N.address", "reg.N.auth.userId", "reg.N.auth.password", "reg.N.displayName", "reg.N.label")
_WATCH: Final = ("attendant.resourceList.N.address", "attendant.resourceList.N.label")
_DIAL: Final = ("efk.efklist.N.mname", "efk.efklist.N.status", "efk.efklist.N.label", "efk.efklist.N.action.string")


@lru_cache(_KEPT)
def _names(stems: tuple[str, ...], count: int) -> tuple[str, ...]:
    """The parameters' names, numbered from 1 to ``count``."""
    return tuple(stem.replace("N", str(index), 1) for index in range(1, count + 1) for stem in stems)


def _check(model: Model, line: Line) -> None:
    if line.number > model.lines:
        raise RenderFailed(f"line {line.number} is bound, {model.name} has {model.lines}")
    if len(line.display_name) > _LONGEST_TEXT or len(line.label) > _LONGEST_TEXT:
        raise RenderFailed(f"line {line.number}: a name or label has more than {_LONGEST_TEXT} characters")


@lru_cache(_KEPT)
def service(served: tuple[Service, ...], lines: int) -> Section:
    """Where the registrations go; holds no secret and is the same for all phones of a site with as many lines."""
    values: dict[str, str] = {}
    for index, one in enumerate(each(served, lines), 1):
        values |= _registration(index, one)
    return section("service", values)


def _registration(index: int, one: Service) -> dict[str, str]:
    values = _server(f"reg.{index}.server.1", one.server, one.transport, one.expiry)
    if one.backup:
        values |= _server(f"reg.{index}.server.2", one.backup, one.transport, one.expiry)
        values[f"reg.{index}.server.1.failOver.failBack.mode"] = "duration"
        values[f"reg.{index}.server.1.failOver.failBack.timeout"] = "120"
        values[f"reg.{index}.server.1.failOver.reRegisterOn"] = "1"
    if one.proxy:
        values[f"reg.{index}.outboundProxy.address"] = one.proxy.host
        values[f"reg.{index}.outboundProxy.port"] = _port(one.proxy, one.transport)
        values[f"reg.{index}.outboundProxy.transport"] = _TRANSPORTS[one.transport]
    if one.srtp:
        values |= media_security(f"reg.{index}.srtp", one.srtp)
    if one.voicemail:
        values[f"msg.mwi.{index}.callBackMode"] = "contact"
        values[f"msg.mwi.{index}.callBack"] = one.voicemail
    if one.hotline:
        values[f"call.autoOffHook.{index}.enabled"] = "1"
        values[f"call.autoOffHook.{index}.contact"] = one.hotline
    return values


def _server(stem: str, server: HostPort, transport: str, expiry: int) -> dict[str, str]:
    return {
        f"{stem}.address": server.host,
        f"{stem}.port": _port(server, transport),
        f"{stem}.transport": _TRANSPORTS[transport],
        f"{stem}.expires": str(expiry),
        f"{stem}.register": "1" if server else "0",
    }


def _port(server: HostPort, transport: str) -> str:
    """RFC 3261 section 19.1.2: 5061 for TLS, 5060 otherwise."""
    return str(server.port or (5061 if transport == "tls" else 5060))


_FORGOTTEN: Final = (
    "reg.N.address",
    "reg.N.auth.userId",
    "reg.N.auth.password",
    "reg.N.displayName",
    "reg.N.label",
    "reg.N.server.1.address",
    "reg.N.server.2.address",
    "reg.N.outboundProxy.address",
    "msg.mwi.N.subscribe",
    "msg.mwi.N.callBack",
    "call.autoOffHook.N.contact",
)
"""What says who and where a registration is; empty, nothing of it is left in the phone's memory."""


@lru_cache(_KEPT)
def forgotten(used: int, had: int) -> Section:
    """Registrations behind those in use, emptied: they are numbered without gaps, so the last of them are over."""
    numbers = range(used + 1, had + 1)
    values = {stem.replace("N", str(index), 1): "" for index in numbers for stem in _FORGOTTEN}
    if not used:
        values.pop("reg.1.address", None)  # stands among the lines
    values |= {f"reg.{index}.server.1.register": "0" for index in numbers}
    return section("forgotten", values)


def registrations_had(config: ResolvedConfig) -> int:
    """How many registrations the phone may know of."""
    if config.wiped:
        return config.model.lines
    return min(len({line.number for line in config.lines} | set(config.emptied)), config.model.lines)


# --- keys -----------------------------------------------------------------------------------------


def keys(config: ResolvedConfig) -> Iterable[Section]:
    """Programmable keys: by position where the dialect has flexible line keys, otherwise in order after the lines."""
    wanted = () if "keys" in config.model.refuses else config.get(neutral.KEYS)
    if not wanted:
        return
    watched = [key for key in wanted if key.kind in _WATCHED]
    dialled = [key for key in wanted if key.kind == "speed_dial"]
    told: list[str] = []
    for key in watched:
        told += (key.value, key.label or key.value)
    values = dict(zip(_names(_WATCH, len(watched)), told, strict=True))
    yield watching(tuple([key.kind for key in watched]))
    if config.model.dialect == "ucs":
        yield positions(tuple(map(_SPOT, wanted)), tuple([line.number for line in config.lines]))
        yield section("keys", values | _macros(dialled))
    else:
        yield section("keys", values | _soft_keys(dialled))


_WATCHED: Final = MappingProxyType({"blf": "normal", "park": "automata"})
"""``automata``: a place that answers at once, so one press fetches the parked call."""


@lru_cache(_KEPT)
def watching(kinds: tuple[str, ...]) -> Section:
    """How each watched place is shown."""
    values = {f"attendant.resourceList.{number}.type": _WATCHED[kind] for number, kind in enumerate(kinds, 1)}
    return section("watching", values)


_SPOT: Final = attrgetter("position", "kind", "line")
"""What of a key says where it stands and what it shows."""


def _places(spots: Sequence[tuple[int, str, int]], indices: Mapping[int, int]) -> Iterable[tuple[int, str, int]]:
    """Position, category and index of each key; a line without a key of its own keeps its position.

    Watched users are taken from their list in order, macros by their number.
    """
    taken = {position for position, _, _ in spots}
    shown = {line for _, kind, line in spots if kind == "line"}
    for number in sorted(indices.keys() - shown - taken):
        yield number, "Line", indices[number]
    dialled = 0
    for position, kind, line in spots:
        if kind in _WATCHED:
            yield position, "BLF", 0
        elif kind == "speed_dial":
            dialled += 1
            yield position, "EFK", dialled
        elif kind == "line" and line in indices:
            yield position, "Line", indices[line]
        else:
            yield position, "Unassigned", 0


@lru_cache(_KEPT)
def positions(spots: tuple[tuple[int, str, int], ...], lines: tuple[int, ...]) -> Section:
    """What stands at which key; the same for all phones of one layout."""
    values = {"lineKey.reassignment.enabled": "1"}
    for position, category, index in _places(spots, {number: index for index, number in enumerate(lines, 1)}):
        values[f"lineKey.{position}.category"] = category
        values[f"lineKey.{position}.index"] = str(index)
    return section("positions", values)


def _macros(dialled: list[LineKey]) -> dict[str, str]:
    """Speed dials as enhanced feature keys, whose macro dials."""
    told: list[str] = []
    for number, key in enumerate(dialled, 1):
        told += (f"key{number}", "1", key.label or key.value, f"{key.value}$Tinvite$")
    values = dict(zip(_names(_DIAL, len(dialled)), told, strict=True))
    if dialled:
        values |= {"feature.enhancedFeatureKeys.enabled": "1", "feature.EFKLineKey.enabled": "1"}
    return values


def _soft_keys(dialled: list[LineKey]) -> dict[str, str]:
    """Before flexible line keys speed dials are soft keys of the idle phone; watched users follow the lines."""
    values: dict[str, str] = {}
    for number, key in enumerate(dialled, 1):
        values[f"softkey.{number}.label"] = key.label or key.value
        values[f"softkey.{number}.action"] = f"{key.value}$Tinvite$"
        values[f"softkey.{number}.enable"] = values[f"softkey.{number}.use.idle"] = "1"
    if dialled:
        values["feature.enhancedFeatureKeys.enabled"] = "1"
    return values
