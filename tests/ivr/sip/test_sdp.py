"""Offers as phones make them, and as attackers do; every answer fits its offer."""

from __future__ import annotations

import time

import pytest
from effort import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wire_samples import OFFER

from ivr.sip.errors import SipError
from ivr.sip.sdp import Offer, answer, offer, read

US = {"address": "198.51.100.1", "port": 40_000, "session": 7, "version": 1}


def described(*media: str, session: tuple[str, ...] = ("c=IN IP4 192.0.2.17",)) -> bytes:
    lines = ["v=0", "o=- 1 1 IN IP4 192.0.2.17", "s=-", *session, "t=0 0", *media]
    return "".join(f"{line}\r\n" for line in lines).encode()


def answered(body: bytes) -> list[str]:
    return answer(body, address="198.51.100.1", port=40_000, session=7, version=1).decode().split("\r\n")[:-1]


def refused(body: bytes) -> int:
    """The status; reading and answering agree upon it."""
    statuses = []
    for act in (read, answered):
        with pytest.raises(SipError) as caught:
            act(body)
        statuses.append(caught.value.status)
    assert statuses[0] == statuses[1]
    return statuses[0]


# --- what phones offer ----------------------------------------------------------------------------------


def test_a_phones_offer_is_read() -> None:
    assert read(OFFER) == Offer(0, "PCMU", 127, "192.0.2.17", 2226, "sendrecv", 20, 0)


def test_a_phones_offer_is_answered() -> None:
    assert answered(OFFER) == [
        "v=0",
        "o=- 7 1 IN IP4 198.51.100.1",
        "s=-",
        "c=IN IP4 198.51.100.1",
        "t=0 0",
        "m=audio 40000 RTP/AVP 0 127",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:127 telephone-event/8000",
        "a=fmtp:127 0-15",
        "a=ptime:20",
        "a=sendrecv",
    ]


@pytest.mark.parametrize(
    ("formats", "codec"),
    [("0", 0), ("8", 8), ("8 0", 8), ("18 9 8 0 101", 8), ("97 0 8", 0)],
)
def test_the_first_of_the_offerers_codecs_is_taken(formats: str, codec: int) -> None:
    found = read(described(f"m=audio 5004 RTP/AVP {formats}"))
    assert (found.codec, found.codec_name) == (codec, {0: "PCMU", 8: "PCMA"}[codec])


@pytest.mark.parametrize("number", [96, 97, 101, 127])
def test_telephone_events_keep_the_offerers_number(number: int) -> None:
    body = described(f"m=audio 5004 RTP/AVP 8 {number}", f"a=rtpmap:{number} telephone-event/8000")
    assert read(body).events == number
    assert f"m=audio 40000 RTP/AVP 8 {number}" in answered(body)


@pytest.mark.parametrize(
    "lines",
    [
        ["m=audio 5004 RTP/AVP 0"],
        ["m=audio 5004 RTP/AVP 0 101"],
        ["m=audio 5004 RTP/AVP 0", "a=rtpmap:101 telephone-event/8000"],
        ["m=audio 5004 RTP/AVP 0 101", "a=rtpmap:101 telephone-event/16000"],
        ["m=audio 5004 RTP/AVP 0 200", "a=rtpmap:200 telephone-event/8000"],
    ],
)
def test_events_that_are_not_offered_are_not_answered(lines: list[str]) -> None:
    assert read(described(*lines)).events is None
    assert not any("telephone-event" in line for line in answered(described(*lines)))


def test_of_two_clocks_the_codecs_one_is_taken() -> None:
    body = described("m=audio 5004 RTP/AVP 9 0 100 101", "a=rtpmap:100 telephone-event/16000",
                     "a=rtpmap:101 TELEPHONE-EVENT/8000")  # fmt: skip
    assert read(body).events == 101


def test_other_streams_are_refused_in_their_place() -> None:
    body = described(
        "m=video 5006 RTP/AVP 96 97",
        "c=IN IP4 224.0.0.1",
        "m=audio 5008 RTP/SAVP 0 8",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc",
        "m=audio 0 RTP/AVP 0",
        "m=audio 5004 RTP/AVP 8",
        "m=audio 5010 RTP/AVP 8",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "m=image 5012 udptl t38",
        session=("c=IN IP4 192.0.2.17", "b=AS:64", "k=clear:x", "a=group:BUNDLE 1 2"),
    )
    assert read(body).index == 3
    assert [line for line in answered(body) if line.startswith("m=")] == [
        "m=video 0 RTP/AVP 96",
        "m=audio 0 RTP/SAVP 0",
        "m=audio 0 RTP/AVP 0",
        "m=audio 40000 RTP/AVP 8",
        "m=audio 0 RTP/AVP 8",
        "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
        "m=image 0 udptl t38",
    ]


@pytest.mark.parametrize(
    ("lines", "direction", "held", "answer_direction"),
    [
        ([], "sendrecv", False, "sendrecv"),
        (["a=sendonly"], "sendonly", True, "recvonly"),
        (["a=recvonly"], "recvonly", False, "sendonly"),
        (["a=inactive"], "inactive", True, "inactive"),
        (["c=IN IP4 0.0.0.0"], "sendrecv", True, "recvonly"),
        (["c=IN IP4 0.0.0.0", "a=inactive"], "inactive", True, "inactive"),
    ],
)
def test_hold_is_understood_and_mirrored(lines: list[str], direction: str, held: bool, answer_direction: str) -> None:
    body = described("m=audio 5004 RTP/AVP 0", *lines)
    assert (read(body).direction, read(body).held) == (direction, held)
    assert answered(body)[-1] == f"a={answer_direction}"


def test_what_stands_above_the_media_holds_for_all_of_it() -> None:
    body = described("m=audio 5004 RTP/AVP 0", session=("c=IN IP4 192.0.2.99", "a=sendonly"))
    assert (read(body).address, read(body).direction) == ("192.0.2.99", "sendonly")
    body = described("m=audio 5004 RTP/AVP 0", "c=IN IP4 192.0.2.3/127", "a=sendrecv", session=("a=inactive",))
    assert (read(body).address, read(body).direction) == ("192.0.2.3", "sendrecv")


@pytest.mark.parametrize(
    ("text", "ptime"), [("10", 10), ("30", 30), ("60", 60), ("1", 20), ("999999", 20), ("x", 20), ("20.0", 20)]
)
def test_a_packets_length_is_the_offerers_when_it_can_be(text: str, ptime: int) -> None:
    assert read(described("m=audio 5004 RTP/AVP 0", f"a=ptime:{text}")).ptime == ptime


def test_ipv6_is_read_and_written() -> None:
    body = described("m=audio 5004 RTP/AVP 0", session=("c=IN IP6 2001:DB8::17",))
    assert read(body).address == "2001:db8::17"
    ours = answer(body, address="2001:db8::1", port=40_000, session=7, version=1)
    assert b"c=IN IP6 2001:db8::1\r\n" in ours


def test_bare_line_feeds_and_odd_lines_are_read() -> None:
    body = OFFER.replace(b"\r\n", b"\n").replace(b"s=call", b"s=\xff\xfe") + b"a=x-unknown:1\n\n"
    assert read(body) == read(OFFER)


def test_the_times_of_the_offer_are_the_answers() -> None:
    assert "t=2873397496 2873404696" in answered(OFFER.replace(b"t=0 0", b"t=2873397496 2873404696"))


def test_our_own_offer_can_be_answered() -> None:
    ours = offer(address="198.51.100.1", port=40_000, session=7, version=1)
    assert read(ours) == Offer(0, "PCMU", 101, "198.51.100.1", 40_000, "sendrecv", 20, 0)
    theirs = answer(ours, address="192.0.2.17", port=2226, session=1, version=1)
    assert read(theirs) == Offer(0, "PCMU", 101, "192.0.2.17", 2226, "sendrecv", 20, 0)


# --- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["m=audio 5004 RTP/SAVP 0 8"],
        ["m=audio 5004 RTP/AVP 18 9"],
        ["m=audio 0 RTP/AVP 0"],
        ["m=video 5004 RTP/AVP 0"],
        ["m=audio 5004 RTP/AVP 0", "a=rtpmap:0 G729/8000"],
        ["m=audio 5004 RTP/AVP 0", "c=IN IP4 224.2.1.1/127"],
        ["m=audio 5004 RTP/AVP 0", "c=IN IP6 ff02::1"],
        ["m=audio 5004 RTP/AVP 0", "c=IN IP4 ::1"],
        ["m=audio 5004 RTP/AVP 0", "c=IN IP4 phone.example.net"],
        ["m=audio 5004 RTP/AVP 0"] * 100,
        ["m=audio 5004 RTP/AVP " + " ".join(map(str, range(100)))],
    ],
)
def test_what_we_cannot_do_is_not_acceptable(lines: list[str]) -> None:
    assert refused(described(*lines)) == 488


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\r\n",
        b"v=1\r\n",
        b"hello",
        b"\x00" * 100,
        described("m=audio 5004 RTP/AVP"),
        described("m=audio RTP/AVP 0"),
        described("m=audio 65536 RTP/AVP 0"),
        described("m=audio -1 RTP/AVP 0"),
        described("m=audio 5004 RTP/AVP 0", session=()),
        described("m=audio 5004 RTP/AVP 0", session=("c=IN ATM 1",)),
        described("m=audio 5004 RTP/AVP 0", "c=IN IP4"),
        described("m=audio 5004 RTP/AVP 0", "garbage"),
        described("m=audio 5004 RTP/AVP 0", "A=sendrecv"),
        described("m=audio 5004 RTP/AVP \u0660"),
        described("m=au\rdio 5004 RTP/AVP 0"),
        described("m=audio 5004 RTP/AVP 0", *["a=x"] * 600),
        described("m=audio 5004 RTP/AVP 0", "a=" + "x" * 20_000),
    ],
)
def test_what_is_no_description_is_a_bad_request(body: bytes) -> None:
    assert refused(body) == 400


@pytest.mark.parametrize(
    "filling", ["a=x\r\n", "m=audio 1 RTP/AVP 0\r\n", " ", "0 ", "a=rtpmap:0 ", "\n", "\r", "/", "1.", ":"]
)
def test_64_kib_of_anything_cost_little(filling: str) -> None:
    begin = time.process_time()
    for head in (
        "",
        "v=0\r\n",
        "v=0\r\nm=audio 1 RTP/AVP ",
        "v=0\r\nc=IN IP4 ",
        "v=0\r\nm=audio 1 RTP/AVP 0\r\na=rtpmap:",
    ):
        for size in (16_000, 65_000):
            body = (head + filling * (size // len(filling))).encode()
            try:
                read(body)
            except SipError:
                continue
    assert time.process_time() - begin < 0.5


# --- whatever comes -------------------------------------------------------------------------------------

FORMATS = st.lists(st.integers(0, 130), min_size=1, max_size=8, unique=True)
MEDIA = st.tuples(
    st.sampled_from(["audio", "audio", "AUDIO", "video", "image"]),
    st.integers(0, 65_535),
    st.sampled_from(["RTP/AVP", "RTP/AVP", "rtp/avp", "RTP/SAVP", "udptl"]),
    FORMATS,
    st.sampled_from(["sendrecv", "sendonly", "recvonly", "inactive", "ptime:30", "rtpmap:101 telephone-event/8000"]),
)


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(MEDIA, max_size=6), st.sampled_from(["192.0.2.17", "10.0.0.5", "0.0.0.0", "127.0.0.1"]))
def test_an_answer_fits_its_offer(media: list[tuple[str, int, str, list[int], str]], address: str) -> None:
    lines = [
        line
        for kind, port, protocol, formats, attribute in media
        for line in (f"m={kind} {port} {protocol} {' '.join(map(str, formats))}", f"a={attribute}")
    ]
    body = described(*lines, session=(f"c=IN IP4 {address}",))
    try:
        chosen = read(body)
    except SipError as wrong:
        assert wrong.status == 488
        return
    ours = [line.split() for line in answered(body) if line.startswith("m=")]
    theirs = [line.split() for line in lines if line.startswith("m=")]
    assert len(ours) == len(theirs)
    assert [number for number, line in enumerate(ours) if line[1] != "0"] == [chosen.index]
    assert set(ours[chosen.index][3:]) <= set(theirs[chosen.index][3:])
    assert [line[2].lower() for line in ours] == [line[2].lower() for line in theirs]
    back = read("\r\n".join(answered(body)).encode())
    assert (back.codec, back.events, back.index) == (chosen.codec, chosen.events, chosen.index)


@settings(max_examples=examples(400), deadline=None)
@given(st.data())
def test_bytes_cut_and_flipped_anywhere_raise_nothing_but_sip_error(data: st.DataObject) -> None:
    body = bytearray(OFFER)
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(body)))
        match data.draw(st.sampled_from(["cut", "flip", "put", "drop"])):
            case "cut":
                del body[at:]
            case "flip" if at < len(body):
                body[at] ^= 1 << data.draw(st.integers(0, 7))
            case "put":
                body[at:at] = data.draw(st.binary(max_size=4))
            case _:
                del body[at : at + data.draw(st.integers(1, 30))]
    survives(bytes(body))


@settings(deadline=None)
@given(st.binary(max_size=300).map(b"v=0\r\n".__add__))
@example(b"v=0\r\nc=IN IP4 1\r\nm=audio 1 RTP/AVP 0")
@example(b"v=0\r\nc=IN IP4 1.2.3.4\r\nm=audio 1 RTP/AVP 0\r\na=rtpmap:" + b"9" * 5000)
def test_any_bytes_raise_nothing_but_sip_error(body: bytes) -> None:
    survives(body)


def survives(body: bytes) -> None:
    try:
        found = read(body)
    except SipError as wrong:
        assert wrong.status in {400, 488}
        return
    ours = answer(body, address="198.51.100.1", port=40_000, session=7, version=1)
    assert read(ours).codec == found.codec
    assert 0 < found.port < 65_536
    assert found.held in {True, False}
    assert len(ours) < 2 * len(body) + 400
