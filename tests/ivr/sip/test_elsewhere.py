"""What comes within a call from another host than the one that proved itself: lies over UDP, and phones that move."""

from __future__ import annotations

import pytest
from sip_phone import ANSWER, HOLD, OTHER, US, Heard, Line, Phone, reply, tcp, udp

from ivr.sip.call import Call, Phase
from ivr.sip.config import CoreConfig
from ivr.sip.effects import Acknowledged, Effect, Flow, Hungup, Keyed, Reoffered, Send, Stranger, Why

ELSEWHERE = udp("203.0.113.99", 53)
KEY = b"k" * 32


def inform(phone: Phone, *headers: str, uri: str = "") -> bytes:
    return phone.request("INFO", *headers, uri=uri, body=b"Signal=5\r\n", kind="application/dtmf-relay")


def proven(line: Line, phone: Phone, method: str, flow: Flow, body: bytes = b"", kind: str = "") -> list[Effect]:
    """Within the dialog, from there, with the challenge answered."""
    (challenged,) = line.say(phone.request(method, body=body, kind=kind), flow)
    assert challenged.status == 401, challenged
    proof = phone.proof(challenged.get("WWW-Authenticate"), method, phone.target)
    return line.feed(phone.request(method, proof, body=body, kind=kind), flow)


def sent_to(effects: list[Effect]) -> set[Flow]:
    return {one.flow for one in effects if isinstance(one, Send)}


def answered(line: Line, phone: Phone) -> Call:
    call = line.invite(phone)
    line.answer(call, phone)
    return call


@pytest.mark.parametrize("flow", [ELSEWHERE, tcp(9, "203.0.113.99")])
def test_an_ack_from_another_host_is_nobodys(flow: Flow) -> None:
    line, phone = Line(), Phone()
    call = answered(line, phone)
    acknowledgement = phone.request("ACK", cseq=phone.cseq)
    assert line.feed(acknowledgement, flow) == []
    assert (call.flow, call.phase) == (phone.flow, Phase.ANSWERED)
    assert line.feed(acknowledgement, udp(port=7777)) == [Acknowledged(call, None)]
    assert call.flow == udp(port=7777)


@pytest.mark.parametrize("method", ["INFO", "BYE", "UPDATE", "INVITE", "OPTIONS"])
@pytest.mark.parametrize("flow", [ELSEWHERE, tcp(9, "203.0.113.99")])
def test_a_request_from_another_host_has_to_prove_itself(method: str, flow: Flow) -> None:
    line, phone = Line(), Phone()
    call = line.talk(phone)
    body, kind = (b"Signal=5\r\n", "application/dtmf-relay") if method == "INFO" else (b"", "")
    effects = line.feed(phone.request(method, body=body, kind=kind), flow)
    assert [one.status for one in line.heard(effects)] == [401]
    assert len(effects) == 1
    assert (call.flow, call.phase) == (phone.flow, Phase.TALKING)


def test_a_phone_that_proves_itself_on_another_host_is_obeyed() -> None:
    line, phone = Line(), Phone()
    call = line.talk(phone)
    effects = proven(line, phone, "INFO", ELSEWHERE, b"Signal=5\r\n", "application/dtmf-relay")
    assert Keyed(call, "5") in effects
    effects = line.feed(phone.request("BYE"), ELSEWHERE)
    assert Hungup(call, Why.CALLER) in effects, "once is enough"
    assert sent_to(effects) == {ELSEWHERE}


@pytest.mark.parametrize("there", [ELSEWHERE, tcp(9, "203.0.113.99")])
def test_a_proof_moves_the_call_to_where_its_nonce_was_sent(there: Flow) -> None:
    line, phone = Line(), Phone()
    call = line.talk(phone)
    effects = proven(line, phone, "UPDATE", there, HOLD, "application/sdp")
    assert any(isinstance(one, Reoffered) for one in effects)
    line.note(line.core.answer(call, ANSWER, line.now))
    assert call.flow == there
    assert sent_to(line.core.bye(call, line.now)) == {there}


@pytest.mark.parametrize("method", ["INFO", "BYE", "UPDATE", "INVITE"])
def test_a_nonce_that_was_sent_elsewhere_moves_nothing(method: str) -> None:
    """Whoever has the phone's secret and lies about where he is cannot receive what is sent there."""
    line, phone = Line(), Phone()
    call = line.talk(phone)
    (challenged,) = line.say(phone.request(method), udp("203.0.113.5", 999))
    proof = phone.proof(challenged.get("WWW-Authenticate"), method, phone.target)
    effects = line.feed(phone.request(method, proof), ELSEWHERE)
    (again,) = line.heard(effects)
    assert (again.status, again.get("WWW-Authenticate").endswith("stale=true")) == (401, True)
    assert len(effects) == 1
    assert (call.flow, call.phase) == (phone.flow, Phase.TALKING)
    proof = phone.proof(again.get("WWW-Authenticate"), method, phone.target)
    assert line.heard(line.feed(phone.request(method, proof), ELSEWHERE))[0].status != 401, "with the next nonce"


@pytest.mark.parametrize("method", ["REGISTER", "INVITE"])
def test_what_was_overheard_registers_and_calls_nobody_from_elsewhere(method: str) -> None:
    line, phone = Line(), Phone()
    line.register(phone) if method == "REGISTER" else line.invite(phone)
    before = line.core.held
    line.wait(70.0)  # no transaction remembers it
    effects = line.feed(line.last.replace(b"branch=z9hG4bK", b"branch=z9hG4bKother"), ELSEWHERE)
    assert [(one.status, "stale=true" in one.get("WWW-Authenticate")) for one in line.heard(effects)] == [(401, True)]
    assert len(effects) == 1
    assert line.core.held.registrations == (before.registrations if method == "REGISTER" else 0)


def test_a_nonce_counts_through_any_of_our_own_proxies() -> None:
    proxies = udp("192.0.2.50"), udp("192.0.2.51")
    line = Line(CoreConfig(KEY, trusted=frozenset(one.peer[0] for one in proxies)))
    phone = Phone(flow=proxies[0])
    (challenged,) = line.say(phone.request("REGISTER", uri="sip:ivr.example.com"), proxies[0])
    proof = phone.proof(challenged.get("WWW-Authenticate"), "REGISTER", "sip:ivr.example.com")
    data = phone.request("REGISTER", proof, uri="sip:ivr.example.com")
    assert [one.status for one in line.say(data, proxies[1])] == [200]


def test_another_phones_secret_does_not_open_a_dialog() -> None:
    line, phone = Line(), Phone()
    call = line.talk(phone)
    thief = Phone(mac=OTHER, call_id=phone.call_id, tag=phone.tag, cseq=50, to_tag=phone.to_tag, target=phone.target)
    (refused,) = line.heard(proven(line, thief, "BYE", ELSEWHERE))
    assert refused.status == 481
    assert call.phase is Phase.TALKING


def test_a_cancel_from_another_host_is_for_nothing() -> None:
    line, phone = Line(), Phone()
    call = line.invite(phone)
    branch = Heard(line.last).get("Via").rsplit("branch=")[1]
    cancel = phone.request("CANCEL", uri=f"sip:{US}", cseq=phone.cseq, branch=branch)
    assert [one.status for one in line.say(cancel, ELSEWHERE)] == [481]
    assert call.phase is Phase.INVITED
    assert [one.status for one in line.say(cancel, udp(port=7777))] == [200, 487]
    assert call.phase is Phase.OVER


def test_an_answer_to_our_request_counts_only_from_the_host_that_was_asked() -> None:
    line, phone = Line(), Phone()
    call = line.talk(phone)
    (bye,) = line.heard(line.note(line.core.bye(call, line.now)))
    challenge = 'WWW-Authenticate: Digest realm="phone", nonce="n1", algorithm=MD5, qop="auth"'
    assert line.feed(reply(bye, 401, challenge), ELSEWHERE) == []
    assert line.feed(reply(bye, 200), ELSEWHERE) == []
    assert line.core.held.calls == 1
    line.feed(reply(bye, 200), udp(port=7777))
    assert line.core.held.calls == 0


# --- copies of what was proven ----------------------------------------------------------------------------


def test_a_copy_is_answered_to_the_host_that_proved_the_first_and_to_no_other() -> None:
    line, phone = Line(), Phone()
    line.invite(phone)
    assert line.feed(line.last, ELSEWHERE) == []
    assert sent_to(line.feed(line.last, udp(port=7777))) == {udp(port=7777)}


def test_copies_count_as_messages_of_their_phone() -> None:
    line = Line(CoreConfig(KEY, rate=1, burst=10))
    phone = Phone()
    line.invite(phone)
    assert sum(bool(line.feed(line.last, phone.flow)) for _ in range(500)) == 9, "the first of ten was the INVITE"
    assert line.core.dropped[Stranger.TOO_MANY] == 491


def test_copies_from_another_host_count_as_that_hosts_messages() -> None:
    line = Line(CoreConfig(KEY, rate=1, burst=10))
    phone = Phone()
    line.invite(phone)
    assert [line.feed(line.last, ELSEWHERE) for _ in range(500)] == [[]] * 500
    assert line.core.dropped[Stranger.TOO_MANY] == 490
    assert line.say(inform(phone, uri=f"sip:{US}"), phone.flow), "the phone has lost nothing"
