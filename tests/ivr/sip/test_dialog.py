"""Calls on a clock: answers and their ACKs, route sets, order, changes of a session, and every way to the end."""

from __future__ import annotations

import re

import pytest
from sip_phone import ANSWER, HERE, MAC, SDP, US, Heard, Line, Phone, reply, tcp, udp

from ivr.sip.call import Phase
from ivr.sip.config import CoreConfig
from ivr.sip.effects import (
    Acknowledged,
    Cancelled,
    Effect,
    Flow,
    Hungup,
    Invited,
    Send,
    Why,
)


def kinds(effects: list[Effect]) -> list[str]:
    return [type(one).__name__ for one in effects]


def only(line: Line, effects: list[Effect]) -> Heard:
    (heard,) = line.heard(effects)
    return heard


# --- the ordinary call ----------------------------------------------------------------------------------


def test_a_call_from_the_invitation_to_the_end() -> None:
    line, phone = Line(), Phone()
    call = line.invite(phone)
    assert (call.mac, call.flow, call.offered) == (MAC, phone.flow, SDP)
    answered = line.answer(call, phone)
    assert answered.get("Contact") == "<sip:activate@198.51.100.7:5060>"
    assert answered.get("Content-Type") == "application/sdp"
    assert answered.body == ANSWER
    assert "UPDATE" in answered.get("Allow")
    assert line.feed(phone.request("ACK", cseq=phone.cseq), phone.flow) == [Acknowledged(call, None)]
    ended = line.feed(phone.request("BYE"), phone.flow)
    assert only(line, ended).status == 200
    assert ended[-1] == Hungup(call, Why.CALLER)
    assert line.core.held.calls == 0


def test_the_shell_hears_of_the_offer() -> None:
    line, phone = Line(), Phone()
    effects = line.ask(phone, "INVITE", uri=f"sip:{US}", body=SDP)
    assert kinds(effects) == ["Send", "Invited"]
    invited = effects[1]
    assert isinstance(invited, Invited)
    assert invited.offer is not None
    assert (invited.mac, invited.offer.codec, invited.offer.events, invited.offer.port) == (MAC, 0, 127, 16384)


def test_our_bye_is_answered() -> None:
    line, phone = Line(), Phone()
    call = line.talk(phone)
    effects = line.note(line.core.bye(call, line.now))
    bye = only(line, effects)
    assert (bye.method, bye.uri) == ("BYE", f"sip:{MAC}@192.0.2.17:5062")
    assert bye.get("From") == f"<sip:{US}>;tag={phone.to_tag}"
    assert bye.get("To") == f"<sip:{MAC}@ivr.example.com>;tag={phone.tag}"
    assert bye.get("Call-ID") == phone.call_id
    assert re.fullmatch(r"SIP/2\.0/UDP 198\.51\.100\.7:5060;rport;branch=z9hG4bK[0-9a-f]{24}", bye.get("Via"))
    assert Hungup(call, Why.OURS) in effects
    assert line.feed(reply(bye, 200), phone.flow) == []
    assert line.core.held.calls == 0
    line.wait(5.1)  # timer K
    assert line.core.held.transactions == 1  # the INVITE's, until timer L


def test_a_lost_bye_is_repeated_until_somebody_answers_or_nobody_does() -> None:
    line, phone = Line(), Phone()
    call = line.talk(phone)
    began = line.now
    line.note(line.core.bye(call, line.now))
    line.wait(40.0)
    assert line.times(began, "BYE") == [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert line.core.held.calls == line.core.held.transactions == 0


def test_a_challenged_bye_is_proved_with_the_phones_own_secret() -> None:
    line, phone = Line(), Phone()
    call = line.talk(phone)
    bye = only(line, line.note(line.core.bye(call, line.now)))
    challenge = 'WWW-Authenticate: Digest realm="phone", nonce="n1", algorithm=MD5, qop="auth"'
    (again,) = line.say(reply(bye, 401, challenge), phone.flow)
    assert again.get("CSeq") == "2 BYE"
    assert f'username="{MAC}"' in again.get("Authorization")
    line.say(reply(again, 200), phone.flow)
    assert line.core.held.calls == 0


def test_byes_that_cross_are_both_answered_and_told_once() -> None:
    line, phone = Line(), Phone()
    call = line.talk(phone)
    line.note(line.core.bye(call, line.now))
    effects = line.feed(phone.request("BYE"), phone.flow)
    assert [one.status for one in line.heard(effects)] == [200]
    assert kinds(effects) == ["Send"]
    assert call.phase is Phase.OVER


def test_a_lost_200_to_a_bye_is_said_again_though_the_call_is_gone() -> None:
    line, phone = Line(), Phone()
    line.talk(phone)
    bye = phone.request("BYE")
    (first,) = line.say(bye, phone.flow)
    (again,) = line.say(bye, phone.flow)
    assert again.data == first.data


# --- the ACK --------------------------------------------------------------------------------------------


def test_without_an_ack_the_call_ends_with_a_bye_after_32_seconds() -> None:
    line, phone = Line(), Phone()
    call = line.invite(phone)
    began = line.now
    line.answer(call, phone)
    effects = line.wait(32.5)
    assert line.times(began, "SIP/2.0 200")[-1] == 31.5
    assert line.times(began, "BYE") == [32.0, 32.5]
    assert Hungup(call, Why.NO_ACK) in effects
    assert line.core.held.calls == 0


def test_we_hang_up_only_after_the_ack() -> None:
    line, phone = Line(), Phone()
    call = line.invite(phone)
    line.answer(call, phone)
    assert line.note(line.core.bye(call, line.now)) == [Hungup(call, Why.OURS)]
    assert line.note(line.core.bye(call, line.now)) == []
    effects = line.feed(phone.request("ACK", cseq=phone.cseq), phone.flow)
    assert [one.method for one in line.heard(effects)] == ["BYE"]
    assert kinds(effects) == ["Send"]


def test_an_ack_of_another_number_or_dialog_acknowledges_nothing() -> None:
    line, phone = Line(), Phone()
    call = line.invite(phone)
    line.answer(call, phone)
    assert line.feed(phone.request("ACK", cseq=phone.cseq + 1), phone.flow) == []
    assert line.feed(phone.request("ACK", cseq=phone.cseq, to_tag="other"), phone.flow) == []
    phone.tag = "someone"
    assert line.feed(phone.request("ACK", cseq=phone.cseq), phone.flow) == []
    assert call.phase is Phase.ANSWERED


def test_an_ack_with_the_branch_of_its_invite_counts_too() -> None:
    line, phone = Line(), Phone()
    call = line.invite(phone)
    line.answer(call, phone)
    branch = Heard(line.last).get("Via").split("branch=")[1]
    effects = line.feed(phone.request("ACK", cseq=phone.cseq, branch=branch), phone.flow)
    assert effects == [Acknowledged(call, None)]


def test_a_delayed_offer_is_ours_and_its_answer_comes_with_the_ack() -> None:
    line, phone = Line(), Phone()
    effects = line.ask(phone, "INVITE", uri=f"sip:{US}")
    (invited,) = (one for one in effects if isinstance(one, Invited))
    assert invited.offer is None
    assert invited.call.offered == b""
    line.answer(invited.call, phone)
    (told,) = line.feed(phone.request("ACK", cseq=phone.cseq, body=SDP), phone.flow)
    assert isinstance(told, Acknowledged)
    assert told.offer is not None
    assert told.offer.port == 16384


@pytest.mark.parametrize("body", [b"", b"nonsense"])
def test_a_delayed_offer_without_an_answer_ends_the_call(body: bytes) -> None:
    line, phone = Line(), Phone()
    call = line.invite(phone, body=b"")
    line.answer(call, phone)
    effects = line.feed(phone.request("ACK", cseq=phone.cseq, body=body), phone.flow)
    assert [one.method for one in line.heard(effects)] == ["BYE"]
    assert Hungup(call, Why.NO_SESSION) in effects


# --- CANCEL ---------------------------------------------------------------------------------------------


def cancel(line: Line, phone: Phone) -> bytes:
    branch = Heard(line.last).get("Via").split("branch=")[1]
    return phone.request("CANCEL", "Contact: -", cseq=phone.cseq, branch=branch, to_tag="")


def test_a_cancelled_call_is_over() -> None:
    line, phone = Line(), Phone()
    call = line.invite(phone)
    effects = line.feed(cancel(line, phone), phone.flow)
    first, second = line.heard(effects)
    assert (first.status, first.get("CSeq")) == (200, f"{phone.cseq} CANCEL")
    assert (second.status, second.get("CSeq")) == (487, f"{phone.cseq} INVITE")
    assert first.tag() == second.tag()
    assert effects[-1] == Cancelled(call)
    assert line.core.answer(call, ANSWER, line.now) == []
    assert line.core.held.calls == 0


def test_a_cancel_after_our_answer_changes_nothing() -> None:
    line, phone = Line(), Phone()
    call = line.invite(phone)
    line.answer(call, phone)
    effects = line.feed(cancel(line, phone), phone.flow)
    assert [one.status for one in line.heard(effects)] == [200]
    assert len(effects) == 1
    assert call.phase is Phase.ANSWERED


def test_a_repeated_cancel_is_answered_again() -> None:
    line, phone = Line(), Phone()
    line.invite(phone)
    line.feed(cancel(line, phone), phone.flow)
    assert [one.status for one in line.say(cancel(line, phone), phone.flow)] == [200]


def test_a_cancel_of_nothing_is_481() -> None:
    line, phone = Line(), Phone()
    data = phone.request("CANCEL", "Contact: -", branch="z9hG4bKnever")
    assert [one.status for one in line.say(data, phone.flow)] == [481]


def test_a_bye_before_our_answer_ends_the_invite_too() -> None:
    line, phone = Line(), Phone()
    call = line.invite(phone)
    ringing = only(line, line.note(line.core.ring(call, line.now)))
    assert ringing.status == 180
    phone.to_tag = ringing.tag()
    effects = line.feed(phone.request("BYE"), phone.flow)
    assert [one.status for one in line.heard(effects)] == [200, 487]
    assert effects[-1] == Hungup(call, Why.CALLER)


def test_nobody_answering_here_is_503_and_the_end() -> None:
    line, phone = Line(), Phone()
    call = line.invite(phone)
    effects = line.wait(32.0)
    refused = line.heard(effects)[0]
    assert (refused.status, refused.get("Retry-After")) == (503, "60")
    assert Hungup(call, Why.UNANSWERED) in effects


def test_hanging_up_before_answering_is_480() -> None:
    line, phone = Line(), Phone()
    call = line.invite(phone)
    effects = line.note(line.core.bye(call, line.now))
    assert only(line, effects).status == 480
    assert effects[-1] == Hungup(call, Why.OURS)
    assert line.core.held.calls == 0


# --- the way ---------------------------------------------------------------------------------------------


def test_record_routes_stand_in_our_answers_and_are_the_way_of_our_bye() -> None:
    line, phone = Line(), Phone()
    routes = ("Record-Route: <sip:p2.example.com;lr>, <sip:p1.example.com;lr>", "Record-Route: <sip:p0.example.com;lr>")
    call = line.invite(phone, *routes)
    ringing = only(line, line.note(line.core.ring(call, line.now)))
    answered = line.answer(call, phone)
    for heard in (ringing, answered):
        assert ", ".join(heard.all("Record-Route")).split(", ") == [
            "<sip:p2.example.com;lr>",
            "<sip:p1.example.com;lr>",
            "<sip:p0.example.com;lr>",
        ]
    line.feed(phone.request("ACK", cseq=phone.cseq), phone.flow)
    bye = only(line, line.note(line.core.bye(call, line.now)))
    assert bye.uri == f"sip:{MAC}@192.0.2.17:5062"
    assert bye.all("Route") == ["<sip:p2.example.com;lr>", "<sip:p1.example.com;lr>", "<sip:p0.example.com;lr>"]
    assert not bye.all("Record-Route")


def test_a_strict_router_stands_in_the_request_uri() -> None:
    line, phone = Line(), Phone()
    call = line.talk(phone, "Record-Route: <sip:p1.example.com>, <sip:p0.example.com;lr>")
    bye = only(line, line.note(line.core.bye(call, line.now)))
    assert bye.uri == "sip:p1.example.com"
    assert bye.all("Route") == ["<sip:p0.example.com;lr>", f"<sip:{MAC}@192.0.2.17:5062>"]


def test_what_we_send_follows_the_phone_to_where_it_is_now() -> None:
    line, phone = Line(), Phone()
    call = line.talk(phone)
    moved = udp(port=6000)
    line.feed(phone.request("UPDATE", f"Contact: <sip:{MAC}@192.0.2.17:6000>"), moved)
    effects = line.core.bye(call, line.now)
    assert only(line, effects).uri == f"sip:{MAC}@192.0.2.17:6000"
    assert [one.flow for one in effects if isinstance(one, Send)] == [moved]


def test_a_tls_call_has_a_contact_that_says_so() -> None:
    line = Line()
    phone = Phone(flow=tcp(transport="tls"))
    answered = line.answer(line.invite(phone), phone)
    assert answered.get("Contact") == "<sip:activate@198.51.100.7:5060;transport=tls>"


def test_a_sips_call_has_a_sips_contact() -> None:
    line = Line()
    phone = Phone(flow=tcp(transport="tls"))
    effects = line.ask(phone, "INVITE", uri=f"sips:{US}", body=SDP)
    (invited,) = (one for one in effects if isinstance(one, Invited))
    assert line.answer(invited.call, phone).get("Contact").startswith("<sips:")


@pytest.mark.parametrize(
    ("local", "address", "expected"),
    [
        (HERE, "203.0.113.9", "<sip:activate@203.0.113.9:5060>"),
        (("2001:db8::7", 5060), "", "<sip:activate@[2001:db8::7]:5060>"),
    ],
)
def test_our_contact_is_the_address_that_phones_see(local: tuple[str, int], address: str, expected: str) -> None:
    line = Line(CoreConfig(b"k" * 32, address=address))
    phone = Phone(flow=Flow("udp", ("192.0.2.17", 5062), 0, local))
    assert line.answer(line.invite(phone), phone).get("Contact") == expected


def test_a_lost_connection_ends_its_calls() -> None:
    line, phone = Line(), Phone(flow=tcp())
    call = line.talk(phone)
    assert line.note(line.core.closed(phone.flow, line.now)) == [Hungup(call, Why.CONNECTION)]
    assert line.core.held[:3] == (0, 0, 0)
    assert line.wait(100.0) == []


def test_a_call_that_moved_to_a_new_connection_survives_the_old_one() -> None:
    line, phone = Line(), Phone(flow=tcp(1))
    call = line.talk(phone)
    line.feed(phone.request("OPTIONS"), tcp(2, port=40_002))
    assert line.note(line.core.closed(tcp(1), line.now)) == []
    effects = line.core.bye(call, line.now)
    assert [one.flow.key for one in effects if isinstance(one, Send)] == [2]
