"""Any order of messages, losses and clock ticks: nothing is raised, nothing leaks, nobody unheard of is sent to."""

from __future__ import annotations

from effort import examples
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sip_phone import ANSWER, HOLD, KEY, SDP, SECRETS, US, Heard, Line, Phone, reply, tcp, udp

from ivr.sip.call import LIVE, Call
from ivr.sip.config import CoreConfig
from ivr.sip.effects import (
    Cancelled,
    Close,
    Effect,
    Flow,
    Hungup,
    Invited,
    Notified,
    Reoffered,
    Send,
)

MACS = [mac for mac in SECRETS if len(mac) == 12][:4]
CONFIG = CoreConfig(KEY, rate=50, burst=100, calls=3, calls_of_mac=2, transactions=12, errands=4, registrations=3)

picked = st.integers(0, 3)
lost = st.sampled_from([False, False, False, True])


class Anything(RuleBasedStateMachine):
    """Four phones and a shell, none of whom keeps to any order."""

    @initialize(connected=st.lists(st.booleans(), min_size=4, max_size=4))
    def begin(self, connected: list[bool]) -> None:
        self.line = Line(CONFIG)
        self.phones = [
            Phone(mac=mac, flow=tcp(n + 1) if connected[n] else udp(port=6000 + n), call_id=f"call{n}-{mac}")
            for n, mac in enumerate(MACS)
        ]
        self.proofs: list[str] = ["", "", "", ""]
        self.calls: list[Call] = []
        self.ended: dict[str, str] = {}
        self.rejected: set[str] = set()
        self.known: set[Flow] = set()
        self.asked: list[tuple[Flow, Heard]] = []
        self.spoken: list[tuple[Flow, bytes]] = []
        self.tokens: dict[str, int] = {}

    # --- what happens to effects ------------------------------------------------------------------------

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                assert effect.flow in self.known
                self.hear(effect.flow, Heard(effect.data))
            elif isinstance(effect, Close):
                self.known.discard(effect.flow)
            elif isinstance(effect, Invited):
                self.calls.append(effect.call)
            elif isinstance(effect, Reoffered):
                assert effect.call in self.calls
            elif isinstance(effect, Hungup | Cancelled):
                assert effect.call.id not in self.ended, "a call ends once"
                assert effect.call.id not in self.rejected
                self.ended[effect.call.id] = type(effect).__name__
            elif isinstance(effect, Notified):
                self.tokens[effect.token] -= 1
                assert self.tokens[effect.token] == 0, "each NOTIFY has one outcome"

    def hear(self, flow: Flow, heard: Heard) -> None:
        if heard.method:
            self.asked.append((flow, heard))
            return
        for number, phone in enumerate(self.phones):
            if phone.flow == flow and phone.call_id == heard.get("Call-ID"):
                if heard.status == 401:
                    self.proofs[number] = heard.get("WWW-Authenticate")
                elif heard.status == 200 and heard.get("CSeq").endswith("INVITE"):
                    phone.to_tag = heard.tag()

    def say(self, data: bytes, flow: Flow, dropped: bool = False) -> None:
        self.spoken.append((flow, data))
        if not dropped:
            self.known.add(flow)
            self.take(self.line.core.feed(data, flow, self.line.now))

    # --- phones -----------------------------------------------------------------------------------------

    @rule(number=picked, proved=st.booleans(), body=st.sampled_from([b"", SDP]), dropped=lost)
    def invite(self, number: int, proved: bool, body: bytes, dropped: bool) -> None:
        phone, uri = self.phones[number], f"sip:{US}"
        headers = [phone.proof(self.proofs[number], "INVITE", uri)] if proved and self.proofs[number] else []
        self.say(phone.request("INVITE", *headers, uri=uri, to_tag="", body=body), phone.flow, dropped)

    @rule(
        number=picked,
        body=st.sampled_from([b"", SDP, SDP]),
        how_far=st.sampled_from(["asked", "answered", "talk", "talk"]),
    )
    def dial(self, number: int, body: bytes, how_far: str) -> None:
        """What phones and shells do most of the time; the other rules then come between."""
        phone = self.phones[number]
        self.invite(number, False, b"", False)
        before = len(self.calls)
        self.invite(number, True, body, False)
        if len(self.calls) == before or how_far == "asked":
            return
        invited = phone.cseq
        self.take(self.line.core.answer(self.calls[-1], ANSWER, self.line.now))
        if how_far == "talk":
            self.say(phone.request("ACK", cseq=invited, body=b"" if body else SDP), phone.flow)

    @rule(number=picked)
    def enrol(self, number: int) -> None:
        self.register(number, False, 3600, False)
        self.register(number, True, 3600, False)

    @rule(number=picked, proved=st.booleans(), seconds=st.sampled_from([0, 30, 60, 3600]), dropped=lost)
    def register(self, number: int, proved: bool, seconds: int, dropped: bool) -> None:
        phone, uri = self.phones[number], "sip:198.51.100.7"
        headers = [phone.proof(self.proofs[number], "REGISTER", uri)] if proved and self.proofs[number] else []
        self.say(phone.request("REGISTER", f"Expires: {seconds}", *headers, uri=uri), phone.flow, dropped)

    @rule(
        number=picked,
        method=st.sampled_from(["ACK", "BYE", "INFO", "UPDATE", "OPTIONS", "INVITE", "FOO", "ACK", "ACK"]),
        body=st.sampled_from([b"", SDP, HOLD, b"Signal=5\r\n"]),
        back=st.sampled_from([0, 0, 1]),
        dropped=lost,
    )
    def within(self, number: int, method: str, body: bytes, back: int, dropped: bool) -> None:
        phone = self.phones[number]
        cseq = phone.cseq if method == "ACK" else phone.cseq + 1 - back
        phone.cseq = max(phone.cseq, cseq)
        kind = "application/dtmf-relay" if body.startswith(b"Signal") else "application/sdp"
        self.say(phone.request(method, cseq=cseq, body=body, kind=kind), phone.flow, dropped)

    @precondition(lambda self: any(call.phase in LIVE for call in self.calls))
    @rule(
        data=st.data(),
        method=st.sampled_from(["BYE", "INFO", "UPDATE", "OPTIONS", "INVITE", "ACK"]),
        body=st.sampled_from([b"", SDP, HOLD, b"Signal=5\r\n"]),
        moves=st.booleans(),
    )
    def within_a_live_call(self, data: st.DataObject, method: str, body: bytes, moves: bool) -> None:
        call = data.draw(st.sampled_from([one for one in self.calls if one.phase in LIVE]))
        number = MACS.index(call.mac)
        phone = self.phones[number]
        phone.to_tag = call.id
        if moves and not phone.flow.reliable:
            phone.flow = udp(port=phone.flow.peer[1] + 10)
        self.within(number, method, body, 0, False)

    @precondition(lambda self: self.spoken)
    @rule(data=st.data())
    def again(self, data: st.DataObject) -> None:
        flow, message = data.draw(st.sampled_from(self.spoken[-8:]))
        self.say(message, flow)

    @precondition(lambda self: self.spoken)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        flow, message = data.draw(st.sampled_from(self.spoken[-8:]))
        if message.startswith(b"INVITE"):
            self.say(message.replace(b"INVITE", b"CANCEL").replace(b"Require", b"X"), flow)

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), status=st.sampled_from([100, 200, 401, 407, 404, 481, 503]))
    def answer_us(self, data: st.DataObject, status: int) -> None:
        flow, heard = data.draw(st.sampled_from(self.asked[-8:]))
        if flow in self.known:
            name = "Proxy-Authenticate" if status == 407 else "WWW-Authenticate"
            self.say(reply(heard, status, f'{name}: Digest realm="p", nonce="n", qop="auth"'), flow)

    @rule(number=picked)
    def lose_connection(self, number: int) -> None:
        phone = self.phones[number]
        if phone.flow.reliable and phone.flow in self.known:
            self.known.discard(phone.flow)
            self.take(self.line.core.closed(phone.flow, self.line.now))
            phone.flow = tcp(phone.flow.key + 100)

    # --- the shell --------------------------------------------------------------------------------------

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), wish=st.sampled_from(["answer", "answer", "answer", "ring", "reject", "bye"]))
    def shell(self, data: st.DataObject, wish: str) -> None:
        call = data.draw(st.sampled_from(self.calls[-4:]))
        core, now = self.line.core, self.line.now
        if wish == "reject" and call.phase == "invited":
            self.rejected.add(call.id)
        self.take(
            core.answer(call, ANSWER, now)
            if wish == "answer"
            else core.ring(call, now)
            if wish == "ring"
            else core.reject(call, 486, now)
            if wish == "reject"
            else core.bye(call, now)
        )

    @rule(number=picked, by_flow=st.booleans())
    def notify(self, number: int, by_flow: bool) -> None:
        token = f"t{len(self.tokens)}"
        self.tokens[token] = 1
        where = self.phones[number].flow if by_flow else MACS[number]
        self.take(self.line.core.notify(where, "check-sync", (), self.line.now, token))

    # --- time -------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 4.0, 5.0, 31.9, 33.0]), lazy=st.booleans())
    def wait(self, seconds: float, lazy: bool) -> None:
        if lazy:
            self.line.now += seconds
            self.take(self.line.core.tick(self.line.now))
        else:
            self.take(self.line.wait(seconds))

    # --- what always holds ------------------------------------------------------------------------------

    @invariant()
    def everything_is_bounded(self) -> None:
        if not hasattr(self, "line"):
            return
        held = self.line.core.held
        assert held.calls <= CONFIG.calls
        assert held.transactions <= CONFIG.transactions + CONFIG.calls + CONFIG.errands
        assert held.registrations <= CONFIG.registrations
        assert len([call for call in self.calls if call.phase in LIVE]) <= held.calls

    def teardown(self) -> None:
        """The shell hangs up what it still has, and everybody falls silent."""
        if not hasattr(self, "line"):
            return
        for call in self.calls:
            self.take(self.line.core.bye(call, self.line.now))
        self.take(self.line.wait(40))
        assert self.line.core.held.calls == 0
        for call in self.calls:
            assert (call.id in self.ended) != (call.id in self.rejected), "each call has one end"
        self.take(self.line.wait(30))
        assert self.line.core.held.transactions == 0
        assert all(outcome == 0 for outcome in self.tokens.values())
        self.take(self.line.wait(3600))
        assert self.line.core.held[:3] == (0, 0, 0)
        assert self.line.core.due() is None


TestAnything = Anything.TestCase
TestAnything.settings = settings(
    max_examples=examples(120), stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
