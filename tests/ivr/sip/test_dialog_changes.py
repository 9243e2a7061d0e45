"""Within a call: order, changes of the session, and keys by INFO."""

from __future__ import annotations

import pytest
from sip_phone import HOLD, MAC, SDP, US, Heard, Line, Phone

from ivr.sip.call import Phase
from ivr.sip.effects import Acknowledged, Effect, Hungup, Keyed, Reoffered, Why


def kinds(effects: list[Effect]) -> list[str]:
    return [type(one).__name__ for one in effects]


def only(line: Line, effects: list[Effect]) -> Heard:
    (heard,) = line.heard(effects)
    return heard


# --- before the ACK -------------------------------------------------------------------------------------


def test_keys_told_before_a_lost_ack_are_heard_at_once_and_its_repetition_still_counts() -> None:
    line, phone = Line(), Phone()
    call = line.invite(phone)
    line.answer(call, phone)
    invited, keys = phone.cseq, []
    for key in "31":
        data = phone.request("INFO", body=f"Signal={key}\r\n".encode(), kind="application/dtmf-relay")
        effects = line.feed(data, phone.flow)
        assert [one.status for one in line.heard(effects)] == [200]
        keys += [one.digit for one in effects if isinstance(one, Keyed)]
        assert not any(isinstance(one, Keyed) for one in line.feed(data, phone.flow)), "a copy is no key"
    assert keys == ["3", "1"]
    assert call.phase is Phase.ANSWERED
    assert [one.status for one in line.heard(line.wait(1.0))] == [200], "our 200 comes again: the ACK is still missed"
    assert line.feed(phone.request("ACK", cseq=invited), phone.flow) == [Acknowledged(call, None)]
    assert line.heard(line.wait(40.0)) == []
    assert call.phase is Phase.TALKING


def test_keys_told_before_the_answer_are_none() -> None:
    line, phone = Line(), Phone()
    call = line.invite(phone)
    phone.to_tag = call.id  # as a 180 would have told
    effects = line.feed(phone.request("INFO", body=b"Signal=5\r\n", kind="application/dtmf-relay"), phone.flow)
    assert not any(isinstance(one, Keyed) for one in effects)


# --- order and change -----------------------------------------------------------------------------------


@pytest.mark.parametrize("back", [0, 1])
def test_a_request_with_a_used_number_comes_too_late(back: int) -> None:
    line, phone = Line(), Phone()
    line.talk(phone)
    line.feed(phone.request("INFO", body=b"Signal=1\r\n", kind="application/dtmf-relay"), phone.flow)
    late = phone.request("INFO", cseq=phone.cseq - back, body=b"Signal=2\r\n", kind="application/dtmf-relay")
    effects = line.feed(late, phone.flow)
    assert [one.status for one in line.heard(effects)] == [500]
    assert kinds(effects) == ["Send"]


def test_numbers_may_leave_gaps() -> None:
    line, phone = Line(), Phone()
    line.talk(phone)
    phone.cseq += 100
    assert [one.status for one in line.say(phone.request("OPTIONS"), phone.flow)] == [200]


@pytest.mark.parametrize("method", ["BYE", "INFO", "INVITE", "UPDATE", "OPTIONS", "SUBSCRIBE"])
def test_an_unknown_dialog_is_481_or_the_method_is_not_allowed(method: str) -> None:
    line, phone = Line(), Phone()
    line.talk(phone)
    phone.to_tag = "unknown"
    (refused,) = line.say(phone.request(method, uri=f"sip:{US}"), phone.flow)
    assert refused.status == (405 if method == "SUBSCRIBE" else 481)
    assert refused.get("To").count(";tag=") == 1


def test_a_reinvite_changes_the_session_and_wants_its_own_ack() -> None:
    line, phone = Line(), Phone()
    call = line.talk(phone)
    effects = line.feed(phone.request("INVITE", body=HOLD), phone.flow)
    assert [one.status for one in line.heard(effects)] == [100]
    (told,) = (one for one in effects if isinstance(one, Reoffered))
    assert told.offer is not None
    assert (told.call, told.offer.direction) == (call, "sendonly")
    answered = line.answer(call, phone)
    assert answered.get("CSeq") == f"{phone.cseq} INVITE"
    assert line.feed(phone.request("ACK", cseq=phone.cseq), phone.flow) == [Acknowledged(call, None)]
    line.wait(40.0)
    assert call.phase is Phase.TALKING


def test_a_reinvite_whose_ack_never_comes_ends_the_call() -> None:
    line, phone = Line(), Phone()
    call = line.talk(phone)
    line.feed(phone.request("INVITE", body=SDP), phone.flow)
    line.answer(call, phone)
    assert Hungup(call, Why.NO_ACK) in line.wait(33.0)


def test_a_refused_change_leaves_the_call_as_it_was() -> None:
    line, phone = Line(), Phone()
    call = line.talk(phone)
    line.feed(phone.request("INVITE", f"Contact: <sip:{MAC}@192.0.2.17:7000>", body=HOLD), phone.flow)
    assert only(line, line.note(line.core.reject(call, 488, line.now))).status == 488
    line.wait(40.0)
    assert call.phase is Phase.TALKING
    assert only(line, line.core.bye(call, line.now)).uri == f"sip:{MAC}@192.0.2.17:5062"


def test_a_reinvite_shows_that_our_answer_arrived_though_its_ack_was_lost() -> None:
    line, phone = Line(), Phone()
    call = line.invite(phone)
    line.answer(call, phone)
    effects = line.feed(phone.request("INVITE", body=HOLD), phone.flow)
    assert kinds(effects) == ["Acknowledged", "Send", "Reoffered"]
    line.note(line.core.reject(call, 488, line.now))
    line.wait(60.0)
    assert call.phase is Phase.TALKING


def test_a_second_change_waits_for_the_first() -> None:
    line, phone = Line(), Phone()
    call = line.talk(phone)
    line.feed(phone.request("INVITE", body=HOLD), phone.flow)
    (refused,) = line.say(phone.request("UPDATE", body=SDP), phone.flow)
    assert refused.status == 500
    assert 0 <= int(refused.get("Retry-After")) <= 10
    assert call.asked is not None


def test_a_change_before_the_answer_to_our_own_offer_is_491() -> None:
    line, phone = Line(), Phone()
    call = line.invite(phone, body=b"")
    line.answer(call, phone)
    assert [one.status for one in line.say(phone.request("INVITE", body=SDP), phone.flow)] == [491]
    assert call.phase is Phase.ANSWERED


def test_an_update_is_answered_without_an_ack() -> None:
    line, phone = Line(), Phone()
    call = line.talk(phone)
    effects = line.feed(phone.request("UPDATE", body=SDP), phone.flow)
    assert kinds(effects) == ["Reoffered"]
    assert line.answer(call, phone).get("CSeq") == f"{phone.cseq} UPDATE"
    line.wait(40.0)
    assert call.phase is Phase.TALKING


def test_an_update_without_a_session_is_answered_at_once() -> None:
    line, phone = Line(), Phone()
    line.talk(phone)
    effects = line.feed(phone.request("UPDATE"), phone.flow)
    assert (only(line, effects).status, kinds(effects)) == (200, ["Send"])


def test_a_change_that_the_shell_forgets_is_refused_and_the_call_goes_on() -> None:
    line, phone = Line(), Phone()
    call = line.talk(phone)
    line.feed(phone.request("INVITE", body=HOLD), phone.flow)
    assert [one.status for one in line.heard(line.wait(32.0))][:1] == [503]
    assert call.phase is Phase.TALKING


def test_a_call_that_ends_while_a_change_waits_answers_it() -> None:
    line, phone = Line(), Phone()
    call = line.invite(phone)
    line.answer(call, phone)
    line.wait(0.1)
    line.feed(phone.request("UPDATE", body=SDP), phone.flow)
    effects = line.wait(32)
    assert Hungup(call, Why.NO_ACK) in effects
    assert [one.get("CSeq").split()[1] for one in line.heard(effects) if one.status == 487] == ["UPDATE"]
    line.wait(70)
    assert line.core.held[:3] == (0, 0, 0)


def test_a_cancelled_change_leaves_the_call() -> None:
    line, phone = Line(), Phone()
    call = line.talk(phone)
    line.last = phone.request("INVITE", body=HOLD)
    line.feed(line.last, phone.flow)
    branch = Heard(line.last).get("Via").split("branch=")[1]
    effects = line.feed(phone.request("CANCEL", cseq=phone.cseq, branch=branch), phone.flow)
    assert [one.status for one in line.heard(effects)] == [200, 487]
    assert kinds(effects) == ["Send", "Send"]
    assert call.phase is Phase.TALKING


# --- keys by INFO ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "body", "key"),
    [
        ("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n", "5"),
        ("application/dtmf-relay", b"Signal=5\nDuration=160\n", "5"),
        ("application/dtmf-relay", b"Duration=160\r\nSignal= * \r\n", "*"),
        ("application/dtmf-relay", b"signal=#\r\n", "#"),
        ("application/dtmf-relay", b"Signal=10\r\n", "*"),
        ("application/dtmf-relay", b"Signal=11\r\n", "#"),
        ("application/dtmf-relay", b"Signal=a\r\n", "A"),
        ("Application/DTMF-Relay;charset=x", b"Signal=0", "0"),
        ("application/dtmf", b"5", "5"),
        ("application/dtmf", b"#\r\n", "#"),
        ("application/dtmf", b"11", "#"),
    ],
)
def test_keys_by_info(kind: str, body: bytes, key: str) -> None:
    line, phone = Line(), Phone()
    call = line.talk(phone)
    effects = line.feed(phone.request("INFO", body=body, kind=kind), phone.flow)
    assert only(line, effects).status == 200
    assert effects[1:] == [Keyed(call, key)]
    assert key not in repr(effects[1]).replace(repr(call), "")


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/dtmf-relay", b"Signal=16\r\n", 200),
        ("application/dtmf-relay", b"Signal=flash\r\n", 200),
        ("application/dtmf-relay", b"Signal=77\r\n", 400),
        ("application/dtmf-relay", b"Signal=\r\n5\r\n", 400),
        ("application/dtmf-relay", b"NoSignal=5\r\n", 400),
        ("application/dtmf-relay", b"\xff" * 200, 400),
        ("application/dtmf-relay", b"Signal=5\r\n" + b" " * 300, 400),
        ("application/dtmf", b"55", 400),
        ("application/dtmf", b"", 200),
        ("text/plain", b"5", 415),
        ("", b"5", 415),
    ],
)
def test_what_is_no_key_presses_none(kind: str, body: bytes, status: int) -> None:
    line, phone = Line(), Phone()
    line.talk(phone)
    effects = line.feed(phone.request("INFO", body=body, kind=kind), phone.flow)
    assert (only(line, effects).status, len(effects)) == (status, 1)


def test_a_copied_info_presses_its_key_once() -> None:
    line, phone = Line(), Phone()
    line.talk(phone)
    data = phone.request("INFO", body=b"Signal=5", kind="application/dtmf-relay")
    assert kinds(line.feed(data, phone.flow)) == ["Send", "Keyed"]
    assert kinds(line.feed(data, phone.flow)) == ["Send"]


def test_an_info_package_is_not_ours() -> None:
    line, phone = Line(), Phone()
    line.talk(phone)
    (refused,) = line.say(phone.request("INFO", "Info-Package: foo", body=b"5", kind="application/dtmf"), phone.flow)
    assert refused.start == "SIP/2.0 469 Bad Info Package"


def test_an_info_outside_a_dialog_is_481() -> None:
    line, phone = Line(), Phone()
    data = phone.request("INFO", body=b"Signal=5", kind="application/dtmf-relay")
    assert [one.status for one in line.say(data, phone.flow)] == [481]
