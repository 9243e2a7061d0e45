"""Header fields in their order, found by name in any case or form, and unable to hold a line break.

A field that is a list (Via, Contact, Supported, ...) is read value by value, however its lines were joined by commas.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from ivr.sip.errors import SipError
from ivr.sip.uri import TCHAR

MOST: Final = 128
"""Header fields of a message; a phone behind three proxies sends thirty."""

_COMPACT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "a": "Accept-Contact",
        "b": "Referred-By",
        "c": "Content-Type",
        "d": "Request-Disposition",
        "e": "Content-Encoding",
        "f": "From",
        "i": "Call-ID",
        "j": "Reject-Contact",
        "k": "Supported",
        "l": "Content-Length",
        "m": "Contact",
        "n": "Identity-Info",
        "o": "Event",
        "r": "Refer-To",
        "s": "Subject",
        "t": "To",
        "u": "Allow-Events",
        "v": "Via",
        "x": "Session-Expires",
        "y": "Identity",
    }
)
"""Compact forms as IANA registers them."""
_SINGLE: Final = (
    "Authorization",
    "CSeq",
    "Content-Disposition",
    "Date",
    "Expires",
    "MAC",
    "Max-Forwards",
    "MIME-Version",
    "Min-Expires",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Reason",
    "Retry-After",
    "Server",
    "Subscription-State",
    "Timestamp",
    "User-Agent",
    "WWW-Authenticate",
)
_LISTS: Final = (
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Allow",
    "Allow-Events",
    "Contact",
    "Content-Encoding",
    "Content-Language",
    "Diversion",
    "P-Asserted-Identity",
    "Path",
    "Proxy-Require",
    "Record-Route",
    "Require",
    "Route",
    "Service-Route",
    "Supported",
    "Unsupported",
    "Via",
    "Warning",
)
_SPELLED: Final[Mapping[str, str]] = MappingProxyType(
    {name.lower(): name for name in (*_COMPACT.values(), *_SINGLE, *_LISTS)} | dict(_COMPACT)
)
_LISTED: Final = frozenset(name.lower() for name in _LISTS)

_NAME: Final = re.compile(rf"{TCHAR}{{1,128}}")
_LINE: Final = re.compile(rf"({TCHAR}{{1,128}}+)[ \t]*+:([^\r\n]*+)")
_ITEM: Final = re.compile(r'(?:[^",<]++|"[^"\\]*+(?:\\.[^"\\]*+)*+"|<[^>]*+>)*+', re.DOTALL)
_NEXT: Final = re.compile(r",[, \t]*+|$")
_FOLD: Final = re.compile(r"\r\n[ \t]++")
_LENGTH: Final = re.compile(rb"\r\n(?:content-length|l)[ \t]*+:([^\r\n]*+(?:\r\n[ \t][^\r\n]*+)*+)", re.IGNORECASE)
_DIGITS: Final = re.compile(rb"[0-9]{1,9}")


class Headers:
    """Immutable. Compact names are expanded, known names get their usual spelling; a line break is a ValueError."""

    __slots__ = ("_index", "_pairs")

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._pairs = tuple((_checked_name(name), _checked_value(value)) for name, value in pairs)
        index: dict[str, list[str]] = {}
        for name, value in self._pairs:
            index.setdefault(name.lower(), []).append(value)
        self._index = index

    def get(self, name: str, default: str = "") -> str:
        """The first value."""
        values = self.all(name)
        return values[0] if values else default

    def all(self, name: str) -> tuple[str, ...]:
        """Every value; those of a list one by one."""
        lines = self.lines(name)
        if not lines or spelled(name).lower() not in _LISTED:
            return lines
        return tuple(value for line in lines for value in split(line))

    def lines(self, name: str) -> tuple[str, ...]:
        """Every field of that name as it came, lists unsplit."""
        return tuple(self._index.get(spelled(name).lower(), ()))

    def items(self) -> tuple[tuple[str, str], ...]:
        """All fields in their order, lists unsplit."""
        return self._pairs

    def with_(self, *pairs: tuple[str, str]) -> Headers:
        """These added behind the others; what has the same name stays."""
        return Headers((*self._pairs, *pairs))

    def without(self, name: str) -> Headers:
        """All others."""
        gone = spelled(name).lower()
        return Headers(pair for pair in self._pairs if pair[0].lower() != gone)

    def replaced(self, name: str, *values: str) -> Headers:
        """These values where the first field of that name stands, or at the end when there is none."""
        key = spelled(name).lower()
        at = next((place for place, pair in enumerate(self._pairs) if pair[0].lower() == key), len(self._pairs))
        behind = [pair for pair in self._pairs[at:] if pair[0].lower() != key]
        return Headers([*self._pairs[:at], *((name, value) for value in values), *behind])

    def __contains__(self, name: str) -> bool:
        return spelled(name).lower() in self._index

    def __len__(self) -> int:
        return len(self._pairs)

    def __eq__(self, other: object) -> bool:
        return self._pairs == other._pairs if isinstance(other, Headers) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._pairs)

    def __repr__(self) -> str:
        """Names only: credentials are among the values."""
        return f"Headers({', '.join(name for name, _ in self._pairs)})"


def spelled(name: str) -> str:
    """The usual spelling of a field's name; an unknown one keeps its own."""
    return _SPELLED.get(name.lower(), name)


def split(value: str) -> list[str]:
    """The values of a list, empty ones left out; a comma in quotes or brackets separates nothing."""
    if '"' not in value and "<" not in value:
        return [one for part in value.split(",") if (one := part.strip(" \t"))]
    found, at = [], 0
    while at < len(value):
        item = _ITEM.match(value, at)
        end = item.end() if item else at
        behind = _NEXT.match(value, end)
        if behind is None:  # quotes or brackets that are never closed take all the rest
            found.append(value[at:])
            break
        found.append(value[at:end])
        at = behind.end()
    return [one for part in found if (one := part.strip(" \t"))]


def unfolded(head: bytes) -> str:
    """The head as text, continued lines joined (RFC 3261 section 7.3.1); a byte that is not UTF-8 becomes a ?."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError:
        # Not U+FFFD: an answer that repeats a header must not be three times as long as what came.
        text = head.decode("utf-8", "surrogateescape").encode("utf-8", "replace").decode("utf-8")
    return _FOLD.sub(" ", text)


def read(text: str) -> tuple[Headers, str]:
    """The fields of an unfolded head, Content-Length left out, and what is wrong with its lines; '' when nothing is."""
    lines = [line for line in text.split("\r\n") if line] if text else []
    fault = f"more than {MOST} header fields" if len(lines) > MOST else ""
    pairs = []
    for line in lines[:MOST]:
        if found := _LINE.fullmatch(line):
            pairs.append((found[1], found[2]))
        else:
            fault = fault or "a header line is not name: value"
    return Headers(pair for pair in pairs if spelled(pair[0]) != "Content-Length"), fault


def declared_length(head: bytes) -> int | None:
    """What Content-Length says in a raw head, None without; the one reading of it for datagrams and streams."""
    found = [re.sub(rb"[\r\n\t ]+", b" ", value).strip() for value in _LENGTH.findall(head)]
    if not found:
        return None
    if len(found) > 1:
        raise SipError(400, "Content-Length stands twice")
    if _DIGITS.fullmatch(found[0]) is None:
        raise SipError(400, "Content-Length is not a number")
    return int(found[0])


def _checked_name(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise ValueError("a header field's name is not a token")
    return spelled(name)


def _checked_value(value: str) -> str:
    if "\r" in value or "\n" in value:
        raise ValueError("a header field's value holds a line break")
    return value.strip(" \t")
