"""Keys heard in the sound itself: the power at the eight DTMF frequencies, in windows of 25.6 ms, one every 10 ms.

Strategy: each window is Hann-weighted and correlated with a sine and a cosine of each frequency, which is what the
Goertzel recurrence computes too. The scalar product is taken from a distance, x·y = (|x|² + |y|² - |x - y|²) / 2,
because ``math.dist`` runs in C: a window costs 35 µs so and 100 µs as a recurrence in Python. Beside the 205 samples
of the textbook stands the weighting: with it a tone may be 1.5 % off, as ITU-T Q.24 wants; without, most of it is lost.

A window holds a key when one low and one high frequency each stand out of their group, are about equally loud and make
up most of all sound. Three such windows in a row are a press if one of them holds nothing else, which voices do not
manage; three without are its end. Silence costs next to nothing.
"""

from __future__ import annotations

import math
import struct
from operator import mul
from typing import Final

from ivr.media.g711 import RATE

WINDOW: Final = 205
"""Samples: 39 Hz apart the frequencies are told apart, which lie 73 Hz apart at the least."""
HOP: Final = 80
"""Samples, 10 ms: 40 ms of tone fill three windows well enough wherever they begin, 20 ms do not."""

_LOW: Final = (697.0, 770.0, 852.0, 941.0)
_HIGH: Final = (1209.0, 1336.0, 1477.0, 1633.0)
_GRID: Final = ("123A", "456B", "789C", "*0#D")

_LOUD: Final = 150.0
"""Root mean square of a sound worth looking at: about -40 dBm0; Q.24 asks for -25 to -29 dBm0 and up."""
_STANDS_OUT: Final = 6.3
"""8 dB over the next frequency of its group."""
_TWIST: Final = 6.3
"""8 dB between the two tones; networks may bend 4 dB one way and 8 dB the other, Q.24."""
_SHARE: Final = 0.6
"""Of the power, in the two tones: a window that their beginning or end cuts in half has that much."""
_PURE: Final = 0.92
"""Of the power, in two tones up to 1.5 % off: noise 15 dB below the weaker leaves 0.96, a vowel's two loudest harmonics
have 0.90 at the most."""
_OFF: Final = (0.989, 1.011)
"""Tones 1.5 % off are within 0.4 % of these or of the right ones, where a window does not tell the difference."""
_LEAST: Final = _SHARE / (1 + _TWIST)
"""Share of the weaker tone at the most twist."""
_BEGIN: Final = 3
"""Windows in a row."""
_END: Final = 3
"""Windows: 40 ms of pause make at least four, a dropout of 10 ms at most two."""

Floats = tuple[float, ...]
_NO_KEY: Final = ("", False)

_WEIGHTS: Final[Floats] = tuple(0.5 - 0.5 * math.cos(2 * math.pi * (n + 0.5) / WINDOW) for n in range(WINDOW))
_SQUARES: Final = math.fsum(weight * weight for weight in _WEIGHTS)
_QUIET: Final = _LOUD * math.sqrt(_SQUARES)
_FULL: Final = math.fsum(_WEIGHTS) ** 2 / (2 * _SQUARES)
"""Correlation power of a sine over the energy of its weighted samples."""


class _Tone:
    """A frequency to correlate with."""

    __slots__ = ("_cosine", "_cosine_energy", "_sine", "_sine_energy")

    def __init__(self, frequency: float) -> None:
        turn = 2 * math.pi * frequency / RATE
        self._cosine: Floats = tuple(math.cos(turn * n) for n in range(WINDOW))
        self._sine: Floats = tuple(math.sin(turn * n) for n in range(WINDOW))
        self._cosine_energy = math.fsum(value * value for value in self._cosine)
        self._sine_energy = math.fsum(value * value for value in self._sine)

    def power(self, samples: Floats, energy: float) -> float:
        """Squared correlation of weighted samples, whose energy the caller knows, with this frequency."""
        real = energy + self._cosine_energy - math.dist(samples, self._cosine) ** 2
        imaginary = energy + self._sine_energy - math.dist(samples, self._sine) ** 2
        return (real * real + imaginary * imaginary) / 4


_LOW_TONES: Final = tuple(map(_Tone, _LOW))
_HIGH_TONES: Final = tuple(map(_Tone, _HIGH))
_LOW_OFF: Final = tuple(tuple(_Tone(frequency * off) for off in _OFF) for frequency in _LOW)
_HIGH_OFF: Final = tuple(tuple(_Tone(frequency * off) for off in _OFF) for frequency in _HIGH)


def _strongest(tones: tuple[_Tone, ...], samples: Floats, energy: float) -> tuple[int, float]:
    """Place of the tone that stands out, and its share of the power; share 0 when none does."""
    powers = [tone.power(samples, energy) for tone in tones]
    *_, second, first = sorted(powers)
    share = first / (energy * _FULL)
    return powers.index(first), share if first > _STANDS_OUT * second and share > _LEAST else 0.0


def _best(share: float, off: tuple[_Tone, ...], samples: Floats, energy: float) -> float:
    """Share of a tone that may be off tune."""
    return max(share, *(tone.power(samples, energy) / (energy * _FULL) for tone in off))


def _key(window: tuple[int, ...]) -> tuple[str, bool]:
    """The key that sounds in these samples, or ``""``, and whether nothing else does."""
    if math.hypot(*window) < _QUIET:  # weights only take away: the weighted samples would be quieter still
        return _NO_KEY
    samples = tuple(map(mul, window, _WEIGHTS))
    energy = math.hypot(*samples) ** 2
    if energy < _QUIET**2:
        return _NO_KEY
    row, low = _strongest(_LOW_TONES, samples, energy)
    if not low:
        return _NO_KEY
    column, high = _strongest(_HIGH_TONES, samples, energy)
    if not high or low + high < _SHARE or not 1 / _TWIST < low / high < _TWIST:
        return _NO_KEY
    if low + high < _PURE:
        low, high = (_best(low, _LOW_OFF[row], samples, energy), _best(high, _HIGH_OFF[column], samples, energy))
    return _GRID[row][column], low + high >= _PURE


class Detector:
    """Hears keys in the sound of one call; it keeps one window of samples and no more."""

    __slots__ = ("_candidate", "_hits", "_misses", "_pure", "_samples", "_sounding")

    def __init__(self) -> None:
        self._samples: list[int] = []
        self._candidate = ""
        self._hits = 0
        self._pure = False
        self._sounding = ""
        self._misses = 0

    def feed(self, pcm: bytes) -> list[str]:
        """Take the next PCM, in pieces of any length; return the keys whose press was recognised in it."""
        self._samples += struct.unpack(f"<{len(pcm) // 2}h", pcm)
        found = []
        start = 0
        while start + WINDOW <= len(self._samples):
            pressed = self._hear(*_key(tuple(self._samples[start : start + WINDOW])))
            if pressed:
                found.append(pressed)
            start += HOP
        del self._samples[:start]
        return found

    def _hear(self, key: str, pure: bool) -> str:
        """One window on: the key pressed, if this window settles it."""
        if key and key == self._sounding:
            self._misses = 0
            self._candidate = ""
            return ""
        self._misses += 1
        if self._misses >= _END:
            self._sounding = ""
        if key != self._candidate:
            self._candidate, self._hits, self._pure = key, 0, False
        self._hits += 1
        self._pure |= pure
        if not key or self._hits < _BEGIN or not self._pure:
            return ""
        self._sounding, self._misses = key, 0
        return key
