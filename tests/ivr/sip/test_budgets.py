"""Who may speak while others flood: a lie about a sender silences nobody who can be told from the liar."""

from __future__ import annotations

from dataclasses import replace

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from sip_phone import KEY, OTHER, Heard, Line, Phone, reply, tcp, udp

from ivr.sip import core
from ivr.sip.budgets import Budgets
from ivr.sip.config import CoreConfig
from ivr.sip.core import Core
from ivr.sip.effects import Credential, Flow, Hungup, Keyed, Stranger, Why
from ivr.sip.message import parse

OFFICE = "192.0.2.17"
SLOW = CoreConfig(KEY, rate=1, burst=10)
REGISTRAR = "sip:ivr.example.com"


def flood(line: Line, host: str = OFFICE, messages: int = 300, port: int | None = None) -> None:
    """Datagrams that say that they are from there; a liar does not know the ports behind a NAT, unless told here."""
    for number in range(messages):
        line.core.feed(Phone(call_id="lie").request("OPTIONS"), udp(host, port or 10_000 + number), line.now)


def inform(phone: Phone) -> bytes:
    return phone.request("INFO", body=b"Signal=5\r\n", kind="application/dtmf-relay")


# --- a flood of lies --------------------------------------------------------------------------------------


def test_a_flood_of_lies_stops_who_has_proved_nothing_and_no_other_address() -> None:
    line = Line(SLOW)
    flood(line)
    assert line.say(Phone().request("REGISTER", uri=REGISTRAR), udp()) == []
    assert line.core.dropped[Stranger.TOO_MANY] == 291
    line.register(Phone(mac=OTHER, flow=udp("192.0.2.18"), call_id="other"))
    assert line.core.held.registrations == 1
    line.wait(2.0)
    assert line.say(Phone().request("REGISTER", uri=REGISTRAR), udp())


def test_registered_phones_go_on_within_a_flood_that_bears_their_address() -> None:
    line, phone = Line(SLOW), Phone()
    line.register(phone)
    flood(line)
    line.talk(phone)  # a stranger's INVITE at first, from a flow on which a phone is registered
    flood(line)
    assert [one.status for one in line.say(inform(phone), phone.flow)] == [200]


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_who_is_connected_hears_nothing_of_lies_over_udp(transport: str) -> None:
    line = Line(SLOW)
    flood(line)
    phone = Phone(flow=tcp(transport=transport))
    line.register(phone)
    line.talk(phone)
    assert [one.status for one in line.say(inform(phone), phone.flow)] == [200]


def test_a_call_of_a_phone_that_never_registered_goes_on_by_its_tag() -> None:
    line, phone = Line(SLOW), Phone()
    call = line.invite(phone)
    line.answer(call, phone)
    flood(line)
    line.feed(phone.request("ACK", cseq=phone.cseq), phone.flow)
    effects = line.feed(inform(phone), phone.flow)
    assert Keyed(call, "5") in effects
    (bye,) = line.heard(line.note(line.core.bye(call, line.now)))
    flood(line)
    line.feed(reply(bye, 200), phone.flow)
    assert line.core.held.calls == 0, "its answer was heard, by the branch of our request"


def test_somebody_elses_tag_opens_nothing() -> None:
    line, phone = Line(SLOW), Phone()
    line.talk(phone)
    flood(line, "203.0.113.99")
    assert line.say(inform(phone), udp("203.0.113.99", 53)) == []


def test_who_was_sent_a_nonce_gets_in_within_a_flood() -> None:
    line, phone = Line(SLOW), Phone()
    (challenged,) = line.say(phone.request("REGISTER", uri=REGISTRAR), phone.flow)
    elsewhere = udp("192.0.2.18")
    (another,) = line.say(phone.request("REGISTER", uri=REGISTRAR), elsewhere)
    flood(line)
    forged = phone.proof(another.get("WWW-Authenticate"), "REGISTER", REGISTRAR)
    assert line.say(phone.request("REGISTER", forged, uri=REGISTRAR), phone.flow) == [], "it was sent elsewhere"
    proof = phone.proof(challenged.get("WWW-Authenticate"), "REGISTER", REGISTRAR)
    assert [one.status for one in line.say(phone.request("REGISTER", proof, uri=REGISTRAR), phone.flow)] == [200]


def test_who_has_proved_itself_and_says_too_much_is_not_read_without_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own budget, its flow's and what shows a nonce: 10, 10 and 100 here; not each of 3000 copies."""
    line, phone, reads = Line(SLOW), Phone(), []
    (challenged,) = line.say(phone.request("REGISTER", uri=REGISTRAR), phone.flow)
    proof = phone.proof(challenged.get("WWW-Authenticate"), "REGISTER", REGISTRAR)
    copy = phone.request("REGISTER", proof, uri=REGISTRAR)
    monkeypatch.setattr(core, "parse", lambda data: reads.append(data) or parse(data))
    for _ in range(3000):
        line.core.feed(copy, phone.flow, line.now)
    assert len(reads) <= 10 + 10 + 100
    line.register(Phone(mac=OTHER, flow=udp("192.0.2.18"), call_id="other"))
    line.wait(20.0)
    assert line.say(copy, phone.flow), "and later it is heard again"


def test_lies_that_name_a_phones_own_port_do_not_end_its_call() -> None:
    line, phone = Line(SLOW), Phone()
    line.register(phone)
    call = line.talk(phone)
    flood(line, port=phone.flow.peer[1])
    assert line.say(Phone(call_id="new").request("OPTIONS"), phone.flow) == [], "its flow's budget is used up"
    assert Keyed(call, "5") in line.feed(inform(phone), phone.flow)
    assert Hungup(call, Why.CALLER) in line.feed(phone.request("BYE"), phone.flow)


def test_what_shows_a_nonce_has_its_budget_too() -> None:
    """Who sits in the office, and so receives there, floods no more than ten offices' worth."""
    line, phone = Line(SLOW), Phone()
    (challenged,) = line.say(phone.request("REGISTER", uri=REGISTRAR), phone.flow)
    shown = challenged.get("WWW-Authenticate").replace("Digest", "X-Shown: Digest")
    answers = [line.say(Phone().request("OPTIONS", shown), udp(port=9)) for _ in range(400)]
    assert sum(map(bool, answers)) == 9 + 100


def test_all_strangers_together_have_a_budget() -> None:
    line = Line(replace(SLOW, strangers=50.0))
    phone = Phone()
    line.register(phone)
    answered = 0
    for number in range(1000):
        flow = udp(f"203.0.{number // 250}.{number % 250}")
        answered += bool(line.core.feed(Phone(call_id="lie").request("OPTIONS"), flow, line.now))
    assert answered == 49, "fifty, and one was the phone's first REGISTER"
    assert [one.status for one in line.say(phone.request("OPTIONS"), phone.flow)] == [200]
    connected = Phone(mac=OTHER, flow=tcp(5, "203.0.113.9"), call_id="tcp")
    line.register(connected)
    line.wait(1.0)
    assert line.say(Phone(call_id="late").request("OPTIONS"), udp("203.0.113.77"))


# --- an office --------------------------------------------------------------------------------------------


class Office:
    """So many phones behind one address, all of which begin to speak at once."""

    def __init__(self, phones: int) -> None:
        macs = [f"00156500{number:04x}" for number in range(phones)]
        self.line = Line(CoreConfig(KEY))
        self.secrets = {mac: Credential(mac, f"s3cret-{mac}") for mac in macs}
        self.line.core = Core(self.line.config, self.secrets.get, self.line.rng.randbytes)
        self.macs = macs

    def phone(self, number: int, flow: Flow) -> Phone:
        mac = self.macs[number]
        return Phone(mac=mac, flow=flow, secret=f"s3cret-{mac}", call_id=f"reg-{mac}")


def test_500_phones_on_connections_behind_one_address_register_at_once() -> None:
    office = Office(500)
    for number in range(500):
        office.line.register(office.phone(number, tcp(number + 1, OFFICE, 10_000 + number)))
    assert office.line.core.held.registrations == 500
    assert office.line.core.dropped[Stranger.TOO_MANY] == 0


def test_500_phones_on_udp_behind_one_address_register_before_they_give_up() -> None:
    """Each repeats its request as RFC 3261 §17.1.2 says: after 0.5, 1, 2, 4, 4, ... s, and gives up after 32."""
    office = Office(500)
    line = office.line
    phones = [office.phone(number, udp(OFFICE, 10_000 + number)) for number in range(500)]
    waiting = {number: [0.0, 0.5] for number in range(500)}  # when next, and after how long then
    began = line.now
    while waiting and line.now - began < 32:
        for number in [one for one, (due, _) in waiting.items() if due <= line.now - began]:
            phone = phones[number]
            if answers := line.say(phone.request("REGISTER", uri=REGISTRAR), phone.flow):
                prove(line, phone, answers[0])
                del waiting[number]
            else:
                pause = waiting[number][1]
                waiting[number] = [line.now - began + pause, min(2 * pause, 4.0)]
        line.now += 0.1
    assert line.core.held.registrations == 500


def prove(line: Line, phone: Phone, challenged: Heard) -> None:
    proof = phone.proof(challenged.get("WWW-Authenticate"), "REGISTER", REGISTRAR)
    (granted,) = line.say(phone.request("REGISTER", proof, uri=REGISTRAR), phone.flow)
    assert granted.status == 200


def test_a_connection_that_asks_too_much_is_heard_no_more_than_ten_offices_worth() -> None:
    line = Line(SLOW)
    answers = [line.say(Phone().request("OPTIONS"), tcp(number % 7 + 1)) for number in range(500)]
    assert sum(map(bool, answers)) == 100
    assert line.say(Phone().request("OPTIONS"), tcp(99, "192.0.2.99")), "another address"


# --- what always holds ------------------------------------------------------------------------------------

flows = st.builds(
    lambda kind, host, port: udp(f"192.0.2.{host}", 5000 + port) if kind else tcp(port + 1, f"192.0.2.{host}"),
    st.booleans(),
    st.integers(0, 30),
    st.integers(0, 30),
)


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.tuples(flows, st.booleans(), st.booleans(), st.floats(0, 0.1)), max_size=150))
def test_memory_is_bounded_whoever_comes(messages: list[tuple[Flow, bool, bool, float]]) -> None:
    config = CoreConfig(KEY, rate=5, burst=3, sources=8)
    budgets, now = Budgets(config, lambda flow: flow.peer[1] % 3 == 0, lambda data, _flow, _now: data == b"t"), 0.0
    for flow, told, proves, pause in messages:
        now += pause
        if budgets.admits(b"t" if told else b"", flow, now) and proves:
            budgets.credit(f"mac{flow.peer[1]}", now)
        assert len(budgets) <= 4 * config.sources


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.tuples(st.integers(1, 400), st.integers(1024, 65_535)), max_size=20))
def test_a_registered_phone_that_keeps_to_its_rate_is_never_refused(lies: list[tuple[int, int]]) -> None:
    """Whatever datagrams claim to come from its address, as long as they do not name its port."""
    config = CoreConfig(KEY, rate=20, burst=60)
    mine = udp(port=1000)
    budgets, now = Budgets(config, lambda flow: flow == mine, lambda _data, _flow, _now: False), 0.0
    for many, port in lies:
        now += 1 / config.rate
        for _ in range(many):
            budgets.admits(b"", udp(port=port), now)
        assert budgets.admits(b"", mine, now)


def test_what_is_given_back_is_what_was_taken() -> None:
    """A message that nobody admitted, or that was given back already, earns nothing."""
    budgets = Budgets(SLOW, lambda _flow: False, lambda _data, _flow, _now: False)
    for _ in range(30):
        if budgets.admits(b"", udp(), 1.0):
            budgets.credit("", 1.0)
            budgets.credit("", 1.0)
    admitted = [budgets.admits(b"", udp(), 1.0) for _ in range(12)]
    assert admitted == [True] * 10 + [False] * 2
    budgets.credit("", 1.0)
    assert not budgets.admits(b"", udp(), 1.0)


def test_users_of_the_old_flow_are_strangers_again_when_a_registration_ends() -> None:
    line, phone = Line(SLOW), Phone()
    line.register(phone, "Expires: 60")
    line.wait(61.0)
    flood(line)
    assert line.say(phone.request("OPTIONS"), phone.flow) == []
