"""The cases of RFC 4475, worded here anew from its rules: what is read, what is refused, with which status, and
whether enough was understood to answer at all. Some of what the RFC leaves open is settled by this table.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
from wire_samples import CRLF, OFFER, message

from ivr.sip.errors import SipError
from ivr.sip.message import Malformed, Request, Response, parse, reply
from ivr.sip.uri import NameAddr, Uri

LONG = "x" * 600


class Refused(NamedTuple):
    status: int
    answered: bool


ANSWERED = Refused(400, True)
UNREADABLE = Refused(400, False)
DROPPED = Refused(0, False)
ACK = Refused(0, True)

TORTUOUS = CRLF.join(
    [
        "INVITE sip:activate@ivr.example.net;unknownparam SIP/2.0",
        "TO :",
        " sip:activate@ivr.example.net ;   tag    = 1918181833n",
        'from   : "J \\"the\\" Ring \\\\\\""       <sip:ring@example.org>',
        "  ;",
        "  tag = 98asjd8",
        "MaX-fOrWaRdS: 0068",
        "Call-ID: folded.ndaksdj@192.0.2.1",
        f"Content-Length   : {len(OFFER)}",
        "cseq: 0009",
        "  INVITE",
        "Via  : SIP  /   2.0",
        " /UDP",
        "    192.0.2.2;branch=390skdjuw",
        "s :",
        "NewFangledHeader:   newfangled value",
        " continued newfangled value",
        "UnknownHeaderWithUnusualValue: ;;,,;;,;",
        "Content-Type: application/sdp",
        "Route:",
        " <sip:services.example.net;lr;unknownwith=value;unknown-no-value>",
        "v:  SIP  / 2.0  / TCP     spindle.example.net   ;",
        "  branch  =   z9hG4bK9ikj8  ,",
        " SIP  /    2.0   / UDP  192.168.255.111   ; branch=",
        " z9hG4bK30239",
        'm:"Quoted string \\"\\"" <sip:ring@example.org> ; newparam =',
        "      newvalue ;",
        "  secondparam ; q = 0.33",
        "",
        "",
    ]
).encode()

VALID = {
    "tortuous INVITE: folds, spaces, capitals, compact names": TORTUOUS + OFFER,
    "method and URI of every allowed character": message(
        "!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
        ":&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0",
        "extensionHeader-!.%*+_`'~: \ufeff\u5927\u505c\u96fb",
        to='"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f" <sip:1_unusual.URI~(to-be!sure)&isn\'t+it$/crazy?,/;;*@example.com>',
        from_="token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;''~+*_!.-%=\"\\\"\u0440\u0430;, \\\\\";"
        "tag=_token~1'+`*%!-.",
        via="SIP/2.0/TCP host1.example.com;rport;branch=z9hG4bK-.!%66*_+`'~",
        call_id="intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{",
        cseq="139122385 {method}",
    ),
    "escaped characters in users": message(
        "INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0",
        "Contact: <sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>",
        to="sip:%75se%72@example.com",
        from_="<sip:I%20have%20spaces@example.net>;tag=938",
    ),
    "escaped NUL in users": message(
        "REGISTER sip:example.com SIP/2.0",
        "Contact: <sip:%00@host5.example.com>",
        "Contact: <sip:%00%00@host5.example.com>",
        to="sip:null-%00-null@example.com",
        from_="sip:null-%00-null@example.com;tag=839923423",
    ),
    "percent signs that escape nothing": message(
        "RE%47IST%45R sip:registrar.example.com SIP/2.0",
        "Contact: <sip:alias1@host1.example.com>",
        from_='"%Z%45" <sip:resource@example.com>;tag=f232jadfj23',
    ),
    "no space between name and bracket": message(from_="caller<sip:caller@example.com>;tag=323"),
    "long values everywhere": message(
        f"INVITE sip:user{LONG}@example.com SIP/2.0",
        f"Contact: <sip:amazing{LONG}@host5.example.net>",
        f"Very-{'Long' * 20}-Header: {LONG * 4}",
        *[f"Via: SIP/2.0/TCP sip{number}.example.com" for number in range(33)],
        from_=f'"{LONG}" <sip:{LONG}@example.com>;tag={LONG};{"p" * 200}={LONG}',
        call_id=f"longreq.{LONG}@example.com",
    ),
    "another request behind the first": message("REGISTER sip:example.com SIP/2.0", content_length="0")
    + message("INVITE sip:joe@example.com SIP/2.0"),
    "semicolon in the user": message("OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0"),
    "transports of all kinds": message(
        "OPTIONS sip:user@example.com SIP/2.0",
        "Via: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKklasjdhf",
        "Via: SIP/2.0/TLS t3.example.com;branch=z9hG4bK2980unddj",
        "Via: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKasd0f3en",
        "Via: SIP/2.0/TCP t5.example.com;branch=z9hG4bK0a9idfnee",
    ),
    "binary body with boundaries": message(
        "MESSAGE sip:kumiko@example.org SIP/2.0",
        "Content-Type: multipart/mixed;boundary=7a9cbec02ceef655",
        body=b"--7a9cbec02ceef655\r\n\r\n\r\n\x00\xff\x82\r\n--7a9cbec02ceef655--\r\n",
    ),
    "reason in another script": message("SIP/2.0 200 = 2**3 * 5**2 \u043d\u043e \u0441\u0442\u043e", cseq="35 INVITE"),
    "no reason": message("SIP/2.0 100 ", cseq="35 INVITE"),
    "Date that is not in GMT": message("INVITE sip:a@b.example SIP/2.0", "Date: Fri, 01 Jan 2010 16:00:00 EST"),
    "nothing behind the branch's cookie": message(via="SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK"),
    "unknown schemes of people": message(
        "REGISTER sip:example.com SIP/2.0", "Contact: <name:John_Smith>", to="isbn:2983792873", from_="<tel:+1;x>;tag=1"
    ),
    "unknown extensions": message(
        "OPTIONS sip:user@example.com SIP/2.0", "Require: nothingSupportsThis", "Proxy-Require: noProxiesSupportThis"
    ),
    "unknown body": message(
        "INVITE sip:user@example.com SIP/2.0", "Content-Type: application/unknownformat", body=b"<x/>"
    ),
    "unknown way to prove oneself": message(
        "REGISTER sip:example.com SIP/2.0", "Authorization: NoOneKnowsThisScheme opaque-data=here"
    ),
    "Via that names everybody": message(
        "SIP/2.0 200 OK", cseq="1 INVITE", via="SIP/2.0/UDP 255.255.255.255;branch=z9hG4bKx"
    ),
    "no hops left": message(max_forwards="0"),
    "Contact's parameter without brackets": message(
        "REGISTER sip:example.com SIP/2.0", "Contact: sip:+19725552222@gw1.example.net;unknownparam"
    ),
    "URI's parameter within brackets": message(
        "REGISTER sip:example.com SIP/2.0", "Contact: <sip:+19725552222@gw1.example.net;unknownparam>"
    ),
    "escaped header in a Contact": message(
        "REGISTER sip:example.com SIP/2.0", "Contact: <sip:user@example.com?Route=%3Csip:sip.example.com%3E>"
    ),
    "accepts no session description": message("INVITE sip:user@example.com SIP/2.0", "Accept: text/nobodyKnowsThis"),
    "of before RFC 3261": message(
        "INVITE sip:UserB@example.com SIP/2.0",
        from_="sip:UserA@example.com",
        via="SIP/2.0/UDP iftgw.example.com",
        without=("max-forwards", "content-length"),
    ),
}

INVALID = {
    "separators without values": (
        message("INVITE sip:u@example.com SIP/2.0", via="SIP/2.0/UDP 192.0.2.15;;,;,,"),
        UNREADABLE,
    ),
    "Contact of separators": (message("INVITE sip:u@e.com SIP/2.0", 'Contact: "Joe" <sip:joe@e.org>;;;;'), ANSWERED),
    "Content-Length too large": (message(content_length="9999"), ANSWERED),
    "Content-Length negative": (message(content_length="-999"), ANSWERED),
    "Content-Length of words": (message(content_length="ten"), ANSWERED),
    "Content-Length empty": (message(content_length=""), ANSWERED),
    "Content-Length of foreign digits": (message(content_length="\u0661"), ANSWERED),
    "Content-Length twice": (message("OPTIONS sip:a@b.example SIP/2.0", "l: 0"), ANSWERED),
    "CSeq too large": (message(cseq="36893488147419103232 {method}"), ANSWERED),
    "Max-Forwards too large": (message(max_forwards="300"), ANSWERED),
    "response with CSeq too large": (message("SIP/2.0 503 No", cseq="9292394834772304023312 OPTIONS"), DROPPED),
    "quotes that never close": (message(to='"Mr. J. User <sip:j.user@example.com>'), UNREADABLE),
    "brackets around the Request-URI": (message("INVITE <sip:user@example.com> SIP/2.0"), ANSWERED),
    "spaces within the Request-URI": (message("INVITE sip:user@example.com; lr SIP/2.0"), ANSWERED),
    "spaces within the request line": (message("INVITE  sip:user@example.com  SIP/2.0"), ANSWERED),
    "spaces behind the request line": (message("OPTIONS sip:remote-target@example.com SIP/2.0  "), ANSWERED),
    "header fields in the Request-URI": (message("INVITE sip:u@e.com?Route=%3Csip:e.com%3E SIP/2.0"), ANSWERED),
    "Contact with ? and without brackets": (
        message("REGISTER sip:e.com SIP/2.0", "Contact: sip:user@e.com?Route=%3Csip:sip.e.com%3E"),
        ANSWERED,
    ),
    "spaces within brackets": (message(to='"Watson, Thomas" < sip:t.watson@example.org >'), UNREADABLE),
    "comma in a name without quotes": (message(from_="Bell, Alexander <sip:a.g.bell@example.com>;tag=43"), UNREADABLE),
    "another version": (message("OPTIONS sip:t.watson@example.org SIP/7.0"), Refused(505, True)),
    "CSeq of another method": (message("OPTIONS sip:user@example.com SIP/2.0", cseq="8 INVITE"), ANSWERED),
    "unknown method, CSeq of another": (message("NEWMETHOD sip:user@example.com SIP/2.0", cseq="8 INVITE"), ANSWERED),
    "status too large": (message("SIP/2.0 4294967301 better not break", cseq="1 INVITE"), DROPPED),
    "nobody and nothing named": (message(without=("from", "to", "call-id")), UNREADABLE),
    "no Via": (message(without=("via",)), UNREADABLE),
    "unknown scheme in the Request-URI": (
        message("OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0"),
        Refused(416, True),
    ),
    "known scheme that is not SIP's": (message("OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0"), Refused(416, True)),
    "field twice that may stand once": (
        message("INVITE sip:c@example.com SIP/2.0", "From: sip:other@example.com;tag=x", "CSeq: 8 INVITE"),
        ANSWERED,
    ),
    "two tags": (message(to="<sip:a@b.example>;tag=1;tag=2"), UNREADABLE),
    "empty tag": (message(to="<sip:a@b.example>;tag"), UNREADABLE),
    "header line without a colon": (message("OPTIONS sip:a@b.example SIP/2.0", "Nonsense"), ANSWERED),
    "lone line feed in a header": (message("OPTIONS sip:a@b.example SIP/2.0", "Subject: a\nEvil: b"), ANSWERED),
    "lone carriage return": (message("OPTIONS sip:a@b.example SIP/2.0", "Subject: a\rEvil: b"), ANSWERED),
    "129 header fields": (message("OPTIONS sip:a@b.example SIP/2.0", *["X-Filler: 1"] * 122), ANSWERED),
    "500 header fields": (message("OPTIONS sip:a@b.example SIP/2.0", *["X-Filler: 1"] * 500), ANSWERED),
    "71 hops": (message("OPTIONS sip:a@b.example SIP/2.0", *["Via: SIP/2.0/UDP a"] * 70), UNREADABLE),
    "71 addresses": (message("OPTIONS sip:a@b.example SIP/2.0", "Route: " + ",".join(["<sip:a>"] * 71)), ANSWERED),
    "head without an end": (message(without=("content-length",))[:-2], ANSWERED),
    "IPv6 without brackets": (message("OPTIONS sip:2001:db8::10 SIP/2.0"), ANSWERED),
    "no IPv6 within brackets": (message("OPTIONS sip:a@[1.2.3.4] SIP/2.0"), ANSWERED),
    "port 0": (message("OPTIONS sip:a@b.example:0 SIP/2.0"), ANSWERED),
    "port 65536": (message(via="SIP/2.0/UDP b.example:65536;branch=z9hG4bKx"), UNREADABLE),
    "half an escape": (message("OPTIONS sip:a%4@b.example SIP/2.0"), ANSWERED),
    "wrong in an ACK": (message("ACK <sip:a@b.example> SIP/2.0"), ACK),
    "larger than a datagram can be": (message(body=b"x" * 65_536), Refused(513, False)),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: ivr.example.net\r\n\r\n", DROPPED),
    "a TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), DROPPED),
    "nothing": (b"", DROPPED),
    "a keep-alive": (b"\r\n\r\n", DROPPED),
    "zeroes": (bytes(4), DROPPED),
    "one line": (b"OPTIONS sip:a@b.example SIP/2.0", UNREADABLE),
}


@pytest.mark.parametrize("datagram", VALID.values(), ids=VALID.keys())
def test_valid_messages_are_read_and_can_be_answered(datagram: bytes) -> None:
    read = parse(datagram)
    assert parse(read.encode()) == read
    if isinstance(read, Request):
        answer = parse(reply(read, 200, tag="ours").encode())
        assert isinstance(answer, Response)
        assert (answer.call_id, answer.cseq, answer.cseq_method) == (read.call_id, read.cseq, read.method)
        assert answer.vias == read.vias


@pytest.mark.parametrize(("datagram", "expected"), INVALID.values(), ids=INVALID.keys())
def test_invalid_messages_are_refused_as_they_deserve(datagram: bytes, expected: Refused) -> None:
    with pytest.raises(SipError) as caught:
        parse(datagram)
    request = caught.value.request if isinstance(caught.value, Malformed) else None
    assert Refused(caught.value.status, request is not None) == expected
    assert caught.value.reason
    if request is not None:
        head, _, body = reply(request, 400, tag="ours").encode().partition(b"\r\n\r\n")
        assert head.startswith(b"SIP/2.0 400 Bad Request\r\nVia: ")
        assert f"Call-ID: {request.call_id}\r\nCSeq: {request.cseq} ".encode() in head
        assert (body, head.count(b"\r\nTo: ")) == (b"", 1)


def test_the_tortuous_invite_says_what_it_means() -> None:
    read = parse(VALID["tortuous INVITE: folds, spaces, capitals, compact names"])
    assert isinstance(read, Request)
    assert (read.to.tag, read.from_.tag, read.max_forwards) == ("1918181833n", "98asjd8", 68)
    assert read.from_.display == 'J "the" Ring \\"'
    assert (read.cseq, read.cseq_method) == (9, "INVITE")
    assert [via.transport for via in read.vias] == ["UDP", "TCP", "UDP"]
    assert [via.branch for via in read.vias] == ["390skdjuw", "z9hG4bK9ikj8", "z9hG4bK30239"]
    assert read.headers.get("NewFangledHeader") == "newfangled value continued newfangled value"
    assert "Subject" in read.headers
    assert read.headers.get("Subject", "missing") == ""
    contact = NameAddr.parse(read.headers.get("Contact"))
    assert dict(contact.params) == {"newparam": "newvalue", "secondparam": "", "q": "0.33"}
    assert contact.display == 'Quoted string ""'
    assert read.target().params == {"unknownparam": ""}
    assert read.body == OFFER


def test_what_stands_behind_a_message_in_its_datagram_is_left_out() -> None:
    read = parse(VALID["another request behind the first"])
    assert isinstance(read, Request)
    assert (read.method, read.body) == ("REGISTER", b"")


def test_a_parameter_belongs_to_the_uri_only_within_brackets() -> None:
    outside = parse(VALID["Contact's parameter without brackets"]).headers.get("Contact")
    inside = parse(VALID["URI's parameter within brackets"]).headers.get("Contact")
    assert NameAddr.parse(outside).params == NameAddr.parse(inside).uri.params == {"unknownparam": ""}
    assert NameAddr.parse(outside).uri.params == NameAddr.parse(inside).params == {}


def test_a_user_may_hold_a_semicolon() -> None:
    read = parse(VALID["semicolon in the user"])
    assert isinstance(read, Request)
    assert read.target() == Uri("sip", "user;par=u%40example.net", "example.com")


def test_a_binary_body_comes_through() -> None:
    assert b"\x00\xff\x82" in parse(VALID["binary body with boundaries"]).body


def test_a_method_is_compared_as_it_is_spelled() -> None:
    read = parse(VALID["percent signs that escape nothing"])
    assert isinstance(read, Request)
    assert read.method == "RE%47IST%45R"
