"""What a simulated phone reads and sends in a call, without any network."""

from __future__ import annotations

import io
import wave
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import Invalid
from provisioner.simulator.caller import _number, place_of
from provisioner.simulator.caller_call import Manner, masked
from provisioner.simulator.caller_message import Garbled, Message, body_length, read, request, response, uri_of
from provisioner.simulator.caller_sdp import PCMA, PCMU, Agreed, offer, read_answer
from provisioner.simulator.caller_sound import FRAME, KEYS, Ear, Mouth, Packet, decode, read_packet
from provisioner.simulator.report import RegisteredLine

INVITE = (
    b"INVITE sip:2288@192.0.2.1 SIP/2.0\r\nv: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKone;rport\r\n"
    b'f: "Ada <x>" <sip:a@192.0.2.1>;tag=from\r\nTo: <sip:2288@192.0.2.1>\r\ni: call\r\n'
    b"CSeq: 7 INVITE\r\nRecord-Route: <sip:p1;lr>,\r\n <sip:p2,x;lr>\r\nl: 4\r\n\r\nbodyrest"
)
ANSWER = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    b"m=audio 30000 RTP/AVP 8 127\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:127 telephone-event/8000\r\n"
)


# --- messages -------------------------------------------------------------------------------------------


def test_compact_names_folds_lists_and_lengths_are_read() -> None:
    message = read(INVITE)
    assert (message.method, message.status, message.body) == ("INVITE", 0, b"body")
    assert (message.branch, message.cseq, message.one("call-id")) == ("z9hG4bKone", (7, "INVITE"), "call")
    assert (message.tag("from"), message.tag("to")) == ("from", "")
    assert message.entries("record-route") == ["<sip:p1;lr>", "<sip:p2,x;lr>"]


def test_an_answer_copies_what_it_must_and_has_one_tag() -> None:
    answer = read(response(read(INVITE), "200 OK", "mine", {"contact": "<sip:a@b>"}.items(), b"x").encode())
    assert (answer.status, answer.told, answer.tag("to"), answer.body) == (200, "200 OK", "mine", b"x")
    assert (answer.branch, answer.cseq, answer.one("contact")) == ("z9hG4bKone", (7, "INVITE"), "<sip:a@b>")
    assert response(answer, "200 OK", "other").one("to").count("tag=") == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"INVITE sip:a SIP/2.0\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"SIP/2.0 200 OK\r\nno colon\r\n\r\n",
        b"SIP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nfour",
        b"SIP/2.0 200 OK\r\nContent-Length: -1\r\n\r\n",
    ],
)
def test_what_is_no_message_is_garbled(data: bytes) -> None:
    with pytest.raises(Garbled):
        read(data)


@given(st.binary(max_size=300) | st.integers(0, len(INVITE)).map(lambda cut: INVITE[:cut]))
def test_any_bytes_are_a_message_or_garbled(data: bytes) -> None:
    try:
        message = read(data)
    except Garbled:
        return
    assert message.method or message.status
    assert isinstance(message.branch + message.tag("to") + str(message.cseq), str)


@given(st.integers(0, len(INVITE) - 1), st.integers(0, 255))
def test_one_flipped_byte_breaks_nothing_else(place: int, byte: int) -> None:
    data = bytearray(INVITE)
    data[place] = byte
    try:
        found = read(bytes(data)).entries("record-route")
    except Garbled:
        return
    assert all(uri_of(one) is not None for one in found)


names = st.sampled_from(["via", "from", "to", "call-id", "event", "contact"])
values = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30)


@given(st.lists(st.tuples(names, values), max_size=6), st.binary(max_size=50))
def test_what_is_written_is_read(headers: list[tuple[str, str]], body: bytes) -> None:
    written = request("NOTIFY", "sip:a@b", headers, body)
    found = read(written.encode())
    assert (found.first, found.headers[:-1], found.body) == (written.first, tuple(headers), body)


def test_a_stream_has_to_tell_lengths() -> None:
    assert body_length(b"BYE sip:a SIP/2.0\r\nContent-Length: 12\r\n\r\n") == 12
    assert body_length(b"BYE sip:a SIP/2.0\r\nl: 3\r\n\r\n") == 3
    for head in (b"BYE sip:a SIP/2.0\r\n\r\n", b"BYE sip:a SIP/2.0\r\nContent-Length: 999999\r\n\r\n"):
        with pytest.raises(Garbled):
            body_length(head)


def test_places_are_hosts_with_or_without_ports() -> None:
    assert place_of("pbx.example.net", "tls") == ("pbx.example.net", 5061)
    assert place_of("[2001:db8::1]:5070", "udp") == ("2001:db8::1", 5070)
    for wrong in ("", "a b", "host:0", "host:65536", "host:x"):
        with pytest.raises(Invalid):
            place_of(wrong, "udp")


# --- sessions -------------------------------------------------------------------------------------------


def test_the_offer_names_what_is_meant() -> None:
    text = offer("192.0.2.7", 4000, (PCMA, PCMU), 96, 5).decode()
    assert "m=audio 4000 RTP/AVP 8 0 96\r\n" in text
    assert "a=rtpmap:96 telephone-event/8000" in text
    assert "telephone-event" not in offer("192.0.2.7", 4000, (PCMU,), None, 5).decode()


def test_the_answer_says_where_codec_and_keys() -> None:
    assert read_answer(ANSWER) == Agreed(("192.0.2.1", 30000), PCMA, 127)
    assert read_answer(ANSWER.replace(b" 127\r", b"\r")).events is None


@given(st.integers(0, len(ANSWER)), st.binary(max_size=20))
def test_any_answer_is_agreed_or_garbled(cut: int, more: bytes) -> None:
    try:
        agreed = read_answer(ANSWER[:cut] + more)
    except Garbled:
        return
    assert agreed.codec in (PCMU, PCMA)
    assert 0 < agreed.address[1] < 65536


# --- sound ----------------------------------------------------------------------------------------------


def spoken(keys: str, ticks: int) -> list[Packet]:
    mouth = Mouth(PCMU, 101, bytes(10))
    mouth.press(keys)
    return [read_packet(mouth.packet()) for _ in range(ticks)]


def test_a_key_is_events_of_one_time_with_growing_length_and_three_ends() -> None:
    events = [one for one in spoken("5", 12) if one.payload_type == 101]
    assert [one.timestamp for one in events] == [0] * 8
    assert [one.marker for one in events] == [True] + [False] * 7
    assert {one.payload[0] for one in events} == {5}
    assert [int.from_bytes(one.payload[2:]) for one in events] == [160, 320, 480, 640, 800, 800, 800, 800]
    assert [bool(one.payload[1] & 0x80) for one in events] == [False] * 5 + [True] * 3


def test_every_packet_has_its_number_and_silence_goes_on_by_the_clock() -> None:
    packets = spoken("11", 30)
    assert [one.sequence for one in packets] == list(range(30))
    first, second = dict.fromkeys(one.timestamp for one in packets if one.payload_type == 101)
    assert second - first == 11 * FRAME
    quiet = [(place, one) for place, one in enumerate(packets) if one.payload_type == PCMU]
    assert all(one.timestamp == place * FRAME and set(one.payload) == {0xFF} for place, one in quiet)


def test_keys_that_no_phone_has_or_nobody_takes_are_refused() -> None:
    with pytest.raises(Invalid) as refused:
        Mouth(PCMU, 101, bytes(10)).press("12x")
    assert "12" not in refused.value.cause
    with pytest.raises(Invalid):
        Mouth(PCMU, None, bytes(10)).press("1")


def test_g711_is_what_the_standard_says() -> None:
    # Ends and middle of both scales, and a sample of each sign.
    assert list(decode(PCMU, bytes([0x00, 0x80, 0xFF, 0x7F, 0x8F]))) == [-32124, 32124, 0, 0, 16764]
    assert list(decode(PCMA, bytes([0x2A, 0xAA, 0xD5, 0x55]))) == [-32256, 32256, 8, -8]


def packet(sequence: int, code: int, source: int = 1) -> bytes:
    return Packet(PCMU, False, sequence, sequence * FRAME, source, bytes([code]) * FRAME).encode()


def test_the_ear_puts_packets_in_their_places() -> None:
    ear = Ear()
    for sequence in (3, 5, 4, 8):  # overtaken, and two are lost
        ear.take(packet(sequence, sequence), 1.0 * sequence)
    first = [ear.samples[place * FRAME] for place in range(6)]
    assert first == [*decode(PCMU, bytes([3, 4, 5])), 0, 0, *decode(PCMU, bytes([8]))]
    assert (ear.seconds, ear.last_loud, ear.packets) == (0.12, 8.0, 4)
    with wave.open(io.BytesIO(ear.wav())) as file:
        assert array("h", file.readframes(file.getnframes())) == ear.samples


def test_silence_is_not_speech_and_another_source_goes_on_behind() -> None:
    ear = Ear()
    ear.take(packet(1, 0xFF), 1.0)
    assert (ear.last_loud, ear.loud) == (None, 0)
    ear.take(packet(60000, 0, source=2), 2.0)
    assert (ear.seconds, ear.loud) == (0.04, 1)


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_any_datagram_is_borne(datagrams: list[bytes]) -> None:
    ear = Ear()
    for data in [packet(1, 1), *datagrams, packet(2, 2)]:
        ear.take(data, 0.0)
    assert ear.seconds <= 300
    assert ear.packets >= 2


# --- manners --------------------------------------------------------------------------------------------


def test_digits_are_hidden() -> None:
    assert masked("123456789012#") == "**********12#"
    assert masked("*5#") == "*5#"
    assert "1234" not in repr(Manner("123456789012#", then=("1234#",)))


@pytest.mark.parametrize("wrong", [{"keys": ""}, {"keys": "12x"}, {"then": ("",)}, {"events": 95}, {"codecs": ()}])
def test_what_nobody_can_key_or_offer_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        Manner(**{"keys": "1#", **wrong})  # type: ignore[arg-type]  # wrong on purpose


def test_all_keys_have_their_event() -> None:
    assert [KEYS.index(key) for key in "0*#D"] == [0, 10, 11, 15]
    assert isinstance(read(INVITE), Message)


@pytest.mark.parametrize(
    ("hotline", "label", "told", "called"),
    [
        ("2288", "Activate", "", "2288"),
        ("", "Activate: dial 2288", "", "2288"),
        ("", "Activate: dial 2288 (no emergency calls)", "77", "77"),
        ("", "Ada Byron", "", ""),
        ("", "Ada Byron", "77", "77"),
        ("", "Mandial 2288", "", ""),
    ],
)
def test_somebody_calls_what_the_phone_or_its_label_says(hotline: str, label: str, told: str, called: str) -> None:
    line = RegisteredLine(1, "1001", "1001", "pbx.example.net", "udp", label=label, hotline=hotline)
    assert _number(line, Manner(keys="1", dial=told)) == called
