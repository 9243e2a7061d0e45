"""The player: frames at the pace of speech by a clock that may be late, with numbers that only grow."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from ivr.media.g711 import Codec
from ivr.media.player import CATCH_UP, Origin, Player
from ivr.media.rtp import Packet, parse

FRAMES = [bytes([n]) * 160 for n in range(200)]


def _player() -> Player:
    return Player(Origin(ssrc=77, sequence=0xFFFE, timestamp=0xFFFFFF00))


def _drain(player: Player, now: float, step: float = 0.02) -> list[tuple[float, Packet]]:
    """As a server would: it wakes when something is due, or only every ``step``."""
    sent = []
    while not player.finished:
        sent += [(now, parse(packet)) for packet in player.take(now)]
        now += step
    return sent


def _apart(one: int, other: int) -> int:
    return other - one & 0xFFFFFFFF


def test_a_frame_every_20_ms_with_the_marker_on_the_first() -> None:
    player = _player()
    player.start(FRAMES[:5], Codec.PCMA, 10.0)
    assert player.next_due() == 10.0
    assert player.take(9.99) == []
    sent = _drain(player, 10.0)
    assert [round(at - 10.0, 3) for at, _ in sent] == [0.0, 0.02, 0.04, 0.06, 0.08]
    assert [packet.payload for _, packet in sent] == FRAMES[:5]
    assert [packet.marker for _, packet in sent] == [True, False, False, False, False]
    assert [packet.sequence for _, packet in sent] == [0xFFFE, 0xFFFF, 0, 1, 2]
    assert [packet.timestamp for _, packet in sent] == [0xFFFFFF00, 0xFFFFFFA0, 0x40, 0xE0, 0x180]
    assert {(packet.payload_type, packet.ssrc) for _, packet in sent} == {(8, 77)}
    assert (player.finished, player.next_due(), round(player.ends, 6)) == (True, None, 10.1)


def test_who_sleeps_until_the_next_is_due_sends_each_on_time() -> None:
    player, now, count = _player(), 5.0, 0
    player.start(FRAMES, Codec.PCMU, now)
    while (due := player.next_due()) is not None:
        assert due - now < 0.0201
        now = due
        assert len(player.take(now)) == 1
        count += 1
    assert (count, round(now, 6)) == (200, 5.0 + 199 * 0.02)


def test_timestamps_run_on_through_a_pause_and_sequence_numbers_do_not() -> None:
    player = _player()
    player.start(FRAMES[:2], Codec.PCMU, 0.0)
    first = _drain(player, 0.0)
    player.start(FRAMES[2:4], Codec.PCMU, 3.0)
    second = _drain(player, 3.0)
    assert _apart(first[0][1].timestamp, second[0][1].timestamp) == 3 * 8000
    assert _apart(first[-1][1].sequence, second[0][1].sequence) & 0xFFFF == 1
    assert second[0][1].marker


def test_barge_in_ends_the_sound_at_once_and_the_next_prompt_keeps_the_pace() -> None:
    player = _player()
    player.start(FRAMES, Codec.PCMU, 0.0)
    assert len(player.take(0.0)) == 1
    player.stop()
    assert (player.finished, player.next_due(), player.take(0.5)) == (True, None, [])
    player.start(FRAMES[7:9], Codec.PCMU, 0.005)
    assert player.next_due() == 0.02
    [packet] = player.take(0.02)
    assert (parse(packet).payload, parse(packet).marker) == (FRAMES[7], True)


def test_a_prompt_may_take_the_place_of_another() -> None:
    player = _player()
    player.start(FRAMES, Codec.PCMU, 0.0)
    sent = [parse(packet) for packet in player.take(0.0)]
    player.start(FRAMES[50:52], Codec.PCMU, 0.01)
    sent += [packet for _, packet in _drain(player, 0.02)]
    assert [packet.payload for packet in sent] == [FRAMES[0], FRAMES[50], FRAMES[51]]
    assert [packet.timestamp - 0xFFFFFF00 & 0xFFFFFFFF for packet in sent] == [0, 160, 320]


def test_a_late_caller_stretches_the_prompt_and_loses_nothing() -> None:
    player = _player()
    player.start(FRAMES, Codec.PCMU, 0.0)
    assert len(player.take(0.0)) == 1
    late = [parse(packet) for packet in player.take(1.0)]
    assert [packet.payload for packet in late] == FRAMES[1 : 1 + CATCH_UP]
    assert late[0].marker
    assert late[0].timestamp == (0xFFFFFF00 + round(0.92 * 8000)) & 0xFFFFFFFF
    rest = _drain(player, 1.02)
    assert [packet.payload for _, packet in rest] == FRAMES[1 + CATCH_UP :]
    assert all(packet.sequence == (0xFFFE + 1 + CATCH_UP + n) & 0xFFFF for n, (_, packet) in enumerate(rest))


def test_a_prompt_that_had_to_wait_begins_at_its_beginning() -> None:
    player = _player()
    player.start(FRAMES[:3], Codec.PCMU, 0.0)
    player.hold(7.0)
    assert player.next_due() == 7.0
    assert [packet.payload for _, packet in _drain(player, 7.0)] == FRAMES[:3]


def test_another_codec_goes_on_where_the_first_was() -> None:
    player = _player()
    player.start(FRAMES[:4], Codec.PCMU, 0.0)
    sent = [parse(packet) for packet in player.take(0.02)]
    player.recode(FRAMES[100:104], Codec.PCMA)
    sent += [packet for _, packet in _drain(player, 0.04)]
    assert [packet.payload_type for packet in sent] == [0, 0, 8, 8]
    assert [packet.payload for packet in sent] == [*FRAMES[:2], *FRAMES[102:104]]


def test_nothing_to_play_is_finished() -> None:
    player = _player()
    assert (player.finished, player.next_due(), player.take(1.0), player.ends) == (True, None, [], 0.0)
    player.start([], Codec.PCMU, 2.0)
    assert (player.finished, player.next_due(), player.take(3.0)) == (True, None, [])


STEPS = st.lists(
    st.tuples(st.sampled_from(["take", "start", "stop", "hold"]), st.floats(0, 0.5), st.integers(0, 30)), max_size=60
)


@given(STEPS)
def test_whatever_happens_numbers_grow_and_no_burst_is_sent(steps: list[tuple[str, float, int]]) -> None:
    player, now = _player(), 100.0
    sent: list[tuple[float, Packet]] = []
    for what, later, count in steps:
        now += later
        if what == "start":
            player.start(FRAMES[:count], Codec.PCMU, now)
        elif what == "stop":
            player.stop()
        elif what == "hold":
            player.hold(now)
        packets = player.take(now)
        assert len(packets) <= CATCH_UP
        sent += [(now, parse(packet)) for packet in packets]
    for (_, one), (_, other) in itertools.pairwise(sent):
        assert _apart(one.sequence, other.sequence) & 0xFFFF == 1
        assert 160 <= _apart(one.timestamp, other.timestamp) < 0x80000000
    for at, _ in sent:
        # 20 ms of sound in 20 ms of time, but for what may be caught up.
        assert sum(at <= other < at + 0.1999 for other, _ in sent) <= 10 + CATCH_UP
