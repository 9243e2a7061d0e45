"""A dialog as its callee sees it (RFC 3261 §12): who talks to whom, on which way, and in which order."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ivr.sip.config import CoreConfig
from ivr.sip.effects import Flow
from ivr.sip.errors import SipError
from ivr.sip.headers import Headers
from ivr.sip.message import Request
from ivr.sip.uri import NameAddr, Uri


@dataclass(slots=True)
class Dialog:
    """Made of the INVITE; later requests move its target, its flow and its order."""

    call_id: str
    local_tag: str
    remote_tag: str
    local: str
    """From of our requests: the INVITE's To with our tag."""
    remote: str
    target: Uri
    """Where the caller's Contact says that it is."""
    routes: tuple[str, ...]
    """The INVITE's Record-Route, in its order: the callee's route set is not reversed (§12.1.1)."""
    remote_cseq: int
    flow: Flow
    """All that we say goes there, whatever host the target names: the last on which the caller was heard, from a host
    to which a nonce was sent with which he proved himself."""
    local_cseq: int = 0

    @classmethod
    def of(cls, request: Request, tag: str, flow: Flow) -> Dialog:
        """The dialog that an INVITE without To tag begins."""
        to = request.headers.get("To")
        return cls(
            request.call_id,
            tag,
            request.from_.tag,
            f"{to};tag={tag}",
            request.headers.get("From"),
            target_of(request),
            request.headers.all("Record-Route"),
            request.cseq,
            flow,
        )

    def is_of(self, request: Request) -> bool:
        """Whether a request that names our tag belongs here (§12.2.2)."""
        return request.call_id == self.call_id and request.from_.tag == self.remote_tag

    def heard(self, request: Request, flow: Flow) -> bool:
        """Whether a proven request is in order. One with a number that was used is a copy that came too late."""
        if request.cseq <= self.remote_cseq:  # §12.2.2
            return False
        self.remote_cseq = request.cseq
        self.flow = flow
        return True

    def refresh(self, request: Request) -> None:
        """The target moves with each re-INVITE and UPDATE that is granted."""
        if request.headers.get("Contact"):
            self.target = target_of(request)

    def request(self, method: str, config: CoreConfig) -> Request:
        """The next request of ours in this dialog, without its Via (§12.2.1.1)."""
        self.local_cseq += 1
        uri, routes = self._way()
        headers = [
            *(("Route", route) for route in routes),
            ("Max-Forwards", "70"),
            ("From", self.local),
            ("To", self.remote),
            ("Call-ID", self.call_id),
            ("CSeq", f"{self.local_cseq} {method}"),
            ("Contact", config.contact(self.flow)),
        ]
        return Request(method, str(uri), Headers(headers))

    def _way(self) -> tuple[Uri, tuple[str, ...]]:
        """Request-URI and Route. A first proxy without ``lr``, a strict router, wants to stand in the Request-URI."""
        if not self.routes:
            return self.target, ()
        first = NameAddr.parse(self.routes[0]).uri
        if "lr" in first.params:
            return self.target, self.routes
        return first, (*self.routes[1:], f"<{self.target}>")


def target_of(request: Request) -> Uri:
    """The Contact that a request which makes or moves a dialog must have, exactly one (§12.1.1)."""
    contacts = request.headers.all("Contact")
    if len(contacts) != 1:
        raise SipError(400, "not exactly one Contact")
    uri = NameAddr.parse(contacts[0]).uri
    if uri.opaque:
        raise SipError(400, "a Contact that SIP cannot reach")
    return replace(uri, headers="")  # they have no place in a Request-URI (§19.1.1)
