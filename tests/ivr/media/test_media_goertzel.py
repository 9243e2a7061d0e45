"""Keys in the sound: all sixteen through both codecs, bent, noisy and off tune; and none in what is no key."""

from __future__ import annotations

import itertools
import math
import random
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_phone import HIGH, KEYS, LOW, noise, pcm, silence, sine, speech, tone

from ivr import prompts
from ivr.media import wav
from ivr.media.g711 import Codec
from ivr.media.goertzel import Detector


def _heard(samples: list[float], codec: Codec = Codec.PCMU, piece: int = 320) -> str:
    """Over the wire in frames, as a call has it."""
    sound = codec.decode(codec.encode(pcm(samples)))
    detector = Detector()
    return "".join(key for start in range(0, len(sound), piece) for key in detector.feed(sound[start : start + piece]))


def _keyed(keys: str, held: float, pause: float, offset: int = 0, **bent: float) -> list[float]:
    samples = [0.0] * offset
    for key in keys:
        samples += tone(key, held, **bent) + silence(pause)
    return samples + silence(0.05)


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize(
    ("low", "high"), [(-10, -10), (-16, -10), (-14, -10), (-10, -16), (-10, -14), (-4, -3), (-28, -26)]
)
def test_all_keys_are_heard_with_noise_and_twist(codec: Codec, low: float, high: float) -> None:
    dice = random.Random(f"{codec}{low}{high}")
    for below in (15, 20, 40):
        samples = noise(_keyed(KEYS, 0.1, 0.1, low=low, high=high), dice, min(low, high) - below)
        assert _heard(samples, codec) == KEYS


@pytest.mark.parametrize("detuned", [0.985, 0.99, 1.01, 1.015])
def test_tones_off_tune_by_1_5_percent_are_heard(detuned: float) -> None:
    """ITU-T Q.24 asks for 1.5 % and allows no more than 3.5 %."""
    assert _heard(_keyed(KEYS, 0.1, 0.1, detuned=detuned)) == KEYS


@pytest.mark.parametrize("detuned", [0.96, 1.04])
def test_tones_off_tune_by_4_percent_are_no_keys(detuned: float) -> None:
    assert _heard(_keyed(KEYS, 0.3, 0.1, detuned=detuned)) == ""


def test_40_ms_of_tone_and_40_ms_of_pause_are_enough_wherever_they_begin() -> None:
    dice = random.Random(40)
    for offset in range(0, 80, 5):
        assert _heard(noise(_keyed("1D55*", 0.04, 0.04, offset), dice, -45)) == "1D55*"


@pytest.mark.parametrize("offset", range(0, 80, 16))
def test_20_ms_are_no_key(offset: int) -> None:
    assert _heard(_keyed(KEYS, 0.02, 0.1, offset)) == ""


def test_a_key_is_told_while_it_is_held_and_told_once() -> None:
    detector, held = Detector(), tone("8", 2.0)
    found = [detector.feed(pcm(held[start : start + 160])) for start in range(0, 16_000, 160)]
    assert found[:3].count(["8"]) == 1
    assert sum(map(len, found)) == 1


def test_a_dropout_of_10_ms_is_no_pause() -> None:
    for at in range(800, 1000, 20):
        samples = tone("6", 0.25)
        samples[at : at + 80] = silence(0.01)
        assert _heard(samples + silence(0.1)) == "6"


def test_dropouts_do_not_add_up_to_a_pause() -> None:
    samples = tone("6", 0.5)
    for at in range(800, 3600, 400):
        samples[at : at + 80] = silence(0.01)
    assert _heard(samples + silence(0.1)) == "6"


def test_windows_of_another_key_here_and_there_are_no_press() -> None:
    detector = Detector()
    assert [detector._hear("5", True) for _ in range(3)] == ["", "", "5"]
    assert [detector._hear(key, True) for key in "1515151"] == [""] * 7


def test_another_key_without_a_pause_is_another_digit() -> None:
    assert _heard(tone("1", 0.1) + tone("2", 0.1) + tone("1", 0.1) + silence(0.1)) == "121"


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_heard_in_speech(seed: int) -> None:
    assert _heard(speech(random.Random(seed), 15.0)) == ""


@pytest.mark.parametrize("dbm0", [-6, -20, -45])
def test_nothing_is_heard_in_noise(dbm0: float) -> None:
    assert _heard(noise(silence(10.0), random.Random(dbm0), dbm0)) == ""


def test_nothing_is_heard_in_sweeps() -> None:
    turn, samples = 0.0, []
    for n in range(8000 * 6):
        turn += 2 * math.pi * (200 + 3300 * n / 48_000) / 8000
        samples.append(8000 * math.sin(turn))
    assert _heard(samples) == ""


@pytest.mark.parametrize(
    "pair",
    [(350, 440), (440, 480), (480, 620), (425, 425), (400, 450), (950, 1400), (1400, 1800), (2100, 2100), (1100, 1100)],
)
def test_nothing_is_heard_in_the_tones_of_networks(pair: tuple[int, int]) -> None:
    samples = [one + other for one, other in zip(sine(pair[0], 1.0), sine(pair[1], 1.0), strict=True)]
    assert _heard(samples + silence(0.1)) == ""


@pytest.mark.parametrize("frequency", sorted({*LOW.values(), *HIGH.values()}))
def test_one_tone_alone_is_no_key(frequency: int) -> None:
    assert _heard(sine(frequency, 0.5) + silence(0.1)) == ""


@pytest.mark.parametrize("pair", [*itertools.combinations((697, 770, 852, 941), 2), (1209, 1633)])
def test_two_tones_of_one_group_are_no_key(pair: tuple[int, int]) -> None:
    samples = [one + other for one, other in zip(sine(pair[0], 0.5), sine(pair[1], 0.5), strict=True)]
    assert _heard(samples + silence(0.1)) == ""


def test_three_tones_are_no_key() -> None:
    samples = [one + other for one, other in zip(tone("1", 0.5), sine(1477, 0.5), strict=True)]
    assert _heard(samples + silence(0.1)) == ""


@pytest.mark.parametrize(("low", "high"), [(-10, -20), (-20, -10), (-45, -45)])
def test_too_much_twist_and_too_little_sound_are_no_key(low: float, high: float) -> None:
    assert _heard(_keyed(KEYS, 0.2, 0.1, low=low, high=high)) == ""


def test_the_loudest_samples_there_are_do_no_harm() -> None:
    square = [32767.0 if n // 4 % 2 else -32768.0 for n in range(4000)]
    assert _heard(square) == ""


@given(st.lists(st.integers(0, 400), max_size=30))
def test_it_does_not_matter_how_the_sound_is_cut(pieces: list[int]) -> None:
    sound = SOUND
    detector, found, at = Detector(), [], 0
    for piece in [*pieces, len(sound)]:
        found += detector.feed(sound[at : at + 2 * piece])
        at += 2 * piece
    assert "".join(found) == "4#"


SOUND = pcm(_keyed("4#", 0.06, 0.06))


@given(st.binary(max_size=4000).map(lambda data: data[: len(data) // 2 * 2]))
def test_no_sound_raises(sound: bytes) -> None:
    detector = Detector()
    assert all(key in KEYS for key in detector.feed(sound))
    assert len(detector._samples) < 205


def test_our_own_prompts_press_no_key() -> None:
    """A phone on its loudspeaker sends back what it hears."""
    recordings = sorted(Path(prompts.__file__).parent.rglob("*.wav"))
    assert len(recordings) > 20
    for recording in recordings:
        sound = wav.read(recording.read_bytes())
        samples = struct.unpack(f"<{len(sound) // 2}h", sound)
        assert (recording.name, _heard([*samples, *silence(0.1)])) == (recording.name, "")
