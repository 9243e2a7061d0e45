"""A phone's media, written from the RFCs and independent of the code under test: key presses, sounds and losses."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Iterable, Iterator

KEYS = "0123456789*#ABCD"
LOW = {key: f for row, f in zip(("123A", "456B", "789C", "*0#D"), (697, 770, 852, 941), strict=True) for key in row}
HIGH = {
    key: f
    for column, f in zip(("147*", "2580", "369#", "ABCD"), (1209, 1336, 1477, 1633), strict=True)
    for key in column
}
FULL = 22_800
"""Peak of a sine at 0 dBm0: 3.14 dB below the end of the scale."""

Timed = tuple[float, bytes]


def packet(pt: int, seq: int, ts: int, ssrc: int, payload: bytes, marker: bool = False) -> bytes:
    head = bytes([0x80, pt | (0x80 if marker else 0)])
    return head + struct.pack("!HII", seq & 0xFFFF, ts & 0xFFFFFFFF, ssrc) + payload


def event(key: str, duration: int, end: bool = False) -> bytes:
    return struct.pack("!BBH", KEYS.index(key), (0x80 if end else 0) | 10, duration)


class Phone:
    """Keys as RFC 4733 §2.5.1 sends them: an update each ``step`` s while the key is down, then three ends."""

    def __init__(self, ssrc: int = 0x1234, step: float = 0.05, pt: int = 101, start: int = 1000) -> None:
        self.ssrc, self.step, self.pt = ssrc, step, pt
        self.seq, self.ts0, self.now = 1, start, 0.0

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def _send(self, ts: int, key: str, duration: int, *, end: bool = False, marker: bool = False) -> Timed:
        self.seq += 1
        return self.now, packet(self.pt, self.seq, ts, self.ssrc, event(key, duration, end), marker)

    def press(self, key: str, held: float = 0.2) -> Iterator[Timed]:
        """The packets of one press; a press longer than a segment of 0xFFFF units goes on in the next one."""
        began, ts, marker = self.now, self.ts0 + round(self.now * 8000), True
        while self.now < began + held - 1e-9:
            duration = round((self.now - began) * 8000) + round(self.step * 8000) - (ts - self._start(began))
            if duration > 0xFFFF:
                yield self._send(ts, key, 0xFFFF)
                ts, duration = ts + 0xFFFF, duration - 0xFFFF
            yield self._send(ts, key, duration, marker=marker)
            marker = False
            self.now += self.step
        for _ in range(3):
            yield self._send(ts, key, round(held * 8000) - (ts - self._start(began)), end=True)

    def _start(self, began: float) -> int:
        return self.ts0 + round(began * 8000)

    def code(self, keys: str, held: float = 0.2, pause: float = 0.2) -> Iterator[Timed]:
        for key in keys:
            yield from self.press(key, held)
            self.wait(pause)


def network(
    packets: Iterable[Timed], dice: random.Random, loss: float, twice: float = 0.0, jitter: float = 0.0
) -> list[Timed]:
    """What is left of a stream: packets lost, doubled, and late so that they overtake each other."""
    arrived: list[Timed] = []
    for at, data in packets:
        if dice.random() < loss:
            continue
        copies = 2 if dice.random() < twice else 1
        arrived += [(at + dice.uniform(0, jitter), data) for _ in range(copies)]
    return sorted(arrived, key=lambda one: one[0])


# --- sound --------------------------------------------------------------------------------------------


def pcm(samples: Iterable[float]) -> bytes:
    whole = [max(-32768, min(32767, round(sample))) for sample in samples]
    return struct.pack(f"<{len(whole)}h", *whole)


def silence(seconds: float) -> list[float]:
    return [0.0] * round(seconds * 8000)


def sine(frequency: float, seconds: float, dbm0: float = -10.0) -> list[float]:
    peak, turn = FULL * 10 ** (dbm0 / 20), 2 * math.pi * frequency / 8000
    return [peak * math.sin(turn * n) for n in range(round(seconds * 8000))]


def tone(key: str, seconds: float, low: float = -10.0, high: float = -10.0, detuned: float = 1.0) -> list[float]:
    pairs = zip(sine(LOW[key] * detuned, seconds, low), sine(HIGH[key] * detuned, seconds, high), strict=True)
    return [one + other for one, other in pairs]


def noise(samples: Iterable[float], dice: random.Random, dbm0: float) -> list[float]:
    """With white noise of this level added."""
    deviation = FULL / math.sqrt(2) * 10 ** (dbm0 / 20)
    return [sample + dice.gauss(0, deviation) for sample in samples]


def speech(dice: random.Random, seconds: float) -> list[float]:
    """Like a voice: syllables of harmonics of a gliding pitch through three formants, hissing sounds between them."""
    samples: list[float] = []
    while len(samples) < seconds * 8000:
        length = round(dice.uniform(0.06, 0.3) * 8000)
        samples += _vowel(dice, length) if dice.random() < 0.75 else noise([0.0] * length, dice, -25)
        samples += [0.0] * round(dice.uniform(0.0, 0.08) * 8000)
    return samples


def _vowel(dice: random.Random, length: int) -> list[float]:
    formants = dice.uniform(300, 800), dice.uniform(900, 2200), dice.uniform(2300, 3000)
    pitch, glide = dice.uniform(90, 260), dice.uniform(0.85, 1.15)
    level = FULL * 10 ** (dice.uniform(-22, -8) / 20)
    parts = [
        (h, sum(weight / (1 + ((h * pitch - f) / 90) ** 2) for f, weight in zip(formants, (1, 0.6, 0.3), strict=True)))
        for h in range(1, int(3600 / pitch))
    ]
    loudest = sorted(parts, key=lambda part: -part[1])[:8]
    samples, phase = [], 0.0
    for n in range(length):
        phase += 2 * math.pi * pitch * (1 + (glide - 1) * n / length) / 8000
        shape = math.sin(math.pi * n / length) ** 0.5
        samples.append(level * shape * sum(weight * math.sin(h * phase) for h, weight in loudest))
    return samples
