"""The user agent server and registrar of the IVR (RFC 3261 §8.2, §10.3): bytes, the time and wishes in, effects out.

State begins with a right digest, and goes on with a tag that only a caller can know, from the host that showed the
digest; all else is said at the door.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, NamedTuple

from ivr.sip.call import Call
from ivr.sip.calls import Calls
from ivr.sip.config import CoreConfig
from ivr.sip.door import Door, SecretOf
from ivr.sip.effects import Close, Effect, Flow, Login, Notified, Stranger
from ivr.sip.errors import SipError
from ivr.sip.exchange import Errand, Exchange
from ivr.sip.headers import Headers
from ivr.sip.message import Malformed, Request, parse, reply
from ivr.sip.registrar import Registrar
from ivr.sip.rules import CAPABILITIES, Refusal, look_at_body, look_at_head
from ivr.sip.transaction import Key


class Held(NamedTuple):
    """How much is held, for metrics."""

    calls: int
    transactions: int
    registrations: int
    sources: int


class Core:
    """One IVR. Each method returns what is to be done, in order; ``now`` never goes back."""

    __slots__ = (
        "_calls",
        "_config",
        "_door",
        "_entropy",
        "_exchange",
        "_out",
        "_registrar",
        "dropped",
    )

    def __init__(self, config: CoreConfig, secret_of: SecretOf, entropy: Callable[[int], bytes]) -> None:
        self._config = config
        self._entropy = entropy
        self._out: list[Effect] = []
        self._exchange = Exchange(config, entropy, self._emit)
        self._registrar = Registrar(config, self._emit)
        registered, key = self._registrar.is_registered, entropy(32)
        self._door = Door(config, secret_of, key, self._emit, registered=registered, told=self._told)
        self._calls = Calls(config, self._exchange, self._registrar, entropy, self._door.login_of, self._emit)
        self.dropped = self._door.dropped
        """How many messages got no further, by reason."""

    @property
    def held(self) -> Held:
        """What there is at the moment."""
        return Held(len(self._calls), len(self._exchange), len(self._registrar), len(self._door))

    # --- from the network -----------------------------------------------------------------------------

    def feed(self, data: bytes, flow: Flow, now: float) -> list[Effect]:
        """One datagram, or one message of a stream."""
        if not self._door.admits(data, flow, now):
            return []
        if len(data) > self._config.longest(flow.peer[0]):
            self.dropped[Stranger.GARBAGE] += 1
            self._end(flow, now)
            return self._taken()
        try:
            message = parse(data)
        except SipError as wrong:
            self._unreadable(wrong, flow, len(data))
        else:
            if isinstance(message, Request):
                self._asked(message, flow, len(data), now)
            elif self._exchange.answered(message, flow, now):
                self._door.credits(flow, "", now)
        return self._taken()

    def closed(self, flow: Flow, now: float) -> list[Effect]:
        """A connection is gone."""
        self._lose(flow, now)
        return self._taken()

    # --- time -----------------------------------------------------------------------------------------

    def due(self) -> float | None:
        """When ``tick`` wants to be called; never while nothing waits for anything."""
        times = (self._exchange.due, self._calls.due, self._registrar.due)
        return min((one for one in times if one is not None), default=None)

    def tick(self, now: float) -> list[Effect]:
        """Do what has become due."""
        self._exchange.tick(now)
        self._calls.tick(now)
        self._registrar.tick(now)
        return self._taken()

    # --- the shell's wishes ---------------------------------------------------------------------------

    def ring(self, call: Call, now: float) -> list[Effect]:
        """Tell the caller that he will have to wait a little."""
        self._calls.ring(call, now)
        return self._taken()

    def answer(self, call: Call, body: bytes, now: float) -> list[Effect]:
        """Answer an Invited or a Reoffered with a session description."""
        self._calls.answer(call, body, now)
        return self._taken()

    def reject(self, call: Call, status: int, now: float, retry_after: int | None = None) -> list[Effect]:
        """Refuse an Invited or a Reoffered; after the latter the call goes on as it was."""
        if not 300 <= status <= 699:
            raise ValueError("a rejection is 300-699")
        self._calls.reject(call, status, now, retry_after)
        return self._taken()

    def bye(self, call: Call, now: float) -> list[Effect]:
        """Hang up."""
        self._calls.bye(call, now)
        return self._taken()

    def notify(
        self,
        where: str | Flow,
        event: str,
        headers: Iterable[tuple[str, str]],
        now: float,
        token: str,
        credentials: Login | None = None,
    ) -> list[Effect]:
        """Send a NOTIFY on the flow on which a phone registered or has just called; ``token`` comes back in Notified.

        A challenge is answered with ``credentials``, or else with the secret that the phone itself proved to know.
        ValueError for a line break in any of it.
        """
        bound = self._registrar.reach(where)
        if bound is None:
            return [Notified(token, 0)]
        host = self._config.address or bound.flow.local[0]
        at = f"[{host}]" if ":" in host else host
        asked = Headers(
            (
                *(("Route", one) for one in bound.path),
                ("Max-Forwards", "70"),
                ("From", f"<sip:{self._config.user}@{at}>;tag={self._entropy(8).hex()}"),
                ("To", f"<sip:{bound.mac}@{at}>"),
                ("Call-ID", self._entropy(16).hex()),
                ("CSeq", "1 NOTIFY"),
                ("Contact", self._config.contact(bound.flow)),
                ("Event", event),
                ("Subscription-State", "terminated"),
                *headers,
            )
        )
        request = Request("NOTIFY", str(replace(bound.contact, headers="")), asked)  # RFC 3261 §19.1.1
        login = credentials or self._door.login_of(bound.user)

        def done(status: int, _at: float) -> None:
            self._emit(Notified(token, status))

        if not self._exchange.ask(Errand(request, bound.flow, done, login), now):
            self._emit(Notified(token, 503))
        return self._taken()

    # --- requests -------------------------------------------------------------------------------------

    def _unreadable(self, wrong: SipError, flow: Flow, size: int) -> None:
        """A request that can be answered is told what is wrong with it, unless it is for somebody else."""
        request = wrong.request if isinstance(wrong, Malformed) else None
        if request is None or not wrong.status:
            self.dropped[Stranger.GARBAGE] += 1
        elif not self._door.knows_as_scanner(request) and self._door.welcomes(request, flow):
            self._door.refuse(request.seen_from(*flow.peer), flow, size, wrong)

    def _asked(self, request: Request, flow: Flow, size: int, now: float) -> None:
        if self._door.knows_as_scanner(request):
            self._end(flow, now)
            return
        request = request.seen_from(*flow.peer)
        try:
            if request.method == "ACK" and self._calls.acknowledged(request, flow, now):
                self._door.credits(flow, "", now)
            elif not self._is_copy(request, flow, now) and request.method != "ACK":
                self._new(request, flow, size, now)
        except SipError as wrong:
            self._door.refuse(request, flow, size, wrong)

    def _is_copy(self, request: Request, flow: Flow, now: float) -> bool:
        """Whether it is a copy of what was proven, or the ACK to its refusal. Copies count as their phone's messages,
        and anybody can have overheard one: it is answered to nobody but the host that proved the first.
        """
        served = self._exchange.served(Key.of(request))
        if served is None:
            return False
        if served.transaction.flow.shares_host(flow) and self._door.credits(flow, served.mac, now):
            self._exchange.repeat(request, flow, now)
        return True

    def _new(self, request: Request, flow: Flow, size: int, now: float) -> None:
        call = None if request.method in {"REGISTER", "CANCEL"} else self._calls.within(request)
        if call is not None:
            if self._is_callers(call, request, flow, now):
                look_at_head(request)
                self._calls.request(call, request, flow, now)
            return
        if not self._door.welcomes(request, flow):
            return
        look_at_head(request)
        if request.method == "CANCEL":
            self._cancel(request, flow, size, now)
            return
        if self._exchange.is_ours(request) or self._exchange.is_merged(request):
            raise SipError(482, "a request that has come before, on another way")
        if request.method not in _OUTSIDE or (request.to.tag and request.method != "REGISTER"):
            raise SipError(481, "a dialog that is not known")
        _OUTSIDE[request.method](self, request, flow, size, now)

    def _is_callers(self, call: Call, request: Request, flow: Flow, now: float) -> bool:
        """From the host that proved itself; another host, a phone's that has moved or an eavesdropper's, has to."""
        if call.flow.shares_host(flow):
            return self._door.credits(flow, call.mac, now)
        found = self._door.proves(request, flow, now)
        if found is not None and found.mac != call.mac:
            raise SipError(481, "another phone's dialog")
        return found is not None

    def _cancel(self, request: Request, flow: Flow, size: int, now: float) -> None:
        call = self._calls.waiting(request, flow)
        self._door.tell(request, flow, size, 200, tag=call.id if call else "")
        if call is not None:
            self._calls.cancel(call, now)

    def _options(self, request: Request, flow: Flow, size: int, _now: float) -> None:
        look_at_body(request)
        self._door.tell(request, flow, size, 200, CAPABILITIES)

    def _invite(self, request: Request, flow: Flow, _size: int, now: float) -> None:
        found = self._door.proves(request, flow, now)
        if found is not None:
            self._calls.invite(request, flow, found.mac, found.user, now)

    def _register(self, request: Request, flow: Flow, _size: int, now: float) -> None:
        found = self._door.proves(request, flow, now)
        if found is None:
            return
        asked = self._exchange.open(request, flow, found.mac, now)
        if asked is None:
            raise Refusal(503, "no room", ("Retry-After", str(self._config.retry_after)))
        # The answer goes out first: a shell that is told of a registration may send on its flow at once.
        before, self._out[:] = self._out[:], []
        try:
            look_at_body(request)
            status, headers = 200, self._registrar.register(request, flow, found.mac, found.user, now)
        except SipError as wrong:
            status, headers = wrong.status, wrong.headers if isinstance(wrong, Refusal) else ()
        told, self._out[:] = self._out[:], before
        self._exchange.respond(asked, reply(request, status, tag=self._door.tag(request), headers=headers), now)
        self._out += told

    def _told(self, data: bytes, flow: Flow) -> bool:
        """Whether unread bytes name a call or a request of ours that only this host has been told of."""
        return self._calls.named(data, flow) or self._exchange.named(data, flow)

    # --- effects --------------------------------------------------------------------------------------

    def _end(self, flow: Flow, now: float) -> None:
        """A connection that is good for nothing is closed; whoever lies about a sender ends nothing."""
        if flow.reliable:
            self._emit(Close(flow))
            self._lose(flow, now)

    def _lose(self, flow: Flow, now: float) -> None:
        self._exchange.closed(flow, now)
        self._calls.closed(flow, now)
        self._registrar.closed(flow)

    def _emit(self, effect: Effect) -> None:
        self._out.append(effect)

    def _taken(self) -> list[Effect]:
        taken, self._out[:] = self._out[:], []
        return taken


_Handler = Callable[[Core, Request, Flow, int, float], None]
_OUTSIDE: Final[Mapping[str, _Handler]] = MappingProxyType(
    {"INVITE": Core._invite, "REGISTER": Core._register, "OPTIONS": Core._options}
)
