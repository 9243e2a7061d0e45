"""What RFC 3261 §8.2 says to a request before anybody looks at what it wants: methods, hops, extensions, bodies.

Scheme, version and form are the parser's business: 416, 505 and 400 come from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ivr.sip.errors import SipError
from ivr.sip.info import BODIES
from ivr.sip.message import Request

ALLOWED: Final = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO", "UPDATE", "REGISTER")
_REGISTERED: Final = frozenset({*ALLOWED, "MESSAGE", "NOTIFY", "PRACK", "PUBLISH", "REFER", "SUBSCRIBE"})
"""IANA's methods: those that we do not do are not allowed (405), all others are not implemented (501)."""
SDP: Final = "application/sdp"
_SDP_IS_ONE_OF: Final = frozenset({SDP, "application/*", "*/*"})
_BODIES: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {"INVITE": frozenset({SDP}), "UPDATE": frozenset({SDP}), "INFO": BODIES}
)
"""What each method may bring; what others bring is nothing to us."""

ALLOW: Final = ("Allow", ", ".join(ALLOWED))
ACCEPT: Final = ("Accept", ", ".join((SDP, *sorted(BODIES))))
CAPABILITIES: Final = (ALLOW, ACCEPT, ("Accept-Encoding", "identity"), ("Accept-Language", "en"))
"""The answer to OPTIONS (§11.2)."""


class Refusal(SipError):
    """An answer with headers that say what would have been right."""

    def __init__(self, status: int, reason: str, *headers: tuple[str, str]) -> None:
        super().__init__(status, reason)
        self.headers = headers


def look_at_head(request: Request) -> None:
    """What anybody is told: the answer depends on nothing but the request."""
    if request.method not in ALLOWED:
        status = 405 if request.method in _REGISTERED else 501
        raise Refusal(status, "a method that is not spoken here", ALLOW)
    # OPTIONS may be asked for by its hop count (§11); the others have come as far as they will.
    if request.max_forwards == 0 and request.method in {"INVITE", "REGISTER"}:
        raise Refusal(483, "the request has used up its hops")


def _accepts_sdp(request: Request) -> bool:
    """Without Accept a session description is (RFC 3261 §20.1)."""
    named = {one.partition(";")[0].rstrip().lower() for one in request.headers.all("Accept")}
    return "Accept" not in request.headers or bool(named & _SDP_IS_ONE_OF)


def look_at_body(request: Request) -> None:
    """Extensions that must be understood, and what the body is."""
    wanted = request.headers.all("Require")
    if wanted:
        raise Refusal(420, "an extension is required", ("Unsupported", ", ".join(wanted)))
    known = _BODIES.get(request.method)
    if known is None:
        return
    if SDP in known and not _accepts_sdp(request):
        raise SipError(406, "the caller accepts no session description")
    if not request.body:
        return
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refusal(415, "an encoded body", ("Accept-Encoding", "identity"))
    if request.content_type not in known:
        raise Refusal(415, "a body of an unknown type", ("Accept", ", ".join(sorted(known))))
