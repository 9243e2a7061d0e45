"""A twelve-digit code on a bad link: whole at 20 % loss, nearly always at 40 %, never a digit too many."""

from __future__ import annotations

import random

import pytest
from media_phone import Phone, network

from ivr.media.g711 import Codec
from ivr.media.player import Origin
from ivr.media.session import Session, Terms

CODES = 500
PHONE = ("192.0.2.7", 4000)


def _keyed(code: str, step: float, dice: random.Random, loss: float, **spoilt: float) -> str:
    phone = Phone(ssrc=dice.getrandbits(32), step=step, start=dice.getrandbits(32))
    session = Session(Terms(Codec.PCMU, 101, PHONE), Origin(1, 1, 1), PHONE, 0.0)
    arrived = network(phone.code(code), dice, loss, **spoilt)
    return "".join(digit.key for at, data in arrived for digit in session.receive(data, PHONE, at))


@pytest.mark.parametrize(
    ("loss", "floor"),
    [(0.0, 1.0), (0.05, 1.0), (0.2, 1.0), (0.4, 0.95)],
)
@pytest.mark.parametrize("step", [0.02, 0.05])
def test_codes_arrive_whole(loss: float, floor: float, step: float) -> None:
    """By arithmetic, at 20 % and seven packets a press: 12 × 0.2⁷ = 0.02 % of codes lack a digit; at 40 %, 2 %."""
    dice = random.Random(4733)
    codes = ["".join(dice.choices("0123456789", k=12)) for _ in range(CODES)]
    whole = sum(_keyed(code, step, dice, loss) == code for code in codes)
    assert whole >= floor * CODES


@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_packets_doubled_and_out_of_order_add_nothing(loss: float) -> None:
    dice = random.Random(99)
    for _ in range(CODES // 5):
        code = "".join(dice.choices("0123456789", k=12))
        assert _keyed(code, 0.02, dice, loss, twice=0.3, jitter=0.15) == code


def test_at_any_loss_what_arrives_is_a_part_of_the_code_in_order() -> None:
    dice = random.Random(7)
    for _ in range(CODES // 5):
        code = "".join(dice.choices("0123456789", k=12))
        left = iter(code)
        assert all(key in left for key in _keyed(code, 0.05, dice, dice.random(), twice=0.1, jitter=0.05))
