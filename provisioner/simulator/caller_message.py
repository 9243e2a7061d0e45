"""SIP as a simulated phone reads and writes it (RFC 3261 sections 7 and 25); what it cannot read it does not answer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from provisioner.errors import ProvisionerError

LARGEST: Final = 65_536
"""Bytes of one message."""
_COMPACT: Final = {
    "c": "content-type",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "o": "event",
    "s": "subject",
    "t": "to",
    "v": "via",
}
_STATUS: Final = re.compile(r"SIP/2\.0 ([1-6][0-9]{2})(?: [^\r\n]*)?")
_REQUEST: Final = re.compile(r"([A-Z]{1,32}) ([^ ]{1,8192}) SIP/2\.0")
_FOLD: Final = re.compile(r"\r\n[ \t]+")
_LENGTH: Final = re.compile(r"[0-9]{1,6}")
_CSEQ: Final = re.compile(r"([0-9]{1,10})[ \t]+([A-Z]{1,32})")
_TAG: Final = re.compile(r";\s*tag\s*=\s*([^;,\s]+)", re.IGNORECASE)
_BRANCH: Final = re.compile(r";\s*branch\s*=\s*([^;,\s]+)", re.IGNORECASE)
_BRACKETS: Final = re.compile(r"<([^<>]*)>")
# A comma divides a list where it stands neither in quotes nor in angle brackets.
_ENTRY: Final = re.compile(r'(?:"(?:[^"\\]|\\.)*"|<[^<>]*>|[^,"<])+')


class Garbled(ProvisionerError):
    """What came is no SIP message."""

    kind = "garbled"


@dataclass(frozen=True, slots=True)
class Message:
    """A request or a response; names of headers are in lower case."""

    first: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def method(self) -> str:
        """Of a request; empty for a response."""
        return "" if self.status else self.first.partition(" ")[0]

    @property
    def status(self) -> int:
        """Of a response; 0 for a request."""
        found = _STATUS.fullmatch(self.first)
        return int(found[1]) if found else 0

    @property
    def told(self) -> str:
        """The status with its words, as people read them."""
        return self.first.removeprefix("SIP/2.0 ")

    def one(self, name: str) -> str:
        """The first value of a header; empty where there is none."""
        return next((value for held, value in self.headers if held == name), "")

    def all(self, name: str) -> list[str]:
        """Every header of that name as it stands."""
        return [value for held, value in self.headers if held == name]

    def entries(self, name: str) -> list[str]:
        """Every value of a list header, joined by commas or not."""
        return [one.strip() for value in self.all(name) for one in _ENTRY.findall(value) if one.strip()]

    @property
    def branch(self) -> str:
        """Of the topmost Via: the name of the transaction."""
        found = _BRANCH.search(next(iter(self.entries("via")), ""))
        return found[1] if found else ""

    @property
    def cseq(self) -> tuple[int, str]:
        """Number and method; 0 and nothing where there is none that can be read."""
        found = _CSEQ.fullmatch(self.one("cseq"))
        return (int(found[1]), found[2]) if found else (0, "")

    def tag(self, name: str) -> str:
        """The tag of From or To."""
        found = _TAG.search(self.one(name).rpartition(">")[2])
        return found[1] if found else ""

    def encode(self) -> bytes:
        """As it goes out, with its length."""
        lines = [self.first, *(f"{_titled(name)}: {value}" for name, value in self.headers)]
        lines += [f"Content-Length: {len(self.body)}", "", ""]
        return "\r\n".join(lines).encode() + self.body


def _titled(name: str) -> str:
    return {"cseq": "CSeq", "call-id": "Call-ID"}.get(name) or "-".join(one.capitalize() for one in name.split("-"))


def request(method: str, uri: str, headers: Iterable[tuple[str, str]], body: bytes = b"") -> Message:
    """A request; its headers in the order given."""
    return Message(f"{method} {uri} SIP/2.0", tuple(headers), body)


def response(
    asked: Message, status: str, tag: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
) -> Message:
    """The answer to a request, with what has to be copied from it (section 8.2.6.2)."""
    to = asked.one("to")
    copied = [*(("via", value) for value in asked.all("via")), ("from", asked.one("from"))]
    copied += [("to", to if asked.tag("to") else f"{to};tag={tag}")]
    copied += [("call-id", asked.one("call-id")), ("cseq", asked.one("cseq"))]
    return Message(f"SIP/2.0 {status}", (*copied, *headers), body)


def read(data: bytes) -> Message:
    """One datagram, or one message of a stream; Garbled when it is none."""
    head, end, body = data[:LARGEST].partition(b"\r\n\r\n")
    if not end:
        raise Garbled("a head without an end")
    first, *lines = _FOLD.sub(" ", head.decode("utf-8", "replace")).split("\r\n")
    if not (_STATUS.fullmatch(first) or _REQUEST.fullmatch(first)):
        raise Garbled("the first line is no SIP")
    message = Message(first, tuple(_header(line) for line in lines))
    length = message.one("content-length")
    if not length:
        return Message(first, message.headers, body)
    if not _LENGTH.fullmatch(length) or int(length) > len(body):
        raise Garbled("the length is not that of the body")
    return Message(first, message.headers, body[: int(length)])


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name.strip():
        raise Garbled("a line without a colon")
    lower = name.strip().lower()
    return _COMPACT.get(lower, lower), value.strip()


def body_length(head: bytes) -> int:
    """Bytes that follow a stream's head; Garbled where it does not say so (section 18.3)."""
    found = re.search(rb"(?:^|\n)(?:content-length|l)[ \t]*:[ \t]*([0-9]{1,6})[ \t]*\r", head, re.IGNORECASE)
    if found is None or int(found[1]) > LARGEST:
        raise Garbled("a stream's message has to tell its length")
    return int(found[1])


def uri_of(value: str) -> str:
    """The URI in a Contact or a Route, with or without its brackets."""
    found = _BRACKETS.search(value)
    return found[1] if found else value.partition(";")[0].strip()
