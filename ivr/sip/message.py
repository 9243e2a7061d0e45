"""Requests and responses: read once, completely and at bounded cost, or refused with the status that they deserve.

A request of which Via, From, To, Call-ID and CSeq were understood can be answered, whatever else is wrong with it:
``Malformed`` carries it. Content-Length is framing: ``parse`` checks it and takes it away, ``encode`` writes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from ivr.sip.errors import SipError
from ivr.sip.headers import Headers, declared_length, read, unfolded
from ivr.sip.uri import TCHAR, NameAddr, Uri, Via

__all__ = ["LONGEST", "REASONS", "SERVER", "Facts", "Headers", "Malformed", "Request", "Response", "parse", "reply"]

LONGEST: Final = 65_536
"""Bytes of a message; a UDP datagram cannot hold more."""
SERVER: Final = "activation-ivr"
"""What we call ourselves: no version for those who collect them."""

_HOPS: Final = 70
"""Values of Via, Contact, Route or Record-Route: where Max-Forwards begins; real ways have three."""
_MOST_CSEQ: Final = (1 << 31) - 1
"""RFC 3261 section 8.1.1.5."""
_MOST_SECONDS: Final = (1 << 32) - 1
"""RFC 3261 section 20.19; what is more is meant to be long."""
_MOST_FORWARDS: Final = 255
_USUAL_FORWARDS: Final = 70

_METHOD: Final = re.compile(rf"{TCHAR}{{1,64}}")
_VERSION: Final = re.compile(r"SIP/([0-9]{1,4}\.[0-9]{1,4})", re.IGNORECASE)
_STATUS_LINE: Final = re.compile(r"SIP/2\.0 ([1-6][0-9]{2})(?: ([^\x00-\x08\x0a-\x1f\x7f]*+))?", re.IGNORECASE)
_CSEQ: Final = re.compile(rf"([0-9]{{1,32}})[ \t]++({TCHAR}{{1,64}})")
_CALL_ID: Final = re.compile(r"[^\x00-\x20\x7f]++")
_NUMBER: Final = re.compile(r"[0-9]{1,32}")
_REQUEST_URI: Final = re.compile(r"[^\x00-\x20\x7f]++")

_ONCE: Final = ("From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Type", "Expires", "Event")
_ADDRESSES: Final = ("Contact", "Route", "Record-Route")


@dataclass(frozen=True, slots=True)
class Facts:
    """What every message has to say and every answer repeats."""

    vias: tuple[Via, ...]
    from_: NameAddr
    to: NameAddr
    call_id: str
    cseq: int
    cseq_method: str

    @classmethod
    def read(cls, headers: Headers) -> Facts:
        """SipError 400 when one of them is missing or cannot be read."""
        vias = headers.all("Via")
        cseq = _CSEQ.fullmatch(headers.get("CSeq"))
        if not 0 < len(vias) <= _HOPS or cseq is None or not _CALL_ID.fullmatch(headers.get("Call-ID")):
            raise SipError(400, "Via, Call-ID or CSeq is missing or cannot be read")
        sender, receiver = NameAddr.parse(headers.get("From")), NameAddr.parse(headers.get("To"))
        if "" in (sender.params.get("tag"), receiver.params.get("tag")):
            raise SipError(400, "a tag is empty")
        hops = tuple(Via.parse(one) for one in vias)
        return cls(hops, sender, receiver, headers.get("Call-ID"), int(cseq[1]), cseq[2])


class _Message:
    """What requests and responses have in common."""

    __slots__ = ()
    headers: Headers
    body: bytes
    _facts: Facts | None

    @property
    def facts(self) -> Facts:
        """Read by ``parse``; of a message made here, when they are first asked for."""
        facts = self._facts
        if facts is None:
            facts = Facts.read(self.headers)
            object.__setattr__(self, "_facts", facts)
        return facts

    @property
    def vias(self) -> tuple[Via, ...]:
        """The hops, the last one first."""
        return self.facts.vias

    @property
    def from_(self) -> NameAddr:
        """Who asks."""
        return self.facts.from_

    @property
    def to(self) -> NameAddr:
        """Who is asked."""
        return self.facts.to

    @property
    def call_id(self) -> str:
        """Compared byte by byte (RFC 3261 section 20.8)."""
        return self.facts.call_id

    @property
    def cseq(self) -> int:
        """The number in CSeq."""
        return self.facts.cseq

    @property
    def cseq_method(self) -> str:
        """The method in CSeq: of a response, that of its request."""
        return self.facts.cseq_method

    @property
    def max_forwards(self) -> int:
        """70 when nothing is said."""
        number = _number(self.headers.get("Max-Forwards"))
        return _USUAL_FORWARDS if number is None else number

    @property
    def content_type(self) -> str:
        """Lower case, without parameters; '' without."""
        return self.headers.get("Content-Type").partition(";")[0].strip(" \t").lower()

    @property
    def expires(self) -> int | None:
        """Seconds in Expires; None when it is missing or no number (RFC 3261 section 10.2.1.1: as if missing)."""
        number = _number(self.headers.get("Expires"))
        return None if number is None else min(number, _MOST_SECONDS)

    def _encoded(self, start: str) -> bytes:
        lines = [start, *(f"{name}: {value}" for name, value in self.headers.without("Content-Length").items())]
        head = "\r\n".join([*lines, f"Content-Length: {len(self.body)}", "", ""])
        return head.encode("utf-8", "replace") + self.body


@dataclass(frozen=True, slots=True, repr=False)
class Request(_Message):
    """``uri`` stands as it came. The repr shows neither it nor the body: both may hold digits of a code."""

    method: str
    uri: str
    headers: Headers
    body: bytes = b""
    _facts: Facts | None = field(default=None, compare=False)

    def target(self) -> Uri:
        """The Request-URI; SipError 400 or 416 when it is none that we can act upon."""
        uri = Uri.parse(self.uri)
        if uri.headers:
            raise SipError(400, "the Request-URI holds header fields")
        return uri

    def seen_from(self, host: str, port: int) -> Request:
        """With what the receiver adds to the topmost Via (RFC 3261 section 18.2.1, RFC 3581 section 4)."""
        top, *others = self.vias
        params = {name: value for name, value in top.params.items() if name != "received"}
        if "rport" in params:
            params["rport"] = str(port)
        if "rport" in params or top.host != host.lower():
            params["received"] = host
        top = replace(top, params=MappingProxyType(params))
        headers = self.headers.replaced("Via", str(top), *self.headers.all("Via")[1:])
        return replace(self, headers=headers, _facts=replace(self.facts, vias=(top, *others)))

    def encode(self) -> bytes:
        """ValueError when method or URI would break the line they stand in."""
        if not _METHOD.fullmatch(self.method) or not _REQUEST_URI.fullmatch(self.uri):
            raise ValueError("a request line is METHOD URI SIP/2.0, without spaces in either")
        return self._encoded(f"{self.method} {self.uri} SIP/2.0")

    def __repr__(self) -> str:
        return f"Request({self.method}, {len(self.headers)} header fields, {len(self.body)} bytes)"


@dataclass(frozen=True, slots=True, repr=False)
class Response(_Message):
    """An answer, ours or the peer's."""

    status: int
    reason: str
    headers: Headers
    body: bytes = b""
    _facts: Facts | None = field(default=None, compare=False)

    def encode(self) -> bytes:
        """ValueError when status or reason would break the line they stand in."""
        line = f"SIP/2.0 {self.status} {self.reason}"
        if _STATUS_LINE.fullmatch(line) is None:
            raise ValueError("a status line is SIP/2.0 100-699 and words")
        return self._encoded(line)

    def __repr__(self) -> str:
        return f"Response({self.status}, {len(self.headers)} header fields, {len(self.body)} bytes)"


class Malformed(SipError):
    """A request that can be answered and has to be refused."""

    def __init__(self, status: int, reason: str, request: Request | None = None) -> None:
        super().__init__(status, reason)
        self.request = request


def parse(datagram: bytes) -> Request | Response:
    """Read one message; SipError for everything that is none, or that is wrong."""
    if len(datagram) > LONGEST:
        raise SipError(513, f"a message of more than {LONGEST} bytes")
    head, blank, rest = datagram.lstrip(b"\r\n").partition(b"\r\n\r\n")
    start, _, fields = unfolded(head).partition("\r\n")
    if start[:4].upper() == "SIP/":
        return _response(start, fields, _body(head, blank, rest))
    return _request(start, fields, _body(head, blank, rest))


Body = bytes | SipError
"""The body, or why it could not be told where it ends."""


def _body(head: bytes, blank: bytes, rest: bytes) -> Body:
    """RFC 3261 section 18.3: a datagram may hold more than the message, never less."""
    if not blank:
        return SipError(400, "no empty line ends the head")
    try:
        length = declared_length(head)
    except SipError as wrong:
        return wrong
    if length is not None and length > len(rest):
        return SipError(400, "Content-Length is more than there is")
    return rest if length is None else rest[:length]


def _request(start: str, fields: str, body: Body) -> Request:
    line = start.rstrip(" ")
    method, _, tail = line.partition(" ")
    uri, _, protocol = tail.rpartition(" ")
    version = _VERSION.fullmatch(protocol)
    if version is None or not _METHOD.fullmatch(method):
        raise SipError(0, "not a SIP message")
    headers, fault = read(fields)
    request = Request(method, uri, headers, b"" if isinstance(body, SipError) else body, Facts.read(headers))
    try:
        _check_version(version[1])
        _check_framing(fault if line == start else "spaces behind the request line", body)
        _check_request(request)
    except SipError as wrong:
        # An ACK is never answered (RFC 3261 section 17.1.1.3).
        raise Malformed(0 if method == "ACK" else wrong.status, wrong.reason, request) from wrong
    return request


def _response(start: str, fields: str, body: Body) -> Response:
    """Whatever is wrong with a response, nobody waits for an answer to it."""
    line = _STATUS_LINE.fullmatch(start)
    if line is None:
        raise SipError(0, "a status line is not SIP/2.0 100-699 reason")
    headers, fault = read(fields)
    try:
        _check_framing(fault, body)
        facts = Facts.read(headers)
        _check_fields(headers, facts)
    except SipError as wrong:
        raise SipError(0, wrong.reason) from wrong
    assert isinstance(body, bytes)
    return Response(int(line[1]), line[2] or "", headers, body, facts)


def _check_version(version: str) -> None:
    if version != "2.0":
        raise SipError(505, "a version of SIP that is not 2.0")


def _check_framing(fault: str, body: Body) -> None:
    if fault:
        raise SipError(400, fault)
    if isinstance(body, SipError):
        raise body


def _check_request(request: Request) -> None:
    _check_fields(request.headers, request.facts)
    if request.cseq_method != request.method:
        raise SipError(400, "CSeq names another method")
    forwards = request.headers.get("Max-Forwards", "0")
    if (number := _number(forwards)) is None or number > _MOST_FORWARDS:
        raise SipError(400, "Max-Forwards is not a number between 0 and 255")
    request.target()


def _check_fields(headers: Headers, facts: Facts) -> None:
    if any(len(headers.lines(name)) > 1 for name in _ONCE):
        raise SipError(400, "a header field that may stand once stands twice")
    if facts.cseq > _MOST_CSEQ:
        raise SipError(400, "CSeq is 2**31 or more")
    for name in _ADDRESSES:
        _check_addresses(name, headers.all(name))


def _check_addresses(name: str, values: tuple[str, ...]) -> None:
    if len(values) > _HOPS:
        raise SipError(400, f"more than {_HOPS} addresses in {name}")
    for value in values:
        if value != "*" or name != "Contact":
            NameAddr.parse(value)


def _number(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) else None


def reply(
    request: Request,
    status: int,
    reason: str = "",
    *,
    tag: str = "",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
) -> Response:
    """The response to a request (RFC 3261 section 8.2.6); ``tag`` is added to a To that has none."""
    asked = request.headers
    pairs = [("Via", line) for line in asked.lines("Via")]
    if request.method == "INVITE" and 100 < status < 300:
        pairs += [("Record-Route", line) for line in asked.lines("Record-Route")]
    mark = f";tag={tag}" if tag and not request.to.tag else ""
    pairs += [("From", asked.get("From")), ("To", asked.get("To") + mark)]
    pairs += [("Call-ID", request.call_id), ("CSeq", f"{request.cseq} {request.cseq_method}")]
    if status == 100 and "Timestamp" in asked:
        pairs.append(("Timestamp", asked.get("Timestamp")))
    pairs += [("Server", SERVER), *headers]
    return Response(status, reason or REASONS.get(status, "Refused"), Headers(pairs), body)


REASONS: Final[Mapping[int, str]] = MappingProxyType(
    {
        100: "Trying",
        180: "Ringing",
        183: "Session Progress",
        200: "OK",
        202: "Accepted",
        400: "Bad Request",
        401: "Unauthorized",
        403: "Forbidden",
        404: "Not Found",
        405: "Method Not Allowed",
        406: "Not Acceptable",
        407: "Proxy Authentication Required",
        408: "Request Timeout",
        413: "Request Entity Too Large",
        415: "Unsupported Media Type",
        416: "Unsupported URI Scheme",
        420: "Bad Extension",
        421: "Extension Required",
        423: "Interval Too Brief",
        480: "Temporarily Unavailable",
        481: "Call/Transaction Does Not Exist",
        482: "Loop Detected",
        483: "Too Many Hops",
        486: "Busy Here",
        487: "Request Terminated",
        488: "Not Acceptable Here",
        489: "Bad Event",
        491: "Request Pending",
        500: "Server Internal Error",
        501: "Not Implemented",
        503: "Service Unavailable",
        505: "Version Not Supported",
        513: "Message Too Large",
        600: "Busy Everywhere",
        603: "Decline",
    }
)
"""The usual words of RFC 3261 section 21, RFC 3265 and RFC 6665."""
