"""Where each phone can be reached: one binding a Mac, kept with the flow on which the phone proved its secret."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from ivr.sip.agenda import Agenda
from ivr.sip.config import CoreConfig
from ivr.sip.effects import Effect, Flow, Registered, Unregistered
from ivr.sip.errors import SipError
from ivr.sip.message import Request
from ivr.sip.rules import Refusal
from ivr.sip.uri import NameAddr, Uri

_CONTACTS: Final = 10
"""Contacts, or proxies in the Path, of one REGISTER; a phone sends one Contact, or its old one and its new one."""
_LONGEST_WAY: Final = 2048
"""Characters of a Contact and its Path, which are kept as long as the registration."""
_LONGEST_AGENT: Final = 200
"""Characters kept of a User-Agent."""

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Bound:
    """One phone's binding."""

    mac: str
    user: str
    """The name with which it proved its secret."""
    flow: Flow
    contact: Uri
    call_id: str
    cseq: int
    until: float
    path: tuple[str, ...] = ()
    """Proxies that want to be passed on the way to the phone (RFC 3327)."""
    lent: bool = False
    """Not registered: known from its call, for a little while."""


class Wish(NamedTuple):
    """A Contact and for how long."""

    contact: Uri
    seconds: int


class Registrar:
    """All bindings; ``emit`` hears of those that come and go."""

    __slots__ = ("_agenda", "_bound", "_config", "_emit", "_on")

    def __init__(self, config: CoreConfig, emit: Callable[[Effect], None]) -> None:
        self._config = config
        self._emit = emit
        self._bound: dict[str, Bound] = {}
        self._on: defaultdict[Flow, set[str]] = defaultdict(set)
        self._agenda: Agenda[str] = Agenda()

    def __len__(self) -> int:
        """Bindings held, lent ones too."""
        return len(self._bound)

    @property
    def due(self) -> float | None:
        """When the next binding ends."""
        return self._agenda.next()

    def register(self, request: Request, flow: Flow, mac: str, user: str, now: float) -> Pairs:
        """Do what a REGISTER of this phone asks for (§10.3); the headers of its 200."""
        contacts = request.headers.all("Contact")
        held = self._bound.get(mac)
        if contacts and held is not None and held.call_id == request.call_id and request.cseq <= held.cseq:
            raise Refusal(500, "a REGISTER older than the one that was granted")
        if contacts == ("*",):
            self._take_back_all(request, mac)
        elif contacts:
            self._bind(request, self._wishes(request, contacts), flow, mac, user, now)
        return self._told(mac, now)

    def reach(self, where: str | Flow) -> Bound | None:
        """The binding of a Mac, or the only one on a flow: a proxy's flow is many phones' and means none of them."""
        if isinstance(where, str):
            return self._bound.get(where)
        macs = self._on.get(where, set())
        return self._bound[next(iter(macs))] if len(macs) == 1 else None

    def is_registered(self, flow: Flow) -> bool:
        """Whether phones have proved themselves on this flow, and may be told something on it."""
        return flow in self._on

    def lend(self, mac: str, user: str, flow: Flow, contact: Uri, now: float) -> None:
        """A phone that calls without being registered can be told to restart for a while after its call."""
        held = self._bound.get(mac)
        if (held is None or held.lent) and len(self._bound) < self._config.registrations:
            self._keep(Bound(mac, user, flow, contact, "", 0, now + self._config.reach, lent=True))

    def tick(self, now: float) -> None:
        """End what has expired."""
        while (mac := self._agenda.pop(now)) is not None:
            self._end(mac)

    def closed(self, flow: Flow) -> None:
        """The connection is gone: nobody can be told anything on it (RFC 5626 §5.3)."""
        for mac in sorted(self._on.get(flow, ())):
            self._end(mac)

    def _bind(self, request: Request, wishes: list[Wish], flow: Flow, mac: str, user: str, now: float) -> None:
        kept = next((wish for wish in wishes if wish.seconds), None)
        if kept is None:
            held = self._bound.get(mac)
            if held is not None and any(_same(held.contact, wish.contact) for wish in wishes):
                self._end(mac)
            return
        if mac not in self._bound and len(self._bound) >= self._config.registrations:
            raise Refusal(503, "no room for another registration", ("Retry-After", str(self._config.retry_after)))
        seconds = min(kept.seconds, self._config.most_expires)
        path = request.headers.all("Path")
        if len(path) > _CONTACTS or sum(map(len, path)) + len(str(kept.contact)) > _LONGEST_WAY:
            raise SipError(400, "too long a Path or Contact")
        self._keep(Bound(mac, user, flow, kept.contact, request.call_id, request.cseq, now + seconds, path))
        agent = request.headers.get("User-Agent")[:_LONGEST_AGENT]
        self._emit(Registered(mac, flow, str(kept.contact), seconds, agent))

    def _take_back_all(self, request: Request, mac: str) -> None:
        if request.headers.get("Expires") != "0":
            raise SipError(400, "Contact * stands for taking back, with Expires: 0")
        self._end(mac)

    def _wishes(self, request: Request, contacts: tuple[str, ...]) -> list[Wish]:
        if len(contacts) > _CONTACTS or "*" in contacts:
            raise SipError(400, "too many Contacts, or * among others")
        named = request.headers.get("Expires")
        wishes = [self._wish(NameAddr.parse(one), named) for one in contacts]
        if any(0 < wish.seconds < self._config.least_expires for wish in wishes):
            raise Refusal(423, "too short a time", ("Min-Expires", str(self._config.least_expires)))
        return wishes

    def _wish(self, contact: NameAddr, named: str) -> Wish:
        if contact.uri.opaque:
            raise SipError(400, "a Contact that SIP cannot reach")
        told = contact.params.get("expires", named)
        known = told.isascii() and told.isdigit() and len(told) <= 10
        return Wish(contact.uri, int(told) if known else self._config.expires)

    def _told(self, mac: str, now: float) -> Pairs:
        held = self._bound.get(mac)
        if held is None or held.lent:
            return ()
        left = max(0, round(held.until - now))
        path = tuple(("Path", one) for one in held.path)
        return (("Contact", f"<{held.contact}>;expires={left}"), ("Expires", str(left)), *path)

    def _keep(self, bound: Bound) -> None:
        before = self._bound.get(bound.mac)
        if before is not None:
            self._leave(before)
        self._bound[bound.mac] = bound
        self._on[bound.flow].add(bound.mac)
        self._agenda.set(bound.mac, bound.until)

    def _end(self, mac: str) -> None:
        bound = self._bound.pop(mac, None)
        if bound is None:
            return
        self._agenda.set(mac, None)
        self._leave(bound)
        if not bound.lent:
            self._emit(Unregistered(mac))

    def _leave(self, bound: Bound) -> None:
        self._on[bound.flow].discard(bound.mac)
        if not self._on[bound.flow]:
            del self._on[bound.flow]


def _same(one: Uri, other: Uri) -> bool:
    """Near enough to RFC 3261 §19.1.4 for a phone that names its own address."""
    return (one.user, one.host, one.port or 5060) == (other.user, other.host, other.port or 5060)
