"""Session descriptions (RFC 4566) offered and answered (RFC 3264): one audio stream of G.711 with telephone-events.

Nothing of an address in here is believed: it says where the peer wants to hear us, not who is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final

from ivr.sip.errors import SipError

TYPE: Final = "application/sdp"
CODECS: Final[Mapping[int, str]] = MappingProxyType({0: "PCMU", 8: "PCMA"})
"""RFC 3551 section 6: static payload types, 8000 Hz."""
EVENTS: Final = 101
"""The telephone-event payload type of our own offers; in an answer it is the offerer's."""
PTIME: Final = 20
"""ms in a packet."""

_MOST_BYTES: Final = 16_384
"""A phone with video and ICE sends 3,000."""
_MOST_LINES: Final = 512
_MOST_MEDIA: Final = 16
_MOST_FORMATS: Final = 64
_PTIMES: Final = frozenset({10, 20, 30, 40, 60})
_ANSWERS: Final = MappingProxyType(
    {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}
)
"""RFC 3264 section 6.1, from the other side."""

_LINE: Final = re.compile(r"([a-z])=(.*)")
_WORD: Final = r"[A-Za-z0-9!#$%&'*+.^_`{|}~\-]"
_MEDIA: Final = re.compile(
    rf"(?P<media>{_WORD}{{1,32}}+) (?P<port>[0-9]{{1,5}})(?:/[0-9]{{1,5}})? "
    rf"(?P<protocol>{_WORD}{{1,16}}+(?:/{_WORD}{{1,16}}+){{0,4}}+)(?P<formats>(?: +{_WORD}{{1,32}}+)++) *"
)
_CONNECTION: Final = re.compile(r"IN IP([46]) ([^ /]{1,255})(?:/[0-9]{1,3}){0,2} *")
_RTPMAP: Final = re.compile(r"rtpmap:([0-9]{1,3}) +([A-Za-z0-9_.\-]{1,32}/[0-9]{1,6})(?:/1)? *")
_TIME: Final = re.compile(r"[0-9]{1,20} [0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class Offer:
    """What the peer offers, or answered, as far as we can do it."""

    codec: int
    codec_name: str
    events: int | None
    """Payload type of telephone-event/8000; None: no keys by RTP."""
    address: str
    port: int
    direction: str
    """As the peer says it: sendonly means that we only hear."""
    ptime: int = PTIME
    index: int = 0
    """Which of the media lines this is."""

    @property
    def held(self) -> bool:
        """Whether the peer does not want to hear us."""
        return self.direction in {"sendonly", "inactive"} or ip_address(self.address).is_unspecified


@dataclass(slots=True)
class _Media:
    """One media line and what stands below it."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    connection: str = ""
    direction: str = ""
    ptime: int = PTIME
    names: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Session:
    """What stands above the media, and the media."""

    connection: str = ""
    direction: str = "sendrecv"
    time: str = "0 0"
    media: list[_Media] = field(default_factory=list)


def read(body: bytes) -> Offer:
    """The first audio stream that we can do; SipError 488 when there is none, 400 when this is no description."""
    return _chosen(_session(body))


def answer(offer_body: bytes, *, address: str, port: int, session: int, version: int) -> bytes:
    """Accept the stream that ``read`` chooses with its first codec, refuse all others; errors as in ``read``."""
    offered = _session(offer_body)
    chosen = _chosen(offered)
    lines = _head(address, session, version, offered.time)
    for number, media in enumerate(offered.media):
        if number == chosen.index:
            direction = "recvonly" if chosen.held and chosen.direction == "sendrecv" else _ANSWERS[chosen.direction]
            lines += _audio(port, (chosen.codec,), chosen.events, direction)
        else:
            lines.append(f"m={media.kind} 0 {media.protocol} {media.formats[0]}")
    return _written(lines)


def offer(*, address: str, port: int, session: int, version: int) -> bytes:
    """Ours, for a caller who made none."""
    return _written([*_head(address, session, version, "0 0"), *_audio(port, tuple(CODECS), EVENTS, "sendrecv")])


def _head(address: str, session: int, version: int, time: str) -> list[str]:
    where = f"IN IP{6 if ':' in address else 4} {ip_address(address)}"
    return ["v=0", f"o=- {session} {version} {where}", "s=-", f"c={where}", f"t={time}"]


def _audio(port: int, codecs: tuple[int, ...], events: int | None, direction: str) -> Iterator[str]:
    formats = [*codecs, *(() if events is None else (events,))]
    yield f"m=audio {port} RTP/AVP {' '.join(map(str, formats))}"
    yield from (f"a=rtpmap:{codec} {CODECS[codec]}/8000" for codec in codecs)
    if events is not None:
        yield f"a=rtpmap:{events} telephone-event/8000"
        yield f"a=fmtp:{events} 0-15"
    yield f"a=ptime:{PTIME}"
    yield f"a={direction}"


def _written(lines: list[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")


def _chosen(session: _Session) -> Offer:
    for index, media in enumerate(session.media):
        codec = _codec(media)
        if codec is None:
            continue
        address = _address(media.connection or session.connection)
        direction = media.direction or session.direction
        return Offer(codec, CODECS[codec], _events(media), address, media.port, direction, media.ptime, index)
    raise SipError(488, "no audio in G.711 without encryption")


def _codec(media: _Media) -> int | None:
    """The first of the offerer's that is ours; a static number that was given another name is not."""
    if media.kind.lower() != "audio" or not media.port or media.protocol.upper() != "RTP/AVP":
        return None
    for one in media.formats:
        number = int(one) if one in {"0", "8"} else None
        if number is not None and media.names.get(one, f"{CODECS[number]}/8000").upper() == f"{CODECS[number]}/8000":
            return number
    return None


def _events(media: _Media) -> int | None:
    wanted = (one for one in media.formats if media.names.get(one, "").lower() == "telephone-event/8000")
    return next((int(one) for one in wanted if int(one) < 128), None)


def _session(body: bytes) -> _Session:
    if len(body) > _MOST_BYTES:
        raise SipError(400, f"a session description of more than {_MOST_BYTES} bytes")
    lines = body.decode("utf-8", "replace").rstrip("\r\n\x00").split("\n")
    if len(lines) > _MOST_LINES or lines[0].rstrip("\r") != "v=0":
        raise SipError(400, "no session description of version 0, or one of too many lines")
    session = _Session()
    for line in lines[1:]:
        found = _LINE.fullmatch(line.rstrip("\r"))
        if found is None:
            raise SipError(400, "a line of a session description is not letter=value")
        _take(session, found[1], found[2])
    return session


def _take(session: _Session, kind: str, value: str) -> None:
    if kind == "m":
        session.media.append(_media(value))
        if len(session.media) > _MOST_MEDIA:
            raise SipError(488, f"more than {_MOST_MEDIA} media lines")
    elif kind == "c":
        _latest(session).connection = value
    elif kind == "a":
        _attribute(session, value)
    elif kind == "t" and _TIME.fullmatch(value):
        session.time = value


def _latest(session: _Session) -> _Media | _Session:
    return session.media[-1] if session.media else session


def _media(value: str) -> _Media:
    found = _MEDIA.fullmatch(value)
    if found is None or int(found["port"]) >= 1 << 16:
        raise SipError(400, "a media line is not: media port protocol formats")
    formats = found["formats"].split()
    if len(formats) > _MOST_FORMATS:
        raise SipError(488, f"more than {_MOST_FORMATS} formats")
    return _Media(found["media"], int(found["port"]), found["protocol"], tuple(formats))


def _address(value: str) -> str:
    found = _CONNECTION.fullmatch(value)
    if found is None:
        raise SipError(400, "audio without a connection line, or with one that is not IN IP4 or IP6 address")
    try:
        ip = ip_address(found[2])
    except ValueError as broken:
        raise SipError(488, "a name in place of an address: none is looked up") from broken
    if ip.is_multicast or ip.version != int(found[1]):
        raise SipError(488, "an address that is multicast, or of the other family")
    return str(ip)


def _attribute(session: _Session, value: str) -> None:
    if value.strip() in _ANSWERS:
        _latest(session).direction = value.strip()
    elif session.media and (found := _RTPMAP.fullmatch(value)):
        session.media[-1].names.setdefault(str(int(found[1])), found[2])
    elif session.media and value.startswith("ptime:"):
        named = value[6:].strip()
        session.media[-1].ptime = int(named) if named in map(str, _PTIMES) else PTIME
