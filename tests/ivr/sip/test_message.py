"""Reading and writing of whole messages: nothing but SipError, no hidden copy, no line break smuggled, bounded work."""

from __future__ import annotations

import time
from itertools import product

import pytest
from effort import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wire_samples import INVITE, REGISTER, SAMPLES, message

from ivr.sip.errors import SipError
from ivr.sip.headers import Headers
from ivr.sip.message import LONGEST, REASONS, Facts, Malformed, Request, Response, parse, reply


def request(datagram: bytes = INVITE) -> Request:
    read = parse(datagram)
    assert isinstance(read, Request)
    return read


# --- what is read ---------------------------------------------------------------------------------------


def test_an_invite_is_read() -> None:
    read = request()
    assert (read.method, read.call_id, read.cseq) == ("INVITE", "3848276298220188511@192.0.2.17", 1)
    assert (read.from_.display, read.from_.uri.user, read.from_.tag) == ("Lobby", "0004f2aabbcc", "9fxced76sl")
    assert (read.to.uri.user, read.to.tag) == ("activate", "")
    assert (read.vias[0].host, read.vias[0].port, read.vias[0].transport) == ("192.0.2.17", 5060, "UDP")
    assert read.headers.all("Supported") == ("100rel", "replaces")
    assert (read.content_type, read.expires, read.max_forwards) == ("application/sdp", None, 70)
    assert read.headers.get("authorization").endswith("algorithm=MD5")
    assert read.body.startswith(b"v=0")
    assert str(read.target()) == read.uri


def test_compact_names_and_ipv6_are_read() -> None:
    read = request(SAMPLES["compact"])
    assert [name for name, _ in read.headers.items()] == ["Via", "From", "To", "Call-ID", "CSeq", "Content-Type"]
    assert [(via.host, via.port) for via in read.vias] == [("2001:db8::17", None), ("pc.example.net", None)]
    assert read.vias[1].params["received"] == "::1"
    assert (read.target().host, read.target().port) == ("2001:db8::1", 5062)
    assert read.body == b"Signal=5\r\nDuration=160\r\n"


def test_a_response_is_read() -> None:
    read = parse(SAMPLES["ok"])
    assert isinstance(read, Response)
    assert (read.status, read.reason, read.cseq_method) == (200, "OK", "INVITE")
    assert read.headers.all("Record-Route") == ("<sip:192.0.2.3;lr>", "<sip:192.0.2.2;lr>")


def test_what_is_not_utf8_is_lost_but_grows_no_longer() -> None:
    read = request(message("OPTIONS sip:a@b.example SIP/2.0", "Subject: SUBJECT").replace(b"SUBJECT", b"\xff\xc3(\xe2"))
    assert read.headers.get("Subject") == "??(?"


def test_a_line_goes_on_behind_spaces_and_tabs() -> None:
    read = request(message("OPTIONS sip:a@b.example SIP/2.0", "Subject: a\r\n\tb\r\n \t c", "X-Next: d"))
    assert (read.headers.get("Subject"), read.headers.get("X-Next")) == ("a b c", "d")


@pytest.mark.parametrize(
    ("text", "expires"),
    [("0", 0), ("007200", 7200), ("-1", None), ("1.5", None), ("", None), ("9" * 30, 2**32 - 1), ("9" * 40, None)],
)
def test_expires_is_a_number_or_missing(text: str, expires: int | None) -> None:
    assert request(message("REGISTER sip:b.example SIP/2.0", f"Expires: {text}")).expires == expires


def test_without_content_length_the_datagram_ends_the_body() -> None:
    datagram = message(body=b"abc", without=("content-length",))
    assert request(datagram).body == b"abc"


@pytest.mark.parametrize("name", ["Content-Length", "l", "CONTENT-LENGTH  ", "Content-Length \t"])
def test_content_length_counts_however_it_is_spelled(name: str) -> None:
    plain = message(body=b"abcdef", without=("content-length",))
    assert request(plain.replace(b"\r\n\r\n", f"\r\n{name}:\r\n  3 \r\n\r\n".encode(), 1)).body == b"abc"


def test_content_length_in_a_folded_line_or_a_body_is_none() -> None:
    plain = message(
        "OPTIONS sip:a@b.example SIP/2.0", "Subject: x\r\n Content-Length: 1", body=b"abc", without=("content-length",)
    )
    assert request(plain).body == b"abc"
    assert request(message(body=b"\r\nContent-Length: 1\r\n")).body == b"\r\nContent-Length: 1\r\n"


# --- what is written ------------------------------------------------------------------------------------


def test_a_reply_repeats_what_identifies_the_request() -> None:
    asked = request(
        message("INVITE sip:a@b.example SIP/2.0", "Record-Route: <sip:p1;lr>, <sip:p2;lr>", "Timestamp: 54")
    )
    answer = reply(asked, 200, tag="a6c85cf", headers=[("Contact", "<sip:activate@192.0.2.1>")], body=b"v=0\r\n")
    lines = answer.encode().decode().split("\r\n")
    assert lines[0] == "SIP/2.0 200 OK"
    assert "Record-Route: <sip:p1;lr>, <sip:p2;lr>" in lines
    assert "To: <sip:activate@ivr.example.net>;tag=a6c85cf" in lines
    assert "Contact: <sip:activate@192.0.2.1>" in lines
    assert lines[-3:] == ["", "v=0", ""]
    assert lines[-4] == "Content-Length: 5"
    assert answer.headers.get("Server")
    assert "Timestamp" not in answer.headers


def test_a_reply_adds_no_second_tag() -> None:
    asked = request(message("BYE sip:a@b.example SIP/2.0", to="<sip:a@b.example>;tag=first"))
    assert reply(asked, 481, tag="second").to.tag == "first"


@pytest.mark.parametrize(
    ("method", "status", "copied"),
    [
        ("INVITE", 180, True),
        ("INVITE", 200, True),
        ("INVITE", 100, False),
        ("INVITE", 404, False),
        ("BYE", 200, False),
        ("OPTIONS", 200, False),
    ],
)
def test_the_route_is_recorded_where_a_dialog_begins(method: str, status: int, copied: bool) -> None:
    asked = request(message(f"{method} sip:a@b.example SIP/2.0", "Record-Route: <sip:p1;lr>"))
    assert ("Record-Route" in reply(asked, status).headers) is copied


def test_trying_repeats_the_timestamp() -> None:
    asked = request(message("INVITE sip:a@b.example SIP/2.0", "Timestamp: 54"))
    assert reply(asked, 100).headers.get("Timestamp") == "54"


def test_every_status_has_words() -> None:
    assert all(reply(request(), status).reason == words for status, words in REASONS.items())
    assert reply(request(), 499).reason


def test_a_reply_is_no_longer_than_what_it_answers() -> None:
    """A forged source gets no more from us than it cost: bytes that are not UTF-8 do not become three each."""
    noisy = message("OPTIONS sip:a@b.example SIP/2.0", from_='"NOISE" <sip:a@b.example>;tag=1', call_id="NOISE")
    asked = noisy.replace(b"NOISE", b"\xff" * 400)
    assert len(reply(request(asked), 401, tag="x" * 16).encode()) < 1.1 * len(asked)


@pytest.mark.parametrize(
    ("via", "host", "expected"),
    [
        ("SIP/2.0/UDP 10.0.0.5:5060;branch=z9", "203.0.113.9", "10.0.0.5:5060;branch=z9;received=203.0.113.9"),
        ("SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1", "192.0.2.9", "192.0.2.9;branch=z9hG4bK1"),
        ("SIP/2.0/UDP 192.0.2.9;rport;branch=x", "192.0.2.9", "192.0.2.9;rport=4444;branch=x;received=192.0.2.9"),
        ("SIP/2.0/UDP 192.0.2.9;received=192.0.2.66", "192.0.2.9", "192.0.2.9"),
        ("SIP/2.0/UDP a.example;rport=1;received=192.0.2.66", "::1", "a.example;rport=4444;received=::1"),
        ("SIP/2.0/UDP [2001:DB8::1]", "2001:db8::1", "[2001:db8::1]"),
    ],
)
def test_where_a_request_came_from_is_noted_in_its_first_via(via: str, host: str, expected: str) -> None:
    asked = message(
        "OPTIONS sip:a@b.example SIP/2.0", "v: SIP/2.0/TCP other.example", via=f"{via}, SIP/2.0/TLS x.example"
    )
    seen = request(asked).seen_from(host, 4444)
    assert seen.headers.all("Via") == (f"SIP/2.0/UDP {expected}", "SIP/2.0/TLS x.example", "SIP/2.0/TCP other.example")
    assert seen.facts == Facts.read(seen.headers)
    assert seen.headers.items()[0][0] == "Via"


@pytest.mark.parametrize("ending", ["\r\nEvil: 1", "\nEvil: 1", "\rEvil: 1", "\r\n\r\nBODY"])
def test_no_line_break_is_written(ending: str) -> None:
    asked = request()
    with pytest.raises(ValueError, match="line break"):
        reply(asked, 200, headers=[("Subject", f"x{ending}")])
    with pytest.raises(ValueError, match="line break"):
        reply(asked, 200, tag=f"x{ending}")
    with pytest.raises(ValueError, match="token"):
        asked.headers.with_((f"Subject{ending}", "x"))
    with pytest.raises(ValueError, match="status line"):
        reply(asked, 200, f"OK{ending}").encode()
    for method, uri in (
        (f"BYE{ending}", "sip:a"),
        ("BYE", f"sip:a{ending}"),
        ("BYE", "sip:a b"),
        ("B E", "sip:a"),
        ("", "sip:a"),
    ):
        with pytest.raises(ValueError, match="request line"):
            Request(method, uri, asked.headers).encode()


@pytest.mark.parametrize("status", [0, 99, 700, 1000, -200])
def test_no_other_status_is_written(status: int) -> None:
    with pytest.raises(ValueError, match="status line"):
        reply(request(), status).encode()


def test_secrets_and_digits_do_not_print() -> None:
    datagram = INVITE.replace(b"sip:activate@ivr.example.net;user=phone", b"sip:155590123456@ivr.example.net")
    shown = (
        repr(request(datagram)) + repr(request(datagram).headers) + repr(reply(request(datagram), 200, body=b"5551"))
    )
    assert "6629fae49393a05397450978507c4ef1" not in shown
    assert "155590" not in shown
    assert "5551" not in shown
    with pytest.raises(Malformed) as caught:
        parse(datagram.replace(b"Max-Forwards: 70", b"Max-Forwards: 155590"))
    assert "155590" not in f"{caught.value!r} {caught.value}"


# --- header fields --------------------------------------------------------------------------------------


def test_headers_are_found_by_any_name() -> None:
    headers = Headers([("v", "SIP/2.0/UDP a"), ("VIA", "SIP/2.0/UDP b, SIP/2.0/UDP c"), ("subject", "x, y")])
    assert headers.all("via") == headers.all("V") == ("SIP/2.0/UDP a", "SIP/2.0/UDP b", "SIP/2.0/UDP c")
    assert headers.lines("Via") == ("SIP/2.0/UDP a", "SIP/2.0/UDP b, SIP/2.0/UDP c")
    assert headers.get("Via") == "SIP/2.0/UDP a"
    assert headers.all("s") == ("x, y",)
    assert (headers.get("Missing"), headers.get("Missing", "-"), headers.all("Missing")) == ("", "-", ())
    assert headers.items()[1] == ("Via", "SIP/2.0/UDP b, SIP/2.0/UDP c")
    assert "f" not in headers
    assert "SUBJECT" in headers


def test_headers_are_changed_by_copying() -> None:
    headers = Headers([("Via", "1"), ("From", "2"), ("Via", "3")])
    assert headers.with_(("Via", "4")).all("Via") == ("1", "3", "4")
    assert headers.without("v").items() == (("From", "2"),)
    assert headers.replaced("Via", "5", "6").items() == (("Via", "5"), ("Via", "6"), ("From", "2"))
    assert headers.replaced("To", "7").items()[-1] == ("To", "7")
    assert headers.items() == (("Via", "1"), ("From", "2"), ("Via", "3"))
    assert {headers, Headers(headers.items())} == {headers}
    assert headers != Headers()


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ('"a, b" <sip:a@b>, <sip:c,d@e>;x="1,2"', ['"a, b" <sip:a@b>', '<sip:c,d@e>;x="1,2"']),
        ('"a\\", b" <sip:a>,<sip:b>', ['"a\\", b" <sip:a>', "<sip:b>"]),
        (" , a ,, b, ", ["a", "b"]),
        ('a, "b, c', ["a", '"b, c']),
        (',<a>,\t,"b" , <c, "d', ["<a>", '"b"', '<c, "d']),
        ("a, <b, c", ["a", "<b, c"]),
        ("", []),
    ],
)
def test_lists_are_split_outside_quotes_and_brackets(value: str, parts: list[str]) -> None:
    assert list(Headers([("Contact", value)]).all("Contact")) == parts


# --- whatever comes -------------------------------------------------------------------------------------

VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n")).map(
    lambda text: text.strip(" \t")
)
NAMES = st.from_regex(r"X-[A-Za-z0-9!%'*+.\-_`~]{1,20}", fullmatch=True)
USUAL = request(message()).headers.items()


@settings(deadline=None)
@given(pairs=st.lists(st.tuples(NAMES, VALUES), max_size=20), body=st.binary(max_size=200))
def test_what_is_written_is_read_again(pairs: list[tuple[str, str]], body: bytes) -> None:
    written = Request("OPTIONS", "sip:a@b.example", Headers((*USUAL, *pairs)), body)
    assert parse(written.encode()) == written


@settings(deadline=None)
@given(VALUES, st.integers(100, 699))
def test_a_response_that_is_written_is_read_again(text: str, status: int) -> None:
    printable = "".join(char for char in text if char == "\t" or (char >= " " and char != "\x7f"))
    written = Response(status, printable, Headers((*USUAL, ("Subject", text))))
    assert parse(written.encode()) == written


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A message cut, flipped, doubled and spliced anywhere."""
    data = bytearray(draw(st.sampled_from(list(SAMPLES.values()))))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["cut", "flip", "put", "repeat", "drop"])):
            case "cut":
                del data[at:]
            case "flip" if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "put":
                data[at:at] = draw(
                    st.binary(max_size=4) | st.sampled_from([b"\r\n", b"\r\n ", b'"', b"<", b",", b";", b":"])
                )
            case "repeat":
                data[at:at] = data[at : at + draw(st.integers(1, 40))]
            case _:
                del data[at : at + draw(st.integers(1, 40))]
    return bytes(data)


def survives(datagram: bytes) -> None:
    try:
        read = parse(datagram)
    except Malformed as wrong:
        assert wrong.request is not None
        answer = parse(reply(wrong.request.seen_from("192.0.2.1", 5060), 400, tag="t").encode())
        assert isinstance(answer, Response)
    except SipError as wrong:
        assert wrong.status == 0 or 400 <= wrong.status < 600
    else:
        assert parse(read.encode()) == read
        assert read.max_forwards + read.cseq + (read.expires or 0) >= 0
        assert read.content_type == read.content_type.lower()
        if isinstance(read, Request):
            parse(reply(read.seen_from("192.0.2.1", 5060), 200, tag="t").encode())


@settings(max_examples=examples(600), deadline=None)
@given(damaged())
def test_bytes_cut_and_flipped_anywhere_raise_nothing_but_sip_error(datagram: bytes) -> None:
    survives(datagram)


@settings(deadline=None)
@given(st.binary(max_size=400))
@example(b"SIP/2.0 ")
@example(b" SIP/2.0\r\n\r\n")
@example(b"A B SIP/2.0\r\nl:" + b"9" * 5000 + b"\r\n\r\n")
def test_any_bytes_raise_nothing_but_sip_error(datagram: bytes) -> None:
    survives(datagram)


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())
def test_every_truncation_is_survived(sample: bytes) -> None:
    for end in range(len(sample)):
        survives(sample[:end])


# --- bounded work ---------------------------------------------------------------------------------------

FILLINGS = [
    "<",
    '"',
    ",",
    ";",
    " ",
    "\t",
    "\\",
    "%",
    "=",
    ":",
    "[",
    "@",
    "/",
    ".",
    "a",
    "0",
    "\r\n ",
    "\r\n",
    "\r\n\t\t",
]
FILLINGS += [
    '"\\',
    ";a",
    ",<",
    ', "',
    '<">',
    "a:",
    "a,",
    ";a=",
    ' "',
    "%4",
    "\r\na:1",
    "a b",
    "\ufeff",
    "\r",
    "l:1\r\n",
]
PLACES = ["Via", "From", "To", "Call-ID", "CSeq", "Contact", "Route", "Supported", "Content-Length", "Max-Forwards"]
ENOUGH = 0.5
"""CPU seconds; the slowest takes some hundredths, and one expression that goes back over 64 KiB takes several."""


def cost(datagram: bytes) -> float:
    begin = time.process_time()
    survives(datagram[:LONGEST])
    return time.process_time() - begin


@pytest.mark.parametrize("place", [*PLACES, "Subject"])
def test_64_kib_of_anything_in_a_header_cost_little(place: str) -> None:
    plain = message("INVITE sip:a@b.example SIP/2.0", without=(place.lower(),)).decode()
    heads = ["", '"', "<sip:", "sip:", "<sip:a>", "SIP/2.0/UDP ", "SIP/2.0/UDP a", '"a" <sip:a>;b="']
    slow = {}
    for head, filling in product(heads, FILLINGS):
        value = head + filling * (60_000 // len(filling.encode()))
        datagram = plain.replace("\r\n", f"\r\n{place}: {value}\r\n", 1).encode()
        if (seconds := cost(datagram)) > ENOUGH:
            slow[head, filling] = seconds
    assert slow == {}


def test_64_kib_of_anything_in_a_first_line_cost_little() -> None:
    slow = {}
    for head, filling in product(["", "INVITE ", "INVITE sip:", "INVITE sip:a@", "SIP/2.0 ", "SIP/2.0 200 "], FILLINGS):
        line = head + filling * (60_000 // len(filling.encode()))
        for start in (line, f"{line} SIP/2.0"):
            if (
                seconds := cost(message().replace(b"OPTIONS sip:activate@ivr.example.net SIP/2.0", start.encode()))
            ) > ENOUGH:
                slow[head, filling] = seconds
    assert slow == {}


def test_a_reply_to_an_overfull_register_is_possible() -> None:
    many = REGISTER.replace(b"MAC:", b"X-Filler: 1\r\n" * 500 + b"MAC:")
    with pytest.raises(Malformed) as caught:
        parse(many)
    assert caught.value.request is not None
    assert len(caught.value.request.headers) <= 128
