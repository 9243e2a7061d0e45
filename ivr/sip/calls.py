"""Calls from the invitation to the end: what comes within a dialog, what the shell wants, and what time does."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Final

from ivr.sip import sdp
from ivr.sip.agenda import Agenda
from ivr.sip.call import CALL, LIVE, Call, Phase, Turn, Unacked
from ivr.sip.config import CoreConfig
from ivr.sip.dialog import Dialog, target_of
from ivr.sip.effects import (
    Acknowledged,
    Cancelled,
    Effect,
    Flow,
    Hungup,
    Invited,
    Keyed,
    Login,
    Reoffered,
    Send,
    Why,
)
from ivr.sip.errors import SipError
from ivr.sip.exchange import Asked, Errand, Exchange
from ivr.sip.info import key_of
from ivr.sip.limits import Places, source_of
from ivr.sip.message import Request, reply
from ivr.sip.registrar import Registrar
from ivr.sip.rules import ALLOW, CAPABILITIES, SDP, Refusal, look_at_body
from ivr.sip.transaction import Key

Pairs = tuple[tuple[str, str], ...]
LoginOf = Callable[[str], Login | None]

_LONGEST_AGENT: Final = 200
_TAG: Final = re.compile(rb";[ \t]{0,8}+(?i:tag)[ \t]{0,8}+=[ \t]{0,8}+([0-9a-f]{16})(?![^;,\s])")
"""A tag of ours in a message that nobody has read."""
_TAGS: Final = 4
"""Tags looked at there: From's and To's, and those of whoever tries."""


class Calls:
    """All calls, by our tag."""

    __slots__ = ("_agenda", "_calls", "_config", "_emit", "_entropy", "_exchange", "_login_of", "_places", "_registrar")

    def __init__(
        self,
        config: CoreConfig,
        exchange: Exchange,
        registrar: Registrar,
        entropy: Callable[[int], bytes],
        login_of: LoginOf,
        emit: Callable[[Effect], None],
    ) -> None:
        self._config = config
        self._exchange = exchange
        self._registrar = registrar
        self._entropy = entropy
        self._login_of = login_of
        self._emit = emit
        self._calls: dict[str, Call] = {}
        self._places = Places(config.calls, config.calls_of_source, config.calls_of_mac)
        self._agenda: Agenda[str] = Agenda()

    def __len__(self) -> int:
        """Calls that are not over."""
        return len(self._calls)

    @property
    def due(self) -> float | None:
        """When a call has something to do."""
        return self._agenda.next()

    def within(self, request: Request) -> Call | None:
        """The call in whose dialog a request is."""
        call = self._calls.get(request.to.tag)
        return call if call is not None and call.dialog.is_of(request) else None

    def named(self, data: bytes, flow: Flow) -> bool:
        """Whether unread bytes hold the tag of a call with this host."""
        found = (self._calls.get(one[1].decode("ascii")) for one in islice(_TAG.finditer(data), _TAGS))
        return any(call.flow.shares_host(flow) for call in found if call is not None)

    # --- what comes from the phone --------------------------------------------------------------------

    def invite(self, request: Request, flow: Flow, mac: str, user: str, now: float) -> None:
        """A call from a phone that proved its secret."""
        asked = self._open(request, flow, mac, now)
        tag = self._entropy(8).hex()
        try:
            look_at_body(request)
            offer = sdp.read(request.body) if request.body else None
            dialog = Dialog.of(request, tag, flow)
            source = "" if flow.peer[0] in self._config.trusted else source_of(flow.peer[0])
            if not self._places.take(source, mac):
                raise self._busy()
        except SipError as wrong:
            self._refuse(asked, wrong, tag, now)
            return
        call = Call(dialog, mac, user, source, request.headers.get("User-Agent")[:_LONGEST_AGENT])
        self._calls[call.id] = call
        self._ask_shell(call, asked, Invited(call, offer, mac), now)

    def request(self, call: Call, request: Request, flow: Flow, now: float) -> None:
        """A request within a dialog; everything but ACK and CANCEL."""
        asked = self._open(request, flow, call.mac, now)
        try:
            if not call.dialog.heard(request, flow):
                raise SipError(500, "a request that comes too late")
            look_at_body(request)
            _WITHIN.get(request.method, Calls._unheard_of)(self, call, asked, now)
        except SipError as wrong:
            self._refuse(asked, wrong, call.id, now)

    def acknowledged(self, request: Request, flow: Flow, now: float) -> bool:
        """Whether an ACK was for a 2xx of ours. It cannot be challenged, so only the caller's own host may send it."""
        call = self.within(request)
        if call is None or call.unacked is None or call.unacked.cseq != request.cseq:
            return False
        if not call.flow.shares_host(flow):
            return False
        call.dialog.flow = flow
        self._took_ack(call, request.body if call.unacked.owes else None, now)
        return True

    def waiting(self, request: Request, flow: Flow) -> Call | None:
        """The call that a CANCEL is about, None when it was answered before; SipError 481 when there is none (§9.2)."""
        key = Key.of(request, "INVITE")
        served = self._exchange.served(key)
        if served is None or not served.transaction.flow.shares_host(flow):
            raise SipError(481, "nothing to be cancelled")
        return next((one for one in self._calls.values() if one.asked is not None and one.asked.key == key), None)

    def cancel(self, call: Call, now: float) -> None:
        """The caller wants no answer any more: to his first INVITE, or to one that would change the session."""
        self._answer_asked(call, 487, now)
        if call.phase is Phase.INVITED:
            self._emit(Cancelled(call))
            self._step(call, Turn.CANCEL, None, now)
        self._schedule(call)

    # --- what the shell wants -------------------------------------------------------------------------

    def answer(self, call: Call, body: bytes, now: float) -> None:
        """200 with this SDP to what the caller waits for; nothing when he no longer does."""
        asked = call.asked
        if asked is None:
            return
        if asked.request.headers.get("Contact"):
            call.dialog.refresh(asked.request)
        headers = (("Contact", self._contact(asked)), ALLOW, ("Content-Type", SDP))
        data = self._answer_asked(call, 200, now, headers, body)
        if asked.request.method == "INVITE":
            call.unacked = Unacked.of(data, asked, now)
            self._step(call, Turn.ANSWER, None, now)
        self._schedule(call)

    def ring(self, call: Call, now: float) -> None:
        """180 to a first INVITE."""
        asked = call.asked
        if asked is not None and call.phase is Phase.INVITED:
            headers = (("Contact", self._contact(asked)), ALLOW)
            self._exchange.respond(asked, reply(asked.request, 180, tag=call.id, headers=headers), now)

    def reject(self, call: Call, status: int, now: float, retry_after: int | None) -> None:
        """Refuse what the caller waits for: the call, or only the change of a session that goes on as it was."""
        if call.asked is None:
            return
        headers = () if retry_after is None else (("Retry-After", str(retry_after)),)
        self._answer_asked(call, status, now, headers)
        if call.phase is Phase.INVITED:
            self._step(call, Turn.REJECT, None, now)
        self._schedule(call)

    def bye(self, call: Call, now: float) -> None:
        """Hang up, as soon as the rules let us."""
        if call.phase in LIVE:
            self._leave(call, Why.OURS, now)

    # --- time and connections -------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Send answers again, and give up what has taken too long."""
        while (tag := self._agenda.pop(now)) is not None:
            call = self._calls[tag]
            if call.asked is not None and call.asked_until <= now:
                self._give_up_waiting(call, now)
            elif call.unacked is not None:
                self._wait_for_ack(call, call.unacked, now)
            self._schedule(call)

    def closed(self, flow: Flow, now: float) -> None:
        """The connection is gone, and the calls on it."""
        for call in [one for one in self._calls.values() if one.flow == flow]:
            self._step(call, Turn.LOST, Why.CONNECTION, now)

    def _give_up_waiting(self, call: Call, now: float) -> None:
        self._answer_asked(call, 503, now, (("Retry-After", str(self._config.retry_after)),))
        if call.phase is Phase.INVITED:
            self._step(call, Turn.IDLE, Why.UNANSWERED, now)

    def _wait_for_ack(self, call: Call, unacked: Unacked, now: float) -> None:
        if unacked.until <= now:
            call.unacked = None
            self._say_bye(call, now)
            self._step(call, Turn.NO_ACK, Why.NO_ACK, now)
        else:
            self._emit(Send(call.flow, unacked.data))
            unacked.again(now)

    # --- requests within a dialog ---------------------------------------------------------------------

    def _heard_bye(self, call: Call, asked: Asked, now: float) -> None:
        self._respond(asked, 200, call.id, now)
        self._step(call, Turn.THEY_LEAVE, Why.CALLER, now)

    def _heard_info(self, call: Call, asked: Asked, now: float) -> None:
        request = asked.request
        if request.headers.get("Info-Package"):
            self._respond(asked, 469, call.id, now, (("Recv-Info", ""),), "Bad Info Package")  # RFC 6086 §4.2.2
            return
        key = key_of(request.content_type, request.body) if request.body else ""
        if key is None:
            raise SipError(400, "an INFO whose key cannot be read")
        self._respond(asked, 200, call.id, now)
        if key and call.phase in {Phase.ANSWERED, Phase.TALKING}:
            self._emit(Keyed(call, key))

    def _heard_options(self, call: Call, asked: Asked, now: float) -> None:
        self._respond(asked, 200, call.id, now, CAPABILITIES)

    def _heard_offer(self, call: Call, asked: Asked, now: float) -> None:
        """A re-INVITE or an UPDATE."""
        request = asked.request
        if call.phase not in LIVE:
            raise SipError(481, "the call is over")
        if call.asked is not None:
            later = ("Retry-After", str(self._entropy(1)[0] % 11))
            raise Refusal(500, "the request before it waits for its answer", later)  # §14.2, RFC 3311 §5.2
        if call.unacked is not None and call.unacked.owes:
            raise SipError(491, "our own offer waits for its answer")
        if request.headers.get("Contact"):
            target_of(request)
        if request.method == "UPDATE" and not request.body:
            call.dialog.refresh(request)
            self._respond(asked, 200, call.id, now, (("Contact", self._contact(asked)), ALLOW))
            return
        offer = sdp.read(request.body) if request.body else None
        if request.method == "INVITE" and call.unacked is not None:
            # Nobody may send it before he has our 2xx: the ACK is lost, or late (RFC 5407 §3.1.5).
            self._took_ack(call, None, now)
        self._ask_shell(call, asked, Reoffered(call, offer), now)

    def _unheard_of(self, _call: Call, _asked: Asked, _now: float) -> None:
        raise Refusal(405, "not within a dialog", ALLOW)

    # --- how a call moves -----------------------------------------------------------------------------

    def _ask_shell(self, call: Call, asked: Asked, event: Invited | Reoffered, now: float) -> None:
        call.asked, call.asked_until = asked, now + self._config.patience
        if asked.request.method == "INVITE":
            self._exchange.respond(asked, reply(asked.request, 100), now)
        self._schedule(call)
        self._emit(event)

    def _took_ack(self, call: Call, body: bytes | None, now: float) -> None:
        """``body``: the answer to an offer of ours, None when there was none."""
        call.unacked = None
        self._step(call, Turn.ACK, None, now)
        self._schedule(call)
        if call.phase is Phase.LEAVING:
            self._say_bye(call, now)
            return
        try:
            chosen = None if body is None else sdp.read(body)
        except SipError:
            self._leave(call, Why.NO_SESSION, now)
        else:
            self._emit(Acknowledged(call, chosen))

    def _leave(self, call: Call, why: Why, now: float) -> None:
        if call.asked is not None:
            self._answer_asked(call, 480 if call.phase is Phase.INVITED else 487, now)
        self._step(call, Turn.WE_LEAVE, why, now)
        if call.phase is Phase.LEAVING:
            call.unacked = None
            self._say_bye(call, now)
        self._schedule(call)

    def _say_bye(self, call: Call, now: float) -> None:
        def left(_status: int, at: float) -> None:
            if call.phase is Phase.LEAVING:
                self._step(call, Turn.LEFT, None, at)

        request = call.dialog.request("BYE", self._config)
        if not self._exchange.ask(Errand(request, call.flow, left, self._login_of(call.user)), now):
            left(0, now)

    def _step(self, call: Call, turn: Turn, why: Why | None, now: float) -> None:
        before, call.phase = call.phase, CALL[call.phase, turn]
        if call.phase is Phase.OVER:
            self._forget(call, before, now)
        if why is not None and before in LIVE and call.phase not in LIVE:
            self._emit(Hungup(call, why))

    def _forget(self, call: Call, before: Phase, now: float) -> None:
        if call.asked is not None:
            self._answer_asked(call, 487, now)  # §15.1.2, and whatever else ends a call while its caller waits
        call.unacked = None
        del self._calls[call.id]
        self._agenda.set(call.id, None)
        self._places.free(call.source, call.mac)
        if before is not Phase.INVITED:  # on a connection that is gone it ends with it, in a moment
            self._registrar.lend(call.mac, call.user, call.flow, call.dialog.target, now)

    def _schedule(self, call: Call) -> None:
        if call.phase is not Phase.OVER:
            self._agenda.set(call.id, call.wake)

    # --- answers --------------------------------------------------------------------------------------

    def _open(self, request: Request, flow: Flow, mac: str, now: float) -> Asked:
        asked = self._exchange.open(request, flow, mac, now)
        if asked is None:
            raise self._busy()
        return asked

    def _busy(self) -> Refusal:
        return Refusal(503, "no room", ("Retry-After", str(self._config.retry_after)))

    def _contact(self, asked: Asked) -> str:
        return self._config.contact(asked.flow, asked.request.target().scheme)

    def _refuse(self, asked: Asked, wrong: SipError, tag: str, now: float) -> None:
        self._respond(asked, wrong.status or 400, tag, now, wrong.headers if isinstance(wrong, Refusal) else ())

    def _respond(self, asked: Asked, status: int, tag: str, now: float, headers: Pairs = (), reason: str = "") -> None:
        self._exchange.respond(asked, reply(asked.request, status, reason, tag=tag, headers=headers), now)

    def _answer_asked(self, call: Call, status: int, now: float, headers: Pairs = (), body: bytes = b"") -> bytes:
        """Answer what the shell was asked about; it is asked no more."""
        asked, call.asked = call.asked, None
        assert asked is not None
        response = reply(asked.request, status, tag=call.id, headers=headers, body=body)
        self._exchange.respond(asked, response, now)
        return response.encode()


_Handler = Callable[[Calls, Call, Asked, float], None]
_WITHIN: Final[Mapping[str, _Handler]] = MappingProxyType(
    {
        "BYE": Calls._heard_bye,
        "INFO": Calls._heard_info,
        "OPTIONS": Calls._heard_options,
        "INVITE": Calls._heard_offer,
        "UPDATE": Calls._heard_offer,
    }
)
