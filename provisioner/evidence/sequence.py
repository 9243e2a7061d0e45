"""A boot as a picture: who said what to whom, from top to bottom, as inline SVG. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from types import MappingProxyType
from typing import Final

from provisioner.diagnosis.facts import Fact, Kind

LANES: Final = ("phone", "switch", "DHCP", "DNS", "server")
_PHONE, _SWITCH, _DHCP, _DNS, _SERVER = range(5)
_MOST: Final = 120
"""Arrows: two screens of a browser. Of more the first and the last are shown."""
_LEFT, _LANE, _ROW, _TOP = 90, 210, 26, 44
_LONGEST: Final = 70
_BAD: Final = frozenset(
    {Kind.ALERT, Kind.RESET, Kind.TLS_REFUSED, Kind.STALLED, Kind.UNREACHABLE, Kind.ADDRESS_CONFLICT}
)


@dataclass(frozen=True, slots=True)
class Arrow:
    """One message."""

    at: float
    start: int
    end: int
    words: str
    ref: str
    bad: bool = False
    times: int = 1


def arrows(facts: Sequence[Fact]) -> list[Arrow]:
    """What of the facts is said by somebody to somebody; the same said again stands once."""
    found: list[Arrow] = []
    for one in sorted(facts, key=lambda each: each.at):
        made = _arrow(one)
        if made is None:
            continue
        last = found[-1] if found else None
        if last and (last.start, last.end, last.words) == (made.start, made.end, made.words):
            found[-1] = Arrow(last.at, last.start, last.end, last.words, last.ref, last.bad, last.times + 1)
        else:
            found.append(made)
    return found


def svg(facts: Sequence[Fact]) -> str:
    """The picture; empty where nobody has said anything."""
    told = arrows(facts)
    if not told:
        return ""
    shown = told if len(told) <= _MOST else [*told[: _MOST // 2], *told[-_MOST // 2 :]]
    height, width = _TOP + _ROW * (len(shown) + 1), _LEFT + _LANE * len(LANES)
    words = f"{len(told)} messages of the boot, in their order"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img" '
            f'aria-label="{words}">',
            *_lanes(height),
            *(line for row, one in enumerate(shown) for line in _drawn(row, one, told[0].at)),
            "</svg>",
        ]
    )


def _lanes(height: int) -> Iterator[str]:
    for place, name in enumerate(LANES):
        x = _x(place)
        yield f'<text class="lane" x="{x}" y="20" text-anchor="middle">{name}</text>'
        yield f'<line class="life" x1="{x}" y1="28" x2="{x}" y2="{height - 8}"/>'


def _drawn(row: int, one: Arrow, begin: float) -> Iterator[str]:
    y, start, end = _TOP + _ROW * row + 14, _x(one.start), _x(one.end)
    kind = "arrow bad" if one.bad else "arrow"
    times = f" \N{MULTIPLICATION SIGN}{one.times}" if one.times > 1 else ""
    words = one.words if len(one.words) <= _LONGEST else f"{one.words[: _LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"
    head = 7 if end > start else -7
    yield f'<g class="{kind}"><title>{escape(one.ref)}: {escape(one.words)}</title>'
    yield f'<text class="time" x="4" y="{y}">{one.at - begin:+.3f} s</text>'
    yield f'<line x1="{start}" y1="{y}" x2="{end}" y2="{y}"/>'
    yield f'<path d="M{end} {y}l{-head} -4v8z"/>'
    yield f'<text x="{(start + end) / 2:g}" y="{y - 4}" text-anchor="middle">{escape(words)}{times}</text></g>'


def _x(place: int) -> int:
    return _LEFT + _LANE // 2 + _LANE * place


def _arrow(one: Fact) -> Arrow | None:
    told = _SAID.get(one.kind)
    if told is None:
        return None
    partner, by_phone, words = told(one)
    start, end = (_PHONE, partner) if by_phone else (partner, _PHONE)
    return Arrow(one.at, start, end, words.strip(), one.witness.ref, one.kind in _BAD)


Said = tuple[int, bool, str]
"""With whom, whether the phone speaks, and what."""


def _by(one: Fact) -> bool:
    return one["by"] == "phone"


def _dhcp(one: Fact) -> Said:
    boot = next(
        (f"{name.replace('_', ' ')}: {value}" for name, value in one.values.items() if name[:7] == "option_"), ""
    )
    return _DHCP, one["type"] in ("discover", "request", "decline", "inform"), f"{one['type']} {one['address']} {boot}"


def _dns(one: Fact) -> Said:
    rcode = "" if one["rcode"] in ("", "NOERROR") else one["rcode"]
    return _DNS, one["type"] == "query", f"{one['name']} {one['record']} {rcode} {one['addresses']}"


def _chain(one: Fact) -> Said:
    words = one["subject"] if one["length"] != "0" else "no certificate"
    return _SERVER, _by(one), f"Certificate: {words}"


def _stalled(one: Fact) -> Said:
    words = {"hello": "ClientHello", "handshake": "handshake", "request": "request", "answer": "answer"}
    return _SERVER, one["waits_for"] != "server", f"stands still: {words.get(one['in'], one['in'])}"


_SAID: Final[Mapping[Kind, Callable[[Fact], Said]]] = MappingProxyType(
    {
        Kind.DISCOVERY: lambda one: (
            _SWITCH,
            one["sender"] == "phone",
            f"{one['by'].upper()} {one['name']} {one['port']}",
        ),
        Kind.VLAN_OFFERED: lambda one: (_SWITCH, False, f"voice VLAN {one['vlan'] or 'none'} by {one['by']}"),
        Kind.EAP: lambda one: (_SWITCH, one["code"] in ("response", "start"), f"EAP {one['code']} {one['method']}"),
        Kind.DHCP: _dhcp,
        Kind.ADDRESS_CONFLICT: lambda one: (_SWITCH, False, f"{one['address']} is {one['holder']}'s"),
        Kind.DNS: _dns,
        Kind.NTP: lambda one: (_SERVER, one["type"] == "query", f"NTP {one['type']}"),
        Kind.TFTP: lambda one: (_SERVER, one["type"] == "request", f"TFTP {one['type']} {one['file']} {one['error']}"),
        Kind.SYN: lambda one: (
            _SERVER,
            True,
            f"SYN to {one['to']}:{one['port']}, {one['times']}\N{MULTIPLICATION SIGN}",
        ),
        Kind.SYN_ACK: lambda _: (_SERVER, False, "SYN-ACK"),
        Kind.RESET: lambda one: (_SERVER, _by(one), "RST"),
        Kind.UNREACHABLE: lambda one: (_SERVER, False, f"ICMP: {one['code']} unreachable, by {one['by']}"),
        Kind.STALLED: _stalled,
        Kind.HELLO: lambda one: (_SERVER, True, f"ClientHello {one['sni']} {one['versions']}"),
        Kind.SERVER_HELLO: lambda one: (_SERVER, False, f"ServerHello {one['version']} {one['suite']}"),
        Kind.CHAIN: _chain,
        Kind.CERTIFICATE_REQUEST: lambda _: (_SERVER, False, "CertificateRequest"),
        Kind.ALERT: lambda one: (_SERVER, _by(one), f"alert {one['code']} {one['name']}"),
        Kind.TLS_REFUSED: lambda one: (_SERVER, _by(one), f"refuses: {one['why']}"),
        Kind.TLS_DONE: lambda one: (_SERVER, True, f"{one['version']} is up"),
        Kind.REQUEST: lambda one: (_SERVER, True, f"{one['method']} {one['path']}"),
        Kind.ANSWER: lambda one: (_SERVER, False, f"{one['status']} {one['bytes']} bytes"),
        Kind.CLOSED: lambda one: (_SERVER, _by(one), "FIN"),
        Kind.NOTIFY: lambda one: (_SERVER, one["result"] != "sent", f"NOTIFY {one['event']} {one['status']}"),
        Kind.REGISTER: lambda one: (_SERVER, one["type"] == "request", f"REGISTER {one['user']} {one['status']}"),
        Kind.PNP: lambda one: (_SERVER, one["type"] == "subscribe", f"plug and play {one['type']} {one['url']}"),
    }
)
