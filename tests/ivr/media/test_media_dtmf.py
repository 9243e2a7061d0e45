"""A press is one digit: every way to tell it, told late, twice, in pieces, or in two ways at once."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_phone import KEYS, Phone, Timed, event, network

from ivr.media.dtmf import Digit, Receiver, Way
from ivr.media.rtp import parse


def _heard(receiver: Receiver, packets: Iterable[Timed]) -> str:
    keys = ""
    for at, data in packets:
        packet = parse(data)
        keys += receiver.event(packet.ssrc, packet.timestamp, packet.payload, at)
    return keys


# --- RFC 4733 -----------------------------------------------------------------------------------------


def test_all_sixteen_keys_are_told_once_each() -> None:
    assert _heard(Receiver(), Phone().code(KEYS)) == KEYS


def test_the_first_packet_tells() -> None:
    receiver = Receiver()
    packets = list(Phone().press("7"))
    assert [_heard(receiver, [one]) for one in packets] == ["7", *[""] * (len(packets) - 1)]


@pytest.mark.parametrize("arrives", range(7))
def test_any_one_packet_is_enough(arrives: int) -> None:
    packets = list(Phone().press("7"))
    assert len(packets) == 7
    assert _heard(Receiver(), packets[arrives : arrives + 1]) == "7"


def test_the_same_key_again_is_another_digit() -> None:
    assert _heard(Receiver(), Phone().code("5550055")) == "5550055"
    assert _heard(Receiver(), Phone(step=0.02).code("5550055", held=0.04, pause=0.04)) == "5550055"


def test_the_order_within_a_press_does_not_matter() -> None:
    for seed in range(50):
        packets = list(Phone(step=0.02).press("#"))
        random.Random(seed).shuffle(packets)
        assert _heard(Receiver(), packets + packets) == "#"


@pytest.mark.parametrize("held", [8.0, 8.2, 9.0, 20.0, 60.0])
@pytest.mark.parametrize("step", [0.02, 0.05, 0.1])
def test_a_key_held_beyond_the_longest_duration_is_one_digit(held: float, step: float) -> None:
    """RFC 4733 §2.5.1.3: a new timestamp, and still the same press."""
    phone = Phone(step=step)
    packets = list(phone.press("0", held))
    assert len({parse(data).timestamp for _, data in packets}) == 1 + int(held * 8000 / 0xFFFF)
    phone.wait(0.2)
    packets += phone.press("0")
    assert _heard(Receiver(), packets) == "00"


def test_a_held_key_survives_loss_at_the_change_of_segments() -> None:
    for seed in range(100):
        packets = network(Phone().press("0", 17.0), random.Random(seed), loss=0.3)
        assert _heard(Receiver(), packets) == "0"


def test_a_press_just_a_segment_after_one_whose_end_was_lost_is_another_digit() -> None:
    receiver = Receiver()
    assert receiver.event(1, 1000, event("5", 400), 0.0) == "5"
    assert receiver.event(1, 1000 + 0xFFFF, event("5", 400), 8.19) == "5"
    assert receiver.event(1, 2000, event("6", 400), 10.0) == "6"
    assert receiver.event(1, 2000, event("6", 1600, end=True), 10.2) == ""
    assert receiver.event(1, 2000 + 0xFFFF, event("6", 400), 10.8) == "6"


def test_a_timestamp_that_moves_within_a_press_is_no_new_press() -> None:
    receiver = Receiver()
    moving = [receiver.event(1, 1000 + 400 * n, event("5", 400 * n), n * 0.05) for n in range(8)]
    assert moving == ["5", *[""] * 7]
    assert receiver.event(1, 1000 + 2800 + 640, event("5", 400), 0.5) == "5"


def test_an_end_that_is_told_with_moving_timestamps_is_told_once() -> None:
    receiver = Receiver()
    assert receiver.event(1, 1000, event("5", 160), 0.02) == "5"
    assert [receiver.event(1, 1160 + 160 * n, event("5", 320, end=True), 0.04 + n * 0.02) for n in range(3)] == [""] * 3


@pytest.mark.parametrize("heard", [(0, 1, 2, 3, 4), (0, 4), (2, 3)])
def test_a_start_after_an_end_is_another_digit_even_if_timestamps_count_milliseconds(heard: tuple[int, ...]) -> None:
    """As sipp's do: 120 ms from one press to the next are 120, not 960. One packet of the end, one of the start."""
    receiver, keys = Receiver(), ""
    for press, key in enumerate("5550"):
        told = [event(key, 160 * n) for n in range(3)] + [event(key, 480, end=True)] * 2
        for n in heard:
            keys += receiver.event(1, 24_400 + 120 * press, told[n], 0.12 * press + 0.02 * n)
    assert keys == "5550"


def test_two_keys_at_nearly_the_same_time_are_two_digits() -> None:
    receiver = Receiver()
    assert receiver.event(1, 1000, event("5", 160), 0.02) == "5"
    assert receiver.event(1, 1320, event("6", 160), 0.06) == "6"


def test_timestamps_and_sources_may_begin_anew() -> None:
    """As recordings do which are played into a call: any order of timestamps, and a repeat is the same press."""
    receiver = Receiver()
    assert receiver.event(1, 5000, event("1", 400), 0.0) == "1"
    assert receiver.event(1, 200, event("2", 400), 1.0) == "2"
    assert receiver.event(1, 0xFFFFFF00, event("3", 400), 2.0) == "3"
    assert receiver.event(2, 5000, event("1", 400), 3.0) == "1"
    assert receiver.event(1, 5000, event("1", 1600, end=True), 4.0) == ""


@given(st.integers(16, 255), st.binary(min_size=3, max_size=3))
def test_events_that_are_no_keys_are_nothing(code: int, rest: bytes) -> None:
    receiver = Receiver()
    assert receiver.event(1, 1, bytes([code]) + rest, 0.0) == ""
    assert receiver.listens(Way.TONE)


@given(st.binary(max_size=3))
def test_half_an_event_is_nothing(payload: bytes) -> None:
    assert Receiver().event(1, 1, payload, 0.0) == ""


def test_memory_is_bounded_and_a_recent_press_is_not_forgotten() -> None:
    receiver = Receiver()
    for n in range(5000):
        assert receiver.event(n % 700, n * 1000, event("1", 100), n * 0.001) == "1"
        assert receiver.event(n % 700, n * 1000, event("1", 200), n * 0.001) == ""
        receiver.tone("1", n * 0.001)
    assert len(receiver._presses) == 64
    assert len(receiver._last) <= 64
    for n in range(4950, 5000):
        assert receiver.event(n % 700, n * 1000, event("1", 300, end=True), 6.0) == ""


# --- never twice across the ways ----------------------------------------------------------------------

Told = tuple[float, Way, str]


def _press(at: float, key: str, ways: dict[Way, float]) -> list[Told]:
    """One press at ``at``; each way tells it so much later."""
    return [(at + later, way, key) for way, later in ways.items()]


def _tell(told: Iterable[Told]) -> str:
    receiver, keys = Receiver(), ""
    for at, way, key in sorted(told):
        if way is Way.EVENT:
            began = round(at, 1)  # presses are at tenths; an event says for how long its key has been down
            keys += receiver.event(1, round(began * 8000), event(key, max(0, round((at - began) * 8000))), at)
        elif way is Way.INFO:
            keys += receiver.info(key, at)
        else:
            keys += receiver.tone(key, at)
    return keys


@pytest.mark.parametrize(
    "ways",
    [
        {Way.EVENT: 0.001},
        {Way.INFO: 0.2},
        {Way.TONE: 0.06},
        {Way.EVENT: 0.0, Way.INFO: 0.2},
        {Way.EVENT: 0.04, Way.INFO: 0.01},
        {Way.EVENT: 0.0, Way.TONE: 0.06},
        {Way.EVENT: 0.04, Way.TONE: 0.03},
        {Way.INFO: 0.25, Way.TONE: 0.06},
        {Way.INFO: 0.01, Way.TONE: 0.06},
        {Way.EVENT: 0.04, Way.INFO: 0.02, Way.TONE: 0.03},
        {Way.EVENT: 0.04, Way.INFO: 0.3, Way.TONE: 0.03},
        {Way.EVENT: 0.0, Way.INFO: 0.8, Way.TONE: 0.06},
    ],
)
@pytest.mark.parametrize("code", ["155590224466#", "000000000000#", "1212", "5"])
def test_a_phone_that_tells_in_several_ways_is_heard_once(ways: dict[Way, float], code: str) -> None:
    assert _tell(told for n, key in enumerate(code) for told in _press(n * 0.4, key, ways)) == code


def test_the_better_way_wins_for_the_rest_of_the_call() -> None:
    receiver = Receiver()
    assert receiver.tone("1", 0.0) == "1"
    assert receiver.info("2", 1.0) == "2"
    assert (receiver.tone("3", 2.0), receiver.listens(Way.TONE), receiver.listens(Way.INFO)) == ("", False, True)
    assert receiver.event(1, 1000, event("4", 100), 3.0) == "4"
    assert (receiver.info("5", 4.0), receiver.tone("6", 500.0), receiver.listens(Way.INFO)) == ("", "", False)
    assert receiver.event(1, 9000, event("7", 100), 600.0) == "7"


def test_an_event_that_was_lost_whole_is_told_by_info_and_the_next_press_of_that_key_counts() -> None:
    receiver = Receiver()
    assert receiver.info("5", 0.2) == "5"
    assert receiver.event(1, 3200, event("5", 80), 0.41) == "5"
    assert receiver.info("5", 0.6) == ""


def test_a_key_held_in_the_sound_and_told_by_info_when_let_go_is_one_digit() -> None:
    receiver = Receiver()
    assert (receiver.tone("5", 0.06), receiver.info("5", 3.0)) == ("5", "")
    assert receiver.info("5", 3.4) == "5"


@given(
    st.lists(st.tuples(st.sampled_from(Way), st.sampled_from(KEYS + "xX"), st.floats(0, 2), st.binary(max_size=5))),
    st.integers(0, 3),
)
def test_any_mixture_gives_single_keys_and_never_a_worse_way_after_a_better(
    told: list[tuple[Way, str, float, bytes]], ssrc: int
) -> None:
    receiver, now, best = Receiver(), 0.0, Way.TONE
    for way, key, later, payload in told:
        now += later
        if way is Way.EVENT:
            found = receiver.event(ssrc, int(now * 100), payload, now)
        else:
            found = receiver.info(key, now) if way is Way.INFO else receiver.tone(key, now)
        assert found == "" or (found in KEYS and len(found) == 1 and way >= best)
        best = max(best, way) if found else best


def test_a_digit_does_not_print_its_key() -> None:
    assert repr(Digit("5", Way.INFO)) == "Digit(way=<Way.INFO: 1>)"
