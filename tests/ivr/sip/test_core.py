"""The user agent server as RFC 3261 §8.2 wants it: what is asked wrongly is answered so that one knows why."""

from __future__ import annotations

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from sip_phone import ANSWER, KEY, MAC, SDP, US, Heard, Line, Phone, reply, tcp, udp
from wire_samples import SAMPLES

from ivr.sip.config import CoreConfig
from ivr.sip.core import Core
from ivr.sip.effects import Send, Stranger


def one(line: Line, data: bytes, phone: Phone) -> Heard:
    (heard,) = line.say(data, phone.flow)
    return heard


# --- every answer ---------------------------------------------------------------------------------------


def test_an_answer_repeats_what_it_must() -> None:
    line, phone = Line(), Phone()
    data = phone.request("OPTIONS", vias=("SIP/2.0/TCP 10.1.1.1;branch=z9hG4bKfar",))
    heard = one(line, data, phone)
    assert heard.start == "SIP/2.0 200 OK"
    asked = Heard(data)
    for name in ("From", "Call-ID", "CSeq"):
        assert heard.get(name) == asked.get(name)
    assert heard.get("To").startswith(asked.get("To") + ";tag=")
    assert ", ".join(heard.all("Via")).endswith("SIP/2.0/TCP 10.1.1.1;branch=z9hG4bKfar")
    assert heard.get("Content-Length") == "0"


def test_a_copy_of_a_strangers_request_gets_the_same_tag() -> None:
    line, phone = Line(), Phone()
    data = phone.request("INVITE", body=SDP)
    assert one(line, data, phone).tag() == one(line, data, phone).tag()
    assert one(line, Phone(call_id="other").request("INVITE", body=SDP), phone).tag() != one(line, data, phone).tag()


@pytest.mark.parametrize("dialog", [False, True])
def test_options_tells_what_we_can(dialog: bool) -> None:
    line, phone = Line(), Phone()
    if dialog:
        line.talk(phone)
    heard = one(line, phone.request("OPTIONS"), phone)
    assert heard.status == 200
    assert {"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO", "UPDATE"} <= set(heard.get("Allow").split(", "))
    assert {"application/sdp", "application/dtmf-relay"} <= set(heard.get("Accept").split(", "))


def test_options_to_the_host_alone_is_answered() -> None:
    line, phone = Line(), Phone()
    assert one(line, phone.request("OPTIONS", "Max-Forwards: 0", uri="sip:ivr.example.com"), phone).status == 200


# --- what is wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "status"),
    [("MESSAGE", 405), ("SUBSCRIBE", 405), ("REFER", 405), ("PRACK", 405), ("FROBNICATE", 501), ("invite", 501)],
)
def test_a_method_that_we_do_not_do(method: str, status: int) -> None:
    line, phone = Line(), Phone()
    heard = one(line, phone.request(method), phone)
    assert (heard.status, "INVITE" in heard.get("Allow")) == (status, True)
    line.talk(phone)
    assert one(line, phone.request(method), phone).status == status


def test_another_scheme_is_416_and_another_version_505() -> None:
    line, phone = Line(), Phone()
    assert one(line, phone.request("INVITE", uri="tel:+15551234"), phone).status == 416
    assert one(line, phone.request("INVITE", uri="nobodyKnows:this"), phone).status == 416
    assert one(line, phone.request("OPTIONS", version="SIP/7.0"), phone).status == 505


@pytest.mark.parametrize("method", ["INVITE", "REGISTER"])
def test_no_hops_left_is_483(method: str) -> None:
    line, phone = Line(), Phone()
    uri = "sip:ivr.example.com" if method == "REGISTER" else ""
    assert one(line, phone.request(method, "Max-Forwards: 0", uri=uri), phone).status == 483


def test_what_is_malformed_is_400_and_an_ack_never_answered() -> None:
    line, phone = Line(), Phone()
    assert one(line, phone.request("INVITE", "Max-Forwards: many"), phone).status == 400
    assert line.say(phone.request("ACK", "Max-Forwards: many"), phone.flow) == []
    assert line.say(phone.request("ACK", to_tag="nobody"), phone.flow) == []


def test_malformed_for_somebody_else_meets_silence() -> None:
    line, phone = Line(), Phone()
    assert line.say(phone.request("INVITE", "Max-Forwards: many", uri="sip:100@ivr.example.com"), phone.flow) == []


def asked(line: Line, phone: Phone, *headers: str, body: bytes = SDP, kind: str = "application/sdp") -> Heard:
    """An INVITE with its proof."""
    uri = f"sip:{US}"
    challenged = one(line, phone.request("INVITE", uri=uri), phone)
    proof = phone.proof(challenged.get("WWW-Authenticate"), "INVITE", uri)
    return one(line, phone.request("INVITE", proof, *headers, uri=uri, body=body, kind=kind), phone)


@pytest.mark.parametrize(
    ("headers", "body", "kind", "status", "says"),
    [
        (("Require: 100rel, nothing",), SDP, "application/sdp", 420, ("Unsupported", "100rel, nothing")),
        ((), b"hello", "text/plain", 415, ("Accept", "application/sdp")),
        ((), SDP, "", 415, ("Accept", "application/sdp")),
        (("Content-Encoding: gzip",), SDP, "application/sdp", 415, ("Accept-Encoding", "identity")),
        ((), b"v=0\r\nbroken", "application/sdp", 400, ("Content-Length", "0")),
        ((), SDP.replace(b"RTP/AVP", b"RTP/SAVP"), "application/sdp", 488, ("Content-Length", "0")),
        (("Accept: text/nobodyKnowsThis",), SDP, "application/sdp", 406, ("Content-Length", "0")),
        (("Accept:",), SDP, "application/sdp", 406, ("Content-Length", "0")),
        (("Accept: text/x, text/y;q=0.5",), b"", "", 406, ("Content-Length", "0")),
        (("Contact: -",), SDP, "application/sdp", 400, ("Content-Length", "0")),
        (("Contact: <sip:a@b>, <sip:c@d>",), SDP, "application/sdp", 400, ("Content-Length", "0")),
        (("Contact: <tel:+1555>",), SDP, "application/sdp", 400, ("Content-Length", "0")),
    ],
)
def test_a_call_that_cannot_be_taken(
    headers: tuple[str, ...], body: bytes, kind: str, status: int, says: tuple[str, str]
) -> None:
    line, phone = Line(), Phone()
    heard = asked(line, phone, *headers, body=body, kind=kind)
    assert (heard.status, heard.get(says[0])) == (status, says[1])
    assert line.core.held.calls == 0
    began = line.now
    line.wait(2)
    assert line.times(began, f"SIP/2.0 {status}") == [0.0, 0.5, 1.5]
    line.wait(40)
    assert line.core.held[:3] == (0, 0, 0)


@pytest.mark.parametrize(
    "accepts",
    ["application/sdp", "text/x, Application/SDP;level=1", "application/*", "*/*;q=0.1", "x/y\r\nAccept: */*"],
)
def test_who_accepts_a_session_description_gets_one(accepts: str) -> None:
    line, phone = Line(), Phone()
    assert asked(line, phone, f"Accept: {accepts}").status == 100


def test_require_in_an_ack_or_cancel_is_not_looked_at() -> None:
    line, phone = Line(), Phone()
    call = line.invite(phone)
    line.answer(call, phone)
    assert line.feed(phone.request("ACK", "Require: nothing", cseq=phone.cseq), phone.flow) != []
    branch = Heard(line.last).get("Via").split("branch=")[1]
    cancel = phone.request("CANCEL", "Require: nothing", cseq=phone.cseq - 1, branch=branch, to_tag="")
    assert one(line, cancel, phone).status == 200


def test_the_same_call_on_two_ways_is_482() -> None:
    line, phone = Line(), Phone()
    line.invite(phone)
    merged = line.last.replace(b"branch=z9hG4bK", b"branch=z9hG4bKother")
    assert one(line, merged, phone).status == 482
    assert line.core.held.calls == 1


def test_our_own_request_coming_round_is_482() -> None:
    line, phone = Line(), Phone()
    line.register(phone)
    (notify,) = line.heard(line.core.notify(MAC, "check-sync", (), line.now, "t"))
    looped = phone.request("OPTIONS", vias=(notify.get("Via"),))
    assert one(line, looped, phone).status == 482


def test_each_call_is_challenged_but_not_what_is_within_it() -> None:
    line, phone = Line(), Phone()
    assert one(line, phone.request("INVITE", body=SDP), phone).status == 401
    line.talk(phone)
    assert one(line, phone.request("INVITE", body=SDP), phone).status == 100


def test_proof_for_somebody_elses_realm_beside_ours_is_passed_over() -> None:
    line, phone = Line(), Phone()
    uri = f"sip:{US}"
    challenged = one(line, phone.request("INVITE", uri=uri), phone)
    ours = phone.proof(challenged.get("WWW-Authenticate"), "INVITE", uri)
    theirs = ours.replace('realm="activation"', 'realm="pbx"')
    assert one(line, phone.request("INVITE", theirs, ours, uri=uri, body=SDP), phone).status == 100


def test_a_proof_for_another_method_is_none() -> None:
    line, phone = Line(), Phone()
    uri = f"sip:{US}"
    challenged = one(line, phone.request("INVITE", uri=uri), phone)
    proof = phone.proof(challenged.get("WWW-Authenticate"), "REGISTER", uri)
    assert one(line, phone.request("INVITE", proof, uri=uri, body=SDP), phone).status == 401


# --- the shell ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [100, 200, 299, 700])
def test_a_rejection_is_a_rejection(status: int) -> None:
    line, phone = Line(), Phone()
    call = line.invite(phone)
    with pytest.raises(ValueError, match="300-699"):
        line.core.reject(call, status, line.now)


def test_a_rejection_may_say_when_to_come_back() -> None:
    line, phone = Line(), Phone()
    call = line.invite(phone)
    (busy,) = line.heard(line.core.reject(call, 503, line.now, retry_after=9))
    assert busy.get("Retry-After") == "9"
    assert line.core.answer(call, ANSWER, line.now) == []
    assert line.core.reject(call, 503, line.now) == []
    assert line.core.bye(call, line.now) == []


def test_an_idle_core_wants_nothing() -> None:
    core = Core(CoreConfig(KEY), lambda _user: None, lambda n: bytes(n))
    assert core.due() is None
    assert core.tick(1e9) == []
    assert core.closed(tcp(), 1e9) == []
    assert core.held == (0, 0, 0, 0)


def test_keep_alives_and_stray_bytes_are_nothing() -> None:
    line = Line()
    for data in (b"", b"\r\n\r\n", b"\x00\x01\x00\x08" * 5, b"\x80" * 172, b"GET / HTTP/1.1\r\n\r\n"):
        assert line.core.feed(data, udp(), 1.0) == []
    assert line.core.dropped[Stranger.GARBAGE] == 5
    assert line.core.feed(reply(Heard(Phone().request("NOTIFY")), 200), udp(), 1.0) == []


# --- hostile bytes --------------------------------------------------------------------------------------


def swollen() -> dict[str, bytes]:
    """An INVITE made large, deep or contradictory in one place each."""
    phone = Phone()
    plain = phone.request("INVITE", body=SDP)
    head, _, body = plain.partition(b"\r\n\r\n")
    return {
        "64 KiB": phone.request("INVITE", "X-Long: " + "a" * 64_000, body=SDP),
        "more than 64 KiB": phone.request("INVITE", "X-Long: " + "a" * 70_000, body=SDP),
        "500 headers": phone.request("INVITE", *("X-Many: 1",) * 500, body=SDP),
        "negative length": plain.replace(b"Content-Length: ", b"Content-Length: -"),
        "length of words": plain.replace(b"Content-Length: ", b"Content-Length: many"),
        "folded 20,000 times": head + b"\r\nX: a" + b"\r\n " * 20_000 + b"\r\n\r\n" + body,
        "5,000 Vias": phone.request("INVITE", "Via: " + "SIP/2.0/UDP a;branch=b," * 2000 + "SIP/2.0/UDP a", body=SDP),
        "100 proofs": phone.request("INVITE", *('Authorization: Digest username="a"',) * 100, body=SDP),
        "100 media lines": phone.request("INVITE", body=SDP + b"m=audio 9 RTP/AVP 0\r\n" * 100),
    }


@pytest.mark.parametrize("kind", swollen())
def test_swollen_messages_meet_a_clean_answer_or_silence(kind: str) -> None:
    line = Line()
    answers = line.say(swollen()[kind], udp())
    assert [one.status for one in answers] in ([], [400], [401], [413], [513])
    assert line.core.held[:3] == (0, 0, 0)


def test_100_media_lines_in_a_proved_call_are_refused() -> None:
    line, phone = Line(), Phone()
    assert asked(line, phone, body=SDP + b"m=audio 9 RTP/AVP 0\r\n" * 100).status == 488


@settings(max_examples=examples(200))
@given(st.sampled_from(list(SAMPLES.values())), st.integers(0, 2000), st.binary(max_size=30), st.booleans())
def test_bytes_cut_and_flipped_anywhere_raise_nothing(sample: bytes, at: int, noise: bytes, cut: bool) -> None:
    line = Line()
    data = sample[:at] + noise + (b"" if cut else sample[at + len(noise) :])
    for flow in (udp(), tcp()):
        effects = line.core.feed(data, flow, line.now)
        assert all(one.flow == flow for one in effects if isinstance(one, Send))


@settings(max_examples=examples(100))
@given(st.data())
def test_a_proved_call_with_bytes_flipped_raises_nothing(data: st.DataObject) -> None:
    line, phone = Line(), Phone()
    call = line.talk(phone)
    method = data.draw(st.sampled_from(["INVITE", "UPDATE", "INFO", "BYE", "OPTIONS", "ACK", "CANCEL"]))
    message = bytearray(phone.request(method, body=SDP))
    for at in data.draw(st.lists(st.integers(0, len(message) - 1), max_size=5)):
        message[at] = data.draw(st.integers(0, 255))
    line.feed(bytes(message), phone.flow)
    line.core.bye(call, line.now)
    line.wait(70)
    assert line.core.held[:3] == (0, 0, 0)
