"""Messages out of a stream: however it is cut, the same ones; what is no SIP ends at once; memory stays bounded."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_samples import SAMPLES, message

from ivr.sip.errors import SipError
from ivr.sip.framing import Framer
from ivr.sip.message import LONGEST, parse

ALL = list(SAMPLES.values())


def test_messages_come_out_whole() -> None:
    assert Framer().feed(b"".join(ALL)) == ALL


@settings(deadline=None)
@given(st.lists(st.sampled_from(ALL), max_size=6), st.lists(st.integers(0, 4000), max_size=30))
def test_it_does_not_matter_where_a_stream_is_cut(messages: list[bytes], cuts: list[int]) -> None:
    stream = b"\r\n".join(messages)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    framer = Framer()
    found = [one for begin, end in pairwise(places) for one in framer.feed(stream[begin:end])]
    assert found == messages
    assert framer.hopeless is None


def test_byte_by_byte_is_as_good_and_costs_little() -> None:
    framer = Framer()
    big = message(body=b"x" * 30_000)
    begin = time.process_time()
    found = [one for at in range(len(big)) for one in framer.feed(big[at : at + 1])]
    assert found == [big]
    long_head = message("OPTIONS sip:a@b.example SIP/2.0", "Subject: " + "x" * 60_000)
    assert [one for at in range(len(long_head)) for one in framer.feed(long_head[at : at + 1])] == [long_head]
    assert time.process_time() - begin < 2.0


def test_many_small_messages_at_once_cost_little() -> None:
    small = b"A b SIP/2.0\r\nl:0\r\n\r\n"
    begin = time.process_time()
    assert Framer().feed(small * 20_000) == [small] * 20_000
    assert time.process_time() - begin < 2.0


@pytest.mark.parametrize(
    ("chunks", "pongs"),
    [
        ([b"\r\n\r\n"], [1]),
        ([b"\r\n", b"\r\n"], [0, 1]),
        ([b"\r", b"\n", b"\r", b"\n"], [0, 0, 0, 1]),
        ([b"\r\n\r\n\r\n\r\n"], [2]),
        ([message() + b"\r\n", b"", message()], [0, 0, 0]),
        ([message() + b"\r\n\r\n" + message()], [1]),
        ([b"\r\n" + message() + b"\r\n"], [0]),
        ([b"\r\n" + message() + b"\r\n", b"\r\n"], [0, 1]),
    ],
)
def test_two_empty_lines_between_messages_are_a_ping(chunks: list[bytes], pongs: list[int]) -> None:
    framer = Framer()
    seen = []
    for chunk in chunks:
        framer.feed(chunk)
        seen.append(framer.pongs)
    assert seen == pongs


@pytest.mark.parametrize(
    ("stream", "status"),
    [
        (b"GET / HTTP/1.1\r\n", 0),
        (b"\x16\x03\x01\x02\x00\x01", 0),
        (b"\n", 0),
        (b"\rX", 0),
        (b"\x00" * 4, 0),
        (b"INVITE" + b"x" * 3000, 0),
        (message(without=("content-length",)), 400),
        (message(content_length="-1"), 400),
        (message(content_length="1x"), 400),
        (message("OPTIONS sip:a@b.example SIP/2.0", "Content-Length: 0"), 400),
        (message(content_length=str(LONGEST)), 513),
        (message(content_length="9" * 30), 400),
        (message("OPTIONS sip:a@b.example SIP/2.0", *["X: y"] * 200), 400),
        (message("OPTIONS sip:a@b.example SIP/2.0", "Subject: " + "x" * LONGEST), 513),
        (message("OPTIONS sip:a@b.example SIP/2.0", "Subject: " + "\r\n x" * LONGEST), 513),
    ],
)
def test_a_stream_that_breaks_the_rules_is_hopeless(stream: bytes, status: int) -> None:
    framer = Framer()
    with pytest.raises(SipError) as caught:
        framer.feed(stream)
    assert caught.value.status == status
    assert framer.hopeless is caught.value
    with pytest.raises(SipError):
        framer.feed(message())


@pytest.mark.parametrize("filling", [b"X: y\r\n", b"x" * 7, b"\r\n ", b"\r", b"X: y\r\n" * 30])
def test_what_never_ends_is_given_up_at_64_kib(filling: bytes) -> None:
    framer = Framer()
    fed = len(framer.feed(b"OPTIONS sip:a@b.example SIP/2.0\r\nSubject: x"))
    with pytest.raises(SipError) as caught:
        while fed < 2 * LONGEST:
            fed += len(filling)
            framer.feed(filling)
    assert caught.value.status == 513
    assert LONGEST - 100 < fed <= LONGEST + len(filling)


def test_what_came_before_the_break_is_not_lost() -> None:
    framer = Framer()
    assert framer.feed(message() + b"GET / HTTP/1.1\r\n\r\n") == [message()]
    assert framer.hopeless is not None
    with pytest.raises(SipError):
        framer.feed(b"")


def test_a_body_is_waited_for_and_bounded() -> None:
    framer = Framer()
    whole = message(body=b"x" * 1000)
    assert framer.feed(whole[:-1]) == []
    assert framer.feed(whole[-1:] + whole[:5]) == [whole]
    assert framer.feed(whole[5:]) == [whole]


@given(st.lists(st.sampled_from(ALL), min_size=1, max_size=3), st.data())
@settings(max_examples=examples(300), deadline=None)
def test_a_damaged_stream_raises_nothing_but_sip_error(messages: list[bytes], data: st.DataObject) -> None:
    stream = bytearray(b"".join(messages))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(stream) - 1))
        stream[at] ^= 1 << data.draw(st.integers(0, 7))
    framer = Framer()
    for begin in range(0, len(stream), 97):
        try:
            found = framer.feed(bytes(stream[begin : begin + 97]))
        except SipError:
            break
        for one in found:
            try:
                read = parse(one)
            except SipError:
                continue
            assert len(read.body) < len(one)  # the length that framed it is the length that is read
            assert one.endswith(b"\r\n\r\n" + read.body)
