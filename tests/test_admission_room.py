"""Bytes that are lent: later parts of an image that has begun, and memory for uploads."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from pathlib import Path

import pytest

from provisioner.admission import Admission, Rank
from provisioner.errors import Busy, Deferred
from provisioner.gate import Storm
from provisioner.model import Mac
from provisioner.settings import MIB, Settings


def admission(counts: Counter[str], **chosen: object) -> Admission:
    def count(_metric: str, label: str) -> None:
        counts[label] += 1

    chosen = {"server_workers": 1} | chosen
    settings = Settings(data=Path("nowhere"), **chosen)  # type: ignore[arg-type]  # names and types are the tests'
    return Admission(settings, Storm(1, 1, 1), count, random.Random(7).uniform, ())


def mac(number: int) -> Mac:
    return Mac(f"0004f2{number:06x}")


# --- parts of images ----------------------------------------------------------------------------------


def test_a_part_belongs_to_a_transfer_that_began_here_lately_and_has_bytes_left() -> None:
    one, mine, other = admission(Counter()), mac(1), mac(2)
    assert not one.goes_on(mine, "image", 10, 100.0), "nothing has begun"
    one.began(mine, "image", 100, 100.0)
    assert not one.goes_on(other, "image", 10, 100.0)
    assert not one.goes_on(mine, "other", 10, 100.0)
    assert [one.goes_on(mine, "image", 40, 100.0) for _ in range(3)] == [True, True, False]
    assert one.goes_on(mine, "image", 20, 100.0)
    one.began(mine, "image", 100, 200.0)
    assert not one.goes_on(mine, "image", 1, 1101.0), "that was a quarter of an hour ago"


def test_memory_of_what_has_begun_is_bounded() -> None:
    one = admission(Counter(), admission_keys=1200)
    for number in range(500):
        one.began(mac(number), "image", 100, 100.0)
    assert len(one._begun) == 100
    assert one.goes_on(mac(499), "image", 1, 100.0)


# --- room for uploads -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["observe", "enforce"])
@pytest.mark.parametrize("rank", list(Rank))
def test_a_device_sends_two_uploads_at_once_and_the_third_comes_later(mode: str, rank: Rank) -> None:
    counts: Counter[str] = Counter()
    one, mine = admission(counts, admission_mode=mode), mac(1)
    with one.room(mine, rank, 5), one.room(mine, rank, 5):
        with pytest.raises(Deferred) as refused, one.room(mine, rank, 5):
            pass
        assert 15 <= refused.value.retry_after <= 45
        with one.room(mac(2), rank, 5):
            pass
    assert counts == {f"upload_parallel_{rank}_refused": 1}
    with one.room(mine, rank, 5), one.room(mine, rank, 5):
        pass
    assert not one._sending


def test_a_full_worker_has_a_little_room_for_who_cannot_ring_yet() -> None:
    one = admission(Counter(), upload_budget=4 * MIB)
    with contextlib.ExitStack() as held:

        def fill(rank: Rank, first: int) -> int:
            for number in range(first, first + 100):
                try:
                    held.enter_context(one.room(mac(number), rank, MIB))
                except Busy:
                    return number - first
            return 100

        assert fill(Rank.P1, 0) == 4
        assert fill(Rank.P2, 100) == 0
        assert fill(Rank.P0, 200) == 4
    assert one._bytes == 0
