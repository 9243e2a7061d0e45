"""What is sealed opens only where it was sealed, with a key that only its owner can read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import Conflict, StoreFailed, Unusable
from provisioner.store.secretbox import SecretBox, create_key, drop_old_keys, rotate_key, rotating

BOX = SecretBox([b"\x07" * 32])
PLACE = st.tuples(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20)).filter(
    lambda place: "\0" not in "".join(place)
)


def printable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


SAFE_PLACE = PLACE.filter(lambda place: printable("".join(place)))


@given(st.binary(max_size=2000), SAFE_PLACE)
def test_what_is_sealed_opens_again(secret: bytes, place: tuple[str, str, str]) -> None:
    sealed = BOX.seal(secret, *place)
    assert BOX.open(sealed, *place) == secret
    assert len(sealed) == len(secret) + 33


@given(SAFE_PLACE, SAFE_PLACE)
def test_it_opens_nowhere_else(place: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    sealed = BOX.seal(b"secret", *place)
    if place != other:
        with pytest.raises(StoreFailed):
            BOX.open(sealed, *other)


@given(st.integers(0, 38), st.integers(1, 255))
def test_one_changed_byte_is_noticed(position: int, change: int) -> None:
    sealed = bytearray(BOX.seal(b"secret", "extension", "1", "secret"))
    sealed[position] ^= change
    with pytest.raises(StoreFailed):
        BOX.open(bytes(sealed), "extension", "1", "secret")


@given(st.binary(max_size=60))
def test_garbage_never_opens(garbage: bytes) -> None:
    with pytest.raises(StoreFailed):
        BOX.open(garbage, "extension", "1", "secret")


def test_two_sealed_values_that_changed_places_do_not_open() -> None:
    one, two = (BOX.seal(b"secret", "extension", row, "secret") for row in ("a", "b"))
    for sealed, row in ((one, "b"), (two, "a")):
        with pytest.raises(StoreFailed, match="moved"):
            BOX.open(sealed, "extension", row, "secret")
    with pytest.raises(StoreFailed):
        BOX.open(BOX.seal(b"x", "device", "a", "digest_secret"), "extension", "a", "digest_secret")


def test_equal_secrets_do_not_look_equal() -> None:
    assert len({BOX.seal(b"secret", "t", "r", "f") for _ in range(100)}) == 100


def test_the_key_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    create_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    with pytest.raises(Unusable, match="is there already"):
        create_key(path)
    assert path.read_bytes() == before
    assert before.strip().decode() not in repr(SecretBox.load(path))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o622])
def test_a_key_file_that_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "master.key"
    create_key(path)
    path.chmod(mode)
    with pytest.raises(Unusable, match=f"chmod 600 {path}"):
        SecretBox.load(path)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"abc\n", b"z" * 64, b"00" * 31, b"00" * 33, b"\xff\x00" * 32, b"A" * 64]
)
def test_a_damaged_key_file_is_refused_without_showing_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "master.key"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(Unusable, match="backup") as refused:
        SecretBox.load(path)
    assert not content.strip() or content.decode("latin-1").strip() not in refused.value.cause


def test_a_missing_key_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="put the copy back"):
        SecretBox.load(tmp_path / "master.key")


def test_a_rotated_key_opens_the_old_and_seals_the_new(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    create_key(path)
    old = SecretBox.load(path)
    sealed, finder = old.seal(b"secret", "t", "r", "f"), old.finders("token")[0]
    rotate_key(path)
    new = SecretBox.load(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert new.open(sealed, "t", "r", "f") == b"secret"
    assert finder in new.finders("token") and finder != new.finders("token")[0]
    assert not new.is_current(sealed)
    fresh = new.seal(b"secret", "t", "r", "f")
    assert new.is_current(fresh)
    drop_old_keys(path)
    with pytest.raises(StoreFailed, match="not in the key file"):
        SecretBox.load(path).open(sealed, "t", "r", "f")


def test_a_box_in_use_follows_its_file(tmp_path: Path) -> None:
    """A worker that was started before a rotation opens, seals and finds as one started after it."""
    path = tmp_path / "master.key"
    create_key(path)
    opening, sealing, finding = (SecretBox.load(path) for _ in range(3))
    before = opening.seal(b"secret", "t", "r", "f")
    rotate_key(path)
    new = SecretBox.load(path)
    assert opening.open(new.seal(b"fresh", "t", "r", "f"), "t", "r", "f") == b"fresh"
    assert new.is_current(sealing.seal(b"secret", "t", "r", "f"))
    assert finding.finders("token") == new.finders("token") and len(finding) == 2
    drop_old_keys(path)
    assert finding.finders("token") == new.finders("token")[:1] and len(finding) == 1
    assert opening.open(before, "t", "r", "f") == b"secret", "what it has read a moment ago it still opens"


def test_a_key_file_that_cannot_be_read_now_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    create_key(path)
    box = SecretBox.load(path)
    sealed = box.seal(b"secret", "t", "r", "f")
    path.write_text("damaged")
    assert box.open(box.seal(b"more", "t", "r", "f"), "t", "r", "f") == b"more"
    path.unlink()
    assert box.open(sealed, "t", "r", "f") == b"secret" and box.finders("token")
    with pytest.raises(StoreFailed, match="not in the key file"):
        box.open(SecretBox([b"\x07" * 32]).seal(b"x", "t", "r", "f"), "t", "r", "f")


def test_only_one_rotates_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    create_key(path)
    with rotating(path), pytest.raises(Conflict, match="wait"), rotating(path):
        pass
    with rotating(path):
        pass
