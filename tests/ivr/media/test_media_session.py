"""One call's media: who is believed to be the phone, where sound may be sent, what a flood costs, when it is dead."""

from __future__ import annotations

from typing import Any

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from media_phone import Phone, event, packet, pcm, silence, tone

from ivr.media.dtmf import Way
from ivr.media.g711 import Codec
from ivr.media.latch import Address, Latch, literal
from ivr.media.player import Origin
from ivr.media.rtp import parse
from ivr.media.session import DEAD_AFTER, Session, Terms

NAT = ("203.0.113.7", 5060)
PRIVATE = ("192.168.1.20", 11780)
PHONE = ("203.0.113.7", 40_002)
MOVED = ("203.0.113.7", 51_313)
STRANGER = ("198.51.100.66", 4444)
PROMPT = {codec: [bytes([codec]) * 160] * 50 for codec in Codec}


def _session(claimed: Address | None = PRIVATE, events: int | None = 101, codec: Codec = Codec.PCMU) -> Session:
    return Session(Terms(codec, events, claimed), Origin(0xFEED, 10, 20), NAT, 0.0)


def _sound(seq: int, ssrc: int = 7, pt: int = 0, payload: bytes = b"\xff" * 160) -> bytes:
    return packet(pt, seq, 160 * seq, ssrc, payload)


def _keys(found: list[Any]) -> str:
    return "".join(digit.key for digit in found)


# --- the latch ----------------------------------------------------------------------------------------


def test_nothing_is_sent_to_an_address_that_was_only_claimed() -> None:
    session = _session(claimed=("198.51.100.99", 53))
    session.play(PROMPT, 0.0)
    assert (session.destination, session.next_due(), session.outgoing(5.0)) == (None, None, [])


def test_a_claim_that_is_the_signalling_host_is_believed_at_once() -> None:
    session = _session(claimed=("203.0.113.7", 9000))
    session.play(PROMPT, 0.0)
    assert [to for _, to in session.outgoing(0.0)] == [("203.0.113.7", 9000)]
    assert _session(claimed=("203.0.113.7", 0)).destination is None


def test_the_first_packet_latches_and_the_prompt_begins_at_its_beginning() -> None:
    session = _session()
    session.play(PROMPT, 0.0)
    assert session.receive(_sound(1), PHONE, 2.0) == []
    assert session.destination == PHONE
    assert session.next_due() == 2.0
    [(sent, to)] = session.outgoing(2.0)
    assert (to, parse(sent).sequence, parse(sent).ssrc) == (PHONE, 10, 0xFEED)


def test_a_dual_stack_socket_and_other_spellings_are_the_same_host() -> None:
    assert literal("2001:DB8:0::1") == literal("2001:db8::1") == "2001:db8::1"
    assert literal("::FFFF:192.0.2.1") == literal("192.0.2.1")
    assert literal("phone.example.net") == ""
    session = Session(Terms(Codec.PCMU, 101, ("192.0.2.1", 4000)), Origin(1, 1, 1), ("::ffff:192.0.2.1", 5060), 0.0)
    assert session.destination == ("192.0.2.1", 4000)
    session.receive(_sound(1), ("::ffff:192.0.2.1", 4000), 0.0)
    session.receive(_sound(1), STRANGER, 0.1)
    assert session.counts.foreign == 1


def test_strangers_are_counted_and_their_keys_are_nobody_s() -> None:
    session = _session()
    session.receive(_sound(1), PHONE, 0.0)
    for at, data in Phone(ssrc=9).code("1234"):
        assert session.receive(data, STRANGER, at) == []
    assert session.destination == PHONE
    assert session.counts.foreign == 28
    assert session.silent_since == 0.0


def test_a_stranger_who_was_first_is_neither_heard_nor_sent_to() -> None:
    for named in (PHONE, PRIVATE):
        session = _session()
        session.play(PROMPT, 0.0)
        for at, data in Phone(ssrc=9).code("12"):
            assert session.receive(data, STRANGER, at) == []
        assert (session.destination, session.outgoing(0.5)) == (None, [])
        assert (session.counts.foreign, session.counts.foreign_keys) == (14, 14)
        session.receive(_sound(1, ssrc=2), named, 0.6)
        assert (session.destination, session.moves) == (named, 0)
        session.receive(_sound(2, ssrc=3), STRANGER, 0.7)
        assert (session.destination, session.counts.foreign, session.counts.foreign_keys) == (named, 15, 14)


def test_a_named_host_is_not_given_up_for_another_named_one() -> None:
    latch = Latch(PRIVATE, NAT, 0.0)
    assert latch.heard(PHONE, 1, 0.0)
    for other in (PRIVATE, STRANGER):
        assert latch.foreign(other)
        assert not latch.heard(other, 2, 9.0)
    assert (latch.destination, latch.silent_since, latch.moves) == (PHONE, 0.0, 0)


@pytest.mark.parametrize(("port", "ssrc"), [(MOVED, 2), (MOVED, 1), (PHONE, 2)])
def test_another_port_or_stream_of_the_host_keys_nothing_until_the_old_one_is_quiet(port: Address, ssrc: int) -> None:
    session = _session()
    session.receive(_sound(1, ssrc=1), PHONE, 0.0)
    for n in range(9):
        assert session.receive(packet(101, n, 800 * n, ssrc, event("5", 80)), port, n / 10) == []
        session.receive(_sound(n, ssrc=1), PHONE, n / 10)
    assert (session.destination, session.counts.foreign, session.counts.foreign_keys) == (PHONE, 9, 9)
    assert session.receive(packet(101, 10, 8000, ssrc, event("5", 80)), port, 1.79) == []
    assert _keys(session.receive(packet(101, 11, 8800, ssrc, event("6", 80)), port, 1.8)) == "6"
    session.receive(_sound(2, ssrc=1), PHONE, 1.9)
    assert (session.destination, session.moves) == (port, int(port != PHONE))
    assert session.counts.foreign == 11


def test_a_phone_may_begin_a_new_stream_when_it_has_agreed_anew() -> None:
    session = _session()
    session.receive(_sound(1, ssrc=1), PHONE, 0.0)
    session.agree(Terms(Codec.PCMU, 101, PRIVATE), 0.1)
    assert session.receive(packet(101, 5, 800, 2, event("5", 80)), MOVED, 0.1) == []
    assert _keys(session.receive(packet(101, 5, 800, 2, event("5", 80)), PHONE, 0.1)) == "5"
    assert session.receive(packet(101, 6, 1600, 1, event("6", 80)), PHONE, 0.2) == []


def test_signalling_proven_on_another_host_names_that_host() -> None:
    session = _session()
    session.receive(_sound(1), PHONE, 0.0)
    session.agree(Terms(Codec.PCMU, 101, PRIVATE), 0.1, NAT)
    assert session.destination == PHONE
    session.agree(Terms(Codec.PCMU, 101, PRIVATE), 0.2, ("198.51.100.66", 5060))
    assert session.destination is None
    session.receive(_sound(2), PHONE, 0.3)
    assert session.destination is None
    session.receive(_sound(1, ssrc=2), STRANGER, 0.3)
    assert session.destination == STRANGER


def test_the_same_stream_from_another_port_takes_over_when_the_old_one_is_quiet() -> None:
    session = _session()
    session.receive(_sound(1), PHONE, 0.0)
    session.receive(_sound(2), MOVED, 0.9)
    assert session.destination == PHONE
    session.receive(_sound(3), MOVED, 1.0)
    assert (session.destination, session.moves) == (MOVED, 1)


def test_a_new_address_agreed_on_begins_anew() -> None:
    session = _session()
    session.receive(_sound(1), PHONE, 0.0)
    session.agree(Terms(Codec.PCMU, 101, PRIVATE), 1.0)
    assert session.destination == PHONE
    session.agree(Terms(Codec.PCMU, 101, ("192.168.1.20", 12_000)), 1.0)
    assert session.destination is None
    session.receive(_sound(9, ssrc=2), MOVED, 1.1)
    assert session.destination == MOVED


def test_hold_is_silence_and_after_it_the_prompt_goes_on() -> None:
    session = _session()
    session.play(PROMPT, 0.0)
    session.receive(_sound(1), PHONE, 0.0)
    assert len(session.outgoing(0.0)) == 1
    session.agree(Terms(Codec.PCMU, 101, None, held=True), 0.01)
    session.receive(_sound(2), PHONE, 0.02)
    assert (session.destination, session.next_due(), session.outgoing(5.0)) == (None, None, [])
    session.agree(Terms(Codec.PCMA, 101, PRIVATE), 9.0)
    session.receive(_sound(3), PHONE, 9.01)
    [(sent, _)] = session.outgoing(9.01)
    assert (parse(sent).payload, parse(sent).payload_type, parse(sent).marker) == (b"\x08" * 160, 8, True)
    assert parse(sent).timestamp == 20 + round(9.01 * 8000)


def test_after_a_hold_by_the_same_address_nothing_is_made_up_for() -> None:
    session = _session()
    session.play(PROMPT, 0.0)
    session.receive(_sound(1), PHONE, 0.0)
    assert len(session.outgoing(0.0)) == 1
    session.agree(Terms(Codec.PCMU, 101, PRIVATE, held=True), 0.01)
    session.agree(Terms(Codec.PCMU, 101, PRIVATE), 9.0)
    assert len(session.outgoing(9.0)) == 1


# --- what is heard ------------------------------------------------------------------------------------


@pytest.mark.parametrize("pt", [96, 101, 127])
def test_events_come_by_the_payload_type_that_was_agreed_on(pt: int) -> None:
    session = _session(events=pt)
    found = [digit for at, data in Phone(pt=pt).code("0*#7") for digit in session.receive(data, PHONE, at)]
    assert (_keys(found), {digit.way for digit in found}) == ("0*#7", {Way.EVENT})
    other = _session(events=pt)
    assert [other.receive(data, PHONE, at) for at, data in Phone(pt=97).press("1")] == [[]] * 7
    assert (other.counts.ignored, other.destination) == (7, None)


def test_comfort_noise_is_a_sign_of_life_and_nothing_else() -> None:
    for events in (101, None):
        session = _session(events=events)
        assert session.receive(packet(13, 1, 0, 7, b"\x40"), PHONE, 3.0) == []
        assert (session.silent_since, session.destination) == (3.0, PHONE)


def test_info_after_events_is_not_heard_again() -> None:
    session = _session()
    assert _keys(session.info("5", 0.01)) == "5"
    assert session.receive(packet(101, 1, 0, 7, event("5", 400)), PHONE, 0.04) == []
    assert session.info("5", 1.0) == []
    assert _keys(session.receive(packet(101, 9, 8000, 7, event("6", 400)), PHONE, 1.0)) == "6"


def _spoken(
    session: Session, samples: list[float], codec: Codec, begin: float = 0.0, skip: set[int] | None = None
) -> str:
    """A phone's sound, but for the frames that are not sent."""
    keys = ""
    for n, frame in enumerate(codec.frames(pcm(samples))):
        if n not in (skip or set()):
            keys += _keys(session.receive(packet(codec, n, 160 * n, 7, frame), PHONE, begin + n * 0.02))
    return keys


CODE = [sample for key in "1580#" for sample in tone(key, 0.12) + silence(0.12)]


@pytest.mark.parametrize("codec", Codec)
def test_tones_are_heard_where_no_event_was_agreed_on_and_only_there(codec: Codec) -> None:
    assert _spoken(_session(events=None, codec=codec), CODE, codec) == "1580#"
    assert _spoken(_session(events=101, codec=codec), CODE, codec) == ""


def test_tones_are_heard_no_more_once_info_was() -> None:
    session = _session(events=None)
    assert _keys(session.info("1", 0.0)) == "1"
    assert _spoken(session, CODE, Codec.PCMU, begin=5.0) == ""
    session.agree(Terms(Codec.PCMU, None, PRIVATE), 20.0)
    assert session._listener is None  # so they cost nothing
    assert _spoken(session, CODE, Codec.PCMU, begin=20.0) == ""


def test_tones_are_heard_no_more_once_events_were_agreed_on() -> None:
    session = _session(events=None)
    session.agree(Terms(Codec.PCMU, 101, PRIVATE), 0.0)
    assert _spoken(session, CODE, Codec.PCMU) == ""
    session.agree(Terms(Codec.PCMU, None, PRIVATE), 5.0)
    assert _spoken(session, CODE, Codec.PCMU, begin=5.0) == "1580#"


def test_lost_frames_are_no_pause_and_silence_that_is_not_sent_is_one() -> None:
    one = tone("5", 0.2) + silence(0.1)
    assert _spoken(_session(events=None), one, Codec.PCMU, skip={4, 5}) == "5"
    pressed_twice = tone("5", 0.2) + silence(0.2) + tone("5", 0.2) + silence(0.1)
    assert _spoken(_session(events=None), pressed_twice, Codec.PCMU, skip=set(range(10, 20))) == "55"


def test_frames_that_come_twice_or_late_are_heard_once() -> None:
    session, keys = _session(events=None), ""
    for n, frame in enumerate(Codec.PCMU.frames(pcm(CODE))):
        data = packet(0, n + 0xFFF8, 160 * n, 7, frame)
        for seen in (data, data, packet(0, n + 0xFFF0, 160 * n, 7, frame)):
            keys += _keys(session.receive(seen, PHONE, n * 0.02))
    assert keys == "1580#"


def test_a_short_sound_that_comes_often_is_still_short() -> None:
    session = _session(events=None)
    # 20 ms hold nearly whole turns of both tones of this key, so one frame behind itself sounds like it.
    frames = [*Codec.PCMU.frames(pcm(tone("7", 0.02))), *Codec.PCMU.frames(pcm(silence(0.2)))]
    for n, frame in enumerate(frames):
        for _ in range(6):
            assert session.receive(packet(0, n, 160 * n, 7, frame), PHONE, n * 0.02) == []


# --- floods, death and nonsense -----------------------------------------------------------------------


def test_a_flood_is_cut_off_and_the_next_second_is_heard_again() -> None:
    session = _session()
    for n in range(5000):
        session.receive(_sound(n), PHONE, n / 10_000)
    assert session.counts.heard == 1 + 40_000 // 172, "the first is not yet known to be the phone's"
    assert session.counts.heard + session.counts.flooded == 5000
    assert _keys(session.receive(packet(101, 1, 0, 7, event("5", 400)), PHONE, 1.0)) == "5"


def test_small_packets_are_a_flood_too() -> None:
    session = _session()
    for n in range(5000):
        session.receive(packet(101, n, 0, 7, event("5", 1)), PHONE, n / 10_000)
    assert session.counts.heard == 1 + 40_000 // 64


@pytest.mark.parametrize("forged", [(MOVED, 7), (PHONE, 8), (MOVED, 8)])
def test_a_flood_that_bears_the_phones_address_leaves_the_phones_own_stream_alone(forged: tuple[Address, int]) -> None:
    """Who lies about his address knows neither the port that the phone's NAT has given it nor its stream's number."""
    session, told = _session(), ""
    session.receive(_sound(0), PHONE, 0.0)
    for n in range(1, 600):
        for copy in range(8):
            session.receive(_sound(8 * n + copy, ssrc=forged[1], payload=bytes(1000)), forged[0], n / 100)
        told += _keys(session.receive(packet(101, n, 8000 * n, 7, event("0123456789"[n % 10], 400)), PHONE, n / 100))
    assert told == ("1234567890" * 60)[:599]
    assert session.destination == PHONE
    assert session.counts.flooded > 4000


def test_no_phone_is_taken_for_a_flood() -> None:
    session = _session()
    for n in range(1000):
        session.receive(_sound(n, payload=bytes(80)), PHONE, n / 100)
        session.receive(packet(101, n, 0, 7, event("5", n)), PHONE, n / 100)
    assert (session.counts.heard, session.counts.flooded) == (2000, 0)


def test_a_giant_is_not_read_and_does_not_count_as_a_flood() -> None:
    session = _session()
    session.receive(_sound(1, payload=bytes(60_000)), PHONE, 0.0)
    assert (session.counts.malformed, session.destination) == (1, None)
    session.receive(_sound(1), PHONE, 0.0)
    assert session.destination == PHONE


def test_a_call_without_rtp_for_30_s_is_dead() -> None:
    session = _session()
    assert not session.is_dead(DEAD_AFTER - 0.01)
    assert session.is_dead(DEAD_AFTER)
    session.receive(_sound(1), PHONE, 29.0)
    for n in range(29, 60):
        session.receive(_sound(n), STRANGER, float(n))
        session.receive(b"\x80", PHONE, float(n))
    assert not session.is_dead(58.9)
    assert session.is_dead(59.0)


@settings(max_examples=examples(200))
@given(
    st.lists(st.tuples(st.binary(max_size=60), st.integers(0, 1), st.floats(0, 1)), max_size=20),
    st.none() | st.just(101),
)
def test_no_datagram_raises(datagrams: list[tuple[bytes, int, float]], events: int | None) -> None:
    session, now = _session(events=events), 0.0
    valid = [_sound(3, payload=b"\x80" * 40), packet(101, 1, 0, 7, event("5", 400)), packet(13, 1, 0, 7, b"")]
    for data, stranger, later in datagrams:
        now += later
        for candidate in (data, *(one[: len(data)] for one in valid), *(one + data for one in valid)):
            session.receive(candidate, STRANGER if stranger else PHONE, now)
    counts = session.counts
    assert counts.heard + counts.foreign + counts.malformed + counts.ignored + counts.flooded == 7 * len(datagrams)


HOSTS = st.sampled_from(["203.0.113.7", "192.168.1.20", "198.51.100.66", "::ffff:203.0.113.7", "2001:db8::1"])
ADDRESSES = st.tuples(HOSTS, st.integers(1, 3))


class Latching(RuleBasedStateMachine):
    """The promise: sound goes to the host that signals, or to one that SDP has named and that was heard."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.heard: set[Address] = set()
        self.claimed: set[str] = set()
        self.session = _session(claimed=None)
        self.session.play(PROMPT, 0.0)

    @rule(source=ADDRESSES, ssrc=st.integers(1, 12), kind=st.sampled_from(["sound", "unknown", "broken"]))
    def receives(self, source: Address, ssrc: int, kind: str) -> None:
        data = {"sound": _sound(1, ssrc), "unknown": _sound(1, ssrc, pt=99), "broken": b"\0" * 20}[kind]
        self.session.receive(data, source, self.now)
        if kind == "sound":
            self.heard.add(source)

    @rule(claimed=st.none() | ADDRESSES, held=st.booleans())
    def agrees(self, claimed: Address | None, held: bool) -> None:
        self.session.agree(Terms(Codec.PCMU, 101, claimed, held), self.now)
        self.claimed = {literal(claimed[0])} if claimed else set()

    @rule(later=st.floats(0.001, 2.0))
    def time_goes_by(self, later: float) -> None:
        self.now += later

    @rule()
    def plays(self) -> None:
        self.session.play(PROMPT, self.now)

    @invariant()
    def sends_only_where_it_may(self) -> None:
        for _, to in self.session.outgoing(self.now):
            assert literal(to[0]) == NAT[0] or (to in self.heard and literal(to[0]) in self.claimed)


TestLatching = Latching.TestCase
TestLatching.settings = settings(max_examples=examples(60), stateful_step_count=30)
