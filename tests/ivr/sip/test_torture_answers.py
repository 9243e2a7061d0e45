"""What the 49 cases of RFC 4475 are answered, by their names there: each worded anew from its rule, for this server."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address

import pytest
from sip_phone import KEY, MAC, SDP, Heard, Line, Phone, udp
from test_torture import LONG, TORTUOUS
from wire_samples import OFFER, message

from ivr.sip import sdp
from ivr.sip.config import CoreConfig
from ivr.sip.effects import Registered

PROVE = 401
"""Understood, and to be proved first."""
SILENCE = 0
"""Nobody could be answered, or it cannot be told that it is for us."""
OPTIONS, INVITE = "OPTIONS sip:activate@example.com SIP/2.0", "INVITE sip:activate@example.com SIP/2.0"
REGISTER = "REGISTER sip:example.com SIP/2.0"
SHORT = "Content-Length: 3"

CASES: dict[str, tuple[bytes, int]] = {
    # 3.1.1 valid, however it looks; the first is within a dialog, by its tag
    "wsinv": (TORTUOUS + OFFER, 481),
    "intmeth": (message("!interesting-Method0123456789_*+`.%indeed'~ sip:activate@example.com SIP/2.0"), 501),
    "esc01": (message("INVITE sip:%61ctivat%65@example.com SIP/2.0", to="sip:%75se%72@example.com"), PROVE),
    "escnull": (message(REGISTER, "Contact: <sip:%00@h.example.com>", "Contact: <sip:%00%00@h.example.com>"), PROVE),
    "esc02": (message("RE%47IST%45R sip:activate@example.com SIP/2.0"), 501),
    "lwsdisp": (message(OPTIONS, from_="caller<sip:caller@example.com>;tag=323"), 200),
    "longreq": (message(INVITE, f"Unknown-{'Long' * 20}: {LONG}", from_=f"<sip:{LONG}@e.com>;tag={LONG}"), PROVE),
    "dblreq": (message(REGISTER) + message(OPTIONS, call_id="second"), PROVE),
    "semiuri": (
        message("OPTIONS sip:activate;par=u%40example.net@example.com SIP/2.0"),
        SILENCE,
    ),  # another user
    "transports": (message(OPTIONS, *(f"Via: SIP/2.0/{one} t.e.com" for one in ("SCTP", "TLS", "UNKNOWN"))), 200),
    "mpart01": (message("MESSAGE sip:activate@example.com SIP/2.0", "Content-Type: multipart/x", body=b"\0\xff"), 405),
    "unreason": (message("SIP/2.0 200 = 2**3 * 5**2 \u043d\u043e", cseq="35 INVITE"), SILENCE),
    "noreason": (message("SIP/2.0 100 ", cseq="35 INVITE"), SILENCE),
    # 3.1.2 invalid
    "badinv01": (message(INVITE, via="SIP/2.0/UDP 192.0.2.15;;,;,,"), SILENCE),
    "clerr": (message(INVITE, content_length="9999", body=SDP), 400),
    "ncl": (message(INVITE, content_length="-999", body=SDP), 400),
    "scalar02": (message(REGISTER, cseq="36893488147419103232 REGISTER"), 400),
    "scalarlg": (message("SIP/2.0 503 No", "Retry-After: 949302838503028349304023988", cseq="1 INVITE"), SILENCE),
    "quotbal": (message(INVITE, to='"Mr. J. User <sip:j.user@example.com>'), SILENCE),
    "ltgtruri": (message("INVITE <sip:activate@example.com> SIP/2.0"), SILENCE),
    "lwsruri": (message("INVITE sip:activate@example.com; lr SIP/2.0"), SILENCE),
    "lwsstart": (message("INVITE  sip:activate@example.com  SIP/2.0"), SILENCE),
    "trws": (message(f"{OPTIONS}  "), 400),
    "escruri": (message("INVITE sip:activate@example.com?Route=%3Csip:example.com%3E SIP/2.0"), SILENCE),
    "baddate": (message(INVITE, "Date: Fri, 01 Jan 2010 16:00:00 EST"), PROVE),
    "regbadct": (message(REGISTER, "Contact: sip:user@example.com?Route=%3Csip:sip.example.com%3E"), 400),
    "badaspec": (message(OPTIONS, to='"Watson, Thomas" < sip:t.watson@example.org >'), SILENCE),
    "baddn": (message(OPTIONS, from_="Bell, Alexander <sip:a.g.bell@example.com>;tag=43"), SILENCE),
    "badvers": (message("OPTIONS sip:activate@example.com SIP/7.0"), 505),
    "mismatch01": (message(OPTIONS, cseq="8 INVITE"), 400),
    "mismatch02": (message("NEWMETHOD sip:activate@example.com SIP/2.0", cseq="8 INVITE"), 400),
    "bigcode": (message("SIP/2.0 4294967301 better not break the receiver", cseq="1 INVITE"), SILENCE),
    # 3.2 the transaction layer
    "badbranch": (message(OPTIONS, via="SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK"), 200),
    # 3.3 the application
    "insuf": (message(INVITE, without=("call-id", "from", "to")), SILENCE),
    "unkscm": (message("OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0"), 416),
    "novelsc": (message("OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0"), 416),
    "unksm2": (message(REGISTER, "Contact: <name:John_Smith>", to="isbn:2983792873", from_="<http://x>;tag=1"), PROVE),
    "bext01": (message(OPTIONS, "Require: nothingSupportsThis, nothingSupportsThisEither"), 420),
    "invut": (message(INVITE, "Content-Type: application/unknownformat", body=b"<audio/>"), PROVE),
    "regaut01": (message(REGISTER, "Authorization: NoOneKnowsThisScheme opaque-data=here"), PROVE),
    "multi01": (message(INVITE, "CSeq: 8 INVITE", "To: sip:other@e.com", "Call-ID: x", "Max-Forwards: 5"), 400),
    "mcl01": (message(OPTIONS, SHORT, "Content-Length: 5", body=b"12345", without=("content-length",)), 400),
    "bcast": (message("SIP/2.0 200 OK", cseq="1 INVITE", via="SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1"), SILENCE),
    "zeromf": (message(OPTIONS, max_forwards="0"), 200),
    "cparam01": (message(REGISTER, "Contact: sip:+19725552222@gw1.example.net;unknownparam"), PROVE),
    "cparam02": (message(REGISTER, "Contact: <sip:+19725552222@gw1.example.net;unknownparam>"), PROVE),
    "regescrt": (message(REGISTER, "Contact: <sip:user@example.com?Route=%3Csip:sip.example.com%3E>"), PROVE),
    "sdp01": (message(INVITE, "Accept: text/nobodyKnowsThis"), PROVE),
    # 3.4 of before RFC 3261
    "inv2543": (
        message(INVITE, via="SIP/2.0/UDP gw.e.com", without=("max-forwards", "content-length"), body=SDP),
        PROVE,
    ),
}


def test_every_case_of_the_rfc_is_here() -> None:
    assert len(CASES) == 49


@pytest.mark.parametrize("name", CASES)
def test_each_case_gets_the_answer_that_it_deserves(name: str) -> None:
    data, status = CASES[name]
    line = Line(CoreConfig(KEY))
    answers = line.say(data, udp())
    assert [one.status for one in answers] == ([status] if status else [])
    assert line.core.held[:3] == (0, 0, 0), "a stranger's message leaves nothing behind"
    for answer in answers:
        assert answer.get("CSeq").split()[0].isdigit()
        assert len(answer.all("To")) == 1
        assert answer.data.endswith(b"\r\n\r\n")


def test_a_second_request_in_a_datagram_is_no_request() -> None:
    (answer,) = Line(CoreConfig(KEY)).say(CASES["dblreq"][0], udp())
    assert answer.get("CSeq").endswith("REGISTER")


def test_what_is_not_supported_is_named() -> None:
    (answer,) = Line(CoreConfig(KEY)).say(CASES["bext01"][0], udp())
    assert answer.get("Unsupported") == "nothingSupportsThis, nothingSupportsThisEither"


@pytest.mark.parametrize(
    ("number", "status"),
    [("Max-Forwards: 300", 400), ("Expires: 36893488147419103232", 200), ("X: 1", 200)],
)
def test_numbers_too_large_by_the_fields_they_stand_in(number: str, status: int) -> None:
    """The rest of scalar02: a time that is too long is meant to be long."""
    line, phone = Line(), Phone()
    (first,) = line.say(phone.request("REGISTER", number, uri="sip:ivr.example.com"), phone.flow)
    if first.status == PROVE:
        proof = phone.proof(first.get("WWW-Authenticate"), "REGISTER", "sip:ivr.example.com")
        (first,) = line.say(phone.request("REGISTER", number, proof, uri="sip:ivr.example.com"), phone.flow)
    assert first.status == status


# --- once they are proved ---------------------------------------------------------------------------------


def proven(line: Line, phone: Phone, change: Callable[[bytes], bytes], method: str, uri: str) -> Heard:
    (challenged,) = line.say(phone.request(method, uri=uri), phone.flow)
    proof = phone.proof(challenged.get("WWW-Authenticate"), method, uri)
    (answer,) = line.say(change(phone.request(method, proof, uri=uri, body=SDP * (method == "INVITE"))), phone.flow)
    return answer


@pytest.mark.parametrize(
    ("name", "before", "after", "status"),
    [
        ("invut", b"application/sdp", b"application/unknownformat", 415),
        ("sdp01", b"Max-Forwards: 70", b"Max-Forwards: 70\r\nAccept: text/nobodyKnowsThis", 406),
        ("zeromf", b"Max-Forwards: 70", b"Max-Forwards: 0", 483),
        ("inv2543", b"branch=z9hG4bK", b"branch=", 100),
    ],
)
def test_a_proven_call(name: str, before: bytes, after: bytes, status: int) -> None:
    line, phone = Line(), Phone()
    answer = proven(line, phone, lambda data: data.replace(before, after), "INVITE", "sip:activate@ivr.example.com")
    assert answer.status == status, name


@pytest.mark.parametrize(
    ("name", "contact", "kept"),
    [
        ("cparam01", f"sip:{MAC}@gw1.example.net;unknownparam", f"sip:{MAC}@gw1.example.net"),
        ("cparam02", f"<sip:{MAC}@gw1.example.net;unknownparam>", f"sip:{MAC}@gw1.example.net;unknownparam"),
        ("regescrt", f"<sip:{MAC}@gw1.example.net?Route=%3Csip:x.e.com%3E>", f"sip:{MAC}@gw1.example.net"),
        ("escnull", "<sip:%00@gw1.example.net>", "sip:%00@gw1.example.net"),
    ],
)
def test_a_proven_registration_is_reached_where_it_says(name: str, contact: str, kept: str) -> None:
    line, phone = Line(), Phone()
    effects = line.register(phone, f"Contact: {contact}")
    assert any(isinstance(one, Registered) for one in effects), name
    (notify,) = line.heard(line.core.notify(MAC, "check-sync", (), line.now, "t"))
    assert notify.uri == kept
    assert notify.all("Route") == [], "nobody tells us whom to pass"


def test_a_proof_for_another_scheme_of_proving_is_none() -> None:
    line, phone = Line(), Phone()
    answer = proven(
        line,
        phone,
        lambda data: re.sub(rb"Authorization: Digest", b"Authorization: NoOneKnowsThisScheme", data),
        "REGISTER",
        "sip:ivr.example.com",
    )
    assert answer.status == PROVE


# --- RFC 5118: IPv6 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (message("OPTIONS sip:activate@[2001:db8::10] SIP/2.0", via="SIP/2.0/UDP [2001:db8::9];branch=z9hG4bK"), 200),
        (message("OPTIONS sip:activate@2001:db8::10 SIP/2.0"), SILENCE),
        (message("OPTIONS sip:activate@[2001:db8::10:5070] SIP/2.0"), 200),
        (message("OPTIONS sip:activate@[2001:db8::10]:5070 SIP/2.0"), 200),
        (message(OPTIONS, via="SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKa"), 200),
        (message(OPTIONS, via="SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bKa"), 200),
        (message("OPTIONS sip:activate@[::ffff:192.0.2.10] SIP/2.0", "Contact: <sip:a@[::ffff:192.0.2.2]>"), 200),
        (message("OPTIONS sip:activate@[2001:db8::10%eth0] SIP/2.0"), SILENCE),
        (message(OPTIONS, call_id="3d9485ad0c49859b@[2001:db8::20]"), 200),
        (message(OPTIONS, via="SIP/2.0/UDP 2001:db8::9:1;branch=z9hG4bKa"), SILENCE),
    ],
)
def test_addresses_of_ipv6(data: bytes, status: int) -> None:
    assert [one.status for one in Line(CoreConfig(KEY)).say(data, udp("2001:db8::9:255"))] == [status] * bool(status)


@pytest.mark.parametrize(
    ("changed", "address"),
    [
        ({b"IN IP4 192.0.2.17": b"IN IP6 2001:db8::20"}, "2001:db8::20"),
        ({b"IN IP4 192.0.2.17": b"IN IP6 ::ffff:192.0.2.17"}, "::ffff:c000:211"),
        ({b"c=IN IP4 192.0.2.17": b"c=IN IP6 2001:db8::20"}, "2001:db8::20"),
        ({b"/8000\r\n": b"/8000\r\nc=IN IP6 2001:db8::20\r\n"}, "2001:db8::20"),
        ({b"/8000\r\n": b"/8000\r\nm=audio 9 RTP/AVP 0\r\nc=IN IP6 2001:db8::20\r\n"}, "192.0.2.17"),
    ],
)
def test_sessions_of_both_families(changed: dict[bytes, bytes], address: str) -> None:
    body = SDP
    for before, after in changed.items():
        assert before in body
        body = body.replace(before, after)
    assert ip_address(sdp.read(body).address) == ip_address(address)
