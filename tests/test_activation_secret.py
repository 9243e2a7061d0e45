"""The SIP credential of a waiting phone: both sides agree without a word, and nobody can make another's."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.activation_secret import ENTROPY, SHORTEST, credential, issue
from provisioner.model import Mac
from provisioner.store.secretbox import SecretBox, create_key, drop_old_keys, rotate_key

KEY = b"k" * 32
MAC, OTHER = Mac("0004f2000001"), Mac("0004f2000002")
NOW = 1_795_300_000.0

MACS = st.integers(1, 2**48 - 1).map(lambda number: Mac(f"{number:012x}"))
TIMES = st.floats(1_000_000, 4_000_000_000)
LIVES = st.integers(1, 2_592_000)
CHANCE = st.binary(min_size=ENTROPY, max_size=ENTROPY)


@given(MACS, TIMES, st.one_of(st.just(0), LIVES), CHANCE, st.floats(0, 0.999))
def test_what_is_issued_is_recognised_for_as_long_as_it_is_promised(
    mac: Mac, now: float, life: int, chance: bytes, share: float
) -> None:
    name, password = issue(KEY, mac, now, life, chance)
    assert name.startswith(f"{mac}-")
    later = now + share * (life or SHORTEST - 1)
    assert credential(KEY, name, later, life) == (mac, password)


@given(MACS, TIMES, LIVES, CHANCE)
def test_it_is_over_after_twice_its_life(mac: Mac, now: float, life: int, chance: bytes) -> None:
    name, _ = issue(KEY, mac, now, life, chance)
    assert credential(KEY, name, now + 2 * life, life) is None
    fresh, _ = issue(KEY, mac, now, 0, chance)
    assert credential(KEY, fresh, now + SHORTEST, 0) is None


@given(MACS, TIMES, LIVES, CHANCE, CHANCE)
def test_it_changes_once_a_life_whatever_chance_says(
    mac: Mac, now: float, life: int, chance: bytes, other: bytes
) -> None:
    before = issue(KEY, mac, now, life, chance)
    assert issue(KEY, mac, now, life, other) == before
    assert issue(KEY, mac, int(now) + life, life, chance) != before
    within = {issue(KEY, mac, now + step * life / 8, life, chance) for step in range(8)}
    assert len(within) <= 2


def test_a_fleet_does_not_change_at_one_moment() -> None:
    life = 86_400
    begins = {int(issue(KEY, Mac(f"0004f2{n:06x}"), NOW, life, b"")[0].split("-")[1], 16) for n in range(1, 401)}
    assert len(begins) > 390
    assert max(begins) - min(begins) > 0.9 * life
    assert all(0 <= NOW - one < life for one in begins)


def test_with_a_life_of_nothing_each_is_another() -> None:
    made = {issue(KEY, MAC, NOW, 0, bytes([n]) * ENTROPY) for n in range(50)}
    assert len(made) == 50
    assert all(credential(KEY, name, NOW + 10, 0) == (MAC, password) for name, password in made)


@given(st.text(), TIMES, st.integers(0, 2_592_000))
def test_no_text_is_more_than_unknown(text: str, now: float, life: int) -> None:
    found = credential(KEY, text, now, life)
    assert found is None or text.startswith(found[0])


@given(
    st.from_regex(r"[0-9a-fA-F\-\n]{10,40}", fullmatch=True)
    | st.from_regex(r"[0-9a-f]{12}-[0-9a-f]{8}(-[0-9a-f]{16})?", fullmatch=True),
    TIMES,
    LIVES,
)
def test_a_name_yields_no_mac_but_its_own(text: str, now: float, life: int) -> None:
    if (found := credential(KEY, text, now, life)) is not None:
        assert text[:12] == found[0]
        assert re.fullmatch(r"[0-9a-f]{12}(-[0-9a-f]{8})(-[0-9a-f]{16})?", text)


@given(MACS, MACS, TIMES, LIVES, CHANCE)
def test_another_mac_in_the_name_takes_another_password(
    one: Mac, two: Mac, now: float, life: int, chance: bytes
) -> None:
    name, password = issue(KEY, one, now, life, chance)
    forged = credential(KEY, f"{two}{name[12:]}", now, life)
    assert forged is not None
    assert forged[0] == two
    assert (forged[1] == password) is (one == two)


@given(st.binary(min_size=1, max_size=64), MACS, TIMES, LIVES)
def test_another_key_makes_another_password(key: bytes, mac: Mac, now: float, life: int) -> None:
    name, password = issue(KEY, mac, now, life, b"")
    found = credential(key, name, now, life)
    assert found is not None
    assert (found[1] == password) is (key == KEY)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "000000000000-6b027f00",
        f"{MAC}",
        f"{MAC}-",
        f"{MAC}-6b027f0",
        f"{MAC}-6b027f000",
        f"{MAC}-6B027F00",
        f"{MAC.upper()}-6b027f00",
        f"{MAC}-6b027f00\n",
        f"{MAC}-6b027f00-",
        f"{MAC}-6b027f00-00",
        f" {MAC}-6b027f00",
        f"{MAC}-٦b027f00",
    ],
)
def test_spellings_that_are_none(name: str) -> None:
    assert credential(KEY, name, float(0x6B027F00), 86_400) is None


def test_a_stamp_of_tomorrow_is_none_of_ours() -> None:
    name, _ = issue(KEY, MAC, NOW, 3600, b"")
    assert credential(KEY, name, NOW - 7200, 3600) is None


def test_the_password_is_no_words_and_never_shown() -> None:
    _, password = issue(KEY, MAC, NOW, 86_400, b"")
    assert re.fullmatch(r"[a-z2-7]{32}", password)
    assert password not in repr(issue(KEY, MAC, NOW, 86_400, b""))
    assert password not in repr(credential(KEY, issue(KEY, MAC, NOW, 86_400, b"")[0], NOW, 86_400))


def test_the_key_follows_the_master_key_through_a_rotation(tmp_path) -> None:  # type: ignore[no-untyped-def]  # a fixture
    path = tmp_path / "master.key"
    create_key(path)
    box, again = SecretBox.load(path), SecretBox.load(path)
    (before,) = box.derived(b"one")
    assert again.derived(b"one") == (before,)
    assert box.derived(b"another") != (before,)
    assert len(before) == 32
    rotate_key(path)
    newest, old = box.derived(b"one")
    assert old == before
    assert newest != before
    drop_old_keys(path)
    assert box.derived(b"one") == (newest,)
    assert before.hex() not in repr(box)
