"""Addresses as SIP spells them, URI, name-addr and Via: each read once by an unambiguous grammar, and written back.

Hosts are lower case and stand without the brackets of IPv6. A URI's user keeps the escapes it needs, and only those
(RFC 3986 section 6.2.2), so that equal users are equal strings. The expressions are possessive: nothing backtracks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv6Address
from types import MappingProxyType
from typing import Final

from ivr.sip.errors import SipError

TCHAR: Final = r"[A-Za-z0-9!%'*+.\-_`~]"
"""RFC 3261 section 25.1."""
_QUOTED: Final = r'"(?P<quoted>[^"\\]*+(?:\\.[^"\\]*+)*+)"'
_HOST: Final = r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._\-]{1,255})"
_LOOSE: Final = r'[^\x00-\x20\x7f",;<>\\]'
"""What a parameter's value may hold without quotes: more than a token, because tags with an @ or a = are about."""
_PLAIN: Final = r'[^\x00-\x20\x7f"<>]'

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]{0,31}+):(.+)", re.DOTALL)
_SIP: Final = re.compile(
    r'(?:(?P<user>[^\x00-\x20\x7f"<>@:\\]++)(?::(?P<password>[^\x00-\x20\x7f"<>@\\]*+))?@)?'
    rf"{_HOST}(?::(?P<port>[0-9]{{1,5}}))?"
    r'(?P<params>;[^\x00-\x20\x7f"<>?,]*+)?(?:\?(?P<headers>[^\x00-\x20\x7f"<>]*+))?'
)
_OPAQUE: Final = re.compile(rf"{_PLAIN}++")
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})?")
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9\-_.!~*'()]")
_BRACKETED: Final = re.compile(
    rf'(?:{_QUOTED}|(?P<words>[^"<>,;:\\\x00-\x08\x0a-\x1f\x7f]*+))[ \t]*+<(?P<uri>[^<>]*+)>(?P<params>.*)', re.DOTALL
)
_BARE: Final = re.compile(r'(?P<uri>[A-Za-z][A-Za-z0-9+.\-]*+:[^;,?<>" \t]*+)(?P<params>.*)', re.DOTALL)
_PARAM: Final = re.compile(
    rf"[ \t]*+;[ \t]*+(?P<name>{TCHAR}++)(?:[ \t]*+=[ \t]*+(?:{_QUOTED}|(?P<value>{_LOOSE}++)))?+", re.DOTALL
)
_SLASH: Final = r"[ \t]*+/[ \t]*+"
_VIA: Final = re.compile(
    rf"(?P<name>{TCHAR}++){_SLASH}(?P<version>{TCHAR}++){_SLASH}(?P<transport>{TCHAR}++)[ \t]++"
    rf"{_HOST}(?:[ \t]*+:[ \t]*+(?P<port>[0-9]{{1,5}}))?+(?P<params>.*)",
    re.DOTALL,
)
_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Uri:
    """A sip or sips URI (RFC 3261 section 19.1); of any other scheme only ``opaque`` is known."""

    scheme: str
    user: str
    host: str
    port: int | None = None
    params: Mapping[str, str] = field(default_factory=lambda: _NONE, hash=False)
    """Names in lower case; a parameter without a value has ''."""
    password: str = field(default="", repr=False)
    headers: str = field(default="", repr=False)
    opaque: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str) -> Uri:
        """Read a URI that we are to act upon: 416 when its scheme is not SIP's."""
        uri = cls.parse_any(text)
        if uri.opaque:
            raise SipError(416, "the URI has a scheme that is not SIP's")
        return uri

    @classmethod
    def parse_any(cls, text: str) -> Uri:
        """Read a URI that only names somebody: From, To and Contact may have any scheme."""
        found = _SCHEME.fullmatch(text)
        if found is None:
            raise SipError(400, "a URI has no scheme")
        scheme, rest = found[1].lower(), found[2]
        if scheme in {"sip", "sips"}:
            return _sip_uri(scheme, rest)
        if _OPAQUE.fullmatch(rest) is None:
            raise SipError(400, "a URI holds what has to be escaped")
        return cls(scheme, "", "", opaque=rest)

    def __str__(self) -> str:
        if self.opaque:
            return f"{self.scheme}:{self.opaque}"
        password = f":{self.password}" if self.password else ""
        user = f"{self.user}{password}@" if self.user else ""
        params = "".join(f";{name}={value}" if value else f";{name}" for name, value in self.params.items())
        return f"{self.scheme}:{user}{_at(self.host, self.port)}{params}{'?' + self.headers if self.headers else ''}"


@dataclass(frozen=True, slots=True)
class NameAddr:
    """Somebody's address with a name, or without: From, To, Contact, Route, Record-Route (RFC 3261 section 20.10)."""

    uri: Uri
    display: str = ""
    params: Mapping[str, str] = field(default_factory=lambda: _NONE, hash=False)

    @property
    def tag(self) -> str:
        """The tag of From and To; '' without."""
        return self.params.get("tag", "")

    @classmethod
    def parse(cls, text: str) -> NameAddr:
        """Read one value; parameters after a URI without brackets are the header's, not the URI's."""
        text = text.strip(" \t")
        if found := _BARE.fullmatch(text):
            return cls(Uri.parse_any(found["uri"]), "", _params(found["params"]))
        found = _BRACKETED.fullmatch(text)
        if found is None:
            raise SipError(400, "an address is neither a URI nor a name and a URI in brackets")
        words = found["words"]
        display = _PAIR.sub(r"\1", found["quoted"]) if words is None else words.strip(" \t")
        return cls(Uri.parse_any(found["uri"]), display, _params(found["params"]))

    def __str__(self) -> str:
        display = f"{_quote(self.display)} " if self.display else ""
        return f"{display}<{self.uri}>{_spelled(self.params)}"


@dataclass(frozen=True, slots=True)
class Via:
    """One hop of a request, and the way back of its response (RFC 3261 section 20.42)."""

    transport: str
    host: str
    port: int | None = None
    params: Mapping[str, str] = field(default_factory=lambda: _NONE, hash=False)
    protocol: str = "SIP/2.0"

    @property
    def branch(self) -> str:
        """What names the transaction; '' from a peer of before RFC 3261."""
        return self.params.get("branch", "")

    @classmethod
    def parse(cls, text: str) -> Via:
        """Read one value; any transport is accepted, for it may be that of a hop behind the first."""
        found = _VIA.fullmatch(text.strip(" \t"))
        if found is None:
            raise SipError(400, "a Via is not protocol/version/transport host")
        protocol = f"{found['name']}/{found['version']}".upper()
        params = _params(found["params"])
        return cls(found["transport"].upper(), _host(found["host"]), _port(found["port"]), params, protocol)

    def __str__(self) -> str:
        return f"{self.protocol}/{self.transport} {_at(self.host, self.port)}{_spelled(self.params)}"


def _sip_uri(scheme: str, rest: str) -> Uri:
    found = _SIP.fullmatch(rest)
    if found is None:
        raise SipError(400, "a SIP URI is not user@host:port;parameters?headers")
    params: dict[str, str] = {}
    for one in (found["params"] or "").split(";")[1:]:
        name, _, value = one.partition("=")
        _add(params, name, value)
    return Uri(
        scheme,
        _unescaped(found["user"] or ""),
        _host(found["host"]),
        _port(found["port"]),
        MappingProxyType(params),
        found["password"] or "",
        found["headers"] or "",
    )


def _unescaped(user: str) -> str:
    """What need not be escaped is not; the rest is, with capitals."""
    return _ESCAPE.sub(_least, user) if "%" in user else user


def _least(found: re.Match[str]) -> str:
    if found[1] is None:
        raise SipError(400, "a % in a URI is not followed by two hexadecimal digits")
    char = chr(int(found[1], 16))
    return char if _UNRESERVED.fullmatch(char) else found[0].upper()


def _host(text: str) -> str:
    if not text.startswith("["):
        return text.lower()
    try:
        IPv6Address(text[1:-1])
    except AddressValueError as broken:
        raise SipError(400, "what stands in brackets is no IPv6 address") from broken
    return text[1:-1].lower()


def _port(text: str | None) -> int | None:
    if text is None:
        return None
    if not 0 < int(text) < 1 << 16:
        raise SipError(400, "a port is not between 1 and 65535")
    return int(text)


def _at(host: str, port: int | None) -> str:
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"


def _params(text: str) -> Mapping[str, str]:
    params: dict[str, str] = {}
    at = 0
    while at < len(text):
        found = _PARAM.match(text, at)
        if found is None:
            raise SipError(400, "parameters are not ;name=value")
        quoted = found["quoted"]
        _add(params, found["name"], (found["value"] or "") if quoted is None else _PAIR.sub(r"\1", quoted))
        at = found.end()
    return MappingProxyType(params)


def _add(params: dict[str, str], name: str, value: str) -> None:
    """A name stands once (RFC 3261 section 7.3.1): which of two tags would be the one?"""
    name = name.lower()
    if not name or name in params:
        raise SipError(400, "a parameter has no name, or stands twice")
    params[name] = value


def _spelled(params: Mapping[str, str]) -> str:
    return "".join(f";{name}={_value(value)}" if value else f";{name}" for name, value in params.items())


def _value(text: str) -> str:
    return text if re.fullmatch(f"{_LOOSE}+", text) else _quote(text)


def _quote(text: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
