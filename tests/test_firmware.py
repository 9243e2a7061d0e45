import hashlib

import pytest

from provisioner.errors import Invalid
from provisioner.firmware import FirmwareShelf


def test_an_image_that_was_added_is_found_with_its_hash(tmp_path):
    source = tmp_path / "2345-12600-001.sip.ld"
    source.write_bytes(b"image")
    shelf = FirmwareShelf(tmp_path / "firmware")
    added = shelf.add("poly", source)
    assert added.sha256 == hashlib.sha256(b"image").hexdigest()
    assert shelf.find("poly", source.name) == added
    assert shelf.find("yealink", source.name) is None
    assert shelf.listing() == (added,)


def test_an_image_that_was_dropped_in_or_changed_is_hashed_by_listing_and_its_old_hash_is_not_believed(tmp_path):
    directory = tmp_path / "poly"
    directory.mkdir()
    (directory / "sip.ld").write_bytes(b"one")
    shelf = FirmwareShelf(tmp_path)
    dropped = shelf.find("poly", "sip.ld")
    assert dropped is not None
    assert dropped.sha256 == ""
    assert shelf.listing()[0].sha256 == hashlib.sha256(b"one").hexdigest()
    (directory / "sip.ld").write_bytes(b"another")
    changed = shelf.find("poly", "sip.ld")
    assert changed is not None
    assert changed.sha256 == ""
    assert changed.etag != dropped.etag
    assert shelf.listing()[0].sha256 == hashlib.sha256(b"another").hexdigest()


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", ".hidden", "a/b", "", "x" * 200, "sip.ld.sha256", "a\0b"])
def test_a_name_that_leaves_the_shelf_is_not_found(tmp_path, name):
    (tmp_path / "poly").mkdir()
    (tmp_path / "poly" / "sip.ld.sha256").write_text("x")
    (tmp_path / "poly" / ".hidden").write_text("x")
    assert FirmwareShelf(tmp_path).find("poly", name) is None


def test_a_link_out_of_the_shelf_is_not_followed(tmp_path):
    (tmp_path / "poly").mkdir()
    (tmp_path / "secret").write_text("x")
    (tmp_path / "poly" / "sip.ld").symlink_to(tmp_path / "secret")
    assert FirmwareShelf(tmp_path).find("poly", "sip.ld") is None


def test_a_bad_name_is_refused_when_it_is_added(tmp_path):
    source = tmp_path / "bad name.ld"
    source.write_bytes(b"x")
    with pytest.raises(Invalid):
        FirmwareShelf(tmp_path / "f").add("poly", source)
    with pytest.raises(Invalid):
        FirmwareShelf(tmp_path / "f").add("poly", tmp_path / "missing.ld")


def test_a_name_is_found_in_any_case_and_a_hidden_one_in_none(tmp_path):
    source = tmp_path / "OBi302-3.2.2.fw"
    source.write_bytes(b"image")
    shelf = FirmwareShelf(tmp_path / "firmware")
    added = shelf.add("poly", source)
    assert added.name == "OBi302-3.2.2.fw"
    assert shelf.find("poly", "obi302-3.2.2.fw") == added
    (tmp_path / "firmware" / "poly" / ".OBi.partial").write_bytes(b"x")
    assert shelf.find("poly", ".obi.partial") is None
    assert shelf.find("poly", "obi302-3.2.2.FW.sha256") is None
